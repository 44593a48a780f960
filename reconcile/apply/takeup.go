package apply

import (
	"context"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
)

// A Left is an object that [Applier.TakeUp] could not take up.
type Left struct {
	Object string // as [gate.Object.ID] has it
	Why    string
	Retry  bool // another attempt may take it up
}

// TakeUp brings the objects of a refused revision under watch, for a caller who
// remembers by himself that he applied it: what is not as that revision says is reported
// as drift, for [Applier.Correct]. Nothing is written here. What cannot be told of an
// object leaves that one alone. An object whose images a registry resolves is taken up
// only as it is: what its tags meant when the revision passed is not known any more. The
// error says that nothing could be told; an attempt later may do.
func (a *Applier) TakeUp(ctx context.Context, p *Plan, held *gate.Held) ([]Left, error) {
	h, err := a.holding(ctx, p, held)
	if err != nil {
		return nil, err
	}
	a.prefetch(ctx, p, h.prep)
	var mu sync.Mutex
	var left []Left
	_, err = h.each(ctx, func(ctx context.Context, it *item) (*Want, error) {
		if l := a.takeUp(ctx, p, h, it); l != nil {
			l.Object = it.object
			mu.Lock()
			defer mu.Unlock()
			left = append(left, *l)
		}
		return nil, nil
	})
	return left, err
}

func (a *Applier) takeUp(ctx context.Context, p *Plan, h *holding, it *item) *Left {
	object := h.objects[it.from]
	switch {
	case it.known:
		return nil // under watch already
	case object.Unknown != nil:
		return &Left{Why: object.Unknown.Message, Retry: object.Unknown.Severity == verdict.Undetermined}
	}
	if it.live == nil {
		if err := a.readLive(ctx, it); err != nil {
			return &Left{Why: it.unanswered(err).Message, Retry: !apierrors.IsForbidden(err)}
		}
	}
	if it.live != nil {
		// Not even what another GitSync may be handed: nothing new is taken by this.
		if o := ownerOf(it.live); o != p.Owner && o != (Owner{}) {
			return &Left{Why: it.conflict(o).Message}
		}
	}
	if err := a.learn(ctx, h.prep, it); err != nil {
		return &Left{Why: it.rejected(err).Message, Retry: true} // its namespace may come back
	}
	if object.Resolved && (it.live == nil || len(it.mask.Diff(it.d, it.res.Normalise(it.live))) > 0) {
		return &Left{Why: "it is not what its image tags make of it now, and what they meant before is not known"}
	}
	rec := a.begin(p, h.prep, it)
	if rec == nil {
		return &Left{Why: it.conflict(a.store.get(it.key).owner).Message}
	}
	if err := rec.settle(a, it.d, it.live); err != nil {
		rec.lose()
		return &Left{Why: err.Error()}
	}
	a.watches.ensure(it.res)
	return nil
}
