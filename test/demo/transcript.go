package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// A transcript prints what happens, in colour on a terminal only.
type transcript struct {
	out    io.Writer
	colour bool
	step   int
}

func newTranscript(out io.Writer) *transcript {
	f, ok := out.(*os.File)
	return &transcript{out: out, colour: ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""}
}

func (t *transcript) paint(code, s string) string {
	if !t.colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (t *transcript) title(s string) {
	if t.step > 0 {
		s = fmt.Sprintf("%d. %s", t.step, s)
	}
	fmt.Fprintf(t.out, "\n%s\n", t.paint("1", s))
	t.step++
}

func (t *transcript) line(format string, args ...any) {
	fmt.Fprintf(t.out, "   "+format+"\n", args...)
}

// end prints the last line.
func (t *transcript) end(format string, args ...any) {
	fmt.Fprintf(t.out, "\n%s\n", t.paint("1", fmt.Sprintf(format, args...)))
}

// good and bad lines say what the gate answered.
func (t *transcript) good(format string, args ...any) {
	t.line("%s %s", t.paint("32", "✓"), fmt.Sprintf(format, args...))
}

func (t *transcript) bad(format string, args ...any) {
	t.line("%s %s", t.paint("31", "✗"), fmt.Sprintf(format, args...))
}

// progress indents what the set-up tells.
func (t *transcript) progress() io.Writer { return indenter{t} }

type indenter struct{ *transcript }

func (i indenter) Write(p []byte) (int, error) {
	for line := range strings.SplitSeq(strings.TrimRight(string(p), "\n"), "\n") {
		i.line("%s", i.paint("2", line))
	}
	return len(p), nil
}
