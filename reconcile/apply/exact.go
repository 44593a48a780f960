package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/policy/verdict"
)

// A target is what an object is to become, and where it is.
type target struct {
	subject
	key  key
	res  *resource
	mask *desired.Mask
	d    map[string]any // normalised, in the clear
}

func (it *item) target() target {
	return target{subject: it.subject, key: it.key, res: it.res, mask: it.mask, d: it.d}
}

// exact makes the live object equal to D, as far as the mask compares. What
// server-side apply leaves alone goes this way: additions of others, fields that
// somebody else owns too, lost defaults, the order of lists. It returns what the
// object ought to be, and is.
//
// Each patch names the version that it was made for, so it never undoes what it
// has not seen. If the answer to such a patch still differs, then admission
// itself put the difference there within the same write. Nobody can remove that,
// and it is taken for what the cluster makes of the manifest, with a warning.
func (a *Applier) exact(ctx context.Context, c *client, t target, live map[string]any) (d, is map[string]any, found []verdict.Finding, err error) {
	patched := false
	for n := 1; n <= attempts; n++ {
		norm := t.res.Normalise(live)
		uid, _ := metaString(live, "uid")
		patch := t.mask.Patch(t.d, norm, uid)
		if patch == nil || terminating(live) {
			return t.d, live, found, nil
		}
		if patched {
			changes := t.mask.Diff(t.d, norm)
			return norm, live, append(found, warning(t.finding(verdict.ContentMismatch,
				"admission in this cluster sets %s, which Git does not; it cannot be removed", paths(changes)))), nil
		}
		body, err := marshalPatch(patch, live)
		if err != nil {
			return nil, nil, found, err
		}
		ans, err := c.merge(ctx, t.res, t.key, body)
		switch {
		case apierrors.IsConflict(err):
			if err := letSettle(ctx, n); err != nil {
				return nil, nil, found, err
			}
			if live, err = a.own.get(ctx, t.res, t.key); err != nil {
				return nil, nil, found, err
			}
			continue
		case err != nil:
			return nil, nil, found, err
		}
		if live, err = ans.object(); err != nil {
			return nil, nil, found, err
		}
		patched = true
	}
	return nil, nil, found, fmt.Errorf("somebody else keeps changing this object")
}

// marshalPatch adds the precondition on the live version.
func marshalPatch(patch, live map[string]any) ([]byte, error) {
	version, _ := metaString(live, "resourceVersion")
	meta := map[string]any{"resourceVersion": version}
	if m, ok := patch["metadata"].(map[string]any); ok {
		for k, v := range m {
			meta[k] = v
		}
	}
	out := map[string]any{}
	for k, v := range patch {
		out[k] = v
	}
	out["metadata"] = meta
	return json.Marshal(out)
}

// maxPaths bounds how many paths a message names.
const maxPaths = 5

func paths(changes []desired.Change) string {
	var parts []string
	for i, c := range changes {
		if i == maxPaths {
			parts = append(parts, fmt.Sprintf("%d more", len(changes)-i))
			break
		}
		parts = append(parts, c.Path.String())
	}
	return strings.Join(parts, ", ")
}

// begin makes or takes the record of an item that is about to be written, and
// marks it so that what is seen meanwhile is judged afterwards. It returns nil if
// another owner was quicker.
func (a *Applier) begin(p *Plan, prep *prepared, it *item) *record {
	rec := a.store.add(&record{key: it.key, owner: p.Owner, res: it.res})
	if rec.owner != p.Owner {
		return nil
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.object, rec.identity, rec.stage, rec.force, rec.source = it.object, it.as, it.stage, it.force, it.source
	rec.res, rec.mask, rec.ignore, rec.rules = it.res, it.mask, it.ignore, prep.rules
	rec.hash, rec.manifest = it.hash, it.body
	if it.secret {
		rec.manifest = nil
	}
	rec.state, rec.live, rec.gone, rec.pending, rec.goneAt = inFlight, nil, false, nil, 0
	return rec
}

// settle ends a write: the object is to be d (in the clear) and is live, or gone where
// live is nil. What was seen meanwhile is judged now.
func (r *record) settle(a *Applier, d, live map[string]any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.secret() {
		d = a.sealer.Seal(d)
	}
	if err := r.setD(d); err != nil {
		return err
	}
	r.state, r.live = synced, nil
	if live != nil {
		a.look(r, live)
	} else {
		a.lookGone(r)
	}
	pending, goneAt := r.pending, r.goneAt
	r.pending, r.goneAt = nil, 0
	if pending != nil && versionOf(pending) > r.version {
		a.look(r, pending)
	}
	if goneAt > r.version {
		go a.verifyGone(a.watches.lifetime(), r)
	}
	return nil
}

// lose ends a write that failed: nothing is known any more.
func (r *record) lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state, r.live, r.gone, r.pending, r.goneAt = unknown, nil, false, nil, 0
	r.hash = [32]byte{}
}
