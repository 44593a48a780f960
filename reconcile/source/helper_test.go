package source_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"gitgate.dev/gitgate/reconcile/source"
	"gitgate.dev/gitgate/test/testkit/gitserver"
)

// upstream is a repository on a server, and a work tree that pushes to it.
type upstream struct {
	t    testing.TB
	bare string
	work string
	n    int
}

func newUpstream(t testing.TB, s *gitserver.Server, name string) *upstream {
	t.Helper()
	u := &upstream{t: t, bare: s.MustCreateRepo(t, name), work: filepath.Join(t.TempDir(), "work")}
	u.git("init", "-q", "-b", "main", u.work)
	return u
}

func (u *upstream) git(args ...string) string {
	u.t.Helper()
	cmd := exec.CommandContext(u.t.Context(), "git", args...)
	if _, err := os.Stat(u.work); err == nil {
		cmd.Dir = u.work
	}
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(u.work), "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		u.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (u *upstream) write(path, content string) {
	u.t.Helper()
	file := filepath.Join(u.work, path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		u.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		u.t.Fatal(err)
	}
}

// push commits a change of one file and pushes it.
func (u *upstream) push() plumbing.Hash {
	u.t.Helper()
	u.n++
	u.write("counter", fmt.Sprint(u.n))
	return u.pushAll()
}

// pushAll commits what is in the work tree and pushes it.
func (u *upstream) pushAll() plumbing.Hash {
	u.t.Helper()
	u.git("add", "-A")
	u.git("commit", "-q", "-m", fmt.Sprint("change ", u.n))
	u.git("push", "-q", "--force", u.bare, "HEAD:refs/heads/main")
	return plumbing.NewHash(u.git("rev-parse", "HEAD"))
}

func openCache(t testing.TB, dir string) *source.Cache {
	t.Helper()
	c, err := source.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func open(t testing.TB, c *source.Cache, o source.Options) *source.Repository {
	t.Helper()
	o.AllowInsecureLoopback = true
	if o.Branch == "" {
		o.Branch = "main"
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	r, err := c.Repository(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func auth(t testing.TB, url string, data map[string]string) source.Auth {
	t.Helper()
	raw := map[string][]byte{}
	for k, v := range data {
		raw[k] = []byte(v)
	}
	a, err := source.AuthFromSecret(url, raw)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func fetch(t testing.TB, r *source.Repository) *source.Result {
	t.Helper()
	res, err := r.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// wantReason requires that err is a [*source.Error] with a reason.
func wantReason(t testing.TB, err error, want source.Reason) *source.Error {
	t.Helper()
	var e *source.Error
	if !errors.As(err, &e) {
		t.Fatalf("err = %v (%T), want a *source.Error", err, err)
	}
	if e.Reason != want {
		t.Errorf("reason = %s, want %s: %v", e.Reason, want, e)
	}
	return e
}

// walk reads the whole history of a commit and returns how many commits it has
// and the files of the newest.
func walk(t testing.TB, res *source.Result) (commits int, files map[string]string) {
	t.Helper()
	head, err := object.GetCommit(res.Objects, res.Head)
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	tree, err := head.Tree()
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Files().ForEach(func(f *object.File) error {
		text, err := f.Contents()
		files[f.Name] = text
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := object.NewCommitPreorderIter(head, nil, nil).ForEach(func(c *object.Commit) error {
		commits++
		tree, err := c.Tree()
		if err != nil {
			return err
		}
		return tree.Files().ForEach(func(f *object.File) error { _, err := f.Contents(); return err })
	}); err != nil {
		t.Fatal(err)
	}
	return commits, files
}

// cloneDir is the one clone in a cache.
func cloneDir(t testing.TB, cache string) string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(cache, "*.git"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("clones = %v, %v; want one", dirs, err)
	}
	return dirs[0]
}

// snapshot lists the files under a directory with their content.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		b, err := io.ReadAll(f)
		rel, _ := filepath.Rel(dir, p)
		out[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
