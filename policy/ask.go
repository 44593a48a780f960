package policy

import (
	"errors"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// parametersKey is input.parameters.
var parametersKey = ast.InternedTerm("parameters")

// evaluateSet asks the entries of a plan. What they say is collected in their
// order, whether it was known before or not.
func (r *run) evaluateSet(s *set, p *plan, items [][2]*ast.Term) {
	c := collector{run: r, set: s}
	defer func() { r.out = append(r.out, c.finish()...) }()
	answers, unknown := r.recall(s, p, items)
	ask := func(int) (*ast.Term, error) { return nil, nil }
	var watched func(ast.Body, Part) (*ast.Term, Part, error)
	if unknown > 0 {
		input := ast.ObjectTerm(append(slices.Clip(items), [2]*ast.Term{parametersKey, s.parameters})...)
		txn, err := s.store.NewTransaction(r.ctx)
		if err != nil {
			c.fail(nil, err)
			return
		}
		defer s.store.Abort(r.ctx, txn)
		var values []*ast.Term
		if s.context&r.unknown == 0 && unknown*2 > len(p.entries) { // one query for all is faster, unless most are known
			if values, err = r.query(s, txn, p.body, p.vars, input); err != nil && overBudget(err) {
				c.fail(nil, err)
				return
			}
		}
		// Where that failed, or something is undefined, they are asked one by one, so
		// that the finding names the rule and the other rules are heard.
		ask = func(i int) (*ast.Term, error) {
			if values != nil {
				return values[i], nil
			}
			one, err := r.query(s, txn, p.single[i], resultVars, input)
			if err != nil || one == nil {
				return nil, err
			}
			return one[0], nil
		}
		watched = func(body ast.Body, parts Part) (*ast.Term, Part, error) {
			w := &watch{format: s.format, parts: parts}
			one, err := r.query(s, txn, body, resultVars, input, w)
			if err != nil || one == nil {
				return nil, w.seen, err
			}
			return one[0], w.seen, nil
		}
	}
	for i, e := range p.entries {
		if answers[i].known {
			c.repeat(e, answers[i].said)
			continue
		}
		if e.unknown(s, r.unknown) != 0 {
			c.watch(e, p.single[i], watched)
			continue
		}
		value, err := ask(i)
		switch {
		case err != nil:
			c.fail(e, err)
		case value == nil:
			c.undefined(e)
		case e.exception != nil:
			c.addUnlessExcepted(e, value, watched)
		case answers[i].keep:
			c.addAndKeep(e, value, answers[i].key)
		default:
			c.add(e, value)
		}
	}
}

// An answer is what an entry says, if that is known already, and the key by which
// to keep it, if it is to be kept.
type answer struct {
	keep  bool
	key   memoKey
	known bool
	said  []said
}

// recall finds the answers that are known, and counts the others.
func (r *run) recall(s *set, p *plan, items [][2]*ast.Term) (answers []answer, unknown int) {
	answers = make([]answer, len(p.entries))
	for i, e := range p.entries {
		a := &answers[i]
		if a.keep = e.reads != nil && e.unknown(s, r.unknown) == 0 && e.luck.try(); a.keep {
			a.key, r.buf = keyOf(r.buf, s.id, e.index, e.reads, items)
			if a.said, a.known = r.engine.memo.get(a.key); a.known {
				e.luck.hit()
			}
		}
		if !a.known {
			unknown++
		}
	}
	return answers, unknown
}

// watch asks an entry that may read what is not known. What it says without coming
// to that counts.
func (c *collector) watch(e *entry, whole ast.Body, ask func(ast.Body, Part) (*ast.Term, Part, error)) {
	needs := e.needs()
	bodies := needs.bodies
	if bodies == nil {
		bodies = []ruleBody{{needs.parts, whole}}
	}
	var missing Part
	for _, b := range bodies {
		value, seen, err := ask(b.query, b.context&c.run.unknown)
		switch missing |= seen; {
		case seen != 0:
		case err != nil:
			c.fail(e, err)
			if overBudget(err) {
				return
			}
		case value == nil:
			c.undefined(e)
		case e.exception != nil:
			c.addUnlessExcepted(e, value, ask)
		default:
			c.add(e, value)
		}
	}
	if missing != 0 {
		c.unknown(e, missing)
	}
}

// query returns the values of the variables that body binds, or nil when one of them
// is undefined.
func (r *run) query(s *set, txn storage.Transaction, body ast.Body, vars []ast.Var, input *ast.Term, watches ...*watch) ([]*ast.Term, error) {
	var values []*ast.Term
	query := topdown.NewQuery(body)
	for _, w := range watches { // the index skips rules that read what is not there
		query = query.WithQueryTracer(w).WithIndexing(false)
	}
	var failed []topdown.Error
	err := query.
		WithCompiler(s.compiler).
		WithStore(s.store).
		WithTransaction(txn).
		WithInput(input).
		WithCancel(r.cancel).
		WithStrictBuiltinErrors(s.strict()).
		WithBuiltinErrorList(&failed).
		WithMetrics(metrics.NoOp()).
		WithSeed(noSeed{}).
		WithTime(time.Unix(0, 0)).
		Iter(r.ctx, func(result topdown.QueryResult) error {
			values = make([]*ast.Term, len(vars))
			for i, v := range vars {
				if values[i] = result[v]; values[i] == nil {
					return errors.New("the query lost a result")
				}
			}
			return nil
		})
	if err == nil && !slices.ContainsFunc(values, func(v *ast.Term) bool { return !isEmptySet(v) }) {
		err = swallowed(failed)
	}
	if err != nil {
		return nil, err
	}
	return values, nil
}

// swallowed returns the error of a built-in that may be why rules that are not strict
// have nothing to say. That an operand is of another type is none: helpers tell types
// apart by it.
func swallowed(failed []topdown.Error) error {
	if i := slices.IndexFunc(failed, func(e topdown.Error) bool { return e.Code != topdown.TypeErr }); i >= 0 {
		return &failed[i]
	}
	return nil
}

// noSeed keeps chance out of verdicts, even should a built-in ask for it.
type noSeed struct{}

func (noSeed) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
