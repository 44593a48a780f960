package apply

import (
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/policy/verdict"
)

// A HeldFunc reports whether a grant lets people change an object, or delete it
// where missing is set, until when, and which grant that is.
type HeldFunc func(resource schema.GroupResource, namespace, name string, missing bool) (grant string, until time.Time, ok bool)

// Held reports whether a drift is to be left alone for now.
func (a *Applier) Held(d Drift) (grant string, until time.Time, ok bool) {
	rec := a.store.get(d.key)
	if rec == nil {
		return "", time.Time{}, false
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return a.held(rec.res, d.key, d.Missing)
}

func (a *Applier) held(res *resource, k key, missing bool) (grant string, until time.Time, ok bool) {
	if a.cfg.Held == nil {
		return "", time.Time{}, false
	}
	return a.cfg.Held(res.gvr().GroupResource(), k.namespace, k.name, missing)
}

// isHeld reports whether the drift of a record is left alone. It needs r.mu.
func (a *Applier) isHeld(r *record) bool {
	_, _, ok := a.held(r.res, r.key, r.gone)
	return ok
}

// leaveHeld reports whether an object that differs from D is to be left as it is,
// and says so. It is remembered as one that has drifted.
func (a *Applier) leaveHeld(it *item) []verdict.Finding {
	grant, until, ok := a.held(it.res, it.key, false)
	if !ok {
		return nil
	}
	it.skip, it.adopted = true, true
	return []verdict.Finding{warning(it.finding(verdict.ContentMismatch,
		"left as it is by break-glass grant %s until %s", grant, until.UTC().Format(time.RFC3339)))}
}

// heldPatch is what would have to be committed for a drift to stay: the merge
// patch (RFC 7396) from what Git says to what is there. It needs r.mu.
func (a *Applier) heldPatch(r *record, want, norm map[string]any) map[string]any {
	if _, _, ok := a.held(r.res, r.key, false); !ok || r.secret() {
		return nil
	}
	return r.mask.Patch(norm, want, "")
}
