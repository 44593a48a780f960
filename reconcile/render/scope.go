package render

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
)

// builtinKinds lists the kinds that Kubernetes 1.37 serves, and our own, which every
// cluster of ours serves, by group: those that live in a namespace before the bar,
// those of the cluster after it.
var builtinKinds = map[string]string{
	"": "ConfigMap Endpoints Event LimitRange PersistentVolumeClaim Pod PodTemplate ReplicationController ResourceQuota Secret Service ServiceAccount" +
		" | ComponentStatus Namespace Node PersistentVolume",
	"admissionregistration.k8s.io": "| MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration" +
		" ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration",
	"apiextensions.k8s.io":         "| CustomResourceDefinition",
	"apiregistration.k8s.io":       "| APIService",
	"apps":                         "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet |",
	"authentication.k8s.io":        "| SelfSubjectReview TokenReview",
	"authorization.k8s.io":         "LocalSubjectAccessReview | SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview",
	"autoscaling":                  "HorizontalPodAutoscaler |",
	"batch":                        "CronJob Job |",
	"certificates.k8s.io":          "PodCertificateRequest | CertificateSigningRequest ClusterTrustBundle",
	"coordination.k8s.io":          "Lease LeaseCandidate |",
	"discovery.k8s.io":             "EndpointSlice |",
	"events.k8s.io":                "Event |",
	"flowcontrol.apiserver.k8s.io": "| FlowSchema PriorityLevelConfiguration",
	"gitgate.dev":                  "GitSync PolicyException | BreakGlass PolicySet TrustPolicy",
	"internal.apiserver.k8s.io":    "| StorageVersion",
	"networking.k8s.io":            "Ingress NetworkPolicy | IPAddress IngressClass ServiceCIDR",
	"node.k8s.io":                  "| RuntimeClass",
	"policy":                       "PodDisruptionBudget |",
	"rbac.authorization.k8s.io":    "Role RoleBinding | ClusterRole ClusterRoleBinding",
	"resource.k8s.io":              "ResourceClaim ResourceClaimTemplate | DeviceClass DeviceTaintRule ResourcePoolStatusRequest ResourceSlice",
	"scheduling.k8s.io":            "CompositePodGroup PodGroup Workload | PriorityClass",
	"storage.k8s.io":               "CSIStorageCapacity | CSIDriver CSINode StorageClass VolumeAttachment VolumeAttributesClass",
	"storagemigration.k8s.io":      "| StorageVersionMigration",
}

var builtinScopes = func() map[schema.GroupKind]bool {
	out := map[schema.GroupKind]bool{}
	for group, kinds := range builtinKinds {
		namespaced := true
		for _, kind := range strings.Fields(kinds) {
			if kind == "|" {
				namespaced = false
				continue
			}
			out[schema.GroupKind{Group: group, Kind: kind}] = namespaced
		}
	}
	return out
}()

// BuiltinScope is a [ScopeFunc] that knows the kinds of Kubernetes 1.37 and our own.
func BuiltinScope(gvk schema.GroupVersionKind) (namespaced, known bool) {
	namespaced, known = builtinScopes[gvk.GroupKind()]
	return namespaced, known
}

// A scopes knows the scope of every kind of a tree. A definition in the tree comes
// last: it cannot change what is built in or served already.
type scopes struct {
	served  ScopeFunc
	defined map[schema.GroupKind]bool
}

func newScopes(served ScopeFunc, objects []gate.Object) scopes {
	s := scopes{served: served, defined: map[schema.GroupKind]bool{}}
	for _, o := range objects {
		if gvk := o.GroupVersionKind(); gvk.Group != "apiextensions.k8s.io" || gvk.Kind != "CustomResourceDefinition" {
			continue
		}
		group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(o.Object, "spec", "names", "kind")
		scope, _, _ := unstructured.NestedString(o.Object, "spec", "scope")
		s.defined[schema.GroupKind{Group: group, Kind: kind}] = scope != "Cluster"
	}
	return s
}

func (s scopes) namespaced(gvk schema.GroupVersionKind) bool {
	if namespaced, known := BuiltinScope(gvk); known {
		return namespaced
	}
	if s.served != nil {
		if namespaced, known := s.served(gvk); known {
			return namespaced
		}
	}
	if namespaced, known := s.defined[gvk.GroupKind()]; known {
		return namespaced
	}
	return true
}

