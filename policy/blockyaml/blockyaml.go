// Package blockyaml reads the small part of YAML in which nearly all manifests are
// written: mappings and lists by indentation, with plain, quoted and literal scalars. A
// library that knows all of YAML takes ten times as long to read that as the bytes call
// for.
package blockyaml

import (
	"bytes"
	"strings"
	"unicode/utf8"

	yamlv3 "go.yaml.in/yaml/v3"
)

// A blockReader declines a file at the first thing that it has not seen to the end.
type blockReader struct {
	lines []blockLine
	at    int // the line at hand
	slab  []yamlv3.Node
	depth int
}

// A blockLine is a line without its indentation and what trails it. Entries of lists
// are taken off its front as they are read.
type blockLine struct {
	text   string // from the first character that is no space, to the break
	indent int    // characters before text
	number int    // 1-based
}

const (
	// blockDepth is deeper than any limit allows manifests to be without the library.
	blockDepth = 128
	// blockKey is shorter than what the library takes for a key (1024 characters).
	blockKey = 256
)

// Nodes reads the documents of a file, each a mapping or a list, or returns false: the
// library is to read the file then. What is read becomes the very nodes that the library
// would make, comments aside, and there is no error in it that the library would find.
func Nodes(raw []byte) (docs []*yamlv3.Node, ok bool) {
	if len(raw) == 0 || raw[len(raw)-1] != '\n' || !SimpleText(raw) {
		return nil, false
	}
	r := blockReader{lines: splitBlockLines(string(raw))}
	for begun := false; ; begun = true {
		r.skip()
		switch line, more := r.line(); {
		case !more:
			// Nothing after the last mark is one more document, an empty one.
			return docs, len(docs) > 0
		case strings.HasPrefix(line.text, "---") && line.indent == 0:
			if !blank(line.text[3:]) {
				return nil, false
			}
			r.at++
			r.skip()
		case begun:
			return nil, false
		}
		line, more := r.line()
		if !more || line.indent > 0 || strings.HasPrefix(line.text, "---") {
			return nil, false
		}
		n, ok := r.collection(line)
		if !ok {
			return nil, false
		}
		docs = append(docs, n)
	}
}

// SimpleText reports whether the bytes themselves are beyond dispute: no directives,
// no ends of documents without a beginning, no break but \n and no tab, which readers
// treat in ways of their own, and nothing that does not print (YAML 1.2.2, section 5.1).
func SimpleText(raw []byte) bool {
	return !bytes.ContainsFunc(raw, notSimple) &&
		!bytes.HasPrefix(raw, []byte("%")) && !bytes.Contains(raw, []byte("\n%")) &&
		!bytes.HasPrefix(raw, []byte("...")) && !bytes.Contains(raw, []byte("\n..."))
}

func notSimple(r rune) bool {
	switch {
	case r < utf8.RuneSelf:
		return r < ' ' && r != '\n' || r == 0x7f
	case r == 0x2028, r == 0x2029, r == 0xfeff: // more breaks, and a mark of the order of bytes
		return true
	}
	return r < 0xa0 || r >= 0xd800 && r < 0xe000 || r == utf8.RuneError || r == 0xfffe || r == 0xffff
}

func splitBlockLines(text string) []blockLine {
	lines := make([]blockLine, 0, strings.Count(text, "\n"))
	for number := 1; text != ""; number++ {
		line, rest, _ := strings.Cut(text, "\n")
		text = rest
		trimmed := strings.TrimLeft(line, " ")
		lines = append(lines, blockLine{text: trimmed, indent: len(line) - len(trimmed), number: number})
	}
	return lines
}

// blank reports whether what follows a value is nothing but a comment.
func blank(rest string) bool {
	trimmed := strings.TrimLeft(rest, " ")
	return trimmed == "" || trimmed[0] == '#' && len(trimmed) < len(rest)
}

// skip goes to the next line with content.
func (r *blockReader) skip() {
	for r.at < len(r.lines) && (r.lines[r.at].text == "" || r.lines[r.at].text[0] == '#') {
		r.at++
	}
}

func (r *blockReader) line() (*blockLine, bool) {
	if r.at < len(r.lines) {
		return &r.lines[r.at], true
	}
	return nil, false
}

func (r *blockReader) node(kind yamlv3.Kind, l *blockLine, column int) *yamlv3.Node {
	if len(r.slab) == 0 {
		r.slab = make([]yamlv3.Node, 64)
	}
	n := &r.slab[0]
	r.slab = r.slab[1:]
	n.Kind, n.Line, n.Column = kind, l.number, column
	return n
}

func isEntry(text string) bool { return text == "-" || strings.HasPrefix(text, "- ") }

