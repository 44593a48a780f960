package policies_test

import (
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/loader"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/test/testkit/racing"
)

// modules parses every file of the library.
func modules(t testing.TB) map[string]*ast.Module {
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

// loaded reads a directory as `opa test` does: every file of a type that it knows.
func loaded(t *testing.T, dirs ...string) *loader.Result {
	t.Helper()
	result, err := loader.NewFileLoader().WithProcessAnnotation(true).All(dirs)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Documents) > 0 {
		t.Errorf("%v: files that are no rules would become data: %v", dirs, slices.Collect(maps.Keys(result.Documents)))
	}
	return result
}

// TestRego runs the tests of the library as `opa test policies/` does. They must
// reach every line of it.
func TestRego(t *testing.T) {
	racing.Skip(t)
	t.Parallel()
	mods := loaded(t, ".").ParsedModules()
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

// TestPacksAlone runs the tests of each pack with nothing beside it but what it
// includes, as somebody does who copies its directories.
func TestPacksAlone(t *testing.T) {
	racing.Skip(t)
	t.Parallel()
	for _, name := range policies.Packs() {
		fsys, err := policies.Pack(name)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := fs.ReadDir(fsys, ".")
		if err != nil {
			t.Fatal(err)
		}
		var dirs []string
		for _, e := range entries {
			dirs = append(dirs, e.Name())
		}
		result := loaded(t, dirs...)
		if ran := runRego(t, result.ParsedModules(), nil); ran < 5 {
			t.Errorf("%s: %d tests ran", name, ran)
		}
	}
}

// conftestName is what conftest takes for a rule that speaks.
var conftestName = regexp.MustCompile(`^(deny|violation|warn)(_[a-zA-Z0-9]+)*$`)

// TestConftest wants every rule that speaks to gitgate to speak to conftest, and
// the other way round.
func TestConftest(t *testing.T) {
	for file, mod := range modules(t) {
		if strings.HasSuffix(file, "_test.rego") {
			continue
		}
		for _, rule := range mod.Rules {
			name := rule.Head.Name.String()
			if entryName.MatchString(name) != conftestName.MatchString(name) {
				t.Errorf("%s: %s is a rule that speaks to one of gitgate and conftest only", rule.Loc(), name)
			}
		}
	}
}

// TestFS wants the binary to hold the files that the directory holds.
func TestFS(t *testing.T) {
	have := modules(t)
	for file := range loaded(t, ".").Modules {
		if _, ok := have[file]; !ok && !strings.HasPrefix(file, "conftest/") {
			t.Errorf("%s is not in the binary", file)
		}
	}
	for _, name := range policies.Packs() {
		if _, err := fs.Stat(policies.FS, name); err != nil {
			t.Errorf("pack %s has no directory of its name", name)
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
