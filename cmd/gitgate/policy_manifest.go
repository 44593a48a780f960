package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"gitgate.dev/gitgate/policy/verdict"
)

// What `gitgate policy eval` reads at most: of one file, of the values in it with
// aliases followed, and how deep they nest.
const (
	maxManifestBytes = 16 << 20
	maxManifestNodes = 1 << 20
	maxManifestDepth = 200
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
	var r manifestReader
	for _, arg := range args {
		if arg == "-" {
			raw, err := io.ReadAll(io.LimitReader(stdin, maxManifestBytes+1))
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
	return r.manifests, r.problems, nil
}

type manifestReader struct {
	manifests []manifest
	problems  []verdict.Finding
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
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		raw, err := io.ReadAll(io.LimitReader(f, maxManifestBytes+1))
		if err != nil {
			return err
		}
		r.read(filepath.ToSlash(file), raw)
		return nil
	}
}

// A manifestError is what is wrong at a line.
type manifestError struct {
	reason verdict.Reason
	line   int
	text   string
}

func (e *manifestError) Error() string { return e.text }

func invalid(n *yaml.Node, format string, args ...any) error {
	return &manifestError{verdict.InvalidManifest, n.Line, fmt.Sprintf(format, args...)}
}

func ambiguous(n *yaml.Node, format string, args ...any) error {
	return &manifestError{verdict.AmbiguousManifest, n.Line, fmt.Sprintf(format, args...)}
}

func (r *manifestReader) problem(file string, err error) {
	f := verdict.Finding{Reason: verdict.InvalidManifest, Severity: verdict.Deny, File: file, Message: err.Error()}
	var me *manifestError
	if errors.As(err, &me) {
		f.Reason, f.Line = me.reason, me.line
	} else if _, err := fmt.Sscanf(err.Error(), "yaml: line %d:", &f.Line); err != nil {
		f.Line = 0
	}
	r.problems = append(r.problems, f)
}

// read adds the objects of one file, up to the first document that is broken.
func (r *manifestReader) read(file string, raw []byte) {
	switch {
	case len(raw) > maxManifestBytes:
		r.problem(file, &manifestError{verdict.LimitExceeded, 0, fmt.Sprintf("the file is larger than %d MiB", maxManifestBytes>>20)})
		return
	case !utf8.Valid(raw) || bytes.IndexByte(raw, 0) >= 0 || bytes.HasPrefix(raw, []byte("\ufeff")):
		r.problem(file, &manifestError{verdict.AmbiguousManifest, 1, "the file is not plain UTF-8: save it without a byte order mark and without NUL"})
		return
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			err = r.document(file, &doc)
		}
		if err != nil {
			r.problem(file, err)
			return
		}
	}
}

func (r *manifestReader) document(file string, doc *yaml.Node) error {
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil // nothing between two separators
	}
	c := yamlConverter{}
	value, err := c.value(root, 0)
	if err != nil {
		return err
	}
	object, ok := value.(map[string]any)
	if !ok {
		return invalid(root, "the document is not an object")
	}
	if !isList(object) {
		return r.object(file, root, object)
	}
	items := object["items"].([]any)
	nodes := itemNodes(root)
	for i, item := range items {
		object, ok := item.(map[string]any)
		switch {
		case !ok:
			return invalid(nodes[i], "items[%d] is not an object", i)
		case isList(object):
			return invalid(nodes[i], "items[%d] is a list in a list: take it apart", i)
		}
		if err := r.object(file, nodes[i], object); err != nil {
			return err
		}
	}
	return nil
}

func isList(object map[string]any) bool {
	kind, _ := object["kind"].(string)
	_, ok := object["items"].([]any)
	return ok && strings.HasSuffix(kind, "List")
}

func itemNodes(root *yaml.Node) []*yaml.Node {
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "items" {
			items := root.Content[i+1]
			if items.Kind == yaml.AliasNode {
				items = items.Alias
			}
			return items.Content
		}
	}
	return nil
}

