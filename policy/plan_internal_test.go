package policy

import (
	"slices"
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
