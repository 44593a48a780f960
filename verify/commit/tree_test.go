package commit_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/verify/commit"
)

func TestTreeIsAFileSystem(t *testing.T) {
	f := newFixture(t)
	head := f.signed(people().alice, "a/b/c.yaml", func(c *gitrepo.Change) {
		c.Files["a-b"], c.Files["a/run.sh"], c.Executable = "x", "#!", []string{"a/run.sh"}
	})
	tree, _ := f.admitted(head)
	if err := fstest.TestFS(tree, "README", "a-b", "a/b/c.yaml", "a/run.sh"); err != nil {
		t.Error(err)
	}
	if info, err := fs.Stat(tree, "a/run.sh"); err != nil || info.Mode() != 0o444 || info.Size() != 2 {
		t.Errorf("a/run.sh is %v, %v", info, err)
	}
	if info := tree.Commit(); info.Hash != head.String() || !cmp.Equal(info.Signers, []string{"alice"}) ||
		info.Author.Email != "alice@example.com" || info.Message != "Change something\n" || info.When.IsZero() {
		t.Errorf("Commit() = %+v", info)
	}
}

func TestTreeOfTheRoot(t *testing.T) {
	f := newFixture(t)
	tree, report := f.admitted(f.root)
	if len(report.Commits) != 0 || len(tree.Commit().Signers) != 0 {
		t.Errorf("the pinned root was judged: %v", report.Commits)
	}
}

func TestTreeLinks(t *testing.T) {
	f := newFixture(t)
	sub := plumbing.NewHash(strings.Repeat("12", 20))
	tree, _ := f.admitted(f.signed(people().alice, "dir/file", func(c *gitrepo.Change) {
		c.Symlinks = map[string]string{"token": "/var/run/secrets/token", "up": "../.."}
		c.Submodules = map[string]plumbing.Hash{"sub": sub}
	}))
	for name, tc := range map[string]struct {
		path, at, target string
		want             error
	}{
		"Symlink":         {"token", "token", "/var/run/secrets/token", commit.ErrSymlink},
		"ThroughSymlink":  {"up/etc/passwd", "up", "../..", commit.ErrSymlink},
		"Submodule":       {"sub", "sub", sub.String(), commit.ErrSubmodule},
		"InsideSubmodule": {"sub/x", "sub", sub.String(), commit.ErrSubmodule},
	} {
		t.Run(name, func(t *testing.T) {
			_, errOpen := tree.Open(tc.path)
			_, errRead := tree.ReadFile(tc.path)
			_, errDir := tree.ReadDir(tc.path)
			for _, err := range []error{errOpen, errRead, errDir} {
				var link *commit.LinkError
				if !errors.Is(err, tc.want) || !errors.As(err, &link) || link.Path != tc.at || link.Target != tc.target {
					t.Errorf("error %v, want %v at %s to %s", err, tc.want, tc.at, tc.target)
				}
			}
		})
	}
	if target, err := tree.ReadLink("token"); err != nil || target != "/var/run/secrets/token" {
		t.Errorf("ReadLink = %q, %v", target, err)
	}
	if info, err := tree.Stat("token"); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("Stat of a link: %v, %v", info, err)
	}
	entries, err := tree.ReadDir(".")
	var modes []string
	for _, e := range entries {
		modes = append(modes, e.Name()+" "+e.Type().String())
	}
	want := []string{"README ----------", "dir d---------", "sub ?---------", "token L---------", "up L---------"}
	if diff := cmp.Diff(want, modes); err != nil || diff != "" {
		t.Errorf("ReadDir: %v (-want +got):\n%s", err, diff)
	}
}

func TestTreeErrors(t *testing.T) {
	f := newFixture(t)
	f.cfg.Limits.BlobBytes = 100
	head := f.signed(people().alice, "dir/file", func(c *gitrepo.Change) { c.Files["big"] = strings.Repeat("x", 101) })
	tree, _ := f.admitted(head)
	for path, want := range map[string]error{
		"nosuch": fs.ErrNotExist, "README/x": fs.ErrNotExist, "../x": fs.ErrInvalid, "/README": fs.ErrInvalid, "dir//file": fs.ErrInvalid,
		strings.Repeat("a/", 100) + "a": fs.ErrNotExist, "big": commit.ErrTooLarge,
	} {
		if _, err := tree.Open(path); !errors.Is(err, want) {
			t.Errorf("Open(%.20q): %v, want %v", path, err, want)
		}
	}
	if tree.TreeHash("dir") == "" || tree.TreeHash("README") != "" || tree.TreeHash("nosuch") != "" || tree.TreeHash(".") != tree.Commit().Tree {
		t.Error("TreeHash names what is no directory, or misses one")
	}
	entry, err := f.Git("rev-parse", head.String()+":dir/file")
	if err != nil {
		t.Skip("git is not installed")
	}
	if err := f.Forge(plumbing.NewHash(entry), plumbing.BlobObject, []byte("evil")); err != nil {
		t.Fatal(err)
	}
	tree, _ = f.admitted(head) // blobs are read only when asked for
	var wrong *commit.ObjectError
	if _, err := tree.ReadFile("dir/file"); !errors.As(err, &wrong) || wrong.Reason != commit.HashMismatch || wrong.Path != "dir/file" {
		t.Errorf("forged blob: %v", err)
	}
}

func TestTreeChanged(t *testing.T) {
	f := newFixture(t)
	alice := people().alice
	base := f.signed(alice, "a/x")
	f.signed(alice, "a/y")
	head := f.signed(alice, "b", func(c *gitrepo.Change) { c.Delete = []string{"README"} })
	tree, _ := f.admitted(head, base)
	if got, err := tree.Changed(); err != nil || !cmp.Equal(got, []string{"README", "a/y", "b"}) {
		t.Errorf("Changed() = %q, %v", got, err)
	}
	tree, _ = f.admitted(head)
	if got, err := tree.Changed(); err != nil || !cmp.Equal(got, []string{"a/x", "a/y", "b"}) {
		t.Errorf("without a base, Changed() = %q, %v", got, err)
	}
}

func TestUnverifiedReadsAlike(t *testing.T) {
	f := newFixture(t)
	head := f.Commit(gitrepo.Change{Files: map[string]string{"x": "unsigned"}})
	fsys, err := commit.Unverified(f.Objects(), head)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := fs.ReadFile(fsys, "x"); err != nil || string(got) != "unsigned" {
		t.Errorf("read %q, %v", got, err)
	}
	if _, ok := fsys.(*commit.Tree); ok {
		t.Error("an unverified tree passes for a verified one")
	}
}

// Git knows the empty tree without having it.
func TestEmptyTree(t *testing.T) {
	f := withRules(t)
	empty := plumbing.ComputeHash(plumbing.TreeObject, nil)
	base := f.signed(people().alice, "a")
	head := f.signed(people().alice, "", func(c *gitrepo.Change) { c.Files, c.Tree = nil, empty })
	tree, _ := f.admitted(head, base)
	if entries, err := tree.ReadDir("."); err != nil || len(entries) != 0 {
		t.Errorf("ReadDir = %v, %v", entries, err)
	}
	if got, err := tree.Changed(); err != nil || !cmp.Equal(got, []string{"README", "a"}) {
		t.Errorf("Changed() = %q, %v", got, err)
	}
}
