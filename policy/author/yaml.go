package author

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"gitgate.dev/gitgate/policy/blockyaml"
	"gitgate.dev/gitgate/policy/verdict"
)

// What is read at most: of one file, of the values in one document with aliases
// followed, and how deep they nest.
const (
	MaxFileBytes = 16 << 20
	maxNodes     = 1 << 20
	maxDepth     = 200
)

// A SyntaxError is what is wrong with a YAML file, at a line.
type SyntaxError struct {
	Reason verdict.Reason
	// Line is 1-based; 0 is unknown.
	Line    int
	Message string
}

// Error is the message alone: who knows the file writes the place before it.
func (e *SyntaxError) Error() string { return e.Message }

func invalid(n *yaml.Node, format string, args ...any) error {
	return &SyntaxError{verdict.InvalidManifest, n.Line, fmt.Sprintf(format, args...)}
}

func ambiguous(n *yaml.Node, format string, args ...any) error {
	return &SyntaxError{verdict.AmbiguousManifest, n.Line, fmt.Sprintf(format, args...)}
}

// A document is one YAML document in the form that encoding/json writes.
type document struct {
	value any
	node  *yaml.Node
}

// documents reads a file up to the first document that is broken; documents that
// are empty are left out. The error is a [*SyntaxError].
func documents(raw []byte) ([]document, error) { return converter{}.documents(raw) }

func (settings converter) documents(raw []byte) ([]document, error) {
	switch {
	case len(raw) > MaxFileBytes:
		return nil, &SyntaxError{verdict.LimitExceeded, 0, fmt.Sprintf("the file is larger than %d MiB", MaxFileBytes>>20)}
	case !utf8.Valid(raw) || bytes.IndexByte(raw, 0) >= 0 || bytes.HasPrefix(raw, []byte("\ufeff")):
		return nil, &SyntaxError{verdict.AmbiguousManifest, 1, "the file is not plain UTF-8: save it without a byte order mark and without NUL"}
	}
	var out []document
	for root, err := range roots(raw) {
		if err != nil {
			return out, err
		}
		c := settings
		value, err := c.value(root, 0)
		if err != nil {
			return out, err
		}
		out = append(out, document{value, root})
	}
	return out, nil
}

// roots are the documents of a file that are not empty, up to what is no YAML.
func roots(raw []byte) iter.Seq2[*yaml.Node, error] {
	return func(yield func(*yaml.Node, error) bool) {
		if nodes, ok := blockyaml.Nodes(raw); ok {
			for _, root := range nodes {
				if !yield(root, nil) {
					return
				}
			}
			return
		}
		for dec := yaml.NewDecoder(bytes.NewReader(raw)); ; {
			var doc yaml.Node
			err := dec.Decode(&doc)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				e := &SyntaxError{Reason: verdict.InvalidManifest, Message: err.Error()}
				if _, err := fmt.Sscanf(e.Message, "yaml: line %d:", &e.Line); err != nil {
					e.Line = 0
				}
				yield(nil, e)
				return
			}
			if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
				continue
			}
			root := doc.Content[0]
			if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
				continue // nothing between two separators
			}
			if !yield(root, nil) {
				return
			}
		}
	}
}

// ReadYAML reads one YAML or JSON document, in the form that encoding/json decodes
// with UseNumber. A file without one gives nil. It refuses whatever readers of YAML
// understand in different ways, with a [*SyntaxError].
func ReadYAML(raw []byte) (any, error) {
	docs, err := documents(raw)
	if err != nil || len(docs) == 0 {
		return nil, err
	}
	if len(docs) > 1 {
		return nil, &SyntaxError{verdict.InvalidManifest, docs[1].node.Line, "the file holds more than one document"}
	}
	return docs[0].value, nil
}

// A Manifest is one object and where it stands.
type Manifest struct {
	File string
	Line int
	JSON []byte
}

// ReadManifests reads the objects of a file, lists taken apart. What is no object
// is one finding, after which nothing of the file is read; what came before counts.
func ReadManifests(file string, raw []byte) ([]Manifest, []verdict.Finding) {
	docs, err := documents(raw)
	var out []Manifest
	for _, doc := range docs {
		found, bad := objects(file, doc)
		out = append(out, found...)
		if bad != nil {
			err = bad
			break
		}
	}
	if err == nil {
		return out, nil
	}
	f := verdict.Finding{Reason: verdict.InvalidManifest, Severity: verdict.Deny, File: file, Message: err.Error()}
	var se *SyntaxError
	if errors.As(err, &se) {
		f.Reason, f.Line = se.Reason, se.Line
	}
	return out, []verdict.Finding{f}
}

// objects takes a document apart.
func objects(file string, doc document) ([]Manifest, error) {
	object, ok := doc.value.(map[string]any)
	if !ok {
		return nil, invalid(doc.node, "the document is not an object")
	}
	if !isList(object) {
		m, err := newManifest(file, doc.node, object)
		if err != nil {
			return nil, err
		}
		return []Manifest{m}, nil
	}
	var out []Manifest
	nodes := items(doc.node, "items")
	for i, item := range object["items"].([]any) {
		object, ok := item.(map[string]any)
		switch {
		case !ok:
			return out, invalid(nodes[i], "items[%d] is not an object", i)
		case isList(object):
			return out, invalid(nodes[i], "items[%d] is a list in a list: take it apart", i)
		}
		m, err := newManifest(file, nodes[i], object)
		if err != nil {
			return out, err
		}
		out = append(out, m)
	}
	return out, nil
}

func isList(object map[string]any) bool {
	kind, _ := object["kind"].(string)
	_, ok := object["items"].([]any)
	return ok && strings.HasSuffix(kind, "List")
}

// items returns the nodes of the list at a key.
func items(root *yaml.Node, key string) []*yaml.Node {
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == key {
			items := root.Content[i+1]
			if items.Kind == yaml.AliasNode {
				items = items.Alias
			}
			return items.Content
		}
	}
	return nil
}

func newManifest(file string, n *yaml.Node, object map[string]any) (Manifest, error) {
	for _, field := range []string{"apiVersion", "kind"} {
		if s, ok := object[field].(string); !ok || s == "" {
			return Manifest{}, invalid(n, "%s is missing or not a string", field)
		}
	}
	raw, err := appendJSON(nil, object)
	if err != nil {
		return Manifest{}, invalid(n, "the document has no JSON form: %v", err)
	}
	return Manifest{File: file, Line: n.Line, JSON: raw}, nil
}
