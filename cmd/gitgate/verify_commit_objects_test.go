package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// A push lies apart, loose or as a pack, while git asks its hooks about it.
func TestObjectsOfAPushThatIsNotAcceptedYet(t *testing.T) {
	for name, pack := range map[string]bool{"Loose": false, "Pack": true} {
		t.Run(name, func(t *testing.T) {
			repo, pushed := gitrepo.For(t), gitrepo.For(t)
			root := repo.Commit(gitrepo.Change{Files: map[string]string{"a": "a"}})
			if out, err := pushed.Git("fetch", "-q", repo.Dir, "main:main"); err != nil {
				t.Fatal(out)
			}
			head := pushed.Commit(gitrepo.Change{Files: map[string]string{"b": "b"}})
			if pack {
				if out, err := pushed.Git("repack", "-qad"); err != nil {
					t.Fatal(out)
				}
			}
			// What was there before must come from the alternate.
			quarantine := filepath.Join(repo.Dir, "objects", "tmp_objdir-incoming-x:y")
			if err := os.Rename(filepath.Join(pushed.Dir, "objects"), quarantine); err != nil {
				t.Fatal(err)
			}
			if !pack {
				if err := os.RemoveAll(filepath.Join(quarantine, root.String()[:2], root.String()[2:])); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := mustOpen(t, repo.Dir).resolve(head.String()); err == nil && pack {
				t.Fatal("the push is found without the variables")
			}
			t.Setenv("GIT_OBJECT_DIRECTORY", quarantine)
			t.Setenv("GIT_ALTERNATE_OBJECT_DIRECTORIES", filepath.Join(repo.Dir, "objects"))
			opened := mustOpen(t, repo.Dir)
			for _, rev := range []string{head.String(), head.String()[:12], head.String() + "~1", "main"} {
				if _, err := opened.resolve(rev); err != nil {
					t.Errorf("resolve(%s): %v", rev, err)
				}
			}
			// The other way round, with a path that has to be quoted.
			t.Setenv("GIT_OBJECT_DIRECTORY", "")
			t.Setenv("GIT_ALTERNATE_OBJECT_DIRECTORIES", `/not/there:#comment:"`+quarantine+`"`)
			if _, err := mustOpen(t, repo.Dir).resolve(head.String()); err != nil {
				t.Errorf("by a quoted alternate: %v", err)
			}
		})
	}
}

func mustOpen(t *testing.T, dir string) *gitRepository {
	t.Helper()
	r, err := openGitRepository(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSplitAlternates(t *testing.T) {
	for list, want := range map[string][]string{
		"":                             nil,
		"/a:/b":                        {"/a", "/b"},
		"::/a:":                        {"/a"},
		`"/a:b":/c`:                    {"/a:b", "/c"},
		`"/\303\244\"x":/c`:            {`/ä"x`, "/c"},
		`"/unfinished:/c`:              {`"/unfinished`, "/c"},
		"#/a:/b":                       {"/b"},
		"'/a':`/b`":                    {"'/a'", "`/b`"},
		strings.Repeat("/a:", 3)[:8]:   {"/a", "/a", "/a"},
		"relative/dir:./other:../more": {"relative/dir", "./other", "../more"},
	} {
		got, err := splitAlternates(list)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("splitAlternates(%q): %v\n%s", list, err, diff)
		}
	}
}

func TestAlternatesAreBounded(t *testing.T) {
	// listed makes a directory of objects with alternates.
	listed := func(t *testing.T, name string, others ...string) {
		if err := os.MkdirAll(filepath.Join(name, "info"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(name, "info", "alternates"), []byte(strings.Join(others, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dirs := func(t *testing.T, n int) []string {
		dir, out := t.TempDir(), make([]string, n)
		for i := range out {
			out[i] = fmt.Sprintf("%s/objects%d", dir, i)
		}
		return out
	}
	for name, tc := range map[string]struct {
		reason string
		env    string
		make   func(t *testing.T, objects string) (list string)
		want   string
	}{
		"Cycle": {"Two that name each other end.", "", func(t *testing.T, objects string) string {
			d := dirs(t, 2)
			listed(t, d[0], d[1], objects)
			listed(t, d[1], d[0])
			listed(t, objects, d[0])
			return ""
		}, ""},
		"Deep": {"Git follows five.", "", func(t *testing.T, objects string) string {
			d := dirs(t, 7)
			for i := range d[:6] {
				listed(t, d[i], d[i+1])
			}
			listed(t, objects, d[0])
			return ""
		}, "nest deeper"},
		"Many": {"Each costs descriptors.", "GIT_ALTERNATE_OBJECT_DIRECTORIES", func(t *testing.T, _ string) string {
			return strings.Join(dirs(t, maxAlternates+1), ":")
		}, "more than 256"},
		"Long": {"A list without end.", "", func(t *testing.T, objects string) string {
			listed(t, objects, strings.Repeat("#\n", maxAlternatesBytes/2+1))
			return ""
		}, "longer than"},
		"Missing": {"What is pushed must be there.", "GIT_OBJECT_DIRECTORY", func(*testing.T, string) string { return "/not/there" }, "GIT_OBJECT_DIRECTORY"},
		"File":    {"And be a directory.", "GIT_OBJECT_DIRECTORY", func(*testing.T, string) string { return os.Args[0] }, "is not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			repo := gitrepo.For(t)
			head := repo.Commit(gitrepo.Change{})
			list := tc.make(t, filepath.Join(repo.Dir, "objects"))
			if tc.env != "" {
				t.Setenv(tc.env, list)
			}
			r, err := openGitRepository(repo.Dir)
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%s\nerr = %v, want %q", tc.reason, err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.objects.EncodedObject(plumbing.AnyObject, head); err != nil {
				t.Errorf("%s\n%v", tc.reason, err)
			}
		})
	}
}

// Alternates need not be called objects.
func TestAlternatesHaveAnyName(t *testing.T) {
	repo, other := gitrepo.For(t), gitrepo.For(t)
	head := other.Commit(gitrepo.Change{})
	store := filepath.Join(t.TempDir(), "store")
	if err := os.Rename(filepath.Join(other.Dir, "objects"), store); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(repo.Dir, "objects", "info"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(repo.Dir, "objects", "info", "alternates"), []byte(store+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := mustOpen(t, repo.Dir).resolve(head.String()); err != nil {
		t.Error(err)
	}
}
