package policy

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// maxKeys bounds the constants that a variable is known to be one of.
const maxKeys = 32

// A flowScan follows values through one rule, which the compiler has taken apart
// into simple steps: `__local1__ = input.object.spec` and `f(__local1__)`.
type flowScan struct {
	*flow
	group *group
	rule  *ast.Rule

	seen     map[ast.Var]int  // how often a variable stands anywhere
	bare     map[ast.Var]bool // it is used as a value in a way that is not followed
	equated  map[ast.Var]int  // how often it is equated with a reference
	passed   []passing        // it goes to a function
	equates  []equation       // var = ref
	reads    []occurrence     // references that are read whole
	lists    map[ast.Var][]string
	nodes    map[ast.Var]*node // of the variables that are followed
	isParam  map[ast.Var]bool
	inArrays int // how many array comprehensions are around
}

type (
	passing struct {
		v  ast.Var
		to *node
	}
	equation struct {
		v       ast.Var
		at      occurrence
		holding bool // it holds wherever the rule does
	}
	occurrence struct {
		ref     ast.Ref
		inArray bool
	}
)

func newFlowScan(f *flow) *flowScan {
	return &flowScan{
		flow: f, seen: map[ast.Var]int{}, bare: map[ast.Var]bool{}, equated: map[ast.Var]int{}, lists: map[ast.Var][]string{},
		nodes: map[ast.Var]*node{}, isParam: map[ast.Var]bool{},
	}
}

// begin forgets the rule before.
func (s *flowScan) begin(g *group, rule *ast.Rule) {
	s.group, s.rule, s.inArrays = g, rule, 0
	s.passed, s.equates, s.reads = s.passed[:0], s.equates[:0], s.reads[:0]
	clear(s.seen)
	clear(s.bare)
	clear(s.equated)
	clear(s.lists)
	clear(s.nodes)
	clear(s.isParam)
}

// run adds to the flow what the rule does.
func (s *flowScan) run(g *group, rule *ast.Rule) {
	s.begin(g, rule)
	ast.WalkVars(s.rule, func(v ast.Var) bool { s.seen[v]++; return false })
	if s.rule.Else != nil {
		s.lost = true // its branches share variables
		return
	}
	for i, arg := range s.rule.Head.Args {
		s.param(i, arg)
	}
	s.body(s.rule.Body, true)
	s.head()
	for _, e := range s.equates {
		if s.equated[e.v] == 1 && !s.isParam[e.v] {
			s.nodes[e.v] = &node{}
		}
	}
	for _, e := range s.equates {
		if to := s.nodes[e.v]; to != nil && !s.isParam[e.v] {
			s.link(e.at, to)
			continue
		}
		s.bare[e.v] = true // it is compared
		s.link(e.at, nil)
	}
	for _, p := range s.passed {
		if n := s.nodes[p.v]; n != nil {
			n.add(nil, p.to)
		}
	}
	for _, at := range s.reads {
		s.link(at, nil)
	}
	for v, n := range s.nodes {
		n.whole = n.whole || s.bare[v]
	}
}

func (s *flowScan) param(i int, arg *ast.Term) {
	v, ok := arg.Value.(ast.Var)
	if !ok || s.group.shape != functions || s.isParam[v] {
		s.group.params[i].whole = true // a pattern, or one value twice
		s.term(arg)
		return
	}
	s.isParam[v], s.nodes[v] = true, &s.group.params[i]
}

// head says where the values of the rule go.
func (s *flowScan) head() {
	h := s.rule.Head
	for _, t := range h.Ref()[1:] {
		s.term(t) // the key of a member
	}
	switch s.group.shape {
	case elements:
		s.give(h.Key)
	case complete, partial:
		s.give(h.Value)
	default:
		for _, t := range []*ast.Term{h.Key, h.Value} {
			if t != nil {
				s.term(t)
			}
		}
	}
}

func (s *flowScan) give(t *ast.Term) {
	if v, ok := t.Value.(ast.Var); ok {
		s.passed = append(s.passed, passing{v, &s.group.value})
		return
	}
	s.term(t)
}

func (s *flowScan) body(b ast.Body, top bool) {
	for _, e := range b {
		if len(e.With) > 0 {
			s.lost = true // another input may be read
		}
		switch terms := e.Terms.(type) {
		case *ast.Term:
			s.term(terms)
		case []*ast.Term:
			s.call(e, terms, top)
		case *ast.Every:
			s.term(terms.Domain)
			for _, t := range []*ast.Term{terms.Key, terms.Value} {
				if t != nil {
					s.term(t)
				}
			}
			s.body(terms.Body, false)
		default:
			s.lost = true
		}
	}
}

// call takes a call apart; an equation is one too.
func (s *flowScan) call(e *ast.Expr, terms []*ast.Term, top bool) {
	op, ok := terms[0].Value.(ast.Ref)
	if !ok {
		s.lost = true
		return
	}
	if e.IsEquality() && len(terms) == 3 && !e.Negated && s.equation(terms[1], terms[2], top) {
		return
	}
	if ref := getRef(terms); ref != nil {
		s.indexes(ref)
		s.reads = append(s.reads, occurrence{ref, s.inArrays > 0})
		for _, t := range terms[3:] {
			s.term(t)
		}
		return
	}
	var params []node
	if op[0].Equal(ast.DefaultRootDocument) {
		g := s.groups[op.String()]
		if g == nil {
			s.lost = true
			return
		}
		if g.shape == functions {
			params = g.params
		}
	}
	for i, t := range terms[1:] {
		if v, ok := t.Value.(ast.Var); ok && i < len(params) {
			s.passed = append(s.passed, passing{v, &params[i]})
			continue
		}
		s.term(t)
	}
}

