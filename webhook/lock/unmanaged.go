package lock

import (
	"bytes"
	"slices"

	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/policy/verdict"
)

// unmanaged judges a request about an object that Git does not declare.
func (r *review) unmanaged() ruling {
	sc := r.scope()
	own := r.key.namespace == r.lock.cfg.System && r.key.namespace != ""
	if r.req.Operation == admissionv1.Connect {
		return r.connect(sc)
	}
	if sc.closed == nil && sc.managed == nil && !own {
		return r.open() // nothing of Git's is near
	}
	if !r.main() {
		return r.looseSubresource(sc)
	}
	if r.req.Operation == admissionv1.Update && len(r.req.Object.Raw) > 0 && bytes.Equal(r.req.Object.Raw, r.req.OldObject.Raw) {
		return allow(MatchedOpen, sc.closed)
	}
	if g, ok := r.decode(); !ok {
		return g
	}
	if f, ok, unknown := r.kin(); ok {
		if g, decided := r.derived(sc, f, unknown); decided {
			return g
		}
	}
	if g, ok := r.side(sc); ok {
		return g
	}
	if rel := r.delegated(); rel != nil {
		return allow(MatchedDelegated, rel)
	}
	if sc.closed == nil {
		return r.open()
	}
	return r.closed(sc.closed)
}

// kin finds the family of what is, or else of what is to be.
func (r *review) kin() (f family, ok, unknown bool) {
	if r.old != nil {
		if f, ok, unknown = r.family(r.old); ok {
			return f, ok, unknown
		}
	}
	if r.new != nil {
		return r.family(r.new)
	}
	return family{}, false, false
}

// derived judges a child of a controller. It does not decide where neither the
// namespace is closed nor the family Git's.
func (r *review) derived(sc scope, f family, unknown bool) (ruling, bool) {
	rel := f.rootedIn()
	r.kinship = rel
	own := r.key.namespace == r.lock.cfg.System
	judge := rel
	if judge == nil {
		judge = sc.closed
	}
	if judge == nil && own {
		judge = r.snap.top
	}
	if unknown && r.req.Operation == admissionv1.Create {
		if judge == nil {
			judge = sc.managed
		}
		return r.orphan(f, judge), true
	}
	if judge == nil {
		return ruling{}, false
	}
	var g ruling
	switch r.req.Operation {
	case admissionv1.Create:
		if rel == nil && !own {
			g = deny(MatchedDerived, judge, verdict.NotInGit, "%s belongs to %s %s, which is not in Git", r.what(), f.ref.kind, clip(f.ref.name))
		} else {
			g = r.deriveCreate(f, judge)
		}
	case admissionv1.Update:
		g = r.deriveUpdate(f)
	case admissionv1.Delete:
		g = r.deriveDelete(f)
	}
	g.matched = MatchedDerived
	if sc.closed != nil && !g.allowed { // whoever closes the namespace has a say in it
		g.mode = Strictest(judge.mode, sc.closed.mode)
	}
	if g.release == nil {
		g.release = judge
	}
	if g.entry == nil {
		g.entry = f.entry()
	}
	return g, true
}

// closed judges what is in a closed namespace and Git's in no way.
func (r *review) closed(rel *release) ruling {
	switch r.req.Operation {
	case admissionv1.Create:
		return deny(MatchedClosed, rel, verdict.NotInGit, "%s is not in Git, and namespace %s holds only what is", r.what(), r.key.namespace)
	case admissionv1.Delete:
		switch {
		case r.applies(rel), r.is("generic-garbage-collector", "namespace-controller"), r.applies(r.snap.tombs[r.key]),
			r.key.resource == "pods" && (r.is("pod-garbage-collector", "node-controller") || r.isPodOfNode()),
			r.key.resource == "jobs" && r.is("ttl-after-finished-controller"):
			return allow(MatchedClosed, rel)
		}
		return deny(MatchedClosed, rel, verdict.NotInGit, "%s is not in Git; the reconciler alone removes what is not", r.what())
	}
	if r.same(r.guard(nil)) {
		return allow(MatchedClosed, rel)
	}
	return deny(MatchedClosed, rel, verdict.NotInGit, "%s is not in Git, and namespace %s holds only what is", r.what(), r.key.namespace)
}

// isPodOfNode reports whether the caller is the node that the Pod is bound to.
func (r *review) isPodOfNode() bool {
	node, ok := r.node()
	return ok && r.key.group == "" && r.key.resource == "pods" && node != "" && text(r.old, "spec", "nodeName") == node
}

// delegators are the releases whose delegations reach an object that Git does not
// declare: those that close its namespace, the one that it derives from, and for
// objects of the cluster those of gitgate's own namespace. No GitSync gives away
// what is another's.
func (r *review) delegators() []*release {
	var out []*release
	for _, rel := range r.snap.closers {
		switch ns := r.key.namespace; {
		case rel == r.kinship, ns != "" && slices.Contains(rel.namespaces, ns), ns == "" && rel.sync.Namespace == r.lock.cfg.System:
			out = append(out, rel)
		}
	}
	return out
}

// delegated returns the release that leaves such objects to the caller as a whole,
// or nil.
func (r *review) delegated() *release {
	for _, rel := range r.delegators() {
		for _, d := range rel.delegations {
			if len(d.Paths) == 0 && r.writes(d) && d.Target.selects(r.kind(), r.key.namespace, r.key.name) {
				return rel
			}
		}
	}
	return nil
}

// writes reports whether the caller is whom a delegation names.
func (r *review) writes(d Delegation) bool { return r.anyone || d.Writer == r.writer.User }

// rows are the delegations of leaves of an object that Git does not declare.
func (r *review) rows() []desired.Leaf {
	var rows []desired.Leaf
	for _, rel := range r.delegators() {
		for _, d := range rel.delegations {
			if !r.writes(d) || !d.Target.selects(r.kind(), r.key.namespace, r.key.name) {
				continue
			}
			for _, path := range d.Paths {
				if len(path) > 0 && !protectedPath(path) {
					rows = append(rows, d.row(path))
				}
			}
		}
	}
	return rows
}

// same reports whether nothing changes but what the guard leaves to the caller.
func (r *review) same(g *desired.Guard) bool { return len(r.away(g)) == 0 }

// away lists the changes of an object that Git does not declare and that the guard
// does not leave to the caller.
func (r *review) away(g *desired.Guard) []desired.Change {
	k := r.kindOf()
	old, live := r.seal(k.Normalise(r.old)), r.seal(k.Normalise(r.new))
	return g.Away(old, old, live, r.writer)
}

// kindOf is the kind asked about. Whether it has a status does not matter to an
// object that Git does not declare: through the object itself a status cannot be
// written where it is a subresource.
func (r *review) kindOf() desired.Kind {
	k := desired.Kind{HasStatus: true}
	k.Group, k.Version, k.Kind = r.req.Kind.Group, r.req.Kind.Version, r.req.Kind.Kind
	return k
}
