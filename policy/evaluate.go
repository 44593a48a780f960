package policy

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"gitgate.dev/gitgate/policy/verdict"
)

// maxStuck bounds the evaluations that did not end although their time was up.
// Beyond it every evaluation is refused at once: comparing two values that share
// structure can take for ever inside of OPA, where no deadline is looked at.
const maxStuck = 4

// minTurns lets an object pass by another one that takes long.
const minTurns = 2

// maxInterned bounds the strings of rules that are kept to be shared, in bytes.
const maxInterned = 32

// maxReadsCache bounds the cached unions of what sets read.
const maxReadsCache = 1024

// An Engine judges objects. It is safe for concurrent use and never changes;
// load another one to change policies. The zero value denies everything.
type Engine struct {
	sets   []*set // those that deny first: warnings must not use up their time
	opts   Options
	intern map[string]*ast.Term
	loaded bool
	stuck  atomic.Int32

	memo *memo
	// predicates are what was decoded of attestations.
	predicates decodedPredicates
	// turns bound how many objects are judged at once. The time of one must not pass
	// while it waits for the processor behind hundreds of others.
	turns chan struct{}

	mu    sync.Mutex
	reads map[string]*readPaths
}

func newEngine(sets []*set, opts Options) *Engine {
	order := []Enforcement{Deny, Warn, Audit}
	slices.SortFunc(sets, func(a, b *set) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.enforcement), slices.Index(order, b.enforcement)),
			cmp.Compare(a.id, b.id))
	})
	e := &Engine{sets: sets, opts: opts, loaded: true, intern: map[string]*ast.Term{}, reads: map[string]*readPaths{},
		memo: newMemo(), turns: make(chan struct{}, max(minTurns, runtime.GOMAXPROCS(0)))}
	for _, word := range commonWords {
		e.intern[word] = ast.StringTerm(word)
	}
	for _, s := range sets {
		maps.Copy(e.intern, s.interned)
	}
	return e
}

// ReadsContext reports whether a verdict may depend on more than the object: on
// the operation, the old object, the namespace, the commit, the images, the user,
// the source, the time or the inventory. Where it does not, verdicts on new objects may be kept by object.
func (e *Engine) ReadsContext() bool {
	return slices.ContainsFunc(e.sets, func(s *set) bool {
		for _, key := range []string{"operation", "oldObject", "namespace", "commit", "images", "userInfo", "source", "time", knownKey, inventoryKey, fileKey} {
			if s.reads.key(key) != nil {
				return true
			}
		}
		return false
	})
}

// ReadsNeighbours reports whether a rule may look at other objects: at data.inventory,
// at the Namespace, or at all of them together.
func (e *Engine) ReadsNeighbours() bool {
	return slices.ContainsFunc(e.sets, func(s *set) bool {
		return s.combine || s.context&(PartInventory|PartNamespace) != 0 || s.constraint != nil && s.constraint.namespaceSelector != nil
	})
}

// ReadsImages reports whether a rule may look at the images of an object, or at what was
// attested about them.
func (e *Engine) ReadsImages() bool {
	return slices.ContainsFunc(e.sets, func(s *set) bool { return s.context&(PartImages|PartAttestations) != 0 })
}

// A plan is the rules of a set that can hold for one kind, as one query.
type plan struct {
	entries []*entry
	body    ast.Body   // all entries at once
	vars    []ast.Var  // that it binds, by entry
	single  []ast.Body // each on its own, to tell which one failed
}

// buildPlans prepares a plan for each kind that a rule names, and one for all
// other kinds. Rules that cannot hold are in none.
func (s *set) buildPlans() {
	kinds := map[string]bool{"": true}
	asks, single := make([]ast.Expr, len(s.entries)), make([]ast.Body, len(s.entries))
	for i, e := range s.entries {
		maps.Copy(kinds, e.kinds)
		asks[i], single[i] = *e.ask(i), ast.NewBody(e.ask(0))
	}
	s.plans = make(map[string]*plan, len(kinds))
	for kind := range kinds {
		p := &plan{}
		for i, e := range s.entries {
			if e.kinds == nil || e.kinds[kind] {
				ask := asks[i] // its terms are shared by all plans
				p.entries, p.single = append(p.entries, e), append(p.single, single[i])
				p.vars = append(p.vars, resultVar(i))
				p.body.Append(&ask)
			}
		}
		s.plans[kind] = p
	}
}

