package policy

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
)

// stageModules are modules that need the stages which others do without.
var stageModules = map[string]string{
	"plain":       "package p\ndeny contains \"a\" if input.a == 1\n",
	"nested":      "package p\ndeny contains x if {\n\tinput.a == {y | some y in input.b; y == 2}\n\tevery z in input.c { z == 3; {1 | z == input.d} == {1} }\n\tnot input.e == 4\n\tx := [w | w := input.f; w == 5]\n}\nq := 1 if input.a == 1 else := 7 if equal(input.a, 2)\n",
	"print":       "package p\ndeny contains \"a\" if { print(\"b\", input.a); input.a }\n",
	"void":        "package p\ndeny contains x if x := print(\"b\")\n",
	"internal":    "package p\ndeny contains x if x := internal.print([{1}])\n",
	"template":    "package p\ndeny contains $\"a {input.b} c\" if input.b == 1\n",
	"raw":         "package p\ndeny contains $`a {input.b} c` if input.b == 1\n",
	"dollar":      "package p\ndeny contains x if { x := \"a$\"; regex.match(`a$`, x) }\n",
	"metadata":    "package p\n# METADATA\n# title: t\ndeny contains x if x := rego.metadata.rule().title\n",
	"chain":       "# METADATA\n# title: t\npackage p\ndeny contains x if { some x in rego[\"metadata\"].chain() }\n",
	"with":        "package p\ndeny contains \"a\" if q with input as {\"b\": 1} with data.c as input.d\nq if input.b == 1\n",
	"withCall":    "package p\ndeny contains \"a\" if count(input.x) == 1 with count as 1\n",
	"comment":     "package p\n# print with rego.metadata.rule() and $\"a\"\ndeny contains \"print with $\" if input.a\n",
	"version":     "package p\nimport rego.v1\ndeny contains \"a\" if input.a == input.b\n",
	"unsafe":      "package p\ndeny contains x if y == 1\n",
	"recursion":   "package p\nq if deny\ndeny contains \"a\" if q\n",
	"undefined":   "package p\ndeny contains \"a\" if f(1) == 2\n",
	"types":       "package p\ndeny contains \"a\" if 1 == \"a\"\nwarn contains \"a\" if startswith(1, \"a\") == true\n",
	"twoOperands": "package p\ndeny contains x if equal(1, 2, x)\n",
}

// libraryModules are those of the library, all together.
func libraryModules(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(filepath.Join("..", "policies"), func(file string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Ext(file) != ".rego" || strings.HasSuffix(file, "_test.rego") || strings.Contains(file, "conftest") {
			return err
		}
		raw, err := os.ReadFile(file)
		out[file] = string(raw)
		return err
	})
	if err != nil || len(out) < 20 {
		t.Fatalf("%d modules: %v", len(out), err)
	}
	return out
}

// TestStages: with the stages that are left out modules become what they become with all
// of them, and what is wrong with them is told in the same words.
func TestStages(t *testing.T) {
	cases := map[string]map[string]string{"library": libraryModules(t)}
	for name, src := range stageModules {
		cases[name] = map[string]string{"m": src}
	}
	for name, sources := range cases {
		t.Run(name, func(t *testing.T) {
			all := words{}
			ours, theirs := map[string]*ast.Module{}, map[string]*ast.Module{}
			for file, src := range sources {
				for _, to := range []map[string]*ast.Module{ours, theirs} {
					mod, err := parseModule(file, src, ast.RegoV1)
					if err != nil {
						t.Fatal(err)
					}
					to[file] = mod
				}
				all = all.and(wordsOf(src))
			}
			got, looked := newCompiler(all, func(*ast.Compiler) {}).WithStrict(true), false
			want := ast.NewCompiler().WithCapabilities(capabilities()).WithStrict(true)
			got = got.WithStageAfterID(ast.StageCheckTypes, ast.CompilerStageDefinition{Name: "Looked", Stage: func(*ast.Compiler) *ast.Error { looked = true; return nil }})
			got.Compile(ours)
			want.Compile(theirs)
			if diff := cmp.Diff(errorTexts(want), errorTexts(got)); diff != "" {
				t.Fatalf("errors (-all stages +some)\n%s", diff)
			}
			if !want.Failed() && !looked {
				t.Error("a stage of one's own was not called")
			}
			for file := range sources {
				if g, w := got.Modules[file], want.Modules[file]; g.String() != w.String() || !g.Equal(w) {
					t.Errorf("%s is\n%s\nwant\n%s", file, g, w)
				}
			}
		})
	}
}

func errorTexts(c *ast.Compiler) []string {
	var out []string
	for _, e := range c.Errors {
		out = append(out, e.Error())
	}
	return out
}

// TestWords: a stage is left out where nothing calls for it, and nowhere else.
func TestWords(t *testing.T) {
	for name, want := range map[string]words{
		"plain": {}, "comment": {}, "dollar": {}, "version": {}, "nested": {},
		"print": {print: true}, "void": {print: true}, "internal": {print: true}, "template": {template: true}, "raw": {template: true},
		"metadata": {metadata: true}, "chain": {metadata: true}, "with": {with: true}, "withCall": {with: true},
	} {
		if got := wordsOf(stageModules[name]); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	if got := (words{}).skipped(); !slices.Contains(got, ast.StageRewriteWithValues) {
		t.Errorf("no words skip %v", got)
	}
	library := words{}
	for _, src := range libraryModules(t) {
		library = library.and(wordsOf(src))
	}
	if library != (words{}) {
		t.Errorf("the library has %+v: its stages are not left out", library)
	}
}
