package render

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"

	"gitgate.dev/gitgate/policy/verdict"
)

// BlobHasher is implemented by file systems that know the hash of a file's content
// without reading it, as a Git tree does. The hash must identify the content.
type BlobHasher interface {
	BlobHash(name string) (string, error)
}

// A reader reads the files of one tree within limits. It follows no symbolic link,
// enters no submodule and leaves the tree nowhere. It is for one goroutine and one
// call of Render.
type reader struct {
	fsys    fs.FS
	limits  Limits
	files   int // files and directory entries seen
	bytes   int
	checked map[string]*problem    // directories known to be plain, or what they are
	modes   map[string]fs.FileMode // entries of directories that were listed
	filters filters
}

func newReader(fsys fs.FS, l Limits) *reader {
	r := &reader{fsys: fsys, limits: l, checked: map[string]*problem{".": nil}, modes: map[string]fs.FileMode{}}
	r.filters = filters{read: r.attributes, dirs: map[string][]filterRule{}}
	return r
}

var (
	errSymlink   = errors.New("is a symbolic link; gitgate follows none, commit the file itself")
	errSubmodule = errors.New("is a submodule: its content is not part of the signed tree; commit the files themselves")
)

// kindError says why an entry of a tree is neither a file nor a directory.
func kindError(mode fs.FileMode) error {
	switch {
	case mode&fs.ModeSymlink != 0:
		return errSymlink
	case mode&fs.ModeIrregular != 0:
		return errSubmodule
	case mode.IsRegular() || mode.IsDir():
		return nil
	}
	return errors.New("is not a regular file")
}

// readProblem gives an error of the file system its reason.
func readProblem(name string, err error) *problem {
	var p problem
	switch {
	case errors.Is(err, errSymlink):
		p = deny(verdict.PathEscape, 0, "%s %v", name, err)
	case errors.Is(err, errSubmodule):
		p = deny(verdict.UnsignedContent, 0, "%s %v", name, err)
	case errors.Is(err, fs.ErrNotExist):
		p = deny(verdict.InvalidManifest, 0, "%s does not exist in the repository", name)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		p = interrupted(err)
	default:
		// The content could not be read, which says nothing about what it is.
		p = deny(verdict.SourceUnavailable, 0, "%s cannot be read: %v", name, err)
		p.severity = verdict.Undetermined
	}
	return &p
}

func interrupted(err error) problem {
	p := deny(verdict.LimitExceeded, 0, "rendering did not end in time: %v; raise the timeout or render less", err)
	p.severity = verdict.Undetermined
	return p
}

// stat returns the mode of a file or directory after checking that no part of its
// path is a symbolic link or a submodule. The name must be clean.
func (r *reader) stat(name string) (fs.FileMode, *problem) {
	if strings.EqualFold(path.Base(name), ".git") {
		p := deny(verdict.PathEscape, 0, "%s belongs to Git and not to the tree", name)
		return 0, &p
	}
	if dir := path.Dir(name); dir != name {
		if p := r.directory(dir); p != nil {
			return 0, p
		}
	}
	mode, listed := r.modes[name]
	if !listed {
		info, err := fs.Lstat(r.fsys, name)
		if err != nil {
			return 0, readProblem(name, err)
		}
		mode = info.Mode()
	}
	if err := kindError(mode); err != nil {
		return 0, readProblem(name, err)
	}
	return mode, nil
}

func (r *reader) directory(dir string) *problem {
	if p, known := r.checked[dir]; known {
		return p
	}
	mode, p := r.stat(dir)
	if p == nil && !mode.IsDir() {
		notDir := deny(verdict.InvalidManifest, 0, "%s is not a directory", dir)
		p = &notDir
	}
	if p == nil {
		// A work tree shows a submodule as a directory with a .git of its own.
		var nested bool
		if nested, p = r.exists(path.Join(dir, ".git")); nested {
			p = readProblem(dir, errSubmodule)
		}
	}
	r.checked[dir] = p
	return p
}

// exists reports whether something has this name, of whatever kind. Not knowing is
// a problem: what decides how a tree is read must not be overlooked.
func (r *reader) exists(name string) (bool, *problem) {
	if _, listed := r.modes[name]; listed {
		return true, nil
	}
	_, err := fs.Lstat(r.fsys, name)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	}
	return false, readProblem(name, err)
}

