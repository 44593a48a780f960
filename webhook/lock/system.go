package lock

import (
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/policy/verdict"
)

const ownGroup = "gitgate.dev"

// system judges what the lock itself rests upon: gitgate's kinds and namespace,
// and the namespaces and definitions that managed objects live by. It does not
// decide over anything else.
func (r *review) system() (ruling, bool) {
	switch {
	case r.key.group == ownGroup:
		return r.ownKind(), true
	case r.key.group == "" && r.key.resource == "namespaces" && r.main():
		return r.namespaceObject()
	case r.key.group == "" && r.key.resource == "namespaces":
		return r.namespaceSubresource()
	case r.key.group == "apiextensions.k8s.io" && r.key.resource == "customresourcedefinitions" && r.main():
		return r.definition()
	case r.key.group == "apiregistration.k8s.io" && r.key.resource == "apiservices" && r.main():
		return r.apiService()
	case r.key.group == "rbac.authorization.k8s.io" && r.key.namespace == "" && strings.HasPrefix(r.key.name, "gitgate-"):
		return r.ownObject()
	case r.key.namespace == r.lock.cfg.System && r.key.namespace != "":
		return r.ownNamespace()
	}
	return ruling{}, false
}

// isOwnReport reports whether an object is a report by gitgate on what rules say of
// another one. It is written beside that, in closed namespaces too, and no rule that
// every object must bear somebody's label keeps it from telling.
func (r *review) isOwnReport() bool {
	gr := r.req.Resource
	return (gr.Group == "openreports.io" || gr.Group == "wgpolicyk8s.io") && strings.HasPrefix(r.req.Name, "gitgate-") && r.main() &&
		r.snap.records[key{gr.Group, gr.Resource, r.req.Namespace, r.req.Name}] == nil
}

// isOwn reports whether the caller is one of gitgate's own service accounts.
func (r *review) isOwn() bool {
	return r.writer.User == r.lock.cfg.Reconciler || strings.HasPrefix(r.writer.User, serviceAccount(r.lock.cfg.System, "gitgate-"))
}

// trustRoots are the kinds that no grant opens: a grant is signed by keys that
// they hold.
var trustRoots = set("trustpolicies", "breakglasses")

// ownKind judges gitgate's own kinds, which are locked everywhere.
func (r *review) ownKind() ruling {
	g := r.ownRuling()
	if g.matched == MatchedNone {
		g.matched = MatchedSystem
	}
	if g.release == nil {
		g.release = r.snap.top
	}
	g.final = g.final || trustRoots[r.key.resource]
	return g
}

func (r *review) ownRuling() ruling {
	if r.key.resource == "breakglasses" && r.main() {
		return ruling{allowed: true} // it opens nothing without its signatures
	}
	if g, ok := r.decode(); !ok {
		return g
	}
	if !r.main() {
		if r.sub == "status" && r.isOwn() {
			return r.statusOnly(r.snap.top)
		}
		return r.unlisted(r.snap.top)
	}
	if r.req.Operation == admissionv1.Update && r.ownUpdate() {
		return ruling{allowed: true}
	}
	if rec := r.record(); rec != nil {
		return r.managed(rec)
	}
	if r.req.Operation == admissionv1.Delete && (text(r.old, "metadata", "deletionTimestamp") != "" ||
		r.is("namespace-controller") && !trustRoots[r.key.resource]) { // a namespace that holds what is in Git does not go
		return ruling{allowed: true}
	}
	g := deny(MatchedSystem, r.snap.top, verdict.NotInGit, "%s is not in Git; what gitgate trusts and locks is not changed from within the cluster while a lock enforces", r.what())
	if trustRoots[r.key.resource] {
		g.next = "put it under a GitSync, or take the locks off first: spec.lock.mode of every GitSync, by commit or grant"
	}
	return g
}