// namespaces confines the objects to where they may be and moves them where they
// should be, in this order, so that nothing out of bounds is moved in silently.
func (r *renderer) namespaces() {
	target, only := r.options.TargetNamespace, r.options.RestrictNamespace
	scopes := newScopes(r.options.Scope, r.objects)
	if only != "" && target != "" && target != only {
		r.findings.add("", deny(verdict.ScopeViolation, 0, "target namespace %q is not %q, the namespace that this sync is confined to", target, only))
		return
	}
	accounts := r.serviceAccounts()
	for i := range r.objects {
		o := &r.objects[i]
		ns, namespaced := o.GetNamespace(), scopes.namespaced(o.GroupVersionKind())
		if problem, field := misplaced(*o, namespaced, only); problem != "" {
			r.outOfScope(*o, problem, field)
			continue
		}
		want := ns
		switch {
		case !namespaced:
			want = ""
		case target != "":
			want = target
		case ns == "":
			want = cmp.Or(only, r.options.DefaultNamespace)
		}
		if want != ns {
			r.move(o, want)
		}
		if target != "" {
			r.moveSubjects(o, ns, target, accounts)
		}
	}
}

func (r *renderer) outOfScope(o gate.Object, message, field string) {
	p := deny(verdict.ScopeViolation, FieldLine(r.reader.fsys, o.Source, field), "%s", message)
	p.object, p.field = o.ID(), field
	r.findings.add(o.Source.File, p)
}

// misplaced says why an object may not be where it wants to be.
func misplaced(o gate.Object, namespaced bool, only string) (problem, field string) {
	switch ns := o.GetNamespace(); {
	case only == "":
		return "", ""
	case !namespaced:
		return o.GetKind() + " is cluster-scoped, and this sync is confined to namespace " + only + "; use a sync of the system namespace for it", "kind"
	case ns != "" && ns != only:
		return "namespace " + ns + " is not " + only + ", the namespace that this sync is confined to", "metadata.namespace"
	}
	return "", ""
}

func (r *renderer) move(o *gate.Object, ns string) {
	from := o.Unstructured
	o.Unstructured = r.options.Cache.adapted(from, "namespace "+ns, func() *unstructured.Unstructured {
		return withNamespace(from, ns)
	})
}

// withNamespace returns a copy that shares all but the metadata.
func withNamespace(u *unstructured.Unstructured, ns string) *unstructured.Unstructured {
	top := maps.Clone(u.Object)
	metadata, _ := top["metadata"].(map[string]any)
	metadata = maps.Clone(metadata)
	if ns == "" {
		delete(metadata, "namespace")
	} else {
		metadata["namespace"] = ns
	}
	top["metadata"] = metadata
	return &unstructured.Unstructured{Object: top}
}

type account struct{ namespace, name string }

// serviceAccounts lists those that the tree declares, where it declares them.
func (r *renderer) serviceAccounts() map[account]bool {
	out := map[account]bool{}
	for _, o := range r.objects {
		if gvk := o.GroupVersionKind(); gvk.Group == "" && gvk.Kind == "ServiceAccount" {
			out[account{o.GetNamespace(), o.GetName()}] = true
		}
	}
	return out
}

// moveSubjects lets a role binding follow the service accounts that are moved to
// the target namespace: those of the same tree, and every "default", as kustomize
// does. The binding was declared in namespace ns.
func (r *renderer) moveSubjects(o *gate.Object, ns, target string, accounts map[account]bool) {
	if gvk := o.GroupVersionKind(); gvk.Group != "rbac.authorization.k8s.io" || !strings.HasSuffix(gvk.Kind, "RoleBinding") {
		return
	}
	from := o.Unstructured
	subjects, _ := from.Object["subjects"].([]any)
	var follow []int
	for i, s := range subjects {
		subject, _ := s.(map[string]any)
		name, _ := subject["name"].(string)
		at, _ := subject["namespace"].(string)
		if subject["kind"] == "ServiceAccount" && at != target && (name == "default" || accounts[account{cmp.Or(at, ns), name}]) {
			follow = append(follow, i)
		}
	}
	if len(follow) == 0 {
		return
	}
	o.Unstructured = r.options.Cache.adapted(from, fmt.Sprintf("subjects %v %s", follow, target), func() *unstructured.Unstructured {
		return withSubjects(from, follow, target)
	})
}

// withSubjects returns a copy whose subjects at the indexes are in a namespace.
func withSubjects(u *unstructured.Unstructured, indexes []int, ns string) *unstructured.Unstructured {
	top := maps.Clone(u.Object)
	subjects := slices.Clone(top["subjects"].([]any))
	for _, i := range indexes {
		subject := maps.Clone(subjects[i].(map[string]any))
		subject["namespace"] = ns
		subjects[i] = subject
	}
	top["subjects"] = subjects
	return &unstructured.Unstructured{Object: top}
}
