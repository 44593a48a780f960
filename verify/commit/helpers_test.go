package commit_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/verify/commit"
)

// people are the signers of most tests. Keys are made once.
var people = sync.OnceValue(func() (p struct{ alice, bob, mallory *gitrepo.OpenPGPKey }) {
	for _, k := range []struct {
		name string
		key  **gitrepo.OpenPGPKey
	}{{"alice", &p.alice}, {"bob", &p.bob}, {"mallory", &p.mallory}} {
		key, err := gitrepo.NewOpenPGP(gitrepo.OpenPGPOptions{Name: k.name, Email: k.name + "@example.com"})
		if err != nil {
			panic(err)
		}
		*k.key = key
	}
	return p
})

// a fixture is a repository whose history counts from an unsigned root.
type fixture struct {
	*gitrepo.TestRepo
	t    *testing.T
	root plumbing.Hash
	cfg  commit.Config
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{TestRepo: gitrepo.For(t), t: t}
	f.root = f.Commit(gitrepo.Change{Files: map[string]string{"README": "hello\n"}})
	f.cfg = commit.Config{
		Signers: []commit.SignerConfig{
			{Name: "alice", OpenPGP: people().alice.Public()},
			{Name: "bob", OpenPGP: people().bob.Public()},
		},
		AuthorMustMatchSigner: true,
		Root:                  f.root.String(),
	}
	return f
}

// signed commits a file as its signer.
func (f *fixture) signed(by interface {
	gitrepo.Signer
	Person() gitrepo.Person
}, file string, more ...func(*gitrepo.Change)) plumbing.Hash {
	f.t.Helper()
	c := gitrepo.Change{Files: map[string]string{file: file + "\n"}, Author: by.Person(), Sign: by}
	for _, m := range more {
		m(&c)
	}
	return f.Commit(c)
}

func on(parents ...plumbing.Hash) func(*gitrepo.Change) {
	return func(c *gitrepo.Change) { c.Parents, c.Detached = parents, true }
}

func (f *fixture) verifier() *commit.Verifier {
	f.t.Helper()
	v, err := commit.NewVerifier(f.cfg)
	if err != nil {
		f.t.Fatalf("NewVerifier: %v", err)
	}
	return v
}

// verify judges head over base with a new verifier.
func (f *fixture) verify(head plumbing.Hash, base ...plumbing.Hash) (*commit.Tree, commit.Report) {
	f.t.Helper()
	return f.verifier().Verify(f.t.Context(), commit.Request{Objects: f.Objects(), Head: head, Base: base})
}

// denied requires that head is refused and that reason is among the causes.
func (f *fixture) denied(want commit.Reason, head plumbing.Hash, base ...plumbing.Hash) commit.Problem {
	f.t.Helper()
	tree, report := f.verify(head, base...)
	return requireProblem(f.t, want, tree, report)
}

func requireProblem(t *testing.T, want commit.Reason, tree *commit.Tree, report commit.Report) commit.Problem {
	t.Helper()
	if tree != nil {
		t.Fatalf("a tree was minted, want %s", want)
	}
	for _, p := range report.Problems {
		if p.Reason == want {
			if p.Message == "" || strings.Contains(p.Message, "\n") {
				t.Errorf("message %q is not one line", p.Message)
			}
			return p
		}
	}
	t.Fatalf("problems %v, want one with %s", report.Problems, want)
	return commit.Problem{}
}

// admitted requires that nothing is wrong with head.
func (f *fixture) admitted(head plumbing.Hash, base ...plumbing.Hash) (*commit.Tree, commit.Report) {
	f.t.Helper()
	tree, report := f.verify(head, base...)
	if tree == nil || len(report.Problems) > 0 {
		f.t.Fatalf("refused: %v", report.Problems)
	}
	return tree, report
}

// gitVerifies asks git verify-commit, with the real gpg and ssh-keygen, whether
// it accepts a commit. It skips nothing silently: known is false where a tool is
// missing.
func (f *fixture) gitVerifies(h plumbing.Hash, openPGP []string, allowedSigners string) (accepts, known bool, output string) {
	f.t.Helper()
	for _, tool := range []string{"git", "gpg", "ssh-keygen"} {
		if _, err := exec.LookPath(tool); err != nil {
			f.t.Logf("no cross-check with git verify-commit: %s is not installed", tool)
			return false, false, ""
		}
	}
	home, err := os.MkdirTemp("", "gg") // short: gpg-agent's socket has little room
	if err != nil {
		f.t.Fatal(err)
	}
	defer os.RemoveAll(home)
	for _, key := range openPGP {
		cmd := exec.Command("gpg", "--homedir", home, "--batch", "--no-autostart", "--quiet", "--import")
		cmd.Stdin = strings.NewReader(key)
		if out, err := cmd.CombinedOutput(); err != nil {
			f.t.Logf("gpg --import: %v: %s", err, out) // it then rejects what the key signed
		}
	}
	allowed := filepath.Join(home, "allowed_signers")
	if err := os.WriteFile(allowed, []byte(allowedSigners), 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.t.Setenv("GNUPGHOME", home)
	out, err := f.Git("-c", "gpg.ssh.allowedSignersFile="+allowed, "verify-commit", "-v", h.String())
	return err == nil, true, out
}

// neverLaxer fails the test if we accept what git rejects.
func (f *fixture) neverLaxer(h plumbing.Hash, res commit.Result, openPGP []string, allowedSigners string) {
	f.t.Helper()
	accepts, known, out := f.gitVerifies(h, openPGP, allowedSigners)
	if known && res.Status == commit.Good && !accepts {
		f.t.Errorf("accepted, but git verify-commit rejects it:\n%s", out)
	}
}

func (f *fixture) publicKeys() []string {
	return []string{people().alice.Public(), people().bob.Public()}
}

var now = time.Now
