package policy

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// entryName is what a rule that speaks to gitgate is called.
var entryName = regexp.MustCompile(`^(deny|violation|warn)(_[A-Za-z0-9_]+)?$`)

// An entry is a rule whose results are findings.
type entry struct {
	name  string // package.rule, as written
	index int    // in its set
	ref   ast.Ref
	warns bool
	// fallback is the message of a result that brings none, from METADATA.
	fallback string
	info     RuleInfo
	// kinds are the values of input.object.kind outside of which no body of the
	// rule can hold; nil means any.
	kinds map[string]bool
	// reads is what the rule reads of the input, with all that it calls; nil where
	// its answers are not kept.
	reads *readPaths
	luck  luck
	// needs finds out what the rule may read that is not always known.
	needs func() needs
	// exception asks whether an exception of conftest holds; nil where there is none.
	exception ast.Body
	// partial says that the rule may be undefined where nothing is wrong: a list of
	// conftest that has a condition.
	partial bool
}

// findEntries lists the rules that speak: those that deny first, then by name.
func findEntries(set string, c *ast.Compiler, bad *problems) []*entry {
	byName, rules, misnamed := map[string]*entry{}, map[string][]*ast.Rule{}, len(bad.list)
	for _, file := range slices.Sorted(maps.Keys(c.Modules)) {
		for _, rule := range c.Modules[file].Rules {
			e := entryOf(set, c, rule, bad)
			if e == nil {
				continue
			}
			known, ok := byName[e.name]
			if !ok {
				byName[e.name] = e
			} else {
				known.kinds = unionKinds(known.kinds, e.kinds)
				known.fallback = cmp.Or(known.fallback, e.fallback)
			}
			rules[e.name] = append(rules[e.name], rule)
		}
	}
	if len(byName) == 0 && len(bad.list) == misnamed {
		bad.add(Problem{Set: set, Message: fmt.Sprintf(
			"no deny, violation or warn rule in %d modules: such a policy would let everything pass; name a rule deny, as in `deny contains msg if { … }`",
			len(c.Modules))})
	}
	entries := make([]*entry, 0, len(byName))
	for _, e := range byName {
		e.info.describe(rules[e.name])
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(btoi(a.warns), btoi(b.warns)), cmp.Compare(a.name, b.name))
	})
	return entries
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// entryOf returns nil for a rule that does not speak.
func entryOf(set string, c *ast.Compiler, rule *ast.Rule, bad *problems) *entry {
	ref := rule.Head.Ref()
	head, ok := ref[0].Value.(ast.Var)
	if !ok {
		return nil
	}
	m := entryName.FindStringSubmatch(string(head))
	if m == nil {
		return nil
	}
	switch {
	case len(rule.Head.Args) > 0:
		bad.addAt(set, rule.Loc(), fmt.Sprintf("%s is a function, which nothing calls for its findings: write `%s contains msg if { … }`, or give the function another name", head, head))
		return nil
	case len(ref) > 1:
		bad.addAt(set, rule.Loc(), fmt.Sprintf("%s is not a set: write `%s contains msg if { … }`", ref, head))
		return nil
	}
	full := rule.Module.Package.Path.Append(ast.StringTerm(string(head)))
	e := &entry{
		name:  displayPath(full),
		ref:   full,
		warns: m[1] == "warn",
		kinds: guardedKinds(rule, c),
	}
	for _, a := range rule.Annotations {
		e.fallback = cmp.Or(e.fallback, a.Description, a.Title)
	}
	return e
}

func unionKinds(a, b map[string]bool) map[string]bool {
	if a == nil || b == nil {
		return nil
	}
	for k := range b {
		a[k] = true
	}
	return a
}

