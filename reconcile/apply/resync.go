package apply

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"gitgate.dev/gitgate/policy/desired"
)

// resync looks at every object once an interval, one at a time and never faster
// than the budget allows. It is the safety net below the watches.
func (a *Applier) resync(ctx context.Context) {
	tick := time.NewTicker(time.Minute / time.Duration(a.cfg.ResyncPerMinute))
	defer tick.Stop()
	for {
		start := time.Now()
		for _, r := range a.store.of(Owner{}) {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			a.recheck(ctx, r)
		}
		select {
		case <-time.After(max(time.Second, a.cfg.ResyncInterval-time.Since(start))):
		case <-ctx.Done():
			return
		}
	}
}

// recheck reads one object and compares it, whatever the watch said.
func (a *Applier) recheck(ctx context.Context, r *record) {
	if a.store.get(r.key) != r {
		return // released since the round began
	}
	r.mu.Lock()
	res, busy := r.res, r.state == inFlight
	r.mu.Unlock()
	if busy {
		return
	}
	live, err := a.own.get(ctx, res, r.key)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.state == inFlight:
	case apierrors.IsNotFound(err):
		if r.state != drifted || !r.gone {
			r.state, r.live, r.gone = drifted, nil, true
			a.report(r, nil)
		}
	case err == nil && versionOf(live) >= r.version:
		a.look(r, live)
		if r.state == synced {
			go a.disown(ctx, r.res, r.key, r.identity, r.mask, live)
		}
	}
}

// disown takes the ownership of fields that Git decides from everybody else. Who
// applied our own content has changed nothing, and yet owns it: when Git drops the
// field it would stay for one apply more. Failing is no harm, for apply compares
// what is there and not who owns it.
func (a *Applier) disown(ctx context.Context, res *resource, k key, id Identity, mask *desired.Mask, live map[string]any) {
	fields, _ := lookup(live, []string{"metadata", "managedFields"})
	list, _ := fields.([]any)
	stay, foreign, err := mask.ForeignOwners(list, FieldManager)
	if err != nil || len(foreign) == 0 || len(stay) == 0 { // an empty list would be no change but a reset
		return
	}
	c, err := a.clients.as(id)
	if err != nil {
		return
	}
	if body, err := marshalPatch(map[string]any{"metadata": map[string]any{"managedFields": stay}}, live); err == nil {
		_, _ = c.merge(ctx, res, k, body)
	}
}
