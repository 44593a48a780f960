package apply

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/policy/verdict"
)

// maxObjects bounds a plan. Ten thousand objects of a megabyte each are more
// than etcd holds.
const maxObjects = 10_000

// DryRun asks the API server about every object of the plan that it can judge
// before the first write, and validates the others by their schema. It makes no
// change. Findings that block mean that nothing may be applied; warnings may be
// among them. It remembers its answers in the plan.
func (a *Applier) DryRun(ctx context.Context, p *Plan) []verdict.Finding {
	p.prepared = nil
	prep, found := a.prepare(ctx, p)
	if blocks(found) {
		return sortFindings(found)
	}
	found = append(found, a.prefetch(ctx, p, prep)...)
	// Definitions first: what becomes of them says who has to wait.
	for _, definitions := range []bool{true, false} {
		var batch []*item
		for _, it := range prep.items {
			if !it.skip && (it.stage == stageDefinitions) == definitions {
				batch = append(batch, it)
			}
		}
		found = append(found, each(ctx, a.cfg.Workers, batch, func(ctx context.Context, it *item) []verdict.Finding {
			return a.judgeItem(ctx, prep, it)
		})...)
	}
	if ctx.Err() != nil {
		found = append(found, undetermined(planFinding(verdict.NotReady, "the dry run was interrupted: %v", context.Cause(ctx))))
	}
	if !blocks(found) {
		p.prepared = prep
	}
	return sortFindings(found)
}

func sortFindings(fs []verdict.Finding) []verdict.Finding {
	verdict.Sort(fs)
	return fs
}

// prepare checks the plan as far as it can be without asking about objects.
func (a *Applier) prepare(ctx context.Context, p *Plan) (*prepared, []verdict.Finding) {
	client, err := a.clients.as(p.Identity)
	switch {
	case err != nil:
		return nil, []verdict.Finding{planFinding(verdict.ScopeViolation, "%v", err)}
	case p.Owner.Name == "" || p.Owner.Namespace == "":
		return nil, []verdict.Finding{planFinding(verdict.Internal, "the plan has no owner")}
	case len(p.Objects) == 0:
		return nil, []verdict.Finding{planFinding(verdict.EmptyRelease, "the release holds no object; applying it would delete everything")}
	case len(p.Objects) > maxObjects:
		return nil, []verdict.Finding{planFinding(verdict.LimitExceeded, "%d objects, at most %d", len(p.Objects), maxObjects)}
	}
	rules, err := compileHealth(p.Health)
	if err != nil {
		return nil, []verdict.Finding{planFinding(verdict.InvalidManifest, "healthCheckExprs: %v", err)}
	}
	prep := &prepared{client: client, rules: rules, byKey: make(map[key]*item, len(p.Objects))}
	found := prep.add(p, a.forms.known(p))
	found = append(found, a.resolveAll(ctx, p, prep)...)
	a.forms.keep(p, prep.items)
	return prep, found
}

// add makes the items of a plan.
func (prep *prepared) add(p *Plan, known map[*unstructured.Unstructured]*form) (found []verdict.Finding) {
	prep.items = make([]*item, 0, len(p.Objects))
	for _, o := range p.Objects {
		it := &item{from: o.Unstructured}
		if it.form = known[o.Unstructured]; it.form != nil {
			it.subject = subject{object: it.title, source: o.Source, secret: it.gk() == kindSecret, as: p.Identity}
			it.source.Encrypted = nil
		} else {
			it.subject = newSubject(p, o)
			if o.Unstructured == nil || o.GetKind() == "" || o.GetAPIVersion() == "" || o.GetName() == "" {
				found = append(found, it.finding(verdict.InvalidManifest, "an object needs apiVersion, kind and metadata.name"))
				continue
			}
			it.form = newForm(p, o.Unstructured)
		}
		prep.items = append(prep.items, it)
	}
	return found
}

// resolveAll finds the resource of every item.
func (a *Applier) resolveAll(ctx context.Context, p *Plan, prep *prepared) []verdict.Finding {
	prep.scaled, prep.coming = prep.autoscaled(p), prep.comingKinds()
	refreshed := false
	var found []verdict.Finding
	for _, it := range prep.items {
		res, err := a.kinds.find(ctx, it.gvk)
		if errors.Is(err, errNoKind) && !refreshed {
			refreshed = true
			if err = a.kinds.refresh(ctx); err == nil {
				res, err = a.kinds.find(ctx, it.gvk)
			}
		}
		if d := prep.coming[it.gvk]; d != nil && errors.Is(err, errNoKind) {
			if res = d.resource(); res != nil {
				it.deferred, err = true, nil
			}
		}
		switch {
		case errors.Is(err, errNoKind):
			found = append(found, it.finding(verdict.SchemaInvalid,
				"%v; install its CustomResourceDefinition first or put it into this release", err))
			continue
		case err != nil:
			found = append(found, it.unanswered(err))
			continue
		}
		found = append(found, a.admitItem(p, prep, it, res)...)
	}
	return found
}

