package apply_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/apply"
)

func configMaps(n int, value string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: cm-%d, namespace: NS}, data: {v: %q}}\n", i, value)
	}
	return b.String()
}

func actions(r apply.Result) string {
	var out []string
	for _, o := range r.Outcomes {
		out = append(out, string(o.Action)+" "+o.Object)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

const widgets = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.GROUP}
spec:
  group: GROUP
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {size: {type: integer, maximum: 10}, colour: {type: string, default: red}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
---
apiVersion: GROUP/v1
kind: Widget
metadata: {name: w, namespace: NS}
spec: {size: 3}
`

func TestDefinitionAndResourceInOneRelease(t *testing.T) {
	b := newBench(t)
	manifests := strings.ReplaceAll(widgets, "GROUP", b.ns+".example.com")
	for name, tc := range map[string]struct{ reason, from, to, field string }{
		"UnknownField": {"A typo in a resource whose kind is not served yet.", "spec: {size: 3}", "spec: {sice: 3}", "spec.sice"},
		"Invalid":      {"A value that the coming schema refuses.", "spec: {size: 3}", "spec: {size: 30}", "spec.size"},
	} {
		t.Run(name, func(t *testing.T) {
			b.count.take()
			_, fs := b.a.Apply(t.Context(), b.newPlan(strings.Replace(manifests, tc.from, tc.to, 1)))
			if f := blocking(fs); len(f) != 1 || f[0].Reason != verdict.SchemaInvalid || f[0].Field != tc.field {
				t.Errorf("%s\nfindings %v %q", tc.reason, fs, fieldOf(f))
			}
			if n := writes(b.count.take()); n != 0 {
				t.Errorf("%d writes before the release was known to be good", n)
			}
		})
	}
	p := b.newPlan(manifests)
	r := b.apply(p)
	if len(r.Outcomes) != 2 {
		t.Errorf("%s", actions(r))
	}
	gvr := gvrs["configmaps"]
	gvr.Group, gvr.Resource = b.ns+".example.com", "widgets"
	w, err := b.alice.Resource(gvr).Namespace(b.ns).Get(t.Context(), "w", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if c, _, _ := unstructured.NestedString(w.Object, "spec", "colour"); c != "red" {
		t.Errorf("colour = %q, want the default", c)
	}

	t.Run("Changed", func(t *testing.T) {
		// The new field is unknown to the schema that is in force.
		next := strings.Replace(manifests, "colour: {type", "weight: {type: integer}, colour: {type", 1)
		next = strings.Replace(next, "spec: {size: 3}", "spec: {size: 3, weight: 4}", 1)
		r := b.apply(b.newPlan(next))
		if got := actions(r); strings.Count(got, "updated") != 2 {
			t.Errorf("%s", got)
		}
	})
	t.Run("MadeAnew", func(t *testing.T) {
		// Only the coming definition forbids the change, and the one in force does not
		// know a field: when rules were asked about deletions nobody knew of this one.
		next := strings.Replace(manifests, "colour: {type", "length: {type: integer}, colour: {type", 1)
		next = strings.Replace(next, "size: {type: integer, maximum: 10}",
			"size: {type: integer, maximum: 10, x-kubernetes-validations: [{rule: self == oldSelf, message: it stays as it is}]}", 1)
		next = strings.Replace(next, "{name: w, namespace: NS}", "{name: w, namespace: NS, annotations: {gitgate.dev/force: Enabled}}", 1)
		next = strings.Replace(next, "spec: {size: 3}", "spec: {size: 5, length: 4}", 1)
		uid := func() types.UID {
			w, err := b.alice.Resource(gvr).Namespace(b.ns).Get(t.Context(), "w", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return w.GetUID()
		}
		was := uid()
		p := b.newPlan(next)
		if fs := b.a.DryRun(t.Context(), p); len(blocking(fs)) > 0 {
			t.Fatal(fs)
		}
		if ds, err := b.a.Deletions(t.Context(), p); err != nil || len(ds) != 0 {
			t.Fatalf("deletions %v, %v: this is not the case that was meant", ds, err)
		}
		_, fs := b.a.Apply(t.Context(), p)
		if f := blocking(fs); len(f) != 1 || !undetermined(f[0]) || !strings.Contains(f[0].Message, "next attempt") {
			t.Errorf("findings %v, want that this is for the next attempt", fs)
		}
		if uid() != was {
			t.Error("it was deleted, and no rule was asked")
		}
		p = b.newPlan(next)
		if fs := b.a.DryRun(t.Context(), p); len(blocking(fs)) > 0 {
			t.Fatal(fs)
		}
		if ds, err := b.a.Deletions(t.Context(), p); err != nil || len(ds) != 1 || !ds[0].Recreate {
			t.Errorf("deletions %v, %v: rules must see that it will be deleted", ds, err)
		}
		if b.apply(p); uid() == was {
			t.Error("it is the old one still")
		}
	})
	t.Run("Health", func(t *testing.T) {
		exprs := []apply.HealthExpr{{APIVersion: b.ns + ".example.com/v1", Kind: "Widget",
			Current: "status.phase == 'Up'", Failed: "status.phase == 'Broken'"}}
		p := b.newPlan(strings.Replace(manifests, "size: 3", "size: 4", 1))
		p.Health = exprs
		b.apply(p)
		if fs := b.a.Wait(timeout(t, 200*time.Millisecond), p); len(fs) != 1 || !strings.Contains(fs[0].Message, "current expression") {
			t.Errorf("without a status: %v", fs)
		}
		status := func(phase string) {
			if _, err := b.alice.Resource(gvr).Namespace(b.ns).Patch(t.Context(), "w", types.MergePatchType,
				[]byte(`{"status":{"phase":"`+phase+`"}}`), metav1.PatchOptions{}, "status"); err != nil {
				t.Fatal(err)
			}
		}
		status("Up")
		if fs := b.a.Wait(timeout(t, 5*time.Second), p); len(fs) != 0 {
			t.Errorf("Up: %v", fs)
		}
		status("Broken")
		eventually(t, 5*time.Second, "the failure is seen", func() bool { return len(b.a.Health(p.Owner)) == 1 })
	})
}

func TestNamespaceAndContentInOneRelease(t *testing.T) {
	b := newBench(t)
	manifests := `{apiVersion: v1, kind: Namespace, metadata: {name: NS-new}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: NS-new}, data: {a: b}}
---
{apiVersion: v1, kind: Service, metadata: {name: x, namespace: NS-new}, spec: {ports: [{port: 80}]}}`
	t.Run("Offline", func(t *testing.T) {
		b.count.take()
		_, fs := b.a.Apply(t.Context(), b.newPlan(strings.Replace(manifests, "ports:", "prots:", 1)))
		if f := blocking(fs); len(f) != 1 || f[0].Reason != verdict.SchemaInvalid || f[0].Field != "spec.prots" {
			t.Errorf("findings %v %q", fs, fieldOf(f))
		}
		if n := writes(b.count.take()); n != 0 {
			t.Errorf("%d writes", n)
		}
	})
	t.Run("AtItsTurn", func(t *testing.T) {
		// Only the server knows that the port is out of range: it says so when the
		// namespace is there, and still before anything else is written.
		_, fs := b.a.Apply(t.Context(), b.newPlan(strings.Replace(manifests, "port: 80", "port: 80000", 1)))
		if f := blocking(fs); len(f) != 1 || f[0].Reason != verdict.DryRunRejected {
			t.Errorf("findings %v", fs)
		}
		if len(b.inv) != 3 {
			t.Errorf("inventory %v, want everything that may exist", b.inv)
		}
	})
	b.apply(b.newPlan(manifests))
	if u, err := b.alice.Resource(gvrs["configmaps"]).Namespace(b.ns+"-new").Get(t.Context(), "x", metav1.GetOptions{}); err != nil || u == nil {
		t.Error(err)
	}
}

func TestIgnoredReplicas(t *testing.T) {
	b := newBench(t)
	rule := []apply.IgnoreRule{{Paths: []string{"/spec/replicas"}, Target: apply.Selector{Kind: "Deployment", Name: "web"}}}
	plan := func(m string) *apply.Plan {
		p := b.newPlan(m)
		p.Ignore = rule
		return p
	}
	replicas := func() int64 {
		n, _, _ := unstructured.NestedInt64(b.get("deployments", "web").Object, "spec", "replicas")
		return n
	}
	scale := func(n int) {
		t.Helper()
		if _, err := b.alice.Resource(gvrs["deployments"]).Namespace(b.ns).Patch(t.Context(), "web", types.MergePatchType,
			fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n), metav1.PatchOptions{}, "scale"); err != nil {
			t.Fatal(err)
		}
	}
	b.apply(plan(web))
	if n := replicas(); n != 1 {
		t.Errorf("created with %d replicas, want Git's 1", n)
	}
	eventually(t, 5*time.Second, "the watches catch up", func() bool { return len(b.a.Blind()) == 0 })
	scale(4)
	b.onlyProbe("deployments", "web")
	b.apply(plan(strings.Replace(web, "app:1", "app:2", 1)))
	if n := replicas(); n != 4 {
		t.Errorf("%d replicas after an update, want 4: they are the autoscaler's", n)
	}
	b.apply(plan(strings.Replace(strings.Replace(web, "app:1", "app:3", 1), "replicas: 1", "paused: false", 1)))
	if n := replicas(); n != 4 {
		t.Errorf("%d replicas after Git dropped them, want 4", n)
	}
}

func TestAutoscaled(t *testing.T) {
	b := newBench(t)
	hpa := `
---
{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: web, namespace: NS}, spec: {minReplicas: 2, maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}`
	b.apply(b.newPlan(strings.Replace(web, "replicas: 1", "paused: false", 1) + hpa))
	eventually(t, 60*time.Second, "the autoscaler scales", func() bool {
		n, _, _ := unstructured.NestedInt64(b.get("deployments", "web").Object, "spec", "replicas")
		return n == 2
	})
	b.onlyProbe("deployments", "web")
}
