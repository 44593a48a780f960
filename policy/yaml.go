package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds of a YAML file of a policy set: its bytes, the values in it with aliases
// followed, and how deep they nest.
const (
	maxYAMLBytes = 1 << 20
	maxYAMLNodes = 100_000
	maxYAMLDepth = 100
)

// A yamlError is what is wrong at a place; line 0 is unknown.
type yamlError struct {
	line, column int
	text         string
}

func (e *yamlError) Error() string { return e.text }

func yamlErrorf(n *yaml.Node, format string, args ...any) error {
	return &yamlError{n.Line, n.Column, fmt.Sprintf(format, args...)}
}

// A yamlDocument is a document and what it says.
type yamlDocument struct {
	node  *yaml.Node
	value any
}

// readYAML reads the documents of a file; empty ones are left out. What readers of
// YAML understand in different ways is an error.
func readYAML(src string) ([]yamlDocument, error) {
	switch {
	case len(src) > maxYAMLBytes:
		return nil, &yamlError{text: tooMany("bytes", len(src), maxYAMLBytes)}
	case !utf8.ValidString(src) || strings.ContainsRune(src, 0):
		return nil, &yamlError{text: "the file is not UTF-8"}
	}
	dec := yaml.NewDecoder(bytes.NewReader([]byte(src)))
	c := yamlReader{}
	var out []yamlDocument
	for {
		var doc yaml.Node
		switch err := dec.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			e := &yamlError{text: strings.TrimPrefix(err.Error(), "yaml: ")}
			_, _ = fmt.Sscanf(err.Error(), "yaml: line %d:", &e.line) // without a line it stays 0
			return nil, e
		}
		if len(doc.Content) != 1 || doc.Content[0].ShortTag() == "!!null" {
			continue
		}
		v, err := c.value(doc.Content[0], 0)
		if err != nil {
			return nil, err
		}
		out = append(out, yamlDocument{doc.Content[0], v})
	}
}

// A yamlReader turns YAML into the values of encoding/json, numbers as they are
// written.
type yamlReader struct{ nodes int }

func (c *yamlReader) value(n *yaml.Node, depth int) (any, error) {
	if c.nodes++; c.nodes > maxYAMLNodes {
		return nil, yamlErrorf(n, "the file has more than %d values, aliases followed", maxYAMLNodes)
	}
	if depth > maxYAMLDepth {
		return nil, yamlErrorf(n, "nested deeper than %d", maxYAMLDepth)
	}
	switch n.Kind {
	case yaml.MappingNode:
		return c.mapping(n, depth)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, e := range n.Content {
			v, err := c.value(e, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.AliasNode:
		return c.value(n.Alias, depth+1)
	case yaml.ScalarNode:
		return yamlScalar(n)
	}
	return nil, yamlErrorf(n, "not a YAML value")
}

func (c *yamlReader) mapping(n *yaml.Node, depth int) (any, error) {
	if tag := n.ShortTag(); tag != "!!map" {
		return nil, yamlErrorf(n, "the tag %s is not known: remove it", tag)
	}
	m := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yaml.ScalarNode || k.ShortTag() == "!!merge" {
			return nil, yamlErrorf(k, "a key must be a string: write the fields out")
		}
		key := k.Value
		if _, dup := m[key]; dup {
			return nil, yamlErrorf(k, "the key %q stands here twice: remove one", key)
		}
		v, err := c.value(n.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		m[key] = v
	}
	return m, nil
}

var (
	// jsonNumber is how a number must be written to be the same to all readers.
	jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
	// oldBoolean is true or false to readers of YAML 1.1, as Kubernetes has one.
	oldBoolean = regexp.MustCompile(`^(?i:yes|no|on|off)$`)
)

func yamlScalar(n *yaml.Node) (any, error) {
	switch tag := n.ShortTag(); tag {
	case "!!str", "!!timestamp":
		if n.Style == 0 && oldBoolean.MatchString(n.Value) {
			return nil, yamlErrorf(n, "%s is a string to some readers and a boolean to others: quote it, or write true or false", n.Value)
		}
		return n.Value, nil
	case "!!null":
		return nil, nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true"), nil
	case "!!int", "!!float":
		if jsonNumber.MatchString(n.Value) && !numberTooLong(n.Value) {
			return json.Number(n.Value), nil
		}
		return nil, yamlErrorf(n, "%s is not the same number to all readers: write it in decimal, or quote it", clip(n.Value, 64))
	default:
		return nil, yamlErrorf(n, "the tag %s is not known: remove it", tag)
	}
}

// field returns the node of a field of a mapping, nil if there is none.
func field(n *yaml.Node, keys ...string) *yaml.Node {
next:
	for _, key := range keys {
		for n != nil && n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		if n == nil || n.Kind != yaml.MappingNode {
			return nil
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				n = n.Content[i+1]
				continue next
			}
		}
		return nil
	}
	return n
}
