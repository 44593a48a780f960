package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// peerSource is the source of a peer that a benchmark compares with, at the version of
// its module: files of a peer are not kept here.
func peerSource(t *testing.T, bench, module string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module)
	cmd.Dir = filepath.Join("..", "..", "test", "bench", filepath.FromSlash(bench))
	out, err := cmd.Output()
	var got struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &got); err != nil || jsonErr != nil || got.Dir == "" {
		t.Fatalf("downloading %s: %v, %v: %s", module, err, jsonErr, out)
	}
	return got.Dir
}

// The suites that Gatekeeper tests its own gator with pass unchanged: constraints
// that are scoped, and expansion templates.
func TestPolicyTestOfGatekeeper(t *testing.T) {
	dir := filepath.Join(peerSource(t, "admission/gatekeeper", "github.com/open-policy-agent/gatekeeper/v3"), "test", "gator", "verify")
	var out, errs strings.Builder
	code := run([]string{"policy", "test", dir, "-v"}, strings.NewReader(""), &out, &errs)
	if code != 0 || !strings.HasSuffix(out.String(), "PASS: 9 passed\n") {
		t.Errorf("exit code %d, %s%s", code, &out, &errs)
	}
	for _, test := range []string{"foo-is-bar/foo-not-bar", "foo-is-bar-with-scopedEA-without-gator-EP/foo-not-bar", "foobar-template-to-foo-and-bar-expansion/foo-and-bar-not-bar"} {
		if !strings.Contains(out.String(), test+"\n") {
			t.Errorf("%s did not run:\n%s", test, &out)
		}
	}
}

// So do the tests of conftest's examples for Kubernetes, and of the one with data.
func TestPolicyTestOfConftest(t *testing.T) {
	examples := filepath.Join(peerSource(t, "precheck/conftest", "github.com/open-policy-agent/conftest"), "examples")
	copied := t.TempDir() // a repository, for tests read what is beside them
	if err := os.CopyFS(copied, os.DirFS(examples)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(copied, ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ dir, data, want string }{
		{"kubernetes/policy", "", "PASS: 4 passed\n"},
		{"kubernetes/combine", "", "PASS: 2 passed\n"},
		{"data/policy", "data/exclusions", "PASS: 1 passed\n"},
		{"data/policy", "data/exclusions/services.yaml", "PASS: 1 passed\n"},
	} {
		args := []string{"policy", "test", filepath.Join(copied, tc.dir)}
		if tc.data != "" {
			args = append(args, "-d", filepath.Join(copied, tc.data))
		}
		var out, errs strings.Builder
		if code := run(args, strings.NewReader(""), &out, &errs); code != 0 || out.String() != tc.want {
			t.Errorf("%s: exit code %d, %s%s", tc.dir, code, &out, &errs)
		}
	}
}

// Data that lies elsewhere is named, as for conftest.
func TestPolicyEvalData(t *testing.T) {
	files := map[string]string{
		"policy/a.rego":    "package main\n\ndeny contains sprintf(\"port %d\", [p.port]) if {\n\tsome p in input.spec.ports\n\tp.port in data.services.ports\n}\n",
		"policy/own.yaml":  "services: {team: a}\n",
		"more/denied.yaml": "services: {ports: [22]}\n",
		"more/notes.txt":   "services",
		"svc.yaml":         "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 22}]}\n",
	}
	for name, tc := range map[string]struct {
		reason string
		data   []string
		code   int
		want   string
	}{
		"None":      {"Without it the rule has nothing to say.", nil, 0, "allowed: 1 objects"},
		"Directory": {"A directory.", []string{"-d", "more"}, 1, "port 22"},
		"File":      {"Or a file.", []string{"--data", "more/denied.yaml"}, 1, "port 22"},
		"Twice":     {"What has a value has one.", []string{"-d", "more", "-d", "more/denied.yaml"}, 2, "--data more/denied.yaml: data.services.ports has a value already"},
		"Clash":     {"Also from the policies.", []string{"-d", "policy/own.yaml"}, 2, "--policy policy with --data: data.services.team has a value already"},
		"Other":     {"Another file is none.", []string{"-d", "more/notes.txt"}, 2, "data is in files that end in"},
		"Gone":      {"Nor one that is gone.", []string{"-d", "gone"}, 2, "gone"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := runPolicy(t, files, append([]string{"eval", "svc.yaml", "--policy", "policy", "--format", "Conftest"}, tc.data...)...)
			if code != tc.code || !strings.Contains(stdout+stderr, tc.want) {
				t.Errorf("%s\nexit code %d, %s%s, want %d and %q", tc.reason, code, stdout, stderr, tc.code, tc.want)
			}
		})
	}
}
