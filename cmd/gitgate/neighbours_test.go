package main

import (
	"testing"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// What a commit declares is what its objects are judged among: the Namespace, the
// inventory, all together.
func TestNeighbours(t *testing.T) {
	objects := []gate.PolicyInput{
		{Object: []byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop","labels":{"tier":"gold"}}}`), ClusterScoped: true},
		{Object: []byte(evil), Namespace: "shop", Source: gate.Source{File: "m.yaml"}},
	}
	for name, tc := range map[string]struct {
		reason string
		spec   v1alpha1.PolicySetSpec
		want   string
	}{
		"Namespace": {"The Namespace is one of them.", v1alpha1.PolicySetSpec{Source: inlineRego(`deny contains input.namespace.metadata.labels.tier if input.object.kind == "ConfigMap"`)}, "gold"},
		"Inventory": {"So are others.", v1alpha1.PolicySetSpec{Source: inlineRego(`deny contains k if { input.object.kind == "Namespace"; k := data.inventory.namespace.shop.v1.ConfigMap.m.data.k }`)}, "evil"},
		"Combine":   {"And each is in what is judged together.", v1alpha1.PolicySetSpec{Format: "Conftest", Combine: true, Source: inlineRego(`deny contains input[1].path`)}, "m.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			in := reconcile.PolicyInput{Set: &v1alpha1.PolicySet{Spec: tc.spec}}
			in.Set.Name = "s"
			engine, err := (&gates{lastGood: map[string]goodSet{}}).engine(t.Context(), []reconcile.PolicyInput{in})
			if err != nil {
				t.Fatal(err)
			}
			alone := evaluator{engine: engine}
			if !alone.ReadsNeighbours() {
				t.Error("no rule is said to look at others")
			}
			among, err := alone.Among(objects)
			if err != nil {
				t.Fatal(err)
			}
			fs := among.Together(t.Context())
			unknown := 0
			for _, o := range objects {
				fs = append(fs, among.Evaluate(t.Context(), o)...)
				for _, f := range alone.Evaluate(t.Context(), o) {
					if f.Severity == verdict.Undetermined && f.Reason == verdict.PolicyUndefined {
						unknown++
					}
				}
			}
			if len(fs) != 1 || fs[0].Message != tc.want {
				t.Errorf("%s\nfindings %v, want %q", tc.reason, fs, tc.want)
			}
			if unknown == 0 {
				t.Error("without its neighbours an object is judged all the same")
			}
		})
	}
	if _, err := (evaluator{engine: new(policy.Engine)}).Among([]gate.PolicyInput{{ID: "x", Object: []byte("[]")}}); err == nil {
		t.Error("what is no object is a neighbour")
	}
}

func inlineRego(rego string) v1alpha1.PolicySource {
	return v1alpha1.PolicySource{Inline: map[string]string{"a.rego": "package a\n" + rego}}
}
