package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policy/report"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// TestCheckOutputs writes several reports of one run.
func TestCheckOutputs(t *testing.T) {
	r := newCheckRepo(t)
	head := r.feature(gitrepo.Change{Files: map[string]string{"app/x.yaml": strings.ReplaceAll(settings, "settings", "x")}}).String()
	dir := t.TempDir()
	args := []string{"--base", "main", "--head", head, "-o", "text"}
	for _, f := range report.Formats() {
		args = append(args, "-o", f+"="+filepath.Join(dir, f))
	}
	old := filepath.Join(dir, "json")
	if err := os.WriteFile(old, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := r.check(args...)
	if code != exitAllowed || errs != "" || !strings.Contains(out, "allowed") {
		t.Fatalf("exit %d, stderr %q, stdout %q", code, errs, out)
	}
	for _, f := range report.Formats() {
		raw, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil || len(raw) == 0 {
			t.Errorf("%s: %d bytes, %v", f, len(raw), err)
		}
	}
	if raw, _ := os.ReadFile(old); !json.Valid(raw) {
		t.Errorf("json: %q", raw)
	}
	if raw, _ := os.ReadFile(filepath.Join(dir, "text")); string(raw) != out {
		t.Errorf("text: %q, on the terminal %q", raw, out)
	}
	noLeftovers(t, dir, len(report.Formats()))
}

func noLeftovers(t *testing.T, dir string, want int) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != want {
		t.Errorf("%d files, want %d: %v, %v", len(entries), want, entries, err)
	}
}

// TestCheckBadOutputs: an output that cannot be written is told before anything is
// judged, and files stay as they are.
func TestCheckBadOutputs(t *testing.T) {
	r := newCheckRepo(t)
	dir := t.TempDir()
	kept := filepath.Join(dir, "kept.json")
	if err := os.WriteFile(kept, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		reason string
		args   []string
		want   string
	}{
		"Format":    {"A format that is none.", []string{"-o", "yaml"}, `there is no format "yaml"`},
		"Two":       {"Two reports in one stream.", []string{"-o", "text", "-o", "json"}, "two outputs cannot go to one place"},
		"SameFile":  {"Two reports in one file.", []string{"-o", "sarif=" + kept, "-o", "json=" + kept}, "two outputs cannot go to one place"},
		"Directory": {"A directory.", []string{"-o", "json=" + dir}, "is a directory"},
		"Nowhere":   {"A directory that is not there.", []string{"-o", "json=" + filepath.Join(dir, "no", "x.json")}, "no such file or directory"},
		"Later":     {"What goes wrong later leaves the file as it was.", []string{"-o", "json=" + kept, "--base", "nowhere"}, "--base"},
		"FailOn":    {"A severity that is none.", []string{"--fail-on", "info"}, "--fail-on info"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := r.check(append([]string{"--head", "main"}, tc.args...)...)
			if code != exitUsage || out != "" || !strings.Contains(errs, tc.want) {
				t.Errorf("%s\nexit %d, stdout %q, stderr %q", tc.reason, code, out, errs)
			}
			if raw, err := os.ReadFile(kept); err != nil || string(raw) != "old" {
				t.Errorf("%s\nthe file holds %q now, %v", tc.reason, raw, err)
			}
			noLeftovers(t, dir, 1)
		})
	}
}
