package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// gatekeeperSource is the source of the Gatekeeper that the admission benchmark
// compares with, as its module says: files of a peer are not kept here.
func gatekeeperSource(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", "github.com/open-policy-agent/gatekeeper/v3")
	cmd.Dir = filepath.Join("..", "..", "test", "bench", "admission", "gatekeeper")
	out, err := cmd.Output()
	var module struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &module); err != nil || jsonErr != nil || module.Dir == "" {
		t.Fatalf("downloading the module of Gatekeeper: %v, %v: %s", err, jsonErr, out)
	}
	return module.Dir
}

// The suites that Gatekeeper tests its own gator with pass unchanged: constraints
// that are scoped, and expansion templates.
func TestPolicyTestOfGatekeeper(t *testing.T) {
	dir := filepath.Join(gatekeeperSource(t), "test", "gator", "verify")
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
