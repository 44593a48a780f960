package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// A gitRepository is a local repository, opened for reading. It is opened here
// rather than by go-git because that refuses repositories with extensions that
// do not concern objects, and decodes commits that we must see raw.
type gitRepository struct {
	dir string // as the user named it
	// gitDir holds HEAD and the index; top is where the work tree begins, empty if
	// there is none.
	gitDir, top string
	refs        *filesystem.Storage
	objects     *alternateObjects
}

// openGitRepository opens the repository at dir or above it, like git. Objects are
// also found where git finds them that runs a hook: see [openObjects].
func openGitRepository(dir string) (*gitRepository, error) {
	gitDir, top, err := findGitDir(dir)
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
	refs, read := openStorage(fs)
	r := &gitRepository{dir: dir, gitDir: gitDir, top: top, refs: refs}
	r.objects, err = openObjects(r.refs, read, filepath.Join(common, "objects"))
	return r, err
}

// findGitDir returns the Git directory, and the top of the work tree if there is one.
func findGitDir(dir string) (gitDir, top string, err error) {
	start, err := filepath.Abs(dir)
	if err != nil {
		return "", "", err
	}
	if _, err := os.Stat(start); err != nil {
		return "", "", err
	}
	for at := start; ; at = filepath.Dir(at) {
		dotGit := filepath.Join(at, ".git")
		if info, err := os.Stat(dotGit); err == nil {
			if info.IsDir() {
				return dotGit, at, nil
			}
			gitDir, err := readPointer(dotGit, "gitdir: ")
			return gitDir, at, err
		}
		if isGitDir(at) {
			return at, "", nil
		}
		if at == filepath.Dir(at) {
			return "", "", fmt.Errorf("%s: not a Git repository", dir)
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
