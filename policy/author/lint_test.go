package author_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/author"
)

const lintMetadata = "# METADATA\n# title: T\n# description: D\n# custom:\n#   severity: high\n#   remediation: R\n"

// lint looks at one module, beside a test that reads its package, and gives what
// was found as line:column rule, but for what is missing around it.
func lint(t *testing.T, src string, o author.LintOptions) []string {
	t.Helper()
	r, err := author.Lint(t.Context(), []author.Source{{FS: files(map[string]string{
		"a.rego": src, "a_test.rego": "package a_test\ntest_a if data.a[_]\n",
	})}}, o)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, f := range r.Findings {
		if f.Rule != "missing-metadata" {
			out = append(out, fmt.Sprintf("%s:%d:%d %s", f.File, f.Line, f.Column, f.Rule))
		}
	}
	return out
}

func TestLint(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, src string
		want        []string
	}{
		"Clean":       {"Nothing is wrong.", `deny contains "a" if input.object.kind == "Pod"`, nil},
		"NotCall":     {"A call whose operand is absent is undefined.", `deny contains "a" if not startswith(input.object.spec.x, "a")`, []string{"a.rego:2:22 undefined-not"}},
		"NotIn":       {"So is membership.", `deny contains "a" if not input.object.kind in input.parameters.kinds`, []string{"a.rego:2:22 undefined-not"}},
		"NotLess":     {"So is an order.", `deny contains "a" if not input.object.spec.replicas > 1`, []string{"a.rego:2:22 undefined-not"}},
		"NotNested":   {"However deep it stands.", `deny contains "a" if not startswith(lower(input.object.spec.x), "a")`, []string{"a.rego:2:22 undefined-not"}},
		"NotMember":   {"Members of what is iterated may be absent too.", "deny contains \"a\" if {\n\tsome c in input.object.spec.containers\n\tnot startswith(c.image, \"a\")\n}", []string{"a.rego:4:2 undefined-not"}},
		"NotInEvery":  {"Within every as well.", `deny contains "a" if { every c in input.object.spec.containers { not startswith(c.image, "x") } }`, []string{"a.rego:2:66 undefined-not"}},
		"NotRule":     {"A rule that comes and goes with the input is one.", "deny contains \"a\" if not startswith(spec.x, \"a\")\nspec := input.object.spec", []string{"a.rego:2:22 undefined-not"}},
		"NotHelper":   {"A helper is looked at like a rule.", "deny contains \"a\" if bad\nbad if not startswith(input.object.spec.x, \"a\")", []string{"a.rego:3:8 undefined-not"}},
		"NotEquals":   {"An equation is looked up within the negation.", `deny contains "a" if not input.object.spec.x == "a"`, nil},
		"NotRef":      {"So is a path on its own.", `deny contains "a" if not input.object.spec.x`, nil},
		"NotNamed":    {"A condition with a name is right.", "deny contains \"a\" if not good\ngood if startswith(input.object.spec.x, \"a\")", nil},
		"NotAlways":   {"What is always there is never absent.", `deny contains "a" if not input.object.kind in {"Pod"}`, nil},
		"NotLookedUp": {"Nor what was looked up before.", "deny contains \"a\" if {\n\tinput.object.spec.x\n\tnot startswith(input.object.spec.x, \"a\")\n}", nil},
		"NotAssigned": {"What is given a name is looked up in plain sight.", "deny contains \"a\" if {\n\tx := input.object.spec.x\n\tnot startswith(x, \"a\")\n}", nil},
		"NotNull":     {"Whether something is there may be asked in this way too.", `deny contains "a" if not input.object.spec.x in {"", null}`, nil},
		"NotSet":      {"A comprehension is empty, at worst.", "deny contains \"a\" if { some x in input.object.spec.a; not x in known }\nknown := {x | some x in input.object.spec.b}", nil},
		"NotConstant": {"A rule that is a constant is always there.", "deny contains \"a\" if not input.object.kind in kinds\nkinds := {\"Pod\"}", nil},
		"NotDefault":  {"So is one with a default.", "deny contains \"a\" if not startswith(x, \"a\")\ndefault x := \"\"\nx := input.object.spec.x", nil},
		"NotGet":      {"object.get has a value in any case.", `deny contains "a" if not startswith(object.get(input.object, ["spec", "x"], ""), "a")`, nil},
		"NotKnown":    {"What is known is always known.", `deny contains "a" if not input.known.commit in {true}`, nil},
		"Inequality":  {"An inequality with what is absent is no inequality.", `deny contains "a" if input.object.spec.hostNetwork != false`, []string{"a.rego:2:22 undefined-inequality"}},
		"Presence":    {"Whether something is there may be asked.", `deny contains "a" if input.object.spec.hostNetwork != null`, nil},
		"Unequal":     {"Two values that both must be there are compared.", `deny contains "a" if input.object.spec.a != input.object.spec.b`, nil},
		"Complete":    {"A message that is no set is an error on each object.", `deny := "a" if input.object.spec.x`, []string{"a.rego:2:1 complete-rule"}},
		"NoMessage":   {"An object without msg is one too.", `deny contains {"field": "x"} if input.object.spec.x`, []string{"a.rego:2:1 no-message"}},
		"Number":      {"So is a number.", `deny contains 1 if input.object.spec.x`, []string{"a.rego:2:1 no-message"}},
		"Described":   {"The METADATA may be the message.", lintMetadata + `deny contains {"field": "x"} if input.object.spec.x`, nil},
		"Silent":      {"A rule that is misnamed says nothing.", "deny contains \"a\" if input.object.x\ndenied contains \"b\" if input.object.y", []string{"a.rego:3:1 silent-rule"}},
		"NotSilent":   {"Such a rule may be read.", "deny contains x if some x in violations\nviolations contains \"b\" if input.object.y", nil},
		"Unreachable": {"What nobody reads does nothing.", "deny contains \"a\" if input.object.x\nhelper if input.object.y\nf(x) := x", []string{"a.rego:3:1 unreachable", "a.rego:4:1 unreachable"}},
		"False":       {"false never holds.", "deny contains \"a\" if { input.object.x; false }", []string{"a.rego:2:40 never-holds"}},
		"Both":        {"An object has one kind.", "deny contains \"a\" if {\n\tinput.object.kind == \"Pod\"\n\tinput.object.kind == \"Job\"\n}", []string{"a.rego:4:2 never-holds"}},
		"CamelCase":   {"Names are in snake_case.", `deny_noTeam contains "a" if input.object.x`, []string{"a.rego:2:1 rule-name"}},
		"Print":       {"print says nothing in a server.", `deny contains "a" if { input.object.x; print("x") }`, []string{"a.rego:2:40 print"}},
		"Compile":     {"What does not load is told, and nothing else.", `deny contains x if input.object.x`, []string{"a.rego:2:15 compile"}},
		"Forbidden":   {"Built-ins that policies may not use do not load.", `deny contains "a" if http.send({"method": "get", "url": "x"})`, []string{"a.rego:2:22 compile"}},
		"Syntax":      {"A module that does not parse is told.", `deny contains "a" if {`, []string{"a.rego:2:22 compile"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := lint(t, "package a\n"+tc.src+"\n", author.LintOptions{})
			if name == "Syntax" || name == "Compile" {
				if len(got) == 0 || slices.ContainsFunc(got, func(s string) bool { return !strings.HasSuffix(s, " compile") || !strings.HasPrefix(s, "a.rego:") }) {
					t.Errorf("%s\n%v", tc.reason, got)
				}
				return
			}
			if diff := cmp.Diff(append([]string{}, tc.want...), got); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
		})
	}
}

