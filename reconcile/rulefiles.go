package reconcile

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/verify/commit"
)

// Bounds of what one source of rules may hold.
const (
	maxRuleFiles = 2000
	maxRuleBytes = 16 << 20
	maxRuleDepth = 16
)

// ruleExtensions are those of modules, data, templates, constraints and schemas of
// parameters.
var ruleExtensions = []string{".rego", ".json", ".yaml", ".yml", ".jsonschema"}

// A ruleError says why files cannot be rules.
type ruleError struct {
	reason verdict.Reason
	msg    string
}

func (e *ruleError) Error() string { return e.msg }

func ruleErrorf(reason verdict.Reason, format string, args ...any) error {
	return &ruleError{reason, fmt.Sprintf(format, args...)}
}

// readRules reads the files below a directory that may be rules, by their path below
// it. Hidden files and directories are left out. Symbolic links and submodules are
// refused wherever they lead: somebody meant them to be a part of the rules, and rules
// that silently lack a part are weaker ones.
func readRules(fsys fs.FS, dir string) (map[string]string, error) {
	dir = path.Clean(strings.TrimSuffix("./"+dir, "/"))
	switch info, err := fs.Stat(fsys, dir); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ruleErrorf(verdict.InvalidManifest, "there is no directory %q: correct spec.source.git.path", dir)
	case err != nil:
		return nil, unreadable(dir, err)
	case !info.IsDir() && !info.Mode().IsRegular():
		return nil, unreadable(dir, commit.ErrSymlink)
	case !info.IsDir():
		return nil, ruleErrorf(verdict.InvalidManifest, "%q is no directory: correct spec.source.git.path", dir)
	}
	files := map[string]string{}
	left := maxRuleBytes
	err := fs.WalkDir(fsys, dir, func(file string, d fs.DirEntry, err error) error {
		rel := strings.TrimPrefix(strings.TrimPrefix(file, dir), "/")
		if dir == "." {
			rel = file
		}
		switch {
		case err != nil:
			return unreadable(file, err)
		case file == dir:
			return nil
		case strings.HasPrefix(path.Base(file), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			if strings.Count(rel, "/")+1 > maxRuleDepth {
				return ruleErrorf(verdict.LimitExceeded, "%q is deeper than %d directories", file, maxRuleDepth)
			}
			return nil
		case !d.Type().IsRegular():
			return ruleErrorf(verdict.PathEscape, "%q is a symbolic link or a submodule: rules have to be files of the repository", file)
		case !slices.Contains(ruleExtensions, path.Ext(file)):
			return nil
		case len(files) == maxRuleFiles:
			return ruleErrorf(verdict.LimitExceeded, "there are more than %d files of rules", maxRuleFiles)
		}
		content, err := readRule(fsys, file, left)
		if err != nil {
			return err
		}
		left -= len(content)
		files[rel] = content
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, ruleErrorf(verdict.InvalidManifest, "%q holds no rules: no file ends in %s", dir, strings.Join(ruleExtensions, ", "))
	}
	return files, nil
}

func readRule(fsys fs.FS, file string, most int) (string, error) {
	f, err := fsys.Open(file)
	if err != nil {
		return "", unreadable(file, err)
	}
	defer f.Close() // nothing was written
	raw, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err != nil {
		return "", unreadable(file, err)
	}
	if len(raw) > most {
		return "", ruleErrorf(verdict.LimitExceeded, "%q: the files of rules are more than %d MiB", file, maxRuleBytes>>20)
	}
	return string(raw), nil
}

// unreadable is why a file cannot be read.
func unreadable(file string, err error) error {
	var known *ruleError
	var object *commit.ObjectError
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, commit.ErrSymlink), errors.Is(err, commit.ErrSubmodule):
		return ruleErrorf(verdict.PathEscape, "%q is, or leads through, a symbolic link or a submodule: rules have to be files of the repository", file)
	case errors.Is(err, commit.ErrTooLarge):
		return ruleErrorf(verdict.LimitExceeded, "%q is too large", file)
	case errors.As(err, &object):
		return ruleErrorf(verdict.Reason(object.Reason), "%q: %v", file, object)
	}
	return ruleErrorf(verdict.SourceUnavailable, "%q cannot be read: %v", file, err)
}

// digestOf identifies files, whatever order they come in.
func digestOf(files map[string]string) string {
	h := sha256.New()
	add := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:]) // a hash never fails
		io.WriteString(h, s)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		add(name)
		add(files[name])
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
