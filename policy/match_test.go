package policy_test

import (
	"fmt"
	"testing"

	"gitgate.dev/gitgate/policy"
)

func TestMatch(t *testing.T) {
	object := func(apiVersion, kind, ns, labels string) string {
		return fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{"name":"prod-eu","namespace":%q,"labels":{%s}}}`, apiVersion, kind, ns, labels)
	}
	selector := func(key, op string, values ...string) *policy.LabelSelector {
		return &policy.LabelSelector{MatchExpressions: []policy.LabelRequirement{{Key: key, Operator: op, Values: values}}}
	}
	deploy := object("apps/v1", "Deployment", "shop", `"tier":"web"`)
	for name, tc := range map[string]struct {
		match  policy.Match
		object string
		want   bool
	}{
		"Zero":             {policy.Match{}, deploy, true},
		"Kind":             {policy.Match{Kinds: []policy.KindMatch{{APIGroups: []string{"apps"}, Kinds: []string{"Deployment"}}}}, deploy, true},
		"OtherGroup":       {policy.Match{Kinds: []policy.KindMatch{{APIGroups: []string{""}, Kinds: []string{"Deployment"}}}}, deploy, false},
		"OtherKind":        {policy.Match{Kinds: []policy.KindMatch{{APIGroups: []string{"*"}, Kinds: []string{"Pod"}}}}, deploy, false},
		"AnyKind":          {policy.Match{Kinds: []policy.KindMatch{{Kinds: []string{"*"}}}}, deploy, true},
		"SecondKind":       {policy.Match{Kinds: []policy.KindMatch{{Kinds: []string{"Pod"}}, {APIGroups: []string{"apps"}}}}, deploy, true},
		"CoreGroup":        {policy.Match{Kinds: []policy.KindMatch{{APIGroups: []string{""}}}}, object("v1", "Pod", "shop", ""), true},
		"Namespace":        {policy.Match{Namespaces: []string{"shop"}}, deploy, true},
		"OtherNamespace":   {policy.Match{Namespaces: []string{"sho"}}, deploy, false},
		"Prefix":           {policy.Match{Namespaces: []string{"sh*"}}, deploy, true},
		"Suffix":           {policy.Match{Namespaces: []string{"*op"}}, deploy, true},
		"Inside":           {policy.Match{Namespaces: []string{"*ho*"}}, deploy, true},
		"NotPrefix":        {policy.Match{Namespaces: []string{"op*"}}, deploy, false},
		"Excluded":         {policy.Match{ExcludedNamespaces: []string{"kube-*", "shop"}}, deploy, false},
		"NotExcluded":      {policy.Match{ExcludedNamespaces: []string{"kube-*"}}, deploy, true},
		"ClusterScoped":    {policy.Match{Namespaces: []string{"*"}}, object("rbac.authorization.k8s.io/v1", "ClusterRole", "", ""), false},
		"ClusterExcluded":  {policy.Match{ExcludedNamespaces: []string{"*"}}, object("rbac.authorization.k8s.io/v1", "ClusterRole", "", ""), true},
		"NamespaceObject":  {policy.Match{Namespaces: []string{"prod-*"}}, object("v1", "Namespace", "", ""), true},
		"NamespaceOther":   {policy.Match{ExcludedNamespaces: []string{"prod-*"}}, object("v1", "Namespace", "", ""), false},
		"Label":            {policy.Match{LabelSelector: &policy.LabelSelector{MatchLabels: map[string]string{"tier": "web"}}}, deploy, true},
		"LabelOther":       {policy.Match{LabelSelector: &policy.LabelSelector{MatchLabels: map[string]string{"tier": "db"}}}, deploy, false},
		"LabelMissing":     {policy.Match{LabelSelector: &policy.LabelSelector{MatchLabels: map[string]string{"x": ""}}}, deploy, false},
		"In":               {policy.Match{LabelSelector: selector("tier", "In", "db", "web")}, deploy, true},
		"InMissing":        {policy.Match{LabelSelector: selector("x", "In", "")}, deploy, false},
		"NotIn":            {policy.Match{LabelSelector: selector("tier", "NotIn", "web")}, deploy, false},
		"NotInMissing":     {policy.Match{LabelSelector: selector("x", "NotIn", "web")}, deploy, true},
		"Exists":           {policy.Match{LabelSelector: selector("tier", "Exists")}, deploy, true},
		"DoesNotExist":     {policy.Match{LabelSelector: selector("tier", "DoesNotExist")}, deploy, false},
		"DoesNotExistGood": {policy.Match{LabelSelector: selector("x", "DoesNotExist")}, deploy, true},
	} {
		t.Run(name, func(t *testing.T) {
			e := load(t, "package acme\n\ndeny contains \"spoke\"", func(s *policy.Set, _ *policy.Options) { s.Match = tc.match })
			if got := len(e.Evaluate(t.Context(), policy.Input{Object: []byte(tc.object)})) == 1; got != tc.want {
				t.Errorf("selected = %t, want %t", got, tc.want)
			}
		})
	}
}

// TestMatchUpdate selects by the old object too: taking the label off must not
// take the object out of the policy in the same step.
func TestMatchUpdate(t *testing.T) {
	e := load(t, "package acme\n\ndeny contains \"spoke\"", func(s *policy.Set, _ *policy.Options) {
		s.Match.LabelSelector = &policy.LabelSelector{MatchLabels: map[string]string{"guarded": "yes"}}
	})
	with := []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","labels":{"guarded":"yes"}}}`)
	without := []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`)
	for _, in := range []policy.Input{
		{Operation: policy.Update, Object: without, OldObject: with},
		{Operation: policy.Update, Object: with, OldObject: without},
		{Operation: policy.Delete, OldObject: with},
	} {
		if len(e.Evaluate(t.Context(), in)) != 1 {
			t.Errorf("%s of a guarded object is not judged", in.Operation)
		}
	}
}

// TestMatchInheritsNamespace judges a manifest that leaves its namespace out by
// the Namespace into which it goes.
func TestMatchInheritsNamespace(t *testing.T) {
	e := load(t, "package acme\n\ndeny contains input.namespace.metadata.labels.team", func(s *policy.Set, _ *policy.Options) {
		s.Match.Namespaces = []string{"shop"}
	})
	fs := e.Evaluate(t.Context(), policy.Input{
		Object:    []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`),
		Namespace: []byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop","labels":{"team":"blue"}}}`),
	})
	if got := short(fs); got != "deny PolicyDenied [acme/acme.deny]: blue" {
		t.Error(got)
	}
}
