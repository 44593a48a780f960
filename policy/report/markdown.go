package report

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policy/verdict"
)

// MarkdownMarker is the first line of markdown. CI finds its comment by it, to
// write it anew instead of adding another.
const MarkdownMarker = "<!-- gitgate check -->"

// maxMarkdown bounds markdown in bytes; GitHub refuses comments above 65,536
// characters.
const maxMarkdown = 60_000

// markdownReserve is kept for closing tags and for saying what was cut.
const markdownReserve = 600

// A markdownWriter gathers a comment piece by piece until it is full.
type markdownWriter struct {
	strings.Builder
	excerpts excerpts
	hinted   map[verdict.Reason]bool
}

// add writes a piece if it fits while leaving spare bytes, and reports whether it
// did.
func (m *markdownWriter) add(piece string, spare int) bool {
	if m.Len()+len(piece) > maxMarkdown-markdownReserve-spare {
		return false
	}
	m.WriteString(piece)
	return true
}

// writeMarkdown writes a comment for a pull request: the outcome, what is refused
// by file, what would change, and the rest folded away. All that comes from the
// repository stands in code spans and blocks, unless it is plain words, so that it
// can be no markup, link, mention or command of the forge.
func writeMarkdown(o *output, r Report) {
	m := &markdownWriter{excerpts: excerpts{files: r.Files}, hinted: map[verdict.Reason]bool{}}
	m.WriteString(MarkdownMarker + "\n")
	m.head(r)
	entries, left := r.worst(maxTextFindings)
	blocking := entries
	if i := slices.IndexFunc(entries, func(e entry) bool { return !e.Severity.Blocks() }); i >= 0 {
		blocking = entries[:i]
	}
	// Warnings and changes are to be seen too, however much is denied.
	cut := m.findings(blocking, r, maxMarkdown/2)
	changesCut := m.changes(r.Changes, maxMarkdown/6)
	if rest := entries[len(blocking):]; len(rest) > 0 && m.add("<details><summary>Warnings and information</summary>\n\n", 0) {
		cut += m.findings(rest, r, 0)
		m.WriteString("</details>\n\n")
	}
	if cut += left.total(); cut > 0 {
		fmt.Fprintf(m, "%s not shown here. ", plural(cut, "finding"))
	}
	if changesCut > 0 {
		fmt.Fprintf(m, "%s not shown here. ", plural(changesCut, "change"))
	}
	if cut+changesCut > 0 {
		m.WriteString("The job's log and its other reports have them.\n")
	}
	o.WriteString(strings.TrimRight(m.String(), "\n ") + "\n")
}

// head writes the outcome and, of several verdicts, a table.
func (m *markdownWriter) head(r Report) {
	mark := map[outcome]string{allowed: "✅", denied: "❌", undetermined: "⚠️"}[outcomeOf(r)]
	fmt.Fprintf(m, "### %s gitgate: %s\n\n%s", mark, outcomeOf(r), r.counts())
	if len(r.Changes) > 0 {
		fmt.Fprintf(m, "; %s: %s", plural(len(r.Changes), "change"), r.changeCounts())
	}
	m.WriteString("\n\n")
	if len(r.Verdicts) == 1 && r.Verdicts[0].Name == "" && len(undecided(r.Verdicts[0].Verdict)) == 0 {
		return
	}
	m.WriteString("| GitSync | outcome | objects | findings | not decided |\n|---|---|---|---|---|\n")
	for i, n := range r.judgements() {
		var c counts
		c.add(n.findings())
		row := fmt.Sprintf("| %s | %s | %d | %s | %s |\n", cell(code(n.title(), 100)), outcomeOf(n.Verdict), n.Verdict.Objects, c,
			cell(words(clip(strings.Join(undecided(n.Verdict), "; "), maxName))))
		if !m.add(row, maxMarkdown*3/4) {
			fmt.Fprintf(m, "| %d more | | | | |\n", len(r.Verdicts)-i)
			break
		}
	}
	m.WriteString("\n")
}

// findings writes findings grouped by file, leaving spare bytes, and says how many
// did not fit.
func (m *markdownWriter) findings(entries []entry, r Report, spare int) (cut int) {
	byFile := map[string][]entry{}
	var files []string
	for _, e := range entries {
		if _, ok := byFile[e.File]; !ok {
			files = append(files, e.File)
		}
		byFile[e.File] = append(byFile[e.File], e)
	}
	for _, file := range files {
		head := "**" + code(file, maxName) + "**\n\n"
		if file == "" {
			head = "**In no file**\n\n"
		}
		for _, e := range byFile[file] {
			hinted := m.hinted[e.Reason]
			if m.add(head+m.finding(e, r), spare) {
				head = ""
				continue
			}
			m.hinted[e.Reason] = hinted // it was not said
			cut++
		}
		if head == "" {
			m.add("\n", 0)
		}
	}
	return cut
}

