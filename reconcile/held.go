package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/apply"
)

// heldLook is how often a held drift is looked at: a grant may be revoked before
// it expires.
const heldLook = 5 * time.Second

// holds remembers which drifts are left alone because of a break-glass grant.
type holds struct {
	mu sync.Mutex
	by map[heldObject]string // the grant
}

type heldObject struct {
	owner  apply.Owner
	object string
}

// hold notes that a grant holds an object, and reports whether that is news.
func (h *holds) hold(o heldObject, grant string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.by == nil {
		h.by = map[heldObject]string{}
	}
	news := h.by[o] != grant
	h.by[o] = grant
	return news
}

// release returns the grant that held an object until now; empty for none.
func (h *holds) release(o heldObject) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	grant := h.by[o]
	delete(h.by, o)
	return grant
}

// notHeld returns the drifts that are to be corrected now. The others come back
// when their grant may have ended.
func (r *Reconciler) notHeld(ctx context.Context, owner apply.Owner, drifts []seenDrift) []seenDrift {
	var now []seenDrift
	for _, d := range drifts {
		object := heldObject{owner, d.Object}
		grant, until, ok := r.Applier.Held(d.Drift)
		if !ok {
			if grant := r.holds.release(object); grant != "" {
				r.restoring(ctx, owner, d.Drift, grant)
				d.at = time.Now() // the clock runs since it may be corrected
			}
			now = append(now, d)
			continue
		}
		if r.holds.hold(object, grant) {
			r.tell(ctx, owner, "DriftHeld", fmt.Sprintf("%s: %s, and is left so until %s by break-glass grant %s",
				d.Object, describe(d.Drift), until.UTC().Format(time.RFC3339), grant))
		}
		time.AfterFunc(max(0, min(heldLook, time.Until(until))), func() { r.drifts.add(d) })
	}
	return now
}

// restoring tells, before a change is put back that a grant let pass, what to commit
// if it is to stay.
func (r *Reconciler) restoring(ctx context.Context, owner apply.Owner, d apply.Drift, grant string) {
	h := HeldChange{
		Time: time.Now().UTC(), Door: "reconciler", GitSync: owner.String(), Grant: grant, Object: d.Object,
		Missing: d.Missing, File: d.Source.File, Line: d.Source.Line, Patch: d.Patch,
	}
	for _, c := range d.Changes {
		h.Fields = append(h.Fields, c.Path.String())
	}
	if err := r.Decisions.WriteHeld(h); err != nil {
		logr.FromContextOrDiscard(ctx).Error(err, "The decision log cannot be written")
	}
	message := fmt.Sprintf("%s: break-glass grant %s has ended, and Git's state comes back: %s", d.Object, grant, describe(d))
	if patch, err := json.Marshal(d.Patch); err == nil && d.Patch != nil {
		message += fmt.Sprintf("; to keep the change, commit it at %s:%d: %s", d.Source.File, d.Source.Line, patch)
	}
	r.tell(ctx, owner, "BreakGlassEnded", message)
}

// tell records an event on the GitSync.
func (r *Reconciler) tell(ctx context.Context, owner apply.Owner, reason, message string) {
	var sync v1alpha1.GitSync
	if err := r.Client.Get(ctx, key(owner), &sync); err != nil {
		return
	}
	r.Recorder.Eventf(&sync, nil, corev1.EventTypeWarning, reason, "Correct", "%s", truncate(message, maxMessage))
}
