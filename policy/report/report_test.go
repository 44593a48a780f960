package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/policy/verdict"
)

// judge makes a verdict of which the stages in ran have run.
func judge(revision string, objects int, due []verdict.Stage, ran ...verdict.Stage) func(...verdict.Finding) verdict.Verdict {
	return func(findings ...verdict.Finding) verdict.Verdict {
		b := verdict.NewBuilder(revision, due...)
		b.Objects(objects)
		for _, s := range ran {
			var of []verdict.Finding
			for _, f := range findings {
				if f.Stage == s {
					of = append(of, f)
				}
			}
			b.Stage(s, time.Now(), of...)
		}
		v := b.Verdict()
		for i := range v.Stages {
			v.Stages[i].Elapsed = time.Duration(i+1) * 1500 * time.Microsecond // golden files do not tell the time
		}
		return v
	}
}

func write(t testing.TB, format string, r Report, opts Options) string {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, format, r, opts); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestOneUnnamedVerdictIsTheVerdict(t *testing.T) {
	v := judge("main@sha1:0", 1, []verdict.Stage{verdict.StageCommit}, verdict.StageCommit)(
		verdict.Finding{Stage: verdict.StageCommit, Reason: verdict.UnsignedCommit, Message: "<not> signed"})
	want, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	r := Report{Verdicts: []Named{{Verdict: v}}, Changes: []Change{{Object: "Pod/x", Action: Create}}, Version: "v1"}
	if got := strings.TrimSuffix(write(t, "json", r, Options{}), "\n"); got != string(want) {
		t.Errorf("scripts read the same as elsewhere:\n got %s\nwant %s", got, want)
	}
}
