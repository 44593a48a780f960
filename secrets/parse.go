package secrets

import (
	"bytes"
	"errors"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// A file is a parsed manifest: one node a document, nil for an empty one.
type file struct {
	path string
	json bool
	docs []*yaml.Node
}

// parse reads YAML or JSON, by the extension of name. It refuses what parsers
// disagree about: other encodings than UTF-8, NUL bytes, duplicate keys and
// tags beyond YAML's own.
func parse(name string, raw []byte) (*file, error) {
	f := &file{path: name}
	switch ext := strings.ToLower(path.Ext(name)); {
	case ext == ".yaml" || ext == ".yml" || isKustomizationFile(name):
	case ext == ".json":
		f.json = true
	default:
		return nil, problem(InvalidManifest, name, "only .yaml, .yml and .json files can hold Kubernetes objects")
	}
	switch {
	case len(raw) > MaxFileSize:
		return nil, problem(InvalidManifest, name, "is %d bytes long, more than the limit of %d; split it", len(raw), MaxFileSize)
	case !utf8.Valid(raw) || bytes.HasPrefix(raw, []byte("\ufeff")) || bytes.IndexByte(raw, 0) >= 0:
		return nil, problem(InvalidManifest, name, "is not plain UTF-8; save it without byte order mark and NUL bytes")
	}
	var err error
	if f.json {
		err = f.parseJSON(raw)
	} else {
		err = f.parseYAML(raw)
	}
	if err != nil {
		return nil, err
	}
	budget := maxNodes
	for _, doc := range f.docs {
		if err := f.validate(doc, 0, &budget); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *file) parseYAML(raw []byte) error {
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return f.syntaxError("YAML", err)
		}
		if len(f.docs) == maxDocuments {
			return problem(InvalidManifest, f.path, "holds more than %d documents; split it", maxDocuments)
		}
		var root *yaml.Node
		if len(doc.Content) == 1 && doc.Content[0].ShortTag() != "!!null" {
			root = doc.Content[0]
		}
		f.docs = append(f.docs, root)
	}
}

var errorLine = regexp.MustCompile(`\bline (\d+)`)

// syntaxError keeps the line of a parser's error and drops its text, which
// quotes the input.
func (f *file) syntaxError(format string, err error) error {
	e := problem(InvalidManifest, f.path, "is not valid %s; correct the syntax", format)
	if m := errorLine.FindStringSubmatch(err.Error()); m != nil {
		e.Line, _ = strconv.Atoi(m[1])
	}
	return e
}

var knownTags = map[string]bool{
	"!!map": true, "!!seq": true, "!!str": true, "!!int": true, "!!float": true, "!!bool": true,
	"!!null": true, "!!timestamp": true, "!!binary": true, "!!merge": true,
}

// validate bounds depth and size with aliases followed, so that whatever walks
// the nodes later ends, and refuses duplicate keys and unknown tags.
func (f *file) validate(n *yaml.Node, depth int, budget *int) error {
	if n == nil {
		return nil
	}
	*budget--
	switch {
	case depth > maxDepth:
		return f.at(n, problem(InvalidManifest, f.path, "is nested more than %d levels deep", maxDepth))
	case *budget < 0:
		return f.at(n, problem(InvalidManifest, f.path, "holds more than %d values, aliases counted each time; split it", maxNodes))
	case n.Kind == yaml.AliasNode:
		return f.validate(n.Alias, depth+1, budget)
	case !knownTags[n.ShortTag()]:
		return f.at(n, problem(InvalidManifest, f.path, "uses a custom YAML tag; remove it"))
	case n.Kind == yaml.MappingNode:
		seen := make(map[string]bool, len(n.Content)/2)
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode {
				return f.at(key, problem(InvalidManifest, f.path, "has a key that is not a string"))
			}
			if seen[key.Value] {
				return f.at(key, problem(InvalidManifest, f.path, "has the key %s twice; remove one", printable(key.Value)))
			}
			seen[key.Value] = true
		}
	}
	for _, c := range n.Content {
		if err := f.validate(c, depth+1, budget); err != nil {
			return err
		}
	}
	return nil
}

func (f *file) at(n *yaml.Node, e *Error) *Error {
	e.Line = n.Line
	return e
}

// lookup follows a path of keys and indices and returns the line of its end, or
// of the last part that exists; 0 when there is no such document.
func (f *file) lookup(document int, at []any) int {
	if document < 0 || document >= len(f.docs) || f.docs[document] == nil {
		return 0
	}
	n := f.docs[document]
	line := n.Line
	for _, step := range at {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		next, l := child(n, step)
		if next == nil {
			return line
		}
		n, line = next, l
	}
	return line
}

func child(n *yaml.Node, step any) (*yaml.Node, int) {
	switch s := step.(type) {
	case int:
		if n.Kind == yaml.SequenceNode && s < len(n.Content) {
			return n.Content[s], n.Content[s].Line
		}
	case string:
		for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
			if n.Content[i].Value == s {
				return n.Content[i+1], n.Content[i].Line
			}
		}
	}
	return nil, 0
}

// value converts a validated node: strings stay strings, aliases and merge keys
// are followed. Scalars of other types become what YAML makes of them.
func value(n *yaml.Node) any {
	if n == nil {
		return nil
	}
	switch n.Kind {
	case yaml.AliasNode:
		return value(n.Alias)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			list = append(list, value(c))
		}
		return list
	case yaml.MappingNode:
		return mapping(n)
	case yaml.ScalarNode:
		if n.ShortTag() == "!!str" {
			return n.Value
		}
		var v any
		if n.Decode(&v) != nil {
			return n.Value
		}
		return v
	}
	return nil
}

func mapping(n *yaml.Node) map[string]any {
	m := make(map[string]any, len(n.Content)/2)
	var merged []any
	for i := 0; i < len(n.Content); i += 2 {
		key, v := n.Content[i], value(n.Content[i+1])
		if key.ShortTag() == "!!merge" {
			if list, ok := v.([]any); ok {
				merged = append(merged, list...)
			} else {
				merged = append(merged, v)
			}
			continue
		}
		m[key.Value] = v
	}
	for _, v := range merged {
		from, _ := v.(map[string]any)
		for k, v := range from {
			if _, ok := m[k]; !ok {
				m[k] = v
			}
		}
	}
	return m
}
