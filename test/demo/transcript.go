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

func newTranscript(out *os.File) *transcript {
	return &transcript{out: out, colour: term.IsTerminal(int(out.Fd())) && os.Getenv("NO_COLOR") == ""}
}

func (t *transcript) paint(code, s string) string {
	if !t.colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (t *transcript) title(s string) {
	fmt.Fprintf(t.out, "\n%s\n", t.paint("1", fmt.Sprintf("%d. %s", t.step, s)))
	t.step++
}

func (t *transcript) line(format string, args ...any) {
	fmt.Fprintf(t.out, "   "+format+"\n", args...)
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
