package lock

import (
	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/policy/verdict"
)

// A keeper is a controller of kube-controller-manager, or a user name.
//
// statusKeepers lists who writes the status of the kinds whose status nobody else
// has any business with. The status of all other kinds is open to whoever may
// write it by RBAC: it is not content.
var statusKeepers = map[string][]string{
	"apps/deployments":                     {"deployment-controller"},
	"apps/replicasets":                     {"replicaset-controller"},
	"apps/statefulsets":                    {"statefulset-controller"},
	"apps/daemonsets":                      {"daemon-set-controller"},
	"batch/jobs":                           {"job-controller"},
	"batch/cronjobs":                       {"cronjob-controller"},
	"/replicationcontrollers":              {"replication-controller"},
	"autoscaling/horizontalpodautoscalers": {"horizontal-pod-autoscaler"},
	"policy/poddisruptionbudgets":          {"disruption-controller", "system:apiserver"},
	"/resourcequotas":                      {"resourcequota-controller", "system:apiserver"},
	"/namespaces":                          {"namespace-controller"},
	"/pods": {"system:kube-scheduler", "job-controller", "pod-garbage-collector", "node-controller", "taint-eviction-controller",
		"device-taint-eviction-controller", "disruption-controller", "resource-claim-controller", "system:apiserver"},
}

// managedSubresource judges a write through a subresource of a managed object.
func (r *review) managedSubresource(rec *record) ruling {
	if r.req.Operation == admissionv1.Connect {
		return r.connected(rec.release())
	}
	switch r.sub {
	case "status":
		if g := r.statusWriter(rec.release()); !g.allowed {
			return g
		}
		return r.update(rec)
	case "scale":
		return r.scale(rec)
	case "finalize":
		return r.finalize(rec.release())
	case "binding":
		return r.bind(rec.release())
	case "eviction":
		return r.evictManaged(rec)
	case "token":
		return r.token(rec.release())
	case "resize":
		return r.update(rec)
	}
	return r.unlisted(rec.release())
}

// unlisted answers for every subresource that is not on the list.
func (r *review) unlisted(rel *release) ruling {
	return deny(MatchedManaged, rel, verdict.SubresourceDenied, "%s is not open to anybody", r.what())
}

// statusWriter judges who writes a status. Nodes write that of their own Pods.
func (r *review) statusWriter(rel *release) ruling {
	keepers, kept := statusKeepers[r.key.group+"/"+r.key.resource]
	if !kept || r.is(keepers...) {
		return ruling{allowed: true, release: rel}
	}
	if g, ok := r.decode(); !ok {
		return g
	}
	if node, ok := r.node(); ok && r.key.resource == "pods" && node != "" && text(r.old, "spec", "nodeName") == node {
		return ruling{allowed: true, release: rel}
	}
	for _, l := range r.rows() {
		if l.Path[0] == "status" {
			return ruling{allowed: true, release: rel}
		}
	}
	var all *desired.Mask
	k := desired.Kind{}
	if r.old != nil && r.new != nil && len(all.Diff(k.Normalise(r.old), k.Normalise(r.new))) == 0 {
		return ruling{allowed: true, release: rel}
	}
	g := deny(MatchedManaged, rel, verdict.SubresourceDenied, "the status of %s is its controller's", r.what())
	g.next = "nothing: the controller keeps the status. Whom else Git lets write it is said by spec.lock.delegations of the GitSync, with paths below /status"
	return g
}

// scale judges the scaling of a managed object: towards what Git says, or by the
// autoscaler of the release within its bounds.
func (r *review) scale(rec *record) ruling {
	if g, ok := r.decode(); !ok {
		return g
	}
	was, is := object(r.old, "spec")["replicas"], object(r.new, "spec")["replicas"]
	e := rec.current
	if e == nil {
		e = rec.previous
	}
	if e.d == nil && e.frozen == "" {
		return pend(MatchedManaged, e.release, verdict.RevisionPending, "what the API server makes of %s is not known yet", r.what())
	}
	if n, ok := is.(int64); ok && e.bounds != nil && r.is("horizontal-pod-autoscaler") && n != number(was) && (n < e.bounds.min || n > e.bounds.max) {
		g := deny(MatchedManaged, nil, verdict.SubresourceDenied, "%s would leave the bounds %d to %d of its HorizontalPodAutoscaler in Git", r.what(), e.bounds.min, e.bounds.max)
		g.changes = []desired.Change{field("spec.replicas", nil, is)}
		return g
	}
	var first ruling
	for i, e := range [...]*entry{rec.current, rec.previous} {
		if e == nil || e.d == nil && e.frozen == "" {
			continue
		}
		want := replicas(was) // nobody's word leads anywhere
		if !e.live && e.frozen == "" {
			d, err := decode(e.d)
			if err != nil {
				return deny(MatchedManaged, e.release, verdict.Internal, "what Git says of %s cannot be read", r.what()).sealed()
			}
			want = map[string]any{"spec": map[string]any{}} // where D has no number, none leads towards it
			if n := object(d, "spec")["replicas"]; n != nil {
				want = replicas(n)
			}
		}
		changes := e.guard.Away(want, replicas(was), replicas(is), r.writer)
		if len(changes) == 0 {
			return ruling{allowed: true, entry: e, release: e.release} // of the rest of a Scale the server takes nothing
		}
		if i == 0 || first.reason == "" {
			first = deny(MatchedManaged, e.release, verdict.SubresourceDenied, "%s is scaled by Git", r.what())
			first.changes = changes
		}
	}
	return first
}

