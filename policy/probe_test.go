package policy_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/topdown"

	"gitgate.dev/gitgate/policy"
)

func TestProbe(t *testing.T) {
	e, err := policy.Load(t.Context(), []policy.Set{{
		Name: "s", Modules: map[string]string{"a.rego": `package a
deny contains "pod" if input.object.kind == "Pod"
warn contains "any" if input.object.metadata.name == input.parameters.name
deny_slow contains "x" if count(numbers.range(1, 1000000000)) > 1
`}, Parameters: map[string]any{"name": "web"},
	}}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Probe(policy.Input{Object: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"web"}}`)})
	if err != nil {
		t.Fatal(err)
	}
	// Rules of other kinds are not asked; those that deny come first.
	if diff := cmp.Diff([]string{"s/a.deny_slow", "s/a.warn"}, p.Rules()); diff != "" {
		t.Fatal(diff)
	}
	if err := p.Ask(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "numbers.range") {
		t.Errorf("Ask(deny_slow) = %v, want the bound of numbers.range", err)
	}
	trace := topdown.NewBufferTracer()
	if err := p.Ask(t.Context(), 1, trace); err != nil || len(*trace) == 0 {
		t.Errorf("Ask(warn) = %v with %d events, want a trace", err, len(*trace))
	}
	if _, err := e.Probe(policy.Input{Object: []byte(`{}`)}); err == nil {
		t.Error("an object without a kind is probed")
	}
	if _, err := new(policy.Engine).Probe(policy.Input{}); err == nil {
		t.Error("an engine without policies is probed")
	}
}

func TestProbeStops(t *testing.T) {
	e, err := policy.Load(t.Context(), []policy.Set{{Name: "s", Modules: map[string]string{"a.rego": `package a
deny contains "x" if { some i in numbers.range(1, 100000); some j in numbers.range(1, 100000); i * j == 0 }
`}}}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Probe(policy.Input{Object: []byte(`{"apiVersion":"v1","kind":"Pod"}`)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Ask(ctx, 0); err == nil {
		t.Error("a probe goes on after its context ended")
	}
}
