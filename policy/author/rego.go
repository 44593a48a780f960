package author

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// testCapabilities is what tests may use: everything that opa test has, without a
// network. What a policy may use is decided where it is loaded.
func testCapabilities() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	c.AllowNet = []string{}
	return c
}

func (t *tree) runner(o Options) *tester.Runner {
	r := tester.NewRunner().
		AddCustomBuiltins(t.source.testBuiltins()).
		SetCompiler(t.compiler()).
		SetStore(t.store()).
		SetModules(t.modules).
		SetTimeout(o.Timeout).
		CapturePrintOutput(true).
		// Libraries in the older dialect are written for tools where a built-in that
		// fails is undefined, and so are their tests.
		RaiseBuiltinErrors(t.source.dialect() != ast.RegoV0)
	if o.Run != nil {
		r = r.Filter(o.Run.String())
	}
	return r
}

func (t *tree) compiler() *ast.Compiler {
	capabilities := testCapabilities()
	for _, b := range t.source.testBuiltins() {
		capabilities.Builtins = append(capabilities.Builtins, b.Decl)
	}
	return ast.NewCompiler().
		WithCapabilities(capabilities).
		WithEnablePrintStatements(true).
		WithDefaultRegoVersion(t.source.dialect())
}

// runRego runs the tests written in Rego, and says why those that fail do.
func (t *tree) runRego(ctx context.Context, o Options, reached *cover.Cover) ([]Result, error) {
	if len(t.modules) == 0 {
		return nil, nil
	}
	compiler := t.compiler()
	runner := t.runner(o).SetCompiler(compiler)
	if reached != nil {
		runner = runner.SetCoverageQueryTracer(reached).SetCoverageRuns(nil)
	}
	found, err := t.collect(ctx, runner)
	if err != nil {
		return nil, err
	}
	idle := t.idleTests(compiler)
	var out []Result
	var failed []string
	for _, f := range found {
		r := t.result(f)
		if why, ok := idle[place(f.Location)]; ok && r.Status == Passed {
			r.Status, r.Message = Failed, []string{why}
		} else if r.Status == Failed {
			failed = append(failed, "^"+regexp.QuoteMeta(f.Package+"."+f.Name)+"$")
		}
		out = append(out, r)
	}
	if len(failed) == 0 {
		return out, nil
	}
	o.Run = nil
	traced, err := t.collect(ctx, t.runner(o).Filter(strings.Join(failed, "|")).EnableTracing(true))
	if err != nil {
		return nil, err
	}
	for _, f := range traced {
		for i := range out {
			if r := &out[i]; r.Name == f.Name && r.File == t.source.show(f.Location.File) && r.Line == f.Location.Row && r.Status == Failed {
				r.Message = append(r.Message, t.whyFailed(f)...)
			}
		}
	}
	return out, nil
}

// place is the key of a rule before and after it is compiled.
func place(l *ast.Location) string {
	if l == nil {
		return ""
	}
	return fmt.Sprintf("%s:%d:%d", l.File, l.Row, l.Col)
}

func (t *tree) collect(ctx context.Context, runner *tester.Runner) ([]*tester.Result, error) {
	store := t.store()
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, err
	}
	defer store.Abort(ctx, txn)
	ch, err := runner.SetStore(store).RunTests(ctx, txn)
	if err != nil {
		return nil, t.source.shown(loadError(err))
	}
	var out []*tester.Result
	for r := range ch {
		out = append(out, r)
	}
	return out, ctx.Err()
}

func (t *tree) result(f *tester.Result) Result {
	r := Result{
		Suite: strings.TrimPrefix(f.Package, "data."), Name: f.Name, Status: Passed,
		Output: string(f.Output), Elapsed: f.Duration,
	}
	if f.Location != nil {
		r.File, r.Line = t.source.show(f.Location.File), f.Location.Row
	}
	switch {
	case f.Skip:
		r.Status = Skipped
	case topdown.IsCancel(f.Error):
		r.Status, r.Message = Errored, []string{"the test took longer than it may (--timeout)"}
	case f.Error != nil:
		r.Status, r.Message = Errored, []string{f.Error.Error()}
	case f.Fail:
		r.Status = Failed
		for name, sub := range f.SubResults.Iter {
			if sub.Fail && len(sub.SubResults) == 0 {
				r.Message = append(r.Message, "case "+strings.Join(name, "/")+" fails")
			}
		}
	}
	return r
}

// whyFailed names the expression at which a traced test ended, and what its
// variables held.
func (t *tree) whyFailed(f *tester.Result) []string {
	var query uint64
	var last *topdown.Event
	for _, e := range f.Trace {
		rule, ok := e.Node.(*ast.Rule)
		if ok && e.Op == topdown.EnterOp && query == 0 && place(rule.Location) == place(f.Location) {
			query = e.QueryID
		}
		if query != 0 && e.QueryID == query && e.Op == topdown.FailOp {
			last = e
		}
	}
	if last == nil || last.Location == nil {
		return []string{"the test has no value, or one that is not true"}
	}
	text, _, more := strings.Cut(string(last.Location.Text), "\n")
	if more {
		text += " …"
	}
	out := []string{fmt.Sprintf("%s:%d: %s", path.Base(last.Location.File), last.Location.Row, strings.TrimSpace(text))}
	return append(out, locals(last)...)
}

// What is shown of the variables of an expression that failed.
const (
	maxLocals     = 10
	maxLocalBytes = 300
)

// locals are the variables of the expression of an event.
func locals(e *topdown.Event) []string {
	used := map[ast.Var]bool{}
	if expr, ok := e.Node.(*ast.Expr); ok {
		ast.WalkVars(expr, func(v ast.Var) bool { used[v] = true; return false })
	}
	return variables(e, func(v ast.Var) bool { return used[v] })
}

// localsOf are all variables that an event knows.
func localsOf(e *topdown.Event) []string { return variables(e, func(ast.Var) bool { return true }) }

func variables(e *topdown.Event, wanted func(ast.Var) bool) []string {
	var out []string
	if e.Locals == nil {
		return nil
	}
	e.Locals.Iter(func(k, v ast.Value) bool {
		name, ok := k.(ast.Var)
		if meta, known := e.LocalMetadata[name]; ok && wanted(name) && known && !meta.Name.IsGenerated() && !meta.Name.IsWildcard() {
			text := v.String()
			if len(text) > maxLocalBytes {
				text = strings.ToValidUTF8(text[:maxLocalBytes], "") + "…"
			}
			out = append(out, fmt.Sprintf("  where %s is %s", meta.Name, text))
		}
		return false
	})
	slices.Sort(out)
	return out[:min(len(out), maxLocals)]
}
