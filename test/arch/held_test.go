package arch

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// holders may know what a refused revision declares, beside tests.
var holders = []string{"policy/gate/held.go", "reconcile/apply/hold.go", "reconcile/apply/takeup.go", "reconcile/mirror_held.go", "reconcile/resume.go"}

// TestHeld keeps what is read of refused revisions to the lock, and to the correction of
// drift from what was applied: no release comes of it.
func TestHeld(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "git", "-C", "../..", "grep", "-lE", `gate\.(Held|Hold)|\*Held\b`, "--", "*.go").Output()
	if err != nil {
		t.Fatalf("git grep: %v", err)
	}
	var found []string
	for file := range strings.Lines(string(out)) {
		if file = strings.TrimSpace(file); !strings.HasSuffix(file, "_test.go") {
			found = append(found, file)
		}
	}
	if !slices.Equal(found, holders) {
		t.Errorf("what refused revisions declare is known in %q, want %q: see gate.Held", found, holders)
	}
}
