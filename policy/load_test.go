package policy_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy"
)

// loadError loads one set and returns what is wrong with it.
func loadError(t *testing.T, set policy.Set, opts policy.Options) string {
	t.Helper()
	_, err := policy.Load(t.Context(), []policy.Set{set}, opts)
	if err == nil {
		return ""
	}
	var le *policy.LoadError
	if !errors.As(err, &le) || len(le.Problems) == 0 {
		t.Fatalf("Load: %v is not a LoadError with problems", err)
	}
	return err.Error()
}

func TestLoadRefuses(t *testing.T) {
	const ok = `deny contains "no"`
	for name, tc := range map[string]struct {
		reason string
		rego   string
		change func(*policy.Set)
		want   []string
	}{
		"O1/http.send": {
			reason: "Policies have no network.",
			rego:   `deny contains "no" if http.send({"method": "get", "url": "http://169.254.169.254"}).status_code == 200`,
			want:   []string{"a.rego:3:23: ", "built-in http.send is not available to policies: policies have no network"},
		},
		"O1/opa.runtime":       {"Nor the environment.", `deny contains x if x := opa.runtime().env.HOME`, nil, []string{"a.rego:3:", "opa.runtime", "no environment"}},
		"O1/lookup":            {"Nor DNS.", `deny contains x if some x in net.lookup_ip_addr("a.example")`, nil, []string{"net.lookup_ip_addr", "no network"}},
		"O1/clock":             {"A verdict must not change by itself.", `deny contains "no" if time.now_ns() > 0`, nil, []string{"time.now_ns", "clock"}},
		"O1/random":            {"Nor by chance.", `deny contains "no" if rand.intn("a", 2) == 0`, nil, []string{"rand.intn", "same verdict"}},
		"O1/uuid":              {"Nor by chance.", `deny contains x if x := uuid.rfc4122("a")`, nil, []string{"uuid.rfc4122", "same verdict"}},
		"O1/parse_module":      {"A policy does not compile policies.", `deny contains "no" if rego.parse_module("a", "package a")`, nil, []string{"rego.parse_module", "not available"}},
		"O1/trace":             {"trace would speak to nobody.", `deny contains "no" if trace("a")`, nil, []string{"trace", "print"}},
		"O1/jwt":               {"Policies hold no keys.", `deny contains x if x := io.jwt.decode("a")`, nil, []string{"io.jwt.decode", "no keys"}},
		"O1/with":              {"Replacing a built-in is no way round.", `deny contains "no" if f(1) with f as http.send` + "\nf(x) := x", nil, []string{"a.rego:3:"}},
		"O2/NoRule":            {"A package that says nothing would allow all.", `allow := true`, nil, []string{"no deny, violation or warn rule"}},
		"O2/Function":          {"A function named deny is never asked.", `deny(x) := "no" if x`, nil, []string{"a.rego:3:1: ", "deny is a function"}},
		"O2/PartialObject":     {"Nor is an object a set of messages.", `deny.x contains "no"`, nil, []string{"a.rego:3:1: ", "is not a set"}},
		"O7/BadPattern":        {"It would fail on every object.", `deny contains "no" if regex.match("(", input.object.kind)`, nil, []string{"a.rego:3:", "regular expression", "missing closing )"}},
		"O7/BadReplacePattern": {"Wherever the pattern stands.", `deny contains x if x := regex.replace("a", "[", "b")`, nil, []string{"a.rego:3:", "regular expression"}},
		"Syntax":               {"With the place.", "deny contains {\n", nil, []string{"a.rego:"}},
		"AllErrors":            {"Not only the first.", "deny contains x if x := undefined1(1)\ndeny contains x if x := undefined2(1)", nil, []string{"a.rego:3:", "undefined1", "a.rego:4:", "undefined2"}},
		"Unsafe":               {"Unsafe variables.", `deny contains x if not x == 1`, nil, []string{"a.rego:3:", "unsafe"}},
		"Strict":               {"Unused variables are mistakes.", `deny contains "no" if x := input.object`, nil, []string{"a.rego:3:", "unused"}},
		"V0":                   {"Rego v0 is recognised.", `deny[msg] { msg := "no" }`, nil, []string{"a.rego:1:1: ", "written in Rego v0"}},
		"O3/Recursion":         {"Rules do not call themselves.", "deny contains x if x := a\na := b\nb := a", nil, []string{"recursive"}},
		"Empty":                {"No module.", ok, func(s *policy.Set) { s.Modules = nil }, []string{"no deny, violation or warn rule"}},
		"OnlyTests":            {"Tests do not judge.", ok, func(s *policy.Set) { s.Modules = map[string]string{"a_test.rego": "package a\n" + ok} }, []string{"no deny, violation or warn rule"}},
		"BlankModule":          {"An empty file.", ok, func(s *policy.Set) { s.Modules["b.rego"] = "" }, []string{"b.rego:1:1: ", "empty"}},
		"Binary":               {"Not UTF-8.", ok, func(s *policy.Set) { s.Modules["b.rego"] = "package b\n# \xff" }, []string{"b.rego:1:1: ", "not UTF-8"}},
		"NameEmpty":            {"Findings need a name.", ok, func(s *policy.Set) { s.Name = "" }, []string{"the name"}},
		"NameSlash":            {"A slash would blur set/package.rule.", ok, func(s *policy.Set) { s.Name = "a/b" }, []string{"the name"}},
		"Enforcement":          {"A typo must not soften.", ok, func(s *policy.Set) { s.Enforcement = "deny" }, []string{`enforcement "deny"`}},
		"Format":               {"A format that nobody has.", ok, func(s *policy.Set) { s.Format = "Kyverno" }, []string{`format "Kyverno"`}},
		"RegoVersion":          {"A typo.", ok, func(s *policy.Set) { s.RegoVersion = "2" }, []string{`Rego version "2"`}},
		"NamespaceGlob":        {"A pattern that could never match must not pass as one.", ok, func(s *policy.Set) { s.Match.Namespaces = []string{"a*b"} }, []string{`namespace "a*b"`}},
		"LabelOperator": {"Nor an operator.", ok, func(s *policy.Set) {
			s.Match.LabelSelector = &policy.LabelSelector{MatchExpressions: []policy.LabelRequirement{{Key: "a", Operator: "in"}}}
		}, []string{`operator "in"`}},
		"O7/DataShadowsRule": {"data must not replace a rule.", ok, func(s *policy.Set) { s.Data = map[string]any{"acme": map[string]any{"deny": []any{}}} }, []string{"conflict"}},
		"O3/Nesting":         {"Brackets that would exhaust the parser.", "deny contains " + strings.Repeat("[", 100000), nil, []string{"nested brackets"}},
		"O3/LongLine":        {"A chain that would exhaust the compiler.", "x := 1" + strings.Repeat("+1", 100000), nil, []string{"bytes in one line"}},
	} {
		t.Run(name, func(t *testing.T) {
			set := policy.Set{Name: "set", Modules: map[string]string{"a.rego": "package acme\n\n" + tc.rego}}
			if tc.change != nil {
				tc.change(&set)
			}
			got := loadError(t, set, policy.Options{})
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("%s\nLoad() = %q, want it to contain %q", tc.reason, got, want)
				}
			}
		})
	}
}

