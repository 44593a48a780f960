package policy

import (
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"gitgate.dev/gitgate/policy/verdict"
)

// TestAttack_O4_PanicInside puts a built-in that panics in the place of one of
// OPA's: the process lives, the object is denied, and what the panic said, which
// may be input, goes nowhere.
func TestAttack_O4_PanicInside(t *testing.T) {
	const name, canary = "uri.is_valid", "canary-5ec4e7"
	original := topdown.GetBuiltin(name)
	topdown.RegisterBuiltinFunc(name, func(topdown.BuiltinContext, []*ast.Term, func(*ast.Term) error) error {
		panic(canary)
	})
	defer topdown.RegisterBuiltinFunc(name, original)
	e, err := Load(t.Context(), []Set{{Name: "acme", Enforcement: Deny, Modules: map[string]string{
		"a.rego": "package a\ndeny contains \"no\" if uri.is_valid(input.object.kind)",
	}}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	fs := e.Evaluate(t.Context(), Input{Object: []byte(`{"apiVersion":"v1","kind":"Pod"}`)})
	if len(fs) != 1 || fs[0].Reason != verdict.PolicyError || fs[0].Severity != verdict.Deny ||
		!strings.Contains(fs[0].Message, `policy set "acme" panicked`) || !strings.Contains(fs[0].Message, "panic_test.go:") {
		t.Errorf("findings = %v", fs)
	}
	if strings.Contains(fs[0].Message, canary) {
		t.Errorf("the finding says what the panic said: %v", fs[0])
	}
}