// collection reads the mapping or list that begins with the line at hand.
func (r *blockReader) collection(l *blockLine) (*yamlv3.Node, bool) {
	if r.depth++; r.depth > blockDepth {
		return nil, false
	}
	defer func() { r.depth-- }()
	if isEntry(l.text) {
		return r.list(l)
	}
	return r.mapping(l)
}

func (r *blockReader) mapping(l *blockLine) (*yamlv3.Node, bool) {
	n := r.node(yamlv3.MappingNode, l, l.indent+1)
	n.Tag = "!!map"
	for indent := l.indent; ; {
		key, rest, ok := r.key(l)
		if !ok {
			return nil, false
		}
		value, ok := r.value(l, rest, indent, true)
		if !ok {
			return nil, false
		}
		n.Content = append(n.Content, key, value)
		if l, ok = r.line(); !ok || l.indent != indent || isEntry(l.text) || l.indent == 0 && strings.HasPrefix(l.text, "---") {
			return n, true
		}
	}
}

// key reads the key of a line; rest is what follows its colon.
func (r *blockReader) key(l *blockLine) (key *yamlv3.Node, rest string, ok bool) {
	text, style := l.text, yamlv3.Style(0)
	var name string
	switch text[0] {
	case '"', '\'':
		if name, rest, style, ok = quotedText(text); !ok || !asciiOnly(name) {
			return nil, "", false
		}
	default:
		end := 0
		for end < len(text) && keyCharacter[text[end]] {
			end++
		}
		name, rest = text[:end], text[end:]
		if name == "" || name[0] == '-' {
			return nil, "", false
		}
	}
	rest = strings.TrimLeft(rest, " ")
	if len(name) > blockKey || rest == "" || rest[0] != ':' || len(rest) > 1 && rest[1] != ' ' {
		return nil, "", false
	}
	key = r.node(yamlv3.ScalarNode, l, l.indent+1)
	key.Value, key.Style = name, style
	if style != 0 {
		key.Tag = "!!str"
	}
	return key, rest[1:], true
}

var keyCharacter = characters("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-")

func characters(s string) (set [256]bool) {
	for i := range len(s) {
		set[s[i]] = true
	}
	return set
}

func (r *blockReader) list(l *blockLine) (*yamlv3.Node, bool) {
	n := r.node(yamlv3.SequenceNode, l, l.indent+1)
	n.Tag = "!!seq"
	for indent := l.indent; ; {
		item, ok := r.item(l, indent)
		if !ok {
			return nil, false
		}
		n.Content = append(n.Content, item)
		if l, ok = r.line(); !ok || l.indent != indent || !isEntry(l.text) {
			return n, true
		}
	}
}

// item reads one entry of a list: what stands behind its dash is the first line of
// what it holds, indented by the dash.
func (r *blockReader) item(l *blockLine, indent int) (*yamlv3.Node, bool) {
	rest := l.text[1:]
	if blank(rest) {
		return r.value(l, rest, indent, false)
	}
	content := strings.TrimLeft(rest, " ")
	inner := blockLine{text: content, indent: indent + len(l.text) - len(content), number: l.number}
	if isEntry(content) {
		*l = inner
		return r.collection(l)
	}
	if _, _, ok := r.key(&inner); ok {
		*l = inner
		return r.collection(l)
	}
	return r.value(l, rest, indent, false)
}

// value reads what follows a colon or a dash: rest of its line, or the lines below
// that are indented by more than indent. Below a colon a list need not be.
func (r *blockReader) value(l *blockLine, rest string, indent int, colon bool) (*yamlv3.Node, bool) {
	after := l.indent + len(l.text) - len(rest) // characters before rest
	if blank(rest) {
		r.at++
		r.skip()
		next, more := r.line()
		if more && (next.indent > indent || colon && next.indent == indent && isEntry(next.text)) {
			return r.collection(next)
		}
		n := r.node(yamlv3.ScalarNode, l, after+1)
		n.Tag = "!!null"
		return n, true
	}
	text := strings.TrimLeft(rest, " ")
	column := after + len(rest) - len(text) + 1
	if !asciiOnly(l.text[:len(l.text)-len(text)]) {
		return nil, false
	}
	var n *yamlv3.Node
	var ok bool
	switch text[0] {
	case '|':
		n, ok = r.literal(l, text, column, indent)
	case '"', '\'':
		n, ok = r.quoted(l, text, column, indent)
	case '[', '{':
		var left string
		n, left, ok = r.flow(l, text, column)
		ok = ok && blank(left)
		r.at++
	default:
		n, ok = r.plain(l, text, column, indent)
	}
	if !ok {
		return nil, false
	}
	r.skip()
	next, more := r.line()
	// More text would belong to the value: an error for the library to tell.
	return n, !more || next.indent <= indent
}
