package lock_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"gitgate.dev/gitgate/policy/verdict"
)

// deletion makes a request that deletes. What it asks for is in the query: with a
// body, the server would look for a dry run nowhere else.
func deletion(policy, selector string) func(path string) request {
	return func(path string) request {
		query := url.Values{}
		if policy != "" {
			query.Set("propagationPolicy", policy)
		}
		if selector != "" {
			query.Set("labelSelector", selector)
		}
		return request{verb: http.MethodDelete, path: path, query: query}
	}
}

func TestAttack_K10_DeleteCollection(t *testing.T) {
	in := begin(t)
	for name, path := range map[string]string{
		"Deployments": "/apis/apps/v1/namespaces/harbor/deployments",
		"ConfigMaps":  core + "configmaps",
		"Secrets":     core + "secrets",
		"Roles":       "/apis/rbac.authorization.k8s.io/v1/namespaces/harbor/roles",
		"Custom":      "/apis/harbor.example.com/v1/namespaces/harbor/ships",
	} {
		t.Run(name, func(t *testing.T) {
			in.refused(t, in.alice, deletion("", ""), path, verdict.ManagedDelete, verdict.NotInGit)
		})
		t.Run(name+"Selected", func(t *testing.T) {
			in.refused(t, in.alice, deletion("", "gitgate.dev/name"), path, verdict.ManagedDelete)
		})
	}
	for _, path := range []string{core + "pods/bare", core + "secrets/login", core + "configmaps/settings", core + "services/web"} {
		t.Run(path[len(core):], func(t *testing.T) { in.refused(t, in.alice, deletion("", ""), path, verdict.ManagedDelete) })
	}
}

func TestAttack_K11_Holders(t *testing.T) {
	in := begin(t)
	collector := in.as(t, "system:serviceaccount:kube-system:generic-garbage-collector")
	namespaces := in.as(t, "system:serviceaccount:kube-system:namespace-controller")
	for _, policy := range []string{"Orphan", "Background", "Foreground"} {
		t.Run("Namespace/"+policy, func(t *testing.T) {
			in.refused(t, in.alice, deletion(policy, ""), "/api/v1/namespaces/harbor", verdict.ManagedDelete)
		})
		t.Run("Deployment/"+policy, func(t *testing.T) {
			in.refused(t, in.alice, deletion(policy, ""), deployment, verdict.ManagedDelete)
		})
		t.Run("ReplicaSet/"+policy, func(t *testing.T) {
			// People do not delete them; the twin's has another name.
			owner := in.podOf(t, locked).OwnerReferences[0].Name
			in.refusedAlone(t, in.alice, deletion(policy, "")("/apis/apps/v1/namespaces/harbor/replicasets/"+owner), verdict.NotDerived, verdict.ManagedDelete)
		})
	}
	t.Run("Collector", func(t *testing.T) {
		in.refused(t, collector, deletion("", ""), core+"configmaps/settings", verdict.ManagedDelete)
	})
	t.Run("NamespaceController", func(t *testing.T) {
		in.refused(t, namespaces, deletion("", ""), "/apis/networking.k8s.io/v1/namespaces/harbor/networkpolicies/wall", verdict.ManagedDelete)
	})
	t.Run("GitSync", func(t *testing.T) {
		// Its deletion would prune all. The twin's is gitgate's too, and locked.
		path := "/apis/gitgate.dev/v1alpha1/namespaces/gitgate-system/gitsyncs/harbor"
		in.refusedAlone(t, in.alice, deletion("", "")(path), verdict.NotInGit)
	})
}

func TestAttack_K29_Definition(t *testing.T) {
	in := begin(t)
	in.refused(t, in.alice, deletion("", ""), "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ships.harbor.example.com", verdict.ManagedDelete)
	in.refusedAlone(t, in.alice, deletion("", "")("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gitsyncs.gitgate.dev"), verdict.ManagedDelete)
}

// podFor is a Pod that claims a ReplicaSet of the Deployment web, with the
// ReplicaSet's own template and an image.
func (in *installation) podFor(t *testing.T, namespace, image string) string {
	t.Helper()
	pod := in.podOf(t, namespace)
	owner := pod.OwnerReferences[0]
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata:
  name: forged
  namespace: %s
  labels: {app: web, pod-template-hash: %s}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: %s, uid: %s, controller: true, blockOwnerDeletion: true}]
spec:
  containers: [{name: app, image: %q}]
`, namespace, pod.Labels["pod-template-hash"], owner.Name, owner.UID, image)
}

func TestAttack_K14_ForgedChild(t *testing.T) {
	in := begin(t)
	for name, who := range map[string]*caller{
		"Alice":      in.alice,
		"Controller": in.as(t, "system:serviceaccount:kube-system:replicaset-controller"),
		"Other":      in.as(t, "system:serviceaccount:kube-system:job-controller"),
		"Manager":    in.as(t, "system:kube-controller-manager", "attackers"),
	} {
		t.Run(name, func(t *testing.T) {
			in.refused(t, who, func(path string) request {
				if path == core+"pods" {
					return posted(in.podFor(t, locked, "evil.example.com/miner"), 0)(path)
				}
				return posted(in.podFor(t, free, "evil.example.com/miner"), 0)(path)
			}, core+"pods", verdict.NotDerived)
		})
	}
	t.Run("ReplicaSet", func(t *testing.T) {
		forged := func(path string) request {
			namespace := locked
			if path != "/apis/apps/v1/namespaces/harbor/replicasets" {
				namespace = free
			}
			web := in.get(t, "/apis/apps/v1/namespaces/"+namespace+"/deployments/web")
			return posted(fmt.Sprintf(`
apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: forged
  namespace: %s
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: %s, controller: true, blockOwnerDeletion: true}]
spec:
  replicas: 1
  selector: {matchLabels: {app: web, x: "1"}}
  template:
    metadata: {labels: {app: web, x: "1"}}
    spec: {containers: [{name: app, image: evil.example.com/miner}]}
`, namespace, web["metadata"].(map[string]any)["uid"]), 0)(path)
		}
		in.refused(t, in.as(t, "system:serviceaccount:kube-system:deployment-controller"), forged, "/apis/apps/v1/namespaces/harbor/replicasets", verdict.NotDerived)
	})
}

// TestAttack_K14_Unclaimed makes things that claim nobody.
func TestAttack_K14_Unclaimed(t *testing.T) {
	in := begin(t)
	in.refused(t, in.alice, posted("{apiVersion: v1, kind: Pod, metadata: {name: stray}, spec: {containers: [{name: a, image: b}]}}", 0), core+"pods", verdict.NotInGit)
	in.refused(t, in.alice, posted("{apiVersion: v1, kind: ConfigMap, metadata: {generateName: stray-}}", 0), core+"configmaps", verdict.NotInGit)
	stray := manifest("{apiVersion: v1, kind: ConfigMap, metadata: {name: stray}}")
	in.refused(t, in.alice, func(path string) request { return methods[3].make(path, nil, stray) }, core+"configmaps/stray", verdict.NotInGit)
	// A Lease is made by PUT as well.
	lease := manifest("{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: stray}}")
	in.refused(t, in.alice, func(path string) request { return methods[0].make(path, nil, lease) }, "/apis/coordination.k8s.io/v1/namespaces/harbor/leases/stray", verdict.NotInGit)
}
