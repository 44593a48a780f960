package lock

import (
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/policy/verdict"
)

// side judges what controllers keep beside other objects: bound by kind, name,
// caller and content. It does not decide over anything else.
func (r *review) side(sc scope) (ruling, bool) {
	switch r.key.group + "/" + r.key.resource {
	case "/serviceaccounts":
		if r.key.name == "default" {
			return r.sideObject(sc, "service-account-controller", r.plainAccount)
		}
	case "/configmaps":
		if r.key.name == rootCAName {
			return r.rootCA(sc)
		}
	case "/endpoints":
		return r.endpoints(sc)
	case "discovery.k8s.io/endpointslices":
		return r.slice(sc)
	case "/persistentvolumeclaims":
		return r.claim(sc)
	case "/pods":
		return r.mirrorPod(sc)
	}
	return ruling{}, false
}

// sideObject lets the controller keep an object whose content is fit. In a closed
// namespace nobody else may.
func (r *review) sideObject(sc scope, controller string, fit func() bool) (ruling, bool) {
	op := r.req.Operation
	switch {
	case op == admissionv1.Delete && r.is("namespace-controller", "generic-garbage-collector"):
		return allow(MatchedSide, sc.closed), true
	case op != admissionv1.Delete && r.is(controller):
		if fit() {
			return allow(MatchedSide, sc.closed), true
		}
		return deny(MatchedSide, r.judge(sc), verdict.ContentMismatch, "%s is not what %s makes", r.what(), controller), r.judge(sc) != nil
	}
	return ruling{}, false // a closed namespace refuses it, an open one does not
}

// judge is the release on whose account something in the namespace is refused.
func (r *review) judge(sc scope) *release { return strictest(sc.closed, sc.managed) }

// plainAccount reports whether a ServiceAccount is as it is when it is made.
func (r *review) plainAccount() bool {
	if r.req.Operation == admissionv1.Update {
		return r.same(r.guard(nil))
	}
	for k := range r.new {
		switch k {
		case "apiVersion", "kind", "metadata":
		default:
			return false
		}
	}
	return len(object(r.new, "metadata", "annotations")) == 0 && len(object(r.new, "metadata", "labels")) == 0
}

// rootCAName is the ConfigMap by which the Pods of a namespace know the API server.
const rootCAName = "kube-root-ca.crt"

// rootCA judges the ConfigMap with the cluster's certificates. That of our own
// namespace is where our Pods have theirs from: held to these it could never change,
// and no other one after it.
func (r *review) rootCA(sc scope) (ruling, bool) {
	g, ok := r.sideObject(sc, "root-ca-cert-publisher", r.certificates)
	if !ok || !g.allowed || r.req.Operation == admissionv1.Delete || r.key.namespace == r.lock.cfg.System || r.knownCA() {
		return g, ok
	}
	return pend(MatchedSide, r.judge(sc), verdict.ContentMismatch,
		"%s would hold other certificates than those by which gitgate itself knows the API server; while the cluster's CA is rotated they become the same", r.what()), true
}

// certificates reports whether a ConfigMap holds nothing but certificates.
func (r *review) certificates() bool {
	data := object(r.new, "data")
	return len(data) == 1 && r.new["binaryData"] == nil && strings.HasPrefix(text(data, "ca.crt"), "-----BEGIN CERTIFICATE-----")
}

// knownCA reports whether the certificates are those that the process knows, if it
// knows any. Texts are compared and not certificates: what one parser skips another
// reads.
func (r *review) knownCA() bool {
	if r.lock.cfg.RootCA == nil {
		return true
	}
	known := r.lock.cfg.RootCA()
	ca := strings.TrimSpace(text(r.new, "data", "ca.crt"))
	return len(known) == 0 || slices.ContainsFunc(known, func(bundle string) bool { return strings.TrimSpace(bundle) == ca })
}

// endpoints judges Endpoints, which bear the name of their Service and no owner.
func (r *review) endpoints(sc scope) (ruling, bool) {
	service := r.snap.records[key{"", "services", r.key.namespace, r.key.name}]
	switch {
	case r.is("endpoint-controller"), r.req.Operation == admissionv1.Delete && r.is("generic-garbage-collector", "namespace-controller"):
		return allow(MatchedSide, sc.closed), true
	case service == nil:
		return ruling{}, false
	}
	return r.notItsController(service, "endpoint-controller"), true
}

