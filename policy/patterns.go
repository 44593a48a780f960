package policy

import (
	"fmt"
	"regexp"
	"regexp/syntax"

	"github.com/open-policy-agent/opa/v1/ast"
)

// What the names of the built-ins in patternArg begin with.
var regexModule, regexOld = ast.VarTerm("regex"), ast.VarTerm("re_match")

// patternArg says which operand of a built-in is a regular expression.
var patternArg = map[string]int{
	"regex.match": 0, "re_match": 0, "regex.split": 0, "regex.find_n": 0,
	"regex.find_all_string_submatch_n": 0, "regex.replace": 1,
}

// checkTerms compiles every regular expression that is a constant: one that does not
// compile would fail on every object (CVE-2026-65834 of a peer). It returns the short
// strings that rules hold, of which objects hold many.
func (s *set) checkTerms(c *ast.Compiler, bad *problems) map[string]*ast.Term {
	strs := map[string]*ast.Term{}
	for _, mod := range c.Modules {
		ast.WalkNodes(mod, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Expr:
				if n.IsCall() {
					checkPattern(s.name, n.Terms.([]*ast.Term), bad)
				}
			case *ast.Term:
				switch v := n.Value.(type) {
				case ast.Call:
					checkPattern(s.name, v, bad)
				case ast.String:
					if len(v) <= maxInterned && strs[string(v)] == nil {
						strs[string(v)] = ast.StringTerm(string(v))
					}
				}
			}
			return false
		})
	}
	return strs
}

// checkPattern looks at the regular expression of a call.
func checkPattern(set string, terms []*ast.Term, bad *problems) {
	name, ok := terms[0].Value.(ast.Ref)
	if !ok || !name[0].Equal(regexModule) && !name[0].Equal(regexOld) {
		return
	}
	i, ok := patternArg[name.String()]
	if !ok || i+1 >= len(terms) {
		return
	}
	p, ok := terms[i+1].Value.(ast.String)
	if !ok {
		return
	}
	if _, err := regexp.Compile(string(p)); err != nil {
		var reason string
		if se, ok := err.(*syntax.Error); ok {
			reason = se.Code.String() + ": " + se.Expr
		}
		bad.addAt(set, terms[i+1].Loc(), fmt.Sprintf("regular expression %q does not compile: %s", string(p), reason))
	}
}
