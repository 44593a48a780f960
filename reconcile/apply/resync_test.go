package apply_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/reconcile/apply"
)

// TestResync: the slow check takes the ownership of our fields from those who
// applied the same content, which changes nothing that a watch could compare.
func TestResync(t *testing.T) {
	b := newBench(t)
	b.a = b.applier(func(c *apply.Config) { c.ResyncPerMinute, c.ResyncInterval = 6000, time.Second })
	b.apply(b.newPlan(web))
	force := true
	u, err := b.alice.Resource(gvrs["configmaps"]).Namespace(b.ns).Patch(t.Context(), "conf", types.ApplyPatchType,
		[]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"conf"},"data":{"a":"1"}}`),
		metav1.PatchOptions{FieldManager: "meddler", Force: &force})
	if err != nil {
		t.Fatal(err)
	}
	if !owns(u.GetManagedFields(), "meddler") {
		t.Fatal("the meddler owns nothing: the test would prove nothing")
	}
	b.run(b.a)
	eventually(t, 10*time.Second, "the meddler owns nothing any more", func() bool {
		f := b.get("configmaps", "conf").GetManagedFields()
		return !owns(f, "meddler") && owns(f, apply.FieldManager)
	})
	if f := b.get("deployments", "web").GetManagedFields(); !owns(f, "kube-controller-manager") {
		t.Errorf("the deployment controller lost what it owns: %v", f)
	}
}

func owns(fields []metav1.ManagedFieldsEntry, manager string) bool {
	for _, f := range fields {
		if f.Manager == manager {
			return true
		}
	}
	return false
}

// TestDeclared reads paths by the schemas of the real server.
func TestDeclared(t *testing.T) {
	client, err := discovery.NewDiscoveryClientForConfig(shared.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	schemas := desired.NewSchemas(client.OpenAPIV3())
	b := &bench{t: t, ns: "x"}
	set, err := schemas.Declared(b.objects(web)[0].Unstructured)
	if err != nil {
		t.Fatal(err)
	}
	want := `.spec.template.spec.containers[name="app"].image`
	if got := set.String(); !containsLine(got, want) {
		t.Errorf("%s is not among the declared paths:\n%s", want, got)
	}
	set, err = schemas.Declared(b.objects(`{apiVersion: example.com/v1, kind: Unknown, metadata: {name: x}, spec: {list: [{name: a}]}}`)[0].Unstructured)
	if err != nil {
		t.Fatal(err)
	}
	if got := set.String(); !containsLine(got, ".spec.list") {
		t.Errorf("without a schema lists are atomic:\n%s", got)
	}
	if err := schemas.Validate(b.objects(`{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, dota: {}}`)[0].Unstructured); err == nil {
		t.Error("an unknown field passed")
	}
}