func number(v any) int64 {
	n, _ := v.(int64)
	return n
}

// replicas is an object that holds nothing but its number of replicas.
func replicas(n any) map[string]any {
	if n == nil {
		n = int64(0) // a Scale leaves zero out
	}
	return map[string]any{"spec": map[string]any{"replicas": n}}
}

// finalize judges namespaces/finalize: the namespace controller alone, and only
// the finalizers.
func (r *review) finalize(rel *release) ruling {
	if g, ok := r.decode(); !ok {
		return g
	}
	changes := r.away(r.guard(nil))
	if len(changes) == 0 {
		return ruling{allowed: true, release: rel}
	}
	g := deny(MatchedManaged, rel, verdict.SubresourceDenied, "%s is the namespace controller's, and for finalizers only", r.what())
	g.changes = changes
	return g
}

// bind judges the binding of a Pod to a node, which can write labels and
// annotations besides.
func (r *review) bind(rel *release) ruling {
	if g, ok := r.decode(); !ok {
		return g
	}
	binds := r.is("system:kube-scheduler")
	for _, l := range r.rows() {
		binds = binds || len(l.Path) == 2 && l.Path[0] == "spec" && l.Path[1] == "nodeName"
	}
	if !binds {
		return deny(MatchedDerived, rel, verdict.SubresourceDenied, "%s: only the scheduler binds Pods", r.what())
	}
	for k := range object(r.new, "metadata", "labels") {
		if !topology[k] {
			return deny(MatchedDerived, rel, verdict.SubresourceDenied, "%s would set label %s", r.what(), clip(k))
		}
	}
	if len(object(r.new, "metadata", "annotations")) > 0 {
		return deny(MatchedDerived, rel, verdict.SubresourceDenied, "%s would set annotations", r.what())
	}
	return ruling{allowed: true, release: rel, matched: MatchedDerived}
}

// topology are the labels that PodTopologyLabels copies from the node (KEP-4742).
var topology = set("topology.kubernetes.io/zone", "topology.kubernetes.io/region")

// evictManaged judges the eviction of a Pod that Git declares itself: no DELETE
// review follows.
func (r *review) evictManaged(rec *record) ruling {
	if rec.current == nil {
		return r.deleteTombstoned(rec.previous.release)
	}
	return deny(MatchedManaged, nil, verdict.ManagedDelete, "%s: the Pod is in Git and nothing would make it again", r.what())
}

// looseSubresource judges a write through a subresource of an object that Git does
// not declare.
func (r *review) looseSubresource(sc scope) ruling {
	rel, entry, known := r.relative(sc)
	own := r.key.namespace == r.lock.cfg.System
	if rel == nil {
		if sc.closed == nil && known && !own {
			return r.open()
		}
		if rel = r.judge(sc); own {
			rel = strictest(rel, r.snap.top)
		}
	}
	if rel == nil {
		return r.open()
	}
	g := r.looseRuling(rel, entry)
	if g.release == nil {
		g.release = rel
	}
	if g.matched == MatchedManaged || g.matched == MatchedNone {
		g.matched = MatchedDerived
	}
	return g
}

func (r *review) looseRuling(rel *release, e *entry) ruling {
	switch r.sub {
	case "status":
		if g := r.statusWriter(rel); !g.allowed {
			return g
		}
		return r.statusOnly(rel)
	case "eviction":
		return ruling{allowed: true, release: rel, entry: e} // disruption budgets protect it, and its controller makes another
	case "binding":
		return r.bind(rel)
	case "token":
		return r.token(rel)
	case "finalize":
		return r.finalize(rel)
	case "scale":
		if r.key.resource == "replicasets" && r.is("deployment-controller") {
			return ruling{allowed: true, release: rel, entry: e}
		}
	case "resize":
		if rows := r.rows(); len(rows) > 0 {
			return r.statusOnly(rel)
		}
	case "approval": // of certificate signing requests: see identity
		return ruling{allowed: true, release: rel}
	}
	return r.unlisted(rel)
}

// statusOnly allows a write that changes nothing but the status and what the table
// gives to the writer.
func (r *review) statusOnly(rel *release) ruling {
	if g, ok := r.decode(); !ok {
		return g
	}
	if r.old == nil || r.new == nil {
		return r.unlisted(rel)
	}
	if changes := r.away(r.guard(nil)); len(changes) > 0 {
		g := deny(MatchedDerived, rel, verdict.SubresourceDenied, "%s would change more than that", r.what())
		g.changes = changes
		return g
	}
	return ruling{allowed: true, release: rel}
}

// relative is the release that an object belongs to by its owners, or by the closed
// namespace that it is in. known is false where the object is not known to this
// replica.
func (r *review) relative(sc scope) (rel *release, e *entry, known bool) {
	if _, ok := r.decode(); !ok {
		return sc.closed, nil, true
	}
	obj := r.old
	if obj == nil || r.sub == "scale" { // the review holds something else
		gvk := gvkOf[r.key.group+"/"+r.key.resource]
		if gvk.Kind == "" {
			return sc.closed, nil, true
		}
		live, ok := r.lock.cfg.Owners.Owner(gvk, r.key.namespace, r.key.name, "")
		if !ok {
			return sc.closed, nil, false
		}
		obj = live
	}
	if f, ok, _ := r.family(obj); ok && f.root != nil {
		r.kinship = f.rootedIn()
		return f.rootedIn(), f.entry(), true
	}
	return sc.closed, nil, true
}
