package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"gitgate.dev/gitgate/policy/author"
	"gitgate.dev/gitgate/policy/verdict"
)

// A manifest is one object and where it stands.
type manifest struct {
	file string
	line int
	json []byte
}

// readManifests reads files, directories and, for "-", standard input. A document
// that is no object is a finding; a file that cannot be read is an error.
func readManifests(args []string, stdin io.Reader) ([]manifest, []verdict.Finding, error) {
	r := newManifestReader()
	for _, arg := range args {
		if arg == "-" {
			raw, err := io.ReadAll(io.LimitReader(stdin, author.MaxFileBytes+1))
			if err != nil {
				return nil, nil, fmt.Errorf("reading standard input: %w", err)
			}
			r.read("stdin", raw)
			continue
		}
		if err := filepath.WalkDir(arg, r.visit(arg)); err != nil {
			return nil, nil, err
		}
	}
	return r.all()
}

// A manifestReader parses files side by side, and has what they hold in the order in
// which they came.
type manifestReader struct {
	files   []*parsedManifests
	parsing sync.WaitGroup
	turns   chan struct{}
}

type parsedManifests struct {
	manifests []manifest
	problems  []verdict.Finding
	err       error
}

func newManifestReader() *manifestReader {
	return &manifestReader{turns: make(chan struct{}, runtime.GOMAXPROCS(0))}
}

// all waits until everything is parsed and returns it.
func (r *manifestReader) all() (manifests []manifest, problems []verdict.Finding, err error) {
	r.parsing.Wait()
	for _, f := range r.files {
		if f.err != nil {
			return nil, nil, f.err
		}
		manifests, problems = append(manifests, f.manifests...), append(problems, f.problems...)
	}
	return manifests, problems, nil
}

// visit returns what reads the files below root.
func (r *manifestReader) visit(root string) fs.WalkDirFunc {
	return func(file string, d fs.DirEntry, err error) error {
		switch name := filepath.Base(file); {
		case err != nil:
			return err
		case file == root && !d.IsDir():
		case file != root && strings.HasPrefix(name, "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		case slices.Contains([]string{"kustomization.yaml", "kustomization.yml", "Kustomization"}, name):
			return fmt.Errorf("%s: this directory is made for kustomize: judge what it renders, as in `gitgate render %s | gitgate policy eval -`", file, filepath.Dir(file))
		case !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name)):
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%s: not a regular file: name it on its own if it is meant", file)
		}
		raw, err := readCut(file)
		if err != nil {
			return err
		}
		r.read(filepath.ToSlash(file), raw)
		return nil
	}
}

// read adds the objects of one file, up to the first document that is broken.
func (r *manifestReader) read(file string, raw []byte) {
	f := &parsedManifests{}
	r.files = append(r.files, f)
	r.turns <- struct{}{} // no more files are held than are parsed
	r.parsing.Go(func() {
		defer func() { <-r.turns }()
		defer func() {
			if p := recover(); p != nil {
				f.err = fmt.Errorf("%s: reading it failed with an internal error (%T); please report it", file, p)
			}
		}()
		found, problems := author.ReadManifests(file, raw)
		for _, m := range found {
			f.manifests = append(f.manifests, manifest{m.File, m.Line, m.JSON})
		}
		f.problems = problems
	})
}

// readParameters reads one YAML or JSON object.
func readParameters(file string) (map[string]any, error) {
	raw, err := readBounded(file, author.MaxFileBytes)
	if err != nil {
		return nil, err
	}
	value, err := author.ReadYAML(raw)
	var se *author.SyntaxError
	switch {
	case errors.As(err, &se) && se.Line > 0:
		return nil, fmt.Errorf("%s:%d: %w", file, se.Line, err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", file, err)
	case value == nil:
		return map[string]any{}, nil
	}
	parameters, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: parameters are an object", file)
	}
	return parameters, nil
}

// readCut reads a file up to the first byte that is too many: that a manifest is
// too large is a finding.
func readCut(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, author.MaxFileBytes+1))
}
