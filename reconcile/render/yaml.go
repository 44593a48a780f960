package render

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"unicode/utf8"

	yamlv2 "go.yaml.in/yaml/v2"
	yamlv3 "go.yaml.in/yaml/v3"

	"gitgate.dev/gitgate/policy/blockyaml"
	"gitgate.dev/gitgate/policy/verdict"
)

// A document is one YAML document that passed the strict reader.
type document struct {
	index int          // 0-based, empty documents counted
	node  *yamlv3.Node // its structure and lines
	value any          // map[string]any, []any, string, int64, float64, bool or nil
}

// readDocuments reads every document of a YAML or JSON file that is not empty.
//
// Two readers see the bytes. The value is that of yaml.v2, which is what
// sigs.k8s.io/yaml, and with it kubectl, builds on; structure and lines are those
// of yaml.v3, whose nodes show what a decoded value no longer does: duplicate
// keys, tags, aliases. Where the two disagree on how many documents there are the
// file is refused. A file about which they cannot disagree is read by one of them. Values
// are shared with what s has read before.
func readDocuments(raw []byte, l Limits, s *sharer) (docs []document, problems []problem) {
	// The YAML libraries turn their own failures into errors, but a panic that
	// slips through them must cost this file only.
	defer func() {
		if p := recover(); p != nil {
			docs, problems = nil, []problem{deny(verdict.InvalidManifest, 0, "the YAML reader failed on this file: %v", p)}
		}
	}()
	if p := checkBytes(raw, l); p != nil {
		return nil, []problem{*p}
	}
	nodes, simple, p := structure(raw)
	if p != nil {
		return nil, []problem{*p}
	}
	for _, n := range nodes {
		problems = append(problems, checkNode(n, l)...)
	}
	if len(problems) > 0 {
		return nil, problems // decoding comes after the check for bombs
	}
	if simple {
		if values, ok := simpleValues(nodes, s); ok {
			for i, n := range nodes {
				if values[i] != nil {
					docs = append(docs, document{index: i, node: n, value: values[i]})
				}
			}
			return docs, nil
		}
	}
	return decodeDocuments(raw, nodes, s)
}

// structure reads every document into nodes. It is simple where readers cannot but
// agree on what is a document, a key and a value.
func structure(raw []byte) (nodes []*yamlv3.Node, simple bool, p *problem) {
	if nodes, simple = blockyaml.Nodes(raw); simple {
		return nodes, true, nil
	}
	nodes, p = readNodes(raw)
	return nodes, blockyaml.SimpleText(raw) && untagged(raw), p
}

// decodeDocuments takes the values of documents from the second reader.
func decodeDocuments(raw []byte, nodes []*yamlv3.Node, s *sharer) (docs []document, problems []problem) {
	values, err := readValues(raw)
	if err != nil {
		return nil, []problem{syntaxProblem(err)}
	}
	if len(values) != len(nodes) {
		return nil, []problem{deny(verdict.AmbiguousManifest, 1,
			"YAML readers do not agree on the documents in this file (%d or %d); separate documents by a line that holds only ---", len(values), len(nodes))}
	}
	for i, n := range nodes {
		v, err := jsonValue(values[i])
		if err != nil {
			problems = append(problems, deny(verdict.AmbiguousManifest, n.Line, "document %d: %v", i+1, err))
			continue
		}
		if v == nil {
			continue
		}
		docs = append(docs, document{index: i, node: n, value: s.decoded(v)})
	}
	return docs, problems
}

