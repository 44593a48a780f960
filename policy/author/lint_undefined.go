package author

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// undefined looks for expressions that are undefined where their author thinks of
// true. The compiler takes `not f(input.x)` apart into `v = input.x; not f(v)`, and
// marks the first as its own: whatever such an expression looks up must be there.
func (l *linter) undefined() {
	for _, rule := range l.rules() {
		eachBody(rule, func(body ast.Body) {
			for i, e := range body {
				if e.Negated {
					l.negation(body, i)
				}
			}
			if speaks(rule) {
				l.inequalities(body)
			}
		})
	}
}

// eachBody visits the body of a rule and those within it.
func eachBody(rule *ast.Rule, visit func(ast.Body)) {
	ast.NewGenericVisitor(func(x any) bool {
		if body, ok := x.(ast.Body); ok {
			visit(body)
		}
		return false
	}).Walk(rule)
}

func (l *linter) negation(body ast.Body, at int) {
	e := body[at]
	if terms, ok := e.Terms.([]*ast.Term); !ok || asksPresence(terms) {
		return
	}
	for _, lookup := range hoisted(body, at) {
		ref, _ := lookupOf(lookup)
		if l.mayBeAbsent(ref) && !lookedUp(body, lookup, ref) {
			l.add(lintUndefinedNot, e.Location, fmt.Sprintf(
				"where %s is absent this `not` is undefined, and the rule is silent: give the condition a name and negate that",
				sourceOf(lookup)))
		}
	}
}

// asksPresence reports whether a call is `x in {…, null}`: who says that x is none of
// these asks whether there is something.
func asksPresence(terms []*ast.Term) bool {
	if len(terms) != 3 || terms[0].Value.String() != ast.Member.Name {
		return false
	}
	set, ok := terms[2].Value.(ast.Set)
	return ok && set.Contains(ast.NullTerm())
}

// inequalities looks for `!=` between what may be absent and a constant.
func (l *linter) inequalities(body ast.Body) {
	for i, e := range body {
		terms, ok := e.Terms.([]*ast.Term)
		if !ok || e.Negated || len(terms) != 3 || terms[0].Value.String() != ast.NotEqual.Name ||
			!isConstant(terms[1]) && !isConstant(terms[2]) || isNull(terms[1]) || isNull(terms[2]) {
			continue // to ask for null is to ask whether it is there
		}
		for _, lookup := range hoisted(body, i) {
			ref, _ := lookupOf(lookup)
			if l.mayBeAbsent(ref) && !lookedUp(body, lookup, ref) {
				l.add(lintUndefinedInequality, e.Location, fmt.Sprintf(
					"where %s is absent this is undefined, and the rule is silent: negate the equality, or look it up with a default",
					sourceOf(lookup)))
			}
		}
	}
}

func isNull(t *ast.Term) bool { return t.Equal(ast.NullTerm()) }

// lookupOf takes `v = ref` apart.
func lookupOf(e *ast.Expr) (ast.Ref, ast.Var) {
	terms, ok := e.Terms.([]*ast.Term)
	if !ok || !e.IsEquality() || len(terms) != 3 {
		return nil, ""
	}
	v, ok := terms[1].Value.(ast.Var)
	ref, isRef := terms[2].Value.(ast.Ref)
	if !ok || !isRef {
		return nil, ""
	}
	return ref, v
}

// hoisted lists the look-ups that the compiler put before an expression for its
// operands, and for theirs.
func hoisted(body ast.Body, at int) []*ast.Expr {
	wanted := map[ast.Var]bool{}
	want := func(e *ast.Expr) {
		ast.WalkVars(e, func(v ast.Var) bool { wanted[v] = true; return false })
	}
	want(body[at])
	var out []*ast.Expr
	for i := at - 1; i >= 0; i-- {
		e := body[i]
		if !e.Generated || e.Negated {
			continue
		}
		if ref, v := lookupOf(e); ref != nil {
			if wanted[v] {
				out = append(out, e)
			}
			continue
		}
		terms, ok := e.Terms.([]*ast.Term) // f(operands…, result)
		if !ok || len(terms) < 2 {
			continue
		}
		if v, ok := terms[len(terms)-1].Value.(ast.Var); ok && wanted[v] {
			want(e)
		}
	}
	return out
}

// lookedUp reports whether another expression of the body needs the same value,
// so that its absence is thought of.
func lookedUp(body ast.Body, but *ast.Expr, ref ast.Ref) bool {
	return slices.ContainsFunc(body, func(e *ast.Expr) bool {
		if e == but || e.Negated || e.Location != nil && but.Location != nil && e.Location.Row == but.Location.Row && e.Generated {
			return false
		}
		found := false
		ast.WalkRefs(e, func(r ast.Ref) bool {
			found = found || r.HasPrefix(ref)
			return found
		})
		return found
	})
}

// sourceOf is an expression as its author wrote it.
func sourceOf(e *ast.Expr) string {
	if e.Location == nil || len(e.Location.Text) == 0 {
		return "the value"
	}
	text, _, _ := strings.Cut(string(e.Location.Text), "\n")
	return text
}

// always are the paths that are there whatever is judged. An object is absent when
// it is deleted, of which nobody wants to hear at every line.
var always = func() map[string]bool {
	out := map[string]bool{}
	for _, path := range strings.Fields(`
		input input.object input.object.kind input.object.apiVersion input.object.metadata input.object.metadata.name
		input.operation input.parameters
		input.review input.review.object input.review.object.kind input.review.object.apiVersion
		input.review.object.metadata input.review.object.metadata.name input.review.operation input.review.name
		input.review.kind input.review.kind.kind input.review.kind.group input.review.kind.version
		input.kind input.apiVersion input.metadata input.metadata.name`) {
		out[path] = true
	}
	return out
}()

// knownRef is where rules ask what is known; all of it is always there.
var knownRef = ast.MustParseRef("input.known")

// mayBeAbsent reports whether a reference can be undefined.
func (l *linter) mayBeAbsent(ref ast.Ref) bool {
	switch {
	case len(ref) == 0:
		return false
	case ref[0].Equal(ast.InputRootDocument):
		return !always[ref.String()] && !ref.HasPrefix(knownRef)
	case !ref[0].Equal(ast.DefaultRootDocument):
		return len(ref) > 1 && !isIndex(ref[1]) // a member of something; who takes element 1 of a list has counted
	}
	for n := len(ref); n > 1; n-- {
		rules := l.compiled.GetRulesExact(ref[:n])
		if len(rules) == 0 {
			continue
		}
		return n < len(ref) || !slices.ContainsFunc(rules, func(r *ast.Rule) bool { return r.Default }) &&
			slices.ContainsFunc(rules, l.comesAndGoes)
	}
	return false // a package, or data
}

func isIndex(t *ast.Term) bool {
	_, ok := t.Value.(ast.Number)
	return ok
}

// comesAndGoes reports whether a rule has no value where something of the input is
// absent. Of what it calls nothing is known.
func (l *linter) comesAndGoes(rule *ast.Rule) bool {
	if rule.Head.RuleKind() == ast.MultiValue || len(rule.Head.Ref()) > 1 {
		return false // empty, at worst
	}
	found := false
	ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension:
			return true // empty, at worst
		case ast.Ref:
			found = found || x[0].Equal(ast.InputRootDocument) && l.mayBeAbsent(x)
		}
		return found
	}).Walk(rule)
	return found
}
