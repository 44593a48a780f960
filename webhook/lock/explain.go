package lock

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/verdict"
)

// Found is an object that is in the cluster. Who wrote it, and whether any admission
// was asked about it, is not known.
type Found struct {
	Kind     schema.GroupVersionKind
	Resource schema.GroupResource
	// Namespace and Name are those under which it was found.
	Namespace, Name string
	// Object is all of it where [ReadsContent] says so, else its metadata is enough. It
	// is read only.
	Object map[string]any
	// Earlier means that it was there before anybody watched: children of a state that
	// their owner had once may be among it.
	Earlier bool
	// Proven means that its content, as [Derivation] has it, followed from its owner
	// when it was seen before.
	Proven bool
}

// An Explanation says why an object is in a closed namespace. The zero Explanation is
// that nothing explains it.
type Explanation struct {
	Explained bool
	// Pending means that it may be explained in a moment: something that is needed for
	// it is not known yet.
	Pending bool
	// Matched is the part of the lock that knows it.
	Matched Matched
	// Owners are the objects by which alone it is explained. If one of them is not,
	// neither is it.
	Owners []types.UID
	// Reason and Why say what is wrong with it, where it is not explained.
	Reason verdict.Reason
	Why    string
}

// Explain says whether an object in a closed namespace is there by Git's leave: as the
// same lock would have it, had whoever may do so written it. Git declares it, or it
// derives from a live owner that is rooted in Git, or it is what controllers keep
// beside others, or a delegation leaves such objects to somebody. What admission
// decides by the caller is decided without it: the content of Endpoints and
// EndpointSlices, which only their controllers know, counts for nothing, and what is
// left to one writer may be another's work. What Git declares is explained whatever it
// holds, for the reconciler compares that. In a namespace that is not closed all is
// explained.
func (l *Lock) Explain(f Found) (e Explanation) {
	defer func() {
		if p := recover(); p != nil { // its text may quote an object
			e = Explanation{Reason: verdict.Internal, Why: fmt.Sprintf("internal error (%T): this is a bug in gitgate, please report it", p)}
		}
	}()
	r := &review{
		lock: l, ctx: context.Background(), snap: l.cfg.Inventory.state.Load(), anyone: true, decoded: true,
		key: key{f.Resource.Group, f.Resource.Resource, f.Namespace, f.Name}, new: settled(f),
		req: &admissionv1.AdmissionRequest{
			Operation: admissionv1.Create, Namespace: f.Namespace, Name: f.Name,
			Kind:     metav1.GroupVersionKind{Group: f.Kind.Group, Version: f.Kind.Version, Kind: f.Kind.Kind},
			Resource: metav1.GroupVersionResource{Group: f.Resource.Group, Version: f.Kind.Version, Resource: f.Resource.Resource},
		},
	}
	if !l.cfg.Inventory.Synced() || r.unknown() {
		return Explanation{Pending: true, Reason: verdict.NotReady, Why: "what Git says of it is not known yet"}
	}
	return r.explain(f)
}

func (r *review) explain(f Found) Explanation {
	explained := func(m Matched) Explanation { return Explanation{Explained: true, Matched: m} }
	sc := r.scope()
	switch {
	case sc.closed == nil:
		return explained(MatchedOpen)
	case text(r.new, "metadata", "name") != f.Name || text(r.new, "metadata", "namespace") != f.Namespace:
		return Explanation{Reason: verdict.NotInGit, Why: "it is stored in a place that is not the one it names, which the API server never does"}
	case r.snap.records[r.key] != nil:
		return explained(MatchedManaged)
	case r.snap.refers[r.key], r.isOwnBookkeeping(), r.isOwnReport():
		return explained(MatchedSystem)
	}
	if fam, ok, unknown := r.family(r.new); ok {
		return r.explainChild(f, fam, unknown)
	}
	if r.besides() {
		if g, ok := r.side(sc); ok && (g.allowed || g.pending) {
			return Explanation{Explained: g.allowed, Pending: g.pending, Matched: MatchedSide, Reason: g.reason, Why: g.why}
		}
	}
	if r.delegated() != nil {
		return explained(MatchedDelegated)
	}
	return Explanation{Matched: MatchedClosed, Reason: verdict.NotInGit, Why: "it is not in Git, and the namespace holds only what is"}
}

// isOwnBookkeeping reports whether an object is one that gitgate keeps for itself, in
// its own namespace.
func (r *review) isOwnBookkeeping() bool {
	resource := r.key.group + "/" + r.key.resource
	return r.key.namespace == r.lock.cfg.System && strings.HasPrefix(r.key.name, "gitgate-") &&
		(ownNamed[resource] || resource == "coordination.k8s.io/leases")
}

// besides reports whether an object may be a side object by what it is. Admission goes
// by the caller where this has more to ask: Endpoints need a Service in Git,
// EndpointSlices an owner, and nobody but a node knows its static Pods.
func (r *review) besides() bool {
	switch r.key.group + "/" + r.key.resource {
	case "/endpoints":
		return r.snap.records[key{"", "services", r.key.namespace, r.key.name}] != nil
	case "discovery.k8s.io/endpointslices", "/pods":
		return false
	}
	return true
}

