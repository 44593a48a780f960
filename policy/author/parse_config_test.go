package author_test

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/policy/author"
)

// Tests read configuration as those for conftest do.
func TestParseConfig(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, test string
		want         author.Status
		message      string
	}{
		"Text":      {"A text is parsed.", `count(main.deny) == 1 with input as parse_config("yaml", "kind: Service\nspec: {port: 22}")`, author.Passed, ""},
		"JSON":      {"JSON too.", `count(main.deny) == 1 with input as parse_config("json", "{\"spec\":{\"port\":22}}")`, author.Passed, ""},
		"File":      {"A file is beside the test.", `count(main.deny) == 1 with input as parse_config_file("bad.yaml")`, author.Passed, ""},
		"Above":     {"Or elsewhere in the repository.", `count(main.deny) == 0 with input as parse_config_file("../good.json")`, author.Passed, ""},
		"Documents": {"Of several documents there is a list.", `{ docs := parse_config_file("two.yaml"); count(main.deny) == 1 with input as docs[1] }`, author.Passed, ""},
		"Combined":  {"Files can be combined, in the order of their names.", `count(main.violation) == 3 with input as parse_combined_config_files(["two.yaml", "bad.yaml"])`, author.Passed, ""},
		"Paths":     {"Each with its path.", `{ c := parse_combined_config_files(["bad.yaml"]); c[0].path == "p/bad.yaml"; count(main.violation) == 1 with input as c }`, author.Passed, ""},
		"Silent":    {"What the file says counts.", `count(main.deny) == 1 with input as parse_config_file("../good.json")`, author.Failed, "count(main.deny) == 1"},
		"Gone":      {"A file that is gone is told.", `count(main.deny) == 1 with input as parse_config_file("gone.yaml")`, author.Errored, "p/gone.yaml: file does not exist"},
		"Escape":    {"The repository is not left.", `count(main.deny) == 1 with input as parse_config_file("../../etc/passwd")`, author.Errored, "leads out of what is tested"},
		"Parser":    {"What gitgate does not read is told.", `count(main.deny) == 1 with input as parse_config("hcl2", "")`, author.Errored, "gitgate reads YAML and JSON, and not hcl2"},
		"Extension": {"Also by the name of a file.", `count(main.deny) == 1 with input as parse_config_file("a.toml")`, author.Errored, "gitgate reads YAML and JSON, and not toml"},
		"Broken":    {"What is not YAML is told.", `count(main.deny) == 1 with input as parse_config("yaml", "a: [")`, author.Errored, "parse_config: "},
		"Path":      {"A path is a text.", `count(main.deny) == 1 with input as parse_combined_config_files([object.get({"b": 1}, "a", 7)])`, author.Errored, "the paths of files are texts"},
	} {
		t.Run(name, func(t *testing.T) {
			body := " if " + tc.test
			r, err := author.Run(t.Context(), []author.Source{{FS: files(map[string]string{
				"p/main.rego":      "package main\n\ndeny contains \"ssh\" if input.spec.port == 22\n\nviolation contains doc if some doc in input\n",
				"p/main_test.rego": "package main_test\n\nimport data.main\n\ntest_it" + body + "\n",
				"p/bad.yaml":       "kind: Service\nspec: {port: 22}\n", "p/two.yaml": "kind: A\n---\nspec: {port: 22}\n", "p/a.toml": "a = 1\n",
				"good.json": `{"spec": {"port": 80}}`,
			})}}, author.Options{})
			if err != nil || len(r.Tests) != 1 {
				t.Fatalf("%s\n%+v, %v", tc.reason, r, err)
			}
			if got := r.Tests[0]; got.Status != tc.want || !strings.Contains(strings.Join(got.Message, "\n"), tc.message) {
				t.Errorf("%s\n%+v, want %s %q", tc.reason, got, tc.want, tc.message)
			}
		})
	}
}

// Policies themselves have no such built-ins: they do not load.
func TestParseConfigOfPolicies(t *testing.T) {
	_, err := author.Run(t.Context(), []author.Source{{FS: files(map[string]string{
		"p/a.rego": "package a\n\ndeny contains \"x\" if parse_config(\"yaml\", input.object.data.a).b\n",
		"t.yaml": "apiVersion: test.gitgate.dev/v1alpha1\nkind: PolicyTest\nmetadata: {name: t}\npolicy: p\n" +
			"cases: [{name: c, object: {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}, expect: none}]\n",
	})}}, author.Options{})
	if err == nil || !strings.Contains(err.Error(), "parse_config") {
		t.Errorf("Run() = %v", err)
	}
}

// Data may come from elsewhere, but not in the place of other data.
func TestSourceData(t *testing.T) {
	source := func(data map[string]any) author.Source {
		return author.Source{Data: data, FS: files(map[string]string{
			"a.rego": "package a\n\ndeny contains \"x\" if data.ports.ssh == input.port\n", "data.json": `{"ports": {"http": 80}}`,
			"a_test.rego": "package a_test\n\ntest_it if count(data.a.deny) == 1 with input as {\"port\": data.ports.ssh}\n",
		})}
	}
	ports := map[string]any{"ports": map[string]any{"ssh": 22}}
	for range 2 { // and is not changed by it
		if r, err := author.Run(t.Context(), []author.Source{source(ports)}, author.Options{}); err != nil || !r.Passed() {
			t.Errorf("Run() = %+v, %v", r, err)
		}
	}
	_, err := author.Run(t.Context(), []author.Source{source(map[string]any{"ports": map[string]any{"http": 81}})}, author.Options{})
	if err == nil || !strings.Contains(err.Error(), "data.ports.http has a value already") {
		t.Errorf("Run() = %v", err)
	}
}
