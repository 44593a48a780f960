package report

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"unicode"

	"gitgate.dev/gitgate/policy/verdict"
)

// A Report is what one run of gitgate found. The zero Report is undetermined.
type Report struct {
	// Verdicts are what was judged, in the order in which they are shown.
	Verdicts []Named
	// Changes are what would be made of the cluster, in the order in which they are
	// shown.
	Changes []Change
	// Files is the repository at the revision that was judged, for excerpts. Nil
	// means that no excerpts are shown. Excerpts of Secrets never are. It must not
	// follow symbolic links; a tree of verify/commit does not.
	Files fs.FS
	// Version is gitgate's version; empty is left out.
	Version string
}

// A Named is the verdict over one GitSync.
type Named struct {
	// Name is namespace/name of the GitSync. Empty means that what was judged belongs
	// to none.
	Name    string
	Verdict verdict.Verdict
}

// The actions of a [Change].
const (
	Create = "create"
	Update = "update"
	Delete = "delete"
)

// A Change is what would become of one object.
type Change struct {
	// Object is namespace/Kind.group/name, as in [verdict.Finding].
	Object string `json:"object"`
	// Action is [Create], [Update] or [Delete].
	Action string `json:"action"`
	// File is the path in the repository and Line its 1-based line; 0 is unknown.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
}

// Options say how text is shown. Machine formats ignore them.
type Options struct {
	// Color marks severities by ANSI colours.
	Color bool
	// Width is the width of the terminal in columns, to which messages are wrapped.
	// Below 40 nothing is wrapped.
	Width int
}

// formats in the order in which help lists them.
var formats = []struct {
	name  string
	write func(*output, Report)
}{
	{"text", writeText},
	{"json", writeJSON},
	{"sarif", writeSARIF},
	{"junit", writeJUnit},
	{"github", writeGitHub},
	{"gitlab", writeGitLab},
	{"azure", writeAzure},
	{"markdown", writeMarkdown},
	{"tap", writeTAP},
}

// Formats lists the formats that [Write] knows.
func Formats() []string {
	var out []string
	for _, f := range formats {
		out = append(out, f.name)
	}
	return out
}

// Write writes the report in a format of [Formats]. It fails if there is no such
// format, or with w's error.
func Write(w io.Writer, format string, r Report, opts Options) error {
	for _, f := range formats {
		if f.name != format {
			continue
		}
		out := &output{Writer: bufio.NewWriterSize(w, 1<<16), Options: opts}
		f.write(out, r)
		return cmp.Or(out.err, out.Flush())
	}
	return fmt.Errorf("no output format %q: use one of %s", format, strings.Join(Formats(), ", "))
}

// An output is where a format goes. Errors of the writer below stick to it.
type output struct {
	*bufio.Writer
	Options
	err error // other than of the writer
}

// printf writes what a format says; bufio remembers the first error.
func (o *output) printf(format string, args ...any) {
	fmt.Fprintf(o.Writer, format, args...)
}

// line writes one line of text that holds no line break, and sees to it that
// GitHub Actions, which ignores space before, does not take it for an order.
func (o *output) line(s string) {
	if text := strings.TrimLeftFunc(s, unicode.IsSpace); strings.HasPrefix(text, "::") {
		s = s[:len(s)-len(text)] + ": " + text[1:]
	}
	o.WriteString(s)
	o.WriteByte('\n')
}

// Allowed reports whether all verdicts allow. Without a verdict nothing does.
func (r Report) Allowed() bool {
	return len(r.Verdicts) > 0 &&
		!slices.ContainsFunc(r.Verdicts, func(n Named) bool { return !n.Verdict.Allowed() })
}

// Undetermined reports whether the report denies only because something could
// not be decided.
func (r Report) Undetermined() bool {
	return !r.Allowed() &&
		!slices.ContainsFunc(r.Verdicts, func(n Named) bool { return outcomeOf(n.Verdict) == denied })
}

// An outcome is a verdict in one word.
type outcome string

const (
	allowed      outcome = "allowed"
	denied       outcome = "denied"
	undetermined outcome = "undetermined"
)

// judged is a [verdict.Verdict] or a [Report].
type judged interface {
	Allowed() bool
	Undetermined() bool
}

func outcomeOf(v judged) outcome {
	switch {
	case v.Allowed():
		return allowed
	case v.Undetermined():
		return undetermined
	}
	return denied
}
