package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// commitRepo is a repository with a commit of every status, and key files.
type commitRepo struct {
	*gitrepo.Repo
	t                                              *testing.T
	alice                                          *gitrepo.OpenPGPKey
	carol                                          *gitrepo.SSHKey
	pgpFile, sshFile                               string
	root, pgp, ssh, unsigned, stranger, x509, evil plumbing.Hash
}

func newCommitRepo(t *testing.T) *commitRepo {
	t.Helper()
	r := &commitRepo{t: t, alice: gitrepo.OpenPGP(t, gitrepo.OpenPGPOptions{Name: "Alice", Email: "alice@example.com"}),
		carol: gitrepo.SSH(t, "Carol", "carol@example.com", "")}
	var err error
	if r.Repo, err = gitrepo.Init(filepath.Join(t.TempDir(), "work")); err != nil {
		t.Fatal(err)
	}
	r.Clock = gitrepo.Ticking(time.Now().Add(-time.Hour))
	r.root = r.commit(gitrepo.Change{Files: map[string]string{"a": "1"}})
	r.pgp = r.commit(gitrepo.Change{Files: map[string]string{"a": "2"}, Author: r.alice.Person(), Sign: r.alice})
	r.ssh = r.commit(gitrepo.Change{Files: map[string]string{"a": "3"}, Author: r.carol.Person(), Sign: r.carol})
	detached := func(c gitrepo.Change) gitrepo.Change {
		c.Parents, c.Detached, c.Files = []plumbing.Hash{r.ssh}, true, map[string]string{"a": "4"}
		return c
	}
	stranger := gitrepo.SSH(t, "Mallory", "mallory@example.com", "")
	r.unsigned = r.commit(detached(gitrepo.Change{Author: gitrepo.Person{Name: "Eve\x1b[2J", Email: "e@example.com"}}))
	r.stranger = r.commit(detached(gitrepo.Change{Author: stranger.Person(), Sign: stranger}))
	r.x509 = r.commit(detached(gitrepo.Change{Sign: armoredText("-----BEGIN SIGNED MESSAGE-----\nMAA=\n-----END SIGNED MESSAGE-----\n")}))
	r.evil = r.commit(detached(gitrepo.Change{Author: r.alice.Person(), Sign: r.alice,
		Raw: func(b []byte) []byte { return append([]byte("tree "+strings.Repeat("1", 40)+"\n"), b...) }}))
	r.pgpFile, r.sshFile = r.file("alice.asc", r.alice.Public()), r.file("allowed_signers", "# team\n"+r.carol.AllowedSigner())
	return r
}

type armoredText string

func (a armoredText) Sign([]byte) (string, error) { return string(a), nil }

func (r *commitRepo) commit(c gitrepo.Change) plumbing.Hash {
	r.t.Helper()
	h, err := r.Commit(c)
	if err != nil {
		r.t.Fatal(err)
	}
	return h
}

