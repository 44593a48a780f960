package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"gitgate.dev/gitgate/policy/verdict"
)

// Apply writes the plan: it records the inventory, applies in stages and prunes.
// A plan that was not dry-run is dry-run first. On blocking findings it stops at
// the end of the stage; Result.Inventory always covers everything that may exist.
func (a *Applier) Apply(ctx context.Context, p *Plan) (Result, []verdict.Finding) {
	start := time.Now()
	result := Result{Inventory: p.Previous.sorted()}
	var found []verdict.Finding
	if p.prepared == nil {
		if found = a.DryRun(ctx, p); p.prepared == nil {
			return result, found
		}
	}
	run := &run{a: a, p: p, prep: p.prepared, result: &result}
	p.prepared = nil // its answers age
	found = append(found, run.apply(ctx)...)
	result.Elapsed = time.Since(start)
	return result, sortFindings(found)
}

// A run is one Apply.
type run struct {
	a    *Applier
	p    *Plan
	prep *prepared

	mu     sync.Mutex
	result *Result
	done   int
}

func (r *run) apply(ctx context.Context) []verdict.Finding {
	wanted := r.prep.inventory()
	all := r.p.Previous.Union(wanted)
	r.result.Inventory = all
	if r.p.Record != nil && !all.Equal(r.p.Previous) {
		if err := r.p.Record(ctx, all); err != nil {
			r.result.Inventory = r.p.Previous.sorted()
			return []verdict.Finding{undetermined(planFinding(verdict.Internal, "the inventory could not be recorded, so nothing was written: %v", err))}
		}
	}
	var found []verdict.Finding
	for stage := range stageCount {
		found = append(found, r.stage(ctx, stage)...)
		if ctx.Err() != nil {
			found = append(found, undetermined(planFinding(verdict.NotReady, "the apply was interrupted: %v", context.Cause(ctx))))
		}
		if blocks(found) {
			return found
		}
	}
	if r.p.Prune {
		found = append(found, r.prune(ctx, wanted)...)
	}
	if blocks(found) {
		return found
	}
	r.a.forgetOthers(r.p.Owner, r.prep.byKey)
	r.result.Inventory = wanted
	return found
}

// inventory lists what the plan wants.
func (prep *prepared) inventory() Inventory {
	if prep.wanted == nil {
		inv := make(Inventory, 0, len(prep.items))
		for _, it := range prep.items {
			inv = append(inv, Entry{ID: it.id, V: it.res.Version})
		}
		prep.wanted = inv.sorted()
	}
	return prep.wanted
}

// stage applies the objects of one stage. Those that could not be judged before
// are judged now, all of them before the first is written.
func (r *run) stage(ctx context.Context, stage int) []verdict.Finding {
	var todo, asked []*item
	for _, it := range r.prep.items {
		switch {
		case it.stage != stage:
		case it.skip:
			r.unchanged(ctx, it)
		default:
			todo = append(todo, it)
			if it.deferred {
				asked = append(asked, it)
			}
		}
	}
	workers := r.a.cfg.Workers
	found := each(ctx, workers, asked, func(ctx context.Context, it *item) []verdict.Finding {
		fs, err := r.a.ask(ctx, r.prep, it)
		switch {
		case err == nil:
		case it.force && errors.As(err, new(onlyAnew)):
			// Nobody knew of this deletion when rules and the budget were asked.
			fs = append(fs, undetermined(it.finding(verdict.DryRunRejected,
				"it can only be made anew, which shows only now that its definition is another one: its deletion is judged with the next attempt")))
		default:
			fs = append(fs, it.refused(err))
		}
		return fs
	})
	if blocks(found) || ctx.Err() != nil {
		return found
	}
	found = append(found, each(ctx, workers, todo, func(ctx context.Context, it *item) []verdict.Finding {
		if ctx.Err() != nil {
			return nil
		}
		if it.skip { // it turned out so when asked
			r.unchanged(ctx, it)
			return nil
		}
		return r.write(ctx, it)
	})...)
	if blocks(found) || stage != stageDefinitions {
		return found
	}
	return append(found, r.awaitDefinitions(ctx, todo)...)
}

// unchanged counts an object that needs no write, and remembers it if nothing
// was known of it.
func (r *run) unchanged(ctx context.Context, it *item) {
	if rec := it.rec; rec != nil && !it.adopted {
		r.a.reconsider(ctx, rec, r.prep.rules)
	}
	if it.adopted {
		rec := r.a.begin(r.p, r.prep, it)
		if rec == nil {
			return // the other owner's conflict is for its own plan to find
		}
		if err := rec.settle(r.a, it.d, it.live); err != nil {
			rec.lose()
		}
		r.a.watches.ensure(it.res)
	}
	r.progress(it, Unchanged)
}

func (r *run) progress(it *item, action Action) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if action == Unchanged {
		r.result.Unchanged++
	} else {
		r.result.Outcomes = append(r.result.Outcomes, Outcome{Object: it.object, Action: action})
	}
	r.done++
	if r.p.OnProgress != nil {
		r.p.OnProgress(Progress{Stage: stageNames[it.stage], Done: r.done, Total: len(r.prep.items)})
	}
}

// write brings one object to what it ought to be.
func (r *run) write(ctx context.Context, it *item) []verdict.Finding {
	rec := r.a.begin(r.p, r.prep, it)
	if rec == nil {
		return []verdict.Finding{it.conflict(r.a.store.get(it.key).owner)}
	}
	action, found, err := r.put(ctx, it, rec)
	if err != nil {
		rec.lose()
		return append(found, it.rejected(err))
	}
	r.a.watches.ensure(it.res)
	r.progress(it, action)
	return found
}

