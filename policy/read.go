package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// A setReader collects the files of a set.
type setReader struct {
	fsys  fs.FS
	set   Set
	bytes int
	data  []dataFile // those that were read
}

// A dataFile is a file whose content becomes data at a path.
type dataFile struct {
	name string
	at   []string
}

// maxSetBytes bounds the files of one set together.
const maxSetBytes = 16 << 20

func (r *setReader) read(root string) error {
	return fs.WalkDir(r.fsys, root, func(file string, d fs.DirEntry, err error) error {
		switch name := path.Base(file); {
		case err != nil:
			return err
		case file != root && strings.HasPrefix(name, "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		case r.set.Format == FormatGatekeeper:
			if isDataFile(name) {
				raw, err := r.file(file)
				if err != nil {
					return err
				}
				r.set.Manifests[file] = string(raw)
			}
		case path.Ext(name) == ".rego":
			src, err := r.file(file)
			if err != nil {
				return err
			}
			r.set.Modules[file] = string(src)
		case name == parametersFile:
			return r.addParameters(file)
		case r.set.Format == FormatConftest && isDataFile(name),
			name == "data.json", name == "data.yaml", name == "data.yml":
			return r.addData(root, file)
		}
		return nil
	})
}

func (r *setReader) file(name string) ([]byte, error) {
	f, err := r.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, int64(maxSetBytes-r.bytes)+1))
	if err != nil {
		return nil, err
	}
	if r.bytes += len(raw); r.bytes > maxSetBytes {
		return nil, fmt.Errorf("%s: the files of the set are more than %d MiB", name, maxSetBytes>>20)
	}
	return raw, nil
}

// addData merges a file of data at the path of its directory below root, as OPA does
// with data.json in a bundle. Objects are merged; two values for one path are an error.
func (r *setReader) addData(root, file string) error {
	raw, err := r.file(file)
	if err != nil {
		return err
	}
	doc, err := dataOf(file, raw)
	if err != nil {
		return err
	}
	rel := path.Dir(file)
	if root != "." {
		rel = strings.TrimPrefix(strings.TrimPrefix(rel, root), "/")
	}
	at := strings.FieldsFunc(rel, func(c rune) bool { return c == '/' })
	if rel == "." {
		at = nil
	}
	if r.set.Data == nil {
		r.set.Data = map[string]any{}
	}
	into, taken := r.set.Data, []string(nil)
	for i, key := range at {
		if _, ok := into[key]; !ok {
			into[key] = map[string]any{}
		}
		next, ok := into[key].(map[string]any)
		if !ok {
			taken = at[:i+1]
			break
		}
		into = next
	}
	if taken == nil {
		taken = mergeData(into, doc, at)
	}
	if taken != nil {
		return fmt.Errorf("%s: data.%s has a value already%s", file, strings.Join(taken, "."), r.whoseData(taken))
	}
	r.data = append(r.data, dataFile{file, at})
	return nil
}

// mergeData merges src, which stands at a path, into dst. It returns the path of a
// value that both have, unless that is an object in both, and then stops.
func mergeData(dst, src map[string]any, at []string) (taken []string) {
	for _, key := range slices.Sorted(maps.Keys(src)) {
		old, ok := dst[key]
		if !ok {
			dst[key] = src[key]
			continue
		}
		here := append(slices.Clip(at), key)
		a, isObject := old.(map[string]any)
		b, both := src[key].(map[string]any)
		if !isObject || !both {
			return here
		}
		if taken := mergeData(a, b, here); taken != nil {
			return taken
		}
	}
	return nil
}

// whoseData says which of the files that were read has a value at a path. It reads
// them again: only what fails has to be found.
func (r *setReader) whoseData(want []string) string {
	for _, f := range r.data {
		raw, err := fs.ReadFile(r.fsys, f.name)
		if err != nil {
			continue
		}
		doc, err := dataOf(f.name, raw)
		if err != nil || len(f.at) > len(want) || !slices.Equal(f.at, want[:len(f.at)]) {
			continue
		}
		var node any = doc
		for _, key := range want[len(f.at):] {
			m, _ := node.(map[string]any)
			node = m[key]
		}
		if node != nil {
			return ", from " + f.name
		}
	}
	return ""
}

// MergeData adds data from elsewhere than the files of the set, as conftest's --data.
// Objects are merged; two values for one path are an error. The data stays the caller's.
func (s *Set) MergeData(data map[string]any) error {
	if s.Data == nil {
		s.Data = map[string]any{}
	}
	if taken := mergeData(s.Data, cloneData(data), nil); taken != nil {
		return fmt.Errorf("data.%s has a value already", strings.Join(taken, "."))
	}
	return nil
}

// cloneData copies objects, which others are merged into.
func cloneData(data map[string]any) map[string]any {
	out := make(map[string]any, len(data))
	for key, value := range data {
		if below, ok := value.(map[string]any); ok {
			value = cloneData(below)
		}
		out[key] = value
	}
	return out
}

func isDataFile(name string) bool {
	return slices.Contains([]string{".json", ".yaml", ".yml"}, path.Ext(name))
}

// dataOf reads a data file.
func dataOf(file string, raw []byte) (map[string]any, error) {
	if path.Ext(file) != ".json" {
		docs, err := readYAML(string(raw))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if len(docs) == 0 {
			return nil, nil
		}
		doc, ok := docs[0].value.(map[string]any)
		if !ok || len(docs) > 1 {
			return nil, fmt.Errorf("%s: data must be one object", file)
		}
		return doc, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var doc map[string]any
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: more than one JSON document", file)
	}
	return doc, nil
}

// AddFile adds a file to a set as its format has it, and reports whether it has a use
// for it. What ends in .rego is a module; data.json and data.yaml, and in
// [FormatConftest] all JSON and YAML, are data at the root; in [FormatGatekeeper] it
// holds templates and constraints. Dir goes before the name in messages.
func (s *Set) AddFile(dir, name, content string) (used bool, err error) {
	file := path.Join(dir, name)
	switch {
	case s.Format == FormatGatekeeper:
		if !isDataFile(name) {
			return false, nil
		}
		if s.Manifests == nil {
			s.Manifests = map[string]string{}
		}
		s.Manifests[file] = content
	case path.Ext(name) == ".rego":
		if s.Modules == nil {
			s.Modules = map[string]string{}
		}
		s.Modules[file] = content
	case s.Format == FormatConftest && isDataFile(name), name == "data.json", name == "data.yaml":
		doc, err := dataOf(file, []byte(content))
		if err != nil {
			return false, err
		}
		for key, value := range doc {
			if _, taken := s.Data[key]; taken {
				return false, fmt.Errorf("%s: data at %q has a value already", file, key)
			}
			if s.Data == nil {
				s.Data = map[string]any{}
			}
			s.Data[key] = value
		}
	default:
		return false, nil
	}
	return true, nil
}
