package policies_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policy"
)

var update = flag.Bool("update", false, "write the catalogue of rules to README.md")

var entryName = regexp.MustCompile(`^(deny|violation|warn)(_|$)`)

// catalogue lists every rule that speaks, from its METADATA, and fails the test
// where that is incomplete.
func catalogue(t *testing.T) string {
	t.Helper()
	rows := map[string][]string{} // by package
	mods, seen := modules(t), map[string]bool{}
	for _, file := range slices.Sorted(maps.Keys(mods)) {
		if strings.HasSuffix(file, "_test.rego") {
			continue
		}
		pkg := mods[file].Package.Path.String()[len("data."):]
		for _, rule := range mods[file].Rules {
			name := rule.Head.Name.String()
			if !entryName.MatchString(name) || seen[pkg+"."+name] {
				continue
			}
			seen[pkg+"."+name] = true
			rows[pkg] = append(rows[pkg], row(t, name, rule))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d rules.\n", len(seen))
	for _, pkg := range slices.Sorted(maps.Keys(rows)) {
		fmt.Fprintf(&b, "\n### %s\n\n| rule | severity | what it refuses | what to do | references |\n|---|---|---|---|---|\n", pkg)
		b.WriteString(strings.Join(rows[pkg], ""))
	}
	return b.String() + "\n"
}

func row(t *testing.T, name string, rule *ast.Rule) string {
	t.Helper()
	if len(rule.Annotations) != 1 {
		t.Errorf("%s: %s has no METADATA of its own", rule.Loc(), name)
		return ""
	}
	a := rule.Annotations[0]
	severity, _ := a.Custom["severity"].(string)
	remediation, _ := a.Custom["remediation"].(string)
	if a.Title == "" || a.Description == "" || remediation == "" ||
		!slices.Contains([]string{"critical", "high", "medium", "low"}, severity) {
		t.Errorf("%s: %s wants a title, a description, and custom severity and remediation", rule.Loc(), name)
	}
	return fmt.Sprintf("| `%s` | %s | **%s.** %s | %s | %s |\n",
		name, severity, a.Title, a.Description, remediation, strings.Join(references(t, name, a), "; "))
}

// parameterTables lists the parameters of each pack, from their schemas.
func parameterTables(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, pack := range policies.Packs() {
		schema := schemaOf(t, pack)
		if len(schema) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n### Parameters of %s\n\n| parameter | default | what it is |\n|---|---|---|\n", pack)
		for _, name := range slices.Sorted(maps.Keys(schema)) {
			var value strings.Builder
			enc := json.NewEncoder(&value)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(schema[name].Default); err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(strings.TrimSpace(value.String()), "|", "\\|")
			fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", name, text, schema[name].Description)
		}
	}
	return b.String() + "\n"
}

// generated replaces what stands between two marks.
func generated(t *testing.T, text, mark, content string) string {
	t.Helper()
	start, end := "<!-- "+mark+" -->\n", "<!-- /"+mark+" -->"
	head, rest, ok := strings.Cut(text, start)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("README.md has lost the marks of the %s", mark)
	}
	return head + start + content + end + tail
}

// TestCatalogue wants the tables in README.md to be what the rules and the
// schemas say.
func TestCatalogue(t *testing.T) {
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	want := generated(t, string(raw), "catalogue", catalogue(t))
	want = generated(t, want, "parameters", parameterTables(t))
	if *update {
		if err := os.WriteFile("README.md", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(raw) != want {
		t.Error("the tables in README.md are not what the rules say: run go test ./policies -run TestCatalogue -update")
	}
}

// TestReadmeExample compiles and judges by the rule that the README writes, and
// runs the test beside it.
func TestReadmeExample(t *testing.T) {
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```rego\n(.*?)```").FindAllStringSubmatch(string(raw), -1)
	if len(blocks) < 3 {
		t.Fatalf("%d blocks of Rego", len(blocks))
	}
	dedent := regexp.MustCompile(`(?m)^   `)
	rule, test := dedent.ReplaceAllString(blocks[0][1], ""), dedent.ReplaceAllString(blocks[1][1], "")
	e, err := policy.Load(t.Context(), []policy.Set{{
		Name: "readme", Modules: map[string]string{"team.rego": rule},
		Parameters: map[string]any{"exempt": []any{"Namespace"}},
	}}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fs := e.Evaluate(t.Context(), policy.Input{Object: []byte(`{"apiVersion":"v1","kind":"Service","metadata":{"name":"web"}}`)})
	if len(fs) != 1 || fs[0].Message != "this Service has no label team: add one" || fs[0].Policy != "readme/acme.deny_no_team" {
		t.Errorf("findings = %v", fs)
	}
	mods := map[string]*ast.Module{}
	for name, src := range map[string]string{"team.rego": rule, "team_test.rego": test} {
		if mods[name], err = ast.ParseModule(name, src); err != nil {
			t.Fatal(err)
		}
	}
	if ran := runRego(t, mods, nil); ran != 2 {
		t.Errorf("%d tests ran, want 2", ran)
	}
}

func TestPack(t *testing.T) {
	if _, err := policies.Pack("pod-security"); err == nil || !strings.Contains(err.Error(), "pod-security-baseline") {
		t.Errorf("Pack(unknown) = %v, want the names that there are", err)
	}
	fsys, err := policies.Pack("pod-security-baseline")
	if err != nil {
		t.Fatal(err)
	}
	if f, err := fsys.Open("pod-security-restricted/restricted.rego"); err == nil {
		f.Close()
		t.Error("the baseline pack holds the restricted rules")
	}
	set, err := policy.ReadSet("pack", fsys, ".")
	if err != nil {
		t.Fatal(err)
	}
	got := slices.Sorted(maps.Keys(set.Modules))
	want := []string{"lib/commit.rego", "lib/commit_test.rego", "lib/net.rego", "lib/net_test.rego", "lib/parameters.rego", "lib/parameters_test.rego", "lib/pod.rego", "lib/pod_test.rego",
		"pod-security-baseline/baseline.rego", "pod-security-baseline/baseline_test.rego"}
	if !slices.Equal(got, want) {
		t.Errorf("modules = %v, want %v", got, want)
	}
}
