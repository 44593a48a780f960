package author

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"gitgate.dev/gitgate/policy"
)

// A Source is a directory of policies with their tests.
type Source struct {
	// FS holds the directory and whatever its tests refer to. It must not lead out of
	// the place that the user named.
	FS fs.FS
	// Root is the directory in FS; empty is all of it.
	Root string
	// Show gives the name of a file of FS to people; nil shows it as it is.
	Show func(file string) string
	// RegoVersion is the dialect; empty is v1.
	RegoVersion policy.RegoVersion
	// Data is data beside that of the directory.
	Data map[string]any
}

func (s Source) root() string { return cmp.Or(path.Clean(s.Root), ".") }

func (s Source) show(file string) string {
	if s.Show == nil || file == "" {
		return file
	}
	return s.Show(file)
}

// Bounds of what is read of one source beside its policies.
const (
	maxFiles      = 20_000
	maxTotalBytes = 128 << 20
)

// read reads a file of FS.
func (s Source) read(file string) ([]byte, error) {
	f, err := s.FS.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.show(file), cause(err))
	}
	defer f.Close() // it was only read
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", s.show(file))
	}
	raw, err := io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.show(file), cause(err))
	}
	if len(raw) > MaxFileBytes {
		return nil, fmt.Errorf("%s: larger than %d MiB", s.show(file), MaxFileBytes>>20)
	}
	return raw, nil
}

// cause is an error of a file without its name, which the caller writes.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// files lists the files below the root with one of the extensions. Hidden ones are
// left out.
func (s Source) files(extensions ...string) ([]string, error) {
	var out []string
	err := fs.WalkDir(s.FS, s.root(), func(file string, d fs.DirEntry, err error) error {
		switch name := path.Base(file); {
		case err != nil:
			return fmt.Errorf("%s: %w", s.show(file), cause(err))
		case file != s.root() && strings.HasPrefix(name, "."):
			if d.IsDir() {
				return fs.SkipDir
			}
		case d.Type().IsRegular() && slices.Contains(extensions, path.Ext(name)):
			if out = append(out, file); len(out) > maxFiles {
				return fmt.Errorf("%s: more than %d files: name the directory with the policies", s.show(s.root()), maxFiles)
			}
		}
		return nil
	})
	return out, err
}

// A tree is the modules of a source, parsed, and its data.
type tree struct {
	source  Source
	set     policy.Set
	modules map[string]*ast.Module
}

// isTest reports whether a file holds tests, which never judge.
func isTest(file string) bool { return strings.HasSuffix(file, "_test.rego") }

// load reads and parses a source. What does not parse is a [*policy.LoadError].
func (s Source) load(capabilities *ast.Capabilities) (*tree, error) {
	set, err := policy.ReadSet("policies", s.FS, s.root())
	if err != nil {
		return nil, s.shown(err)
	}
	set.RegoVersion = s.RegoVersion
	if err := set.MergeData(s.Data); err != nil {
		return nil, fmt.Errorf("%s: %w", s.show(s.root()), err)
	}
	t := &tree{source: s, set: set, modules: make(map[string]*ast.Module, len(set.Modules))}
	var bad []policy.Problem
	for _, file := range slices.Sorted(maps.Keys(set.Modules)) {
		m, err := s.parse(file, set.Modules[file], capabilities)
		if err != nil {
			bad = append(bad, problemsOf(err)...)
			if s.RegoVersion != policy.RegoV0 && s.isV0(file, set.Modules[file]) {
				bad = append(bad, policy.Problem{File: file, Line: 1, Column: 1,
					Message: "this module is written in Rego v0: say --rego-version v0, or rewrite it with `opa fmt --v0-v1`"})
			}
			continue
		}
		if m != nil { // nil is a file without anything in it
			t.modules[file] = m
		}
	}
	if len(bad) > 0 {
		return nil, s.shown(&policy.LoadError{Problems: bad})
	}
	return t, nil
}

func (s Source) parse(file, src string, capabilities *ast.Capabilities) (*ast.Module, error) {
	return ast.ParseModuleWithOpts(file, src, ast.ParserOptions{
		Capabilities: capabilities, ProcessAnnotation: true, RegoVersion: s.dialect(),
	})
}

func (s Source) isV0(file, src string) bool {
	_, err := ast.ParseModuleWithOpts(file, src, ast.ParserOptions{RegoVersion: ast.RegoV0})
	return err == nil
}

func (s Source) dialect() ast.RegoVersion {
	if s.RegoVersion == policy.RegoV0 {
		return ast.RegoV0
	}
	return ast.RegoV1
}

// store holds the data of the tree.
func (t *tree) store() storage.Store {
	data := t.set.Data
	if data == nil {
		data = map[string]any{}
	}
	return inmem.NewFromObjectWithOpts(data, inmem.OptRoundTripOnWrite(true))
}

// policies are the modules that judge.
func (t *tree) policies() map[string]*ast.Module {
	out := maps.Clone(t.modules)
	maps.DeleteFunc(out, func(file string, _ *ast.Module) bool { return isTest(file) })
	return out
}

// problemsOf lists the errors of OPA's parser and compiler, each with its place.
func problemsOf(err error) []policy.Problem {
	var many ast.Errors
	var one *ast.Error
	switch {
	case errors.As(err, &many):
	case errors.As(err, &one):
		many = ast.Errors{one}
	default:
		return []policy.Problem{{Message: err.Error()}}
	}
	var out []policy.Problem
	for _, e := range many {
		p := policy.Problem{Message: strings.Join(append([]string{e.Message}, details(e)...), "; ")}
		if e.Location != nil {
			p.File, p.Line, p.Column = e.Location.File, max(e.Location.Row, 1), max(e.Location.Col, 1)
		}
		out = append(out, p)
	}
	return out
}

// details are what an error of a type says of the types. The line that a parser's
// error quotes is left to who shows files.
func details(e *ast.Error) []string {
	if _, ok := e.Details.(*ast.ParserErrorDetail); ok || e.Details == nil {
		return nil
	}
	return e.Details.Lines()
}

// shown gives the files in the problems their names for people, and takes the name
// of the set away: there is one only.
func (s Source) shown(err error) error {
	var le *policy.LoadError
	if !errors.As(err, &le) {
		return err
	}
	out := &policy.LoadError{}
	for _, p := range le.Problems {
		p.Set, p.File = "", s.show(p.File)
		out.Problems = append(out.Problems, p)
	}
	return out
}
