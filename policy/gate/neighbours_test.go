package gate_test

import (
	"testing"

	"gitgate.dev/gitgate/policy/verdict"
)

const unique = `package acme
deny contains sprintf("%s has the same value", [name]) if {
	input.object.kind == "ConfigMap"
	some name, other in data.inventory.namespace[input.object.metadata.namespace].v1.ConfigMap
	name != input.object.metadata.name
	other.data.k == input.object.data.k
}
`

// Rules that look at other objects see those of the same release, and are asked
// again about an object that did not change when another one did.
func TestPolicyNeighbours(t *testing.T) {
	s := newSite(t)
	s.rego = unique
	s.allowed(s.push("one", map[string]string{"app/a.yaml": configMap("a", `"1"`)}))
	s.denied(s.push("two", map[string]string{"app/b.yaml": configMap("b", `"1"`)}), verdict.PolicyDenied, verdict.PolicyDenied)
	s.allowed(s.push("three", map[string]string{"app/b.yaml": configMap("b", `"2"`)}))
}

const pairs = `package main
deny contains sprintf("%s and %s are twins", [a.path, b.path]) if {
	some i, a in input
	some j, b in input
	i < j
	a.contents.data.k == b.contents.data.k
}
`

// Sets that combine see the whole release once, whatever of it changed.
func TestPolicyTogether(t *testing.T) {
	s := newSite(t)
	s.rego, s.combine = pairs, true
	s.allowed(s.push("one", map[string]string{"app/a.yaml": configMap("a", `"1"`)}))
	v := s.denied(s.push("two", map[string]string{"app/b.yaml": configMap("b", `"1"`)}), verdict.PolicyDenied)
	if got := v.Blocking()[0]; got.Message != "app/a.yaml and app/b.yaml are twins" || got.Object != "" {
		t.Errorf("finding %+v", got)
	}
	s.allowed(s.push("three", map[string]string{"app/b.yaml": configMap("b", `"2"`)}))
}
