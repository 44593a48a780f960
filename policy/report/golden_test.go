package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy/verdict"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: the output changed; run go test -update if it should (-want +got):\n%s", file, diff)
	}
}

func TestGolden(t *testing.T) {
	quiet := Report{Verdicts: []Named{{Verdict: judge("main@sha1:0", 42, allStages, allStages...)()}}, Version: "v0.4.0"}
	for _, format := range Formats() {
		for name, r := range map[string]Report{"ordinary": ordinary(), "hostile": hostile(), "quiet": quiet, "empty": {}} {
			if name == "hostile" && format == "json" {
				continue // it is what encoding/json says, see TestInert
			}
			t.Run(format+"/"+name, func(t *testing.T) {
				got := write(t, format, r, Options{})
				if format == "sarif" || format == "json" {
					var out bytes.Buffer
					if err := json.Indent(&out, []byte(got), "", " "); err != nil {
						t.Fatal(err)
					}
					got = out.String()
				}
				golden(t, format+"-"+name, got)
			})
		}
	}
	t.Run("text/colour", func(t *testing.T) {
		golden(t, "text-colour", write(t, "text", ordinary(), Options{Color: true, Width: 80}))
	})
}

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
