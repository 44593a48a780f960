package gitrepo

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// A Repo is a repository on disk. It is for one goroutine.
type Repo struct {
	// Dir is where to point git and gitgate: the work tree of an ordinary
	// repository, or the bare repository itself.
	Dir string
	// Clock gives the times of commits that do not name one. The default is
	// time.Now; see Ticking.
	Clock func() time.Time

	gitDir string
	store  *filesystem.Storage
}

// InitBare makes a bare repository in dir, whose HEAD is the branch main.
func InitBare(dir string) (*Repo, error) { return initAt(dir, dir, true) }

// Init makes an ordinary repository in dir, whose HEAD is the branch main. Files
// are never checked out.
func Init(dir string) (*Repo, error) { return initAt(dir, filepath.Join(dir, ".git"), false) }

func initAt(dir, gitDir string, bare bool) (*Repo, error) {
	if err := os.MkdirAll(gitDir, 0o755); err != nil {
		return nil, err
	}
	r := &Repo{Dir: dir, gitDir: gitDir, Clock: time.Now}
	r.reopen()
	if err := r.store.Init(); err != nil {
		return nil, err
	}
	config := fmt.Sprintf("[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = %t\n", bare)
	if err := r.write("config", config); err != nil {
		return nil, err
	}
	return r, r.write("HEAD", "ref: refs/heads/main\n")
}

// Ticking returns a clock that starts at start and advances by a minute a call.
func Ticking(start time.Time) func() time.Time {
	now := start.Add(-time.Minute)
	return func() time.Time {
		now = now.Add(time.Minute)
		return now
	}
}

func (r *Repo) reopen() {
	r.store = filesystem.NewStorage(osfs.New(r.gitDir), cache.NewObjectLRUDefault())
}

// GitDir is the directory that holds objects and refs.
func (r *Repo) GitDir() string { return r.gitDir }

// Objects opens the object store anew, without what this process has cached.
func (r *Repo) Objects() storer.EncodedObjectStorer {
	return filesystem.NewStorage(osfs.New(r.gitDir), cache.NewObjectLRUDefault())
}

// write puts text into a file of the git directory.
func (r *Repo) write(name, text string) error {
	path := filepath.Join(r.gitDir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// Object stores raw as an object of the given type, whatever it holds, and
// returns its hash.
func (r *Repo) Object(kind plumbing.ObjectType, raw []byte) (plumbing.Hash, error) {
	h := plumbing.ComputeHash(kind, raw)
	if r.store.HasEncodedObject(h) == nil {
		return h, nil
	}
	return h, r.Forge(h, kind, raw)
}

// Forge stores raw under a name that need not be its hash, in place of what is
// there.
func (r *Repo) Forge(name plumbing.Hash, kind plumbing.ObjectType, raw []byte) error {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	fmt.Fprintf(z, "%s %d\x00", kind, len(raw))
	if _, err := z.Write(raw); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	path := r.loose(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	_ = os.Remove(path) // it may be there, and read-only
	return os.WriteFile(path, b.Bytes(), 0o444)
}

func (r *Repo) loose(h plumbing.Hash) string {
	s := h.String()
	return filepath.Join(r.gitDir, "objects", s[:2], s[2:])
}

// Remove deletes a loose object, as a shallow or damaged clone lacks it.
func (r *Repo) Remove(h plumbing.Hash) error {
	defer r.reopen() // forget what is cached
	return os.Remove(r.loose(h))
}

// Raw returns the bytes of an object.
func (r *Repo) Raw(h plumbing.Hash) ([]byte, error) {
	obj, err := r.store.EncodedObject(plumbing.AnyObject, h)
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", h, err)
	}
	reader, err := obj.Reader()
	if err != nil {
		return nil, err
	}
	defer reader.Close() // nothing was written
	return io.ReadAll(reader)
}

// SetRef points a ref, as in refs/heads/main, at an object.
func (r *Repo) SetRef(name string, h plumbing.Hash) error {
	return r.store.SetReference(plumbing.NewHashReference(plumbing.ReferenceName(name), h))
}

// Ref returns what a ref points at; the zero hash if there is no such ref.
func (r *Repo) Ref(name string) plumbing.Hash {
	ref, err := r.store.Reference(plumbing.ReferenceName(name))
	if err != nil {
		return plumbing.ZeroHash
	}
	return ref.Hash()
}

// Replace makes git, but nobody else, see another object in place of h.
func (r *Repo) Replace(h, with plumbing.Hash) error {
	return r.SetRef("refs/replace/"+h.String(), with)
}

// Graft makes git see other parents for h, or none.
func (r *Repo) Graft(h plumbing.Hash, parents ...plumbing.Hash) error {
	return r.write("info/grafts", join(append([]plumbing.Hash{h}, parents...))+"\n")
}

// Shallow makes commits the boundary of a shallow clone. Their parents are kept;
// Remove them if they shall be missing.
func (r *Repo) Shallow(commits ...plumbing.Hash) error {
	return r.write("shallow", strings.ReplaceAll(join(commits), " ", "\n")+"\n")
}

func join(hashes []plumbing.Hash) string {
	s := make([]string, len(hashes))
	for i, h := range hashes {
		s[i] = h.String()
	}
	return strings.Join(s, " ")
}
