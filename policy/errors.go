package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// maxProblems bounds what one LoadError lists.
const maxProblems = 200

// A Problem is one thing that keeps policies from loading.
type Problem struct {
	// Set names the policy set.
	Set string
	// File is the module, Line and Column are 1-based; 0 is unknown.
	File         string
	Line, Column int
	// Message says what is wrong and what to do.
	Message string
}

// String renders the problem as file:line:column: set: message, without the parts that
// are unknown.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
		}
		b.WriteString(": ")
	}
	if p.Set != "" {
		fmt.Fprintf(&b, "policy set %q: ", p.Set)
	}
	b.WriteString(p.Message)
	return b.String()
}

// A LoadError lists everything that keeps policies from loading.
type LoadError struct{ Problems []Problem }

// Error lists one problem a line.
func (e *LoadError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// problems collects what is wrong while loading.
type problems struct {
	list []Problem
	more int
}

func (ps *problems) add(p Problem) {
	p.Message = oneLine(p.Message, 4<<10)
	if len(ps.list) >= maxProblems {
		ps.more++
		return
	}
	ps.list = append(ps.list, p)
}

// addAll adds those that were collected elsewhere.
func (ps *problems) addAll(others *problems) {
	for _, p := range others.list {
		ps.add(p)
	}
	ps.more += others.more
}

// addRego adds the errors of OPA's parser and compiler, each with its place.
func (ps *problems) addRego(set string, err error) {
	var many ast.Errors
	var one *ast.Error
	switch {
	case errors.As(err, &many):
	case errors.As(err, &one):
		many = ast.Errors{one}
	default:
		ps.add(Problem{Set: set, Message: err.Error()})
		return
	}
	for _, e := range many {
		p := Problem{Set: set, Message: explain(e)}
		if message, at, ok := explainRef(e); ok {
			ps.addAt(set, at, message)
			continue
		}
		if e.Location != nil {
			p.File, p.Line, p.Column = e.Location.File, max(e.Location.Row, 1), max(e.Location.Col, 1)
		}
		ps.add(p)
	}
}

func (ps *problems) addAt(set string, loc *ast.Location, message string) {
	p := Problem{Set: set, Message: message}
	if loc != nil {
		p.File, p.Line, p.Column = loc.File, loc.Row, loc.Col
	}
	ps.add(p)
}

func (ps *problems) err() error {
	if len(ps.list) == 0 {
		return nil
	}
	slices.SortStableFunc(ps.list, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.Set, b.Set), strings.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), strings.Compare(a.Message, b.Message))
	})
	ps.list = slices.Compact(ps.list)
	if ps.more > 0 {
		ps.list = append(ps.list, Problem{Message: fmt.Sprintf("%d more problems are not shown", ps.more)})
	}
	return &LoadError{Problems: ps.list}
}

// explain rewrites a message of the compiler where we know what to do about it.
func explain(e *ast.Error) string {
	name, ok := strings.CutPrefix(e.Message, "undefined function ")
	if !ok {
		return e.Message
	}
	if name == "external_data" {
		return "built-in external_data is not available to policies: " + whyForbidden("http.send")
	}
	if _, known := ast.BuiltinMap[name]; !known {
		return e.Message + ": no rule or built-in has this name"
	}
	return fmt.Sprintf("built-in %s is not available to policies: %s", name, whyForbidden(name))
}

func tooMany(what string, n, limit int) string {
	return fmt.Sprintf("%d %s are more than the limit of %d", n, what, limit)
}
