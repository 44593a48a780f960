package blockyaml

import (
	"strings"
	"unicode/utf8"

	yamlv3 "go.yaml.in/yaml/v3"
)

// asciiOnly: the library counts columns in characters.
func asciiOnly(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// plain reads a plain scalar, with its further lines (YAML 1.2.2, section 7.3.3).
func (r *blockReader) plain(l *blockLine, text string, column, indent int) (*yamlv3.Node, bool) {
	if notPlain[text[0]] && (text[0] != '-' || len(text) == 1 || text[1] == ' ') {
		return nil, false
	}
	n := r.node(yamlv3.ScalarNode, l, column)
	value, comment, ok := plainLine(text)
	if !ok {
		return nil, false
	}
	r.at++
	for ; !comment; r.at++ {
		more, breaks := r.further(indent)
		if more == "" {
			break
		}
		if more[0] == '#' {
			return nil, false
		}
		if more, comment, ok = plainLine(more); !ok {
			return nil, false
		}
		value += fold(breaks) + more
	}
	n.Value = value
	return n, true
}

// notPlain are the indicators of YAML (YAML 1.2.2, section 5.3), and what begins merges
// and the like. A dash may begin text: "-x".
var notPlain = characters("-?:,[]{}#&*!|>'\"%@`=<")

// plainLine returns what a line of a plain scalar says before its comment.
func plainLine(text string) (value string, comment, ok bool) {
	if i := strings.Index(text, " #"); i >= 0 {
		text, comment = text[:i], true
	}
	text = strings.TrimRight(text, " ")
	return text, comment, text != "" && !strings.Contains(text, ": ") && text[len(text)-1] != ':'
}

// further goes to the next line of a scalar that is not empty, if there is one, and
// returns it with the number of breaks before it.
func (r *blockReader) further(indent int) (text string, breaks int) {
	for at := r.at; at < len(r.lines); at++ {
		breaks++
		if line := &r.lines[at]; line.text != "" {
			if line.indent <= indent {
				return "", 0
			}
			r.at = at
			return line.text, breaks
		}
	}
	return "", 0
}

// fold returns what so many breaks between the lines of a scalar stand for (YAML
// 1.2.2, section 6.5).
func fold(breaks int) string {
	if breaks == 1 {
		return " "
	}
	return strings.Repeat("\n", breaks-1)
}

// quoted reads a quoted scalar without a backslash, with its further lines.
func (r *blockReader) quoted(l *blockLine, text string, column, indent int) (*yamlv3.Node, bool) {
	value, rest, style, ok := quotedText(text)
	if ok && !blank(rest) {
		return nil, false
	}
	if !ok && style == 0 {
		return nil, false
	}
	r.at++
	if !ok {
		if value, ok = r.quotedLines(text, indent); !ok {
			return nil, false
		}
	}
	n := r.node(yamlv3.ScalarNode, l, column)
	n.Value, n.Style, n.Tag = value, style, "!!str"
	return n, true
}

// quotedLines reads a quoted scalar whose first line is text.
func (r *blockReader) quotedLines(text string, indent int) (string, bool) {
	quote := text[:1]
	all := strings.TrimRight(text, " ")
	for {
		more, breaks := r.further(indent)
		if more == "" {
			return "", false
		}
		r.at++
		if all == quote && breaks == 1 {
			return "", false // a break next to a quote, of which libraries differ
		}
		all += fold(breaks) + more
		value, rest, _, ok := quotedText(all)
		if ok {
			return value, blank(rest)
		}
		if strings.Contains(all, "\\") {
			return "", false
		}
		all = strings.TrimRight(all, " ")
	}
}

// quotedText takes a quoted scalar that is no key off the front of text. Where there is
// no end the style is that of what begins; where there is an escape with a backslash
// there is no style.
func quotedText(text string) (value, rest string, style yamlv3.Style, ok bool) {
	if text[0] == '"' {
		end := strings.IndexByte(text[1:], '"')
		if end < 0 {
			return "", "", yamlv3.DoubleQuotedStyle, false
		}
		value, rest = text[1:1+end], text[2+end:]
		if strings.IndexByte(value, '\\') >= 0 {
			return "", "", 0, false
		}
		return value, rest, yamlv3.DoubleQuotedStyle, true
	}
	for end := 1; ; end += 2 {
		i := strings.IndexByte(text[end:], '\'')
		if i < 0 {
			return "", "", yamlv3.SingleQuotedStyle, false
		}
		if end += i; !strings.HasPrefix(text[end+1:], "'") {
			return strings.ReplaceAll(text[1:end], "''", "'"), text[end+1:], yamlv3.SingleQuotedStyle, true
		}
	}
}

// flow reads a collection in brackets that ends with its line.
func (r *blockReader) flow(l *blockLine, text string, column int) (n *yamlv3.Node, rest string, ok bool) {
	if r.depth++; r.depth > blockDepth {
		return nil, "", false
	}
	defer func() { r.depth-- }()
	n = r.node(yamlv3.SequenceNode, l, column)
	n.Style, n.Tag = yamlv3.FlowStyle, "!!seq"
	end := "]"
	if text[0] == '{' {
		n.Kind, n.Tag, end = yamlv3.MappingNode, "!!map", "}"
	}
	if rest = strings.TrimLeft(text[1:], " "); strings.HasPrefix(rest, end) {
		return n, rest[1:], true
	}
	for {
		at := column + len(text) - len(rest)
		if n.Kind == yamlv3.MappingNode {
			var key *yamlv3.Node
			if key, rest, ok = r.flowScalar(l, rest, at); !ok || !strings.HasPrefix(rest, ": ") || len(key.Value) > blockKey {
				return nil, "", false
			}
			n.Content = append(n.Content, key)
			rest = strings.TrimLeft(rest[2:], " ")
			at = column + len(text) - len(rest)
		}
		var item *yamlv3.Node
		if item, rest, ok = r.flowItem(l, rest, at); !ok {
			return nil, "", false
		}
		n.Content = append(n.Content, item)
		rest = strings.TrimLeft(rest, " ")
		if left, last := strings.CutPrefix(rest, end); last {
			return n, left, true
		}
		if rest, ok = strings.CutPrefix(rest, ","); !ok {
			return nil, "", false
		}
		rest = strings.TrimLeft(rest, " ")
	}
}

func (r *blockReader) flowItem(l *blockLine, text string, column int) (*yamlv3.Node, string, bool) {
	if text != "" && (text[0] == '[' || text[0] == '{') {
		return r.flow(l, text, column)
	}
	return r.flowScalar(l, text, column)
}

func (r *blockReader) flowScalar(l *blockLine, text string, column int) (*yamlv3.Node, string, bool) {
	if text == "" {
		return nil, "", false
	}
	n := r.node(yamlv3.ScalarNode, l, column)
	if text[0] == '"' || text[0] == '\'' {
		value, rest, style, ok := quotedText(text)
		n.Value, n.Style, n.Tag = value, style, "!!str"
		return n, rest, ok && asciiOnly(value)
	}
	end := 0
	for end < len(text) && keyCharacter[text[end]] {
		end++
	}
	n.Value = text[:end]
	return n, text[end:], end > 0 && text[0] != '-'
}

// literal reads a literal block scalar (YAML 1.2.2, section 8.1.2) whose indentation
// its first line tells.
func (r *blockReader) literal(l *blockLine, header string, column, indent int) (*yamlv3.Node, bool) {
	rest, strip := strings.CutPrefix(header[1:], "-")
	if !blank(rest) {
		return nil, false
	}
	n := r.node(yamlv3.ScalarNode, l, column)
	n.Style, n.Tag = yamlv3.LiteralStyle, "!!str"
	r.at++
	inner, breaks := 0, 0
	var value strings.Builder
	for ; r.at < len(r.lines); r.at++ {
		line := &r.lines[r.at]
		if line.text == "" {
			if line.indent > max(inner, indent+1) || inner == 0 && line.indent > 0 {
				return nil, false // spaces that may count
			}
			breaks++
			continue
		}
		if line.indent <= indent {
			break
		}
		if inner == 0 {
			inner = line.indent
		}
		if line.indent < inner {
			return nil, false
		}
		value.WriteString(strings.Repeat("\n", breaks))
		value.WriteString(strings.Repeat(" ", line.indent-inner))
		value.WriteString(line.text)
		breaks = 1
	}
	if inner == 0 {
		return nil, false
	}
	if !strip {
		value.WriteByte('\n')
	}
	n.Value = value.String()
	return n, true
}
