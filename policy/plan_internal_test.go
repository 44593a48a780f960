package policy

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// The queries of a plan are made without the compiler: they are what it would make.
func TestPlansAreCompiled(t *testing.T) {
	s := Set{Name: "s", Modules: map[string]string{
		"a.rego": "package a.b\ndeny contains \"x\" if input.object.kind == \"Pod\"\nwarn_y contains \"y\" if input.object.spec",
		"b.rego": "package a[\"c-d\"]\ndeny contains \"z\" if input.object.kind in {\"Pod\", \"Service\"}",
	}}
	e, err := Load(t.Context(), []Set{s}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	set := e.sets[0]
	if len(set.plans) != 3 || len(set.plan("Pod").entries) != 3 || len(set.plan("Service").entries) != 2 || len(set.plan("Other").entries) != 1 {
		t.Fatalf("plans %v", set.plans)
	}
	for kind, p := range set.plans {
		for i, body := range append(slices.Clone(p.single), p.body) {
			compiled, err := set.compiler.QueryCompiler().Compile(body)
			if err != nil || !compiled.Equal(body) {
				t.Errorf("%q, query %d: %v is compiled to %v, %v", kind, i, body, compiled, err)
			}
		}
		for i, v := range p.vars {
			if want := ast.Equality.Expr(ast.NewTerm(v), ast.NewTerm(p.entries[i].ref)); !p.body[i].Operand(0).Equal(want.Operand(0)) || !p.body[i].Operand(1).Equal(want.Operand(1)) {
				t.Errorf("%q: %v does not bind %s to %s", kind, p.body[i], v, p.entries[i].name)
			}
		}
	}
}

func TestSideBySide(t *testing.T) {
	var of []int
	for i := range 100 {
		of = append(of, i)
	}
	for i, got := range sideBySide(of, func(i int) int { return i * i }) {
		if got != i*i {
			t.Errorf("result %d is %d", i, got)
		}
	}
	defer func() {
		if p := recover(); p != "seven" {
			t.Errorf("the panic is %v, want that of the function", p)
		}
	}()
	sideBySide(of, func(i int) int {
		if i == 7 {
			panic("seven")
		}
		return i
	})
	t.Error("a panic is lost")
}

// A rule is not asked about kinds outside of those that it names, also by a list that
// a rule states.
func TestGuardedKinds(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, body string
		want         string
	}{
		"Constant": {"A kind.", `input.object.kind == "Pod"`, "Pod"},
		"List":     {"A list.", `input.object.kind in {"Pod", "Job"}`, "Job Pod"},
		"Named":    {"A list with a name.", `input.object.kind in workloads`, "DaemonSet Deployment"},
		"Array":    {"Of any sort.", `input.object.kind in ordered`, "Job"},
		"Alias":    {"By a name for the kind.", "k := input.object.kind\n\tw := workloads\n\tk in w", "DaemonSet Deployment"},
		"Depends":  {"What hangs on the input may be anything.", `input.object.kind in found`, ""},
		"Twice":    {"Two rules may state two lists.", `input.object.kind in several`, ""},
		"Default":  {"As may a default.", `input.object.kind in fallen`, ""},
		"Function": {"A function is no list.", `input.object.kind in made("x")`, ""},
		"Replaced": {"What is replaced for it is another one.", `input.object.kind in workloads with data.a.workloads as {"Pod"}`, ""},
		"Negated":  {"What it is not is no list of what it is.", `not input.object.kind in workloads`, ""},
		"Other":    {"Another field.", `input.object.spec in workloads`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var bad problems
			s := compileSet(Set{Name: "a", Modules: map[string]string{"a.rego": `package a

workloads := {"Deployment", "DaemonSet"}
ordered := ["Job"]
found := {"Pod"} if input.object.spec
several := {"Pod"}
several := {"Pod"} if input.object.spec
default fallen := {"Pod"}
fallen := {"Job"} if input.object.spec
made(x) := {x}

deny contains "x" if {
	` + tc.body + "\n}\n"}}, Options{}.withDefaults(), &bad)
			if s == nil {
				t.Fatal(bad.err())
			}
			if got := strings.Join(slices.Sorted(maps.Keys(s[0].entries[0].kinds)), " "); got != tc.want {
				t.Errorf("%s\nkinds %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