// slice judges EndpointSlices that claim a Service without being owned by it.
func (r *review) slice(sc scope) (ruling, bool) {
	const label = "kubernetes.io/service-name"
	for _, obj := range [...]map[string]any{r.old, r.new} {
		name := text(obj, "metadata", "labels", label)
		service := r.snap.records[key{"", "services", r.key.namespace, name}]
		if name == "" || service == nil {
			continue
		}
		if r.is("endpointslice-controller", "endpointslicemirroring-controller", "generic-garbage-collector", "namespace-controller") {
			return allow(MatchedSide, service.release()), true
		}
		return r.notItsController(service, "endpointslice-controller"), true
	}
	return ruling{}, false
}

func (r *review) notItsController(service *record, controller string) ruling {
	g := deny(MatchedSide, service.release(), verdict.NotDerived, "%s would send the traffic of a Service in Git elsewhere; only %s writes it", r.what(), controller)
	g.entry = service.current
	return g
}

// claim judges the claims of StatefulSets, which bear their names and no owner.
func (r *review) claim(sc scope) (ruling, bool) {
	set, rec, known := r.claimant()
	if !known {
		return ruling{}, false
	}
	rel := sc.closed
	if rec != nil {
		rel = rec.release()
	}
	switch r.req.Operation {
	case admissionv1.Create:
		if !r.is("statefulset-controller") {
			return ruling{}, false
		}
		changes := r.claimOf(set, r.key.name)
		if len(changes) == 0 && rec != nil {
			return allow(MatchedSide, rel), true
		}
		g := deny(MatchedSide, rel, verdict.NotDerived, "%s does not derive from StatefulSet %s", r.what(), text(set, "metadata", "name"))
		g.changes = changes
		return g, rel != nil
	case admissionv1.Update:
		if rec == nil {
			return ruling{}, false
		}
		return r.deriveUpdate(family{ref: reference{kind: "StatefulSet", name: text(set, "metadata", "name")}, root: rec}).of(rel), true
	case admissionv1.Delete:
		if rec == nil {
			return ruling{}, false
		}
		f := family{ref: reference{kind: "StatefulSet", name: text(set, "metadata", "name")}, root: rec, parent: parents["apps/StatefulSet"]}
		return r.deriveDelete(f).of(rel), true
	}
	return ruling{}, false
}

// of completes a ruling over what controllers keep.
func (g ruling) of(rel *release) ruling {
	g.matched = MatchedSide
	if g.release == nil {
		g.release = rel
	}
	return g
}

// claimant finds the StatefulSet that a claim belongs to by its name: the name of
// the template, of the set, and a number.
func (r *review) claimant() (set map[string]any, rec *record, ok bool) {
	name, number, found := cutLast(r.key.name)
	if !found || number == "" || strings.Trim(number, "0123456789") != "" {
		return nil, nil, false
	}
	gvk := schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "StatefulSet"}
	for i := range len(name) {
		if name[i] != '-' {
			continue
		}
		rec := r.snap.records[key{"apps", "statefulsets", r.key.namespace, name[i+1:]}]
		var found []map[string]any
		if rec != nil {
			found = rec.wanted()
		}
		if live, ok := r.lock.cfg.Owners.Owner(gvk, r.key.namespace, name[i+1:], ""); ok {
			found = append([]map[string]any{live}, found...)
		}
		for _, set := range found {
			for _, v := range list(object(set, "spec"), "volumeClaimTemplates") {
				if m, _ := v.(map[string]any); text(m, "metadata", "name") == name[:i] {
					return set, rec, true
				}
			}
		}
	}
	return nil, nil, false
}

// cutLast cuts a name at its last dash.
func cutLast(name string) (before, after string, found bool) {
	i := strings.LastIndexByte(name, '-')
	if i < 0 {
		return name, "", false
	}
	return name[:i], name[i+1:], true
}

// mirrorPod judges the picture of a static Pod, which only its node makes.
func (r *review) mirrorPod(sc scope) (ruling, bool) {
	const annotation = "kubernetes.io/config.mirror"
	obj := r.new
	if obj == nil {
		obj = r.old
	}
	if text(obj, "metadata", "annotations", annotation) == "" {
		return ruling{}, false
	}
	if node, ok := r.node(); ok && node != "" && text(obj, "spec", "nodeName") == node {
		return allow(MatchedSide, sc.closed), true
	}
	if r.req.Operation == admissionv1.Delete {
		return ruling{}, false
	}
	rel := r.judge(sc)
	return deny(MatchedSide, rel, verdict.NotDerived, "%s is the picture of a static Pod; only its own node makes one", r.what()), rel != nil
}
