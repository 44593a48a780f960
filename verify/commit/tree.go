package commit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

var (
	// ErrSymlink means that a path is, or leads through, a symbolic link. Links
	// are never followed.
	ErrSymlink = errors.New("is a symbolic link")
	// ErrSubmodule means that a path is a submodule, or inside one. What it holds
	// is not in this repository and nobody signed it here.
	ErrSubmodule = errors.New("is a submodule")
	// ErrTooLarge means that an object exceeds its limit.
	ErrTooLarge = errors.New("object too large")
)

// A LinkError names the symbolic link or submodule at which a path ends. It
// wraps [ErrSymlink] or [ErrSubmodule].
type LinkError struct {
	// Path is that of the link, which may be a parent of what was asked for.
	Path string
	// Target is where a symbolic link points, as it is written in the tree; or
	// the commit of a submodule, in hex.
	Target string
	// Err is ErrSymlink or ErrSubmodule.
	Err error
}

func (e *LinkError) Error() string { return fmt.Sprintf("%s %v to %q", e.Path, e.Err, e.Target) }

// Unwrap returns ErrSymlink or ErrSubmodule.
func (e *LinkError) Unwrap() error { return e.Err }

// A Tree is the content of a verified commit. Only [Verifier.Verify] makes one.
//
// It is an [fs.FS] over the object store: each object is read when it is asked
// for and hashed again, so that an [fs.PathError] wrapping an [*ObjectError] with
// HashMismatch is what a forged store gives. Symbolic links and submodules are
// listed with [fs.ModeSymlink] and [fs.ModeIrregular] and cannot be opened: see
// [LinkError]. Times are zero, and files are read-only. A Tree is safe for
// concurrent use as long as its store is; see [Request.Objects].
type Tree struct {
	snapshot
	info    Info
	changed func() ([]string, *ObjectError)
}

// mint makes the Tree of a head that passed.
func (v *Verifier) mint(objs *objects, r Request) (*Tree, *ObjectError) {
	c, err := objs.commit(r.Head)
	if err != nil {
		return nil, err
	}
	t := &Tree{snapshot: snapshot{objs: objs, root: c.tree}}
	t.info = Info{Hash: r.Head.String(), Tree: c.tree.String(), Author: c.author, Committer: c.committer,
		Message: string(c.message), When: c.committer.When}
	if rec := v.memo.get(r.Head); rec != nil && r.Head != v.root {
		t.info.Signers = []string{rec.proof.signer}
	}
	bases := slices.Clone(r.Base)
	t.changed = func() ([]string, *ObjectError) {
		return v.changed(context.Background(), objs, &record{tree: c.tree, parents: bases})
	}
	return t, nil
}

// Commit describes the commit whose content this is.
func (t *Tree) Commit() Info {
	info := t.info
	info.Signers = slices.Clone(info.Signers)
	return info
}

// Changed lists the paths that differ from any of [Request.Base], sorted; all
// paths if there was none. It reads trees and may fail like any read.
func (t *Tree) Changed() ([]string, error) {
	paths, err := t.changed()
	if err != nil {
		return nil, err
	}
	return paths, nil
}

// Unverified gives the content of a commit about which nothing was proven, for
// looking at and for comparing. It reads like a [Tree] but is none. The limits are
// the default ones.
func Unverified(store storer.EncodedObjectStorer, commit plumbing.Hash) (fs.FS, error) {
	var limits Limits
	limits.setDefaults()
	objs := newObjects(store, limits)
	c, err := objs.commit(commit)
	if err != nil {
		return nil, err
	}
	return &snapshot{objs: objs, root: c.tree}, nil
}

// A snapshot reads one Git tree.
type snapshot struct {
	objs *objects
	root plumbing.Hash
}

// lookup finds the entry at name. It follows no links.
func (s *snapshot) lookup(op, name string) (entry, error) {
	fail := func(err error) (entry, error) { return entry{}, &fs.PathError{Op: op, Path: name, Err: err} }
	if !fs.ValidPath(name) {
		return fail(fs.ErrInvalid)
	}
	at := entry{name: ".", mode: filemode.Dir, hash: s.root}
	if name == "." {
		return at, nil
	}
	elements := strings.Split(name, "/")
	if len(elements) > s.objs.limits.Depth {
		return fail(fs.ErrNotExist)
	}
	for i, element := range elements {
		if at.mode != filemode.Dir {
			if err := s.link(strings.Join(elements[:i], "/"), at); err != nil {
				return fail(err)
			}
			return fail(fs.ErrNotExist)
		}
		entries, err := s.objs.tree(at.hash)
		if err != nil {
			return fail(err)
		}
		found, ok := find(entries, element)
		if !ok {
			return fail(fs.ErrNotExist)
		}
		at = found
	}
	return at, nil
}

// find looks an entry up by name. Git sorts directories as if their names ended in
// a slash, so that there are two places to look.
func find(entries []entry, name string) (entry, bool) {
	for _, key := range []string{name, name + "/"} {
		i, ok := slices.BinarySearchFunc(entries, key, func(e entry, key string) int { return strings.Compare(e.key(), key) })
		if ok {
			return entries[i], true
		}
	}
	return entry{}, false
}