// ask is the query of an entry, which binds the result variable i to its value. It is
// as the compiler would leave it.
func (e *entry) ask(i int) *ast.Expr {
	return ast.Equality.Expr(ast.NewTerm(resultVar(i)), ast.NewTerm(e.ref))
}

// resultVars are the variables r0, r1, …, of queries of one entry the first.
var resultVars = []ast.Var{resultVar(0)}

func resultVar(i int) ast.Var { return ast.Var("r" + strconv.Itoa(i)) }

// plan returns the plan for the value that input.object.kind will have.
func (s *set) plan(kind string) *plan {
	if p, ok := s.plans[kind]; ok && kind != "" {
		return p
	}
	return s.plans[""]
}

// Evaluate judges one object by every set that selects it, in a stable order. It
// returns nothing when no rule has anything to say, and never an error: what
// cannot be decided within the limits is a finding that denies. A set that only
// warns or audits never blocks, not even by failing.
func (e *Engine) Evaluate(ctx context.Context, in Input) []verdict.Finding {
	place := verdict.Finding{Stage: verdict.StagePolicy, Object: in.ObjectID, File: in.File, Line: in.Line}
	return e.supervise(ctx, place, e.opts.Timeout, func(r *run) { r.evaluate(in) })
}

// supervise runs an evaluation, and gives up on it when its time is up.
func (e *Engine) supervise(ctx context.Context, place verdict.Finding, timeout time.Duration, evaluate func(*run)) []verdict.Finding {
	switch {
	case !e.loaded:
		return []verdict.Finding{failure(place, verdict.PolicyError, "no policies were loaded: this is a bug in gitgate")}
	case e.stuck.Load() >= maxStuck:
		return []verdict.Finding{failure(place, verdict.PolicyTimeout, fmt.Sprintf(
			"%d earlier evaluations ran out of time and did not stop: find the policy that their findings name, and restart", maxStuck))}
	}
	select {
	case e.turns <- struct{}{}:
		defer func() { <-e.turns }()
	case <-ctx.Done():
		return []verdict.Finding{failure(place, verdict.PolicyTimeout, "the evaluation was cancelled while it waited for its turn")}
	}
	ctx, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	r := &run{engine: e, ctx: ctx, cancel: topdown.NewCancel(), place: place, timeout: timeout}
	done := make(chan []verdict.Finding, 1)
	var abandoned atomic.Bool
	onGrownStack(func() {
		fs := r.guarded(evaluate)
		if abandoned.Swap(true) {
			e.stuck.Add(-1)
		}
		done <- fs
	})
	select {
	case fs := <-done:
		return fs
	case <-ctx.Done():
		r.cancel.Cancel()
	}
	grace := time.NewTimer(e.opts.Timeout)
	defer grace.Stop()
	select {
	case fs := <-done:
		return fs
	case <-grace.C:
	}
	e.stuck.Add(1)
	if abandoned.Swap(true) { // it ended just now
		e.stuck.Add(-1)
	}
	return []verdict.Finding{failure(place, verdict.PolicyTimeout, fmt.Sprintf(
		"policy set %q did not stop within %s after its time was up: simplify its rules", r.current(), e.opts.Timeout))}
}

// A run is one evaluation.
type run struct {
	engine *Engine
	ctx    context.Context
	cancel topdown.Cancel
	place  verdict.Finding
	out    []verdict.Finding
	buf    []byte // for keys
	// unknown is what the caller does not know.
	unknown Part
	timeout time.Duration
	set     atomic.Pointer[set]
}

func (r *run) current() string {
	if s := r.set.Load(); s != nil {
		return s.name
	}
	return ""
}