// checkBytes refuses what is not plain UTF-8 and what would take too much memory
// to parse.
func checkBytes(raw []byte, l Limits) *problem {
	refuse := func(p problem) *problem { return &p }
	switch {
	case len(raw) > l.FileBytes:
		return refuse(deny(verdict.LimitExceeded, 0, "file has %d bytes, the limit is %d; split it", len(raw), l.FileBytes))
	case bytes.HasPrefix(raw, []byte("\xef\xbb\xbf")):
		return refuse(deny(verdict.InvalidManifest, 1, "file starts with a byte order mark; save it as UTF-8 without BOM"))
	case bytes.HasPrefix(raw, []byte("\xff\xfe")), bytes.HasPrefix(raw, []byte("\xfe\xff")):
		return refuse(deny(verdict.InvalidManifest, 1, "file is UTF-16 or UTF-32; save it as UTF-8"))
	case bytes.IndexByte(raw, 0) >= 0:
		return refuse(deny(verdict.InvalidManifest, lineAt(raw, bytes.IndexByte(raw, 0)), "file holds a NUL byte; save it as UTF-8 text"))
	case !utf8.Valid(raw):
		return refuse(deny(verdict.InvalidManifest, lineAt(raw, invalidAt(raw)), "file is not valid UTF-8; save it as UTF-8"))
	}
	if at := oddSeparator(raw); at >= 0 {
		return refuse(deny(verdict.AmbiguousManifest, lineAt(raw, at),
			"a line that starts with --- must hold nothing else; some readers drop the rest of it"))
	}
	// Each value needs one of these bytes before or after it, so this bounds what
	// the parser allocates without parsing.
	count := 1
	for _, b := range raw {
		switch b {
		case '\n', '\r', ',', ':', '[', '{', '-', '?':
			count++
		}
	}
	if count/2 > l.Nodes {
		return refuse(deny(verdict.LimitExceeded, 0, "file may hold more than %d values; split it", l.Nodes))
	}
	return nil
}

// oddSeparator finds a document separator with more on its line, or returns -1:
// kubectl cuts there before it parses, and YAML readers do not. A comment may follow
// after a space.
func oddSeparator(raw []byte) int {
	for at := 0; ; {
		if bytes.HasPrefix(raw[at:], []byte("---")) {
			rest := raw[at+len("---"):]
			text := bytes.TrimLeft(rest, " \t")
			comment := len(text) < len(rest) && bytes.HasPrefix(text, []byte("#"))
			if len(text) > 0 && !comment && text[0] != '\r' && text[0] != '\n' {
				return at
			}
		}
		next := bytes.Index(raw[at:], []byte("\n---"))
		if next < 0 {
			return -1
		}
		at += next + 1
	}
}

func lineAt(raw []byte, offset int) int { return 1 + bytes.Count(raw[:offset], []byte("\n")) }

func invalidAt(raw []byte) int {
	for i := 0; i < len(raw); {
		r, n := utf8.DecodeRune(raw[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(raw)
}

// readNodes parses every document into nodes. An empty document is a null node.
func readNodes(raw []byte) ([]*yamlv3.Node, *problem) {
	var out []*yamlv3.Node
	dec := yamlv3.NewDecoder(bytes.NewReader(raw))
	for {
		var doc yamlv3.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			p := syntaxProblem(err)
			return nil, &p
		}
		if doc.Kind != yamlv3.DocumentNode || len(doc.Content) != 1 {
			p := deny(verdict.InvalidManifest, doc.Line, "document cannot be read")
			return nil, &p
		}
		out = append(out, doc.Content[0])
	}
}

// readValues decodes every document as yaml.v2 does.
func readValues(raw []byte) ([]any, error) {
	var out []any
	dec := yamlv2.NewDecoder(bytes.NewReader(raw))
	for {
		var v any
		err := dec.Decode(&v)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
}

var yamlErrorLine = regexp.MustCompile(`^(?:yaml: )?(?:unmarshal errors:\s*)?line (\d+): `)

// syntaxProblem takes the line out of an error of the YAML libraries.
func syntaxProblem(err error) problem {
	msg := err.Error()
	line := 0
	if m := yamlErrorLine.FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1])
		msg = msg[len(m[0]):]
	}
	return deny(verdict.InvalidManifest, line, "not valid YAML: %s", msg)
}
