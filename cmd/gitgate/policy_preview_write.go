package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"gitgate.dev/gitgate/policy/author"
	"gitgate.dev/gitgate/policy/report"
)

// A previewResult is what differs.
type previewResult struct {
	Kind string       `json:"kind"` // PolicyPreview
	Sets []previewSet `json:"sets"`
	// SameSets are the PolicySets that stay as they are; they judged nothing.
	SameSets int `json:"sameSets"`
	// Judged counts objects; Unchanged those of which both sides say the same.
	Judged    int            `json:"judged"`
	Unchanged int            `json:"unchanged"`
	Counts    previewCounts  `json:"counts"`
	By        string         `json:"by"`
	Groups    []previewGroup `json:"groups"`
	// Changes are the differences, by group; Omitted counts those that were too many.
	Changes []previewChange `json:"changes"`
	Omitted int             `json:"omitted,omitempty"`
	// Problems are what could not be looked at.
	Problems []previewProblem `json:"problems,omitempty"`
}

// previewCounts count objects, each once for each difference.
type previewCounts struct {
	Denied       int `json:"newlyDenied"`
	Undetermined int `json:"newlyUndetermined"`
	Excepted     int `json:"excepted"`
	Allowed      int `json:"newlyAllowed"`
	Warned       int `json:"newlyWarned"`
	Cleared      int `json:"notWarnedAnyMore"`
	Message      int `json:"anotherMessage"`
}

// numbers are in the order of previewOrder.
func (c *previewCounts) numbers() []*int {
	return []*int{&c.Denied, &c.Undetermined, &c.Excepted, &c.Allowed, &c.Warned, &c.Cleared, &c.Message}
}

func (c *previewCounts) add(change string) { *c.numbers()[slices.Index(previewOrder, change)]++ }

// String names what there is.
func (c *previewCounts) String() string {
	var out []string
	for i, n := range c.numbers() {
		if *n > 0 || i == 0 {
			out = append(out, fmt.Sprintf("%d %s", *n, previewOrder[i]))
		}
	}
	return strings.Join(out, ", ")
}

type previewGroup struct {
	Name string `json:"name"`
	previewCounts
}

// A previewChange is what becomes of what a rule says of an object.
type previewChange struct {
	Change    string `json:"change"`
	Object    string `json:"object"`
	Rule      string `json:"rule"`
	Owner     string `json:"owner"`
	Namespace string `json:"namespace"`
	GitSync   string `json:"gitSync,omitempty"`
	// Was and Is are severities; empty where the rule says nothing.
	Was      string   `json:"was,omitempty"`
	Is       string   `json:"is,omitempty"`
	File     string   `json:"file,omitempty"`
	Line     int      `json:"line,omitempty"`
	From     string   `json:"from,omitempty"` // a commit or a line of a log; empty is the cluster
	Commit   string   `json:"commit,omitempty"`
	Messages []string `json:"messages"`
	// AlsoBefore says that another rule refuses the object already.
	AlsoBefore bool `json:"alsoBefore,omitempty"`
	// Times counts how often it was found, as in several commits.
	Times int `json:"times"`

	group string
}

type previewProblem struct {
	Message string `json:"message"`
	Times   int    `json:"times"`
}

// finish puts everything in order.
func (p *previewer) finish() *previewResult {
	r := &p.result
	for name, counts := range p.groups {
		r.Groups = append(r.Groups, previewGroup{name, *counts})
	}
	slices.SortFunc(r.Groups, func(a, b previewGroup) int {
		return cmp.Or(cmp.Compare(b.Denied, a.Denied), cmp.Compare(b.Undetermined, a.Undetermined), strings.Compare(a.Name, b.Name))
	})
	slices.SortStableFunc(r.Changes, func(a, b previewChange) int {
		return cmp.Or(
			cmp.Compare(slices.Index(previewOrder, a.Change), slices.Index(previewOrder, b.Change)),
			strings.Compare(a.group, b.group), strings.Compare(a.Object, b.Object), strings.Compare(a.Rule, b.Rule))
	})
	slices.SortStableFunc(r.Problems, func(a, b previewProblem) int { return strings.Compare(a.Message, b.Message) })
	r.Changes, r.Groups = append([]previewChange{}, r.Changes...), append([]previewGroup{}, r.Groups...) // none is a list too
	return r
}

func (r *previewResult) write(w io.Writer, o *policyPreview) error {
	if o.output == "json" {
		return author.WriteJSON(w, r)
	}
	shown := slices.DeleteFunc(slices.Clone(r.Changes), func(c previewChange) bool { return c.Change == previewMessage && !o.messages })
	left := r.Omitted
	if o.limit > 0 && len(shown) > o.limit {
		left += len(shown) - o.limit
		shown = shown[:o.limit]
	}
	if o.output == "markdown" {
		return r.markdown(w, shown, left)
	}
	return r.text(w, shown, left)
}

// compared says which sets differ.
func (r *previewResult) compared() string {
	var sets []string
	for _, s := range r.Sets {
		sets = append(sets, fmt.Sprintf("%s (%s)", s.Name, s.Change))
	}
	out := "compared: " + strings.Join(sets, ", ")
	if r.SameSets > 0 {
		out += fmt.Sprintf("; %d more stay as they are", r.SameSets)
	}
	return out
}

func (r *previewResult) summary() string {
	return fmt.Sprintf("%d objects judged: %s, %d unchanged", r.Judged, r.Counts.String(), r.Unchanged)
}