// ownUpdate reports whether an update changes nothing, or nothing but the
// finalizer that the reconciler keeps and the annotation by which anybody who may
// write a GitSync asks for an attempt now.
func (r *review) ownUpdate() bool {
	rows := []desired.Leaf{
		{Path: []string{"metadata", "finalizers"}, Tokens: []string{"gitgate.dev/finalizer"}, Writers: []string{r.lock.cfg.Reconciler}},
		{Path: []string{"metadata", "annotations", "gitgate.dev/requestedAt"}},
	}
	return r.old != nil && r.new != nil && r.same(r.guard(rows))
}

// namespaceScope is what is known of the Namespace that the request is about. Our own
// is closed and holds what the lock stands on.
func (r *review) namespaceScope() *scope {
	if r.key.name == r.lock.cfg.System {
		return &scope{closed: r.snap.top, holds: r.snap.top, managed: r.snap.top}
	}
	return r.snap.namespaces[r.key.name]
}

// namespaceObject judges Namespaces: one that holds managed objects stays, and one
// that is closed stays as it is.
func (r *review) namespaceObject() (ruling, bool) {
	sc := r.namespaceScope()
	if sc == nil {
		return ruling{}, false
	}
	if g, ok := r.decode(); !ok {
		return g, true
	}
	switch r.req.Operation {
	case admissionv1.Delete:
		holder := sc.holds
		if holder == nil && r.snap.records[r.key] == nil && !(r.snap.tombs[r.key] != nil && r.applies(r.snap.tombs[r.key])) {
			holder = sc.closed
		}
		if holder == nil || text(r.old, "metadata", "deletionTimestamp") != "" {
			return ruling{}, false
		}
		return deny(MatchedSystem, holder, verdict.ManagedDelete, "%s holds objects that are in Git", r.what()), true
	case admissionv1.Update:
		if sc.closed == nil || r.snap.records[r.key] != nil {
			return ruling{}, false
		}
		return r.frozen(sc.closed, "namespace "+r.key.name+" is closed"), true
	}
	return ruling{}, false
}

// namespaceSubresource judges status and finalize of closed Namespaces that are not
// in Git: both keep the metadata that is written along, such as the labels by which
// Pod Security exempts.
func (r *review) namespaceSubresource() (ruling, bool) {
	sc := r.namespaceScope()
	if sc == nil || sc.closed == nil || r.record() != nil {
		return ruling{}, false
	}
	if g, ok := r.decode(); !ok {
		return g, true
	}
	switch r.sub {
	case "status":
		return r.statusOnly(sc.closed), true
	case "finalize":
		return r.finalize(sc.closed), true
	}
	return r.unlisted(sc.closed), true
}

// frozen allows only updates that change nothing.
func (r *review) frozen(rel *release, why string) ruling {
	changes := r.away(r.guard(nil))
	if len(changes) == 0 {
		return allow(MatchedSystem, rel)
	}
	g := deny(MatchedSystem, rel, verdict.NotInGit, "%s is not in Git and cannot be changed: %s", r.what(), why)
	g.changes = changes
	return g
}

// definition judges CustomResourceDefinitions: deleting one deletes its objects
// without a review of theirs, and changing one changes what they say.
func (r *review) definition() (ruling, bool) {
	resource, group, _ := strings.Cut(r.key.name, ".")
	rel := r.snap.resources[schema.GroupResource{Group: group, Resource: resource}]
	if group == ownGroup {
		rel = strictest(rel, r.snap.top)
	}
	if rel == nil {
		return ruling{}, false
	}
	if g, ok := r.decode(); !ok {
		return g, true
	}
	switch r.req.Operation {
	case admissionv1.Delete:
		if text(r.old, "metadata", "deletionTimestamp") != "" {
			return ruling{}, false
		}
		g := deny(MatchedSystem, rel, verdict.ManagedDelete, "%s defines objects that are in Git, and they would go with it", r.what())
		g.final = group == ownGroup
		return g, true
	case admissionv1.Update:
		if r.snap.records[r.key] != nil {
			return ruling{}, false
		}
		g := r.frozen(rel, "it defines objects that are in Git")
		g.final = group == ownGroup
		return g, true
	}
	return ruling{}, false
}

