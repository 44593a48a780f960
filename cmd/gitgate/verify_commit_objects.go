package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// alternateObjects finds objects in a repository and then in its alternates.
type alternateObjects struct {
	*filesystem.Storage
	others []*filesystem.Storage
	seen   map[string]bool
	read   []*cache.ObjectLRU // what was read last, of each storage
}

var _ storer.EncodedObjectStorer = (*alternateObjects)(nil)

const (
	// maxAlternateDepth is how deep alternates may name alternates; git's own limit.
	maxAlternateDepth = 5
	// maxAlternates and maxAlternatesBytes bound what is opened, and how long a list
	// of it may be.
	maxAlternates      = 256
	maxAlternatesBytes = 1 << 20
)

// openObjects opens the objects of a repository. Two variables of git(1) count as
// they do for git, which sets both in the hooks of a server: what is being pushed
// lies in GIT_OBJECT_DIRECTORY until the push is accepted, and the repository's own
// objects are in GIT_ALTERNATE_OBJECT_DIRECTORIES meanwhile.
func openObjects(own *filesystem.Storage, read *cache.ObjectLRU, dir string) (*alternateObjects, error) {
	a := &alternateObjects{Storage: own, read: []*cache.ObjectLRU{read}}
	if instead := os.Getenv("GIT_OBJECT_DIRECTORY"); instead != "" {
		if info, err := os.Stat(instead); err != nil {
			return nil, fmt.Errorf("GIT_OBJECT_DIRECTORY: %w", err)
		} else if !info.IsDir() {
			return nil, fmt.Errorf("GIT_OBJECT_DIRECTORY: %s is not a directory", instead)
		}
		dir, a.Storage = instead, a.open(instead)
	}
	a.seen = map[string]bool{filepath.Clean(dir): true}
	others, err := splitAlternates(os.Getenv("GIT_ALTERNATE_OBJECT_DIRECTORIES"))
	if err != nil {
		return nil, fmt.Errorf("GIT_ALTERNATE_OBJECT_DIRECTORIES: %w", err)
	}
	for _, other := range others {
		if err := a.add(other, 0); err != nil {
			return nil, err
		}
	}
	return a, a.addAlternates(dir, 0)
}

// splitAlternates splits a list of directories. What begins with a quote is quoted
// as in C, so that it can hold the separator.
func splitAlternates(list string) ([]string, error) {
	if len(list) > maxAlternatesBytes {
		return nil, fmt.Errorf("longer than %d bytes", maxAlternatesBytes)
	}
	var out []string
	for list != "" {
		var dir string
		if quoted, err := strconv.QuotedPrefix(list); err == nil && quoted[0] == '"' {
			if dir, err = strconv.Unquote(quoted); err != nil {
				return nil, err
			}
			list = strings.TrimPrefix(list[len(quoted):], string(filepath.ListSeparator))
		} else {
			dir, list, _ = strings.Cut(list, string(filepath.ListSeparator))
		}
		if dir != "" && dir[0] != '#' {
			out = append(out, dir)
		}
	}
	return out, nil
}

// add adds a directory of objects and what it refers to in turn. One that is not
// there is passed over, as git does: objects that are missed are missed then.
func (a *alternateObjects) add(dir string, depth int) error {
	dir = filepath.Clean(dir)
	if a.seen[dir] {
		return nil
	}
	if a.seen[dir] = true; len(a.seen) > maxAlternates {
		return fmt.Errorf("%s: more than %d directories of alternate objects", dir, maxAlternates)
	}
	a.others = append(a.others, a.open(dir))
	return a.addAlternates(dir, depth)
}

// open opens a directory of objects.
func (a *alternateObjects) open(dir string) *filesystem.Storage {
	s, read := openStorage(objectDirectory{osfs.New(dir)})
	a.read = append(a.read, read)
	return s
}

// forget lets go of the objects that are kept for those that follow, most of which Git
// stores as differences. They can be read again at any time.
func (a *alternateObjects) forget() {
	for _, c := range a.read {
		c.Clear()
	}
}

