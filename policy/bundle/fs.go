package bundle

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// FS is the files of the bundle.
func (b *Bundle) FS() fs.FS { return Tree(b.files) }

// Tree is an [fs.FS] of files by their path. The paths must be valid ([fs.ValidPath]),
// and none of them lead through another; the files must not be changed.
func Tree[C string | []byte](files map[string]C) fs.FS {
	t := tree[C]{files: files, dirs: map[string][]fs.DirEntry{".": nil}}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		t.add(name, info{name: path.Base(name), size: int64(len(files[name]))})
	}
	return t
}

// A tree is files in memory.
type tree[C string | []byte] struct {
	files map[string]C
	dirs  map[string][]fs.DirEntry
}

// add notes an entry, and the directories above it that are new.
func (t tree[C]) add(name string, i info) {
	dir := path.Dir(name)
	if _, known := t.dirs[dir]; !known {
		t.dirs[dir] = nil
		t.add(dir, info{name: path.Base(dir), dir: true})
	}
	t.dirs[dir] = append(t.dirs[dir], fs.FileInfoToDirEntry(i))
}

// Open implements [fs.FS].
func (t tree[C]) Open(name string) (fs.File, error) {
	if raw, ok := t.files[name]; ok {
		return &file{info{name: path.Base(name), size: int64(len(raw))}, bytes.NewReader([]byte(raw))}, nil
	}
	if entries, ok := t.dirs[name]; ok {
		entries = slices.Clone(entries)
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
		return &directory{info{name: path.Base(name), dir: true}, entries}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

type file struct {
	info
	content *bytes.Reader
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Read(p []byte) (int, error) { return f.content.Read(p) }
func (f *file) Close() error               { return nil }

type directory struct {
	info
	left []fs.DirEntry
}

func (d *directory) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *directory) Close() error               { return nil }

func (d *directory) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: fs.ErrInvalid}
}

// ReadDir implements [fs.ReadDirFile].
func (d *directory) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(d.left)
	} else if len(d.left) == 0 {
		return nil, io.EOF
	}
	out := d.left[:min(n, len(d.left))]
	d.left = d.left[len(out):]
	return out, nil
}

type info struct {
	name string
	size int64
	dir  bool
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.dir }
func (i info) Sys() any           { return nil }

func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}