// guardedKinds finds the kinds to which a compiled rule confines itself with
// input.object.kind == "X" or input.object.kind in {"X", "Y"} anywhere in its
// body: outside of them the body cannot hold. The list may be a rule of its own that
// states it; without a compiler that is not looked up. nil means that it is not confined.
func guardedKinds(rule *ast.Rule, c *ast.Compiler) map[string]bool {
	if rule.Default || rule.Else != nil || rule.Head.RuleKind() != ast.MultiValue {
		return nil // these have a value even where the body does not hold
	}
	if !slices.ContainsFunc(rule.Body, comparesKind) { // as most
		return nil
	}
	aliases, lists := map[ast.Var]bool{}, map[ast.Var]*ast.Term{}
	isKind := func(t *ast.Term) bool {
		switch v := t.Value.(type) {
		case ast.Ref:
			return v.Equal(kindRef)
		case ast.Var:
			return aliases[v]
		}
		return false
	}
	var found map[string]bool
	for range 2 { // the first pass finds the names that the compiler gave input.object.kind
		for _, expr := range rule.Body {
			terms, ok := expr.Terms.([]*ast.Term)
			if !ok || expr.Negated || len(expr.With) > 0 || len(terms) != 3 {
				continue
			}
			op, a, b := terms[0].Value.String(), terms[1], terms[2]
			switch op {
			case ast.Equality.Name, ast.Equal.Name, ast.Assign.Name:
				if isKind(b) {
					a, b = b, a
				}
				if !isKind(a) {
					nameList(lists, c, a, b)
					continue
				}
				if v, ok := b.Value.(ast.Var); ok && op != ast.Equal.Name {
					aliases[v] = true
				}
				if s, ok := b.Value.(ast.String); ok {
					found = map[string]bool{string(s): true}
				}
			case ast.Member.Name:
				if v, ok := b.Value.(ast.Var); ok && lists[v] != nil {
					b = lists[v]
				}
				if kinds := constantStrings(stated(c, b)); isKind(a) && kinds != nil && found == nil {
					found = kinds
				}
			}
		}
	}
	return found
}

// comparesKind reports whether the kind of the object is an operand of an expression.
func comparesKind(e *ast.Expr) bool {
	terms, ok := e.Terms.([]*ast.Term)
	return ok && len(terms) == 3 && slices.ContainsFunc(terms[1:], func(t *ast.Term) bool {
		ref, ok := t.Value.(ast.Ref)
		return ok && len(ref) == len(kindRef) && ref.Equal(kindRef)
	})
}

// nameList notes the variable that an equation gives to a rule which states a value.
func nameList(lists map[ast.Var]*ast.Term, c *ast.Compiler, a, b *ast.Term) {
	if _, ok := a.Value.(ast.Ref); ok {
		a, b = b, a
	}
	v, ok := a.Value.(ast.Var)
	if _, isRef := b.Value.(ast.Ref); !ok || !isRef {
		return
	}
	if value := stated(c, b); value != b {
		lists[v] = value
	}
}

// stated returns the value of the one rule that a reference to data names, if it has it
// whatever the input is, and else the term itself.
func stated(c *ast.Compiler, t *ast.Term) *ast.Term {
	ref, ok := t.Value.(ast.Ref)
	if !ok || c == nil || !ref.HasPrefix(ast.DefaultRootRef) || !ref.IsGround() {
		return t
	}
	rules := c.GetRulesExact(ref)
	if len(rules) != 1 {
		return t
	}
	rule := rules[0]
	if rule.Default || rule.Else != nil || rule.Head.RuleKind() != ast.SingleValue ||
		len(rule.Body) != 1 || !rule.Body[0].Equal(ast.NewExpr(ast.BooleanTerm(true))) || !rule.Head.Value.IsGround() {
		return t
	}
	return rule.Head.Value
}

var kindRef = ast.MustParseRef("input.object.kind")

// constantStrings returns nil unless t is a set or array of string constants.
func constantStrings(t *ast.Term) map[string]bool {
	out := map[string]bool{}
	add := func(e *ast.Term) {
		if s, ok := e.Value.(ast.String); ok && out != nil {
			out[string(s)] = true
			return
		}
		out = nil
	}
	switch v := t.Value.(type) {
	case ast.Set:
		v.Foreach(add)
	case *ast.Array:
		v.Foreach(add)
	default:
		return nil
	}
	return out
}
