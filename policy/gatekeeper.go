package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// violationName is the rule of a template that speaks.
const violationName = "violation"

// checkGatekeeper refuses what a set of Gatekeeper does not have.
func checkGatekeeper(s Set, opts Options, report func(string, ...any)) {
	switch {
	case len(s.Modules) > 0:
		report("a set of the format Gatekeeper has templates and constraints in YAML files, and no Rego of its own")
	case s.Parameters != nil:
		report("the parameters of the format Gatekeeper are in the constraints")
	case s.RegoVersion != "":
		report("the templates of the format Gatekeeper say their Rego version themselves")
	case len(s.Data) > 0:
		report("rules of the format Gatekeeper read no data files")
	case len(s.Manifests) > opts.MaxModules:
		report("%s", tooMany("files", len(s.Manifests), opts.MaxModules))
	}
}

// compileGatekeeper makes a set of each constraint. Constraints of one template share
// its rules, and templates see nothing of each other.
func compileGatekeeper(s Set, outer matcher, opts Options, bad *problems) []*set {
	before := len(bad.list) + bad.more
	r := readGatekeeper(s.Name, opts.EnforcementPoint, s.Manifests, bad)
	if len(bad.list)+bad.more > before {
		return nil
	}
	r.noteDeletions()
	compiled := r.compile(s, opts)
	var out []*set
	for _, c := range r.constraints {
		t, base := r.templates[c.kind], compiled[c.kind]
		parameters, err := t.withDefaults(c.parameters)
		if err != nil {
			bad.add(Problem{Set: s.Name, File: c.file, Line: c.line, Column: 1, Message: fmt.Sprintf("%s/%s: %v", c.kind, c.name, err)})
			continue
		}
		value, err := ast.InterfaceToValue(parameters)
		if err != nil {
			bad.add(Problem{Set: s.Name, File: c.file, Line: c.line, Column: 1, Message: fmt.Sprintf("%s/%s: parameters: %v", c.kind, c.name, err)})
			continue
		}
		if base == nil {
			continue // reported
		}
		one := *base
		one.id = s.Name + "/" + c.kind + "/" + c.name
		one.match, one.constraint, one.parameters = outer, &c.match, ast.NewTerm(value)
		one.enforcement = weaker(s.Enforcement, c.enforcement)
		if c.match.namespaceSelector != nil {
			one.reads = mergeReads(one.reads, &readPaths{keys: map[string]*readPaths{"namespace": {all: true}}})
		}
		out = append(out, &one)
	}
	if len(bad.list)+bad.more > before {
		return nil
	}
	return out
}

// noteDeletions notes of templates whether parameters of a constraint name deletions.
func (r *gatekeeperReader) noteDeletions() {
	for _, c := range r.constraints {
		t := r.templates[c.kind]
		parameters, err := t.withDefaults(c.parameters)
		if err != nil {
			continue // reported with the constraint
		}
		if value, err := ast.InterfaceToValue(parameters); err == nil && nameDeletion(ast.NewTerm(value)) {
			t.deletionsNamed = true
		}
	}
}

// compile compiles all templates, those that no constraint uses too.
func (r *gatekeeperReader) compile(s Set, opts Options) map[string]*set {
	type compilation struct {
		set *set
		bad problems
	}
	kinds := slices.Sorted(maps.Keys(r.templates))
	results := sideBySide(kinds, func(kind string) *compilation {
		c := &compilation{}
		c.set = r.templates[kind].compile(s, opts, &c.bad)
		return c
	})
	out := make(map[string]*set, len(kinds))
	for i, kind := range kinds {
		out[kind] = results[i].set
		r.bad.addAll(&results[i].bad)
	}
	return out
}

// weaker returns the enforcement that bites less.
func weaker(a, b Enforcement) Enforcement {
	if a == "" {
		a = Deny
	}
	if order(a) > order(b) {
		return a
	}
	return b
}

// compile compiles the Rego of a template; it returns nil after adding to bad.
func (t *template) compile(s Set, opts Options, bad *problems) *set {
	before := len(bad.list) + bad.more
	modules, words := t.parse(s, opts, bad)
	if len(bad.list)+bad.more > before {
		return nil
	}
	out := &set{name: s.Name, format: FormatGatekeeper, operations: t.operations, deletionsNamed: t.deletionsNamed}
	out.compile(modules, words, nil, opts, bad)
	if len(bad.list)+bad.more > before {
		return nil
	}
	return out
}

// parse parses the modules of a template, at the lines that they have in their file.
func (t *template) parse(s Set, opts Options, bad *problems) (map[string]*ast.Module, words) {
	version := ast.RegoV0
	if t.v1 {
		version = ast.RegoV1
	}
	modules, all := make(map[string]*ast.Module, len(t.source)), words{}
	var own ast.Ref
	for i, src := range t.source {
		if msg := checkSource(src.text, opts); msg != "" {
			bad.add(Problem{Set: s.Name, File: t.file, Line: src.line + 1, Column: 1, Message: msg})
			continue
		}
		mod, err := parseModule(t.file, strings.Repeat("\n", src.line)+src.text, version)
		if err != nil {
			bad.addRego(s.Name, err)
			continue
		}
		if i == 0 {
			own = mod.Package.Path
		} else if !isLib(mod.Package.Path) {
			bad.addAt(s.Name, mod.Package.Loc(), fmt.Sprintf("the package of a lib must begin with lib, as in lib.helpers, and not be %s", displayPath(mod.Package.Path)))
		}
		checkShadows(s.Name, mod, bad)
		mover{inventoryMove}.module(mod)
		t.checkData(s.Name, mod, own, bad)
		modules[moduleName(t.kind, i)], all = mod, all.and(wordsOf(src.text))
	}
	return modules, all
}

