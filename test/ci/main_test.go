// Package ci tests what deploy/ci brings gitgate into: the hooks run under git, the
// action and the template run as their runners run them.
package ci

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// gitgate is the binary that the tests of this package share, and bin the directory
// that holds it alone.
var gitgate, bin string

func TestMain(m *testing.M) {
	os.Exit(withBinary(m))
}

func withBinary(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gitgate-ci-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if gitgate, err = lab.Binary(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	bin = dir
	return m.Run()
}

// shells are those that a script of ours must work with.
var shells = []string{"dash", "bash"}

// ciFile returns a path below deploy/ci.
func ciFile(elem ...string) string {
	return filepath.Join(append([]string{lab.ModuleRoot(), "deploy", "ci"}, elem...)...)
}

// environment is that of a process which knows git, gitgate and nothing of this
// machine.
func environment(more ...string) []string {
	return append([]string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
		"GIT_TERMINAL_PROMPT=0", "LC_ALL=C", "TMPDIR=" + os.Getenv("TMPDIR"),
		"GIT_AUTHOR_NAME=Carol", "GIT_AUTHOR_EMAIL=carol@example.com", "GIT_COMMITTER_NAME=Carol", "GIT_COMMITTER_EMAIL=carol@example.com",
	}, more...)
}

// run runs a command and returns its exit code and all that it printed.
func run(t *testing.T, dir string, env []string, name string, args ...string) (int, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, env
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("%s: %v", name, err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	code, out := run(t, dir, environment(), "git", args...)
	if code != 0 {
		t.Fatalf("git %s: exit %d\n%s", strings.Join(args, " "), code, out)
	}
	return strings.TrimSpace(out)
}

func write(t *testing.T, name, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// A project is a repository whose branch main is in force. It holds the
// configuration that judges it, which is also in a directory apart.
type project struct {
	*gitrepo.Repo
	t          *testing.T
	carol      *gitrepo.SSHKey
	config     string
	root, main plumbing.Hash
}

const (
	settings  = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: shop}\ndata: {color: blue}\n"
	plaintext = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\nstringData: {password: hunter2}\n"
)

const configuration = `apiVersion: gitgate.dev/v1alpha1
kind: GitSync
metadata: {name: shop, namespace: gitgate-system}
spec:
  url: https://git.example.com/acme/shop.git
  ref: {branch: main}
  path: app
  trust: {name: production}
  policies: [{name: acme}]
---
apiVersion: gitgate.dev/v1alpha1
kind: TrustPolicy
metadata: {name: production}
spec:
  repositories: [{url: "https://git.example.com/acme/shop.git", refs: [main], root: ROOT}]
  namespaces: [gitgate-system]
  commits:
    signers: [{name: carol, ssh: {allowedSigners: "CAROL"}}]
---
apiVersion: gitgate.dev/v1alpha1
kind: PolicySet
metadata: {name: acme}
spec:
  source:
    inline:
      acme.rego: |
        package acme
        deny contains {"msg": sprintf("%s is too loud", [input.object.data.color]), "field": "data.color"} if startswith(input.object.data.color, "red")
`

func newProject(t *testing.T) *project {
	t.Helper()
	p := &project{t: t, carol: gitrepo.SSH(t, "Carol", "carol@example.com", ""), config: filepath.Join(t.TempDir(), "etc")}
	var err error
	if p.Repo, err = gitrepo.InitBare(filepath.Join(t.TempDir(), "author.git")); err != nil {
		t.Fatal(err)
	}
	p.Clock = gitrepo.Ticking(time.Now().Add(-2 * time.Hour))
	p.root = p.commit(gitrepo.Change{Files: map[string]string{"README": "shop\n"}})
	text := strings.NewReplacer("ROOT", p.root.String(), "CAROL", p.carol.AllowedSigner()).Replace(configuration)
	write(t, filepath.Join(p.config, "gitgate.yaml"), text, 0o644)
	p.main = p.signed(gitrepo.Change{Files: map[string]string{"app/settings.yaml": settings, "gitgate/gitgate.yaml": text}})
	return p
}

func (p *project) commit(c gitrepo.Change) plumbing.Hash {
	p.t.Helper()
	h, err := p.Commit(c)
	if err != nil {
		p.t.Fatal(err)
	}
	return h
}

// signed commits as Carol.
func (p *project) signed(c gitrepo.Change) plumbing.Hash {
	p.t.Helper()
	c.Author, c.Sign = p.carol.Person(), p.carol
	return p.commit(c)
}

// good and bad commit to a branch that begins at main.
func (p *project) good(branch string) plumbing.Hash {
	return p.signed(gitrepo.Change{Branch: branch, Parents: []plumbing.Hash{p.main}, Files: map[string]string{"app/more.yaml": strings.ReplaceAll(settings, "settings", "more")}})
}

func (p *project) bad(branch string) plumbing.Hash {
	return p.signed(gitrepo.Change{Branch: branch, Parents: []plumbing.Hash{p.main}, Files: map[string]string{"app/settings.yaml": strings.ReplaceAll(settings, "blue", "red")}})
}

func (p *project) unsigned(branch string) plumbing.Hash {
	return p.commit(gitrepo.Change{Branch: branch, Parents: []plumbing.Hash{p.main}, Files: map[string]string{"app/more.yaml": strings.ReplaceAll(settings, "settings", "more")}})
}

// hostile commits what tries to be read as an order: names of files, a message and
// values with commands of shells, runners and terminals in them.
func (p *project) hostile(branch, mark string) plumbing.Hash {
	command := "$(touch " + mark + ")`touch " + mark + "`;touch " + mark + ";"
	order := "::set-output name=x::y\n::error::forged\n##[error]forged\r::warning::forged\n\x1b[31mred\x1b]0;title\a"
	return p.signed(gitrepo.Change{
		Branch: branch, Parents: []plumbing.Hash{p.main}, Message: command + "\n\n" + order,
		Files: map[string]string{
			"app/" + strings.ReplaceAll(command, "/", "%2f") + ".yaml": strings.ReplaceAll(strings.ReplaceAll(settings, "settings", "odd"), "blue", fmt.Sprintf("%q", "red"+command+order)),
			"app/::error::forged.yaml":                                 strings.ReplaceAll(strings.ReplaceAll(settings, "settings", "order"), "blue", "red"),
		},
	})
}

// bareServer makes the repository that is pushed to, with the hook in the hands of a
// shell, and main as it is in force.
func (p *project) bareServer(shell string) string {
	p.t.Helper()
	server := filepath.Join(p.t.TempDir(), "server.git")
	git(p.t, p.Dir, "init", "-q", "--bare", "-b", "main", server)
	git(p.t, p.Dir, "push", "-q", "file://"+server, p.main.String()+":refs/heads/main")
	p.installHook(server, shell)
	return server
}

func (p *project) installHook(server, shell string) {
	p.t.Helper()
	hook, ok := strings.CutPrefix(read(p.t, ciFile("pre-receive", "pre-receive")), "#!/bin/sh\n")
	if !ok {
		p.t.Fatal("the hook is not for /bin/sh")
	}
	write(p.t, filepath.Join(server, "hooks", "pre-receive"), "#!/usr/bin/env "+shell+"\n"+hook, 0o755)
	git(p.t, server, "config", "gitgate.config", p.config)
}