func (r *run) put(ctx context.Context, it *item, rec *record) (Action, []verdict.Finding, error) {
	action := Updated
	if it.recreate {
		if err := r.a.deleteAndWait(ctx, r.prep.client, it); err != nil {
			return "", nil, err
		}
		it.live, action = nil, Recreated
	}
	ans, err := r.a.applyRetry(ctx, r.prep.client, it)
	if err != nil {
		return "", nil, err
	}
	if ans.created && action != Recreated {
		action = Created
	}
	live, err := ans.object()
	if err != nil {
		return "", nil, err
	}
	d, live, found, err := r.a.exact(ctx, r.prep.client, it.target(), live)
	if err != nil {
		return "", found, err
	}
	return action, found, rec.settle(r.a, d, live)
}

// applyRetry applies, again with fresh values where ignored fields moved.
func (a *Applier) applyRetry(ctx context.Context, c *client, it *item) (answer, error) {
	for n := 1; ; n++ {
		body, err := it.write(true)
		if err != nil {
			return answer{}, err
		}
		ans, err := c.apply(ctx, it.res, it.key, body, false)
		if !apierrors.IsConflict(err) || n == attempts {
			return ans, err
		}
		if err := letSettle(ctx, n); err != nil {
			return answer{}, err
		}
		if err := a.readLive(ctx, it); err != nil {
			return answer{}, err
		}
	}
}

// recreateTimeout bounds how long an object may take to go before it is made anew.
const recreateTimeout = time.Minute

// deleteAndWait deletes an object that is to be made anew, and waits until it is
// gone.
func (a *Applier) deleteAndWait(ctx context.Context, c *client, it *item) error {
	ctx, cancel := context.WithTimeout(ctx, recreateTimeout)
	defer cancel()
	if err := a.readLive(ctx, it); err != nil || it.live == nil {
		return err
	}
	if o := ownerOf(it.live); !mayTake(it, o) {
		return fmt.Errorf("belongs to GitSync %s by now", o)
	}
	uid, _ := metaString(it.live, "uid")
	if err := c.delete(ctx, it.res, it.key, deleteOptions(uid, "")); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		if err := a.readLive(ctx, it); err != nil {
			return err
		}
		if now, _ := metaString(it.live, "uid"); it.live == nil || now != uid {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return errors.New("the old object is still there after a minute; see its finalizers")
		}
	}
}

// definitionsTimeout bounds how long new kinds may take to be served.
const definitionsTimeout = time.Minute

// awaitDefinitions waits until the kinds that were just defined are served.
func (r *run) awaitDefinitions(ctx context.Context, written []*item) []verdict.Finding {
	var crds []*item
	for _, it := range written {
		if it.res.gk() == kindCRD && !it.skip {
			crds = append(crds, it)
		}
	}
	if len(crds) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, definitionsTimeout)
	defer cancel()
	found := each(ctx, r.a.cfg.Workers, crds, func(ctx context.Context, it *item) []verdict.Finding {
		for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
			obj, err := r.a.own.get(ctx, it.res, it.key)
			if err == nil && condition(obj, "Established") {
				return nil
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return []verdict.Finding{undetermined(it.finding(verdict.HealthCheckFailed,
					"the API server does not serve this kind yet (not Established): %s", conditionText(obj)))}
			}
		}
	})
	r.a.schemas.Refresh()
	return append(found, r.redefine(ctx)...)
}

// redefine looks again at the objects whose kind was just defined or changed:
// whether their status is content may be another now. Discovery lags a moment
// behind a definition.
func (r *run) redefine(ctx context.Context) (found []verdict.Finding) {
	fresh := false
	for _, it := range r.prep.items {
		if r.prep.coming[it.gvk] == nil {
			continue
		}
		if !fresh {
			if err := r.a.kinds.refresh(ctx); err != nil {
				return append(found, undetermined(planFinding(verdict.NotReady, "%v", err)))
			}
			fresh = true
		}
		res, err := r.a.kinds.await(ctx, it.res.GroupVersionKind)
		switch {
		case err != nil:
			found = append(found, it.unanswered(err))
		case *res != *it.res:
			form := *it.form // others may know it
			if err := form.complete(r.p, res, it.scaled); err != nil {
				found = append(found, it.finding(verdict.InvalidManifest, "%v", err))
				continue
			}
			it.form = &form
			it.skip, it.deferred, it.known, it.d = false, true, false, nil
		}
	}
	return found
}

// conditions calls each for the conditions of an object.
func conditions(obj map[string]any, each func(kind, status, text string)) {
	list, _ := lookup(obj, []string{"status", "conditions"})
	items, _ := list.([]any)
	for _, c := range items {
		m, _ := c.(map[string]any)
		kind, _ := m["type"].(string)
		status, _ := m["status"].(string)
		message, _ := m["message"].(string)
		each(kind, status, message)
	}
}

func condition(obj map[string]any, want string) (holds bool) {
	conditions(obj, func(kind, status, _ string) { holds = holds || kind == want && status == "True" })
	return holds
}

func conditionText(obj map[string]any) string {
	var parts []string
	conditions(obj, func(kind, status, text string) {
		if status != "True" {
			parts = append(parts, kind+": "+text)
		}
	})
	return strings.Join(parts, "; ")
}
