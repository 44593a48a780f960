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
