package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/rego"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// There are forty rules, and each of them refuses something: a rule that never
// speaks would cost less than a real one.
func TestRules(t *testing.T) {
	rules, err := allRules()
	if err != nil {
		t.Fatal(err)
	}
	if n := rules.count(); n != 40 {
		t.Errorf("%d rules, want 40", n)
	}
	dir := t.TempDir()
	if err := rules.named().write(dir); err != nil {
		t.Fatal(err)
	}
	query, err := rego.New(rego.Query("data.main"), rego.Load([]string{dir}, nil)).PrepareForEval(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join("testdata", "violations.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	said, all := map[string]bool{}, map[string]bool{}
	for _, document := range documentLine.Split(string(text), -1) {
		input, err := decodeYAML(document)
		if err != nil {
			t.Fatal(err)
		}
		results, err := query.Eval(t.Context(), rego.EvalInput(input))
		if err != nil {
			t.Fatal(err)
		}
		for name, messages := range results[0].Expressions[0].Value.(map[string]any) {
			if strings.HasPrefix(name, "deny_") {
				all[name] = true
				said[name] = said[name] || len(messages.([]any)) > 0
			}
		}
	}
	if len(all) != 40 {
		t.Errorf("%d names, want 40", len(all))
	}
	for name := range all {
		if !said[name] {
			t.Errorf("%s refuses nothing of testdata/violations.yaml", name)
		}
	}
}

// Gatekeeper's tools get them too: each once, as violation, with what it may call.
func TestTemplates(t *testing.T) {
	rules, err := allRules()
	if err != nil {
		t.Fatal(err)
	}
	many, err := rules.templates()
	if err != nil || len(many) != 40 {
		t.Fatalf("%d templates, %v, want 40", len(many), err)
	}
	for name, set := range map[string]ruleSet{"Many": many, "One": rules.oneTemplate()} {
		violations := 0
		for _, text := range set {
			violations += strings.Count(text, "violation contains {\"msg\": ")
			if strings.Contains(text, "deny") || strings.Count(text, "package ") != 1 {
				t.Errorf("%s: what is not for Gatekeeper is in\n%s", name, text)
			}
		}
		if violations != 40 {
			t.Errorf("%s: %d rules, want 40", name, violations)
		}
		if _, err := policy.Load(t.Context(), []policy.Set{{Name: "rules", Format: policy.FormatGatekeeper, Manifests: set}}, policy.Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := kindsOf("deny contains x if {\n\tinput.kind in {\"A\", \"B\"}\n}"); err != nil || !slices.Equal(got, []string{"A", "B"}) {
		t.Errorf("kinds %q, %v", got, err)
	}
	if _, err := kindsOf("deny contains x if {\n\tinput.spec\n}"); err == nil {
		t.Error("a rule without kinds is taken")
	}
	lib := strings.Split(strings.Split(rules["lib.rego"], "workloads := {")[1], "}")[0]
	for _, kind := range workloadKinds {
		if !strings.Contains(lib, `"`+kind+`"`) || strings.Count(lib, `"`) != 2*len(workloadKinds) {
			t.Errorf("the workloads are %s, and not %q", lib, workloadKinds)
		}
	}
}

// gitgate takes the rules as they are.
func TestRulesForGitgate(t *testing.T) {
	rules, err := allRules()
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []ruleSet{rules, rules.named(), {"one.rego": firstRule}} {
		if _, err := policy.Load(t.Context(), []policy.Set{{Name: "rules", Format: policy.FormatConftest, Modules: set}}, policy.Options{}); err != nil {
			t.Error(err)
		}
	}
}

func TestReadVerdicts(t *testing.T) {
	const denied = `{"reason":"PolicyDenied","severity":"deny","message":"a b: c"},{"reason":"DryRunSkipped","severity":"info","message":"x"}`
	for name, tc := range map[string]struct {
		read func([]byte) (verdict, error)
		text string
	}{
		"Check":    {readCheck, `{"items":[{"verdict":{"findings":[` + denied + `]}}]}`},
		"Eval":     {readEval, `{"findings":[` + denied + `]}`},
		"Conftest": {readConftest, `[{"filename":"x","successes":3},{"filename":"y","failures":[{"msg":"a b: c"}]}]`},
		"Gator":    {readGator, `[{"msg":"a b: c","constraint":{},"violatingObject":{}}]`},
		"Floor":    {readFloor, `["a b: c"]`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tc.read([]byte(tc.text))
			if diff := cmp.Diff(verdict{"a b: c"}, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			if got, err := tc.read([]byte("x")); err == nil {
				t.Errorf("nonsense is read as %q", got)
			}
		})
	}
	for name, text := range map[string]string{
		"NoVerdict": `{"items":[]}`,
		"Limit":     `{"items":[{"verdict":{"findings":[{"reason":"LimitExceeded","severity":"undetermined"}]}}]}`,
		"Schema":    `{"items":[{"verdict":{"findings":[{"reason":"SchemaInvalid","severity":"deny"}]}}]}`,
	} {
		if got, err := readCheck([]byte(text)); err == nil {
			t.Errorf("%s: read as %q, want an error: something else than rules was measured", name, got)
		}
	}
	if _, err := readEval([]byte(`{"findings":[{"reason":"PolicyTimeout","severity":"undetermined"}]}`)); !errors.Is(err, errBusy) {
		t.Errorf("a timeout is %v, want errBusy", err)
	}
}

// shell is a program that prints a verdict and ends as told.
func (b *bench) shell(name, verdict, exit string) func() (program, error) {
	return func() (program, error) {
		return program{b.command(name, "/bin/sh", "-c", "echo '"+verdict+"'; exit "+exit), readFloor, judgedCodes}, nil
	}
}

// Without agreement there are no figures.
func TestRound(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{ctx: t.Context(), self: self, dir: t.TempDir()}
	if err := os.Mkdir(filepath.Join(b.dir, "out"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		reason    string
		one, more func() (program, error)
		want      string // in the error
	}{
		"Alike":    {"The order in which they print is their own.", b.shell("one", `["a","b"]`, "1"), b.shell("two", `["b","a"]`, "1"), ""},
		"Less":     {"One denies what the other does not.", b.shell("one", `["a","b"]`, "1"), b.shell("two", `["a"]`, "1"), `one denies "b", and two does not`},
		"More":     {"Or the other way round.", b.shell("one", `["a"]`, "1"), b.shell("two", `["a","b"]`, "1"), `two denies "b", and one does not`},
		"Twice":    {"How often counts too.", b.shell("one", `["a","a"]`, "1"), b.shell("two", `["a"]`, "1"), "two denies 1 times and one 2 times"},
		"Allowed":  {"Nothing denied is an answer too.", b.shell("one", `[]`, "0"), b.shell("two", `["a"]`, "1"), `two denies "a", and one does not`},
		"Failed":   {"A program that fails has judged nothing.", b.shell("one", `[]`, "2"), b.shell("two", `[]`, "0"), "exit code 2"},
		"ExitCode": {"An exit code says the same as what is printed.", b.shell("one", `["a"]`, "0"), b.shell("two", `["a"]`, "1"), "exit code 0 with 1 denials"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &step{usages: map[column][]measure.Usage{}, programs: map[column]func() (program, error){gitgateColumn: tc.one, conftestColumn: tc.more}}
			err := b.round(s, 0)
			if tc.want == "" && (err != nil || len(s.usages[gitgateColumn]) != 1 || s.denied != 2) {
				t.Errorf("%s\n%v, %+v", tc.reason, err, s)
			}
			if tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s\nerror %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}
