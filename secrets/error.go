package secrets

import (
	"fmt"
	"strconv"
	"strings"
)

// A Reason is a stable code for what is wrong with a secret. Reasons are API:
// add to them, never rename one.
type Reason string

// The reasons of an [Error].
const (
	// PlaintextSecret is a Secret with a value that is not ciphertext.
	PlaintextSecret Reason = "PlaintextSecret"
	// SecretUndecryptable is a file that the given keys do not open, or whose
	// SOPS metadata is unusable.
	SecretUndecryptable Reason = "SecretUndecryptable"
	// SecretIntegrity is ciphertext or a MAC that was changed, moved or left out.
	SecretIntegrity Reason = "SecretIntegrity"
	// RecipientMissing is a recipient that the creation rule asks for and the
	// file lacks.
	RecipientMissing Reason = "RecipientMissing"
	// RecipientStale is a recipient of the file that the creation rule does not
	// name, or not any more.
	RecipientStale Reason = "RecipientStale"
	// KeyServiceDenied is a file or key that would need a key service, a plugin or
	// another program.
	KeyServiceDenied Reason = "KeyServiceDenied"
	// InvalidManifest is a file, key or rule that cannot be read as what it claims
	// to be, or is over a limit.
	InvalidManifest Reason = "InvalidManifest"
)

// An Error says what is wrong, where, and what to do. It never holds a plaintext
// or a key, and it wraps nothing, for the errors of libraries quote their input.
type Error struct {
	Reason Reason
	// Path is the file, or the name of the entry among the keys.
	Path string
	// Line is the 1-based line in Path; 0 is unknown.
	Line int
	// Field is the path of the field at fault, as in stringData.password.
	Field string
	// Message is one line.
	Message string
}

// Error renders the error as one line: place, field, message and reason.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(printable(e.Path))
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Field != "" {
		b.WriteString(": " + e.Field)
	}
	fmt.Fprintf(&b, ": %s (%s)", e.Message, e.Reason)
	return b.String()
}

func problem(r Reason, path, format string, args ...any) *Error {
	return &Error{Reason: r, Path: path, Message: fmt.Sprintf(format, args...)}
}

// maxPrinted bounds how much of a name that others chose gets into a message.
const maxPrinted = 120

// printable makes a name that others chose fit for one line of text.
func printable(s string) string {
	s = shortened(s)
	if q := strconv.Quote(s); q[1:len(q)-1] != s {
		return strconv.QuoteToGraphic(s)
	}
	return s
}

func shortened(s string) string {
	if len(s) > maxPrinted {
		return strings.ToValidUTF8(s[:maxPrinted], "") + "…"
	}
	return s
}

// fieldName renders a path of map keys (string) and list indices (int) as in
// spec.list[0].data["tls.crt"].
func fieldName(path []any) string {
	var b strings.Builder
	for _, step := range path {
		switch s := step.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", s)
		case string:
			switch {
			case !plainKey(s):
				fmt.Fprintf(&b, "[%s]", strconv.QuoteToGraphic(shortened(s)))
			case b.Len() > 0:
				b.WriteString("." + s)
			default:
				b.WriteString(s)
			}
		}
	}
	return b.String()
}

func plainKey(s string) bool {
	ok := func(r rune) bool {
		return r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	return s != "" && len(s) <= maxPrinted && !strings.ContainsFunc(s, func(r rune) bool { return !ok(r) })
}
