package apply

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/policy/gate"
)

// randomInventory has few IDs, so that they meet, and some of them twice.
func randomInventory(r *rand.Rand) Inventory {
	inv := Inventory{}
	for range r.IntN(8) {
		inv = append(inv, Entry{ID: fmt.Sprintf("ns_o%d__ConfigMap", r.IntN(8)), V: fmt.Sprintf("v%d", r.IntN(3))})
	}
	return inv
}

// model is an inventory as a map, the last entry of an ID winning.
func model(invs ...Inventory) map[string]string {
	m := map[string]string{}
	for _, e := range slices.Concat(invs...) {
		m[e.ID] = e.V
	}
	return m
}

func TestInventoryAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		a, b := randomInventory(r), randomInventory(r)
		before := slices.Clone(a)
		union := a.Union(b)
		if diff := cmp.Diff(model(a, b), model(union)); diff != "" || !union.inOrder() {
			t.Fatalf("union of %v and %v is %v:\n%s", a, b, union, diff)
		}
		rest := model(a)
		for id := range model(b) {
			delete(rest, id)
		}
		without := a.without(b)
		if diff := cmp.Diff(rest, model(without)); diff != "" || !without.inOrder() {
			t.Fatalf("%v without %v is %v:\n%s", a, b, without, diff)
		}
		if got, want := a.Equal(b), cmp.Equal(model(a), model(b)); got != want {
			t.Fatalf("%v equals %v: %t", a, b, got)
		}
		if !slices.Equal(a, before) {
			t.Fatalf("%v became %v", before, a)
		}
	}
}

// TestFormsHoldNoSecret: plaintext must not outlive the plan.
func TestFormsHoldNoSecret(t *testing.T) {
	p := &Plan{Owner: Owner{"a", "b"}}
	object := func(kind string) gate.Object {
		return gate.Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": kind, "metadata": map[string]any{"name": "x", "namespace": "y"},
		}}}
	}
	p.Objects = []gate.Object{object("Secret"), object("ConfigMap")}
	prep := &prepared{}
	if found := prep.add(p, nil); len(found) > 0 {
		t.Fatal(found)
	}
	for _, it := range prep.items {
		res := &resource{namespaced: true}
		res.GroupVersionKind = it.gvk
		if err := it.complete(p, res, false); err != nil {
			t.Fatal(err)
		}
	}
	books := formBooks{byOwner: map[Owner]*formBook{}}
	books.keep(p, prep.items)
	forms := books.known(p)
	if forms[p.Objects[1].Unstructured] == nil {
		t.Error("the ConfigMap is not remembered")
	}
	if len(forms) != 1 {
		t.Errorf("%d forms are remembered, want the ConfigMap's alone", len(forms))
	}
	if books.known(&Plan{Owner: Owner{"a", "other"}}) != nil {
		t.Error("another owner knows them too")
	}
	books.drop(p.Owner)
	if books.known(p) != nil {
		t.Error("they were not forgotten")
	}
}
