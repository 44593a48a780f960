package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// A gitRepository is a local repository, opened for reading. It is opened here
// rather than by go-git because that refuses repositories with extensions that
// do not concern objects, and decodes commits that we must see raw.
type gitRepository struct {
	dir     string
	refs    *filesystem.Storage
	objects *alternateObjects
}

// openGitRepository opens the repository at dir or above it, like git.
func openGitRepository(dir string) (*gitRepository, error) {
	gitDir, err := findGitDir(dir)
	if err != nil {
		return nil, err
	}
	common, err := commonDir(gitDir)
	if err != nil {
		return nil, err
	}
	config, err := os.ReadFile(filepath.Join(common, "config"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if regexp.MustCompile(`(?im)^\s*objectformat\s*=\s*sha256`).Match(config) {
		return nil, fmt.Errorf("%s: repositories with SHA-256 hashes are not supported", dir)
	}
	var fs billy.Filesystem = osfs.New(gitDir)
	if common != gitDir {
		fs = dotgit.NewRepositoryFilesystem(fs, osfs.New(common))
	}
	r := &gitRepository{dir: dir, refs: openStorage(fs)}
	r.objects = &alternateObjects{Storage: r.refs}
	return r, r.objects.addAlternates(filepath.Join(common, "objects"), 0)
}

func openStorage(fs billy.Filesystem) *filesystem.Storage {
	return filesystem.NewStorageWithOptions(withoutAlternates{fs}, cache.NewObjectLRUDefault(), filesystem.Options{KeepDescriptors: true})
}

func findGitDir(dir string) (string, error) {
	start, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(start); err != nil {
		return "", err
	}
	for at := start; ; at = filepath.Dir(at) {
		dotGit := filepath.Join(at, ".git")
		if info, err := os.Stat(dotGit); err == nil {
			if info.IsDir() {
				return dotGit, nil
			}
			return readPointer(dotGit, "gitdir: ")
		}
		if isGitDir(at) {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%s: not a Git repository", dir)
		}
	}
}

func isGitDir(dir string) bool {
	for _, name := range []string{"objects", "refs"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || !info.IsDir() {
			return false
		}
	}
	_, err := os.Stat(filepath.Join(dir, "HEAD"))
	return err == nil
}

// commonDir is where a work tree added by git worktree keeps objects and refs.
func commonDir(gitDir string) (string, error) {
	file := filepath.Join(gitDir, "commondir")
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		return gitDir, nil
	}
	return readPointer(file, "")
}

// readPointer reads a file that names a directory.
func readPointer(file, prefix string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	path, ok := strings.CutPrefix(strings.TrimSpace(string(data)), prefix)
	if !ok || path == "" {
		return "", fmt.Errorf("%s: names no Git directory", file)
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(file), path)
	}
	return filepath.Clean(path), nil
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

// alternateObjects finds objects in a repository and then in its alternates.
type alternateObjects struct {
	*filesystem.Storage
	others []*filesystem.Storage
}

var _ storer.EncodedObjectStorer = (*alternateObjects)(nil)

// maxAlternates is how deep alternates may name alternates; git's own limit.
const maxAlternates = 5

func (a *alternateObjects) addAlternates(objects string, depth int) error {
	data, err := os.ReadFile(filepath.Join(objects, "info", "alternates"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if depth == maxAlternates {
		return fmt.Errorf("%s: alternates nest deeper than %d", objects, maxAlternates)
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		path := lines.Text()
		if path == "" || path[0] == '#' {
			continue
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(objects, path)
		}
		a.others = append(a.others, openStorage(osfs.New(filepath.Dir(path))))
		if err := a.addAlternates(path, depth+1); err != nil {
			return err
		}
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
