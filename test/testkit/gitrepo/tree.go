package gitrepo

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

const modeDir = "40000"

// A node is one entry of a directory. dir is set for a directory that was opened
// for editing, and then counts instead of hash.
type node struct {
	mode string
	hash plumbing.Hash
	dir  directory
}

// A directory is a tree that is being edited.
type directory map[string]node

// An Entry is one entry of a tree object.
type Entry struct {
	Mode string // as in 100644
	Name string
	Hash plumbing.Hash
}

// EncodeTree writes entries as a tree object, in their order and unchecked.
func EncodeTree(entries ...Entry) []byte {
	var b bytes.Buffer
	for _, e := range entries {
		fmt.Fprintf(&b, "%s %s\x00", e.Mode, e.Name)
		b.Write(e.Hash[:])
	}
	return b.Bytes()
}

// openTree reads a tree that this package wrote.
func (r *Repo) openTree(h plumbing.Hash) (directory, error) {
	raw, err := r.Raw(h)
	if err != nil {
		return nil, err
	}
	d := directory{}
	for len(raw) > 0 {
		head, rest, found := bytes.Cut(raw, []byte{0})
		mode, name, ok := strings.Cut(string(head), " ")
		if !found || !ok || len(rest) < 20 {
			return nil, fmt.Errorf("tree %s is malformed", h)
		}
		d[name] = node{mode: mode, hash: plumbing.Hash(rest[:20])}
		raw = rest[20:]
	}
	return d, nil
}

// add puts a node at path. Files in the way of directories give way.
func (r *Repo) add(d directory, path []string, n node) error {
	if len(path) == 1 {
		d[path[0]] = n
		return nil
	}
	child, err := r.child(d, path[0], true)
	if err != nil {
		return err
	}
	return r.add(child, path[1:], n)
}

// remove takes away what is at path.
func (r *Repo) remove(d directory, path []string) error {
	if _, ok := d[path[0]]; !ok {
		return fmt.Errorf("%s does not exist", path[0])
	}
	if len(path) == 1 {
		delete(d, path[0])
		return nil
	}
	child, err := r.child(d, path[0], false)
	if err != nil {
		return err
	}
	return r.remove(child, path[1:])
}

// child opens a subdirectory for editing.
func (r *Repo) child(d directory, name string, create bool) (directory, error) {
	n := d[name]
	switch {
	case n.dir != nil:
		return n.dir, nil
	case n.mode == modeDir:
		dir, err := r.openTree(n.hash)
		if err != nil {
			return nil, err
		}
		n.dir = dir
	case create:
		n = node{mode: modeDir, dir: directory{}}
	default:
		return nil, fmt.Errorf("%s is not a directory", name)
	}
	d[name] = n
	return n.dir, nil
}

// writeTree stores a directory with all below it that was edited. Directories
// that became empty vanish.
func (r *Repo) writeTree(d directory) (plumbing.Hash, error) {
	var entries []Entry
	for name, n := range d {
		if n.dir != nil {
			if len(n.dir) == 0 {
				continue
			}
			h, err := r.writeTree(n.dir)
			if err != nil {
				return plumbing.ZeroHash, err
			}
			n.hash = h
		}
		entries = append(entries, Entry{n.mode, name, n.hash})
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(sortKey(a), sortKey(b)) })
	return r.Object(plumbing.TreeObject, EncodeTree(entries...))
}

// sortKey is what git sorts tree entries by.
func sortKey(e Entry) string {
	if e.Mode == modeDir {
		return e.Name + "/"
	}
	return e.Name
}
