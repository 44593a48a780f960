package apply_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/reconcile/apply"
)

// again returns a plan of the very objects of another one, as when a commit did not
// change them.
func (b *bench) again(p *apply.Plan) *apply.Plan {
	next := b.newPlan("")
	next.Objects = p.Objects
	return next
}

// TestForms: what is remembered of an unchanged object must not outlive what the
// plan or the release says about it.
func TestForms(t *testing.T) {
	const deployment = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: NS}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: app, image: 'example.com/a:1'}]}}}}`

	t.Run("Unchanged", func(t *testing.T) {
		b := newBench(t)
		p := b.newPlan(web)
		b.apply(p)
		eventually(t, 10*time.Second, "the watches catch up", func() bool { return len(b.a.Blind()) == 0 })
		b.count.take()
		for range 2 {
			if r := b.apply(b.again(p)); r.Unchanged != len(p.Objects) {
				t.Errorf("%d of %d objects are unchanged", r.Unchanged, len(p.Objects))
			}
		}
		if reqs := b.count.take(); len(reqs) != 0 {
			t.Errorf("requests for nothing: %q", reqs)
		}
	})
	t.Run("Ignore", func(t *testing.T) {
		b := newBench(t)
		p := b.newPlan(web)
		b.apply(p)
		p = b.again(p)
		p.Ignore = []apply.IgnoreRule{{Paths: []string{"/data/a"}, Target: apply.Selector{Kind: "ConfigMap"}}}
		b.apply(p)
		b.patchConf(`{"data":{"a":"of somebody else"}}`)
		p = b.again(p)
		p.Ignore = []apply.IgnoreRule{{Paths: []string{"/data/a"}, Target: apply.Selector{Kind: "ConfigMap"}}}
		b.apply(p)
		if got := b.get("configmaps", "conf").Object["data"].(map[string]any)["a"]; got != "of somebody else" {
			t.Errorf("an ignored field was put back to %v", got)
		}
		b.apply(b.again(p)) // it is not ignored any more
		if got := b.get("configmaps", "conf").Object["data"].(map[string]any)["a"]; got == "of somebody else" {
			t.Error("a field that is not ignored any more stays what somebody made it")
		}
	})
	t.Run("Namespace", func(t *testing.T) {
		b := newBench(t)
		b.must(`{apiVersion: v1, kind: Namespace, metadata: {name: NS-other}}`)
		p := b.newPlan(`{apiVersion: v1, kind: ConfigMap, metadata: {name: conf}}`)
		p.Namespace = b.ns
		b.apply(p)
		p = b.again(p)
		p.Namespace = b.ns + "-other"
		r := b.apply(p)
		want := "created " + b.ns + "-other/ConfigMap/conf, deleted " + b.ns + "/ConfigMap/conf"
		if got := actions(r); got != want {
			t.Errorf("did %s, want %s", got, want)
		}
	})
	t.Run("Autoscaled", func(t *testing.T) {
		b := newBench(t)
		p := b.newPlan(deployment)
		b.apply(p)
		hpa := b.objects(`{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: web, namespace: NS}, spec: {maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}`)
		p = b.again(p)
		p.Objects = append(p.Objects, hpa...)
		b.apply(p)
		if _, err := b.alice.Resource(gvrs["deployments"]).Namespace(b.ns).Patch(t.Context(), "web", types.MergePatchType,
			[]byte(`{"metadata":{"labels":{"drift":"yes"}},"spec":{"replicas":3}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, c := range (<-b.drifts).Changes {
			if c.Path.String() == "spec.replicas" {
				t.Errorf("to be scaled from %v to %v is taken for drift", c.Old, c.New)
			}
		}
	})
	t.Run("Confine", func(t *testing.T) {
		b := newBench(t)
		p := b.newPlan(web)
		b.apply(p)
		p = b.again(p)
		p.Confine = "elsewhere"
		_, found := b.a.Apply(t.Context(), p)
		if len(blocking(found)) != len(p.Objects) {
			t.Errorf("found %v, want every object refused", found)
		}
	})
}

// patchConf has alice edit the ConfigMap of web.
func (b *bench) patchConf(body string) {
	b.t.Helper()
	if _, err := b.alice.Resource(gvrs["configmaps"]).Namespace(b.ns).Patch(b.t.Context(), "conf", types.MergePatchType,
		[]byte(body), metav1.PatchOptions{}); err != nil {
		b.t.Fatal(err)
	}
}