// admitItem checks scope and uniqueness and completes the item.
func (a *Applier) admitItem(p *Plan, prep *prepared, it *item, res *resource) []verdict.Finding {
	one := func(f verdict.Finding) []verdict.Finding { return []verdict.Finding{f} }
	if it.done() && !it.fits(res, prep.scaled) {
		it.form = newForm(p, it.from)
	}
	fresh := !it.done()
	switch {
	case !fresh:
	case res.namespaced && it.key.namespace == "":
		it.key.namespace = p.namespace()
	case !res.namespaced && it.key.namespace != "":
		return one(it.finding(verdict.InvalidManifest, "a %s has no namespace; remove metadata.namespace", it.key.kind))
	}
	if fresh {
		it.object = it.key.String()
	}
	if p.Confine != "" && it.key.namespace != p.Confine {
		return one(it.finding(verdict.ScopeViolation, "GitSync %s may only apply to namespace %s", p.Owner, p.Confine))
	}
	if other := prep.byKey[it.key]; other != nil {
		return one(it.finding(verdict.AmbiguousManifest, "the release has this object twice: also in %s:%d", other.source.File, other.source.Line))
	}
	if fresh {
		if err := it.complete(p, res, prep.scaled[it.key]); err != nil {
			return one(it.finding(verdict.InvalidManifest, "%v", err))
		}
	}
	prep.byKey[it.key] = it
	it.rec = a.store.get(it.key)
	if it.rec != nil && it.rec.owner != p.Owner {
		return one(it.conflict(it.rec.owner))
	}
	a.recall(it)
	return nil
}

func (it *item) conflict(o Owner) verdict.Finding {
	return it.finding(verdict.Conflict, "belongs to GitSync %s; remove it there first, with the annotation %s: Disabled if it must not be deleted on the way",
		o, PruneAnnotation)
}

// recall takes over what is known from before. An object whose manifest is the
// same and which is watched and as it ought to be needs nothing at all.
func (a *Applier) recall(it *item) {
	if it.rec == nil {
		return
	}
	r := it.rec
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.identity != it.as {
		r.identity = it.as
	}
	it.exists = true
	if r.hash != it.hash || *r.res != *it.res {
		return
	}
	it.known = true
	switch {
	case r.state == synced && a.watches.healthy(r.res), r.state == drifted && a.isHeld(r):
		it.skip = true
		return
	case r.state == drifted && r.gone:
		it.exists = false
	case r.state == drifted:
		it.live = r.live
	}
	if !it.secret {
		if d, err := decode(r.d); err == nil {
			it.d = d
		}
	}
}

// comingKinds lists the kinds that the release itself defines.
func (prep *prepared) comingKinds() map[schema.GroupVersionKind]*definition {
	out := map[schema.GroupVersionKind]*definition{}
	for _, it := range prep.items {
		if it.gk() == kindCRD {
			for gvk, d := range definitionsIn(it) {
				out[gvk] = d
			}
		}
	}
	return out
}

// prefetch reads what is already there, a kind at a time, when much of a plan is
// on the inventory but not known to this process, as after a restart.
func (a *Applier) prefetch(ctx context.Context, p *Plan, prep *prepared) []verdict.Finding {
	var unknown []*item
	for _, it := range prep.items {
		if it.rec == nil && !it.deferred {
			unknown = append(unknown, it)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	recorded := make(map[string]bool, len(p.Previous))
	for _, e := range p.Previous {
		recorded[e.ID] = true
	}
	count := map[resource]int{}
	for _, it := range unknown {
		if recorded[it.id] {
			count[*it.res]++
		}
	}
	var kinds []*resource
	for res, n := range count {
		if n >= prefetchFrom {
			kinds = append(kinds, &res)
		}
	}
	selector := fmt.Sprintf("%s=%s,%s=%s", OwnerNameLabel, p.Owner.Name, OwnerNamespaceLabel, p.Owner.Namespace)
	return each(ctx, a.cfg.Workers, kinds, func(ctx context.Context, res *resource) []verdict.Finding {
		// Failing is no harm: what was not read is asked for one by one.
		_ = a.own.list(ctx, res, p.Confine, selector, func(obj map[string]any) {
			if obj["kind"] == nil { // items of typed lists leave it out
				obj["apiVersion"], obj["kind"] = res.GroupVersion().String(), res.Kind.Kind
			}
			if it := prep.byKey[keyOf(res, obj)]; it != nil && *it.res == *res {
				it.live, it.exists = obj, true
			}
		})
		return nil
	})
}

// prefetchFrom is how many objects of a kind make a list cheaper than asking.
const prefetchFrom = 4
