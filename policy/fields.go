package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// A FieldSource knows the fields of kinds. It returns those at a path of a kind, in
// which "*" is any element of a list or a mapping, and false where there may be any,
// as in a kind that it does not know. It is asked about several sets at once.
type FieldSource func(kind string, path []string) (fields []string, closed bool)

// anyElement is a step of a path that is no constant.
const anyElement = "*"

// objectFields are the fields that nearly every kind has, and metaFields those that
// metadata can have.
var (
	objectFields = []string{"apiVersion", "kind", "metadata", "spec", "status"}
	metaFields   = strings.Fields(`name generateName namespace labels annotations uid resourceVersion generation
		creationTimestamp deletionTimestamp deletionGracePeriodSeconds finalizers ownerReferences managedFields selfLink`)
)

// checkFields looks for misspelt fields of Kubernetes objects, through the names
// that a rule gives to parts of them. What a rule hands to a function or takes from
// another rule is not followed.
func checkFields(set string, rules []*ast.Rule, known FieldSource, bad *problems) {
	for _, rule := range rules {
		for ; rule != nil; rule = rule.Else {
			if !readsObject(rule) {
				continue
			}
			f := fieldCheck{set: set, rule: rule, known: known, bad: bad, names: map[ast.Var]objectPath{}}
			f.run()
		}
	}
}

// readsObject reports whether a rule itself reads an object of the input.
func readsObject(rule *ast.Rule) (reads bool) {
	ast.WalkRefs(rule, func(ref ast.Ref) bool {
		if !reads && len(ref) > 1 && ref[0].Equal(ast.InputRootDocument) {
			key, _ := ref[1].Value.(ast.String)
			reads = key == "object" || key == "oldObject"
		}
		return reads
	})
	return reads
}

type fieldCheck struct {
	set   string
	rule  *ast.Rule
	known FieldSource
	bad   *problems
	kinds []string
	names map[ast.Var]objectPath // the variables that stand for a part of an object
}

// An objectPath is a path below input.object or input.oldObject. Where steps holds a
// name, text is how it was reached.
type objectPath struct {
	steps []string
	text  string
}

func (f *fieldCheck) run() {
	for kind := range guardedKinds(f.rule, nil) {
		f.kinds = append(f.kinds, kind)
	}
	slices.Sort(f.kinds)
	if f.known == nil || f.readsGroup() {
		f.kinds = nil // another group may have a kind of the same name
	}
	f.findNames()
	ast.WalkRefs(f.rule, func(ref ast.Ref) bool {
		if base, n := f.base(ref); n > 0 {
			f.check(base, ref, n)
		}
		return false
	})
}

// base returns what of an object a reference begins with, and where that ends; 0 if
// it is no object.
func (f *fieldCheck) base(ref ast.Ref) (objectPath, int) {
	head, ok := ref[0].Value.(ast.Var)
	if !ok {
		return objectPath{}, 0
	}
	if head.Equal(ast.InputRootDocument.Value) {
		if len(ref) < 2 {
			return objectPath{}, 0
		}
		if key, _ := ref[1].Value.(ast.String); key == "object" || key == "oldObject" {
			return objectPath{text: "input." + string(key)}, 2
		}
		return objectPath{}, 0
	}
	if at, ok := f.names[head]; ok {
		return at, 1
	}
	return objectPath{}, 0
}

// readsGroup reports whether the rule looks at the apiVersion.
func (f *fieldCheck) readsGroup() (reads bool) {
	ast.WalkRefs(f.rule, func(ref ast.Ref) bool {
		for _, t := range ref[1:] {
			reads = reads || t.Value.Compare(ast.String("apiVersion")) == 0
		}
		return reads
	})
	return reads
}

// findNames finds the variables that the rule equates with a part of an object, and
// with nothing else.
func (f *fieldCheck) findNames() {
	given := map[ast.Var]int{}
	for _, arg := range f.rule.Head.Args {
		ast.WalkVars(arg, func(v ast.Var) bool { given[v]++; return false })
	}
	var equations []*ast.Expr
	ast.WalkExprs(f.rule.Body, func(e *ast.Expr) bool {
		if !e.IsEquality() || e.Negated || len(e.With) > 0 {
			return false
		}
		equations = append(equations, e)
		for _, side := range e.Operands() {
			if v, ok := side.Value.(ast.Var); ok {
				given[v]++
			}
		}
		return false
	})
	for changed := true; changed; {
		changed = false
		for _, e := range equations {
			v, ref := sides(e)
			if ref == nil || given[v] != 1 || f.names[v].text != "" {
				continue
			}
			if base, n := f.base(ref); n > 0 {
				f.names[v] = base.below(ref[n:])
				changed = true
			}
		}
	}
}

// sides returns the variable and the reference of an equation, if it has these.
func sides(e *ast.Expr) (ast.Var, ast.Ref) {
	a, b := e.Operand(0), e.Operand(1)
	if _, ok := a.Value.(ast.Var); !ok {
		a, b = b, a
	}
	v, _ := a.Value.(ast.Var)
	ref, _ := b.Value.(ast.Ref)
	if v == "" {
		return "", nil
	}
	return v, ref
}

func (p objectPath) below(ref ast.Ref) objectPath {
	out := objectPath{steps: slices.Clone(p.steps), text: p.text}
	for _, t := range ref {
		out.step(t)
	}
	return out
}

func (p *objectPath) step(t *ast.Term) {
	if key, ok := t.Value.(ast.String); ok {
		p.steps = append(p.steps, string(key))
		p.text += "." + string(key)
		return
	}
	p.steps = append(p.steps, anyElement)
	p.text += "[_]"
}

// check looks at each constant key of a reference from n on.
func (f *fieldCheck) check(at objectPath, ref ast.Ref, n int) {
	at = objectPath{steps: slices.Clone(at.steps), text: at.text}
	for _, t := range ref[n:] {
		if key, ok := t.Value.(ast.String); ok {
			if message := f.wrong(at, string(key)); message != "" {
				loc := t.Location
				if loc == nil {
					loc = ref[0].Location
				}
				if loc == nil {
					loc = f.rule.Location
				}
				f.bad.addAt(f.set, loc, message)
				return
			}
		}
		at.step(t)
	}
}

// wrong says what is wrong with a key at a path, if anything is.
func (f *fieldCheck) wrong(at objectPath, key string) string {
	switch {
	case len(at.steps) == 0 && slices.Contains(objectFields, key):
	case len(at.steps) == 0:
		if meant := nearest(key, objectFields); meant != "" && meant != key && distance(key, meant) == 1 && len(f.kinds) == 0 {
			return noField(at.text, key, objectFields)
		}
	case len(at.steps) == 1 && at.steps[0] == "metadata" && !slices.Contains(metaFields, key):
		return noField(at.text, key, metaFields)
	}
	var all []string
	for _, kind := range f.kinds {
		fields, closed := f.known(kind, at.steps)
		if !closed || slices.Contains(fields, key) {
			return ""
		}
		all = append(all, fields...)
	}
	if len(f.kinds) == 0 {
		return ""
	}
	slices.Sort(all)
	return noField(fmt.Sprintf("%s of kind %s", at.text, strings.Join(f.kinds, " or ")), key, slices.Compact(all))
}
