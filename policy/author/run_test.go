package author_test

import (
	"errors"
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/author"
)

// files makes a file system of texts.
func files(texts map[string]string) fs.FS {
	out := fstest.MapFS{}
	for name, text := range texts {
		out[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	return out
}

const teamRule = `package acme

deny_no_team contains {"msg": msg, "field": "metadata.labels.team"} if {
	not input.object.metadata.labels.team
	not exempt
	msg := sprintf("this %s has no label team: add one", [input.object.kind])
}

exempt if input.object.kind in input.parameters.exempt

is_short(name) if count(name) < 3
`

// rego runs one file of tests beside the rule above and gives what became of each
// test.
func rego(t *testing.T, tests string, o author.Options) (map[string]author.Result, error) {
	t.Helper()
	r, err := author.Run(t.Context(), []author.Source{{FS: files(map[string]string{"team.rego": teamRule, "team_test.rego": tests})}}, o)
	out := map[string]author.Result{}
	for _, result := range r.Tests {
		out[result.Name] = result
	}
	return out, err
}

func TestRego(t *testing.T) {
	const head = "package acme_test\nimport data.acme\nweb := {\"kind\": \"Service\"}\n"
	for name, tc := range map[string]struct {
		reason, test string
		want         author.Status
		message      string
	}{
		"Pass": {
			"What is asserted is so.",
			`test_x if count(acme.deny_no_team) == 1 with input as {"object": web, "parameters": {"exempt": []}}`,
			author.Passed, "",
		},
		"Fail": {
			"The expression at fault is named, with what its variables hold.",
			"test_x if {\n\tfound := acme.deny_no_team with input as {\"object\": web}\n\tn := count(found)\n\tn == 2\n}",
			author.Failed, "team_test.rego:7: n == 2\n  where n is 1",
		},
		"Undefined": {
			"A test that has no value fails.",
			`test_x if acme.exempt with input as {}`, author.Failed, "team_test.rego:4: acme.exempt",
		},
		"False":        {"A test that is false fails.", "test_x := false if not acme.exempt", author.Failed, "the test has no value, or one that is not true"},
		"BuiltinError": {"What fails does not pass.", `test_x if { not acme.exempt; 1 / count([]) }`, author.Errored, "divide by zero"},
		"Timeout": {
			"A test ends in time.",
			"test_x if { not acme.exempt; every i in numbers.range(1, 1000000) { every j in numbers.range(1, 1000000) { i + j > 0 } } }",
			author.Errored, "took longer",
		},
		"Network":        {"A test does not reach out.", `test_x if { not acme.exempt; http.send({"method": "get", "url": "http://192.0.2.1/"}) }`, author.Errored, "disallowed host"},
		"O2/True":        {"A constant asserts nothing.", "test_x if true", author.Failed, "asserts nothing"},
		"O2/Constants":   {"Nor do constants that are compared.", "test_x if 1 == 1", author.Failed, "asserts nothing"},
		"O2/OnlyAssigns": {"Looking at a set is no assertion: it always has a value.", "test_x if { found := acme.deny_no_team; print(found) }", author.Failed, "asserts nothing"},
		"Value":          {"The value of the test may be the assertion.", `test_x := acme.deny_no_team == set()`, author.Passed, ""},
		"OnlyItself":     {"A test of itself tests no policy.", "test_x if double(2) == 4\ndouble(x) := x * 2", author.Failed, "reads no rule"},
		"Function":       {"A function of a policy may be called with constants.", "test_x if { acme.is_short(\"a\"); not acme.is_short(\"abc\") }", author.Passed, ""},
		"Mocked":         {"What is replaced is not read.", "test_x if count(data.acme_test.web) == 1 with data.acme.exempt as true", author.Failed, "reads no rule"},
		"ThroughRules":   {"A policy may be read through helpers.", "test_x if findings == set()\nfindings := acme.deny_no_team", author.Passed, ""},
		"Whole":          {"A package may be read whole.", "test_x if { some rule, found in data.acme; rule == \"deny_no_team\"; found == set() }", author.Passed, ""},
		"Skipped":        {"What is to do is shown.", "todo_test_x if false\ntest_y if acme.deny_no_team == set()", author.Skipped, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := author.Options{}
			if name == "Timeout" {
				o.Timeout = 1e8
			}
			got, err := rego(t, head+tc.test+"\n", o)
			if err != nil {
				t.Fatalf("%s\n%v", tc.reason, err)
			}
			r, ok := got["test_x"]
			if !ok {
				r = got["todo_test_x"]
			}
			if message := strings.Join(r.Message, "\n"); r.Status != tc.want || !strings.Contains(message, tc.message) {
				t.Errorf("%s\ngot %s %q, want %s %q", tc.reason, r.Status, message, tc.want, tc.message)
			}
		})
	}
}

func TestRegoCases(t *testing.T) {
	got, err := rego(t, `package acme_test
test_kinds[kind] if {
	some kind, n in {"Service": 1, "Namespace": 1}
	count(data.acme.deny_no_team) == n with input as {"object": {"kind": kind}, "parameters": {"exempt": ["Namespace"]}}
}
`, author.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r := got["test_kinds"]; r.Status != author.Failed || len(r.Message) == 0 || r.Message[0] != "case Namespace fails" {
		t.Errorf("got %+v, want the case that fails", r)
	}
}

// TestRefusals lists what must not look like success.
func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		files  map[string]string
		o      author.Options
		want   string
	}{
		"NoTests":     {"Nothing was tested.", map[string]string{"a.rego": teamRule}, author.Options{}, "no tests found in ."},
		"AllSkipped":  {"Nothing was tested.", map[string]string{"a_test.rego": "package a\ntodo_test_x if true\n"}, author.Options{}, "all 1 are skipped"},
		"NoneMatches": {"A filter that is mistyped tests nothing.", map[string]string{"a_test.rego": "package a\ntest_x if true\n"}, author.Options{Run: regexp.MustCompile("y$")}, `whose name matches "y$"`},
		"Syntax":      {"The place is named.", map[string]string{"a_test.rego": "package a\ntest_x if {\n"}, author.Options{}, "a_test.rego:"},
		"Compile":     {"A test of a rule that is gone does not compile.", map[string]string{"a_test.rego": "package a\ntest_x if f(1)\n"}, author.Options{}, "a_test.rego:2:11: undefined function f"},
		"V0":          {"The dialect is named.", map[string]string{"a.rego": "package a\ndeny[msg] { msg := input.x }\n"}, author.Options{}, "--rego-version v0"},
		"NoManifest":  {"What is named like a test is one.", map[string]string{"a.test.yaml": "kind: PolicyTest\n"}, author.Options{}, "a.test.yaml: a file of this name is a test"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := author.Run(t.Context(), []author.Source{{FS: files(tc.files)}}, tc.o)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\nRun() = %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
	_, err := author.Run(t.Context(), []author.Source{{FS: files(nil), Root: "gone"}}, author.Options{})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Run(a directory that is not there) = %v", err)
	}
}

func TestV0(t *testing.T) {
	r, err := author.Run(t.Context(), []author.Source{{RegoVersion: policy.RegoV0, FS: files(map[string]string{
		"a.rego":      "package a\ndeny[msg] { input.x; msg := \"x\" }\n",
		"a_test.rego": "package a\ntest_x { deny[\"x\"] with input as {\"x\": 1} }\n",
	})}}, author.Options{})
	if err != nil || !r.Passed() {
		t.Errorf("Run() = %+v, %v", r, err)
	}
}

// Helpers of libraries in the older dialect tell types apart by built-ins that fail.
func TestV0Builtins(t *testing.T) {
	for version, want := range map[policy.RegoVersion]author.Status{policy.RegoV0: author.Passed, policy.RegoV1: author.Errored} {
		r, err := author.Run(t.Context(), []author.Source{{RegoVersion: version, FS: files(map[string]string{
			"a.rego":      "package a\nimport future.keywords\npercent(v) if endswith(v, \"%\")\n",
			"a_test.rego": "package a\nimport future.keywords\ntest_x if not percent(input.x) with input as {\"x\": 3}\n",
		})}}, author.Options{})
		if err != nil || len(r.Tests) != 1 || r.Tests[0].Status != want {
			t.Errorf("%s: %+v, %v, want %s", version, r, err, want)
		}
	}
}

func TestCoverage(t *testing.T) {
	source := author.Source{FS: files(map[string]string{
		"rules/team.rego": teamRule,
		"rules/team_test.rego": `package acme_test
test_x if count(data.acme.deny_no_team) == 0 with input as {"object": {"kind": "A"}, "parameters": {"exempt": ["A"]}}
`,
	}), Root: "rules", Show: func(s string) string { return "shown/" + s }}
	r, err := author.Run(t.Context(), []author.Source{source}, author.Options{Coverage: true})
	if err != nil {
		t.Fatal(err)
	}
	want := &author.Coverage{Percent: 50, Files: []author.FileCoverage{{
		File: "shown/rules/team.rego", Percent: 50, Covered: 3, Lines: 6, Uncovered: []author.Lines{{3, 3}, {6, 6}, {11, 11}},
	}}}
	if diff := cmp.Diff(want, r.Coverage); diff != "" {
		t.Error(diff)
	}
}