// link returns a LinkError if e, at name, is a link or a submodule.
func (s *snapshot) link(name string, e entry) error {
	switch e.mode {
	case filemode.Symlink:
		target, err := s.objs.read(plumbing.BlobObject, e.hash, maxLinkBytes)
		if err != nil {
			return err
		}
		return &LinkError{Path: name, Target: string(target), Err: ErrSymlink}
	case filemode.Submodule:
		return &LinkError{Path: name, Target: e.hash.String(), Err: ErrSubmodule}
	}
	return nil
}

// maxLinkBytes is PATH_MAX.
const maxLinkBytes = 4096

// Open implements [fs.FS].
func (s *snapshot) Open(name string) (fs.File, error) {
	e, err := s.lookup("open", name)
	if err != nil {
		return nil, err
	}
	if err := s.link(name, e); err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if e.mode == filemode.Dir {
		entries, err := s.ReadDir(name)
		if err != nil {
			return nil, err
		}
		return &openDir{fileInfo: s.info(e), path: name, entries: entries}, nil
	}
	content, err := s.blob("open", name, e)
	if err != nil {
		return nil, err
	}
	info := s.info(e)
	info.size = int64(len(content))
	return &openFile{fileInfo: info, Reader: bytes.NewReader(content)}, nil
}

// ReadFile implements [fs.ReadFileFS].
func (s *snapshot) ReadFile(name string) ([]byte, error) {
	e, err := s.lookup("read", name)
	if err != nil {
		return nil, err
	}
	if err := s.link(name, e); err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	if e.mode == filemode.Dir {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a directory")}
	}
	return s.blob("read", name, e)
}

func (s *snapshot) blob(op, name string, e entry) ([]byte, error) {
	content, err := s.objs.read(plumbing.BlobObject, e.hash, s.objs.limits.BlobBytes)
	if err != nil {
		err.Path = name
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return content, nil
}

// ReadDir implements [fs.ReadDirFS]. Entries are sorted by name.
func (s *snapshot) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := s.lookup("readdir", name)
	if err != nil {
		return nil, err
	}
	if err := s.link(name, e); err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	if e.mode != filemode.Dir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("is not a directory")}
	}
	entries, fault := s.objs.tree(e.hash)
	if fault != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fault}
	}
	list := make([]fs.DirEntry, len(entries))
	for i, e := range entries {
		list[i] = dirEntry{s, e}
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return compareStrings(a.Name(), b.Name()) })
	return list, nil
}

// Stat implements [fs.StatFS]. Links are not followed: their own mode is given.
func (s *snapshot) Stat(name string) (fs.FileInfo, error) {
	e, err := s.lookup("stat", name)
	if err != nil {
		return nil, err
	}
	info := s.info(e)
	if e.name == "." {
		info.name = path.Base(name)
	}
	info.size = s.size(e)
	return info, nil
}

// Lstat and ReadLink implement [fs.ReadLinkFS].
func (s *snapshot) Lstat(name string) (fs.FileInfo, error) { return s.Stat(name) }

// ReadLink returns the target of a symbolic link as it is written in the tree.
func (s *snapshot) ReadLink(name string) (string, error) {
	e, err := s.lookup("readlink", name)
	if err != nil {
		return "", err
	}
	var link *LinkError
	if err := s.link(name, e); e.mode == filemode.Symlink && errors.As(err, &link) {
		return link.Target, nil
	} else if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
}

// TreeHash returns the hash of a directory in hex, which names its content: what
// was made from one is valid wherever it is met again. It is empty if dir is not
// a directory of the tree.
func (s *snapshot) TreeHash(dir string) string {
	e, err := s.lookup("stat", dir)
	if err != nil || e.mode != filemode.Dir {
		return ""
	}
	return e.hash.String()
}

// BlobHash returns the hash of a regular file in hex without reading it. Reading
// it checks the hash; until then it is what the signed tree says.
func (s *snapshot) BlobHash(name string) (string, error) {
	e, err := s.lookup("stat", name)
	if err != nil {
		return "", err
	}
	if !fileMode(e.mode).IsRegular() {
		return "", &fs.PathError{Op: "stat", Path: name, Err: fs.ErrInvalid}
	}
	return e.hash.String(), nil
}

// size asks the store, whose word is good enough for a listing.
func (s *snapshot) size(e entry) int64 {
	if e.mode == filemode.Dir || e.mode == filemode.Submodule {
		return 0
	}
	s.objs.mu.Lock()
	defer s.objs.mu.Unlock()
	n, err := s.objs.store.EncodedObjectSize(e.hash)
	if err != nil {
		return 0
	}
	return n
}

func (s *snapshot) info(e entry) fileInfo {
	return fileInfo{name: e.name, mode: fileMode(e.mode), time: time.Time{}}
}
