package lock

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/verdict"
)

// A reference is a controller's ownerReference. It is a claim until the owner was
// found.
type reference struct {
	group, version, kind, name string
	uid                        types.UID
}

func (r reference) gvk() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: r.group, Version: r.version, Kind: r.kind}
}

// A parent is a kind whose controller makes children.
type parent struct {
	resource   string
	controller string
	children   map[string]bool // group/resource
}

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// parents are the built-in kinds that own children, by group/kind.
var parents = map[string]parent{
	"apps/Deployment":        {"deployments", "deployment-controller", set("apps/replicasets")},
	"apps/ReplicaSet":        {"replicasets", "replicaset-controller", set("/pods")},
	"apps/StatefulSet":       {"statefulsets", "statefulset-controller", set("/pods", "apps/controllerrevisions", "/persistentvolumeclaims")},
	"apps/DaemonSet":         {"daemonsets", "daemon-set-controller", set("/pods", "apps/controllerrevisions")},
	"batch/Job":              {"jobs", "job-controller", set("/pods")},
	"batch/CronJob":          {"cronjobs", "cronjob-controller", set("batch/jobs")},
	"/ReplicationController": {"replicationcontrollers", "replication-controller", set("/pods")},
	"/Service":               {"services", "endpointslice-controller", set("discovery.k8s.io/endpointslices")},
	"/Endpoints":             {"endpoints", "endpointslicemirroring-controller", set("discovery.k8s.io/endpointslices")},
	"/Pod":                   {"pods", "", set("/persistentvolumeclaims", "resource.k8s.io/resourceclaims")},
}

// makers are the controllers of the children of Pods.
var makers = map[string]string{
	"/persistentvolumeclaims": "ephemeral-volume-controller", "resource.k8s.io/resourceclaims": "resource-claim-controller",
}

// controllerOf returns the controller's ownerReference of an object.
func controllerOf(obj map[string]any) (reference, bool) {
	for _, v := range list(object(obj, "metadata"), "ownerReferences") {
		m, _ := v.(map[string]any)
		if m["controller"] != true {
			continue
		}
		group, version, found := strings.Cut(text(m, "apiVersion"), "/")
		if !found {
			group, version = "", group
		}
		return reference{group, version, text(m, "kind"), text(m, "name"), types.UID(text(m, "uid"))}, true
	}
	return reference{}, false
}

// A family is a child's owner, and what of it is rooted in Git.
type family struct {
	ref    reference
	parent parent
	owners []map[string]any // the owner as it is known: live, admitted, as Git says
	root   *record          // the managed object at the end of the chain, or nil
	buried *release         // the release that dropped it, or left it to somebody as a whole
}

// family finds the owner that obj names. ok is false where obj names no owner of a
// built-in kind, or one that has no such children. unknown means that the owner,
// or one of its owners, is not known to this replica.
func (r *review) family(obj map[string]any) (f family, ok, unknown bool) {
	ref, found := controllerOf(obj)
	if !found {
		return family{}, false, false
	}
	ref = r.unmasked(ref)
	p, builtin := parents[ref.group+"/"+ref.kind]
	if !builtin || !p.children[r.key.group+"/"+r.key.resource] {
		return family{}, false, false
	}
	f = family{ref: ref, parent: p}
	if f.parent.controller == "" {
		f.parent.controller = makers[r.key.group+"/"+r.key.resource]
	}
	f.owners = r.live(ref, r.key.namespace)
	if len(f.owners) == 0 {
		return f, true, true
	}
	f.root, f.buried, unknown = r.root(ref, f.owners[0])
	if rec := r.snap.records[key{ref.group, p.resource, r.key.namespace, ref.name}]; rec != nil {
		f.owners = append(f.owners, rec.wanted()...)
	}
	return f, true, unknown
}

// groupOf is the group of each kind in parents.
var groupOf = func() map[string]string {
	out := map[string]string{}
	for name := range parents {
		group, kind, _ := strings.Cut(name, "/")
		out[kind] = group
	}
	return out
}()

