package report

import (
	"embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	"gitgate.dev/gitgate/policy/verdict"
)

// An Explanation tells what a reason means. Its texts are Markdown.
type Explanation struct {
	Reason verdict.Reason
	// Stages are the stages that give the reason, in the order in which they run.
	Stages []verdict.Stage
	// Title says in a few words what was found.
	Title string
	// Meaning says what was found, and when.
	Meaning string
	// Why says which attack or outage the refusal prevents.
	Why string
	// Next is one line: what to do first. Commands stand in backticks.
	Next string
	// Fix says what to do, with commands or YAML.
	Fix string
}

//go:embed reasons/*.md
var reasonFiles embed.FS

// Explain tells what a reason means, or false if it is no reason of gitgate's.
func Explain(r verdict.Reason) (Explanation, bool) {
	e, ok := catalogue().byReason[r]
	return e, ok
}

// Reasons lists the reasons that [Explain] knows, by stage.
func Reasons() []verdict.Reason { return slices.Clone(catalogue().order) }

type explanations struct {
	byReason map[verdict.Reason]Explanation
	order    []verdict.Reason
}

// catalogue reads the embedded files. They are part of the program, so that what
// is wrong in them is found by the tests.
var catalogue = sync.OnceValue(func() explanations {
	all := explanations{byReason: map[verdict.Reason]Explanation{}}
	for _, stage := range verdict.Stages() {
		data, err := reasonFiles.ReadFile("reasons/" + string(stage) + ".md")
		if err != nil {
			continue
		}
		list, _ := parseReasons(string(data)) // see TestCatalogue
		for _, e := range list {
			if _, ok := all.byReason[e.Reason]; !ok {
				all.order = append(all.order, e.Reason)
			}
			all.byReason[e.Reason] = e
		}
	}
	return all
})

// parseReasons reads a file of the catalogue. Each reason is a section:
//
//	## Reason: title
//
//	Stages: the stages that give it, separated by commas.
//
//	Meaning: what was found.
//
//	Why: what the refusal prevents.
//
//	Next: what to do first, in one line.
//
//	Fix: what to do; all further paragraphs belong to it.
func parseReasons(text string) ([]Explanation, error) {
	var out []Explanation
	for i, section := range strings.Split(text, "\n## ") {
		if i == 0 {
			continue // the heading of the file
		}
		head, body, _ := strings.Cut(section, "\n")
		reason, title, ok := strings.Cut(head, ": ")
		if !ok {
			return out, fmt.Errorf("section %q: want a reason, a colon and a title", head)
		}
		e := Explanation{Reason: verdict.Reason(reason), Title: title}
		if err := e.read(body); err != nil {
			return out, fmt.Errorf("%s: %w", reason, err)
		}
		out = append(out, e)
	}
	return out, nil
}

// read fills in the paragraphs of a section, which come in a fixed order.
func (e *Explanation) read(body string) error {
	var stages string
	for _, part := range []struct {
		label string
		to    *string
	}{{"Stages", &stages}, {"Meaning", &e.Meaning}, {"Why", &e.Why}, {"Next", &e.Next}, {"Fix", &e.Fix}} {
		body = strings.TrimSpace(body)
		rest, ok := strings.CutPrefix(body, part.label+": ")
		if !ok {
			return fmt.Errorf("want %q at %q", part.label+":", clip(body, 40))
		}
		paragraph, after, _ := strings.Cut(rest, "\n\n")
		if part.label == "Fix" {
			paragraph, after = strings.TrimSpace(rest), ""
		}
		if body = after; part.label != "Fix" {
			paragraph = strings.Join(strings.Fields(paragraph), " ")
		}
		*part.to = paragraph
	}
	for name := range strings.SplitSeq(stages, ",") {
		stage := verdict.Stage(strings.TrimSpace(name))
		if !slices.Contains(verdict.Stages(), stage) {
			return fmt.Errorf("no stage is called %q", stage)
		}
		e.Stages = append(e.Stages, stage)
	}
	return nil
}
