package author

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"gitgate.dev/gitgate/policy"
)

// A LintFinding is what a rule of [LintRules] has to say of a module.
type LintFinding struct {
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	// File is the module, Line and Column are 1-based; 0 is unknown.
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`

	file string // in the source
}

// A LintReport is what was found in the modules of some sources.
type LintReport struct {
	// Modules counts what was looked at.
	Modules  int
	Findings []LintFinding

	lines map[string][]string // of the shown files
}

// Worst is the worst severity that was found; empty when nothing was.
func (r LintReport) Worst() Severity {
	worst := Severity("")
	for _, f := range r.Findings {
		if f.Severity == Error {
			return Error
		}
		worst = f.Severity
	}
	return worst
}

// LintOptions say what is known about the policies.
type LintOptions struct {
	// Parameters are what the rules get; nil when that is not known. ParametersFile
	// is where they stand.
	Parameters     map[string]any
	ParametersFile string
	// Format is that of a PolicySet.
	Format policy.Format
	// Load is how the policies are loaded.
	Load policy.Options
}

// Lint looks for mistakes in the policies of sources, each on its own. It fails
// where something cannot be read; that something does not compile is a finding.
func Lint(ctx context.Context, sources []Source, o LintOptions) (LintReport, error) {
	r := LintReport{lines: map[string][]string{}}
	for _, s := range sources {
		if err := r.lint(ctx, s, o); err != nil {
			return LintReport{}, err
		}
	}
	if r.Modules == 0 {
		return LintReport{}, errors.New("no policies found: nothing was looked at")
	}
	slices.SortStableFunc(r.Findings, func(a, b LintFinding) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column), strings.Compare(a.Rule, b.Rule), strings.Compare(a.Message, b.Message))
	})
	r.Findings = slices.Compact(r.Findings)
	return r, nil
}

func (r *LintReport) lint(ctx context.Context, s Source, o LintOptions) error {
	set, err := policy.ReadSetAs(o.Format, "policies", s.FS, s.root())
	if err != nil {
		return s.shown(err)
	}
	for _, texts := range []map[string]string{set.Modules, set.Manifests} {
		for file, src := range texts {
			r.Modules++
			r.lines[s.show(file)] = strings.Split(src, "\n")
		}
	}
	l := &linter{options: o, found: map[LintFinding]bool{}}
	if o.Format == policy.FormatGatekeeper {
		return r.templates(ctx, s, set, l)
	}
	t, err := s.load(testCapabilities())
	if err == nil {
		l.tree, t.set.Format, t.set.Data = t, o.Format, set.Data
		err = l.compile(ctx)
	}
	var le *policy.LoadError
	switch {
	case errors.As(err, &le):
		l.problems(le)
	case err != nil:
		return err
	}
	if l.compiled != nil {
		l.run()
	}
	r.take(s, l)
	return nil
}

// templates loads those of Gatekeeper; rules that are written for it are looked at
// no further.
func (r *LintReport) templates(ctx context.Context, s Source, set policy.Set, l *linter) error {
	_, err := policy.Compile(ctx, set, l.options.Load)
	var le *policy.LoadError
	if err != nil && !errors.As(err, &le) {
		return err
	}
	if le != nil {
		l.problems(s.shown(le).(*policy.LoadError))
	}
	r.take(s, l)
	return nil
}

// take adds what was found and not silenced.
func (r *LintReport) take(s Source, l *linter) {
	findings := slices.Collect(maps.Keys(l.found))
	if l.tree != nil {
		findings = l.silence(findings)
	}
	for i := range findings {
		if findings[i].File == "" {
			findings[i].File = s.show(findings[i].file)
		}
	}
	r.Findings = append(r.Findings, findings...)
}

// A linter looks at one source.
type linter struct {
	options  LintOptions
	tree     *tree
	compiled *ast.Compiler // with the tests; nil where that fails
	entries  []*ast.Rule   // compiled
	reached  map[*ast.Rule]bool
	found    map[LintFinding]bool
}

func (l *linter) add(rule LintRule, at *ast.Location, message string) {
	f := LintFinding{Rule: rule.Name, Severity: rule.Severity, Message: message}
	if at != nil {
		f.file, f.Line, f.Column = at.File, at.Row, at.Col
	}
	l.found[f] = true
}

// problems adds what keeps policies from loading. Their files are shown already.
func (l *linter) problems(le *policy.LoadError) {
	for _, p := range le.Problems {
		l.found[LintFinding{
			Rule: lintCompile.Name, Severity: lintCompile.Severity, File: p.File, Line: p.Line, Column: p.Column, Message: p.Message,
		}] = true
	}
}

// compile loads the policies as the cluster does, and then once more with their
// tests, to see what is read by whom.
func (l *linter) compile(ctx context.Context) error {
	_, err := policy.Compile(ctx, l.tree.set, l.options.Load)
	var le *policy.LoadError
	if err != nil && !errors.As(err, &le) {
		return err
	}
	if le != nil {
		l.problems(l.tree.source.shown(le).(*policy.LoadError))
	}
	c := l.tree.compiler()
	if c.Compile(l.tree.modules); c.Failed() {
		if le == nil { // so it is the tests that do not compile
			l.problems(l.tree.source.shown(loadError(c.Errors)).(*policy.LoadError))
		}
		return nil
	}
	l.compiled = c
	return nil
}

// run asks every rule.
func (l *linter) run() {
	for _, rule := range l.rules() {
		if speaks(rule) {
			l.entries = append(l.entries, rule)
		}
	}
	l.reached = reachable(l.compiled, l.entries)
	l.undefined()
	l.contradictions()
	l.unreachable()
	l.untested()
	l.parameters()
	for _, file := range slices.Sorted(maps.Keys(l.tree.policies())) {
		l.style(l.tree.modules[file])
	}
	l.metadata()
}

// rules lists the compiled rules of policies.
func (l *linter) rules() []*ast.Rule {
	var out []*ast.Rule
	for _, file := range slices.Sorted(maps.Keys(l.compiled.Modules)) {
		if isTest(file) {
			continue
		}
		for _, rule := range l.compiled.Modules[file].Rules {
			if !isTestRule(rule) {
				out = append(out, rule)
			}
		}
	}
	return out
}

// ruleName is the name of a rule as its package declares it.
func ruleName(rule *ast.Rule) string {
	return strings.Trim(rule.Head.Ref()[0].Value.String(), `"`)
}

func speaks(rule *ast.Rule) bool { return policy.Speaks(ruleName(rule)) }

// fullName is package.rule, as in findings.
func fullName(rule *ast.Rule) string {
	return strings.TrimPrefix(rule.Module.Package.Path.String(), "data.") + "." + ruleName(rule)
}

// reachable lists what rules read, directly or through others, themselves
// included.
func reachable(c *ast.Compiler, from []*ast.Rule) map[*ast.Rule]bool {
	seen := map[*ast.Rule]bool{}
	queue := slices.Clone(from)
	for len(queue) > 0 {
		rule := queue[0]
		queue = queue[1:]
		if seen[rule] {
			continue
		}
		seen[rule] = true
		for _, ref := range dataRefs(rule) {
			queue = append(queue, rulesOf(c, ref)...)
		}
	}
	return seen
}
