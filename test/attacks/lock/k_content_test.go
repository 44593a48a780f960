package lock_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/policy/verdict"
)

// Paths of what is attacked.
const (
	core       = "/api/v1/namespaces/harbor/"
	deployment = "/apis/apps/v1/namespaces/harbor/deployments/web"
)

// set returns an edit that sets a field.
func set(value any, fields ...string) func(map[string]any) {
	return func(obj map[string]any) {
		if err := unstructured.SetNestedField(obj, value, fields...); err != nil {
			panic(err) // a programming error
		}
	}
}

func drop(fields ...string) func(map[string]any) {
	return func(obj map[string]any) { unstructured.RemoveNestedField(obj, fields...) }
}

func all(edits ...func(map[string]any)) func(map[string]any) {
	return func(obj map[string]any) {
		for _, edit := range edits {
			edit(obj)
		}
	}
}

// list returns an edit that changes a list.
func list(change func([]any) []any, fields ...string) func(map[string]any) {
	return func(obj map[string]any) {
		items, ok, err := unstructured.NestedSlice(obj, fields...)
		if err != nil || !ok {
			panic("no such list") // a programming error
		}
		if err := unstructured.SetNestedSlice(obj, change(items), fields...); err != nil {
			panic(err) // a programming error
		}
	}
}

func reversed(items []any) []any {
	out := make([]any, 0, len(items))
	for i := range items {
		out = append(out, items[len(items)-1-i])
	}
	return out
}

func plus(item map[string]any) func([]any) []any {
	return func(items []any) []any { return append(items, item) }
}

// first changes the first item of a list.
func first(change func(map[string]any)) func([]any) []any {
	return func(items []any) []any {
		change(items[0].(map[string]any))
		return items
	}
}

var (
	image   = list(first(set("evil.example.com/miner", "image")), "spec", "template", "spec", "containers")
	sidecar = list(plus(map[string]any{"name": "miner", "image": "evil.example.com/miner"}), "spec", "template", "spec", "containers")
)

func TestAttack_K1_DeclaredField(t *testing.T) {
	in := begin(t)
	for name, tc := range map[string]struct {
		path string
		edit func(map[string]any)
	}{
		"Image":         {deployment, image},
		"Replicas":      {deployment, set(int64(7), "spec", "replicas")},
		"ConfigMap":     {core + "configmaps/settings", set("reckless", "data", "mode")},
		"Secret":        {core + "secrets/login", set("bWluZQ==", "data", "password")},
		"Role":          {"/apis/rbac.authorization.k8s.io/v1/namespaces/harbor/roles/reader", list(first(set([]any{"*"}, "verbs")), "rules")},
		"ClusterRole":   {"/apis/rbac.authorization.k8s.io/v1/clusterroles/harbor-reader", list(first(set([]any{"*"}, "verbs")), "rules")},
		"Custom":        {"/apis/harbor.example.com/v1/namespaces/harbor/ships/mary", set("powder", "spec", "cargo")},
		"OtherVersion":  {"/apis/autoscaling/v1/namespaces/harbor/horizontalpodautoscalers/scaler", set(int64(99), "spec", "maxReplicas")},
		"ManagedFields": {deployment, all(image, set([]any{map[string]any{}}, "metadata", "managedFields"))},
	} {
		t.Run(name, func(t *testing.T) { in.changed(t, in.alice, tc.path, tc.edit, verdict.ContentMismatch) })
	}
}

func TestAttack_K2_UndeclaredField(t *testing.T) {
	in := begin(t)
	subject := map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory"}
	for name, tc := range map[string]struct {
		path string
		edit func(map[string]any)
	}{
		"Sidecar":    {deployment, sidecar},
		"HostPID":    {deployment, set(true, "spec", "template", "spec", "hostPID")},
		"Subject":    {"/apis/rbac.authorization.k8s.io/v1/namespaces/harbor/rolebindings/reader", list(plus(subject), "subjects")},
		"Key":        {core + "configmaps/settings", set("1", "data", "extra")},
		"SecretKey":  {core + "secrets/login", set("bWluZQ==", "data", "extra")},
		"Finalizer":  {deployment, set([]any{"evil.example.com/keep"}, "metadata", "finalizers")},
		"Owner":      {deployment, set([]any{map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1"}}, "metadata", "ownerReferences")},
		"Annotation": {deployment, set("1", "metadata", "annotations", "evil.example.com/x")},
	} {
		t.Run(name, func(t *testing.T) {
			in.changed(t, in.alice, tc.path, tc.edit, verdict.UndeclaredField, verdict.ContentMismatch)
		})
	}
}

func TestAttack_K3_Labels(t *testing.T) {
	in := begin(t)
	strip := drop("metadata", "labels")
	for name, edit := range map[string]func(map[string]any){
		"Strip":        strip,
		"StripAndEdit": all(strip, image),
		"GiveAway":     set("other", "metadata", "labels", "gitgate.dev/name"),
	} {
		t.Run(name, func(t *testing.T) { in.changed(t, in.alice, deployment, edit, verdict.ContentMismatch) })
	}
}

func TestAttack_K4_Namespace(t *testing.T) {
	in := begin(t)
	const label = "pod-security.kubernetes.io/enforce"
	for name, edit := range map[string]func(map[string]any){
		"Weaken":     set("privileged", "metadata", "labels", label),
		"Strip":      drop("metadata", "labels", label),
		"Exempt":     set("true", "metadata", "labels", "gitgate.dev/ignore"),
		"Annotation": set("1", "metadata", "annotations", "evil.example.com/x"),
	} {
		t.Run(name, func(t *testing.T) {
			in.changed(t, in.alice, "/api/v1/namespaces/harbor", edit, verdict.ContentMismatch, verdict.UndeclaredField)
		})
	}
}

// TestAttack_K4_Own relabels gitgate's own namespace.
func TestAttack_K4_Own(t *testing.T) {
	in := begin(t)
	for _, m := range methods {
		t.Run(m.name, func(t *testing.T) {
			edit := set("privileged", "metadata", "labels", "pod-security.kubernetes.io/enforce")
			in.refusedAlone(t, in.alice, in.edited(t, m, "/api/v1/namespaces/gitgate-system", edit), verdict.NotInGit)
		})
	}
}

func TestAttack_K33_Order(t *testing.T) {
	in := begin(t)
	for name, edit := range map[string]func(map[string]any){
		"InitContainers": list(reversed, "spec", "template", "spec", "initContainers"),
		"Env":            list(first(list(reversed, "env")), "spec", "template", "spec", "containers"),
	} {
		t.Run(name, func(t *testing.T) { in.changed(t, in.alice, deployment, edit, verdict.ContentMismatch) })
	}
}