// equation takes `var = ref` and `var = [constants]`. It returns false for any
// other one.
func (s *flowScan) equation(a, b *ast.Term, top bool) bool {
	v, ok := a.Value.(ast.Var)
	if !ok {
		a, b = b, a
		if v, ok = a.Value.(ast.Var); !ok {
			return false
		}
	}
	switch value := b.Value.(type) {
	case ast.Ref:
		s.indexes(value)
		s.equated[v]++
		s.equates = append(s.equates, equation{v, occurrence{value, s.inArrays > 0}, top})
		return true
	case *ast.Array, ast.Set:
		if keys := constantKeys(b); keys != nil && top {
			s.lists[v] = keys
		}
	}
	return false
}

// term is a value that goes where it is not followed.
func (s *flowScan) term(t *ast.Term) {
	switch v := t.Value.(type) {
	case ast.Null, ast.Boolean, ast.Number, ast.String:
	case ast.Var:
		s.bare[v] = true
		if v.Equal(ast.InputRootDocument.Value) {
			s.root.whole = true
		}
	case ast.Ref:
		s.indexes(v)
		s.reads = append(s.reads, occurrence{v, s.inArrays > 0})
	case *ast.Array:
		v.Foreach(s.term)
	case ast.Set:
		v.Foreach(s.term)
	case ast.Object:
		v.Foreach(func(k, m *ast.Term) { s.term(k); s.term(m) })
	case *ast.ArrayComprehension: // order and number of what is iterated show
		s.inArrays++
		s.term(v.Term)
		s.body(v.Body, false)
		s.inArrays--
	case *ast.SetComprehension:
		s.term(v.Term)
		s.body(v.Body, false)
	case *ast.ObjectComprehension:
		s.term(v.Key)
		s.term(v.Value)
		s.body(v.Body, false)
	default:
		s.lost = true
	}
}

// indexes takes the keys of a reference.
func (s *flowScan) indexes(ref ast.Ref) {
	for _, t := range ref[1:] {
		s.term(t)
	}
}

// link says that what a reference stands for goes to a node, or is read whole.
func (s *flowScan) link(at occurrence, to *node) {
	head, ok := at.ref[0].Value.(ast.Var)
	if !ok {
		s.lost = true
		return
	}
	switch {
	case head.Equal(ast.InputRootDocument.Value):
		s.root.add(s.path(at.ref[1:]), to)
	case head.Equal(ast.DefaultRootDocument.Value):
		s.linkGroup(at, to)
	case s.nodes[head] != nil:
		s.nodes[head].add(s.path(at.ref[1:]), to)
	}
}

func (s *flowScan) linkGroup(at occurrence, to *node) {
	g, n := s.lookUp(at.ref)
	if g == nil {
		return
	}
	rest := at.ref[n:]
	switch g.shape {
	case complete:
		g.value.add(s.path(rest), to)
	case partial:
		if len(rest) == 0 {
			g.demand()
			return
		}
		g.value.add(s.path(rest[1:]), to)
	case elements:
		// Where the order of a set or the number of its elements shows, or an element
		// is used as the key that it is, its elements must be what they are.
		if len(rest) == 0 || at.inArray {
			g.demand()
			return
		}
		if v, ok := rest[0].Value.(ast.Var); !ok || s.seen[v] > 1 {
			g.demand()
			return
		}
		g.value.add(s.path(rest[1:]), to)
	}
}

// path is a reference as steps.
func (s *flowScan) path(ref ast.Ref) [][]string {
	steps := make([][]string, len(ref))
	for i, t := range ref {
		switch v := t.Value.(type) {
		case ast.String:
			steps[i] = []string{string(v)}
		case ast.Var:
			steps[i] = s.keys(v)
		}
	}
	return steps
}

// keys returns what a variable can be: it is an element of a list of constants
// wherever the rule holds. It returns nil where that is not known.
func (s *flowScan) keys(v ast.Var) []string {
	for _, e := range s.equates {
		if e.v != v || !e.holding || len(e.at.ref) < 2 {
			continue
		}
		last := e.at.ref[len(e.at.ref)-1]
		if _, ok := last.Value.(ast.Var); !ok {
			continue
		}
		of := e.at.ref[:len(e.at.ref)-1]
		if head, ok := of[0].Value.(ast.Var); ok && len(of) == 1 {
			if keys := s.lists[head]; keys != nil {
				return keys
			}
			continue
		}
		if g := s.groups[of.String()]; g != nil && g.shape == complete && len(g.rules) == 1 {
			if keys := constantKeys(g.rules[0].Head.Value); keys != nil {
				return keys
			}
		}
	}
	return nil
}

// constantKeys returns nil unless t is a list or set of few strings.
func constantKeys(t *ast.Term) []string {
	found := constantStrings(t)
	if len(found) == 0 || len(found) > maxKeys {
		return nil
	}
	keys := make([]string, 0, len(found))
	for k := range found {
		keys = append(keys, k)
	}
	return keys
}
