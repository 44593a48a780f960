package policy

import (
	"fmt"
	"regexp"

	"github.com/open-policy-agent/opa/v1/ast"

	"gitgate.dev/gitgate/policy/verdict"
)

// exceptionName is the rule by which a package of conftest excepts from its others.
const exceptionName = "exception"

// rulePrefix is what an exception leaves out of the name of a rule.
var rulePrefix = regexp.MustCompile(`^(deny|violation|warn)_?`)

// findExceptions finds out which entries of a set of conftest may be undefined, and
// prepares, for each entry of a set of conftest whose package has
// exceptions, the question whether one of them holds for it.
func (s *set) findExceptions(groups map[string]*group) error {
	for _, e := range s.entries {
		e.partial = isList(groups[e.ref.String()])
		ref := e.ref[:len(e.ref)-1].Append(ast.StringTerm(exceptionName))
		g := groups[ref.String()]
		if g == nil {
			continue
		}
		suffix := rulePrefix.ReplaceAllString(ruleName(e), "")
		holds := ast.Equality.Expr(
			ast.NewTerm(ref.Append(ast.VarTerm("list")).Append(ast.VarTerm("i"))), ast.StringTerm(suffix))
		body := ast.NewBody(ast.Equality.Expr(ast.NewTerm(resultVar(0)), ast.SetComprehensionTerm(ast.BooleanTerm(true), ast.NewBody(holds))))
		compiled, err := s.compiler.QueryCompiler().Compile(body)
		if err != nil {
			return err
		}
		e.exception, e.reads = compiled, nil // an answer would have to be kept by what the exception reads too
	}
	return nil
}

// isList reports whether a rule is one value that can be a list.
func isList(g *group) bool {
	if g == nil {
		return false
	}
	for _, rule := range g.rules {
		for ; rule != nil; rule = rule.Else {
			if rule.Head.RuleKind() != ast.SingleValue || ast.IsScalar(rule.Head.Value.Value) {
				return false
			}
		}
	}
	return true
}

// addUnlessExcepted adds the value of an entry whose package has exceptions. What is
// excepted stays on record.
func (c *collector) addUnlessExcepted(e *entry, value *ast.Term, ask func(ast.Body, Part) (*ast.Term, Part, error)) {
	if isEmptySet(value) {
		return
	}
	excepted, missing, err := ask(e.exception, c.set.context&c.run.unknown)
	switch {
	case missing != 0:
		c.unknown(e, missing)
	case err != nil:
		c.fail(e, err)
	case excepted == nil || isEmptySet(excepted):
		c.add(e, value)
	default:
		had, troubles := len(c.findings), c.troubles
		if c.add(e, value); c.troubles > troubles {
			return // what is malformed is no finding that could be excepted
		}
		for i := had; i < len(c.findings); i++ {
			c.findings[i].Severity = verdict.Info
			c.findings[i].Message = fmt.Sprintf("excepted by the rule %s: %s", exceptionName, c.findings[i].Message)
		}
	}
}

func isEmptySet(t *ast.Term) bool {
	results, ok := t.Value.(ast.Set)
	return ok && results.Len() == 0
}

// listed makes a set of the results of a complete rule that is a list, which conftest
// takes too.
func listed(format Format, value *ast.Term) *ast.Term {
	list, ok := value.Value.(*ast.Array)
	if !ok || format != FormatConftest {
		return value
	}
	results := ast.NewSet()
	list.Foreach(results.Add)
	return ast.NewTerm(results)
}