// unmasked returns the reference by which the built-in controllers would know it:
// they look at kind and UID and not at the group.
func (r *review) unmasked(ref reference) reference {
	group, known := groupOf[ref.kind]
	if !known || group == ref.group || ref.uid == "" {
		return ref
	}
	real := reference{group, "v1", ref.kind, ref.name, ref.uid}
	if len(r.live(real, r.key.namespace)) == 0 {
		return ref
	}
	return real
}

// live returns what is known of the owner itself: as informers have it, and as it
// was admitted a moment ago. Where both know it informers come first, for they have
// it from the API server itself.
func (r *review) live(ref reference, namespace string) []map[string]any {
	var out []map[string]any
	if obj, ok := r.lock.cfg.Owners.Owner(ref.gvk(), namespace, ref.name, ref.uid); ok && obj != nil {
		out = append(out, obj)
	}
	if obj, ok := r.lock.recent.get(ref.uid); ok && ref.uid != "" && names(obj, ref, namespace) {
		out = append(out, obj)
	}
	return out
}

// names reports whether the object is what the reference names.
func names(obj map[string]any, ref reference, namespace string) bool {
	group, _, found := strings.Cut(text(obj, "apiVersion"), "/")
	if !found {
		group = ""
	}
	return group == ref.group && text(obj, "kind") == ref.kind && text(obj, "metadata", "name") == ref.name &&
		text(obj, "metadata", "namespace") == namespace
}

// maxChain bounds how far owners are followed. The longest built-in chain is
// CronJob, Job, Pod, claim.
const maxChain = 5

// root follows owners to the one that Git declares, or declared.
func (r *review) root(ref reference, obj map[string]any) (rec *record, buried *release, unknown bool) {
	for range maxChain {
		k := key{ref.group, parents[ref.group+"/"+ref.kind].resource, r.key.namespace, ref.name}
		if rec := r.snap.records[k]; rec != nil {
			return rec, nil, false
		}
		next, found := controllerOf(obj)
		if !found {
			return nil, strictest(r.snap.tombs[k], r.given(schema.GroupKind{Group: ref.group, Kind: ref.kind}, ref.name)), false
		}
		if _, builtin := parents[next.group+"/"+next.kind]; !builtin {
			resource := r.snap.kinds[schema.GroupKind{Group: next.group, Kind: next.kind}]
			return r.snap.records[key{next.group, resource, r.key.namespace, next.name}], nil, false
		}
		live := r.live(next, r.key.namespace)
		if len(live) == 0 {
			return nil, nil, true
		}
		ref, obj = next, live[0]
	}
	return nil, nil, false
}

// given returns the release that leaves such objects of the namespace to somebody as
// a whole, and closes it to everybody else: what they say is then as good as Git.
func (r *review) given(kind schema.GroupKind, name string) *release {
	for _, rel := range r.snap.closers {
		if !slices.Contains(rel.namespaces, r.key.namespace) {
			continue
		}
		for _, d := range rel.delegations {
			if len(d.Paths) == 0 && d.Target.Kind != "" && d.Target.selects(kind, r.key.namespace, name) {
				return rel
			}
		}
	}
	return nil
}

// wanted returns what Git says of the object, decoded: the owner will be this,
// even where informers lag behind.
func (rec *record) wanted() []map[string]any {
	var out []map[string]any
	for _, e := range [...]*entry{rec.current, rec.previous} {
		if e == nil || e.d == nil {
			continue
		}
		if d, err := decode(e.d); err == nil {
			out = append(out, d)
		}
	}
	return out
}

// rootedIn is the release that the family belongs to, or nil.
func (f family) rootedIn() *release {
	if f.root == nil {
		return f.buried
	}
	return f.root.release()
}

// entry is what Git says of the family's root, or nil.
func (f family) entry() *entry {
	switch {
	case f.root == nil:
		return nil
	case f.root.current != nil:
		return f.root.current
	}
	return f.root.previous
}

// orphan answers where the owner that the object names is not known.
func (r *review) orphan(f family, rel *release) ruling {
	return pend(MatchedDerived, rel, verdict.NotDerived, "%s names %s %s as its owner, which this replica does not know yet", r.what(), f.ref.kind, clip(f.ref.name))
}
