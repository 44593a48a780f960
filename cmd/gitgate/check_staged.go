package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/storer"

	"gitgate.dev/gitgate/policy/report"
	"gitgate.dev/gitgate/verify/commit"
)

// staged gives what the next commit would hold: the files of the index. Nothing is
// written to the repository.
func (r *gitRepository) staged() (fs.FS, error) {
	raw, err := r.readIndexFile()
	if err != nil {
		return nil, err
	}
	entries, err := parseIndex(raw)
	if err != nil {
		return nil, fmt.Errorf("the index: %w", err)
	}
	root := &indexDir{}
	for _, e := range entries {
		if e.intentToAdd {
			continue // git add -N has promised content, and staged none
		}
		if err := root.put(strings.Split(e.name, "/"), e); err != nil {
			return nil, fmt.Errorf("the index: %s: %w", report.Printable(e.name), err)
		}
	}
	objects := &overlaidObjects{EncodedObjectStorer: r.objects, own: map[plumbing.Hash]*plumbing.MemoryObject{}}
	tree := root.write(objects)
	head := objects.add(plumbing.CommitObject, fmt.Sprintf("tree %s\nauthor  <> 0 +0000\ncommitter  <> 0 +0000\n\n", tree))
	return commit.Unverified(objects, head)
}

// unborn reports whether the branch that is checked out has no commit yet.
func (r *gitRepository) unborn() bool {
	head, err := r.refs.Reference(plumbing.HEAD)
	if err != nil || head.Type() != plumbing.SymbolicReference {
		return false
	}
	_, err = r.refs.Reference(head.Target())
	return errors.Is(err, plumbing.ErrReferenceNotFound)
}

// maxIndexBytes bounds the index: that of a repository of a million files has about
// 100 MiB.
const maxIndexBytes = 256 << 20

// readIndexFile reads the index. Git names another in GIT_INDEX_FILE when it runs
// the hooks of a commit that is not made of all that is staged; a relative path
// begins at the top of the work tree, where git itself would be.
func (r *gitRepository) readIndexFile() ([]byte, error) {
	name := filepath.Join(r.gitDir, "index")
	if other := os.Getenv("GIT_INDEX_FILE"); other != "" {
		if name = other; !filepath.IsAbs(name) {
			name = filepath.Join(r.top, name)
		}
	}
	file, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s has no index: nothing is staged there", r.dir)
	}
	if err != nil {
		return nil, err
	}
	defer file.Close() // nothing was written
	raw, err := io.ReadAll(io.LimitReader(file, maxIndexBytes+1))
	if err == nil && len(raw) > maxIndexBytes {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxIndexBytes)
	}
	return raw, err
}

// An indexDir is a directory that the index implies.
type indexDir struct {
	dirs  map[string]*indexDir
	files map[string]indexEntry
}

func (d *indexDir) put(path []string, e indexEntry) error {
	name := path[0]
	_, isDir := d.dirs[name]
	_, isFile := d.files[name]
	last := len(path) == 1
	// A sparse index names a whole directory, with a slash at the end.
	if len(path) == 2 && path[1] == "" && e.mode == filemode.Dir {
		last = true
	}
	switch {
	case isFile, isDir && last:
		return errors.New("is there twice, or is a file and a directory")
	case last:
		if d.files == nil {
			d.files = map[string]indexEntry{}
		}
		d.files[name] = e
		return nil
	case !isDir:
		if d.dirs == nil {
			d.dirs = map[string]*indexDir{}
		}
		d.dirs[name] = &indexDir{}
	}
	return d.dirs[name].put(path[1:], e)
}

// write makes the tree object of a directory, as git write-tree does. Whether it is
// a sound one is judged where it is read.
func (d *indexDir) write(into *overlaidObjects) plumbing.Hash {
	type line struct{ key, text string }
	var lines []line
	add := func(name string, mode filemode.FileMode, h plumbing.Hash) {
		key := name
		if mode == filemode.Dir {
			key += "/" // as git sorts them
		}
		lines = append(lines, line{key, fmt.Sprintf("%o %s\x00%s", uint32(mode), name, h[:])})
	}
	for name, e := range d.files {
		add(name, e.mode, e.hash)
	}
	for name, sub := range d.dirs {
		add(name, filemode.Dir, sub.write(into))
	}
	slices.SortFunc(lines, func(a, b line) int { return strings.Compare(a.key, b.key) })
	var tree strings.Builder
	for _, l := range lines {
		tree.WriteString(l.text)
	}
	return into.add(plumbing.TreeObject, tree.String())
}

// overlaidObjects are objects that stand in no repository, over those of one.
type overlaidObjects struct {
	storer.EncodedObjectStorer
	own map[plumbing.Hash]*plumbing.MemoryObject
}

func (o *overlaidObjects) add(kind plumbing.ObjectType, content string) plumbing.Hash {
	obj := &plumbing.MemoryObject{}
	obj.SetType(kind)
	_, _ = obj.Write([]byte(content)) // memory takes all
	h := obj.Hash()
	o.own[h] = obj
	return h
}

// EncodedObject implements [storer.EncodedObjectStorer].
func (o *overlaidObjects) EncodedObject(t plumbing.ObjectType, h plumbing.Hash) (plumbing.EncodedObject, error) {
	if obj, ok := o.own[h]; ok {
		return obj, nil
	}
	return o.EncodedObjectStorer.EncodedObject(t, h)
}

// EncodedObjectSize implements [storer.EncodedObjectStorer].
func (o *overlaidObjects) EncodedObjectSize(h plumbing.Hash) (int64, error) {
	if obj, ok := o.own[h]; ok {
		return obj.Size(), nil
	}
	return o.EncodedObjectStorer.EncodedObjectSize(h)
}
