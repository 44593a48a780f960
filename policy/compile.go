package policy

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

// A set is a compiled [Set]. It is not changed after loading.
type set struct {
	name        string
	id          string // that no other one has in an engine
	format      Format
	version     RegoVersion
	match       matcher
	enforcement Enforcement
	compiler    *ast.Compiler
	store       storage.Store
	parameters  *ast.Term
	entries     []*entry
	plans       map[string]*plan // by the value of input.object.kind; "" is every other
	reads       *readPaths
	context     Part // that any rule reads
	// Of Gatekeeper: what the constraint selects, what the template lists and parameters
	// name, and whether it is about deletions: others judge none.
	constraint      *constraintMatch
	operations      []string
	deletionsNamed  bool
	judgesDeletions bool
	combine         bool                 // it judges all objects together
	interned        map[string]*ast.Term // short strings that its rules hold
}

// compileSet adds to bad what is wrong, and then returns nil. In most formats it
// returns one set.
func compileSet(s Set, opts Options, bad *problems) []*set {
	before := len(bad.list) + bad.more
	checkSet(s, opts, bad)
	checkParameters(s, bad)
	m, err := newMatcher(s.Match)
	if err != nil {
		bad.add(Problem{Set: s.Name, Message: "match: " + err.Error()})
	}
	parameters, err := ast.InterfaceToValue(orEmpty(s.Parameters))
	if err != nil {
		bad.add(Problem{Set: s.Name, Message: "parameters: " + err.Error()})
	}
	if s.Format == FormatGatekeeper {
		if len(bad.list)+bad.more > before {
			return nil
		}
		return compileGatekeeper(s, m, opts, bad)
	}
	modules, words := parseModules(s, opts, bad)
	if len(bad.list)+bad.more > before {
		return nil
	}
	out := &set{name: s.Name, id: s.Name, format: cmp.Or(s.Format, FormatGitgate), match: m,
		enforcement: cmp.Or(s.Enforcement, Deny), parameters: ast.NewTerm(parameters), version: s.RegoVersion, combine: s.Combine}
	out.compile(modules, words, s.Data, opts, bad)
	if len(bad.list)+bad.more > before {
		return nil
	}
	return []*set{out}
}

// compile compiles parsed modules that hold these words, or adds to bad. Once OPA has
// rewritten the rules, they are looked at while it goes on to check and index them.
func (s *set) compile(modules map[string]*ast.Module, words words, data map[string]any, opts Options, bad *problems) {
	var found problems
	var finish func() error
	var wait func() (panicked any)
	s.compiler = newCompiler(words, func(c *ast.Compiler) {
		wait = begin(func() { finish = s.look(c, opts, &found) })
	}).
		WithStrict(s.format == FormatGitgate). // what was written for others is taken as it is
		WithDefaultRegoVersion(regoVersion(s.version)).
		WithPathConflictsCheck(dataConflicts(data)).
		WithSchemas(schemas(s.format)).
		SetErrorLimit(maxProblems)
	s.compiler.Compile(modules)
	var panicked any
	if wait != nil {
		panicked = wait()
	}
	if s.compiler.Failed() { // of which whatever was found follows
		bad.addRego(s.name, s.compiler.Errors)
		return
	}
	if panicked != nil {
		panic(panicked)
	}
	if bad.addAll(&found); finish == nil {
		return
	}
	s.store = inmem.NewFromObjectWithOpts(orEmpty(data), inmem.OptRoundTripOnWrite(true), inmem.OptReturnASTValuesOnRead(true))
	if err := finish(); err != nil {
		bad.addRego(s.name, err)
	}
}