// explainChild judges what names a controller's owner.
func (r *review) explainChild(f Found, fam family, unknown bool) Explanation {
	rel := fam.rootedIn()
	switch {
	case unknown:
		return Explanation{Pending: true, Matched: MatchedDerived, Reason: verdict.NotDerived,
			Why: fmt.Sprintf("it names %s %s as its owner, which is not there", clip(fam.ref.kind), clip(fam.ref.name))}
	case rel == nil:
		return Explanation{Matched: MatchedDerived, Reason: verdict.NotInGit,
			Why: fmt.Sprintf("it belongs to %s %s, which is not in Git", clip(fam.ref.kind), clip(fam.ref.name))}
	}
	r.kinship = rel
	out := Explanation{Explained: true, Matched: MatchedDerived, Owners: []types.UID{types.UID(text(fam.owners[0], "metadata", "uid"))}}
	if revision, ok := r.revision(fam); ok {
		out.Owners = append(out.Owners, types.UID(text(revision, "metadata", "uid")))
	}
	if f.Proven {
		return out
	}
	g := r.deriveCreate(fam, rel)
	if g.allowed || f.Earlier && r.history(fam, rel) {
		return out
	}
	out.Explained, out.Pending, out.Reason, out.Why = false, g.pending, g.reason, g.why
	for i, c := range g.changes {
		if i == maxNamed {
			out.Why += fmt.Sprintf(" and %d more", len(g.changes)-maxNamed)
			break
		}
		out.Why += [...]string{": ", ", "}[min(i, 1)] + clip(c.Path.String())
	}
	return out
}

// maxNamed bounds the fields that an explanation names.
const maxNamed = 3

// history reports whether an object can be what is left of a former state of its
// owner: a revision, or what runs by one, if its images were verified.
func (r *review) history(fam family, rel *release) bool {
	switch r.key.group + "/" + r.key.resource {
	case "apps/controllerrevisions":
		return true // what runs by it is looked at itself
	case "apps/replicasets":
		if object(r.new, "spec")["replicas"] == int64(0) {
			return true
		}
	case "batch/jobs":
	default:
		return false
	}
	k := r.kindOf()
	return rel.images == nil || !slices.ContainsFunc(podImages(&k, r.new), func(ref string) bool { return !r.mayRun(fam, ref) })
}

// childContent are the kinds of children that are held to their owners' content.
var childContent = set("/pods", "apps/replicasets", "apps/controllerrevisions", "batch/jobs", "/persistentvolumeclaims")

// ReadsContent reports whether [Lock.Explain] needs objects of a resource as a whole:
// all of them, or those of one name.
func ReadsContent(gr schema.GroupResource) (all bool, name string) {
	switch gr.Group + "/" + gr.Resource {
	case "/serviceaccounts":
		return false, "default"
	case "/configmaps":
		return false, rootCAName
	}
	return childContent[gr.Group+"/"+gr.Resource], ""
}

// Stateless reports whether objects of a resource are none of the cluster's state, so
// that no lock looks at them.
func Stateless(gr schema.GroupResource) bool { return stateless[gr.Group+"/"+gr.Resource] }

// Derivation returns what of a child has to stay as it is for [Found.Proven]. It is
// nil for kinds whose owners do not change under them.
func Derivation(gr schema.GroupResource, obj map[string]any) map[string]any {
	out := map[string]any{"labels": object(obj, "metadata", "labels"), "owners": list(object(obj, "metadata"), "ownerReferences")}
	spec := maps.Clone(object(obj, "spec"))
	switch gr.Group + "/" + gr.Resource {
	case "apps/replicasets":
		delete(spec, "replicas")
		delete(spec, "minReadySeconds")
	case "batch/jobs":
	case "apps/controllerrevisions":
		out["data"] = obj["data"]
	default:
		return nil
	}
	out["spec"] = spec
	return out
}

// settled returns an object as it was when it was made, as far as controllers are
// known to write into it later: what they do to a Pod is left to the graft.
func settled(f Found) map[string]any {
	if f.Object == nil || !childContent[f.Resource.Group+"/"+f.Resource.Resource] {
		return f.Object
	}
	obj := clone(f.Object)
	meta := object(obj, "metadata")
	withoutFinalizers(meta, "foregroundDeletion", "orphan")
	if f.Resource.Resource != "persistentvolumeclaims" {
		return obj
	}
	delete(object(obj, "spec"), "volumeName")
	annotations := object(meta, "annotations")
	for name := range annotations {
		if strings.HasPrefix(name, "pv.kubernetes.io/") || strings.HasPrefix(name, "volume.kubernetes.io/") || strings.HasPrefix(name, "volume.beta.kubernetes.io/storage-provisioner") {
			delete(annotations, name)
		}
	}
	return obj
}

func withoutFinalizers(meta map[string]any, names ...string) {
	if meta["finalizers"] == nil {
		return
	}
	meta["finalizers"] = slices.DeleteFunc(slices.Clone(list(meta, "finalizers")), func(v any) bool {
		s, _ := v.(string)
		return slices.Contains(names, s)
	})
}

// bound takes out of a Pod what its binding to a node adds.
func (g *graft) bound() {
	if text(g.spec(), "nodeName") == "" {
		return
	}
	g.strip("nodeName", anything)
	labels := object(g.pod, "metadata", "labels")
	for _, name := range [...]string{"topology.kubernetes.io/zone", "topology.kubernetes.io/region"} {
		if object(g.template, "metadata", "labels")[name] == nil {
			delete(labels, name)
		}
	}
}

// Closed tells which GitSyncs close which namespaces, in the order in which they came.
func (i *Inventory) Closed() map[string][]types.NamespacedName {
	s := i.state.Load()
	out := make(map[string][]types.NamespacedName, len(s.closing))
	for ns, syncs := range s.closing {
		out[ns] = slices.Clone(syncs)
	}
	return out
}
