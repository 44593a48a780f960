package doctor

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// clean makes text that others wrote fit for a terminal: what does not print, and
// would move the cursor or hide a line, is escaped.
func clean(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	return strconv.Quote(s)
}

// count says a number of things: no GitSync, 1 GitSync, 2 GitSyncs.
func count(n int, one string) string {
	switch n {
	case 0:
		return "no " + one
	case 1:
		return "1 " + one
	}
	if stem, ok := strings.CutSuffix(one, "y"); ok {
		return fmt.Sprintf("%d %sies", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, one)
}