// file writes beside the repository.
func (r *commitRepo) file(name, text string) string {
	r.t.Helper()
	path := filepath.Join(filepath.Dir(r.Dir), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

func (r *commitRepo) trust(rules string) string {
	return r.file("trust.yaml", fmt.Sprintf(`apiVersion: gitgate.dev/v1alpha1
kind: TrustPolicy
metadata: {name: production}
spec:
  repositories: [{url: "https://git.example.com/acme/shop.git", refs: [main], root: %s}]
  namespaces: [shop]
  commits:
    signers:
      - name: alice
        openPGP:
          data: |
            %s
      - name: carol
        ssh:
          allowedSigners: |
            %s
%s`, r.root, strings.ReplaceAll(r.alice.Public(), "\n", "\n            "), r.carol.AllowedSigner(), rules))
}

func verifyCommit(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(append([]string{"verify", "commit"}, args...), strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestVerifyCommitStatuses(t *testing.T) {
	r := newCommitRepo(t)
	for name, tc := range map[string]struct {
		commit         plumbing.Hash
		code           int
		status, reason string
		keyType        string
		signer         string
	}{
		"OpenPGP":     {r.pgp, exitAllowed, "good", "", "openpgp", "Alice <alice@example.com>"},
		"SSH":         {r.ssh, exitAllowed, "good", "", "ssh", "carol@example.com"},
		"Unsigned":    {r.unsigned, exitDenied, "unsigned", "UnsignedCommit", "", ""},
		"Stranger":    {r.stranger, exitDenied, "untrusted", "UntrustedSigner", "ssh", ""},
		"Unsupported": {r.x509, exitUndetermined, "unsupported", "UnsupportedSignature", "x509", ""},
		"G3":          {r.evil, exitDenied, "bad", "MalformedObject", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"--repo", r.Dir, "--openpgp", r.pgpFile, "--allowed-signers", r.sshFile, tc.commit.String()}
			code, out, _ := verifyCommit(t, append(args, "-o", "json")...)
			var line struct{ Commit, Status, Reason, Signer, KeyType, Fingerprint, Message string }
			if err := json.Unmarshal([]byte(out), &line); err != nil || strings.Count(out, "\n") != 1 {
				t.Fatalf("output %q: %v", out, err)
			}
			if code != tc.code || line.Commit != tc.commit.String() || line.Status != tc.status || line.Reason != tc.reason ||
				line.KeyType != tc.keyType || line.Signer != tc.signer {
				t.Errorf("exit %d, %+v", code, line)
			}
			if (line.Message == "") != (line.Status == "good") || line.Status == "good" && line.Fingerprint == "" {
				t.Errorf("message and fingerprint do not fit: %+v", line)
			}
			code, out, _ = verifyCommit(t, args...)
			if code != tc.code || !strings.HasPrefix(out, tc.status) || strings.Contains(out, "\x1b") {
				t.Errorf("exit %d, text %q", code, out)
			}
		})
	}
}

func TestVerifyCommitRanges(t *testing.T) {
	r := newCommitRepo(t)
	keys := []string{"--repo", r.Dir, "--openpgp", r.pgpFile, "--allowed-signers", r.sshFile, "-o", "json"}
	if _, err := r.Tag(gitrepo.Tag{Name: "v1", Target: r.pgp}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		code int
		want []plumbing.Hash
	}{
		{[]string{r.root.String() + "..main"}, 0, []plumbing.Hash{r.ssh, r.pgp}},
		{[]string{"main~2..HEAD"}, 0, []plumbing.Hash{r.ssh, r.pgp}},
		{[]string{"v1.."}, 0, []plumbing.Hash{r.ssh}},
		{[]string{"main..main"}, 0, nil},
		{[]string{"main", "v1"}, 0, []plumbing.Hash{r.ssh, r.pgp}},
		{[]string{"HEAD^", "@"}, 0, []plumbing.Hash{r.pgp, r.ssh}},
		{[]string{r.ssh.String()[:9]}, 0, []plumbing.Hash{r.ssh}},
		{[]string{"main~2"}, 1, []plumbing.Hash{r.root}},
		{[]string{r.root.String() + ".." + r.unsigned.String()}, 1, []plumbing.Hash{r.unsigned, r.ssh, r.pgp}},
		{[]string{"main", r.x509.String()}, 3, []plumbing.Hash{r.ssh, r.x509}},
		{[]string{r.x509.String(), r.unsigned.String()}, 1, []plumbing.Hash{r.x509, r.unsigned}},
	} {
		code, out, errs := verifyCommit(t, append(keys, tc.args...)...)
		var got []plumbing.Hash
		for dec := json.NewDecoder(strings.NewReader(out)); dec.More(); {
			var line struct{ Commit string }
			if err := dec.Decode(&line); err != nil {
				t.Fatal(err)
			}
			got = append(got, plumbing.NewHash(line.Commit))
		}
		if diff := cmp.Diff(tc.want, got); diff != "" || code != tc.code {
			t.Errorf("%v: exit %d, want %d (-want +got):\n%s%s", tc.args, code, tc.code, diff, errs)
		}
	}
}

func TestVerifyCommitTrust(t *testing.T) {
	r := newCommitRepo(t)
	rules := "    rules:\n      - {paths: ['**'], signers: [alice]}\n"
	verify := func(trust string, revs ...string) (int, string) {
		code, out, errs := verifyCommit(t, append([]string{"--repo", r.Dir, "--trust", trust}, revs...)...)
		return code, out + errs
	}
	trust := r.trust("")
	if code, out := verify(trust, r.root.String()+"..main"); code != exitAllowed || !strings.Contains(out, "carol") {
		t.Errorf("exit %d: %s", code, out)
	}
	if code, out := verify(trust, r.root.String()); code != exitAllowed || !strings.Contains(out, "pinned root") {
		t.Errorf("the root: exit %d: %s", code, out)
	}
	// main is ahead of the head: what is in force would be lost.
	if code, out := verify(trust, "main..main~1"); code != exitDenied || !strings.Contains(out, "NonFastForward") {
		t.Errorf("rewind: exit %d: %s", code, out)
	}
	if code, out := verify(r.trust(rules), "main"); code != exitDenied || !strings.Contains(out, "SignerNotAllowed") {
		t.Errorf("rules: exit %d: %s", code, out)
	}
	if code, out := verify(r.trust("    authorMustMatchSigner: maybe\n"), "main"); code != exitUsage {
		t.Errorf("bad field: exit %d: %s", code, out)
	}
}

func TestVerifyCommitWrongUse(t *testing.T) {
	r := newCommitRepo(t)
	trust := r.trust("")
	keys := []string{"--repo", r.Dir, "--allowed-signers", r.sshFile}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"NoRevision":      {keys, "requires at least 1 arg"},
		"NoKeys":          {[]string{"--repo", r.Dir, "main"}, "trust"},
		"BothKinds":       {[]string{"--repo", r.Dir, "--trust", trust, "--openpgp", r.pgpFile, "main"}, "none of the others"},
		"Output":          {append(keys, "-o", "xml", "main"), "-o xml"},
		"UnknownRevision": {append(keys, "nosuch"), `"nosuch"`},
		"UnknownInRange":  {append(keys, "nosuch..main"), `"nosuch"`},
		"TooFar":          {append(keys, "main~99"), `"main~99"`},
		"ShortUnknown":    {append(keys, "0000000"), `"0000000"`},
		"MissingHash":     {append(keys, strings.Repeat("ab", 20)), "abab"},
		"Symmetric":       {append(keys, "main...v1"), "symmetric"},
		"OptionLike":      {append(keys, "--", "-main"), `"-main"`},
		"NoRepository":    {[]string{"--repo", filepath.Dir(filepath.Dir(r.Dir)), "--allowed-signers", r.sshFile, "main"}, "not a Git repository"},
		"NoDirectory":     {[]string{"--repo", r.Dir + "x", "--allowed-signers", r.sshFile, "main"}, "workx"},
		"NoKeyFile":       {[]string{"--repo", r.Dir, "--openpgp", r.pgpFile + "x", "main"}, "alice.ascx"},
		"NotAKey":         {[]string{"--repo", r.Dir, "--openpgp", r.sshFile, "main"}, "allowed_signers"},
		"PrivateKey":      {[]string{"--repo", r.Dir, "--openpgp", r.file("secret.asc", r.alice.Private()), "main"}, "private key"},
		"BadLine":         {[]string{"--repo", r.Dir, "--allowed-signers", r.file("bad", "# x\n\ncarol nonsense\n"), "main"}, "bad:3: "},
		"NoPolicy":        {[]string{"--repo", r.Dir, "--trust", r.sshFile, "main"}, "allowed_signers"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := verifyCommit(t, tc.args...)
			if code != exitUsage || out != "" || !strings.Contains(errs, tc.want) || strings.Count(errs, "\n") != 1 {
				t.Errorf("exit %d, stdout %q, stderr %q, want exit 2 and one line with %q", code, out, errs, tc.want)
			}
		})
	}
}

