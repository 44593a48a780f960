package main_test

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// inEvil is a ConfigMap with these data, in flow style.
func inEvil(data string) gitrepo.Change {
	return gitrepo.Change{Files: map[string]string{"deploy/evil.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: evil}\ndata: {" + data + "}\n"}}
}

// Complete rules that conflict have no value. What reads them is no consent.
func TestAttack_O2_ConflictingRules(t *testing.T) {
	t.Parallel()
	s := newSite(t, "o2c-site", withPolicy(`level := "high" if input.object.data.left

level := "low" if input.object.data.right

deny contains "high" if level == "high"`))
	s.denied(refusal{reason: verdict.PolicyError, file: "deploy/evil.yaml", says: "conflicting values"}, inEvil("left: l, right: r"))
}

// Rules without an end do not load, and a rule that is honest and quadratic does not
// let an object stop the server.
func TestAttack_O3_EndlessRules(t *testing.T) {
	t.Parallel()
	s := newSite(t, "o3e-site", withPolicy(`deny contains "twice the same" if {
	some a, x in input.object.data
	some b, y in input.object.data
	a != b
	sprintf("%v%v", [x, y]) == "never"
}`))
	s.refusedToLoad("Recursion", "package acme\n\ndeny contains x if x := a\n\na := b\n\nb := a\n", "acme.rego:", "recursive")
	s.refusedToLoad("Function", "package acme\n\nf(x) := f(x + 1)\n\ndeny contains \"no\" if f(1)\n", "acme.rego:3", "recursive")
	s.refusedToLoad("Nesting", "package acme\n\ndeny contains "+strings.Repeat("[", 5000)+"1"+strings.Repeat("]", 5000)+"\n", "acme.rego:1", "nested brackets")
	s.run("Quadratic", func(s *site) {
		var items []string
		for i := range 6000 {
			items = append(items, fmt.Sprintf("key-%d: v%d", i, i))
		}
		grew := s.peakMemory(func() {
			s.denied(refusal{reason: verdict.PolicyTimeout, file: "deploy/evil.yaml"}, inEvil(strings.Join(items, ", ")))
		})
		if grew > 512<<20 {
			s.t.Errorf("memory grew by %d MiB", grew>>20)
		}
	})
}

// What a rule says is bounded, in number and in size, and so is what is told of it.
func TestAttack_O3_HugeOutput(t *testing.T) {
	t.Parallel()
	s := newSite(t, "o3h-site", withPolicy(`deny contains sprintf("%d %s", [i, input.object.data.many]) if {
	input.object.data.many
	some i in numbers.range(1, 1000000)
}

deny_large contains msg if {
	input.object.data.large
	msg := concat("", [input.object.data.large | some _ in numbers.range(1, 100)])
}`))
	pad := strings.Repeat("x", 50_000)
	for name, want := range map[string]verdict.Reason{"many": verdict.PolicyTimeout, "large": verdict.LimitExceeded} {
		s.run(name, func(s *site) {
			grew := s.peakMemory(func() {
				got := s.denied(refusal{reason: want, file: "deploy/evil.yaml"}, inEvil(name+": "+pad))
				for _, c := range got.Status.Conditions {
					if len(c.Message) > 32<<10 {
						s.t.Errorf("the condition %s has %d bytes", c.Type, len(c.Message))
					}
				}
			})
			if grew > 512<<20 {
				s.t.Errorf("memory grew by %d MiB", grew>>20)
			}
		})
	}
}

// A pattern that comes with the object is not known when the rules load. It stops no
// server, and is no consent.
func TestAttack_O7_PatternOfObject(t *testing.T) {
	t.Parallel()
	s := newSite(t, "o7p-site", withPolicy(`deny contains "matches" if regex.match(input.object.data.pattern, input.object.metadata.name)`))
	for name, pattern := range map[string]string{"Unclosed": "(", "Nested": strings.Repeat("(", 2000), "Repeated": "((a{500}){500}){500}"} {
		s.run(name, func(s *site) {
			s.denied(refusal{reason: verdict.PolicyError, file: "deploy/evil.yaml", says: "acme.rego:3"}, inEvil(`pattern: "`+pattern+`"`))
		})
	}
}

// Data in the place of a rule would answer for it: the PolicySet is refused, and the one
// before stays in force.
func TestAttack_O7_ShadowingData(t *testing.T) {
	t.Parallel()
	s := newSite(t, "o7d-site", withPolicy(`deny contains "owned" if input.object.data.owned`))
	var set v1alpha1.PolicySet
	s.must(s.Client.Get(t.Context(), client.ObjectKey{Name: s.name}, &set))
	set.Spec.Source.Inline["data.yaml"] = "acme: {deny: []}\n"
	s.must(s.Client.Update(t.Context(), &set))
	ready := s.judgedPolicySet(&set)
	if ready.Status != metav1.ConditionFalse || !strings.Contains(ready.Message, "conflict") {
		t.Errorf("the PolicySet is %s: %s", ready.Status, ready.Message)
	}
	s.denied(refusal{reason: verdict.PolicyDenied, file: "deploy/evil.yaml", says: "owned"}, gitrepo.Change{Files: evil()})
}
