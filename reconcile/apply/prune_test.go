package apply_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/reconcile/apply"
)

func TestPrune(t *testing.T) {
	b := newBench(t)
	b.apply(b.newPlan(configMaps(5, "x")))
	patch := func(name, body string) {
		t.Helper()
		if _, err := b.alice.Resource(gvrs["configmaps"]).Namespace(b.ns).Patch(t.Context(), name, types.MergePatchType,
			[]byte(body), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	patch("cm-1", `{"metadata":{"labels":{"gitgate.dev/name":"somebody-else"}}}`)
	patch("cm-2", `{"metadata":{"labels":null}}`)
	patch("cm-3", `{"metadata":{"annotations":{"gitgate.dev/prune":"Disabled"}}}`)

	p := b.newPlan(configMaps(1, "x"))
	deletions, err := b.a.Deletions(t.Context(), p)
	if err != nil || len(deletions) != 1 || deletions[0].Object.GetName() != "cm-4" {
		t.Errorf("deletions = %v, %v; want cm-4 alone", deletions, err)
	}
	r := b.apply(p)
	want := fmt.Sprintf("deleted %[1]s/ConfigMap/cm-4, kept %[1]s/ConfigMap/cm-1, kept %[1]s/ConfigMap/cm-2, kept %[1]s/ConfigMap/cm-3", b.ns)
	if got := actions(r); got != want {
		t.Errorf("prune did %s\nwant %s", got, want)
	}
	for i, there := range []bool{true, true, true, true, false} {
		if _, err := b.try("configmaps", fmt.Sprintf("cm-%d", i)); (err == nil) != there {
			t.Errorf("cm-%d: %v, want it there: %t", i, err, there)
		}
	}
	if len(b.inv) != 1 {
		t.Errorf("inventory = %v, want cm-0 alone", b.inv)
	}

	t.Run("Disabled", func(t *testing.T) {
		b.apply(b.newPlan(configMaps(1, "x") + "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: more, namespace: NS}}"))
		p := b.newPlan(configMaps(1, "x"))
		p.Prune = false
		if r := b.apply(p); len(r.Outcomes) != 0 {
			t.Errorf("prune: false did %s", actions(r))
		}
		b.get("configmaps", "more")
	})
	t.Run("Remove", func(t *testing.T) {
		r, fs := b.a.Remove(t.Context(), b.newPlan(""))
		if len(blocking(fs)) > 0 || len(r.Inventory) != 0 || !strings.HasPrefix(actions(r), "deleted ") {
			t.Errorf("remove did %s, %v, inventory %v", actions(r), fs, r.Inventory)
		}
		if _, err := b.try("configmaps", "cm-0"); !apierrors.IsNotFound(err) {
			t.Errorf("cm-0: %v, want it gone", err)
		}
	})
}

func TestNoWriteUnlessRecorded(t *testing.T) {
	b := newBench(t)
	p := b.newPlan(configMaps(3, "x"))
	p.Record = func(context.Context, apply.Inventory) error { return fmt.Errorf("status is full") }
	b.count.take()
	r, fs := b.a.Apply(t.Context(), p)
	if len(blocking(fs)) != 1 || writes(b.count.take()) != 0 || len(r.Inventory) != 0 {
		t.Errorf("findings %v, inventory %v; nothing may be written that is not on record", fs, r.Inventory)
	}
}

// TestInterrupted stops an apply at 25 random moments, as a crash would: each time
// a new process goes on with what was recorded, and in the end everything that is
// wanted is there and nothing else.
func TestInterrupted(t *testing.T) {
	b := newBench(t)
	const n = 25
	rng := rand.New(rand.NewPCG(1, 2))
	interrupted := 0
	for i := range n {
		ctx, cancel := context.WithCancel(t.Context())
		var left atomic.Int64
		left.Store(rng.Int64N(90))
		a := b.applier(nil)
		p := b.newPlan(configMaps(10+i%7, fmt.Sprint(i)) + "---\n{apiVersion: v1, kind: Namespace, metadata: {name: NS-" + fmt.Sprint(i) + "}}\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: NS-" + fmt.Sprint(i) + "}}")
		stop := make(chan struct{})
		go func() { // cut the line after so many requests
			defer close(stop)
			for ctx.Err() == nil {
				b.count.mu.Lock()
				seen := int64(len(b.count.requests))
				b.count.mu.Unlock()
				if seen > left.Load() {
					cancel()
				}
				time.Sleep(50 * time.Microsecond)
			}
		}()
		b.count.take()
		_, fs := a.Apply(ctx, p)
		if len(blocking(fs)) > 0 {
			interrupted++
		}
		cancel()
		<-stop
	}
	if interrupted < 10 {
		t.Fatalf("only %d of %d applies were interrupted: the test would prove little", interrupted, n)
	}
	a := b.applier(nil)
	r, fs := a.Apply(t.Context(), b.newPlan(configMaps(4, "end")))
	if len(blocking(fs)) > 0 {
		t.Fatal(fs)
	}
	b.inv = r.Inventory
	list, err := b.alice.Resource(gvrs["configmaps"]).Namespace(b.ns).List(t.Context(), metav1.ListOptions{LabelSelector: apply.OwnerNameLabel})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 4 || len(b.inv) != 4 {
		t.Errorf("%d objects and %d entries at the end, want 4: something was orphaned or lost", len(list.Items), len(b.inv))
	}
	for _, cm := range list.Items {
		if v, _, _ := unstructured.NestedString(cm.Object, "data", "v"); v != "end" {
			t.Errorf("%s holds %q", cm.GetName(), v)
		}
	}
	spaces, err := b.alice.Resource(gvrs["namespaces"]).List(t.Context(), metav1.ListOptions{LabelSelector: apply.OwnerNamespaceLabel + "=" + b.ns})
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range spaces.Items {
		if ns.GetDeletionTimestamp() == nil {
			t.Errorf("namespace %s was orphaned", ns.GetName())
		}
	}
}
