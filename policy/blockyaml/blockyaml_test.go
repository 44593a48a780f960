package blockyaml_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	yamlv3 "go.yaml.in/yaml/v3"

	"gitgate.dev/gitgate/policy/blockyaml"
)

// library reads documents as the library does.
func library(t *testing.T, raw []byte) (docs []*yamlv3.Node) {
	t.Helper()
	for dec := yamlv3.NewDecoder(bytes.NewReader(raw)); ; {
		var doc yamlv3.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			t.Fatalf("%q was read, and is not YAML: %v", raw, err)
		}
		docs = append(docs, doc.Content...)
	}
}

// A flatNode is a node without what blockyaml leaves out: comments, and tags that the
// value tells.
type flatNode struct {
	Kind         yamlv3.Kind
	Style        yamlv3.Style
	Tag, Value   string
	Line, Column int
	Content      []flatNode
}

func flatten(nodes []*yamlv3.Node) []flatNode {
	out := make([]flatNode, len(nodes))
	for i, n := range nodes {
		out[i] = flatNode{n.Kind, n.Style, n.ShortTag(), n.Value, n.Line, n.Column, flatten(n.Content)}
	}
	return out
}

// TestNodes: what is read is what the library makes of it. That this is so of any text
// is tested where both stand beside a third reader, in reconcile/render.
func TestNodes(t *testing.T) {
	names, err := filepath.Glob(filepath.Join("..", "..", "deploy", "*", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		nodes, ok := blockyaml.Nodes(raw)
		if !ok {
			continue
		}
		read++
		if want, got := flatten(library(t, raw)), flatten(nodes); !reflect.DeepEqual(want, got) {
			t.Errorf("%s\n%v, want\n%v", name, got, want)
		}
	}
	if read < 15 {
		t.Errorf("%d of %d files were read: the test compares little", read, len(names))
	}
}

func TestDeclines(t *testing.T) {
	for text, reason := range map[string]string{
		"":                       "there is nothing in it",
		"a: b":                   "the last line has no end",
		"a\n":                    "a scalar is no manifest",
		"a: \tb\n":               "a tab",
		"a: b\r\n":               "another break",
		"a: b\n...\n":            "an end of a document",
		"%YAML 1.2\n---\na: b\n": "a directive",
		"--- a\n":                "text behind a mark",
		"a: &b c\n":              "an anchor",
		"a: *b\n":                "an alias",
		"a: !b c\n":              "a tag",
		"? a\n: b\n":             "a key on a line of its own",
		"a: >\n  b\n":            "folded text",
		"a: \"\\n\"\n":           "an escape",
		"a: b: c\n":              "no YAML",
		"a:\n  b\n c\n":          "a value on the next line",
		"a: [b\n":                "a list without an end",
	} {
		if nodes, ok := blockyaml.Nodes([]byte(text)); ok {
			t.Errorf("%q was read as %v: %s", text, flatten(nodes), reason)
		}
	}
}
