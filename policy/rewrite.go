package policy

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
)

// A moving says where a reference goes: those that begin with from begin with to.
type moving struct{ from, to ast.Ref }

var (
	inventoryMove = moving{ast.MustParseRef("data.inventory"), ast.Ref{ast.InputRootDocument, ast.StringTerm(inventoryKey)}}
	// In a set of conftest the object itself is the input.
	documentMove = moving{ast.InputRootRef, ast.Ref{ast.InputRootDocument, ast.StringTerm("object")}}
	fileMove     = moving{ast.MustParseRef("data.conftest.file"), ast.Ref{ast.InputRootDocument, ast.StringTerm(fileKey)}}
)

// moverOf lists what moves in the modules of a set. What is made anew for each
// evaluation is in the input for OPA, wherever rules find it.
func moverOf(s Set) mover {
	var moves mover
	if _, own := s.Data["inventory"]; !own {
		moves = append(moves, inventoryMove)
	}
	if s.Format == FormatConftest {
		moves = append(moves, documentMove, fileMove)
	}
	return moves
}

// A mover rewrites a parsed module. It changes no term that it need not change: the
// parser shares some between modules.
type mover []moving

func (m mover) module(mod *ast.Module) {
	if len(m) == 0 {
		return
	}
	for _, imp := range mod.Imports {
		name := imp.Name()
		if m.term(imp.Path) && imp.Alias == "" { // it names what it named before
			imp.Alias = name
		}
	}
	for _, rule := range mod.Rules {
		for ; rule != nil; rule = rule.Else {
			m.terms(rule.Head.Reference)
			m.terms(rule.Head.Args)
			m.terms([]*ast.Term{rule.Head.Key, rule.Head.Value})
			m.body(rule.Body)
		}
	}
}

func (m mover) body(body ast.Body) {
	for _, e := range body {
		m.expr(e)
	}
}

func (m mover) expr(e *ast.Expr) {
	switch t := e.Terms.(type) {
	case *ast.Term:
		m.term(t)
	case []*ast.Term:
		m.terms(t)
	case *ast.SomeDecl:
		m.terms(t.Symbols)
	case *ast.Every:
		m.term(t.Domain)
		m.body(t.Body)
	case *ast.Not:
		m.body(t.Body)
	case *ast.LogicalAnd:
		m.body(t.Lhs)
		m.body(t.Rhs)
	case *ast.LogicalOr:
		m.body(t.Lhs)
		m.body(t.Rhs)
	}
	for _, w := range e.With {
		m.terms([]*ast.Term{w.Target, w.Value})
	}
}

func (m mover) terms(ts []*ast.Term) (changed bool) {
	for _, t := range ts {
		changed = m.term(t) || changed
	}
	return changed
}

// term reports whether anything in a term moved.
func (m mover) term(t *ast.Term) (changed bool) {
	if t == nil {
		return false
	}
	switch v := t.Value.(type) {
	case ast.Var:
		if to := m.moved(ast.Ref{t}); to != nil {
			t.Value = to
			return true
		}
	case ast.Ref:
		changed = m.terms(v[1:])
		if call, ok := v[0].Value.(ast.Call); ok {
			changed = m.terms(call[1:]) || changed
		}
		if to := m.moved(v); to != nil {
			t.Value = to
			return true
		}
	case *ast.Array: // these know hashes of what they hold
		var list []*ast.Term
		v.Foreach(func(e *ast.Term) { list = append(list, e) })
		if changed = m.terms(list); changed {
			t.Value = ast.NewArray(list...)
		}
	case ast.Set:
		list := v.Slice()
		if changed = m.terms(list); changed {
			t.Value = ast.NewSet(list...)
		}
	case ast.Object:
		var items [][2]*ast.Term
		v.Foreach(func(k, e *ast.Term) { items = append(items, [2]*ast.Term{k, e}) })
		for _, item := range items {
			changed = m.terms(item[:]) || changed
		}
		if changed {
			t.Value = ast.NewObject(items...)
		}
	case ast.Call:
		return m.terms(v)
	default:
		return m.closure(v)
	}
	return changed
}

// closure moves what is in a comprehension or a template string.
func (m mover) closure(v ast.Value) bool {
	switch v := v.(type) {
	case *ast.ArrayComprehension:
		m.term(v.Term)
		m.body(v.Body)
	case *ast.SetComprehension:
		m.term(v.Term)
		m.body(v.Body)
	case *ast.ObjectComprehension:
		m.terms([]*ast.Term{v.Key, v.Value})
		m.body(v.Body)
	case *ast.TemplateString:
		for _, part := range v.Parts {
			switch part := part.(type) {
			case *ast.Expr:
				m.expr(part)
			case *ast.Term:
				m.term(part)
			}
		}
	default:
		return false
	}
	return true // it is held by pointer, so that holders may know an old hash
}

// moved returns where a reference goes, nil where it stays.
func (m mover) moved(ref ast.Ref) ast.Ref {
	for _, m := range m {
		if !ref.HasPrefix(m.from) {
			continue
		}
		to := make(ast.Ref, 0, len(m.to)+len(ref)-len(m.from))
		for _, t := range m.to {
			to = append(to, ast.NewTerm(t.Value).SetLocation(ref[0].Location))
		}
		return append(to, ref[len(m.from):]...)
	}
	return nil
}

// checkShadows refuses a module that gives the name of a root document to something
// else. OPA allows that in Rego v0, where a rule may then look at another input.
func checkShadows(set string, mod *ast.Module, bad *problems) {
	check := func(t *ast.Term) {
		if ref, ok := t.Value.(ast.Ref); ok && len(ref) == 1 {
			t = ref[0]
		}
		if v, ok := t.Value.(ast.Var); ok && (v == "input" || v == "data") {
			bad.addAt(set, t.Loc(), fmt.Sprintf("the name %s is taken: give this variable another one", v))
		}
	}
	ast.WalkNodes(mod, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Head:
			if len(n.Reference) > 0 {
				check(n.Reference[0])
			}
			for _, arg := range n.Args {
				check(arg)
			}
		case *ast.Expr:
			if some, ok := n.Terms.(*ast.SomeDecl); ok {
				for _, t := range some.Symbols {
					check(t)
				}
			}
			if every, ok := n.Terms.(*ast.Every); ok {
				check(every.Value)
				if every.Key != nil {
					check(every.Key)
				}
			}
			if n.IsAssignment() {
				check(n.Operand(0))
			}
		}
		return false
	})
}
