package arch

import (
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// top lists the directories and files at the root, as DESIGN.md has them.
var top = []string{"cmd", "policy", "webhook", "verify", "reconcile", "secrets", "policies", "deploy", "test", "go.mod", "go.sum", "Makefile", "LICENSE"}

// TestRoot keeps the root of the repository to that, to Markdown, and to what begins
// with a dot: other tools look for their files nowhere else.
func TestRoot(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "git", "-C", "../..", "ls-files", "-z").Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	files := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	if len(files) < len(top) {
		t.Fatalf("git lists %d files", len(files))
	}
	for _, file := range files {
		first, _, below := strings.Cut(file, "/")
		if !atRoot(first, below) {
			t.Errorf("%s does not belong at the root: see DESIGN.md", file)
		}
	}
}

func atRoot(name string, directory bool) bool {
	return slices.Contains(top, name) || strings.HasPrefix(name, ".") || !directory && path.Ext(name) == ".md"
}

// TestAtRoot proves that the rule can fail.
func TestAtRoot(t *testing.T) {
	for name, tc := range map[string]struct {
		name      string
		directory bool
		want      bool
	}{
		"Package":   {"policy", true, true},
		"Stranger":  {"pkg", true, false},
		"Script":    {"build.sh", false, false},
		"Markdown":  {"README.md", false, true},
		"Directory": {"docs.md", true, false},
		"Dot":       {".pre-commit-hooks.yaml", false, true},
	} {
		if got := atRoot(tc.name, tc.directory); got != tc.want {
			t.Errorf("%s: atRoot(%q) = %t", name, tc.name, got)
		}
	}
}
