package arch

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	skipping = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\) \{\n\tracing\.Skip\(t\)\n`)
	alone    = regexp.MustCompile(`(?m)^ALONE_(PACKAGES|TESTS) = (.*)$`)
)

// TestRacing wants every test that is skipped under the race detector to be one that make
// test runs without it.
func TestRacing(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "git", "-C", "../..", "grep", "-l", "racing[.]Skip(", "--", "*_test.go").Output()
	if err != nil {
		t.Fatalf("git grep: %v", err)
	}
	want := map[string][]string{}
	for file := range strings.Lines(string(out)) {
		file = strings.TrimSpace(file)
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		found := skipping.FindAllStringSubmatch(string(text), -1)
		if n := strings.Count(string(text), "racing.Skip("); n != len(found) && file != "test/arch/racing_test.go" {
			t.Errorf("%s: %d of %d calls of racing.Skip begin a test", file, len(found), n)
		}
		for _, m := range found {
			want["TESTS"] = append(want["TESTS"], m[1])
			want["PACKAGES"] = append(want["PACKAGES"], "./"+filepath.Dir(file))
		}
	}
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range alone.FindAllStringSubmatch(string(makefile), -1) {
		names := want[m[1]]
		slices.Sort(names)
		names = slices.Compact(names)
		if got := strings.FieldsFunc(m[2], func(r rune) bool { return r == '|' || r == ' ' }); !slices.Equal(got, names) {
			t.Errorf("Makefile: ALONE_%s is %q, want %q", m[1], got, names)
		}
		delete(want, m[1])
	}
	if len(want) > 0 {
		t.Errorf("Makefile: nothing says that these are run: %v", want)
	}
}
