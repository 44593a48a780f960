package policies_test

import (
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policy"
)

// modules parses every file of the library.
func modules(t *testing.T) map[string]*ast.Module {
	t.Helper()
	out := map[string]*ast.Module{}
	err := fs.WalkDir(policies.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(name) != ".rego" {
			return err
		}
		src, err := fs.ReadFile(policies.FS, name)
		if err != nil {
			return err
		}
		out[name], err = ast.ParseModuleWithOpts(name, string(src), ast.ParserOptions{ProcessAnnotation: true})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// runRego runs the tests in the modules and returns how many there were.
func runRego(t *testing.T, mods map[string]*ast.Module, coverage *cover.Cover) int {
	t.Helper()
	store := inmem.New()
	txn, err := store.NewTransaction(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Abort(t.Context(), txn)
	runner := tester.NewRunner().
		SetCompiler(ast.NewCompiler().WithStrict(true).WithEnablePrintStatements(true)).
		SetStore(store).
		SetModules(mods).
		SetTimeout(2 * time.Minute). // the default of 5 s is short on a busy machine
		RaiseBuiltinErrors(true).
		CapturePrintOutput(true)
	if coverage != nil {
		runner.SetCoverageQueryTracer(coverage)
	}
	results, err := runner.RunTests(t.Context(), txn)
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for r := range results {
		ran++
		if !r.Pass() {
			said := strings.Split(strings.TrimSpace(string(r.Output)), "\n") // the last case that a test printed is the one that failed
			t.Errorf("%s: %s failed: %v\n%s", r.Location, r.Name, r.Error, said[len(said)-1])
		}
	}
	return ran
}

// TestRego runs the tests of the library, which must reach every line of it.
func TestRego(t *testing.T) {
	mods := modules(t)
	coverage := cover.New()
	if runRego(t, mods, coverage) == 0 {
		t.Error("the library has no tests")
	}
	report := coverage.Report(mods)
	for _, file := range slices.Sorted(maps.Keys(report.Files)) {
		if f := report.Files[file]; len(f.NotCovered) > 0 {
			for _, r := range f.NotCovered {
				t.Errorf("%s:%d-%d: no test reaches these lines", file, r.Start.Row, r.End.Row)
			}
		}
	}
}

func TestPackLoads(t *testing.T) {
	for _, name := range policies.Packs() {
		fsys, err := policies.Pack(name)
		if err != nil {
			t.Fatal(err)
		}
		set, err := policy.ReadSet(name, fsys, ".")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := policy.Load(t.Context(), []policy.Set{set}, policy.Options{}); err != nil {
			t.Errorf("pack %s does not load:\n%v", name, err)
		}
	}
}