// finding renders one item of a list.
func (m *markdownWriter) finding(e entry, r Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "- %s **%s**", words(string(e.Severity)), code(string(e.Reason), 100))
	if e.File != "" && e.Line > 0 {
		fmt.Fprintf(&b, " %s", code(fmt.Sprintf("%s:%d", clip(e.File, maxName), e.Line), maxName+20))
	}
	fmt.Fprintf(&b, ": %s\n", words(e.Message))
	var lines []string
	if name := r.judgements()[e.of].Name; name != "" {
		lines = append(lines, "GitSync "+code(name, maxName))
	}
	for _, d := range details(e.Finding) {
		label, value, _ := strings.Cut(d, " ")
		lines = append(lines, label+" "+code(value, maxName))
	}
	x := m.excerpts.of(e.Finding)
	switch {
	case len(lines) == 1 && x == nil:
		b.WriteString("  (" + lines[0] + ")\n")
	case len(lines) > 0 || x != nil:
		b.WriteString("  <details><summary>Details</summary>\n\n")
		for _, l := range lines {
			b.WriteString("  - " + l + "\n")
		}
		if x != nil {
			b.WriteString("\n" + x.fenced("  "))
		}
		b.WriteString("\n  </details>\n")
	}
	if hint := next(e.Reason); hint != "" && !m.hinted[e.Reason] {
		m.hinted[e.Reason] = true
		b.WriteString("\n  Next: " + hint + "\n")
	}
	return b.String()
}

// fenced is the excerpt as a block of code. Its lines begin with numbers, so that
// none of them can close the fence.
func (x *excerpt) fenced(indent string) string {
	var b strings.Builder
	b.WriteString(indent + "```text\n")
	for i, line := range x.lines {
		fmt.Fprintf(&b, "%s%5d | %s\n", indent, x.first+i, line)
		if i == x.marked {
			fmt.Fprintf(&b, "%s%5s | %s%s\n", indent, "", strings.Repeat(" ", x.column), strings.Repeat("^", x.width))
		}
	}
	b.WriteString(indent + "```\n")
	return b.String()
}

// changes writes the table of changes, deletions first, folded away, leaving spare
// bytes. It says how many did not fit.
func (m *markdownWriter) changes(changes []Change, spare int) (cut int) {
	if len(changes) == 0 || !m.add("<details><summary>"+plural(len(changes), "change")+"</summary>\n\n| action | object | file |\n|---|---|---|\n", spare) {
		return len(changes)
	}
	order := []string{Delete, Create, Update}
	sorted := slices.Clone(changes)
	slices.SortStableFunc(sorted, func(a, b Change) int { return slices.Index(order, a.Action) - slices.Index(order, b.Action) })
	for i, c := range sorted {
		where := clip(c.File, maxName)
		if c.Line > 0 {
			where = fmt.Sprintf("%s:%d", where, c.Line)
		}
		if !m.add(fmt.Sprintf("| %s | %s | %s |\n", cell(words(c.Action)), cell(code(c.Object, maxName)), cell(code(where, maxName+20))), spare) {
			cut = len(sorted) - i
			break
		}
	}
	m.WriteString("\n</details>\n\n")
	return cut
}

// cell keeps a text from ending the cell of a table. How a backslash before a bar
// is read depends on the reader, so bars become a sign that looks the same.
func cell(s string) string { return strings.ReplaceAll(s, "|", "∣") }

// code is a string as a code span.
func code(s string, n int) string {
	s = strings.TrimSpace(shown(s, n))
	if s == "" {
		return ""
	}
	fence := strings.Repeat("`", longestRun(s, '`')+1)
	if s[0] == '`' || s[len(s)-1] == '`' {
		s = " " + s + " "
	}
	return fence + s + fence
}

// longestRun is how often c follows itself in s at most.
func longestRun(s string, c rune) int {
	longest, run := 0, 0
	for _, d := range s {
		if d != c {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}

// plainWord matches words that no forge gives a meaning.
var plainWord = regexp.MustCompile(`^["'(]*\p{L}+(['’-]\p{L}+)*[)"']*[.,;:?]?$|^\d{1,4}[.,;:]?$`)

// words writes a text with whatever is no plain word in code spans.
func words(s string) string {
	var out, coded []string
	flush := func() {
		if len(coded) > 0 {
			out = append(out, code(strings.Join(coded, " "), maxMessage))
			coded = nil
		}
	}
	for word := range strings.FieldsSeq(shown(s, maxMessage)) {
		if plainWord.MatchString(word) {
			flush()
			out = append(out, word)
		} else {
			coded = append(coded, word)
		}
	}
	flush()
	return strings.Join(out, " ")
}