// readDir lists a directory, sorted by name.
func (r *reader) readDir(dir string) ([]fs.DirEntry, *problem) {
	if p := r.directory(dir); p != nil {
		return nil, p
	}
	entries, err := fs.ReadDir(r.fsys, dir)
	if err != nil {
		return nil, readProblem(dir, err)
	}
	for _, e := range entries {
		r.modes[path.Join(dir, e.Name())] = e.Type()
	}
	return entries, r.count(len(entries))
}

func (r *reader) count(n int) *problem {
	if r.files += n; r.files > r.limits.Files {
		p := deny(verdict.LimitExceeded, 0, "more than %d files and directory entries; split the path", r.limits.Files)
		return &p
	}
	return nil
}

// file reads a regular file that no attribute says is a pointer to something else.
func (r *reader) file(name string) ([]byte, *problem) {
	mode, p := r.stat(name)
	if p != nil {
		return nil, p
	}
	if !mode.IsRegular() {
		p := deny(verdict.InvalidManifest, 0, "%s is a directory and not a file", name)
		return nil, &p
	}
	if p := r.filters.check(name); p != nil {
		return nil, p
	}
	raw, p := r.raw(name)
	if p != nil {
		return nil, p
	}
	return raw, pointerFile(name, raw)
}

func (r *reader) raw(name string) ([]byte, *problem) {
	if p := r.count(1); p != nil {
		return nil, p
	}
	f, err := r.fsys.Open(name)
	if err != nil {
		return nil, readProblem(name, err)
	}
	defer f.Close() // read only
	var b bytes.Buffer
	if info, err := f.Stat(); err == nil {
		b.Grow(int(max(0, min(info.Size(), int64(r.limits.FileBytes)))) + bytes.MinRead)
	}
	_, err = b.ReadFrom(io.LimitReader(f, int64(r.limits.FileBytes)+1))
	if err != nil {
		return nil, readProblem(name, err)
	}
	raw := b.Bytes()
	if len(raw) > r.limits.FileBytes {
		p := deny(verdict.LimitExceeded, 0, "file has more than %d bytes; split it", r.limits.FileBytes)
		return nil, &p
	}
	return raw, r.account(len(raw))
}

func (r *reader) account(n int) *problem {
	if r.bytes += n; r.bytes > r.limits.TotalBytes {
		p := deny(verdict.LimitExceeded, 0, "files have more than %d bytes together; split the path", r.limits.TotalBytes)
		return &p
	}
	return nil
}

// lfsPointer starts every pointer file of Git LFS.
const lfsPointer = "version https://git-lfs.github.com/spec/"

// pointerFile recognises a file that stands for content which is not in the tree,
// and so not under its signature.
func pointerFile(name string, raw []byte) *problem {
	if len(raw) > 1024 || !strings.HasPrefix(string(raw), lfsPointer) {
		return nil
	}
	p := deny(verdict.UnsignedContent, 0, "%s is a Git LFS pointer: its content is not part of the signed tree; commit the file itself", name)
	return &p
}

// hash identifies the content of a file: what the tree says, or else the digest of
// the bytes, which are returned with it since they had to be read.
func (r *reader) hash(name string) (hash string, raw []byte, p *problem) {
	mode, p := r.stat(name)
	if p != nil {
		return "", nil, p
	}
	if h, ok := r.fsys.(BlobHasher); ok && mode.IsRegular() {
		if p := r.filters.check(name); p != nil {
			return "", nil, p
		}
		sum, err := h.BlobHash(name)
		if err != nil {
			return "", nil, readProblem(name, err)
		}
		return "blob:" + sum, nil, nil
	}
	if raw, p = r.file(name); p != nil {
		return "", nil, p
	}
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:]), raw, nil
}

// attributes reads a .gitattributes file, which may be absent.
func (r *reader) attributes(dir string) ([]byte, *problem) {
	name := path.Join(dir, ".gitattributes")
	if there, p := r.exists(name); p != nil || !there {
		return nil, p
	}
	if _, p := r.stat(name); p != nil {
		return nil, p
	}
	return r.raw(name)
}

// cleanPath returns a path as the tree spells it, and whether it stays inside.
func cleanPath(p string) (string, bool) {
	p = path.Clean(p)
	return p, fs.ValidPath(p) && !strings.Contains(p, "\x00")
}
