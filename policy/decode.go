package policy

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
)

// maxDepth bounds how deep an object nests. Custom resource definitions, the
// deepest in use, nest some dozens.
const maxDepth = 200

// redacted stands in for every value of a Secret.
var redacted = ast.StringTerm("(redacted)")

// A decoder turns JSON into the values that Rego works on, in one pass, keeping
// what is read. It is stricter than encoding/json: duplicate keys, invalid
// UTF-8 and lone surrogates, which readers understand in different ways, are
// errors, also in the parts that it does not keep.
type decoder struct {
	src    string
	pos    int
	depth  int
	intern map[string]*ast.Term
	// secret replaces the values below data and stringData of the object, and
	// its last-applied annotation.
	secret bool
	// hasty steps over what is not kept without looking into it. Only for a source
	// that is decoded with care later.
	hasty bool
	slab  []ast.Term
	items [][2]*ast.Term
	elems []*ast.Term
	seen  []string
}

// decodeObject decodes one JSON object.
func (d *decoder) decodeObject(keep *readPaths) (*ast.Term, error) {
	t, err := d.value(keep)
	if err != nil {
		return nil, fmt.Errorf("byte %d: %w", d.pos, err)
	}
	if d.space(); d.pos != len(d.src) {
		return nil, fmt.Errorf("byte %d: data after the object", d.pos)
	}
	if _, ok := t.Value.(ast.Object); !ok {
		return nil, fmt.Errorf("the document is a JSON %s and not an object", ast.ValueName(t.Value))
	}
	return t, nil
}

func (d *decoder) term(v ast.Value) *ast.Term {
	if len(d.slab) == 0 {
		d.slab = make([]ast.Term, 64)
	}
	t := &d.slab[0]
	d.slab = d.slab[1:]
	t.Value = v
	return t
}

func (d *decoder) space() {
	if d.pos < len(d.src) && d.src[d.pos] > ' ' { // an API server writes no space
		return
	}
	d.spaces()
}

func (d *decoder) spaces() {
	for d.pos < len(d.src) {
		switch d.src[d.pos] {
		case ' ', '\t', '\n', '\r':
			d.pos++
		default:
			return
		}
	}
}

var errEnd = errors.New("the JSON ends early")

// value decodes the value at pos. With keep nil it is checked and dropped, and
// the term is nil.
func (d *decoder) value(keep *readPaths) (*ast.Term, error) {
	if d.space(); d.pos >= len(d.src) {
		return nil, errEnd
	}
	if d.hasty && keep == nil {
		return nil, d.step()
	}
	switch c := d.src[d.pos]; {
	case c == '{':
		return d.object(keep, false)
	case c == '[':
		return d.array(keep, false)
	case c == '"':
		s, err := d.str()
		if err != nil || keep == nil {
			return nil, err
		}
		return d.strTerm(s), nil
	case c == '-' || c >= '0' && c <= '9':
		return d.number(keep)
	}
	for _, lit := range literals {
		if len(d.src)-d.pos >= len(lit.text) && d.src[d.pos:d.pos+len(lit.text)] == lit.text {
			d.pos += len(lit.text)
			return lit.term, nil
		}
	}
	return nil, fmt.Errorf("unexpected character %q", d.src[d.pos])
}

