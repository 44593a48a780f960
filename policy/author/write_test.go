package author_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy/author"
)

var ordinary = author.Report{
	Tests: []author.Result{
		{Suite: "acme_test", Name: "test_a", File: "a_test.rego", Line: 3, Status: author.Passed, Elapsed: time.Second, Output: "said\n"},
		{Suite: "acme_test", Name: "test_b", File: "a_test.rego", Line: 5, Status: author.Failed, Message: []string{"a_test.rego:6: x == 1"}},
		{Suite: "team", Name: "c", File: "a.test.yaml", Line: 7, Status: author.Errored, Message: []string{"gone"}},
		{Suite: "team", Name: "d", File: "a.test.yaml", Line: 9, Status: author.Skipped},
	},
	Coverage: &author.Coverage{Percent: 50, Files: []author.FileCoverage{
		{File: "a.rego", Percent: 50, Covered: 2, Lines: 4, Uncovered: []author.Lines{{2, 2}, {5, 7}}}, {File: "b.rego", Percent: 100},
	}},
}

func written(t *testing.T, r author.Report, format string, s author.Style) string {
	t.Helper()
	var b strings.Builder
	if err := r.Write(&b, format, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestText(t *testing.T) {
	want := `a_test.rego:5: FAIL acme_test.test_b
    a_test.rego:6: x == 1
a.test.yaml:7: ERROR team.c
    gone
a.test.yaml:9: SKIP team.d
a.rego: 50.0 % covered, not lines 2, 5-7
FAIL: 1 passed, 1 failed, 1 could not be run, 1 skipped, coverage 50.0 %
`
	if diff := cmp.Diff(want, written(t, ordinary, "text", author.Style{})); diff != "" {
		t.Error(diff)
	}
	verbose := written(t, ordinary, "text", author.Style{Verbose: true, Color: true})
	for _, want := range []string{"\x1b[32mPASS\x1b[0m acme_test.test_a\n    | said\n", "b.rego: 100.0 % covered\n"} {
		if !strings.Contains(verbose, want) {
			t.Errorf("verbose text %q lacks %q", verbose, want)
		}
	}
}

func TestJSON(t *testing.T) {
	var got struct {
		Kind     string
		Passed   bool
		Counts   map[string]int
		Tests    []map[string]any
		Coverage struct{ Percent float64 }
	}
	if err := json.Unmarshal([]byte(written(t, ordinary, "json", author.Style{})), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"suite": "acme_test", "name": "test_a", "file": "a_test.rego", "line": 3.0, "status": "pass", "output": "said\n", "seconds": 1.0}
	if diff := cmp.Diff(want, got.Tests[0]); diff != "" || got.Kind != "PolicyTestReport" || got.Passed || got.Counts["fail"] != 1 || got.Coverage.Percent != 50 {
		t.Errorf("%+v %s", got, diff)
	}
}

func TestJUnit(t *testing.T) {
	type result struct {
		Message string `xml:"message,attr"`
	}
	var got struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Skipped  int `xml:"skipped,attr"`
		Suites   []struct {
			Name  string `xml:"name,attr"`
			Cases []struct {
				Name    string  `xml:"name,attr"`
				Failure *result `xml:"failure"`
				Error   *result `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(written(t, ordinary, "junit", author.Style{})), &got); err != nil {
		t.Fatal(err)
	}
	if got.Tests != 4 || got.Failures != 1 || got.Errors != 1 || got.Skipped != 1 || len(got.Suites) != 2 {
		t.Errorf("%+v", got)
	}
	if f := got.Suites[0].Cases[1].Failure; f == nil || f.Message != "a_test.rego:6: x == 1" {
		t.Errorf("%+v", got.Suites[0])
	}
	if e := got.Suites[1].Cases[0].Error; e == nil || e.Message != "gone" {
		t.Errorf("%+v", got.Suites[1])
	}
}

// TestHostile proves that nothing of a test steers a terminal or a CI system.
func TestHostile(t *testing.T) {
	const evil = "\x1b]0;x\x07\u202e\n::error::x ##vso[task]"
	r := author.Report{Tests: []author.Result{{Suite: evil, Name: evil, File: evil, Status: author.Failed, Message: []string{evil}, Output: evil}}}
	for _, format := range author.Formats() {
		out := written(t, r, format, author.Style{Verbose: true})
		for _, bad := range []string{"\x1b", "\x07", "\u202e", "\n::", "    ::", "##vso["} {
			if strings.Contains(out, bad) {
				t.Errorf("%s holds %q: %q", format, bad, out)
			}
		}
	}
}

func TestWriteErrors(t *testing.T) {
	if err := ordinary.Write(&strings.Builder{}, "yaml", author.Style{}); err == nil || !strings.Contains(err.Error(), "junit") {
		t.Errorf("Write(yaml) = %v, want the formats", err)
	}
	for _, format := range author.Formats() {
		if err := ordinary.Write(full{}, format, author.Style{}); !errors.Is(err, errFull) {
			t.Errorf("Write(%s) to a full disk = %v", format, err)
		}
	}
}

var errFull = errors.New("no space left on device")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }
