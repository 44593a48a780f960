package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// denying is a rule that denies everything with a message.
func denying(message string) string {
	return fmt.Sprintf("package acme\ndeny contains %q\n", message)
}

func policyInput(name string, uid types.UID, rego string) reconcile.PolicyInput {
	set := &v1alpha1.PolicySet{ObjectMeta: metav1.ObjectMeta{Name: name, UID: uid}}
	set.Spec.Source.Inline = map[string]string{"acme.rego": rego}
	return reconcile.PolicyInput{Set: set}
}

func newGates() *gates { return &gates{lastGood: map[string]goodSet{}} }

// messages are what the engine says of an object.
func messages(t *testing.T, e *policy.Engine) string {
	t.Helper()
	var out []string
	for _, f := range e.Evaluate(t.Context(), policy.Input{
		Operation: "CREATE", Object: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}`), ObjectID: "ConfigMap/x",
	}) {
		out = append(out, f.Message)
	}
	return strings.Join(out, ", ")
}

// A version that does not compile leaves the former one in force, but only for the
// very PolicySet that it was of.
func TestEngineKeepsLastGoodRules(t *testing.T) {
	const broken = "package acme\ndeny contains"
	for name, tc := range map[string]struct {
		reason string
		second []reconcile.PolicyInput
		want   string // part of the error if it begins with !
	}{
		"Same":     {"Nothing changed.", []reconcile.PolicyInput{policyInput("a", "1", denying("one"))}, "one"},
		"Changed":  {"A good change counts at once.", []reconcile.PolicyInput{policyInput("a", "1", denying("two"))}, "two"},
		"Broken":   {"A broken one does not.", []reconcile.PolicyInput{policyInput("a", "1", broken)}, "one"},
		"Remade":   {"The old rules do not speak for a new PolicySet.", []reconcile.PolicyInput{policyInput("a", "2", broken)}, "!acme.rego"},
		"New":      {"Nor for one of another name.", []reconcile.PolicyInput{policyInput("b", "1", broken)}, "!acme.rego"},
		"OneOfTwo": {"One set of many is enough to deny.", []reconcile.PolicyInput{policyInput("a", "1", denying("one")), policyInput("b", "1", broken)}, "!acme.rego"},
		"Twice":    {"A name is one set.", []reconcile.PolicyInput{policyInput("a", "1", denying("one")), policyInput("a", "1", denying("one"))}, "!two policy sets have this name"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGates()
			if e, err := g.engine(t.Context(), []reconcile.PolicyInput{policyInput("a", "1", denying("one"))}); err != nil || messages(t, e) != "one" {
				t.Fatalf("the first version: %v", err)
			}
			e, err := g.engine(t.Context(), tc.second)
			if part, fails := strings.CutPrefix(tc.want, "!"); fails {
				if err == nil || !strings.Contains(err.Error(), part) || e != nil {
					t.Errorf("%s\ngot %v, want %q", tc.reason, err, part)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := messages(t, e); got != tc.want {
				t.Errorf("%s\nthe rules say %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

// GitSyncs with the same rules share what is compiled; whatever differs in a set
// makes it another one.
func TestRulesAreCompiledOnce(t *testing.T) {
	g := newGates()
	get := func(in reconcile.PolicyInput) *policy.Compiled {
		t.Helper()
		set, err := g.compiled.get(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	one := get(policyInput("a", "1", denying("one")))
	if again := get(policyInput("a", "1", denying("one"))); again != one {
		t.Error("the same set was compiled twice")
	}
	variants := map[string]reconcile.PolicyInput{"Name": policyInput("b", "1", denying("one")), "Rego": policyInput("a", "1", denying("two"))}
	for name, change := range map[string]func(*reconcile.PolicyInput){
		"Enforcement": func(p *reconcile.PolicyInput) { p.Set.Spec.Enforcement = "Warn" },
		"Match":       func(p *reconcile.PolicyInput) { p.Set.Spec.Match = &v1alpha1.PolicyMatch{Namespaces: []string{"x"}} },
		"ConfigMap": func(p *reconcile.PolicyInput) {
			p.Modules = map[string]string{"b.rego": "package b\ndeny contains \"b\"\n"}
		},
	} {
		p := policyInput("a", "1", denying("one"))
		change(&p)
		variants[name] = p
	}
	seen := map[*policy.Compiled]string{one: "the first"}
	for name, in := range variants {
		set := get(in)
		if other, ok := seen[set]; ok {
			t.Errorf("%s got what was compiled for %s", name, other)
		}
		seen[set] = name
	}
}

func TestCompilationsAreBounded(t *testing.T) {
	var c compilations
	first := policyInput("a", "1", denying("first"))
	keep, err := c.get(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxCompilations + 10 {
		c.entry([32]byte{1, byte(i), byte(i >> 8)})
		if again, err := c.get(t.Context(), first); err != nil || again != keep {
			t.Fatalf("what is used most was forgotten: %v", err)
		}
	}
	if len(c.byHash) != maxCompilations {
		t.Errorf("%d are kept", len(c.byHash))
	}
}

// A caller who runs out of time says nothing about the set.
func TestCancelledCompilationIsNotKept(t *testing.T) {
	var c compilations
	in := policyInput("a", "1", denying("one"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.get(ctx, in); !errors.Is(err, ctx.Err()) {
		t.Fatalf("got %v", err)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if _, err := c.get(t.Context(), in); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func BenchmarkFiftyGitSyncs(b *testing.B) {
	for b.Loop() {
		g := newGates()
		for range 50 {
			set := &v1alpha1.PolicySet{ObjectMeta: metav1.ObjectMeta{Name: "restricted"}}
			set.Spec.Source.Library = []string{"pod-security-restricted"}
			if _, err := g.engine(b.Context(), []reconcile.PolicyInput{{Set: set}}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
