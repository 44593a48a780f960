package measure

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// Print writes a report: as JSON when the format is "json", and else the Markdown
// of it.
func Print(out io.Writer, format string, report any, markdown string) error {
	if format == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(report)
	}
	_, err := io.WriteString(out, markdown)
	return err
}

// A Table is what a benchmark found.
type Table struct {
	Benchmark string // as its markers call it
	Report    any    // what JSON shows
	Markdown  string
	Missed    []string // goals
}

// Publish prints a table in a format, puts it into the Markdown file write unless that is
// empty, and with check fails when a goal was missed.
func (t Table) Publish(out io.Writer, format, write string, check bool) error {
	if err := Print(out, format, t.Report, t.Markdown); err != nil {
		return err
	}
	return t.Record(write, check)
}

// Record is [Table.Publish] of a table that was printed already.
func (t Table) Record(write string, check bool) error {
	if write != "" {
		if err := ReplaceIn(write, t.Benchmark, t.Markdown); err != nil {
			return err
		}
	}
	if check && len(t.Missed) > 0 {
		return fmt.Errorf("goals missed: %s", strings.Join(t.Missed, "; "))
	}
	return nil
}

// Markers are the lines around what a benchmark puts into a Markdown file.
func Markers(benchmark string) (begin, end string) {
	return "<!-- " + benchmark + ":begin -->\n", "<!-- " + benchmark + ":end -->\n"
}

// ReplaceIn puts text between a benchmark's markers in a Markdown file. A file
// without them is left as it is, and an error.
func ReplaceIn(path, benchmark, text string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := Markers(benchmark)
	head, rest, begun := strings.Cut(string(data), begin)
	_, foot, ended := strings.Cut(rest, end)
	if !begun || !ended {
		return fmt.Errorf("%s has no lines %q and %q", path, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(path, []byte(head+begin+text+end+foot), 0o644)
}

// Verdict is the last cell of a row: whether its goal was met. It is empty
// without a goal, and nil means that it is not known.
func Verdict(goal string, met *bool) string {
	switch {
	case goal == "":
		return ""
	case met == nil:
		return "not known"
	case *met:
		return "met"
	}
	return "**missed**"
}
