package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets scripts run this binary as gitgate.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gitgate": main})
}

// testCluster is the cluster of the scripts.
const testCluster = "6f0d0f3e-9f8c-4b1c-8d5e-1c2f3a4b5c6d"

// TestBreakGlass runs the scripts of testdata/breakglass. Those that need OpenSSH
// say so, and are skipped where there is none.
func TestBreakGlass(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                filepath.Join("testdata", "breakglass"),
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("CLUSTER", testCluster)
			env.Setenv("KUBECONFIG", filepath.Join(env.WorkDir, "no-kubeconfig"))
			env.Setenv("NOW", time.Now().UTC().Format(time.RFC3339))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"trust": writeTrust, "agent": startAgent, "edit": editFile,
		},
	})
}

// writeTrust writes a TrustPolicy with allowed signers: trust FILE OWNER=KEY.pub...
// An owner that begins with ca: is what an authority may certify.
func writeTrust(ts *testscript.TestScript, _ bool, args []string) {
	var lines strings.Builder
	for _, arg := range args[1:] {
		owner, file, _ := strings.Cut(arg, "=")
		words := []string{owner, strings.TrimSpace(ts.ReadFile(file))}
		if principals, ok := strings.CutPrefix(owner, "ca:"); ok {
			words = []string{principals, "cert-authority", words[1]}
		}
		lines.WriteString("      " + strings.Join(words, " ") + "\n")
	}
	policy := `apiVersion: gitgate.dev/v1alpha1
kind: TrustPolicy
metadata: {name: production}
spec:
  repositories: [{url: "https://git.example.com/acme/shop.git", refs: [main], root: "` + strings.Repeat("1", 40) + `"}]
  namespaces: [shop]
  commits: {signers: [{name: nobody, ssh: {allowedSigners: "x"}}]}
  breakGlass:
    allowedSigners: |
` + lines.String()
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(policy), 0o600))
}

// startAgent runs ssh-agent for the rest of the script.
func startAgent(ts *testscript.TestScript, _ bool, _ []string) {
	// A path in the work directory can be too long for a socket.
	dir, err := os.MkdirTemp("", "gg-agent-")
	ts.Check(err)
	socket := filepath.Join(dir, "s")
	ts.Setenv("SSH_AUTH_SOCK", socket)
	ts.Check(ts.Exec("sh", "-c", "ssh-agent -D -a "+socket+" >/dev/null 2>&1 & echo $!"))
	pid := strings.TrimSpace(ts.ReadFile("stdout"))
	ts.Defer(func() {
		_ = ts.Exec("kill", pid)
		_ = os.RemoveAll(dir)
	})
	for range 200 {
		if _, err := os.Stat(socket); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("ssh-agent does not start")
}

// editFile replaces text in a file: edit FILE OLD NEW.
func editFile(ts *testscript.TestScript, _ bool, args []string) {
	before := ts.ReadFile(args[0])
	after := strings.ReplaceAll(before, args[1], args[2])
	if after == before {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(after), 0o600))
}
