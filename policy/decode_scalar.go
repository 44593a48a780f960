package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
)

// number decodes as an API server does: an integer that fits 64 bits stays
// exact, everything else is a float64.
func (d *decoder) number(keep *readPaths) (*ast.Term, error) {
	start := d.pos
	for d.pos < len(d.src) && numberByte(d.src[d.pos]) {
		d.pos++
	}
	lit := d.src[start:d.pos]
	if t := ast.InternedIntNumberTermFromString(lit); t != nil {
		return t, nil
	}
	if !json.Valid([]byte(lit)) {
		return nil, fmt.Errorf("%q is not a number", clip(lit, 64))
	}
	n, err := strconv.ParseInt(lit, 10, 64)
	if err == nil {
		if keep == nil {
			return nil, nil
		}
		return d.term(ast.Number(strconv.FormatInt(n, 10))), nil
	}
	f, err := strconv.ParseFloat(lit, 64)
	if err != nil {
		return nil, fmt.Errorf("the number %q is out of range", clip(lit, 64))
	}
	if keep == nil {
		return nil, nil
	}
	return d.term(ast.Number(formatFloat(f))), nil
}

// formatFloat writes a float64 as encoding/json does, and thus as it is applied.
func formatFloat(f float64) string {
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

func numberByte(c byte) bool {
	return c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'
}

// plain tells the bytes that stand for themselves in a string.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// str decodes the string at pos. Without escapes it shares the source.
func (d *decoder) str() (string, error) {
	start, ascii := d.pos+1, true
	src, i := d.src, d.pos+1
	for {
		for i < len(src) && plain[src[i]] {
			i++
		}
		d.pos = i
		if i >= len(src) {
			return "", errEnd
		}
		switch c := src[i]; {
		case c == '"':
			d.pos++
			if !ascii && !utf8.ValidString(src[start:i]) {
				return "", errors.New("a string is not UTF-8")
			}
			return src[start:i], nil
		case c == '\\':
			return d.escaped(start)
		case c < ' ':
			return "", fmt.Errorf("control character %q in a string", c)
		}
		ascii = false
		i++
	}
}

// escaped goes on with a string at its first backslash.
func (d *decoder) escaped(start int) (string, error) {
	out := []byte(d.src[start:d.pos])
	for d.pos < len(d.src) {
		c := d.src[d.pos]
		d.pos++
		switch {
		case c == '"':
			if !utf8.Valid(out) {
				return "", errors.New("a string is not UTF-8")
			}
			return string(out), nil
		case c < ' ':
			return "", fmt.Errorf("control character %q in a string", c)
		case c != '\\':
			out = append(out, c)
			continue
		}
		if d.pos >= len(d.src) {
			break
		}
		e := d.src[d.pos]
		d.pos++
		if r, ok := escapes[e]; ok {
			out = append(out, r)
			continue
		}
		if e != 'u' {
			return "", fmt.Errorf("unknown escape \\%c in a string", e)
		}
		r, err := d.unicode()
		if err != nil {
			return "", err
		}
		out = utf8.AppendRune(out, r)
	}
	return "", errEnd
}

var escapes = map[byte]byte{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

// unicode reads the four digits after \u, and the second half of a pair.
func (d *decoder) unicode() (rune, error) {
	r, err := d.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if len(d.src)-d.pos >= 2 && d.src[d.pos] == '\\' && d.src[d.pos+1] == 'u' {
		d.pos += 2
		low, err := d.hex4()
		if err != nil {
			return 0, err
		}
		if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
			return r, nil
		}
	}
	return 0, errors.New("half a surrogate pair in a string")
}

func (d *decoder) hex4() (rune, error) {
	if len(d.src)-d.pos < 4 {
		return 0, errEnd
	}
	n, err := strconv.ParseUint(d.src[d.pos:d.pos+4], 16, 16)
	if err != nil {
		return 0, errors.New("\\u without four hexadecimal digits in a string")
	}
	d.pos += 4
	return rune(n), nil
}