func TestLoadLimits(t *testing.T) {
	set := policy.Set{Name: "set", Modules: map[string]string{"a.rego": "package a\ndeny contains 1", "b.rego": "package b"}}
	if got := loadError(t, set, policy.Options{MaxModules: 1}); !strings.Contains(got, "2 modules are more than the limit of 1") {
		t.Errorf("MaxModules: %q", got)
	}
	if got := loadError(t, set, policy.Options{MaxModuleBytes: 10}); !strings.Contains(got, "a.rego:1:1: ") || !strings.Contains(got, "more than the limit of 10") {
		t.Errorf("MaxModuleBytes: %q", got)
	}
}

// TestLoadReportsEverySet also wants the names of the sets and no half engine.
func TestLoadReportsEverySet(t *testing.T) {
	e, err := policy.Load(t.Context(), []policy.Set{
		{Name: "one", Modules: map[string]string{"a.rego": "package a\ndeny contains x"}},
		{Name: "two", Modules: map[string]string{"b.rego": "package b"}},
		{Name: "two", Modules: map[string]string{"c.rego": "package c\ndeny contains \"no\""}},
	}, policy.Options{})
	if e != nil || err == nil {
		t.Fatalf("Load() = %v, %v, want no engine", e, err)
	}
	for _, want := range []string{`a.rego:2:15: policy set "one": `, `policy set "two": no deny`, `policy set "two": two policy sets`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not contain %q", err, want)
		}
	}
}