// apiService judges APIServices: one with a service answers for a whole group.
func (r *review) apiService() (ruling, bool) {
	if r.snap.records[r.key] != nil {
		return ruling{}, false
	}
	if g, ok := r.decode(); !ok {
		return g, true
	}
	for _, obj := range [...]map[string]any{r.new, r.old} {
		group := text(obj, "spec", "group")
		rel := r.snap.groups[group]
		if group == ownGroup {
			rel = strictest(rel, r.snap.top)
		}
		if obj == nil || rel == nil || object(obj, "spec")["service"] == nil && r.is("system:apiserver") {
			continue
		}
		if r.req.Operation == admissionv1.Update {
			return r.frozen(rel, "it answers for objects that are in Git"), true
		}
		if r.req.Operation == admissionv1.Create && object(obj, "spec")["service"] == nil {
			continue
		}
		return deny(MatchedSystem, rel, verdict.NotInGit, "%s answers for objects that are in Git, and is not in Git itself", r.what()), true
	}
	return ruling{}, false
}

// ownObject judges objects that are gitgate's by their name.
func (r *review) ownObject() (ruling, bool) {
	if r.snap.records[r.key] != nil {
		return ruling{}, false
	}
	if g, ok := r.decode(); !ok {
		return g, true
	}
	if r.req.Operation == admissionv1.Update && r.old != nil && r.new != nil {
		return r.frozen(r.snap.top, "gitgate rests upon it"), true
	}
	return deny(MatchedSystem, r.snap.top, verdict.NotInGit, "%s is not in Git, and gitgate rests upon it", r.what()), true
}

// ownKinds are what is gitgate's in its own namespace whatever its name.
var ownKinds = set("/pods", "/replicationcontrollers", "/services", "/endpoints", "/serviceaccounts", "/podtemplates",
	"apps/deployments", "apps/replicasets", "apps/statefulsets", "apps/daemonsets", "apps/controllerrevisions", "batch/jobs", "batch/cronjobs",
	"coordination.k8s.io/leases", "discovery.k8s.io/endpointslices", "networking.k8s.io/networkpolicies", "policy/poddisruptionbudgets",
	"rbac.authorization.k8s.io/roles", "rbac.authorization.k8s.io/rolebindings")

// ownNamed are what is gitgate's there by a name that begins with gitgate-.
var ownNamed = set("/secrets", "/configmaps", "/persistentvolumeclaims")

// ownNamespace judges gitgate's own namespace. Its Pods come back from what is
// there; all the rest is its own to write.
func (r *review) ownNamespace() (ruling, bool) {
	resource := r.key.group + "/" + r.key.resource
	if resource == "/configmaps" && r.key.name == rootCAName && r.snap.records[r.key] == nil && r.main() {
		return r.ownRootCA()
	}
	if r.snap.records[r.key] != nil || !ownKinds[resource] && !(ownNamed[resource] && strings.HasPrefix(r.key.name, "gitgate-")) {
		return ruling{}, false
	}
	if !r.main() || r.req.Operation == admissionv1.Connect {
		return ruling{}, false // see looseSubresource and connect
	}
	if g, ok := r.decode(); !ok {
		return g, true
	}
	switch {
	case r.isOwn() && !strings.HasPrefix(r.key.group, "rbac.") && podSpecs[r.req.Kind.Group+"/"+r.req.Kind.Kind] == nil:
		return allow(MatchedSystem, nil), true // our Leases, certificates and Endpoints
	case r.req.Operation == admissionv1.Delete && r.is("namespace-controller", "generic-garbage-collector"):
		return allow(MatchedSystem, nil), true
	}
	if _, ok, _ := r.kin(); ok {
		return ruling{}, false // see derived
	}
	if g, ok := r.side(scope{closed: r.snap.top}); ok {
		return g, true
	}
	return r.ownObject()
}

// ownRootCA judges by what our own Pods know the API server: its publisher writes it,
// and nobody else.
func (r *review) ownRootCA() (ruling, bool) {
	if g, ok := r.decode(); !ok {
		return g, true
	}
	if g, ok := r.side(scope{closed: r.snap.top}); ok {
		return g, true
	}
	return r.ownObject()
}
