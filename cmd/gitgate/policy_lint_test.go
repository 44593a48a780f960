package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const documentedRule = "package acme\n\n# METADATA\n# title: Team\n# description: Who answers.\n# custom:\n#   severity: low\n#   remediation: Add it.\n" +
	"deny contains msg if {\n\tnot input.object.metadata.labels.team\n\tmsg := \"no team label: add one\"\n}\n"

func TestPolicyLint(t *testing.T) {
	bad := documentedRule + "\nhelper if input.object.x\n"
	for name, tc := range map[string]struct {
		reason         string
		files          map[string]string
		args           []string
		code           int
		stdout, stderr string
	}{
		"Clean": {
			reason: "Nothing is found.", files: map[string]string{"a.rego": documentedRule, "a_test.rego": teamTest},
			stdout: "2 modules: 0 errors, 0 warnings\n",
		},
		"Warned": {
			reason: "A warning fails by default.", files: map[string]string{"a.rego": bad, "a_test.rego": teamTest}, code: 1,
			stdout: "a.rego:14:1: warning unreachable: no rule that speaks reads the rule helper: use it, or remove it\n   14 | helper if input.object.x\n      | ^\n" +
				"      why: It does nothing; perhaps the one who was to read it reads another one.\n2 modules: 0 errors, 1 warning\n",
		},
		"FailOn": {
			reason: "Unless it may not.", files: map[string]string{"a.rego": bad, "a_test.rego": teamTest}, args: []string{"--fail-on", "error", "-o", "github"},
			stdout: "::warning file=a.rego,line=14,",
		},
		"Parameters": {
			reason: "Parameters that nobody reads are told.", files: map[string]string{"a.rego": documentedRule, "a_test.rego": teamTest, "p.yaml": "max: 1\n"},
			args: []string{"--parameters", "p.yaml"}, code: 1,
			stdout: "p.yaml: warning unused-parameter: no rule reads the parameter max: correct its name, or remove it\n      why: Who sets it believes that it does something.\n2 modules: 0 errors, 1 warning\n",
		},
		"Error":   {reason: "What does not load is an error.", files: map[string]string{"a.rego": "package a\ndeny contains x\n"}, args: []string{"--fail-on", "error"}, code: 1, stdout: "a.rego:2:15: error compile: var x is unsafe"},
		"Nothing": {reason: "Nothing was looked at.", code: 2, stderr: "gitgate: no policies found: nothing was looked at\n"},
		"Output":  {reason: "A mistyped format is told.", args: []string{"-o", "xml"}, code: 2, stderr: "gitgate: -o xml: use one of text, json, sarif, junit, github, gitlab, azure, markdown, tap\n"},
		"Rules":   {reason: "The rules explain themselves.", args: []string{"--rules"}, stdout: "compile (error): the policies do not load\n  why: "},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := runPolicy(t, tc.files, append([]string{"lint"}, tc.args...)...)
			if code != tc.code || stderr != tc.stderr {
				t.Errorf("%s\nexit code = %d, stderr %q, want %d, %q", tc.reason, code, stderr, tc.code, tc.stderr)
			}
			if stdout != tc.stdout && (strings.HasSuffix(tc.stdout, "\n") || !strings.HasPrefix(stdout, tc.stdout)) {
				t.Errorf("%s\n%s", tc.reason, cmp.Diff(tc.stdout, stdout))
			}
		})
	}
}

func TestPolicyDocs(t *testing.T) {
	files := map[string]string{"rules/a.rego": documentedRule, "README.md": "# x\n<!-- catalogue -->\n<!-- /catalogue -->\n", "bare.md": "# x\n"}
	code, stdout, _ := runPolicy(t, files, "docs", "rules")
	const want = "\n1 rule.\n\n### acme\n\n| rule | severity | what it refuses | what to do | references |\n|---|---|---|---|---|\n" +
		"| `deny` | low | **Team.** Who answers. | Add it. |  |\n\n"
	if code != 0 || stdout != want {
		t.Errorf("exit code %d: %s", code, cmp.Diff(want, stdout))
	}
	for _, step := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--into", "README.md", "--check"}, 1, "README.md: the catalogue is not what the rules say"},
		{[]string{"--into", "README.md"}, 0, ""},
		{[]string{"--into", "README.md", "--check"}, 0, ""},
		{[]string{"--into", "bare.md"}, 2, "bare.md: the file lacks the lines"},
		{[]string{"--check"}, 2, "name the file with --into"},
		{[]string{"-o", "json"}, 0, ""},
	} {
		var out, errs strings.Builder
		code := run(append([]string{"policy", "docs", "rules"}, step.args...), strings.NewReader(""), &out, &errs)
		if code != step.code || !strings.Contains(errs.String(), step.want) {
			t.Errorf("docs %v: exit code %d, stderr %q, want %d, %q", step.args, code, errs.String(), step.code, step.want)
		}
	}
	if raw, err := os.ReadFile("README.md"); err != nil || string(raw) != "# x\n<!-- catalogue -->\n"+want+"<!-- /catalogue -->\n" {
		t.Errorf("README.md = %q, %v", raw, err)
	}
}
