package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// printJSON writes one object a line.
func printJSON(w io.Writer, report []outcome) error {
	enc := json.NewEncoder(w)
	for _, o := range report {
		if err := enc.Encode(o); err != nil {
			return err
		}
	}
	return nil
}

// printTable writes the table, and below it what is wrong. It is in colour on a
// terminal only.
func printTable(w io.Writer, report []outcome) error {
	lines := [][]string{{"id", "attack", "verdict", "tests", "result"}}
	failed, tests := 0, 0
	for _, o := range report {
		result := "pass"
		if !o.Passed {
			result, failed = "FAIL", failed+1
		}
		tests += o.Tests
		lines = append(lines, []string{o.ID, o.Attack, strings.Join(o.Verdicts, ", "), strconv.Itoa(o.Tests), result})
	}
	widths := make([]int, len(lines[0]))
	for _, cells := range lines {
		for i, c := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	b.WriteByte('\n')
	paint := painter(w)
	for _, cells := range lines {
		for i, c := range cells[:len(cells)-1] {
			fmt.Fprintf(&b, "%s%s  ", c, strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)))
		}
		b.WriteString(paint(cells[len(cells)-1]) + "\n")
	}
	b.WriteByte('\n')
	for _, o := range report {
		for _, p := range o.Problems {
			fmt.Fprintf(&b, "%s %s\n", o.ID, p)
		}
	}
	fmt.Fprintf(&b, "%d of %d attacks withstood, in %d tests\n", len(report)-failed, len(report), tests)
	_, err := io.WriteString(w, b.String())
	return err
}

// painter colours results on a terminal.
func painter(w io.Writer) func(string) string {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("NO_COLOR") != "" {
		return func(s string) string { return s }
	}
	return func(s string) string {
		switch s {
		case "pass":
			return "\x1b[32m" + s + "\x1b[0m"
		case "FAIL":
			return "\x1b[31m" + s + "\x1b[0m"
		}
		return s
	}
}
