package author

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

var snakeCase = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// style looks at a module as it was parsed.
func (l *linter) style(m *ast.Module) {
	for _, t := range m.Package.Path[1:] {
		if name, ok := t.Value.(ast.String); ok && !snakeCase.MatchString(string(name)) {
			l.add(lintRuleName, m.Package.Location, fmt.Sprintf("the package %s is not in snake_case", name))
		}
	}
	named := map[string]bool{}
	for _, rule := range m.Rules {
		if isTestRule(rule) {
			continue
		}
		name := ruleName(rule)
		if !named[name] && !snakeCase.MatchString(name) {
			l.add(lintRuleName, rule.Location, fmt.Sprintf("the name %s is not in snake_case", name))
		}
		named[name] = true
		if speaks(rule) {
			l.entry(rule)
		}
	}
	ast.WalkExprs(m, func(e *ast.Expr) bool {
		if e.IsCall() && e.Operator().String() == ast.Print.Name {
			l.add(lintPrint, e.Location, "print is erased when the policy is loaded: remove it")
		}
		return false
	})
	ast.WalkTerms(m, func(t *ast.Term) bool {
		if call, ok := t.Value.(ast.Call); ok {
			l.deprecated(call[0], t.Location)
		}
		return false
	})
	ast.WalkExprs(m, func(e *ast.Expr) bool {
		if e.IsCall() {
			l.deprecated(e.Terms.([]*ast.Term)[0], e.Location)
		}
		return false
	})
}

// deprecated tells of a built-in, unless loading refuses it already.
func (l *linter) deprecated(operator *ast.Term, at *ast.Location) {
	name := operator.Value.String()
	b, ok := ast.BuiltinMap[name]
	if !ok || !b.IsDeprecated() || at == nil {
		return
	}
	for f := range l.found {
		if f.Rule == lintCompile.Name && f.Line == at.Row && f.File == l.tree.source.show(at.File) {
			return
		}
	}
	l.add(lintDeprecated, at, fmt.Sprintf("the built-in %s is deprecated", name))
}

// entry looks at the head of a rule that speaks.
func (l *linter) entry(rule *ast.Rule) {
	head := rule.Head
	if len(head.Args) > 0 || len(head.Ref()) > 1 {
		return // does not load
	}
	if head.RuleKind() == ast.SingleValue {
		l.add(lintCompleteRule, rule.Location, fmt.Sprintf("%s is a single value and must be a set of messages: write `%s contains msg if { … }`", head.Name, head.Name))
		return
	}
	switch v := head.Key.Value.(type) {
	case ast.Object:
		if v.Get(ast.StringTerm("msg")) == nil && !described(rule) {
			l.add(lintNoMessage, head.Location, "the result has no msg: add one, or a title in the METADATA of the rule")
		}
	case ast.Number, ast.Boolean, ast.Null, *ast.Array, ast.Set:
		l.add(lintNoMessage, head.Location, fmt.Sprintf("the result is of type %s: write a string, or an object with msg", ast.ValueName(v)))
	}
}

func described(rule *ast.Rule) bool {
	return slices.ContainsFunc(rule.Annotations, func(a *ast.Annotations) bool { return a.Title+a.Description != "" })
}

// severities are those that METADATA may name.
var severities = []string{"critical", "high", "medium", "low"}

// metadata wants every rule that speaks to say what it is for.
func (l *linter) metadata() {
	first := map[string]*ast.Rule{}
	annotations := map[string][]*ast.Annotations{}
	for _, file := range slices.Sorted(maps.Keys(l.tree.policies())) {
		for _, rule := range l.tree.modules[file].Rules {
			if !speaks(rule) {
				continue
			}
			name := fullName(rule)
			if first[name] == nil {
				first[name] = rule
			}
			annotations[name] = append(annotations[name], rule.Annotations...)
		}
	}
	for name, rule := range first {
		if missing := missingMetadata(annotations[name]); len(missing) > 0 {
			l.add(lintMetadata, rule.Location, fmt.Sprintf("the METADATA of %s lacks %s", name, strings.Join(missing, ", ")))
		}
	}
}

// missingMetadata lists what the annotations of a rule lack together.
func missingMetadata(annotations []*ast.Annotations) []string {
	doc := ruleDoc(annotations)
	var missing []string
	for _, want := range []struct{ name, value string }{
		{"a title", doc.Title}, {"a description", doc.Description}, {"custom.severity", doc.Severity}, {"custom.remediation", doc.Remediation},
	} {
		if want.value == "" {
			missing = append(missing, want.name)
		}
	}
	if doc.Severity != "" && !slices.Contains(severities, doc.Severity) {
		missing = append(missing, "a custom.severity that is one of "+strings.Join(severities, ", "))
	}
	return missing
}
