package author

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// seemsToSpeak is how rules are called by who expects them to speak.
var seemsToSpeak = regexp.MustCompile(`(?i)^(den(y|ies|ied)|violat(e|es|ion|ions)|warn(s|ing|ings)?)(_|[A-Z0-9]|$)`)

// unreachable looks for rules that do nothing. A package in which no rule speaks is
// a library: others may read what these do not.
func (l *linter) unreachable() {
	speaking := map[string]bool{}
	for _, rule := range l.entries {
		speaking[rule.Module.Package.Path.String()] = true
	}
	byName := map[string][]*ast.Rule{}
	for _, rule := range l.rules() {
		byName[rule.Ref().GroundPrefix().String()] = append(byName[rule.Ref().GroundPrefix().String()], rule)
	}
	for _, rules := range byName {
		first := rules[0]
		if slices.ContainsFunc(rules, func(r *ast.Rule) bool { return l.reached[r] }) {
			continue
		}
		if seemsToSpeak.MatchString(ruleName(first)) && len(first.Head.Args) == 0 {
			l.add(lintSilentRule, first.Location, fmt.Sprintf(
				"%s looks like a rule that speaks, and nothing reads it: name it deny, violation or warn, with or without _suffix", ruleName(first)))
			continue
		}
		if !speaking[first.Module.Package.Path.String()] {
			continue
		}
		what := "rule"
		if len(first.Head.Args) > 0 {
			what = "function"
		}
		l.add(lintUnreachable, first.Location, fmt.Sprintf("no rule that speaks reads the %s %s: use it, or remove it", what, ruleName(first)))
	}
}

// untested looks for rules that speak and that no test reads.
func (l *linter) untested() {
	var tests []*ast.Rule
	for _, m := range l.compiled.Modules {
		for _, rule := range m.Rules {
			if isTestRule(rule) {
				tests = append(tests, rule)
			}
		}
	}
	read := reachable(l.compiled, tests)
	expected := l.tree.source.expected()
	told := map[string]bool{}
	for _, rule := range l.entries {
		name := fullName(rule)
		same := func(r *ast.Rule) bool { return fullName(r) == name && read[r] }
		if told[name] || expected[name] || slices.ContainsFunc(l.entries, same) {
			continue
		}
		told[name] = true
		l.add(lintUntested, rule.Location, fmt.Sprintf("no test reads %s: write one that it denies, and one that it does not", name))
	}
}

// expected lists the rules that manifests expect to speak. What is wrong with a
// manifest is told when it is run.
func (s Source) expected() map[string]bool {
	out := map[string]bool{}
	files, err := s.files(".yaml", ".yml", ".json")
	if err != nil {
		return out
	}
	for _, file := range files {
		raw, err := s.read(file)
		if err != nil || !strings.Contains(string(raw), testGroup) {
			continue
		}
		docs, _ := documents(raw)
		for _, doc := range docs {
			t, err := decodeTest(doc)
			if err != nil {
				continue
			}
			for _, c := range t.Cases {
				for _, e := range *c.Expect {
					out[e.Policy] = true
				}
			}
		}
	}
	return out
}

// contradictions looks for bodies that cannot hold.
func (l *linter) contradictions() {
	for _, rule := range l.rules() {
		if rule.Default {
			continue
		}
		eachBody(rule, func(body ast.Body) {
			said := map[string]*ast.Term{}
			for _, e := range body {
				if t, ok := e.Terms.(*ast.Term); ok && !e.Negated && t.Equal(ast.InternedTerm(false)) {
					l.add(lintNeverHolds, e.Location, "false never holds: remove the rule, or say when it holds")
				}
				ref, value := equated(e)
				if value == nil {
					continue
				}
				if other, ok := said[ref]; ok && !other.Equal(value) {
					l.add(lintNeverHolds, e.Location, fmt.Sprintf(
						"%s is to be %s and %s at once: write `in {%s, %s}` if either will do", ref, other, value, other, value))
				}
				said[ref] = value
			}
		})
	}
}

// equated takes `ref = scalar` apart, where the reference names one value.
func equated(e *ast.Expr) (string, *ast.Term) {
	terms, ok := e.Terms.([]*ast.Term)
	if !ok || e.Negated || len(e.With) > 0 || !e.IsEquality() || len(terms) != 3 {
		return "", nil
	}
	a, b := terms[1], terms[2]
	if _, ok := b.Value.(ast.Ref); ok {
		a, b = b, a
	}
	ref, ok := a.Value.(ast.Ref)
	if !ok || !ref.IsGround() || !ast.IsScalar(b.Value) {
		return "", nil
	}
	return ref.String(), b
}

// parameters holds what rules read of the parameters against those that are known.
func (l *linter) parameters() {
	if l.options.Parameters == nil {
		return
	}
	read := map[string]*ast.Location{}
	whole := false
	for _, rule := range l.rules() {
		ast.WalkTerms(rule, func(t *ast.Term) bool {
			ref, ok := t.Value.(ast.Ref)
			if !ok || !ref.HasPrefix(parametersRef) {
				return false
			}
			key, named := ast.String(""), false
			if len(ref) > len(parametersRef) {
				key, named = ref[len(parametersRef)].Value.(ast.String)
			}
			if !named {
				whole = true
			} else if read[string(key)] == nil && t.Location != nil {
				read[string(key)] = t.Location
			}
			return false
		})
	}
	for _, key := range slices.Sorted(maps.Keys(read)) {
		if _, ok := l.options.Parameters[key]; !ok {
			l.add(lintMissingParameter, read[key], fmt.Sprintf("%s does not set the parameter %s, which is read here", l.options.ParametersFile, key))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(l.options.Parameters)) {
		if read[key] == nil && !whole {
			l.found[LintFinding{
				Rule: lintUnusedParameter.Name, Severity: lintUnusedParameter.Severity, File: l.options.ParametersFile,
				Message: fmt.Sprintf("no rule reads the parameter %s: correct its name, or remove it", key),
			}] = true
		}
	}
}

var parametersRef = ast.MustParseRef("input.parameters")
