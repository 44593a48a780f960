package render

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

func TestTargetNamespace(t *testing.T) {
	files := tree(`
-- a.yaml --
apiVersion: v1
kind: ServiceAccount
metadata: {name: bot, namespace: old}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: all, namespace: mistaken}
subjects:
- {kind: ServiceAccount, name: bot, namespace: old}
- {kind: ServiceAccount, name: default, namespace: old}
- {kind: ServiceAccount, name: foreign, namespace: monitoring}
- {kind: Group, name: bot, namespace: old}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: own, namespace: old}
subjects:
- {kind: ServiceAccount, name: bot}
---
apiVersion: example.com/v1
kind: Everywhere
metadata: {name: e}
---
apiVersion: served.example.com/v1
kind: Global
metadata: {name: g}
---
apiVersion: other.example.com/v1
kind: Unknown
metadata: {name: u}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: everywheres.example.com}
spec: {group: example.com, scope: Cluster, names: {kind: Everywhere}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: deployments.apps}
spec: {group: apps, scope: Cluster, names: {kind: Deployment}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
`)
	served := func(gvk schema.GroupVersionKind) (bool, bool) { return false, gvk.Kind == "Global" }
	objects := mustRender(t, files, Options{TargetNamespace: "shop", Scope: served})
	want := `a.yaml:1 shop/ServiceAccount/bot
a.yaml:5 ClusterRoleBinding.rbac.authorization.k8s.io/all
a.yaml:14 shop/RoleBinding.rbac.authorization.k8s.io/own
a.yaml:20 Everywhere.example.com/e
a.yaml:24 Global.served.example.com/g
a.yaml:28 shop/Unknown.other.example.com/u
a.yaml:32 CustomResourceDefinition.apiextensions.k8s.io/everywheres.example.com
a.yaml:37 CustomResourceDefinition.apiextensions.k8s.io/deployments.apps
a.yaml:42 shop/Deployment.apps/d
`
	if got := listing(objects); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	namespaces := func(i int) (out []string) {
		for _, s := range objects[i].Object["subjects"].([]any) {
			out = append(out, fmt.Sprint(s.(map[string]any)["namespace"]))
		}
		return out
	}
	if diff := cmp.Diff([]string{"shop", "shop", "monitoring", "old"}, namespaces(1)); diff != "" {
		t.Errorf("subjects of the cluster role binding:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"shop"}, namespaces(2)); diff != "" {
		t.Errorf("subjects of the role binding:\n%s", diff)
	}
}

// TestBuiltinScopeTable guards the table against typing errors.
func TestBuiltinScopeTable(t *testing.T) {
	for kind, want := range map[schema.GroupKind]bool{
		{Kind: "Pod"}: true, {Kind: "Namespace"}: false, {Kind: "PersistentVolume"}: false, {Kind: "PersistentVolumeClaim"}: true,
		{Group: "apps", Kind: "StatefulSet"}: true, {Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"}: false,
		{Group: "rbac.authorization.k8s.io", Kind: "Role"}: true, {Group: "networking.k8s.io", Kind: "IngressClass"}: false,
		{Group: "networking.k8s.io", Kind: "Ingress"}: true, {Group: "authorization.k8s.io", Kind: "LocalSubjectAccessReview"}: true,
		{Group: "apiregistration.k8s.io", Kind: "APIService"}: false, {Group: "storage.k8s.io", Kind: "CSIStorageCapacity"}: true,
	} {
		if got, known := BuiltinScope(kind.WithVersion("v1")); !known || got != want {
			t.Errorf("%s: namespaced %t, known %t", kind, got, known)
		}
	}
	for kind, want := range ownScopes(t) {
		if got, known := BuiltinScope(kind.WithVersion("v1alpha1")); !known || got != want {
			t.Errorf("%s: namespaced %t, known %t: its CustomResourceDefinition says %t", kind, got, known, want)
		}
	}
	if _, known := BuiltinScope(schema.GroupVersionKind{Group: "example.com", Kind: "Pod"}); known {
		t.Error("a custom kind is not built in")
	}
}

// ownScopes reads the scopes of our own kinds from what is installed.
func ownScopes(t *testing.T) map[schema.GroupKind]bool {
	t.Helper()
	files, err := filepath.Glob("../../deploy/crds/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d CustomResourceDefinitions: %v", len(files), err)
	}
	out := map[schema.GroupKind]bool{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd struct {
			Spec struct {
				Group, Scope string
				Names        struct{ Kind string }
			}
		}
		if err := yaml.Unmarshal(raw, &crd); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out[schema.GroupKind{Group: crd.Spec.Group, Kind: crd.Spec.Names.Kind}] = crd.Spec.Scope == "Namespaced"
	}
	return out
}