func (r *manifestReader) object(file string, n *yaml.Node, object map[string]any) error {
	for _, field := range []string{"apiVersion", "kind"} {
		if s, ok := object[field].(string); !ok || s == "" {
			return invalid(n, "%s is missing or not a string", field)
		}
	}
	raw, err := json.Marshal(object)
	if err != nil {
		return invalid(n, "the document has no JSON form: %v", err)
	}
	r.manifests = append(r.manifests, manifest{file: file, line: n.Line, json: raw})
	return nil
}

// A yamlConverter turns YAML into what encoding/json writes, and refuses whatever
// readers of YAML understand in different ways.
type yamlConverter struct{ nodes int }

func (c *yamlConverter) value(n *yaml.Node, depth int) (any, error) {
	if c.nodes++; c.nodes > maxManifestNodes {
		return nil, &manifestError{verdict.LimitExceeded, n.Line, fmt.Sprintf("the document has more than %d values, aliases followed", maxManifestNodes)}
	}
	if depth > maxManifestDepth {
		return nil, &manifestError{verdict.LimitExceeded, n.Line, fmt.Sprintf("the document nests deeper than %d", maxManifestDepth)}
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
		return scalar(n)
	}
	return nil, invalid(n, "not a YAML value")
}

func (c *yamlConverter) mapping(n *yaml.Node, depth int) (any, error) {
	if tag := n.ShortTag(); tag != "!!map" {
		return nil, ambiguous(n, "the tag %s is not known to Kubernetes: remove it", tag)
	}
	m := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		switch {
		case k.Kind == yaml.ScalarNode && k.ShortTag() == "!!merge":
			return nil, ambiguous(k, "merge keys are not read everywhere: write the fields out")
		case k.Kind != yaml.ScalarNode || k.ShortTag() != "!!str":
			return nil, ambiguous(k, "the key %q is not a string: quote it", k.Value)
		}
		if _, dup := m[k.Value]; dup {
			return nil, ambiguous(k, "the key %q stands here twice: remove one", k.Value)
		}
		v, err := c.value(n.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		m[k.Value] = v
	}
	return m, nil
}

var (
	plainInteger = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)
	plainFloat   = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
	oldBoolean   = regexp.MustCompile(`^([yY]|[nN]|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$`)
)

func scalar(n *yaml.Node) (any, error) {
	plain := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	switch tag := n.ShortTag(); tag {
	case "!!str":
		if plain && oldBoolean.MatchString(n.Value) {
			return nil, ambiguous(n, "%s is a string to some readers and a boolean to others: quote it, or write true or false", n.Value)
		}
		return n.Value, nil
	case "!!null":
		return nil, nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true"), nil
	case "!!int":
		if plainInteger.MatchString(n.Value) {
			return json.Number(n.Value), nil
		}
		return nil, ambiguous(n, "%s is not the same number to all readers: write it in decimal, or quote it", n.Value)
	case "!!float":
		if plainFloat.MatchString(n.Value) {
			return json.Number(n.Value), nil
		}
		return nil, ambiguous(n, "%s is not a number in JSON: write it out, or quote it", n.Value)
	case "!!timestamp":
		return nil, ambiguous(n, "%s is a time to some readers and a string to others: quote it", n.Value)
	default:
		return nil, ambiguous(n, "the tag %s is not known to Kubernetes: remove it", tag)
	}
}

// readParameters reads one YAML or JSON object.
func readParameters(file string) (map[string]any, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(doc.Content) == 0 {
		return map[string]any{}, nil
	}
	c := yamlConverter{}
	value, err := c.value(doc.Content[0], 0)
	var me *manifestError
	if errors.As(err, &me) {
		return nil, fmt.Errorf("%s:%d: %w", file, me.line, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	parameters, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: parameters are an object", file)
	}
	return parameters, nil
}