// guarded turns a panic into a finding.
func (r *run) guarded(evaluate func(*run)) (fs []verdict.Finding) {
	defer func() {
		if p := recover(); p != nil {
			where := ""
			if s := r.current(); s != "" {
				where = fmt.Sprintf(" of policy set %q", s)
			}
			// The value of the panic may hold input; its place is what helps.
			fs = []verdict.Finding{failure(r.place, verdict.PolicyError, fmt.Sprintf(
				"the evaluation%s panicked with a %T at %s: this is a bug, please report it", where, p, panicPlace(debug.Stack())))}
		}
	}()
	evaluate(r)
	return r.out
}

func (r *run) evaluate(in Input) {
	s, err := newSubject(in, r.engine.opts, r.engine.intern)
	if err != nil {
		r.out = append(r.out, failure(r.place, verdict.PolicyError, "the object cannot be judged: "+err.Error()))
		return
	}
	r.place.Object, s.predicates = s.ObjectID, &r.engine.predicates
	var matched []*set
	key := make([]byte, 0, 64)
	for i, set := range r.engine.sets {
		if set.combine {
			if yes, _ := set.selects(s); yes && !in.Together {
				r.alone(set)
			}
			continue
		}
		if r.selects(set, s) {
			matched = append(matched, set)
			key = strconv.AppendInt(append(key, ','), int64(i), 36)
		}
	}
	reads := r.engine.readsOf(string(key), matched)
	items, err := s.document(reads, r.engine.intern)
	if err != nil {
		r.out = append(r.out, failure(r.place, verdict.PolicyError, "the object cannot be judged: "+err.Error()))
		return
	}
	r.unknown = s.unknown // with what could not be had
	kind := ""
	if s.object != "" {
		kind = s.headers[0].kind
	}
	views := make(map[Format][][2]*ast.Term, 1)
	for _, set := range matched {
		p := set.plan(kind)
		if len(p.entries) == 0 {
			continue
		}
		r.set.Store(set)
		if views[set.format] == nil {
			views[set.format] = view(set.format, s, items)
		}
		r.evaluateSet(set, p, views[set.format])
	}
}

// selects reports whether a set judges the object. That it cannot be told is a
// finding.
func (r *run) selects(set *set, s *subject) bool {
	yes, unknown := set.selects(s)
	if unknown {
		c := collector{run: r, set: set}
		c.unknownPart(set.entries[0], "the constraint selects by the labels of the Namespace, which is not known here")
		r.out = append(r.out, c.findings...)
	}
	return yes
}

// selects reports whether a set judges the object, and whether that is not known.
func (s *set) selects(of *subject) (yes, unknown bool) {
	switch {
	case !s.match.matches(of.headers):
		return false, false
	case s.format == FormatGitgate:
		return true, false
	case of.object == "" && !s.judgesDeletions: // of what is deleted, other tools' rules are not asked
		return false, false
	case s.constraint != nil:
		return s.constraint.selects(of)
	}
	return true, false
}

// strict reports whether every built-in that fails is an error. Templates of Gatekeeper
// rest upon its being undefined there, those of its own library too: it is an error
// where they have nothing to say and an operand was of the right type. The bounds of
// what a call may cost are errors everywhere.
func (s *set) strict() bool { return s.format != FormatGatekeeper }

// view is the input as the rules of a format see it.
func view(format Format, s *subject, items [][2]*ast.Term) [][2]*ast.Term {
	switch format {
	case FormatConftest:
		return items
	case FormatGatekeeper:
		return reviewView(s, items)
	}
	if i := slices.IndexFunc(items, func(item [2]*ast.Term) bool { return item[0].Equal(ast.InternedTerm(fileKey)) }); i >= 0 {
		items = slices.Delete(slices.Clone(items), i, i+1)
	}
	return items
}

// readsOf returns what the matched sets read together.
func (e *Engine) readsOf(key string, matched []*set) *readPaths {
	if len(matched) == 1 {
		return matched[0].reads
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if p, ok := e.reads[key]; ok {
		return p
	}
	p := &readPaths{}
	for _, s := range matched {
		p = mergeReads(p, s.reads)
	}
	if len(e.reads) < maxReadsCache {
		e.reads[key] = p
	}
	return p
}
