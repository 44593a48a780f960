package author

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"gitgate.dev/gitgate/policy"
)

// maxExplained bounds the lines of one explanation, and maxEvents how much of a
// trace is looked at.
const (
	maxExplained = 60
	maxEvents    = 50_000
)

// Explain says how rules, named as [policy.Probe.Rules] names them, come to what
// they say of an object: for each result the expressions of its body and what their
// variables hold, and of the rules that it reads which hold and which do not. It
// gives the lines for each rule; a rule that is not asked has none. Values of
// Secrets are masked, as for every rule.
func Explain(ctx context.Context, e *policy.Engine, in policy.Input, rules []string) (map[string][]string, error) {
	p, err := e.Probe(in)
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for i, name := range p.Rules() {
		if !slices.Contains(rules, name) {
			continue
		}
		one, stop := context.WithCancel(ctx)
		t := &explainer{rule: name[strings.LastIndexByte(name, '/')+1:], stop: stop, entered: map[uint64]*ast.Rule{},
			held: map[string]bool{}, failed: map[string]bool{}, exprs: map[uint64][]string{}}
		err := p.Ask(one, i, t)
		stop()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		lines := t.lines()
		if err != nil && t.events <= maxEvents { // or it was stopped
			lines = append(lines, "fails: "+err.Error())
		}
		out[name] = lines
	}
	return out, nil
}

// An explainer listens to the evaluation of one rule.
type explainer struct {
	rule    string
	events  int
	stop    func()               // called when there were too many
	entered map[uint64]*ast.Rule // by query
	exprs   map[uint64][]string  // of each query, as far as it came
	results []string
	more    bool     // results that are not listed
	order   []string // of other rules, as they were met
	held    map[string]bool
	failed  map[string]bool
}

var _ topdown.QueryTracer = (*explainer)(nil)

// Enabled implements [topdown.QueryTracer].
func (x *explainer) Enabled() bool { return true }

// Config implements [topdown.QueryTracer].
func (x *explainer) Config() topdown.TraceConfig { return topdown.TraceConfig{PlugLocalVars: true} }

// TraceEvent implements [topdown.QueryTracer].
func (x *explainer) TraceEvent(e topdown.Event) {
	if x.events++; x.events > maxEvents {
		x.stop()
		return
	}
	switch n := e.Node.(type) {
	case *ast.Rule:
		x.ruleEvent(e, n)
	case *ast.Expr:
		if rule := x.entered[e.QueryID]; rule != nil && fullName(rule) == x.rule && e.Op == topdown.EvalOp && !n.Generated && e.Location != nil {
			text := fmt.Sprintf("%s:%d: %s", e.Location.File, e.Location.Row, sourceOf(n))
			if !slices.Contains(x.exprs[e.QueryID], text) {
				x.exprs[e.QueryID] = append(x.exprs[e.QueryID], text)
			}
		}
	}
}

func (x *explainer) ruleEvent(e topdown.Event, rule *ast.Rule) {
	name := fullName(rule)
	switch e.Op {
	case topdown.EnterOp:
		x.entered[e.QueryID] = rule
	case topdown.ExitOp:
		if name == x.rule && len(x.results) >= maxExplained {
			x.more = true
		} else if name == x.rule {
			x.results = append(x.results, fmt.Sprintf("%s:%d: %s holds", rule.Location.File, rule.Location.Row, x.rule))
			for _, expr := range x.exprs[e.QueryID] {
				x.results = append(x.results, "  "+expr)
			}
			x.results = append(x.results, localsOf(&e)...)
		}
	}
	if name == x.rule {
		return
	}
	at := fmt.Sprintf("%s:%d: %s", rule.Location.File, rule.Location.Row, name)
	if !x.held[at] && !x.failed[at] {
		x.order = append(x.order, at)
	}
	x.failed[at] = true
	x.held[at] = x.held[at] || e.Op == topdown.ExitOp
}

// lines are the explanation.
func (x *explainer) lines() []string {
	out := slices.Clone(x.results)
	for _, at := range x.order {
		if x.held[at] {
			out = append(out, at+" holds")
		} else {
			out = append(out, at+" does not hold")
		}
	}
	if len(out) > maxExplained || x.more {
		out = append(out[:min(len(out), maxExplained)], "… and more of the kind")
	}
	if x.events > maxEvents {
		out = append(out, fmt.Sprintf("… the evaluation took more than %d steps, of which the first are shown", maxEvents))
	}
	return out
}
