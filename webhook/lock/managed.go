package lock

import (
	"bytes"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/policy/verdict"
)

// managed judges a request about an object that Git declares, or declared until
// the release that is being applied.
func (r *review) managed(rec *record) ruling {
	r.kinship = rec.release()
	g := r.managedRuling(rec)
	if g.release == nil {
		g.release = rec.release()
	}
	if g.entry == nil {
		g.entry = rec.current
		if g.entry == nil {
			g.entry = rec.previous
		}
	}
	g.matched = MatchedManaged
	return g
}

func (r *review) managedRuling(rec *record) ruling {
	if !r.main() {
		return r.managedSubresource(rec)
	}
	switch r.req.Operation {
	case admissionv1.Create:
		return r.create(rec)
	case admissionv1.Update:
		return r.update(rec)
	case admissionv1.Delete:
		return r.delete(rec)
	}
	return deny(MatchedManaged, nil, verdict.SubresourceDenied, "%s of %s is not open to anybody", r.req.Operation, r.what())
}

// versions returns the entries that the object may be compared with: the current
// one first. pending means that one of them cannot be told yet.
func (r *review) versions(rec *record) (entries []*entry, pending *ruling) {
	wait := func(reason verdict.Reason, format string, args ...any) {
		g := pend(MatchedManaged, rec.release(), reason, format, args...)
		pending = &g
	}
	for _, e := range [...]*entry{rec.current, rec.previous} {
		switch {
		case e == nil:
		case e.frozen != "" && e.kind.Version == r.req.Kind.Version:
			entries = append(entries, e)
		case e.frozen == "" && e.d == nil:
			wait(verdict.RevisionPending, "what the API server makes of %s is not known yet", r.what())
		case e.kind.Version != r.req.Kind.Version:
			wait(verdict.NotReady, "%s is compared as version %s; the registration of the webhook is being brought up to date", r.what(), e.kind.Version)
		default:
			entries = append(entries, e)
		}
	}
	return entries, pending
}

// create allows exactly what Git says.
func (r *review) create(rec *record) ruling {
	// Until a release is applied its writer may go back to the one before. Anybody
	// else would bring back what was pruned a moment ago.
	if rec.current == nil && !r.applies(rec.previous.release) {
		return deny(MatchedManaged, nil, verdict.NotInGit, "%s is no longer in Git", r.what())
	}
	if g, ok := r.decode(); !ok {
		return g
	}
	entries, pending := r.versions(rec)
	var first ruling
	for i, e := range entries {
		if e.live || e.frozen != "" {
			if i == 0 {
				first = r.frozenRuling(e, nil)
			}
			continue
		}
		live := r.normal(rec, e, r.new)
		if e.mask.Digest(live) == e.digest {
			return ruling{allowed: true, entry: e, release: e.release}
		}
		d, err := decode(e.d)
		if err != nil {
			return deny(MatchedManaged, e.release, verdict.Internal, "what Git says of %s cannot be read", r.what()).sealed()
		}
		changes := e.mask.Diff(d, live)
		if len(changes) == 0 {
			return ruling{allowed: true, entry: e, release: e.release}
		}
		if i == 0 {
			first = r.mismatch(e, changes)
		}
	}
	if pending != nil {
		return *pending
	}
	return first
}

// update allows what changes nothing, leads to what Git says, or is the caller's
// to write.
func (r *review) update(rec *record) ruling {
	if bytes.Equal(r.req.Object.Raw, r.req.OldObject.Raw) && len(r.req.Object.Raw) > 0 {
		return ruling{allowed: true}
	}
	if g, ok := r.decode(); !ok {
		return g
	}
	if r.old == nil || r.new == nil {
		return deny(MatchedManaged, nil, verdict.Internal, "the request lacks the object or what it was").sealed()
	}
	if r.unchanged(rec) {
		return ruling{allowed: true}
	}
	entries, pending := r.versions(rec)
	var first ruling
	for i, e := range entries {
		old, live := r.normal(rec, e, r.old), r.normal(rec, e, r.new)
		d := old // a frozen object leads nowhere
		if e.frozen == "" {
			var err error
			if d, err = decode(e.d); err != nil {
				return deny(MatchedManaged, e.release, verdict.Internal, "what Git says of %s cannot be read", r.what()).sealed()
			}
		}
		changes := e.guard.Away(d, old, live, r.writer)
		if len(changes) == 0 {
			return ruling{allowed: true, entry: e, release: e.release}
		}
		if i == 0 {
			first = r.mismatch(e, changes)
		}
	}
	if pending != nil {
		return *pending
	}
	return first
}

// unchanged reports whether nothing that counts differs: Δ = ∅.
func (r *review) unchanged(rec *record) bool {
	e := rec.current
	if e == nil {
		e = rec.previous
	}
	k := *e.kind
	var all *desired.Mask
	return len(all.Diff(r.seal(k.Normalise(r.old)), r.seal(k.Normalise(r.new)))) == 0
}

// normal brings an object of the request into the form that D has.
func (r *review) normal(rec *record, e *entry, obj map[string]any) map[string]any {
	if e.pinned {
		obj = clone(obj)
		rec.images().canonicalise(obj)
	}
	return r.seal(e.kind.Normalise(obj))
}

func (r *review) seal(obj map[string]any) map[string]any {
	if r.req.Resource.Group == "" && r.req.Resource.Resource == "secrets" {
		return r.lock.cfg.Sealer.Seal(obj)
	}
	return obj
}

// images is what was verified for the object's GitSync: by its current release and
// the one that it replaces.
func (rec *record) images() *images {
	if rec.current == nil || rec.previous == nil {
		return rec.release().images
	}
	set := newImages()
	set.merge(rec.current.release.images)
	set.merge(rec.previous.release.images)
	return set
}

// clone returns a deep copy of a decoded object.
func clone(m map[string]any) map[string]any { return runtime.DeepCopyJSON(m) }

// mismatch words the changes that may not be made.
func (r *review) mismatch(e *entry, changes []desired.Change) ruling {
	if e.frozen != "" {
		return r.frozenRuling(e, changes)
	}
	g := ruling{entry: e, release: e.release, changes: changes, reason: verdict.UndeclaredField}
	images := len(changes) > 0
	for _, c := range changes {
		if c.Old != nil && !c.Reserved {
			g.reason = verdict.ContentMismatch
		}
		was, _ := c.Old.(string)
		is, _ := c.New.(string)
		images = images && e.pinned && otherDigest(was, is)
	}
	g.why = r.what() + " is what Git says, and this would change it"
	if images {
		g.reason, g.pending = verdict.ImagePending, true
		g.why = "this replica has no evidence for the image of " + r.what()
	}
	return g
}
