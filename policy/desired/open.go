package desired

import "slices"

// A Condition restricts a [Leaf] to some objects of its kind, judged by the
// manifest.
type Condition string

// The conditions.
const (
	// Always holds.
	Always Condition = ""
	// Aggregated holds for a ClusterRole with an aggregationRule.
	Aggregated Condition = "Aggregated"
	// TokenSecret holds for a Secret of type kubernetes.io/service-account-token.
	TokenSecret Condition = "TokenSecret"
	// Autoscaled holds where the release holds a HorizontalPodAutoscaler for the
	// object and the manifest leaves the replicas out.
	Autoscaled Condition = "Autoscaled"
)

// A Leaf is a row of the table of open leaves: a place in a managed object which
// belongs to a controller and not to Git.
type Leaf struct {
	// Group and Kind are what the leaf is part of. The kind * is any.
	Group, Kind string
	// Path leads to the leaf. A last segment that ends in * opens every field
	// with this prefix.
	Path []string
	// Tokens, if any, are the only items of a list of strings that are open.
	Tokens []string
	// Writers are the users who may write it. A name without a colon is a service
	// account in kube-system.
	Writers []string
	// Exact means that Writers are user names as they are, without a colon too.
	Exact bool
	// Subresource is the one through which they write; empty is the object.
	Subresource string
	// DropOnly means that the writers may remove but not add.
	DropOnly bool
	When     Condition
}

func annotation(name string) []string { return []string{"metadata", "annotations", name} }

var finalizers = []string{"metadata", "finalizers"}

// binders hold and protect volumes and their claims.
var binders = []string{"persistent-volume-binder", "pvc-protection-controller", "pv-protection-controller",
	"system:kube-scheduler"}

// openLeaves is the table. Status is open to its controller wherever it is a
// subresource, and is not listed.
var openLeaves = []Leaf{
	{Group: "apps", Kind: "Deployment", Path: annotation("deployment.kubernetes.io/revision"),
		Writers: []string{"deployment-controller"}},
	{Group: "apps", Kind: "ReplicaSet", Path: annotation("deployment.kubernetes.io/*"),
		Writers: []string{"deployment-controller"}},
	{Group: "apps", Kind: "DaemonSet", Path: annotation("deprecated.daemonset.template.generation")},

	{Group: "apps", Kind: "Deployment", Path: finalizers, Tokens: []string{"orphan", "foregroundDeletion"},
		Writers: []string{"generic-garbage-collector"}},
	{Group: "apps", Kind: "ReplicaSet", Path: finalizers, Tokens: []string{"orphan", "foregroundDeletion"},
		Writers: []string{"generic-garbage-collector"}},
	{Group: "apps", Kind: "Deployment", Path: []string{"metadata", "ownerReferences"}, DropOnly: true,
		Writers: []string{"generic-garbage-collector"}},
	{Group: "apps", Kind: "ReplicaSet", Path: []string{"metadata", "ownerReferences"}, DropOnly: true,
		Writers: []string{"generic-garbage-collector"}},

	{Group: "", Kind: "Pod", Path: finalizers, Tokens: []string{"batch.kubernetes.io/job-tracking"},
		Writers: []string{"job-controller"}},
	{Group: "", Kind: "Pod", Path: []string{"spec", "nodeName"}, Subresource: "binding",
		Writers: []string{"system:kube-scheduler"}},

	{Group: "*", Kind: "*", Path: []string{"spec", "replicas"}, Subresource: "scale", When: Autoscaled,
		Writers: []string{"horizontal-pod-autoscaler"}},
	{Group: "autoscaling", Kind: "HorizontalPodAutoscaler", Path: annotation("autoscaling.alpha.kubernetes.io/*"),
		Subresource: "status", Writers: []string{"horizontal-pod-autoscaler"}},

	{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Path: []string{"rules"}, When: Aggregated,
		Writers: []string{"clusterrole-aggregation-controller"}},

	{Group: "", Kind: "PersistentVolumeClaim", Path: []string{"spec", "volumeName"}, Writers: binders},
	{Group: "", Kind: "PersistentVolumeClaim", Path: annotation("pv.kubernetes.io/*"), Writers: binders},
	{Group: "", Kind: "PersistentVolumeClaim", Path: annotation("volume.kubernetes.io/*"), Writers: binders},
	{Group: "", Kind: "PersistentVolumeClaim", Path: annotation("volume.beta.kubernetes.io/storage-provisioner"),
		Writers: binders},
	{Group: "", Kind: "PersistentVolumeClaim", Path: finalizers, Tokens: []string{"kubernetes.io/pvc-protection"},
		Writers: binders},
	{Group: "", Kind: "PersistentVolume", Path: []string{"spec", "claimRef"}, Writers: binders},
	{Group: "", Kind: "PersistentVolume", Path: annotation("pv.kubernetes.io/*"), Writers: binders},
	{Group: "", Kind: "PersistentVolume", Path: finalizers, Tokens: []string{"kubernetes.io/pv-protection"},
		Writers: binders},

	{Group: "", Kind: "Secret", Path: []string{"data", "token"}, When: TokenSecret,
		Writers: []string{"system:kube-controller-manager"}},
	{Group: "", Kind: "Secret", Path: []string{"data", "ca.crt"}, When: TokenSecret,
		Writers: []string{"system:kube-controller-manager"}},
	{Group: "", Kind: "Secret", Path: []string{"data", "namespace"}, When: TokenSecret,
		Writers: []string{"system:kube-controller-manager"}},
	{Group: "", Kind: "Secret", Path: annotation("kubernetes.io/service-account.uid"), When: TokenSecret,
		Writers: []string{"system:kube-controller-manager"}},

	{Group: "", Kind: "Node", Path: []string{"spec", "taints"}, Writers: []string{"node-controller"}},
	{Group: "", Kind: "Node", Path: annotation("node.alpha.kubernetes.io/ttl"), Writers: []string{"ttl-controller"}},
	{Group: "", Kind: "Namespace", Path: []string{"spec", "finalizers"}, Subresource: "finalize",
		Writers: []string{"namespace-controller"}},
	{Group: "", Kind: "Service", Path: finalizers, Tokens: []string{"service.kubernetes.io/load-balancer-cleanup"},
		Writers: []string{"service-controller", "cloud-controller-manager", "system:cloud-controller-manager"}},
	{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Path: finalizers,
		Tokens:  []string{"customresourcecleanup.apiextensions.k8s.io"},
		Writers: []string{"system:apiserver"}, Subresource: "status"},
}

