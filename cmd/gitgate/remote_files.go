package main

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// remoteFiles are files in memory, by their path, as an [fs.FS] to read a policy set
// from.
type remoteFiles map[string]string

// Open implements [fs.FS].
func (f remoteFiles) Open(name string) (fs.File, error) {
	if content, ok := f[name]; ok {
		return &remoteFile{remoteEntry{name: path.Base(name), size: int64(len(content))}, strings.NewReader(content)}, nil
	}
	entries, err := f.ReadDir(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.Unwrap(err)}
	}
	return &remoteDir{remoteEntry{name: path.Base(name), dir: true}, entries}, nil
}

// Stat implements [fs.StatFS].
func (f remoteFiles) Stat(name string) (fs.FileInfo, error) {
	if content, ok := f[name]; ok {
		return remoteEntry{name: path.Base(name), size: int64(len(content))}, nil
	}
	if _, err := f.ReadDir(name); err != nil {
		return nil, err
	}
	return remoteEntry{name: path.Base(name), dir: true}, nil
}

// ReadDir implements [fs.ReadDirFS].
func (f remoteFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	entries := map[string]remoteEntry{}
	for file, content := range f {
		rest, below := strings.CutPrefix(file, name+"/")
		if name == "." {
			rest, below = file, true
		}
		if !below {
			continue
		}
		if child, _, dir := strings.Cut(rest, "/"); dir {
			entries[child] = remoteEntry{name: child, dir: true}
		} else {
			entries[child] = remoteEntry{name: child, size: int64(len(content))}
		}
	}
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrInvalid}
	}
	if len(entries) == 0 && name != "." {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	out := make([]fs.DirEntry, 0, len(entries))
	for _, e := range entries {
		out = append(out, fs.FileInfoToDirEntry(e))
	}
	slices.SortFunc(out, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return out, nil
}

type remoteFile struct {
	remoteEntry
	*strings.Reader
}

func (f *remoteFile) Stat() (fs.FileInfo, error) { return f.remoteEntry, nil }
func (f *remoteFile) Close() error               { return nil }
func (f *remoteFile) Size() int64                { return f.remoteEntry.Size() }

type remoteDir struct {
	remoteEntry
	left []fs.DirEntry
}

func (d *remoteDir) Stat() (fs.FileInfo, error) { return d.remoteEntry, nil }
func (d *remoteDir) Close() error               { return nil }

func (d *remoteDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: fs.ErrInvalid}
}

// ReadDir implements [fs.ReadDirFile].
func (d *remoteDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(d.left)
	} else if len(d.left) == 0 {
		return nil, io.EOF
	}
	out := d.left[:min(n, len(d.left))]
	d.left = d.left[len(out):]
	return out, nil
}

type remoteEntry struct {
	name string
	size int64
	dir  bool
}

func (e remoteEntry) Name() string       { return e.name }
func (e remoteEntry) Size() int64        { return e.size }
func (e remoteEntry) ModTime() time.Time { return time.Time{} }
func (e remoteEntry) IsDir() bool        { return e.dir }
func (e remoteEntry) Sys() any           { return nil }

func (e remoteEntry) Mode() fs.FileMode {
	if e.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}
