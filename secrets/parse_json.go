package secrets

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"sort"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// parseJSON reads the one value of a JSON file into the nodes of YAML, so that
// both formats share what comes after.
func (f *file) parseJSON(raw []byte) error {
	p := &jsonParser{dec: json.NewDecoder(bytes.NewReader(raw))}
	p.dec.UseNumber()
	for i, b := range raw {
		if b == '\n' {
			p.newlines = append(p.newlines, i)
		}
	}
	root, err := p.next(0)
	if err == nil {
		if _, end := p.dec.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("more than one value")
		}
	}
	if err != nil {
		e := problem(InvalidManifest, f.path, "is not valid JSON, or is nested more than %d levels deep", maxDepth)
		e.Line = p.line()
		return e
	}
	if root.Tag == "!!null" {
		root = nil
	}
	f.docs = []*yaml.Node{root}
	return nil
}

type jsonParser struct {
	dec      *json.Decoder
	newlines []int // offsets
}

func (p *jsonParser) line() int {
	return 1 + sort.SearchInts(p.newlines, int(p.dec.InputOffset()))
}

func (p *jsonParser) next(depth int) (*yaml.Node, error) {
	if depth > maxDepth {
		return nil, errors.New("too deep")
	}
	t, err := p.dec.Token()
	if err != nil {
		return nil, err
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: p.line()}
	switch t := t.(type) {
	case nil:
		n.Tag, n.Value = "!!null", "null"
	case bool:
		n.Tag, n.Value = "!!bool", strconv.FormatBool(t)
	case string:
		n.Tag, n.Value = "!!str", t
	case json.Number:
		n.Tag, n.Value = "!!float", t.String()
		if _, err := t.Int64(); err == nil {
			n.Tag = "!!int"
		}
	case json.Delim:
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		if t == '{' {
			n.Kind, n.Tag = yaml.MappingNode, "!!map"
		}
		return n, p.children(n, depth)
	}
	return n, nil
}

func (p *jsonParser) children(n *yaml.Node, depth int) error {
	for p.dec.More() {
		// In an object the decoder yields keys and values in turn, keys first.
		c, err := p.next(depth + 1)
		if err != nil {
			return err
		}
		n.Content = append(n.Content, c)
	}
	_, err := p.dec.Token() // the closing delimiter
	return err
}
