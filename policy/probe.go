package policy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Capabilities is what the compiler lets a policy use: what tools that look at
// policies have to compile them with. The caller may change it.
func Capabilities() *ast.Capabilities { return newCapabilities() }

// Speaks reports whether a rule of this name speaks to gitgate: deny, violation or
// warn, with or without a suffix.
func Speaks(rule string) bool { return entryName.MatchString(rule) }

// A Probe asks the rules of an engine one at a time about one object, without the
// answers that the engine remembers: to measure rules and to trace them. It says
// nothing of whether the object may pass; that is [Engine.Evaluate]'s. Make one
// with [Engine.Probe].
type Probe struct {
	rules []probed
}

type probed struct {
	set   *set
	entry *entry
	body  ast.Body
	input *ast.Term
}

// Probe decodes an object and finds the rules that are asked about it, in the
// order in which the engine asks them. It fails where the object cannot be judged.
func (e *Engine) Probe(in Input) (*Probe, error) {
	if !e.loaded {
		return nil, errors.New("no policies were loaded")
	}
	s, err := newSubject(in, e.opts, e.intern)
	if err != nil {
		return nil, err
	}
	kind := ""
	if s.object != "" {
		kind = s.headers[0].kind
	}
	p := &Probe{}
	for _, set := range e.sets {
		if yes, _ := set.selects(s); !yes {
			continue
		}
		items, err := s.document(set.reads, e.intern)
		if err != nil {
			return nil, fmt.Errorf("policy set %q: %w", set.name, err)
		}
		input := ast.ObjectTerm(append(view(set.format, s, items), [2]*ast.Term{parametersKey, set.parameters})...)
		plan := set.plan(kind)
		for i, entry := range plan.entries {
			p.rules = append(p.rules, probed{set, entry, plan.single[i], input})
		}
	}
	return p, nil
}

// Rules names the rules that are asked: set/package.rule.
func (p *Probe) Rules() []string {
	out := make([]string, len(p.rules))
	for i, r := range p.rules {
		out[i] = r.set.policyName(r.entry)
	}
	return out
}

// Ask evaluates rule i of [Probe.Rules], whatever it says, under the tracers. It
// fails with what keeps the rule from having a value, and when ctx ends.
func (p *Probe) Ask(ctx context.Context, i int, tracers ...topdown.QueryTracer) error {
	r := p.rules[i]
	txn, err := r.set.store.NewTransaction(ctx)
	if err != nil {
		return err
	}
	defer r.set.store.Abort(ctx, txn)
	cancel := topdown.NewCancel()
	defer context.AfterFunc(ctx, cancel.Cancel)()
	q := topdown.NewQuery(r.body).
		WithCompiler(r.set.compiler).
		WithStore(r.set.store).
		WithTransaction(txn).
		WithInput(r.input).
		WithCancel(cancel).
		WithStrictBuiltinErrors(r.set.strict()).
		WithMetrics(metrics.NoOp()).
		WithSeed(noSeed{}).
		WithTime(time.Unix(0, 0))
	for _, t := range tracers {
		q = q.WithQueryTracer(t)
	}
	return q.Iter(ctx, func(topdown.QueryResult) error { return nil })
}
