package author

import (
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/tester"

	"gitgate.dev/gitgate/policy"
)

func loadError(err error) error { return &policy.LoadError{Problems: problemsOf(err)} }

// isTestRule reports whether a rule is run as a test.
func isTestRule(rule *ast.Rule) bool {
	for _, t := range rule.Head.Ref().GroundPrefix() {
		name := strings.Trim(t.Value.String(), `"`)
		if strings.HasPrefix(name, tester.TestPrefix) {
			return true
		}
	}
	return false
}

// idleTests finds the tests that pass whatever the policies say, by the place of
// the rule. The compiler must have compiled the tree.
func (t *tree) idleTests(c *ast.Compiler) map[string]string {
	idle := map[string]string{}
	for _, m := range t.modules {
		for _, rule := range m.Rules {
			if isTestRule(rule) && !asserts(rule) {
				idle[place(rule.Location)] = "the test asserts nothing: it only assigns, prints or states constants; compare what a rule says, as in `count(acme.deny) == 1`"
			}
		}
	}
	for _, m := range c.Modules {
		for _, rule := range m.Rules {
			if at := place(rule.Location); isTestRule(rule) && idle[at] == "" && !readsPolicy(c, rule) {
				idle[at] = "the test reads no rule of a policy, so that no change of a policy can make it fail"
			}
		}
	}
	return idle
}

// asserts reports whether a test that was only parsed can fail by what it says.
func asserts(rule *ast.Rule) bool {
	if v := rule.Head.Value; v != nil && !isConstant(v) {
		return true
	}
	for _, e := range rule.Body {
		if canFail(e) {
			return true
		}
	}
	return rule.Else != nil && asserts(rule.Else)
}

// isConstant reports whether a term is the same whatever is read.
func isConstant(t *ast.Term) bool {
	constant := true
	ast.WalkTerms(t, func(x *ast.Term) bool {
		switch x.Value.(type) {
		case ast.Ref, ast.Var, ast.Call, *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension, *ast.TemplateString:
			constant = false
		}
		return !constant
	})
	return constant
}

// canFail reports whether an expression can be other than true.
func canFail(e *ast.Expr) bool {
	switch terms := e.Terms.(type) {
	case *ast.SomeDecl:
		if len(terms.Symbols) == 1 {
			_, in := terms.Symbols[0].Value.(ast.Call)
			return in // some x in xs fails where xs is empty
		}
		return false
	case *ast.Every:
		return true
	case *ast.Term:
		return !isConstant(terms)
	case []*ast.Term:
		switch op := terms[0].Value.String(); {
		case e.IsAssignment(), op == ast.Print.Name, op == ast.Trace.Name:
			return false
		}
		for _, t := range terms[1:] {
			if !isConstant(t) {
				return true
			}
		}
		_, builtin := ast.BuiltinMap[terms[0].Value.String()]
		return !builtin // a function of a policy, by whatever name it is imported
	}
	return true
}

// readsPolicy reports whether a compiled test reads a rule that is none of a test,
// or data, be it through rules of tests. What it replaces by `with` it does not
// read.
func readsPolicy(c *ast.Compiler, test *ast.Rule) bool {
	seen := map[*ast.Rule]bool{test: true}
	found := false
	for queue := []*ast.Rule{test}; len(queue) > 0 && !found; {
		rule := queue[0]
		queue = queue[1:]
		for _, ref := range dataRefs(rule) {
			rules := rulesOf(c, ref)
			found = found || len(rules) == 0
			for _, to := range rules {
				if !isTest(to.Module.Package.Location.File) && !isTestRule(to) {
					found = true
				} else if !seen[to] {
					seen[to] = true
					queue = append(queue, to)
				}
			}
		}
	}
	return found
}

// dataRefs lists the references to data in a compiled rule, but the targets of
// `with`.
func dataRefs(rule *ast.Rule) []ast.Ref {
	var out []ast.Ref
	var visitor *ast.GenericVisitor
	visitor = ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.With:
			visitor.Walk(x.Value)
			return true
		case ast.Ref:
			if x[0].Equal(ast.DefaultRootDocument) {
				out = append(out, x)
			}
		}
		return false
	})
	visitor.Walk(rule)
	return out
}

// rulesOf lists the rules that a reference may read.
func rulesOf(c *ast.Compiler, ref ast.Ref) []*ast.Rule {
	return c.GetRulesDynamicWithOpts(ref, ast.RulesOptions{IncludeHiddenModules: true})
}
