package gitrepo

import (
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// TB is the part of testing.TB that is used here.
type TB interface {
	Helper()
	TempDir() string
	Fatalf(format string, args ...any)
}

// A TestRepo is a Repo whose methods end the test rather than return an error.
type TestRepo struct {
	*Repo
	tb TB
}

// For makes a bare repository for a test, with a clock that ticks from half an
// hour ago so that no commit is from the future.
func For(tb TB) *TestRepo {
	tb.Helper()
	r, err := InitBare(tb.TempDir())
	if err != nil {
		tb.Fatalf("make repository: %v", err)
	}
	r.Clock = Ticking(time.Now().Add(-30 * time.Minute).Truncate(time.Second))
	return &TestRepo{r, tb}
}

// Commit is [Repo.Commit].
func (r *TestRepo) Commit(c Change) plumbing.Hash {
	r.tb.Helper()
	h, err := r.Repo.Commit(c)
	if err != nil {
		r.tb.Fatalf("commit: %v", err)
	}
	return h
}

// Tag is [Repo.Tag]; it returns the raw bytes.
func (r *TestRepo) Tag(t Tag) []byte {
	r.tb.Helper()
	h, err := r.Repo.Tag(t)
	if err != nil {
		r.tb.Fatalf("tag: %v", err)
	}
	return r.Raw(h)
}

// Raw is [Repo.Raw].
func (r *TestRepo) Raw(h plumbing.Hash) []byte {
	r.tb.Helper()
	raw, err := r.Repo.Raw(h)
	if err != nil {
		r.tb.Fatalf("read: %v", err)
	}
	return raw
}

// Object is [Repo.Object].
func (r *TestRepo) Object(kind plumbing.ObjectType, raw []byte) plumbing.Hash {
	r.tb.Helper()
	h, err := r.Repo.Object(kind, raw)
	if err != nil {
		r.tb.Fatalf("write object: %v", err)
	}
	return h
}

// OpenPGP is [NewOpenPGP].
func OpenPGP(tb TB, o OpenPGPOptions) *OpenPGPKey {
	tb.Helper()
	k, err := NewOpenPGP(o)
	if err != nil {
		tb.Fatalf("make OpenPGP key: %v", err)
	}
	return k
}

// SSH is [NewSSH].
func SSH(tb TB, name, email string, algorithm SSHAlgorithm) *SSHKey {
	tb.Helper()
	k, err := NewSSH(name, email, algorithm)
	if err != nil {
		tb.Fatalf("make SSH key: %v", err)
	}
	return k
}

// Git runs the git binary in the repository and returns what it prints. It reads
// no configuration of the machine or the user.
func (r *Repo) Git(args ...string) (string, error) {
	defer r.reopen() // git may have packed what was read before
	cmd := exec.Command("git", append([]string{"-C", r.Dir, "--git-dir", r.gitDir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