// TestSetsAreIsolated gives two sets the same package, rule and data.
func TestSetsAreIsolated(t *testing.T) {
	mod := func(s string) map[string]string {
		return map[string]string{"a.rego": "package a\nimport data.limits\nlocal := \"" + s + "\"\n" +
			`deny contains sprintf("%s %s %v", [local, limits.x, data.a.local])`}
	}
	data := func(s string) map[string]any { return map[string]any{"limits": map[string]any{"x": s}} }
	e, err := policy.Load(t.Context(), []policy.Set{
		{Name: "one", Modules: mod("r1"), Data: data("d1")},
		{Name: "two", Modules: mod("r2"), Data: data("d2")},
		{Name: "spy", Modules: map[string]string{"a.rego": "package spy\n" + `deny contains "sees others" if data.limits` + "\n" + `deny contains "sees rules" if data.a.local`}},
	}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := "deny PolicyDenied [one/a.deny]: r1 d1 r1\ndeny PolicyDenied [two/a.deny]: r2 d2 r2"
	if diff := cmp.Diff(want, short(e.Evaluate(t.Context(), policy.Input{Object: []byte(configMap)}))); diff != "" {
		t.Error(diff)
	}
}

func TestReadSet(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	fsys := fstest.MapFS{
		"p/a.rego": file("package a"), "p/sub/b.rego": file("package b"), "p/a_test.rego": file("package a_test"),
		"p/data.json": file(`{"x": 1}`), "p/sub/deep/data.json": file(`{"y": 9007199254740993}`),
		"p/sub/data.yaml": file("deep: {z: 1}\n"),
		"p/.git/c.rego":   file("no"), "p/README.md": file("no"), "q/d.rego": file("package d"),
	}
	set, err := policy.ReadSet("set", fsys, "p", "q")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"p/a.rego": "package a", "p/sub/b.rego": "package b", "p/a_test.rego": "package a_test", "q/d.rego": "package d"}
	if diff := cmp.Diff(want, set.Modules); diff != "" {
		t.Error(diff)
	}
	deep := set.Data["sub"].(map[string]any)["deep"].(map[string]any)
	if got := deep["y"].(interface{ String() string }).String(); got != "9007199254740993" || len(set.Data) != 2 || len(deep) != 2 {
		t.Errorf("data = %v", set.Data)
	}
	for name, tc := range map[string]struct {
		fsys fstest.MapFS
		want string
	}{
		"BadYAML":  {fstest.MapFS{"data.yaml": file("- 1")}, "data.yaml: data must be one object"},
		"BadJSON":  {fstest.MapFS{"data.json": file("{")}, "data.json: "},
		"TwoJSON":  {fstest.MapFS{"data.json": file("{} {}")}, "more than one JSON document"},
		"Clash":    {fstest.MapFS{"data.json": file(`{"a": 1}`), "a/data.json": file("{}")}, "data.json: data.a has a value already, from a/data.json"},
		"Deep":     {fstest.MapFS{"data.json": file(`{"b": {"c": 1}}`), "b/data.yml": file("c: 2")}, "data.json: data.b.c has a value already, from b/data.yml"},
		"Below":    {fstest.MapFS{"a.data/data.json": file(`{"b": 1}`), "a.data/b/data.json": file("{}")}, "has a value already, from a.data/b/data.json"},
		"TooLarge": {fstest.MapFS{"a.rego": file(strings.Repeat("#", 17<<20))}, "more than 16 MiB"},
	} {
		if _, err := policy.ReadSet("set", tc.fsys, "."); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: ReadSet() = %v, want %q", name, err, tc.want)
		}
	}
	if _, err := policy.ReadSet("set", fsys, "absent"); err == nil {
		t.Error("a root that is not there is no error")
	}
}