// Repositories come bare, packed, with added work trees and with alternates.
func TestVerifyCommitRepositoryForms(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	r := newCommitRepo(t)
	git := func(args ...string) {
		t.Helper()
		if out, err := r.Git(args...); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	beside := func(name string) string { return filepath.Join(filepath.Dir(r.Dir), name) }
	git("clone", "-q", "--bare", "--no-local", r.GitDir(), beside("packed.git"))
	git("clone", "-q", "--shared", r.GitDir(), beside("alternate"))
	git("worktree", "add", "-q", "--detach", beside("tree"), r.pgp.String())
	if err := os.Mkdir(filepath.Join(r.Dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for dir, head := range map[string]plumbing.Hash{
		beside("packed.git"): r.ssh, beside("alternate"): r.ssh, beside("tree"): r.pgp, r.GitDir(): r.ssh, filepath.Join(r.Dir, "sub"): r.ssh,
	} {
		code, out, errs := verifyCommit(t, "--repo", dir, "--openpgp", r.pgpFile, "--allowed-signers", r.sshFile, "HEAD")
		if code != exitAllowed || !strings.Contains(out, head.String()[:12]) {
			t.Errorf("%s: exit %d: %s%s", dir, code, out, errs)
		}
	}
}

// Many commits of every kind, verified in parallel, come out
// each once, with their own status and in the order of git log.
func TestVerifyCommitManyOfEveryKind(t *testing.T) {
	r := newCommitRepo(t)
	n := 200
	if s := os.Getenv("GITGATE_TEST_COMMITS"); s != "" { // for measuring by hand
		n, _ = strconv.Atoi(s)
	}
	signers := []gitrepo.Signer{r.alice, r.carol, nil, armoredText("-----BEGIN SIGNED MESSAGE-----\nMAA=\n-----END SIGNED MESSAGE-----\n")}
	for i := range n {
		r.commit(gitrepo.Change{Files: map[string]string{fmt.Sprintf("d%d/f", i%10): fmt.Sprint(i)}, Sign: signers[i%len(signers)]})
	}
	if n > 1000 {
		if out, err := r.Git("repack", "-adq"); err != nil {
			t.Fatalf("git repack: %v\n%s", err, out)
		}
	}
	start := time.Now()
	code, out, errs := verifyCommit(t, "--repo", r.Dir, "--openpgp", r.pgpFile, "--allowed-signers", r.sshFile, "-o", "json", r.ssh.String()+"..main")
	t.Logf("%d commits in %s", n, time.Since(start).Round(time.Millisecond))
	if code != exitDenied || strings.Count(out, "\n") != n {
		t.Fatalf("exit %d, %d lines: %s", code, strings.Count(out, "\n"), errs)
	}
	at := r.Ref("refs/heads/main")
	for line := range strings.Lines(out) {
		if !strings.Contains(line, at.String()) {
			t.Fatalf("%s is not in its place: %s", at, line)
		}
		raw, err := r.Raw(at)
		if err != nil {
			t.Fatal(err)
		}
		_, parent, _ := strings.Cut(string(raw), "\nparent ")
		at = plumbing.NewHash(parent[:40])
	}
	for status, want := range map[string]int{"good": n / 2, "unsigned": n / 4, "unsupported": n / 4} {
		if got := strings.Count(out, `"status":"`+status+`"`); got != want {
			t.Errorf("%d are %s, want %d", got, status, want)
		}
	}
}
