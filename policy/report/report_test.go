package report

import (
	"encoding/json"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policy/verdict"
)

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
