package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policy/verdict"
)

// maxTextFindings is how many findings text shows; the summary counts them all.
const maxTextFindings = 1000

// A textWriter writes a report for a terminal.
type textWriter struct {
	*output
	excerpts excerpts
	hinted   map[verdict.Reason]bool
}

func writeText(o *output, r Report) {
	t := &textWriter{output: o, excerpts: excerpts{files: r.Files}, hinted: map[verdict.Reason]bool{}}
	entries, left := r.worst(maxTextFindings)
	judgements := r.judgements()
	findings := make([][]verdict.Finding, len(judgements))
	for _, e := range entries {
		findings[e.of] = append(findings[e.of], e.Finding)
	}
	for i, n := range judgements {
		if len(findings[i]) == 0 {
			continue
		}
		if n.Name != "" {
			t.line(t.paint(bold, "GitSync "+n.title()))
			t.line("")
		}
		t.groups(findings[i])
	}
	if left.total() > 0 {
		t.line(fmt.Sprintf("not shown: %s; -o json has them all", left))
		t.line("")
	}
	t.summary(r)
}

// groups writes findings by the file that they are in, the worst file first.
func (t *textWriter) groups(findings []verdict.Finding) {
	byFile := map[string][]verdict.Finding{}
	var files []string
	for _, f := range findings {
		if _, ok := byFile[f.File]; !ok {
			files = append(files, f.File)
		}
		byFile[f.File] = append(byFile[f.File], f)
	}
	for _, file := range files {
		head := shown(file, maxName)
		if file == "" {
			head = "(in no file)"
		}
		t.line(t.paint(underlined, head))
		group := byFile[file]
		slices.SortStableFunc(group, func(a, b verdict.Finding) int { return cmp.Compare(a.Line, b.Line) })
		for _, f := range group {
			t.finding(f)
		}
		t.line("")
	}
}

const indent = "      "

func (t *textWriter) finding(f verdict.Finding) {
	e := t.excerpts.of(f)
	head := "  "
	if f.Line > 0 {
		head = fmt.Sprintf("  line %d: ", f.Line)
	}
	head += t.paint(severityColor(f.Severity), shown(string(f.Severity), maxName)) + " " +
		t.paint(bold, shown(string(f.Reason), maxName))
	t.line(head)
	t.wrapped(indent, shown(f.Message, maxMessage))
	if d := strings.Join(details(f), ", "); d != "" {
		t.wrapped(indent, d)
	}
	if e != nil {
		t.excerpt(*e, severityColor(f.Severity))
	}
	if x, ok := Explain(f.Reason); ok && !t.hinted[f.Reason] {
		t.hinted[f.Reason] = true
		t.wrapped(indent, "next: "+x.Next)
	}
}

// details lists what a finding names besides its place, printable.
func details(f verdict.Finding) []string {
	var out []string
	for _, d := range []struct{ label, value string }{
		{"object", f.Object}, {"field", f.Field}, {"policy", f.Policy},
		{"image", f.Image}, {"signer", f.Signer}, {"commit", f.Commit},
	} {
		if d.value != "" {
			out = append(out, d.label+" "+shown(d.value, maxName))
		}
	}
	return out
}

func (t *textWriter) excerpt(e excerpt, color string) {
	for i, line := range e.lines {
		t.line(strings.TrimRight(fmt.Sprintf("%s%5d | %s", indent, e.first+i, line), " "))
		if i == e.marked {
			t.line(fmt.Sprintf("%s%5s | %s%s", indent, "", strings.Repeat(" ", e.column), t.paint(color, strings.Repeat("^", e.width))))
		}
	}
}

// wrapped writes text in lines that fit into the width, each behind an indent.
func (t *textWriter) wrapped(indent, text string) {
	if t.Width < 40 {
		t.line(indent + text)
		return
	}
	line, width := indent, len(indent)
	for word := range strings.SplitSeq(text, " ") {
		n := columns(word)
		if width > len(indent) && width+1+n > t.Width {
			t.line(line)
			line, width = indent, len(indent)
		}
		if width > len(indent) {
			line, width = line+" ", width+1
		}
		line, width = line+word, width+n
	}
	t.line(line)
}

// summary says of each verdict, and of all, whether it allows and what was found.
func (t *textWriter) summary(r Report) {
	objects := 0
	for _, n := range r.judgements() {
		objects += n.Verdict.Objects
		t.line(t.headline(n))
		for _, u := range undecided(n.Verdict) {
			t.line("  " + u)
		}
	}
	if n := len(r.Verdicts); n > 1 {
		t.line(fmt.Sprintf("%s in all: %d verdicts, %s, %s", t.outcome(r), n, plural(objects, "object"), r.counts()))
	}
	if len(r.Changes) > 0 {
		t.line(plural(len(r.Changes), "change") + ": " + r.changeCounts())
	}
}

// headline is a verdict in one line.
func (o *output) headline(n Named) string {
	var c counts
	c.add(n.findings())
	s := o.outcome(n.Verdict)
	if n.Name != "" {
		s = n.title() + ": " + s
	}
	if n.Verdict.Revision != "" {
		s += " " + shown(n.Verdict.Revision, maxName)
	}
	return s + fmt.Sprintf(": %s, %s", plural(n.Verdict.Objects, "object"), c)
}

// undecided says what of a verdict could not be decided, in a line for each stage.
func undecided(v verdict.Verdict) []string {
	type key struct {
		stage  verdict.Stage
		reason verdict.Reason
	}
	n := map[key]int{}
	var order []key
	for _, f := range v.Findings {
		if f.Severity == verdict.Undetermined {
			k := key{f.Stage, f.Reason}
			if n[k]++; n[k] == 1 {
				order = append(order, k)
			}
		}
	}
	var out []string
	for _, k := range order[:min(len(order), 20)] {
		out = append(out, fmt.Sprintf("undetermined in stage %s: %s, %s",
			shown(string(k.stage), maxName), shown(string(k.reason), maxName), plural(n[k], "finding")))
	}
	if s := skipped(v); len(s) > 0 {
		out = append(out, "did not run: "+shown(strings.Join(s, ", "), maxName))
	}
	return out
}

// changeCounts says how many changes there are of each action.
func (r Report) changeCounts() string {
	n := map[string]int{}
	for _, c := range r.Changes {
		n[c.Action]++
	}
	var parts []string
	other := len(r.Changes)
	for _, a := range []string{Create, Update, Delete} {
		if n[a] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[a], a))
		}
		other -= n[a]
	}
	if other > 0 {
		parts = append(parts, fmt.Sprintf("%d other", other))
	}
	return strings.Join(parts, ", ")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// The ANSI attributes that text uses.
const (
	bold       = "1"
	underlined = "4"
	red        = "31"
	green      = "32"
	yellow     = "33"
	magenta    = "35"
	cyan       = "36"
)

func (o *output) paint(attribute, s string) string {
	if !o.Color {
		return s
	}
	return "\x1b[" + attribute + "m" + s + "\x1b[0m"
}

func severityColor(s verdict.Severity) string {
	return [...]string{red, magenta, yellow, cyan}[level(s)]
}

func (o *output) outcome(v judged) string {
	oc := outcomeOf(v)
	return o.paint(map[outcome]string{allowed: green, denied: red, undetermined: magenta}[oc], string(oc))
}