// step goes to the end of a value by its brackets and quotes.
func (d *decoder) step() error {
	src, i, depth := d.src, d.pos, 0
	for ; i < len(src); i++ {
		switch src[i] {
		case '"':
			for i++; i < len(src) && src[i] != '"'; i++ {
				if src[i] == '\\' {
					i++
				}
			}
			if i >= len(src) {
				return errEnd
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 { // it closes what is around the value
				d.pos = i
				return nil
			}
		case ',':
			if depth == 0 {
				d.pos = i
				return nil
			}
		}
	}
	return errEnd
}

var literals = []struct {
	text string
	term *ast.Term
}{{"true", ast.InternedTerm(true)}, {"false", ast.InternedTerm(false)}, {"null", ast.InternedNullTerm}}

func (d *decoder) strTerm(s string) *ast.Term {
	if len(s) <= maxInterned {
		if t, ok := d.intern[s]; ok {
			return t
		}
	}
	return d.term(ast.String(s))
}

// enter opens an object or array and reports whether it is empty.
func (d *decoder) enter(closing byte) (empty bool, err error) {
	if d.depth++; d.depth > maxDepth {
		return false, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	d.pos++
	if d.space(); d.pos < len(d.src) && d.src[d.pos] == closing {
		d.pos++
		d.depth--
		return true, nil
	}
	return false, nil
}

// next reads the comma or the closing bracket.
func (d *decoder) next(closing byte) (done bool, err error) {
	if d.space(); d.pos >= len(d.src) {
		return false, errEnd
	}
	switch d.src[d.pos] {
	case ',':
		d.pos++
		return false, nil
	case closing:
		d.pos++
		d.depth--
		return true, nil
	}
	return false, fmt.Errorf("unexpected character %q, want a comma or %q", d.src[d.pos], closing)
}

// object decodes an object. hide replaces what is below by [redacted].
func (d *decoder) object(keep *readPaths, hide bool) (*ast.Term, error) {
	empty, err := d.enter('}')
	if err != nil {
		return nil, err
	}
	itemBase, seenBase := len(d.items), len(d.seen)
	for done := empty; !done; {
		if err := d.member(keep, hide, seenBase); err != nil {
			return nil, err
		}
		if done, err = d.next('}'); err != nil {
			return nil, err
		}
	}
	if err := unique(d.seen[seenBase:]); err != nil {
		return nil, err
	}
	d.seen = d.seen[:seenBase]
	items := d.items[itemBase:]
	d.items = d.items[:itemBase]
	if keep == nil {
		return nil, nil
	}
	return d.term(ast.NewObject(items...)), nil
}

func (d *decoder) member(keep *readPaths, hide bool, seenBase int) error {
	if d.space(); d.pos >= len(d.src) {
		return errEnd
	}
	if d.src[d.pos] != '"' {
		return fmt.Errorf("unexpected character %q, want a key", d.src[d.pos])
	}
	key, err := d.str()
	if err != nil {
		return err
	}
	if len(d.seen)-seenBase < manyKeys {
		for _, k := range d.seen[seenBase:] {
			if k == key {
				return duplicateKey(key)
			}
		}
	}
	d.seen = append(d.seen, key)
	if d.space(); d.pos >= len(d.src) || d.src[d.pos] != ':' {
		return fmt.Errorf("no colon after the key %q", clip(key, 64))
	}
	d.pos++
	child := keep.key(key)
	var t *ast.Term
	if hide || d.secret && (d.depth == 1 && (key == "data" || key == "stringData") || key == lastApplied) {
		t, err = d.hidden(child)
	} else {
		t, err = d.value(child)
	}
	if err != nil || child == nil {
		return err
	}
	d.items = append(d.items, [2]*ast.Term{d.strTerm(key), t})
	return nil
}

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// manyKeys is where looking for duplicates one by one stops paying.
const manyKeys = 16

func duplicateKey(key string) error { return fmt.Errorf("duplicate key %q", clip(key, 64)) }

// unique looks for duplicates in objects with many keys.
func unique(keys []string) error {
	if len(keys) <= manyKeys {
		return nil
	}
	set := make(map[string]struct{}, len(keys))
	for _, k := range keys {
		if _, dup := set[k]; dup {
			return duplicateKey(k)
		}
		set[k] = struct{}{}
	}
	return nil
}

// hidden decodes the shape of a value without its content.
func (d *decoder) hidden(keep *readPaths) (*ast.Term, error) {
	if d.space(); d.pos < len(d.src) {
		switch d.src[d.pos] {
		case '{':
			return d.object(keep, true)
		case '[':
			return d.array(keep, true)
		}
	}
	if _, err := d.value(nil); err != nil || keep == nil {
		return nil, err
	}
	return redacted, nil
}

func (d *decoder) array(keep *readPaths, hide bool) (*ast.Term, error) {
	empty, err := d.enter(']')
	if err != nil {
		return nil, err
	}
	base := len(d.elems)
	child := keep.element()
	for done := empty; !done; {
		var t *ast.Term
		if hide {
			t, err = d.hidden(child)
		} else {
			t, err = d.value(child)
		}
		if err != nil {
			return nil, err
		}
		if child != nil {
			d.elems = append(d.elems, t)
		}
		if done, err = d.next(']'); err != nil {
			return nil, err
		}
	}
	if keep == nil {
		return nil, nil
	}
	elems := append([]*ast.Term(nil), d.elems[base:]...)
	d.elems = d.elems[:base]
	return d.term(ast.NewArray(elems...)), nil
}

// clip cuts s to at most n bytes, at a rune.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
