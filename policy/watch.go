package policy

import (
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// A watch sees whether an evaluation comes to an expression that reads a part that
// is not known. What stands after a condition that does not hold is not reached,
// and what is not reached decides nothing.
type watch struct {
	format Format
	parts  Part
	seen   Part
}

// Enabled, Config and TraceEvent implement [topdown.QueryTracer].
func (w *watch) Enabled() bool { return true }

// Config implements [topdown.QueryTracer].
func (w *watch) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

// TraceEvent implements [topdown.QueryTracer].
func (w *watch) TraceEvent(event topdown.Event) {
	if w.seen == w.parts {
		return
	}
	switch node := event.Node.(type) {
	case *ast.Expr:
		if event.Op == topdown.EvalOp {
			w.seen |= w.parts & partsIn(node, w.format)
		}
	case *ast.Rule:
		if event.Op == topdown.EnterOp {
			w.seen |= w.parts & partsIn(node.Head, w.format)
		}
	}
}

// partsIn lists the parts that a node names outside of comprehensions and the like,
// whose own expressions come later. Whoever names what is above a part, as in `x :=
// input`, may read the part through it.
func partsIn(node any, format Format) Part {
	var parts Part
	var visit *ast.GenericVisitor
	visit = ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension:
			return true
		case *ast.Expr:
			terms, _ := x.Terms.([]*ast.Term)
			if ref := getRef(terms); ref != nil {
				visit.Walk(ref)
				for _, t := range terms[3:] {
					visit.Walk(t)
				}
				for _, w := range x.With {
					visit.Walk(w)
				}
				return true
			}
		case *ast.Every:
			visit.Walk(x.Domain)
			return true
		case ast.Ref:
			if x[0].Equal(ast.InputRootDocument) {
				parts |= partsBelow(x[1:], format)
			}
			for _, key := range x[1:] {
				visit.Walk(key)
			}
			return true
		case ast.Var:
			if x.Equal(ast.InputRootDocument.Value) {
				parts |= partsBelow(nil, format)
			}
		}
		return false
	})
	visit.Walk(node)
	return parts
}

// partsBelow lists the parts that are at, above or below a reference to the input.
func partsBelow(ref ast.Ref, format Format) Part {
	var parts Part
	for _, at := range partPaths[format] {
		hidden := at.keys[0] == inventoryKey || at.keys[0] == fileKey // reached by its own name only
		if mayMeet(ref, at.keys) && !(hidden && (len(ref) == 0 || !isString(ref[0]))) {
			parts |= at.part
		}
	}
	return parts
}

func mayMeet(ref ast.Ref, keys []string) bool {
	for i, t := range ref[:min(len(ref), len(keys))] {
		if key, ok := t.Value.(ast.String); ok && keys[i] != eachElement && string(key) != keys[i] {
			return false
		}
	}
	return true
}

func isString(t *ast.Term) bool {
	_, ok := t.Value.(ast.String)
	return ok
}