// look takes from rewritten rules what evaluating them needs, and what is wrong with
// them. It returns what needs the compiler to be ready, or nil where anything is wrong.
func (s *set) look(c *ast.Compiler, opts Options, bad *problems) (finish func() error) {
	rules := rulesOf(c)
	depends := sync.OnceValue(func() *dependencies { return newDependencies(groupRules(rules), rules) })
	var all *readPaths
	sideBySide([]func(){
		func() { s.check(c, rules, opts, bad) },
		func() { all = collectReads(rules) },
	}, func(do func()) struct{} { do(); return struct{}{} })
	if len(bad.list)+bad.more > 0 {
		return nil
	}
	s.findReads(rules, all, depends, opts)
	s.findNeeds(all, rules, depends)
	s.buildPlans()
	return func() error {
		if s.format == FormatConftest {
			return s.findExceptions(depends().groups)
		}
		return nil
	}
}

// check looks for what compiles and is wrong, and finds the rules that speak.
func (s *set) check(c *ast.Compiler, rules []*ast.Rule, opts Options, bad *problems) {
	s.interned = s.checkTerms(c, bad)
	switch s.format {
	case FormatGatekeeper:
		s.entries = templateEntries(s.name, c, bad)
	case FormatConftest:
		s.entries = findEntries(s.name, c, bad)
	default:
		checkFields(s.name, rules, opts.Fields, bad)
		s.entries = findEntries(s.name, c, bad)
	}
}

// findReads finds out which part of all that the set reads each of its entries does.
func (s *set) findReads(rules []*ast.Rule, all *readPaths, depends func() *dependencies, opts Options) {
	if s.reads = all; opts.ReadWholeInput {
		s.reads = &readPaths{all: true}
	}
	if s.format == FormatGatekeeper {
		s.judgesDeletions = cmp.Or(opts.EnforcementPoint, admissionPoint) != admissionPoint || s.aboutDeletions(rules, all)
		s.reads = nativeReads(s.reads, s.judgesDeletions)
	}
	for i, e := range s.entries {
		e.index = i
	}
	if len(s.entries) > maxRememberedEntries || opts.ReadWholeInput || s.combine {
		return
	}
	sideBySide(s.entries, func(e *entry) struct{} {
		if g := depends().groups[e.ref.String()]; g != nil {
			if reads := collectReads(depends().reachable(g)); reads.memorable() {
				e.reads = reads
			}
		}
		return struct{}{}
	})
}

// maxRememberedEntries bounds the entries of a set whose answers are kept: each
// is analysed with all that it depends on.
const maxRememberedEntries = 200

// rulesOf lists all rules.
func rulesOf(c *ast.Compiler) []*ast.Rule {
	var rules []*ast.Rule
	for _, name := range slices.Sorted(maps.Keys(c.Modules)) {
		rules = append(rules, c.Modules[name].Rules...)
	}
	return rules
}

func checkSet(s Set, opts Options, bad *problems) {
	report := func(format string, args ...any) {
		bad.add(Problem{Set: s.Name, Message: fmt.Sprintf(format, args...)})
	}
	if s.Name == "" || len(s.Name) > 253 || strings.ContainsFunc(s.Name, func(r rune) bool { return r < '!' || r == '/' || r > '~' }) {
		report("the name %q must be 1 to 253 printable characters without a slash or space", s.Name)
	}
	switch s.Enforcement {
	case "", Deny, Warn, Audit:
	default:
		report("enforcement %q is unknown: use Deny, Warn or Audit", s.Enforcement)
	}
	switch s.Format {
	case "", FormatGitgate, FormatConftest:
		if len(s.Manifests) > 0 {
			report("templates and constraints want the format Gatekeeper")
		}
	case FormatGatekeeper:
		checkGatekeeper(s, opts, report)
	default:
		report("format %q is not supported: use Gitgate, Conftest or Gatekeeper", s.Format)
	}
	switch s.RegoVersion {
	case "", RegoV1, RegoV0:
	default:
		report("Rego version %q is unknown: use v1 or v0", s.RegoVersion)
	}
	if s.Combine && s.Format != FormatConftest {
		report("only sets of the format Conftest combine objects: others read data.inventory")
	}
	if len(s.Modules) > opts.MaxModules {
		report("%s", tooMany("modules", len(s.Modules), opts.MaxModules))
	}
}

