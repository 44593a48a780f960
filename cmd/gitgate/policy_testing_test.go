package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const teamTest = "package acme_test\n\ntest_denied if count(data.acme.deny) == 1 with input as {\"object\": {}}\n"

// runPolicy runs `gitgate policy` in a directory that holds the files.
func runPolicy(t *testing.T, files map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	writeTree(t, files)
	var out, errs strings.Builder
	code = run(append([]string{"policy"}, args...), strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestPolicyTest(t *testing.T) {
	for name, tc := range map[string]struct {
		reason         string
		files          map[string]string
		args           []string
		code           int
		stdout, stderr string
	}{
		"Passed": {
			reason: "The current directory is tested by default.",
			files:  map[string]string{"a.rego": teamRule, "a_test.rego": teamTest},
			stdout: "PASS: 1 passed\n",
		},
		"Failed": {
			reason: "A test that fails is named with its place as seen from here.",
			files:  map[string]string{"d/a.rego": teamRule, "d/a_test.rego": strings.Replace(teamTest, "== 1", "== 2", 1)},
			args:   []string{"d"}, code: 1,
			stdout: "d/a_test.rego:3: FAIL acme_test.test_denied\n    a_test.rego:3: count(data.acme.deny) == 2 with input as {\"object\": {}}\nFAIL: 0 passed, 1 failed\n",
		},
		"Threshold": {
			reason: "Too little coverage fails, and the lines are named.",
			files: map[string]string{
				"a.rego":      teamRule + "\ndeny contains \"b\" if input.object.b\n",
				"a_test.rego": teamTest,
			},
			args: []string{".", "--threshold", "90"}, code: 1,
			stdout: "a.rego: 75.0 % covered, not lines 8\nPASS: 1 passed, coverage 75.0 %\n",
			stderr: "gitgate: coverage is 75.0 %, less than the threshold of 90 %\n",
		},
		"Beside": {
			reason: "A test may lie beside its policies; what is beside is found in a repository.",
			files: map[string]string{
				".git/HEAD": "ref: refs/heads/main\n", "rules/a.rego": teamRule,
				"tests/a.test.yaml": "apiVersion: test.gitgate.dev/v1alpha1\nkind: PolicyTest\nmetadata: {name: t}\npolicy: ../rules\ncases:\n- {name: c, object: {apiVersion: v1, kind: A}, expect: [{policy: acme.deny}]}\n",
			},
			args: []string{"tests", "-v"}, stdout: "tests/a.test.yaml:6: PASS t.c\nPASS: 1 passed\n",
		},
		"Pack":      {reason: "The library's packs bring their tests.", args: []string{"--pack", "pod-security-restricted", "--run", "test_good_passes$"}, stdout: "PASS: 1 passed\n"},
		"NoTests":   {reason: "Nothing was tested.", args: []string{"."}, code: 2, stderr: "gitgate: no tests found in .: rules named test_… in files named *_test.rego are tests, and YAML of kind PolicyTest or Suite\n"},
		"Output":    {reason: "A mistyped format is told.", args: []string{"-o", "xml"}, code: 2, stderr: "gitgate: -o xml: use one of text, json, junit\n"},
		"Regexp":    {reason: "So is a mistyped filter.", args: []string{"--run", "("}, code: 2, stderr: "gitgate: --run: error parsing regexp: missing closing ): `(`\n"},
		"BadFloor":  {reason: "So is a threshold that cannot be.", args: []string{"--threshold", "101"}, code: 2, stderr: "gitgate: --threshold 101: want a percentage from 0 to 100\n"},
		"Directory": {reason: "A file is no directory.", files: map[string]string{"a.rego": teamRule}, args: []string{"a.rego"}, code: 2, stderr: "gitgate: a.rego: not a directory\n"},
		"Hostile": {
			reason: "What is refused cannot steer the terminal.",
			files:  map[string]string{"a.test.yaml": "apiVersion: test.gitgate.dev/v1alpha1\nkind: \"x\\e]0;y\\a\"\n"}, code: 2,
			stderr: "gitgate: a.test.yaml:1: test.gitgate.dev/v1alpha1 x?]0;y? is unknown: use apiVersion test.gitgate.dev/v1alpha1 and kind PolicyTest\n",
		},
		"WatchPack": {reason: "A pack does not change.", args: []string{"--pack", "pod-security-baseline", "--watch"}, code: 2, stderr: "gitgate: --watch: packs do not change: name a directory\n"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := runPolicy(t, tc.files, append([]string{"test"}, tc.args...)...)
			if code != tc.code {
				t.Errorf("%s\nexit code = %d, want %d", tc.reason, code, tc.code)
			}
			if diff := cmp.Diff(tc.stdout, stdout) + cmp.Diff(tc.stderr, stderr); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
		})
	}
}
