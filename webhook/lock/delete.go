package lock

import (
	"gitgate.dev/gitgate/policy/verdict"
)

// delete judges the deletion of a managed object.
func (r *review) delete(rec *record) ruling {
	if g, ok := r.decode(); !ok {
		return g
	}
	if text(r.old, "metadata", "deletionTimestamp") != "" {
		return ruling{allowed: true} // it goes already, and nothing holds it
	}
	if r.req.Resource.Resource == "jobs" && r.is("ttl-after-finished-controller") && (rec.current.ttl(r.old) || rec.previous.ttl(r.old)) {
		return ruling{allowed: true}
	}
	if rec.current == nil {
		return r.deleteTombstoned(rec.previous.release)
	}
	if rec.current.force && r.applies(rec.current.release) && r.differsFrom(rec) {
		return ruling{allowed: true} // to be made anew, as Git says
	}
	return deny(MatchedManaged, nil, verdict.ManagedDelete, "%s is in Git and cannot be deleted", r.what())
}

// differsFrom reports whether the object is not what the current release says, so
// that it may have to be replaced.
func (r *review) differsFrom(rec *record) bool {
	e := rec.current
	if e.d == nil || e.kind.Version != r.req.Kind.Version {
		return false
	}
	d, err := decode(e.d)
	return err == nil && len(e.guard.Drift(d, r.normal(rec, e, r.old))) > 0
}

// deleteTombstoned judges the deletion of what a release drops.
func (r *review) deleteTombstoned(rel *release) ruling {
	ns := key{resource: "namespaces", name: r.key.namespace}
	switch {
	case r.applies(rel), r.applies(r.snap.tombs[r.key]), r.is("generic-garbage-collector"):
		return ruling{allowed: true, release: rel}
	case r.is("namespace-controller") && r.snap.dropped(ns):
		return ruling{allowed: true, release: rel}
	}
	return deny(MatchedManaged, rel, verdict.ManagedDelete, "%s is no longer in Git; the reconciler deletes it", r.what())
}

// applies reports whether the caller is who applies the release.
func (r *review) applies(rel *release) bool {
	return r.writer.User == r.lock.cfg.Reconciler || rel != nil && rel.writer != "" && r.writer.User == rel.writer
}

// dropped reports whether Git had the object and has it no more.
func (s *snapshot) dropped(k key) bool {
	if rec := s.records[k]; rec != nil {
		return rec.current == nil
	}
	return s.tombs[k] != nil
}

// ttl reports whether Git lets the Job be deleted when it is done.
func (e *entry) ttl(live map[string]any) bool {
	if e == nil {
		return false
	}
	d, err := live, error(nil) // what is frozen stays as it is
	if e.frozen == "" {
		d, err = decode(e.d)
	}
	if err != nil {
		return false
	}
	_, set := object(d, "spec")["ttlSecondsAfterFinished"]
	return set && finished(live)
}

// finished reports whether a Job is Complete or Failed.
func finished(job map[string]any) bool {
	for _, c := range list(object(job, "status"), "conditions") {
		c, _ := c.(map[string]any)
		if (c["type"] == "Complete" || c["type"] == "Failed") && c["status"] == "True" {
			return true
		}
	}
	return false
}