// moduleName is what the compiler calls a module of a template. The first one sorts
// first.
func moduleName(kind string, i int) string { return fmt.Sprintf("%s/%03d", kind, i) }

func isLib(path ast.Ref) bool {
	return len(path) > 1 && path[1].Equal(ast.StringTerm("lib"))
}

// checkData refuses to read data that a template is not given: it would be undefined
// on every object.
func (t *template) checkData(set string, mod *ast.Module, own ast.Ref, bad *problems) {
	ast.WalkRefs(mod, func(ref ast.Ref) bool {
		if ref[0].Equal(ast.DefaultRootDocument) && len(ref) > 1 && !isLib(ref) && !ref.HasPrefix(own) {
			bad.addAt(set, ref[0].Loc(), fmt.Sprintf("a template is given no %s: only data.lib and data.inventory", clip(ref.String(), 128)))
		}
		return false
	})
}

// templateEntries returns the rule that speaks for a template.
func templateEntries(set string, c *ast.Compiler, bad *problems) []*entry {
	main := c.Modules[firstModule(c)]
	e := &entry{name: displayPath(main.Package.Path) + "." + violationName, ref: main.Package.Path.Append(ast.StringTerm(violationName))}
	found := false
	for _, rule := range main.Rules {
		if !rule.Ref().GroundPrefix().Equal(e.ref) {
			continue
		}
		if found = true; len(rule.Head.Args) > 0 || rule.Head.RuleKind() != ast.MultiValue {
			bad.addAt(set, rule.Loc(), "violation is not a set: write `violation[{\"msg\": msg}] { … }`")
			return nil
		}
	}
	if !found {
		bad.addAt(set, main.Package.Loc(), "the template has no rule violation: it would let everything pass")
		return nil
	}
	return []*entry{e}
}

func firstModule(c *ast.Compiler) string {
	first := ""
	for name := range c.Modules {
		if first == "" || name < first {
			first = name
		}
	}
	return first
}

// aboutDeletions reports whether a template is about deletions too. What it lists in
// its target says so. Where it lists nothing, it is one that looks at the operation
// while its rules, or parameters of a constraint, name deletions: most that look at the
// operation do so to leave updates out, and Gatekeeper's webhook is not asked about
// deletions unless it is told to.
func (s *set) aboutDeletions(rules []*ast.Rule, reads *readPaths) bool {
	if len(s.operations) > 0 {
		return slices.Contains(s.operations, "DELETE") || slices.Contains(s.operations, "*")
	}
	if !reads.names("review", "operation") {
		return false
	}
	return s.deletionsNamed || slices.ContainsFunc(rules, func(r *ast.Rule) bool { return nameDeletion(r) })
}

// nameDeletion reports whether a text has delete in it, as one has that the operation
// is compared with.
func nameDeletion(in any) (found bool) {
	ast.WalkTerms(in, func(t *ast.Term) bool {
		text, ok := t.Value.(ast.String)
		found = found || ok && strings.Contains(strings.ToLower(string(text)), "delete")
		return found
	})
	return found
}

// nativeReads says which parts of our own input a template reads through its.
func nativeReads(reads *readPaths, deletions bool) *readPaths {
	whole := &readPaths{all: true}
	out := &readPaths{keys: map[string]*readPaths{}}
	put := func(key string, below *readPaths) {
		if below != nil {
			out.keys[key] = mergeReads(out.keys[key], below)
		}
	}
	review := reads.key("review")
	put("object", review.key("object"))
	put("oldObject", review.key("oldObject"))
	put("operation", review.key("operation"))
	if deletions { // of which the old object is the object
		put("oldObject", review.key("object"))
	}
	put("userInfo", review.key("userInfo"))
	put("namespace", review.key("namespaceObject"))
	if review.key("_unstable") != nil {
		put("namespace", whole)
	}
	put(inventoryKey, reads.key(inventoryKey))
	return out
}

// reviewKey is input.review.
var reviewKey = ast.InternedTerm("review")

// reviewView is our input as Gatekeeper has it.
func reviewView(s *subject, items [][2]*ast.Term) [][2]*ast.Term {
	h := &s.headers[0]
	_, version, ok := strings.Cut(h.apiVersion, "/")
	if !ok {
		version = h.apiVersion
	}
	review := []any{
		"kind", objectTerm("group", ast.StringTerm(h.group), "version", ast.StringTerm(version), "kind", ast.StringTerm(h.kind)),
	}
	if h.name != "" && !h.generated {
		review = append(review, "name", ast.StringTerm(h.name))
	}
	if h.namespace != "" {
		review = append(review, "namespace", ast.StringTerm(h.namespace))
	}
	var out [][2]*ast.Term
	has := map[string]bool{}
	for _, item := range items {
		key := string(item[0].Value.(ast.String))
		has[key] = true
		switch key {
		case "object", "operation", "userInfo":
			review = append(review, key, item[1])
		case "oldObject":
			review = append(review, key, item[1])
			if s.object == "" {
				review = append(review, "object", item[1])
			}
		case "namespace":
			review = append(review, "namespaceObject", item[1], "_unstable", objectTerm("namespace", item[1]))
		case inventoryKey:
			out = append(out, item)
		}
	}
	if s.old == "" && s.unknown&PartOldObject == 0 {
		review = append(review, "oldObject", ast.InternedNullTerm) // so it is in a request
	}
	if !has["namespace"] && s.unknown&PartNamespace == 0 {
		review = append(review, "namespaceObject", ast.InternedNullTerm) // and so is that of none
	}
	return append(out, [2]*ast.Term{reviewKey, objectTerm(review...)})
}
