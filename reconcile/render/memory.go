package render

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// memory is the file system that kustomize sees: the files that were collected,
// under the repository's root as "/", and nothing else. It cannot be written.
type memory struct {
	files map[string][]byte
	dirs  map[string]bool
}

var (
	errReadOnly = errors.New("the tree is read-only")
	errUnused   = errors.New("not needed to build a kustomization")
)

func newMemory() *memory {
	return &memory{files: map[string][]byte{}, dirs: map[string]bool{"/": true}}
}

// put adds a file at a path of the repository.
func (m *memory) put(name string, data []byte) {
	name = "/" + name
	m.files[name] = data
	for dir := path.Dir(name); !m.dirs[dir]; dir = path.Dir(dir) {
		m.dirs[dir] = true
	}
}

func absolute(name string) string { return path.Clean("/" + name) }

func (m *memory) Create(string) (filesys.File, error) { return nil, errReadOnly }
func (m *memory) Mkdir(string) error                  { return errReadOnly }
func (m *memory) MkdirAll(string) error               { return errReadOnly }
func (m *memory) RemoveAll(string) error              { return errReadOnly }
func (m *memory) WriteFile(string, []byte) error      { return errReadOnly }
func (m *memory) Open(string) (filesys.File, error)   { return nil, errUnused }
func (m *memory) Glob(string) ([]string, error)       { return nil, errUnused }
func (m *memory) Walk(string, filepath.WalkFunc) error {
	return errUnused
}

func (m *memory) IsDir(name string) bool { return m.dirs[absolute(name)] }

func (m *memory) Exists(name string) bool {
	_, file := m.files[absolute(name)]
	return file || m.IsDir(name)
}

func (m *memory) ReadDir(name string) ([]string, error) {
	prefix := strings.TrimSuffix(absolute(name), "/") + "/"
	seen := map[string]bool{}
	for file := range m.files {
		if rest, ok := strings.CutPrefix(file, prefix); ok {
			first, _, _ := strings.Cut(rest, "/")
			seen[first] = true
		}
	}
	out := make([]string, 0, len(seen))
	for n := range seen {
		out = append(out, n)
	}
	slices.Sort(out)
	return out, nil
}

func (m *memory) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	abs := absolute(name)
	if m.dirs[abs] {
		return filesys.ConfirmedDir(abs), "", nil
	}
	if _, ok := m.files[abs]; ok {
		return filesys.ConfirmedDir(path.Dir(abs)), path.Base(abs), nil
	}
	return "", "", fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

func (m *memory) ReadFile(name string) ([]byte, error) {
	data, ok := m.files[absolute(name)]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return slices.Clone(data), nil
}
