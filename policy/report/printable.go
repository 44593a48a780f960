package report

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// commandMarks are how the logs of Azure Pipelines, GitHub Actions and TeamCity
// mark an order, some of them wherever in a line it stands.
var commandMarks = regexp.MustCompile(`(?i)##(vso|teamcity)?\[`)

// Printable makes a string safe to print in one line of a terminal or of a CI
// system's log. Control characters, and characters that are invisible or reorder
// text (Unicode's categories Cc, Cf, Zl and Zp, and noncharacters at the ends of
// planes), become a question mark, line breaks and tabs a space. Bytes that are not UTF-8 become U+FFFD. The marks that
// CI systems take for commands, ##[, ##vso[ and ##teamcity[, are broken by a space.
//
// GitHub Actions also obeys lines that begin with two colons; whoever begins a
// line with hostile text has to see to that.
func Printable(s string) string {
	s = strings.Map(func(c rune) rune {
		switch {
		case c == '\n' || c == '\r' || c == '\t':
			return ' '
		case hidden(c):
			return '?'
		}
		return c
	}, s)
	return commandMarks.ReplaceAllStringFunc(s, func(m string) string { return strings.TrimSuffix(m, "[") + " [" })
}

// hidden reports whether a character cannot be seen, or changes how others are.
func hidden(c rune) bool {
	return c < ' ' || c >= 0x7f && (unicode.In(c, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) || c&0xfffe == 0xfffe)
}

// clip shortens s to at most n bytes, the ellipsis included.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:max(n, 0)] + "…"
}

// shown is what a person gets to see of a string: clipped and printable. The
// first cut keeps the work small whatever s is.
func shown(s string, n int) string { return clip(Printable(clip(s, 4*n)), n) }

// Bounds of what a finding may fill in formats for people.
const (
	maxMessage = 2000
	maxName    = 300
)
