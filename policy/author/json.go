package author

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
)

// WriteJSON writes a value as JSON in one line. What a terminal or the log of a CI
// system would act on is written as escapes; the value stays the same.
func WriteJSON(w io.Writer, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, c := range strings.ReplaceAll(string(raw), "##", `#\u0023`) { // stands in strings only
		if c >= 0x7f && unicode.In(c, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			for _, u := range utf16.Encode([]rune{c}) {
				fmt.Fprintf(&b, `\u%04x`, u)
			}
			continue
		}
		b.WriteRune(c)
	}
	b.WriteByte('\n')
	_, err = io.WriteString(w, b.String())
	return err
}
