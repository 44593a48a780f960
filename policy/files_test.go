package policy_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"gitgate.dev/gitgate/policy"
)

func TestReadSetAs(t *testing.T) {
	fsys := fstest.MapFS{
		"p/main.rego":      {Data: []byte("package main\n\ndeny contains data.sub.text")},
		"p/main_test.rego": {Data: []byte("package main\n\nbroken[")},
		"p/sub/d.yaml":     {Data: []byte("text: from yaml\n")},
		"p/d.json":         {Data: []byte(`{"n": 1}`)},
		"gk/t.yaml":        {Data: []byte(template("T", `violation[{"msg": "gatekeeper"}] { true }`))},
		"gk/sub/c.yml":     {Data: []byte(constraint("T", "c", "{}"))},
		"gk/README.md":     {Data: []byte("# nothing")},
	}
	for format, want := range map[policy.Format]string{policy.FormatConftest: "p from yaml", policy.FormatGatekeeper: "gk gatekeeper"} {
		dir, message, _ := strings.Cut(want, " ")
		set, err := policy.ReadSetAs(format, "s", fsys, dir)
		if err != nil {
			t.Fatal(err)
		}
		e, err := policy.Load(t.Context(), []policy.Set{set}, policy.Options{})
		if err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		if fs := e.Evaluate(t.Context(), policy.Input{Object: []byte(configMap)}); len(fs) != 1 || fs[0].Message != message {
			t.Errorf("%s: findings %v, want %q", format, fs, message)
		}
	}
}

func TestAddFile(t *testing.T) {
	for name, tc := range map[string]struct {
		reason        string
		format        policy.Format
		file, content string
		used          bool
		wrong         string
	}{
		"Module":           {"Rego is Rego.", policy.FormatGitgate, "a.rego", "package a", true, ""},
		"Data":             {"Data is data.", policy.FormatGitgate, "data.yaml", "a: 1", true, ""},
		"Other":            {"What is neither is left out.", policy.FormatGitgate, "b.yaml", "a: 1", false, ""},
		"Conftest":         {"In conftest it is data too.", policy.FormatConftest, "b.yaml", "a: 1", true, ""},
		"Taken":            {"Data must not replace other data.", policy.FormatConftest, "b.yaml", "before: 1", false, "has a value already"},
		"List":             {"Data is an object.", policy.FormatConftest, "b.yaml", "[1]", false, "data must be one object"},
		"Documents":        {"And one.", policy.FormatConftest, "b.yaml", "a: 1\n---\nb: 1", false, "data must be one object"},
		"Broken":           {"Of JSON.", policy.FormatConftest, "b.json", "{", false, "b.json"},
		"Gatekeeper":       {"In Gatekeeper it is a manifest.", policy.FormatGatekeeper, "b.yaml", "a: 1", true, ""},
		"GatekeeperModule": {"And Rego is not.", policy.FormatGatekeeper, "a.rego", "package a", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			set := policy.Set{Format: tc.format, Data: map[string]any{"before": 0}}
			used, err := set.AddFile("dir", tc.file, tc.content)
			if used != tc.used || (err == nil) != (tc.wrong == "") || err != nil && !strings.Contains(err.Error(), tc.wrong) {
				t.Errorf("%s\nAddFile() = %t, %v", tc.reason, used, err)
			}
		})
	}
}
