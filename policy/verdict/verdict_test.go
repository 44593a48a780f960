package verdict

import (
	"encoding/json"
	"testing"
	"time"
)

func of(due []Stage, ran map[Stage][]Finding) Verdict {
	b := NewBuilder("main@sha1:0", due...)
	for _, s := range Stages() {
		if fs, ok := ran[s]; ok {
			b.Stage(s, time.Now(), fs...)
		}
	}
	return b.Verdict()
}

func TestAllowed(t *testing.T) {
	due := []Stage{StageCommit, StagePolicy}
	clean := map[Stage][]Finding{StageCommit: nil, StagePolicy: nil}
	with := func(f Finding) map[Stage][]Finding {
		return map[Stage][]Finding{StageCommit: nil, StagePolicy: {f}}
	}
	for name, tc := range map[string]struct {
		reason       string
		v            Verdict
		allowed      bool
		undetermined bool
	}{
		"Zero":            {"A verdict nobody reached must deny.", Verdict{}, false, true},
		"NoStageDue":      {"Judging nothing allows nothing.", of(nil, clean), false, true},
		"Skipped":         {"A stage that did not run is not consent.", of(due, map[Stage][]Finding{StageCommit: nil}), false, true},
		"Clean":           {"Every due stage ran and found nothing.", of(due, clean), true, false},
		"Warned":          {"Warnings let pass.", of(due, with(Finding{Severity: Warn})), true, false},
		"Denied":          {"One denial suffices.", of(due, with(Finding{Severity: Deny})), false, false},
		"Undetermined":    {"A registry outage is not consent.", of(due, with(Finding{Severity: Undetermined})), false, true},
		"NoSeverity":      {"A finding that forgot its severity denies.", of(due, with(Finding{})), false, false},
		"UnknownSeverity": {"What is not known to be harmless denies.", of(due, with(Finding{Severity: "meh"})), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.v.Allowed(); got != tc.allowed {
				t.Errorf("%s\nAllowed() = %t, want %t", tc.reason, got, tc.allowed)
			}
			if got := tc.v.Undetermined(); got != tc.undetermined {
				t.Errorf("%s\nUndetermined() = %t, want %t", tc.reason, got, tc.undetermined)
			}
		})
	}
}

// TestForgedJSON proves that a verdict cannot be made from text.
func TestForgedJSON(t *testing.T) {
	var v Verdict
	if err := json.Unmarshal([]byte(`{"kind":"Verdict","allowed":true,"reached":true,"findings":[],"stages":[]}`), &v); err != nil {
		t.Fatal(err)
	}
	if v.Allowed() {
		t.Error("a verdict read from JSON allows")
	}
}

func TestJSON(t *testing.T) {
	v := of([]Stage{StageCommit}, map[Stage][]Finding{StageCommit: {{Reason: UnsignedCommit, Message: "m", Commit: "c"}}})
	v.Stages[0].Elapsed = 1500 * time.Microsecond
	got, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"kind":"Verdict","allowed":false,"undetermined":false,"revision":"main@sha1:0","objects":0,` +
		`"findings":[{"stage":"commit","reason":"UnsignedCommit","severity":"deny","message":"m","commit":"c"}],` +
		`"stages":[{"stage":"commit","status":"failed","seconds":0.0015}]}`
	if string(got) != want {
		t.Errorf("JSON is API for scripts:\n got %s\nwant %s", got, want)
	}
}

func TestOrderAndPlace(t *testing.T) {
	v := of([]Stage{StageCommit, StageRender}, map[Stage][]Finding{
		StageCommit: {{Severity: Warn, Message: "a warning"}},
		StageRender: {{File: "b.yaml", Line: 2}, {File: "a.yaml", Line: 9}, {Severity: Undetermined, Object: "ns/Pod/x"}},
	})
	want := []string{"a.yaml:9", "b.yaml:2", "ns/Pod/x", ""}
	for i, f := range v.Findings {
		if f.Where() != want[i] {
			t.Errorf("finding %d is at %q, want %q", i, f.Where(), want[i])
		}
	}
	if len(v.Blocking()) != 3 {
		t.Errorf("%d findings block, want 3", len(v.Blocking()))
	}
}
