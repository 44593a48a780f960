package apply_test

import (
	"testing"
	"time"

	"gitgate.dev/gitgate/reconcile/apply"
)

// TestUndeclared leaves to others what the manifest leaves out, and keeps what it
// says.
func TestUndeclared(t *testing.T) {
	b := newBench(t)
	plan := func() *apply.Plan {
		p := b.newPlan(web)
		p.Ignore = []apply.IgnoreRule{{
			Paths: []string{"/data", "/metadata/annotations", "/metadata/ownerReferences"}, Target: apply.Selector{Kind: "ConfigMap"}, Undeclared: true,
		}}
		return p
	}
	data := func() map[string]any {
		return b.get("configmaps", "conf").Object["data"].(map[string]any)
	}
	b.apply(plan())
	eventually(t, 5*time.Second, "the watches catch up", func() bool { return len(b.a.Blind()) == 0 })
	was := data()["a"]
	b.patchConf(`{"metadata":{"annotations":{"theirs":"1"},"labels":{"extra":"1"}},"data":{"a":"of somebody else","theirs":"1"}}`)
	eventually(t, 5*time.Second, "what Git says, and nobody else's fields", func() bool {
		b.apply(plan())
		return data()["a"] == was && b.get("configmaps", "conf").GetLabels()["extra"] == ""
	})
	conf := b.get("configmaps", "conf")
	if data()["theirs"] != "1" || conf.GetAnnotations()["theirs"] != "1" {
		t.Errorf("what the manifest leaves out was put back: %v, annotations %v", data(), conf.GetAnnotations())
	}
}