// addAlternates adds what the file info/alternates of a directory of objects lists.
func (a *alternateObjects) addAlternates(objects string, depth int) error {
	file, err := os.Open(filepath.Join(objects, "info", "alternates"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close() // nothing was written
	if depth == maxAlternateDepth {
		return fmt.Errorf("%s: alternates nest deeper than %d", objects, maxAlternateDepth)
	}
	data := &io.LimitedReader{R: file, N: maxAlternatesBytes + 1}
	lines := bufio.NewScanner(data)
	for lines.Scan() {
		path := lines.Text()
		if path == "" || path[0] == '#' {
			continue
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(objects, path)
		}
		if err := a.add(path, depth+1); err != nil {
			return err
		}
	}
	if data.N == 0 {
		return fmt.Errorf("%s: longer than %d bytes", file.Name(), maxAlternatesBytes)
	}
	return lines.Err()
}

func (a *alternateObjects) EncodedObject(t plumbing.ObjectType, h plumbing.Hash) (plumbing.EncodedObject, error) {
	obj, err := a.Storage.EncodedObject(t, h)
	for _, other := range a.others {
		if !errors.Is(err, plumbing.ErrObjectNotFound) {
			break
		}
		obj, err = other.EncodedObject(t, h)
	}
	return obj, err
}

func (a *alternateObjects) EncodedObjectSize(h plumbing.Hash) (int64, error) {
	n, err := a.Storage.EncodedObjectSize(h)
	for _, other := range a.others {
		if !errors.Is(err, plumbing.ErrObjectNotFound) {
			break
		}
		n, err = other.EncodedObjectSize(h)
	}
	return n, err
}

func (a *alternateObjects) withPrefix(prefix []byte) ([]plumbing.Hash, error) {
	var found []plumbing.Hash
	for _, s := range append([]*filesystem.Storage{a.Storage}, a.others...) {
		hashes, err := s.HashesWithPrefix(prefix)
		if err != nil {
			return nil, err
		}
		found = append(found, hashes...)
	}
	return found, nil
}

// keptObjects is how many bytes of objects are kept of each storage. What an object is
// the difference to is mostly stored close to it: with a sixth of go-git's default all
// objects of a repository of 23 MiB are read as fast.
const keptObjects = 16 * cache.MiByte

func openStorage(fs billy.Filesystem) (*filesystem.Storage, *cache.ObjectLRU) {
	read := cache.NewObjectLRU(keptObjects)
	return filesystem.NewStorageWithOptions(withoutAlternates{fs}, read, filesystem.Options{KeepDescriptors: true}), read
}

// withoutAlternates hides the file objects/info/alternates: go-git would open
// every alternate anew for each object.
type withoutAlternates struct{ billy.Filesystem }

func (fs withoutAlternates) Open(name string) (billy.File, error) {
	if filepath.ToSlash(name) == "objects/info/alternates" {
		return nil, os.ErrNotExist
	}
	return fs.Filesystem.Open(name)
}

// objectDirectory shows a directory, whatever its name, as the objects of a
// repository that holds nothing else. It is for reading.
type objectDirectory struct{ billy.Filesystem }

func (fs objectDirectory) inside(name string) (string, error) {
	switch rest, ok := strings.CutPrefix(path.Clean(filepath.ToSlash(name)), "objects"); {
	case ok && rest == "":
		return ".", nil
	case ok && rest[0] == '/':
		return rest[1:], nil
	}
	return "", &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
}

func (fs objectDirectory) Open(name string) (billy.File, error) {
	name, err := fs.inside(name)
	if err != nil {
		return nil, err
	}
	return fs.Filesystem.Open(name)
}

func (fs objectDirectory) Stat(name string) (os.FileInfo, error) {
	name, err := fs.inside(name)
	if err != nil {
		return nil, err
	}
	return fs.Filesystem.Stat(name)
}

func (fs objectDirectory) ReadDir(name string) ([]os.FileInfo, error) {
	name, err := fs.inside(name)
	if err != nil {
		return nil, err
	}
	return fs.Filesystem.ReadDir(name)
}
