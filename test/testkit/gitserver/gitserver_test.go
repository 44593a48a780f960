package gitserver_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/test/testkit/gitserver"
)

// git runs the stock client, away from the machine's configuration.
func git(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + cmd.Dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
	}, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func mustGit(t *testing.T, env []string, args ...string) string {
	t.Helper()
	out, err := git(t, env, args...)
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func worktree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "work")
	mustGit(t, nil, "init", "-q", "-b", "main", dir)
	mustGit(t, nil, "-C", dir, "commit", "-q", "--allow-empty", "-m", "first")
	return dir
}

func TestPushAndCloneWithEveryCredential(t *testing.T) {
	work := worktree(t)
	s := gitserver.New(t, gitserver.Options{
		TLS: true, SSH: true, AllowPush: true, Username: "bot", Password: "s3cret", Token: "t0ken",
	})
	s.MustCreateRepo(t, "acme/shop.git")
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	ca, key, known := write("ca", s.CA()), write("key", s.ClientKey()), write("known_hosts", s.KnownHosts())
	tls := []string{"GIT_SSL_CAINFO=" + ca}
	withUser := strings.Replace(s.URL("acme/shop.git"), "https://", "https://bot:s3cret@", 1)
	mustGit(t, tls, "-C", work, "push", "-q", withUser, "main")

	for name, tc := range map[string]struct {
		reason string
		env    []string
		args   []string
		want   bool
	}{
		"Password":   {"The right password opens.", tls, []string{"ls-remote", withUser}, true},
		"Token":      {"The right bearer token opens.", tls, []string{"-c", "http.extraHeader=Authorization: Bearer t0ken", "ls-remote", s.URL("acme/shop.git")}, true},
		"WrongToken": {"A wrong token does not.", tls, []string{"-c", "http.extraHeader=Authorization: Bearer no", "ls-remote", s.URL("acme/shop.git")}, false},
		"Anonymous":  {"Nothing does not.", tls, []string{"ls-remote", s.URL("acme/shop.git")}, false},
		"NoCA":       {"Without the CA the client refuses.", nil, []string{"ls-remote", withUser}, false},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := git(t, tc.env, tc.args...)
			if (err == nil) != tc.want {
				t.Errorf("%s\nerr = %v\n%s", tc.reason, err, out)
			}
		})
	}
	t.Run("SSH", func(t *testing.T) {
		if _, err := exec.LookPath("ssh"); err != nil {
			t.Skip("no OpenSSH client here; reconcile/source tests the SSH side")
		}
		env := []string{fmt.Sprintf("GIT_SSH_COMMAND=ssh -i %s -o UserKnownHostsFile=%s -o IdentitiesOnly=yes", key, known)}
		if out := mustGit(t, env, "ls-remote", s.SSHURL("acme/shop.git")); !strings.Contains(out, "refs/heads/main") {
			t.Errorf("ls-remote over SSH = %q", out)
		}
	})
}

func TestPushIsRefusedUnlessAllowed(t *testing.T) {
	work := worktree(t)
	s := gitserver.New(t, gitserver.Options{Username: "bot", Password: "x"})
	s.MustCreateRepo(t, "a.git")
	url := strings.Replace(s.URL("a.git"), "http://", "http://bot:x@", 1)
	if out, err := git(t, nil, "-C", work, "push", url, "main"); err == nil {
		t.Errorf("a read-only server accepted a push: %s", out)
	}
}

func TestRequestsAreRecorded(t *testing.T) {
	work := worktree(t)
	s := gitserver.New(t, gitserver.Options{})
	dir := s.MustCreateRepo(t, "a.git")
	mustGit(t, nil, "-C", work, "push", "-q", dir, "main")
	mustGit(t, nil, "clone", "-q", s.URL("a.git"), "out")
	for _, command := range []string{"info/refs", "ls-refs", "fetch"} {
		if got := s.Count(command); got != 1 {
			t.Errorf("%s was asked %d times in a clone, want 1", command, got)
		}
	}
	s.ResetRequests()
	mustGit(t, nil, "ls-remote", s.URL("a.git"))
	if got := s.Count("fetch"); got != 0 {
		t.Errorf("ls-remote fetched %d times", got)
	}
}

