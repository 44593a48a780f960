package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitgate.dev/gitgate/test/testkit/cluster"
)

// diagnose runs gitgate doctor.
func diagnose(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(append([]string{"doctor"}, args...), strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// TestDoctorExitCodes proves what a script may count on.
func TestDoctorExitCodes(t *testing.T) {
	c := cluster.New(t, cluster.Options{ControllerManager: true})
	dead := filepath.Join(t.TempDir(), "kubeconfig")
	raw, err := os.ReadFile(c.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dead, bytes.Replace(raw, []byte(c.RESTConfig().Host), []byte("https://127.0.0.1:1"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		code int
		text string // on stdout, or on stderr for 2
	}{
		"Preflight":     {[]string{"--kubeconfig", c.Kubeconfig(), "--preflight"}, exitAllowed, "0 failed, 0 unknown"},
		"NotInstalled":  {[]string{"--kubeconfig", c.Kubeconfig()}, exitDenied, "fail     crds "},
		"Unreachable":   {[]string{"--kubeconfig", dead}, exitUndetermined, "unknown  api-server-version"},
		"NoKubeconfig":  {[]string{"--kubeconfig", filepath.Join(t.TempDir(), "none")}, exitUsage, "no cluster to look at"},
		"NoSuchContext": {[]string{"--kubeconfig", c.Kubeconfig(), "--context", "none"}, exitUsage, `context "none" does not exist`},
		"WrongOutput":   {[]string{"--kubeconfig", c.Kubeconfig(), "-o", "yaml"}, exitUsage, "want text or json"},
		"WrongArgument": {[]string{"now"}, exitUsage, "now"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := diagnose(tc.args...)
			where, other := stdout, stderr
			if tc.code == exitUsage {
				where, other = stderr, stdout
			}
			if code != tc.code || !strings.Contains(where, tc.text) || other != "" {
				t.Errorf("exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", code, tc.code, stdout, stderr)
			}
		})
	}
}

// TestDoctorJSON proves the shape that programs read.
func TestDoctorJSON(t *testing.T) {
	c := cluster.New(t, cluster.Options{})
	code, stdout, stderr := diagnose("--kubeconfig", c.Kubeconfig(), "-o", "json")
	var got struct {
		Kind   string
		Status string
		Checks []struct{ ID, Status, Message, Advice string }
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != exitDenied || stderr != "" {
		t.Fatalf("exit code %d, %v\n%s\n%s", code, err, stdout, stderr)
	}
	if got.Kind != "Diagnosis" || got.Status != "fail" || len(got.Checks) < 20 {
		t.Errorf("kind %q, status %q, %d checks", got.Kind, got.Status, len(got.Checks))
	}
	for _, check := range got.Checks {
		if check.ID == "" || check.Status == "" || check.Message == "" || strings.Contains(check.Message, "\n") {
			t.Errorf("check %+v", check)
		}
	}
}