func parseModules(s Set, opts Options, bad *problems) (map[string]*ast.Module, words) {
	parsed, move, all := map[string]*ast.Module{}, moverOf(s), words{}
	if len(s.Modules) > opts.MaxModules {
		return parsed, all
	}
	files := slices.DeleteFunc(slices.Sorted(maps.Keys(s.Modules)), func(file string) bool { return strings.HasSuffix(file, "_test.rego") })
	results := sideBySide(files, func(file string) *parsing {
		p := &parsing{}
		if p.wrong = checkSource(s.Modules[file], opts); p.wrong != "" {
			return p
		}
		if p.mod, p.err = parseModule(file, s.Modules[file], regoVersion(s.RegoVersion)); p.err != nil {
			return p
		}
		if s.Format == FormatConftest { // the others are compiled strictly
			checkShadows(s.Name, p.mod, &p.bad)
		}
		move.module(p.mod)
		p.words = wordsOf(s.Modules[file])
		return p
	})
	for i, file := range files {
		p := results[i]
		if p.wrong != "" {
			bad.add(Problem{Set: s.Name, File: file, Line: 1, Column: 1, Message: p.wrong})
			continue
		}
		if p.err != nil {
			bad.addRego(s.Name, p.err)
			if s.RegoVersion != RegoV0 {
				if _, err := parseModule(file, s.Modules[file], ast.RegoV0); err == nil {
					bad.add(Problem{Set: s.Name, File: file, Line: 1, Column: 1,
						Message: "this module is written in Rego v0: set regoVersion to v0, or rewrite it with `opa fmt --v0-v1`"})
				}
			}
			continue
		}
		bad.addAll(&p.bad)
		parsed[file], all = p.mod, all.and(p.words)
	}
	return parsed, all
}

// A parsing is what became of a module.
type parsing struct {
	mod   *ast.Module
	words words
	bad   problems
	err   error
	wrong string // why it was not parsed
}

func parseModule(file, src string, v ast.RegoVersion) (*ast.Module, error) {
	// What may be called is the compiler's business; without it the parser is quicker.
	return ast.ParseModuleWithOpts(file, src, ast.ParserOptions{ProcessAnnotation: true, RegoVersion: v})
}

// maxBrackets bounds how deep a module nests, and maxLine how long one of its
// lines is: parser and compiler recurse.
const (
	maxBrackets = 200
	maxLine     = 8 << 10
)

// checkSource refuses what would cost the parser more than it is worth.
func checkSource(src string, opts Options) string {
	if len(src) > opts.MaxModuleBytes {
		return tooMany("bytes", len(src), opts.MaxModuleBytes)
	}
	if !utf8.ValidString(src) {
		return "the module is not UTF-8"
	}
	depth, line := 0, 0
	for i := 0; i < len(src); i++ {
		line++
		switch src[i] {
		case '[', '{', '(':
			if depth++; depth > maxBrackets {
				return tooMany("nested brackets", depth, maxBrackets)
			}
		case ']', '}', ')':
			depth = max(depth-1, 0)
		case '\n':
			line = 0
		}
		if line > maxLine {
			return tooMany("bytes in one line", line, maxLine)
		}
	}
	return ""
}

func regoVersion(v RegoVersion) ast.RegoVersion {
	if v == RegoV0 {
		return ast.RegoV0
	}
	return ast.RegoV1
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// dataConflicts lets the compiler refuse a rule that data would shadow.
func dataConflicts(data map[string]any) func([]string) (bool, error) {
	return func(p []string) (bool, error) {
		var node any = data
		for _, key := range p {
			m, ok := node.(map[string]any)
			if !ok {
				return false, nil
			}
			if node, ok = m[key]; !ok {
				return false, nil
			}
		}
		return true, nil
	}
}

// displayPath is a package or rule as its author wrote it, without data.
func displayPath(ref ast.Ref) string {
	parts := make([]string, 0, len(ref))
	for _, t := range ref[1:] {
		if s, ok := t.Value.(ast.String); ok {
			parts = append(parts, string(s))
		} else {
			parts = append(parts, t.String())
		}
	}
	return path.Join(strings.Join(parts, "."))
}
