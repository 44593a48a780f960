package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy/verdict"
)

func TestNamesCarryRows(t *testing.T) {
	for name, want := range map[string][]string{
		"TestAttack_G3_DuplicateTree":               {"G3"},
		"TestAttack_G3_DuplicateTree/EvilFirst":     {"G3"},
		"TestAttack_G17_HostilePack/G17/ZlibBomb":   {"G17"},
		"TestAttack_G1_G2_Both":                     {"G1", "G2"},
		"TestG3":                                    {"G3"},
		"TestG3_Twice":                              {"G3"},
		"TestPlanRefused/P6/NoIdentity":             {"P6"},
		"TestPlanRefused/Empty":                     nil,
		"TestGo1":                                   nil,
		"TestAttack_G30Something_X":                 nil,
		"TestAttack_I07_LeadingZero":                nil,
		"TestEvaluate/O2/BuiltinError/TestAttack_x": {"O2"},
	} {
		if diff := cmp.Diff(want, idsIn(name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// module writes a module with tests in it and returns its directory.
func writeModule(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range map[string]string{
		"a/a_test.go": `package a
func TestAttack_G1_Alone(t *testing.T) {}
func TestTable(t *testing.T) {
	for name := range map[string]int{"G2/One": 1, "Other": 2, "P6/Two": 3} {
		t.Run(name, func(t *testing.T) {})
	}
}
func TestNothing(t *testing.T) { _ = "see G1 and G2" }
func helper() { _ = "G3/x" }
`,
		"b/b_test.go":          "package b\nfunc TestPrefix(t *testing.T) { t.Run(\"G3/\"+\"x\", nil) }\n",
		"b/b.go":               "package b\nfunc TestAttack_G4_NotATest() {}\n",
		"c/testdata/c_test.go": "package c\nfunc TestAttack_G4_Data(t *testing.T) {}\n",
		"d/go.mod":             "module other\n",
		"d/d_test.go":          "package d\nfunc TestAttack_G4_OtherModule(t *testing.T) {}\n",
		".hidden/e_test.go":    "package e\nfunc TestAttack_G4_Hidden(t *testing.T) {}\n",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestDiscover(t *testing.T) {
	rows := []row{{ID: "G1"}, {ID: "G2"}, {ID: "G3"}, {ID: "G4"}}
	got, err := discover(writeModule(t), "example.com/m", rows)
	if err != nil {
		t.Fatal(err)
	}
	want := []testFunc{
		{"example.com/m/a", "TestAttack_G1_Alone", []string{"G1"}, false},
		{"example.com/m/a", "TestTable", []string{"G2"}, true},
		{"example.com/m/b", "TestPrefix", []string{"G3"}, true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want(-) got(+):\n%s", diff)
	}
	if got, want := pattern(got), "^(TestAttack_G1_Alone)$|^(TestPrefix|TestTable)$/^(G2|G3)$"; got != want {
		t.Errorf("pattern %s, want %s", got, want)
	}
	if diff := cmp.Diff([]string{"example.com/m/a", "example.com/m/b"}, packages(got)); diff != "" {
		t.Errorf("packages:\n%s", diff)
	}
}

func TestReport(t *testing.T) {
	const pkg = "gitgate.dev/gitgate/x"
	test := func(name string, subtests bool, ids ...string) testFunc { return testFunc{pkg, name, ids, subtests} }
	for name, tc := range map[string]struct {
		reason string
		tests  []testFunc
		events string
		count  int
		want   []string
	}{
		"Passed": {"Leaves count, once each.", []testFunc{test("TestAttack_G1_A", false, "G1")},
			"pass TestAttack_G1_A/b\npass TestAttack_G1_A/c\npass TestAttack_G1_A", 2, nil},
		"NoTest":    {"A row without a test is not withstood.", nil, "", 0, []string{"no test"}},
		"DidNotRun": {"A test behind a build tag, or after a panic, proves nothing.", []testFunc{test("TestAttack_G1_A", false, "G1")}, "", 0, []string{"did not run: x TestAttack_G1_A"}},
		"Skipped":   {"Nor does one that was skipped.", []testFunc{test("TestAttack_G1_A", false, "G1")}, "skip TestAttack_G1_A", 0, []string{"did not run: x TestAttack_G1_A"}},
		"Failed": {"One failure is enough.", []testFunc{test("TestAttack_G1_A", false, "G1")},
			"pass TestAttack_G1_A/b\nfail TestAttack_G1_A/c\nfail TestAttack_G1_A", 1, []string{"failed: x TestAttack_G1_A/c"}},
		"FailedOutsideOfSubtests": {"Also in the function itself.", []testFunc{test("TestAttack_G1_A", false, "G1")},
			"pass TestAttack_G1_A/b\nfail TestAttack_G1_A", 1, []string{"failed: x TestAttack_G1_A"}},
		"OneOfTwo": {"Each function has to run.", []testFunc{test("TestAttack_G1_A", false, "G1"), test("TestAttack_G1_B", false, "G1")},
			"pass TestAttack_G1_A", 1, []string{"did not run: x TestAttack_G1_B"}},
		"Subtests": {"Subtests that carry another id do not count.", []testFunc{test("TestT", true, "G1", "G2")},
			"pass TestT/G1/a\npass TestT/G2/b\npass TestT/G1\npass TestT", 1, nil},
		"SubtestsDidNotRun": {"The function alone says nothing of its subtests.", []testFunc{test("TestT", true, "G1")},
			"pass TestT", 0, []string{"did not run: x TestT"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newResults([]row{{ID: "G1", Attack: "a", Verdicts: reasons(verdict.UnsignedCommit)}}, tc.tests)
			for line := range strings.Lines(tc.events) {
				action, name, _ := strings.Cut(strings.TrimSpace(line), " ")
				r.take([]byte(`{"Action":"`+action+`","Package":"`+pkg+`","Test":"`+name+`"}`), &bytes.Buffer{})
			}
			got := r.report()[0]
			if diff := cmp.Diff(tc.want, got.Problems); diff != "" || got.Tests != tc.count || got.Passed != (len(tc.want) == 0) {
				t.Errorf("%s\n%d tests, want %d; passed %t; problems (-want +got):\n%s", tc.reason, got.Tests, tc.count, got.Passed, diff)
			}
		})
	}
}

func TestBrokenPackage(t *testing.T) {
	r := newResults(nil, nil)
	var progress bytes.Buffer
	r.take([]byte(`{"Action":"output","Package":"m/x/p","Output":"attacks: gitgate did not survive\n"}`), &progress)
	r.take([]byte(`{"Action":"fail","Package":"m/x/p"}`), &progress)
	r.take([]byte(`{"Action":"build-fail","ImportPath":"m/x/q"}`), &progress)
	if diff := cmp.Diff([]string{"m/x/p", "m/x/q"}, r.broken); diff != "" || !strings.Contains(progress.String(), "did not survive") {
		t.Errorf("broken (-want +got):\n%s\n%s", diff, &progress)
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	err := printTable(&b, []outcome{
		{ID: "G1", Attack: "first", Verdicts: []string{"A", "B"}, Tests: 3, Passed: true},
		{ID: "G17", Attack: "second attack", Verdicts: []string{"C"}, Problems: []string{"no test"}},
	})
	const want = `
id   attack         verdict  tests  result
G1   first          A, B     3      pass
G17  second attack  C        0      FAIL

G17 no test
1 of 2 attacks withstood, in 3 tests
`
	if diff := cmp.Diff(want, b.String()); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestUsage(t *testing.T) {
	for name, args := range map[string][]string{
		"UnknownRow": {"-only", "G3,X1"}, "UnknownFormat": {"-o", "yaml"}, "UnknownFlag": {"-x"},
	} {
		var out, progress bytes.Buffer
		if code, err := run(t.Context(), args, &out, &progress); code != exitUsage || err == nil || out.Len() > 0 {
			t.Errorf("%s: exit code %d, %v, output %q", name, code, err, &out)
		}
	}
	rows, err := selectRows("g3, P1")
	if err != nil || len(rows) != 2 || rows[0].ID != "G3" || rows[1].ID != "P1" {
		t.Errorf("selectRows = %v, %v", rows, err)
	}
}

// TestCatalogue holds the catalogue to its own form.
func TestCatalogue(t *testing.T) {
	known := regexp.MustCompile(`^[A-Z][A-Za-z]+$`)
	seen := map[string]bool{}
	for _, r := range catalogue {
		if seen[r.ID] || !idInName.MatchString(r.ID) || r.Attack == "" || len(r.Attack) > 60 || len(r.Verdicts) == 0 {
			t.Errorf("row %+v is malformed or there twice", r)
		}
		seen[r.ID] = true
		for _, v := range r.Verdicts {
			if !known.MatchString(string(v)) {
				t.Errorf("%s: %q is no reason", r.ID, v)
			}
		}
	}
}
