package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRenderMasksSecrets proves that a plaintext Secret does not reach a log by
// being rendered, unless that is asked for.
func TestRenderMasksSecrets(t *testing.T) {
	const canary = "canary-in-the-log"
	dir := t.TempDir()
	manifest := "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {k: " + canary + "}\n"
	if err := os.WriteFile(filepath.Join(dir, "s.yaml"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		want bool
	}{
		{[]string{"render", dir}, false},
		{[]string{"render", dir, "-o", "json"}, false},
		{[]string{"render", dir, "--show-secrets"}, true},
	} {
		var out bytes.Buffer
		if code := run(tc.args, strings.NewReader(""), &out, &out); code != exitAllowed {
			t.Fatalf("%q exits with %d:\n%s", tc.args, code, &out)
		}
		if got := strings.Contains(out.String(), canary); got != tc.want {
			t.Errorf("%q shows the value: %t, want %t", tc.args, got, tc.want)
		}
	}
}
