package author

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"gitgate.dev/gitgate/policy/report"
	"gitgate.dev/gitgate/policy/verdict"
)

// LintFormats lists the formats of [LintReport.Write].
func LintFormats() []string { return report.Formats() }

// Write writes the report in a format of [LintFormats]. Formats other than text and
// json are those of a verdict, in which the names of rules are reasons, errors deny
// and warnings warn.
func (r LintReport) Write(w io.Writer, format, version string, s Style) error {
	switch format {
	case "text":
		out := bufio.NewWriter(w)
		r.text(out, s)
		return out.Flush()
	case "json":
		return WriteJSON(w, struct {
			Kind     string        `json:"kind"`
			Modules  int           `json:"modules"`
			Findings []LintFinding `json:"findings"`
		}{"PolicyLintReport", r.Modules, append([]LintFinding{}, r.Findings...)})
	}
	b := verdict.NewBuilder("", verdict.StagePolicy)
	b.Objects(r.Modules)
	found := make([]verdict.Finding, len(r.Findings))
	for i, f := range r.Findings {
		found[i] = verdict.Finding{Reason: verdict.Reason(f.Rule), Severity: verdict.Deny, Message: f.Message, File: f.File, Line: f.Line}
		if f.Severity == Warning {
			found[i].Severity = verdict.Warn
		}
	}
	b.Stage(verdict.StagePolicy, time.Now(), found...)
	return report.Write(w, format, report.Report{Verdicts: []report.Named{{Verdict: b.Verdict()}}, Version: version}, report.Options{})
}

// maxLintFindings is how many findings text shows; the summary counts them all.
const maxLintFindings = 1000

func (r LintReport) text(w io.Writer, s Style) {
	count := map[Severity]int{}
	told := map[string]bool{}
	for i, f := range r.Findings {
		if count[f.Severity]++; i >= maxLintFindings {
			continue
		}
		place := f.File
		if f.Line > 0 {
			place += fmt.Sprintf(":%d:%d", f.Line, f.Column)
		}
		color := map[Severity]string{Error: red, Warning: yellow}[f.Severity]
		fmt.Fprintf(w, "%s: %s %s: %s\n", shown(place), s.paint(color, string(f.Severity)), s.paint(bold, f.Rule), shown(f.Message))
		r.excerpt(w, f, s.paint(color, "^"))
		if i := slices.IndexFunc(LintRules(), func(l LintRule) bool { return l.Name == f.Rule }); i >= 0 && !told[f.Rule] {
			told[f.Rule] = true
			fmt.Fprintf(w, "      why: %s\n", LintRules()[i].Why)
		}
	}
	if n := len(r.Findings) - maxLintFindings; n > 0 {
		fmt.Fprintf(w, "not shown: %d more; -o json has them all\n", n)
	}
	fmt.Fprintf(w, "%s: %s, %s\n", counted(r.Modules, "module"), counted(count[Error], "error"), counted(count[Warning], "warning"))
}

// maxExcerpt bounds what is shown of a line.
const maxExcerpt = 160

// excerpt shows the line with a caret below its column, which counts characters or
// bytes as OPA does: bytes.
func (r LintReport) excerpt(w io.Writer, f LintFinding, caret string) {
	lines := r.lines[f.File]
	if f.Line < 1 || f.Line > len(lines) || strings.TrimSpace(lines[f.Line-1]) == "" {
		return
	}
	line := strings.TrimRight(lines[f.Line-1], "\r")
	before := line[:min(max(f.Column-1, 0), len(line))]
	if len(line) > maxExcerpt {
		if line = line[:maxExcerpt]; len(before) >= maxExcerpt {
			return // the caret would be where nothing is shown
		}
		line = strings.ToValidUTF8(line, "") + "…"
	}
	fmt.Fprintf(w, "%5d | %s\n", f.Line, shown(strings.ReplaceAll(line, "\t", "    ")))
	columns := utf8.RuneCountInString(strings.ReplaceAll(before, "\t", "    "))
	fmt.Fprintf(w, "%5s | %s%s\n", "", strings.Repeat(" ", columns), caret)
}
