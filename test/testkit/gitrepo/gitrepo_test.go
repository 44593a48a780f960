package gitrepo_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// Git itself must find the repositories sound that are meant to be.
func TestGitReadsWhatWasBuilt(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	repo := gitrepo.For(t)
	first := repo.Commit(gitrepo.Change{
		Files:      map[string]string{"a/b/c.yaml": "c", "a.yaml": "a", "a-b/x": "x", "run.sh": "#!"},
		Executable: []string{"run.sh"},
		Symlinks:   map[string]string{"link": "a.yaml"},
		Submodules: map[string]plumbing.Hash{"sub": plumbing.NewHash(strings.Repeat("12", 20))},
	})
	second := repo.Commit(gitrepo.Change{Files: map[string]string{"a/b/d.yaml": "d"}, Delete: []string{"a/b/c.yaml", "link"}})
	side := repo.Commit(gitrepo.Change{Parents: []plumbing.Hash{first}, Branch: "side", Files: map[string]string{"side": "s"}})
	repo.Commit(gitrepo.Change{Parents: []plumbing.Hash{second, side}, Message: "Merge\n"})
	repo.Tag(gitrepo.Tag{Name: "v1", Target: second})

	if out, err := repo.Git("fsck", "--strict", "--no-dangling"); err != nil {
		t.Fatalf("git fsck: %v\n%s", err, out)
	}
	out, err := repo.Git("ls-tree", "-r", "--format=%(objectmode) %(path)", second.String())
	if err != nil {
		t.Fatal(out)
	}
	want := "100644 a-b/x\n100644 a.yaml\n100644 a/b/d.yaml\n100755 run.sh\n160000 sub"
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
	if out, _ := repo.Git("rev-list", "--count", "main"); out != "4" {
		t.Errorf("git counts %s commits, want 4", out)
	}
}

func TestEqualInputGivesEqualHashes(t *testing.T) {
	build := func() plumbing.Hash {
		repo, err := gitrepo.Init(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		repo.Clock = gitrepo.Ticking(time.Unix(1_700_000_000, 0).UTC())
		var last plumbing.Hash
		for _, f := range []string{"x", "y/z"} {
			if last, err = repo.Commit(gitrepo.Change{Files: map[string]string{f: f}}); err != nil {
				t.Fatal(err)
			}
		}
		return last
	}
	if a, b := build(), build(); a != b {
		t.Errorf("%s and %s differ", a, b)
	}
}

func TestForgedObjectKeepsItsName(t *testing.T) {
	repo := gitrepo.For(t)
	h := repo.Object(plumbing.BlobObject, []byte("good"))
	if err := repo.Forge(h, plumbing.BlobObject, []byte("evil")); err != nil {
		t.Fatal(err)
	}
	if got := string(repo.Raw(h)); got != "evil" {
		t.Errorf("read %q under the forged name", got)
	}
}