func (r *previewResult) text(w io.Writer, shown []previewChange, left int) error {
	fmt.Fprintln(w, report.Printable(r.compared()))
	if len(r.Groups) > 0 {
		fmt.Fprintln(w)
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintf(table, "%s\tDENIED\tUNDETERMINED\tEXCEPTED\tALLOWED\tWARNED\tCLEARED\tMESSAGE\n", strings.ToUpper(r.By))
		for _, g := range r.Groups {
			fmt.Fprint(table, report.Printable(g.Name))
			for _, n := range g.numbers() {
				fmt.Fprintf(table, "\t%d", *n)
			}
			fmt.Fprintln(table)
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	last := ""
	for _, c := range shown {
		if head := fmt.Sprintf("%s, %s", c.Change, c.group); head != last {
			fmt.Fprintf(w, "\n%s:\n", report.Printable(head))
			last = head
		}
		fmt.Fprintf(w, "  %s\n", report.Printable(c.where()+" ["+c.Rule+"]"+c.remark()))
		for _, m := range c.Messages {
			fmt.Fprintf(w, "      %s\n", report.Printable(m))
		}
	}
	fmt.Fprintln(w)
	for _, p := range r.Problems {
		fmt.Fprintf(w, "not looked at: %s\n", report.Printable(p.text()))
	}
	if left > 0 {
		fmt.Fprintf(w, "%d more differences are not shown: use --limit 0 or -o json\n", left)
	}
	_, err := fmt.Fprintln(w, r.summary())
	return err
}

// where is the best place to look at.
func (c *previewChange) where() string {
	if c.File == "" {
		return c.Object
	}
	if c.Line == 0 {
		return c.File + ": " + c.Object
	}
	return fmt.Sprintf("%s:%d: %s", c.File, c.Line, c.Object)
}

func (c *previewChange) remark() string {
	var out []string
	if c.From != "" {
		out = append(out, c.From)
	}
	if c.Times > 1 {
		out = append(out, fmt.Sprintf("%d times", c.Times))
	}
	if c.AlsoBefore {
		out = append(out, "refused already by other rules")
	}
	if len(out) == 0 {
		return ""
	}
	return " (" + strings.Join(out, ", ") + ")"
}

func (p previewProblem) text() string {
	if p.Times > 1 {
		return fmt.Sprintf("%s (%d times)", p.Message, p.Times)
	}
	return p.Message
}

// maxPreviewMarkdown bounds Markdown in bytes: GitHub refuses comments above 65,536
// characters.
const maxPreviewMarkdown = 60_000

// markdown writes a comment for a pull request. What comes from objects and rules stands
// in code spans, where it is no markup, mention or link.
func (r *previewResult) markdown(w io.Writer, shown []previewChange, left int) error {
	var b strings.Builder
	mark := "✅"
	switch {
	case r.Counts.Denied > 0:
		mark = "❌"
	case r.Counts.Undetermined > 0 || len(r.Problems) > 0:
		mark = "⚠️"
	}
	fmt.Fprintf(&b, "### %s gitgate policy preview\n\n%s\n\n%s\n", mark, codeSpan(r.compared()), codeSpan(r.summary()))
	if len(r.Groups) > 0 {
		fmt.Fprintf(&b, "\n| %s | denied | undetermined | excepted | allowed | warned | cleared | message |\n|---|---|---|---|---|---|---|---|\n", r.By)
	}
	for i, g := range r.Groups {
		if b.Len() > maxPreviewMarkdown/3 {
			fmt.Fprintf(&b, "| %d more | | | | | | | |\n", len(r.Groups)-i)
			break
		}
		fmt.Fprintf(&b, "| %s |", codeSpan(g.Name))
		for _, n := range g.numbers() {
			fmt.Fprintf(&b, " %d |", *n)
		}
		b.WriteByte('\n')
	}
	for i, p := range r.Problems {
		if i == 20 || b.Len() > maxPreviewMarkdown/2 {
			fmt.Fprintf(&b, "\nNot looked at: %d more\n", len(r.Problems)-i)
			break
		}
		fmt.Fprintf(&b, "\nNot looked at: %s\n", codeSpan(p.text()))
	}
	last := ""
	for i, c := range shown {
		var piece strings.Builder
		if c.Change != last {
			fmt.Fprintf(&piece, "\n#### %s\n\n| where | rule | what | |\n|---|---|---|---|\n", c.Change)
		}
		fmt.Fprintf(&piece, "| %s | %s | %s | %s |\n", codeSpan(c.where()), codeSpan(c.Rule), codeSpan(strings.Join(c.Messages, "; ")), codeSpan(strings.TrimSpace(c.group+c.remark())))
		if b.Len()+piece.Len() > maxPreviewMarkdown {
			left += len(shown) - i
			break
		}
		last = c.Change
		b.WriteString(piece.String())
	}
	if left > 0 {
		fmt.Fprintf(&b, "\n%d more differences are not shown here.\n", left)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// maxCodeSpan bounds one text in a table, in bytes.
const maxCodeSpan = 1000

// codeSpan is a text that stands in a cell of a table and is no markup.
func codeSpan(s string) string {
	if len(s) > maxCodeSpan {
		s = strings.ToValidUTF8(s[:maxCodeSpan], "") + "…"
	}
	s = strings.NewReplacer("`", "'", "|", `\|`).Replace(report.Printable(s))
	if strings.TrimSpace(s) == "" {
		return ""
	}
	return "`" + s + "`"
}
