package schema

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Bounds of what is read and said.
const (
	// MaxProblems bounds the problems of one object. The last one says so if more were
	// left out.
	MaxProblems = 50
	// maxDepth bounds how deep values are nested.
	maxDepth = 256
	// maxWord bounds what a message quotes, and maxMessage a message, in bytes.
	maxWord    = 64
	maxMessage = 600
)

// The words below are those of the API server: of strict decoding for unknown
// fields, of field errors for the rest.

func required(at string) Problem {
	return Problem{Field: clean(at), Message: clean(at) + ": Required value"}
}

func unknown(at string) Problem {
	at = clean(at)
	return Problem{Field: at, Message: fmt.Sprintf("unknown field %q", at), Unknown: true}
}

func mistyped(at string, v any, want string) Problem {
	at = clean(at)
	return Problem{Field: at, Message: fmt.Sprintf("%s: Invalid value: %q: must be %s", at, typeName(v), want)}
}

// typeName is the name that JSON Schema has for the type of a value.
func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "string"
	case bool:
		return "boolean"
	case int64, int:
		return "integer"
	case float64:
		return "number"
	case map[string]any:
		return "object"
	case []any:
		return "array"
	}
	return "unknown"
}

// describe shows a number or a boolean, and only the type of anything else, which
// may be secret.
func describe(v any) string {
	switch v := v.(type) {
	case bool, int64, int:
		return fmt.Sprint(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return strconv.Quote(typeName(v))
}

func short(s string) string {
	if len(s) <= maxWord {
		return s
	}
	return strings.ToValidUTF8(s[:maxWord], "") + "…"
}

// clean makes text of others fit to print: one line, bounded, no control
// characters.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "…"
	}
	return s
}