func TestLintMetadata(t *testing.T) {
	for name, tc := range map[string]struct{ reason, metadata, want string }{
		"None":     {"All is missing.", "", "the METADATA of a.deny lacks a title, a description, custom.severity, custom.remediation"},
		"Some":     {"What is missing is named.", "# METADATA\n# title: T\n# custom:\n#   severity: high\n", "the METADATA of a.deny lacks a description, custom.remediation"},
		"Severity": {"A severity is one of four.", strings.Replace(lintMetadata, "high", "severe", 1), "the METADATA of a.deny lacks a custom.severity that is one of critical, high, medium, low"},
		"All":      {"Nothing is missing.", lintMetadata, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := author.Lint(t.Context(), []author.Source{{FS: files(map[string]string{
				"a.rego": "package a\n\n" + tc.metadata + "deny contains \"a\" if input.object.x\n", "a_test.rego": "package a_test\ntest_a if data.a.deny\n",
			})}}, author.LintOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, f := range r.Findings {
				got += f.Message
			}
			if got != tc.want {
				t.Errorf("%s\ngot %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

func TestLintUntested(t *testing.T) {
	const rule = "package a\n" + "deny_x contains \"a\" if input.object.x\n"
	for name, tc := range map[string]struct {
		reason string
		beside map[string]string
		want   bool
	}{
		"None":     {"No test reads it.", nil, true},
		"Rego":     {"A test reads it.", map[string]string{"a_test.rego": "package a_test\ntest_x if count(data.a.deny_x) == 0\n"}, false},
		"Other":    {"A test reads another one.", map[string]string{"b.rego": "package b\ndeny contains \"b\" if input.b\n", "b_test.rego": "package b_test\ntest_x if count(data.b.deny) == 0\n"}, true},
		"Manifest": {"A manifest expects it.", map[string]string{"a.test.yaml": "apiVersion: test.gitgate.dev/v1alpha1\nkind: PolicyTest\nmetadata: {name: t}\npolicy: .\ncases: [{name: c, object: {}, expect: [{policy: a.deny_x}]}]\n"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			all := map[string]string{"a.rego": rule}
			for k, v := range tc.beside {
				all[k] = v
			}
			r, err := author.Lint(t.Context(), []author.Source{{FS: files(all)}}, author.LintOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got := slices.ContainsFunc(r.Findings, func(f author.LintFinding) bool { return f.Rule == "untested" && f.File == "a.rego" && f.Line == 2 })
			if got != tc.want {
				t.Errorf("%s\n%+v", tc.reason, r.Findings)
			}
		})
	}
}

func TestLintParameters(t *testing.T) {
	src := "package a\ndeny contains \"a\" if input.object.x == input.parameters.max\n"
	got := lint(t, src, author.LintOptions{Parameters: map[string]any{"min": 1}, ParametersFile: "p.yaml"})
	if diff := cmp.Diff([]string{"a.rego:2:40 missing-parameter", "p.yaml:0:0 unused-parameter"}, got); diff != "" {
		t.Error(diff)
	}
	got = lint(t, "package a\ndeny contains \"a\" if input.object.x in object.keys(input.parameters)\n", author.LintOptions{Parameters: map[string]any{"min": 1}})
	if len(got) != 0 {
		t.Errorf("%v: parameters that are read whole are read", got)
	}
}

func TestLintIgnore(t *testing.T) {
	const rule = "deny contains \"a\" if not startswith(input.object.spec.x, \"a\")"
	for name, tc := range map[string]struct {
		reason, src string
		want        []string
	}{
		"Above":     {"A comment above the line silences it.", "# gitgate:ignore undefined-not x has a default\n" + rule, nil},
		"Behind":    {"So does one at its end.", rule + " # gitgate:ignore undefined-not x has a default", nil},
		"Others":    {"Comments and METADATA may stand between.", "# gitgate:ignore undefined-not x has a default\n" + lintMetadata + rule, nil},
		"NoReason":  {"Without a reason nothing is silenced.", "# gitgate:ignore undefined-not\n" + rule, []string{"a.rego:2:1 ignore", "a.rego:3:22 undefined-not"}},
		"NoRule":    {"Without a rule neither.", "# gitgate:ignore\n" + rule, []string{"a.rego:2:1 ignore", "a.rego:3:22 undefined-not"}},
		"Unknown":   {"A name that is mistyped is told.", "# gitgate:ignore undefined x\n" + rule, []string{"a.rego:2:1 ignore", "a.rego:3:22 undefined-not"}},
		"Unused":    {"One that silences nothing is told.", "# gitgate:ignore undefined-not,print x\n" + rule, []string{"a.rego:2:1 ignore"}},
		"Elsewhere": {"It silences one line.", "# gitgate:ignore undefined-not x\n" + rule + "\n" + strings.Replace(rule, "deny", "deny_b", 1), []string{"a.rego:4:24 undefined-not"}},
		"Compile":   {"What does not load is not silenced.", "# gitgate:ignore compile x\ndeny contains x if input.x", []string{"a.rego:2:1 ignore", "a.rego:3:15 compile"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := lint(t, "package a\n"+tc.src+"\n", author.LintOptions{})
			if name == "Compile" {
				got = got[:2]
			}
			if diff := cmp.Diff(append([]string{}, tc.want...), got); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
		})
	}
}

func TestLintText(t *testing.T) {
	source := author.Source{FS: files(map[string]string{
		"a.rego":      "package a\n\n" + lintMetadata + "deny contains \"é\" if {\n\tnot startswith(input.object.spec.x, \"a\")\n}\n",
		"a_test.rego": "package a_test\ntest_a if data.a.deny\n",
	})}
	r, err := author.Lint(t.Context(), []author.Source{source}, author.LintOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := r.Write(&b, "text", "", author.Style{}); err != nil {
		t.Fatal(err)
	}
	want := `a.rego:10:2: warning undefined-not: where input.object.spec.x is absent this ` + "`not`" + ` is undefined, and the rule is silent: give the condition a name and negate that
   10 |     not startswith(input.object.spec.x, "a")
      |     ^
      why: Rego looks the value up before it negates. Where it is absent the whole expression is undefined, and the rule is silent.
2 modules: 0 errors, 1 warning
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	for _, format := range author.LintFormats() {
		b.Reset()
		if err := r.Write(&b, format, "v1", author.Style{}); err != nil || !strings.Contains(b.String(), "undefined-not") {
			t.Errorf("%s: %v %s", format, err, b.String())
		}
		if format == "json" && !json.Valid([]byte(b.String())) {
			t.Error("not JSON")
		}
	}
}

// TestLintRulesSpeak wants an example of each rule in the tests above, by breaking
// one module in every way.
func TestLintRules(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range author.LintRules() {
		if seen[r.Name] || r.Title == "" || r.Why == "" || r.Fix == "" || r.Severity != author.Error && r.Severity != author.Warning {
			t.Errorf("%+v: a rule has a name of its own, a severity and an explanation", r)
		}
		seen[r.Name] = true
	}
	var b strings.Builder
	if err := author.ExplainLintRules(&b); err != nil || strings.Count(b.String(), "\n  why: ") != len(seen) {
		t.Errorf("ExplainLintRules() = %v, %s", err, b.String())
	}
}

func TestLintRefusals(t *testing.T) {
	if _, err := author.Lint(t.Context(), []author.Source{{FS: files(nil)}}, author.LintOptions{}); err == nil || !strings.Contains(err.Error(), "no policies found") {
		t.Errorf("Lint(nothing) = %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := author.Lint(ctx, []author.Source{{FS: files(map[string]string{"a.rego": teamRule})}}, author.LintOptions{}); err == nil {
		t.Error("lint goes on after its context ended")
	}
}

// TestLintV0 wants deprecated built-ins of a module that loads.
func TestLintV0(t *testing.T) {
	r, err := author.Lint(t.Context(), []author.Source{{RegoVersion: policy.RegoV0, FS: files(map[string]string{
		"a.rego": "package a\ndeny[msg] { re_match(\"a\", input.object.kind); msg := \"x\" }\n",
	})}}, author.LintOptions{})
	if err != nil || !slices.ContainsFunc(r.Findings, func(f author.LintFinding) bool {
		return f.Line == 2 && (f.Rule == "deprecated-builtin" || f.Rule == "compile") && strings.Contains(f.Message, "deprecated")
	}) {
		t.Errorf("%+v, %v", r.Findings, err)
	}
}

func TestCatalogue(t *testing.T) {
	docs, err := author.Catalogue(files(map[string]string{
		"b.rego":      "package b\n\n" + lintMetadata + "deny_x contains \"x\" if input.x\n\n# METADATA\n# title: Another\ndeny_x contains \"y\" if input.y\n\nhelper if input.x\n",
		"a.rego":      "package a\n\n# METADATA\n# title: Pipes | and <!-- marks.\n# related_resources:\n# - ref: https://example.com/a\n# custom:\n#   references: [CIS 1.2]\nwarn contains \"x\" if input.x\n",
		"b_test.rego": "package b_test\ndeny contains \"x\" if input.x\n",
	}))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := author.WriteCatalogue(&b, docs); err != nil {
		t.Fatal(err)
	}
	const head = "| rule | severity | what it refuses | what to do | references |\n|---|---|---|---|---|\n"
	want := "\n2 rules.\n\n### a\n\n" + head + "| `warn` |  | **Pipes \\| and &lt;!-- marks.** |  | CIS 1.2; https://example.com/a |\n" +
		"\n### b\n\n" + head + "| `deny_x` | high | **T.** D | R |  |\n\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	text, err := author.InsertCatalogue("# x\n<!-- catalogue -->\nold\n<!-- /catalogue -->\ntail\n", docs)
	if err != nil || text != "# x\n<!-- catalogue -->\n"+want+"<!-- /catalogue -->\ntail\n" {
		t.Errorf("InsertCatalogue() = %q, %v", text, err)
	}
	if _, err := author.InsertCatalogue("# x\n", docs); err == nil {
		t.Error("a file without marks gets a catalogue")
	}
}

// TestCatalogueOfLibrary wants the library's own catalogue to be this one.
func TestCatalogueOfLibrary(t *testing.T) {
	docs, err := author.Catalogue(policies.FS)
	if err != nil || len(docs) < 20 {
		t.Fatalf("%d rules, %v", len(docs), err)
	}
	for _, d := range docs {
		if d.Title == "" || d.Description == "" || d.Severity == "" || d.Remediation == "" {
			t.Errorf("%s.%s: %+v lacks something", d.Package, d.Name, d)
		}
	}
	if _, err := author.Catalogue(files(map[string]string{"a.rego": "package"})); err == nil {
		t.Error("a module that does not parse is catalogued")
	}
}

// TestLintFormats wants sets of other formats to be loaded as what they are.
func TestLintFormats(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		format policy.Format
		files  map[string]string
		want   string
	}{
		"Conftest":   {"The bare object is the input.", policy.FormatConftest, map[string]string{"a.rego": "package main\n\n" + lintMetadata + "deny contains \"a\" if input.kind == \"Pod\"\n", "a_test.rego": "package main_test\ntest_a if data.main.deny\n"}, ""},
		"Gatekeeper": {"Templates and constraints load.", policy.FormatGatekeeper, map[string]string{"t.yaml": labelsTemplate, "c.yaml": labelsConstraint}, ""},
		"Broken":     {"A template that does not is told.", policy.FormatGatekeeper, map[string]string{"t.yaml": strings.Replace(labelsTemplate, "violation[{", "violation[[{", 1), "c.yaml": labelsConstraint}, "t.yaml:17:"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := author.Lint(t.Context(), []author.Source{{FS: files(tc.files)}}, author.LintOptions{Format: tc.format})
			if err != nil || r.Modules != 2 {
				t.Fatalf("%+v, %v", r, err)
			}
			if tc.want == "" && len(r.Findings) > 0 {
				t.Errorf("%s\n%+v", tc.reason, r.Findings)
			}
			if tc.want != "" && (len(r.Findings) == 0 || r.Findings[0].Rule != "compile" || !strings.HasPrefix(fmt.Sprintf("%s:%d:", r.Findings[0].File, r.Findings[0].Line), tc.want)) {
				t.Errorf("%s\n%+v", tc.reason, r.Findings)
			}
		})
	}
}