func TestFaults(t *testing.T) {
	s := gitserver.New(t, gitserver.Options{})
	s.MustCreateRepo(t, "a.git")
	other := gitserver.New(t, gitserver.Options{})
	url := s.URL("a.git") + "/info/refs?service=git-upload-pack"
	get := func() (*http.Response, []byte, error) {
		res, err := http.Get(url)
		if err != nil {
			return nil, nil, err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return res, body, err
	}
	_, whole, err := get()
	if err != nil {
		t.Fatal(err)
	}

	s.Inject(gitserver.Fault{Status: http.StatusTooManyRequests, RetryAfter: "7", Times: 1})
	if res, _, err := get(); err != nil || res.StatusCode != 429 || res.Header.Get("Retry-After") != "7" {
		t.Errorf("429 fault: %v, %v", res, err)
	}
	if res, _, err := get(); err != nil || res.StatusCode != 200 {
		t.Errorf("the fault outlived its one time: %v, %v", res, err)
	}
	s.Inject(gitserver.Fault{CutAfter: 5, Times: 1})
	if _, body, err := get(); err == nil || len(body) > 5 {
		t.Errorf("cut after 5 bytes: read %d bytes, err = %v", len(body), err)
	}
	s.Inject(gitserver.Fault{Redirect: other.URL("")[:len(other.URL(""))-1], Times: 1})
	if _, _, err := get(); err != nil {
		t.Error(err)
	}
	if n := len(other.Requests()); n != 1 {
		t.Errorf("the redirect's target saw %d requests, want 1", n)
	}
	s.Inject(gitserver.Fault{Trickle: time.Millisecond, Times: 1})
	start := time.Now()
	if _, body, err := get(); err != nil || !bytes.Equal(body, whole) {
		t.Errorf("trickled body differs: %q, %v", body, err)
	}
	if d := time.Since(start); d < time.Duration(len(whole))*time.Millisecond {
		t.Errorf("%d bytes at 1 ms each took only %s", len(whole), d)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	s, err := gitserver.Start(gitserver.Options{SSH: true, TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateRepo("../escape.git"); err == nil {
		t.Error("a repository outside of the root was created")
	}
	root := s.Root()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(root); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", root, err)
	}
	if _, err := http.Get(s.URL("a.git")); err == nil {
		t.Error("the server still answers")
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestBuildPackIsGits(t *testing.T) {
	blob := []byte("hello\n")
	delta := gitserver.Delta(6, 12, gitserver.CopyFromBase(0, 6), gitserver.Insert([]byte("world\n")))
	pack := gitserver.BuildPack(
		gitserver.PackEntry{Type: gitserver.Blob, Data: blob},
		gitserver.PackEntry{Type: gitserver.OffsetDelta, Base: 0, Data: delta},
		gitserver.PackEntry{Type: gitserver.RefDelta, BaseHash: gitserver.Hash("blob", blob), Data: gitserver.Delta(6, 6, gitserver.Insert([]byte("other\n")))},
	)
	file := filepath.Join(t.TempDir(), "p.pack")
	if err := os.WriteFile(file, pack, 0o600); err != nil {
		t.Fatal(err)
	}
	mustGit(t, nil, "index-pack", file)
	idx, err := exec.Command("git", "verify-pack", "-v", file).CombinedOutput()
	if err != nil {
		t.Fatalf("git refuses the pack: %s", idx)
	}
	for _, content := range []string{"hello\n", "hello\nworld\n", "other\n"} {
		if h := gitserver.Hash("blob", []byte(content)); !strings.Contains(string(idx), h) {
			t.Errorf("the pack lacks %s (%q):\n%s", h, content, idx)
		}
	}
}
