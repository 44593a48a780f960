package apply

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
)

// A Drift is an object that is not what Git says.
type Drift struct {
	Owner Owner
	// Object is its name as gate.ObjectID has it.
	Object string
	// Missing means that the object was deleted.
	Missing bool
	// Changes leads from what Git says (Old) to what is there (New). Values of
	// Secrets are removed.
	Changes []desired.Change
	// Source is where Git declares the object.
	Source gate.Source
	// Patch is the merge patch (RFC 7396) that Git would need for the object to stay
	// as it is. It is only there while a grant holds the object, and never for a
	// Secret.
	Patch map[string]any

	key key
}

// errNeedsManifest means that a Secret's values are needed to correct it.
var errNeedsManifest = errors.New("the decrypted manifest is needed")

// Correct puts drifted objects right. Secrets need their decrypted manifest among
// fresh, for it is not kept; without it their drift is returned in need,
// untouched. Other objects need none. What is no longer drifted is left alone.
func (a *Applier) Correct(ctx context.Context, drifts []Drift, fresh []gate.Object) (Result, []Drift, []verdict.Finding) {
	var (
		result Result
		need   []Drift
		found  []verdict.Finding
		byID   = make(map[string]gate.Object, len(fresh))
	)
	for _, o := range fresh {
		byID[o.ID()] = o
	}
	for stage := range stageCount {
		var batch []Drift
		for _, d := range drifts {
			if (groupKind{d.key.group, d.key.kind}).stage() == stage {
				batch = append(batch, d)
			}
		}
		done := make(chan outcome, len(batch))
		found = append(found, each(ctx, a.cfg.Workers, batch, func(ctx context.Context, d Drift) []verdict.Finding {
			action, fs, err := a.correct(ctx, d, byID[d.Object])
			done <- outcome{d, action, err}
			return fs
		})...)
		close(done)
		for o := range done {
			switch {
			case errors.Is(o.err, errNeedsManifest):
				need = append(need, o.drift)
			case o.err == nil && o.action != "" && o.action != Unchanged:
				result.Outcomes = append(result.Outcomes, Outcome{Object: o.drift.Object, Action: o.action})
			}
		}
	}
	return result, need, sortFindings(found)
}

type outcome struct {
	drift  Drift
	action Action
	err    error
}

// correct puts one object right.
func (a *Applier) correct(ctx context.Context, d Drift, fresh gate.Object) (Action, []verdict.Finding, error) {
	rec := a.store.get(d.key)
	if rec == nil || rec.owner != d.Owner || ctx.Err() != nil {
		return Unchanged, nil, nil // released meanwhile, or stopping
	}
	rec.mu.Lock()
	if rec.state != drifted && rec.state != unknown {
		rec.mu.Unlock()
		return Unchanged, nil, nil
	}
	it, err := rec.item(fresh)
	if err != nil {
		rec.mu.Unlock()
		if errors.Is(err, errNeedsManifest) {
			return "", nil, err
		}
		return "", []verdict.Finding{it.finding(verdict.Internal, "%v", err)}, err
	}
	rec.state, rec.live, rec.pending, rec.goneAt = inFlight, nil, nil, 0
	rec.mu.Unlock()

	action, found, err := a.restore(ctx, it, rec)
	if err != nil {
		rec.unsettle()
		found = append(found, it.rejected(err))
	}
	return action, found, err
}

// item makes of the record what is needed to write its object. It needs r.mu.
func (r *record) item(fresh gate.Object) (*item, error) {
	it := &item{subject: subject{object: r.object, source: r.source, secret: r.secret(), as: r.identity}, live: r.live,
		form: &form{key: r.key, res: r.res, gvk: r.res.GroupVersionKind, mask: r.mask, ignore: r.ignore, force: r.force, stage: r.stage}}
	if it.secret {
		if fresh.Unstructured == nil {
			return it, errNeedsManifest
		}
		it.g = fresh.Unstructured
		if err := it.complete(&Plan{Owner: r.owner}, r.res, false); err != nil {
			return it, err
		}
		it.mask, it.ignore = r.mask, r.ignore
		it.d = it.res.SecretDefault(it.g)
		return it, nil
	}
	g, err := decode(r.manifest)
	if err != nil {
		return it, err
	}
	it.g, it.body = &unstructured.Unstructured{Object: g}, r.manifest
	it.d, err = decode(r.d)
	return it, err
}

// restore brings the object back: by a patch if it is there, else by making it.
func (a *Applier) restore(ctx context.Context, it *item, rec *record) (Action, []verdict.Finding, error) {
	c, err := a.clients.as(it.as)
	if err != nil {
		return "", nil, err
	}
	if it.live == nil {
		if err := a.readLive(ctx, it); err != nil {
			return "", nil, err
		}
	}
	action := Updated
	if it.live != nil {
		d, live, found, err := a.exact(ctx, c, it.target(), it.live)
		if err == nil {
			return action, found, rec.settle(a, d, live)
		}
		if !apierrors.IsInvalid(err) || !it.force {
			return "", found, err
		}
		if err := a.deleteAndWait(ctx, c, it); err != nil {
			return "", found, err
		}
		action = Recreated
	} else {
		action = Created
	}
	ans, err := a.applyRetry(ctx, c, it)
	if err != nil {
		return "", nil, err
	}
	live, err := ans.object()
	if err != nil {
		return "", nil, err
	}
	d, live, found, err := a.exact(ctx, c, it.target(), live)
	if err != nil {
		return "", found, err
	}
	return action, found, rec.settle(a, d, live)
}

// unsettle ends a correction that failed: the object is still drifted, as far as
// anybody knows.
func (r *record) unsettle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state, r.live, r.gone, r.pending, r.goneAt = drifted, nil, false, nil, 0
	r.version = 0
}

// Drifts returns what is known to have drifted of an owner, as after a correction
// that failed. Changes are not among it.
func (a *Applier) Drifts(o Owner) []Drift {
	var out []Drift
	for _, r := range a.store.of(o) {
		r.mu.Lock()
		if r.state == drifted {
			out = append(out, Drift{Owner: r.owner, Object: r.object, Missing: r.gone, key: r.key})
		}
		r.mu.Unlock()
	}
	return out
}

// forgetOthers drops the records of an owner that are not in keep.
func (a *Applier) forgetOthers(o Owner, keep map[key]*item) {
	removed := false
	for _, r := range a.store.of(o) {
		if keep[r.key] == nil {
			a.store.remove(r)
			removed = true
		}
	}
	if removed {
		a.watches.trim()
	}
}

// Forget drops what is known of an owner, without touching the cluster.
func (a *Applier) Forget(o Owner) {
	a.forgetOthers(o, nil)
	a.forms.drop(o)
}