// collectorLeaves are what the garbage collector may write in every object, by which
// it deletes what depends on others. They are rows of a [Guard] alone: a [Mask]
// compares them but for the kinds in the table above, for in an object that stays
// they have no business.
var collectorLeaves = []Leaf{
	{Group: "*", Kind: "*", Path: finalizers, Tokens: []string{"orphan", "foregroundDeletion"},
		Writers: []string{"generic-garbage-collector"}},
	{Group: "*", Kind: "*", Path: []string{"metadata", "ownerReferences"}, DropOnly: true,
		Writers: []string{"generic-garbage-collector"}},
}

// OpenLeaves returns the rows for a kind that hold under any condition. The
// rows are shared: do not change them.
func (k Kind) OpenLeaves() []Leaf {
	var rows []Leaf
	for _, l := range openLeaves {
		if l.Kind == "*" || l.Group == k.Group && l.Kind == k.Kind {
			rows = append(rows, l)
		}
	}
	return rows
}

// holds reports whether the row is open for the manifest g.
func (l Leaf) holds(g map[string]any, autoscaled bool) bool {
	switch l.When {
	case Always:
		return true
	case Aggregated:
		return g["aggregationRule"] != nil
	case TokenSecret:
		return g["type"] == "kubernetes.io/service-account-token"
	case Autoscaled:
		spec, _ := g["spec"].(map[string]any)
		return autoscaled && spec["replicas"] == nil
	}
	return false
}

// maxDropped bounds the lists that are compared item by item.
const maxDropped = 256

// dropped reports whether a list only lost items: every item of live is in d.
func dropped(d, live any) bool {
	was, _ := d.([]any)
	is, ok := live.([]any)
	if !ok {
		return live == nil
	}
	if len(is) > maxDropped || len(was) > maxDropped { // comparing them all would take too long
		return len(is) == 0
	}
	return !slices.ContainsFunc(is, func(item any) bool {
		return !slices.ContainsFunc(was, func(w any) bool { return equal(w, item) })
	})
}
