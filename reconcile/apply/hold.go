package apply

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
)

// Hold finds out what the objects of a refused revision ought to be, as
// [Applier.Desire] does, for a caller who remembers by himself that the revision was in
// force. An object that cannot be told is frozen, alone. Nothing is written. The error
// says that an attempt later may do. The plan's own objects do not count.
func (a *Applier) Hold(ctx context.Context, p *Plan, held *gate.Held) ([]Want, error) {
	h, err := a.holding(ctx, p, held)
	if err != nil {
		return nil, err
	}
	return h.each(ctx, func(ctx context.Context, it *item) (*Want, error) {
		if unknown := h.objects[it.from].Unknown; unknown != nil {
			return a.frozen(ctx, it, unknown.Message, unknown.Severity == verdict.Undetermined)
		}
		w, err := a.desire(ctx, p, h.prep, it)
		if err != nil {
			f := it.rejected(err)
			return a.frozen(ctx, it, f.Message, f.Severity == verdict.Undetermined)
		}
		return &w, nil
	})
}

// HoldLive is Hold for a revision of which nobody but a status says that it was in
// force. It gives nobody anything: what a Want holds is what is live, and the revision
// only says whether that is as it ought to be. What is not, or cannot be told, is
// frozen. Only objects count that bear the labels of the plan's owner, also of the plan's
// Previous. Of a revision that is said to be applied, and whose commits are verified,
// those count too that bear nobody's or are not there.
func (a *Applier) HoldLive(ctx context.Context, p *Plan, held *gate.Held, applied bool) ([]Want, error) {
	var out []Want
	done := map[key]bool{}
	if held != nil && len(held.Objects()) > 0 {
		h, err := a.holding(ctx, p, held)
		if err != nil {
			return nil, err
		}
		h.whole = applied && held.Verified()
		if out, err = h.each(ctx, func(ctx context.Context, it *item) (*Want, error) {
			return a.holdLive(ctx, p, h, it)
		}); err != nil {
			return nil, err
		}
		for k := range h.prep.byKey {
			done[k] = true
		}
	}
	for i, e := range p.Previous {
		if i == maxObjects {
			break
		}
		w, err := a.holdEntry(ctx, p, e, done)
		if err != nil {
			return nil, err
		}
		if w != nil {
			out = append(out, *w)
		}
	}
	return out, nil
}

// A holding is a refused revision on its way to the Wants.
type holding struct {
	applier *Applier
	prep    *prepared
	objects map[*unstructured.Unstructured]*gate.HeldObject
	whole   bool // what it declares counts whoever's labels an object bears
}

// holding prepares the objects. What names nothing that the cluster has, or that is not
// the owner's to name, is left out: nobody can write it, or it is none of ours.
func (a *Applier) holding(ctx context.Context, p *Plan, held *gate.Held) (*holding, error) {
	h := &holding{applier: a, objects: map[*unstructured.Unstructured]*gate.HeldObject{}}
	objects := held.Objects()
	plan := *p
	plan.Objects = make([]gate.Object, len(objects))
	for i := range objects {
		plan.Objects[i] = objects[i].Object
		h.objects[objects[i].Unstructured] = &objects[i]
	}
	prep, found := a.prepare(ctx, &plan)
	for _, f := range found {
		if prep == nil || f.Severity == verdict.Undetermined {
			return nil, errors.New(f.String())
		}
	}
	h.prep = prep
	return h, nil
}

// each makes the Want of each object, several at once. Nil leaves one out.
func (h *holding) each(ctx context.Context, want func(context.Context, *item) (*Want, error)) ([]Want, error) {
	var items []*item
	for _, it := range h.prep.items {
		if h.prep.byKey[it.key] == it {
			items = append(items, it)
		}
	}
	wants := make([]*Want, len(items))
	position := make(map[*item]int, len(items))
	for i, it := range items {
		position[it] = i
	}
	found := each(ctx, h.applier.cfg.Workers, items, func(ctx context.Context, it *item) []verdict.Finding {
		w, err := want(ctx, it)
		if err != nil {
			return []verdict.Finding{it.unanswered(err)}
		}
		wants[position[it]] = w
		return nil
	})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if len(found) > 0 {
		return nil, errors.New(sortFindings(found)[0].String())
	}
	var out []Want
	for _, w := range wants {
		if w != nil {
			out = append(out, *w)
		}
	}
	return out, nil
}

// holdLive holds one object to what is live, if that is what the revision says.
func (a *Applier) holdLive(ctx context.Context, p *Plan, h *holding, it *item) (*Want, error) {
	switch err := a.readLive(ctx, it); {
	case apierrors.IsForbidden(err):
		return a.frozen(ctx, it, "gitgate may not read it, so it cannot be told whether it is as Git says", false)
	case err != nil:
		return nil, err
	}
	if it.live == nil {
		if !h.whole {
			return nil, nil
		}
		return a.frozen(ctx, it, "it is not there", false)
	}
	if o := ownerOf(it.live); o != p.Owner && (!h.whole || o != (Owner{})) {
		return nil, nil
	}
	if unknown := h.objects[it.from].Unknown; unknown != nil {
		return a.frozen(ctx, it, unknown.Message, unknown.Severity == verdict.Undetermined)
	}
	if err := a.learn(ctx, h.prep, it); err != nil {
		f := it.rejected(err)
		return a.frozen(ctx, it, f.Message, f.Severity == verdict.Undetermined)
	}
	if terminating(it.live) {
		return a.frozen(ctx, it, "it is being deleted", false)
	}
	if changes := it.mask.Diff(it.d, it.res.Normalise(it.live)); len(changes) > 0 {
		return a.frozen(ctx, it, "it differs from what that revision says at "+paths(changes), false)
	}
	w := a.asLive(it)
	w.Desired = w.Manifest.Object
	return w, nil
}

// frozen is the Want of an object that stays as it is. retry says that it may be
// otherwise at another attempt.
func (a *Applier) frozen(ctx context.Context, it *item, why string, retry bool) (*Want, error) {
	if it.live == nil {
		if err := a.readLive(ctx, it); err != nil && !apierrors.IsForbidden(err) {
			return nil, err
		}
	}
	w := a.asLive(it)
	w.Frozen, w.Retry = oneLine(why), retry
	return w, nil
}

// asLive is a Want that says of an object nothing but what is there: neither what is
// declared nor by what controllers are bound comes from the revision.
func (a *Applier) asLive(it *item) *Want {
	content := map[string]any{
		"apiVersion": it.res.GroupVersion().String(), "kind": it.res.Kind.Kind,
		"metadata": map[string]any{"name": it.key.name},
	}
	if it.key.namespace != "" {
		content["metadata"].(map[string]any)["namespace"] = it.key.namespace
	}
	if it.live != nil {
		content = it.res.Normalise(it.live)
	}
	if it.secret {
		content = a.sealer.Seal(content)
	}
	return &Want{
		Kind: it.res.Kind, Resource: it.res.gvr(), Namespace: it.key.namespace, Name: it.key.name, Source: it.source,
		Manifest: &unstructured.Unstructured{Object: content}, Declared: fieldpath.NewSet(), Ignore: it.ignore,
		Live: true, Autoscaled: it.scaled && !declaresReplicas(it.g),
	}
}

func declaresReplicas(g *unstructured.Unstructured) bool {
	_, declared, _ := unstructured.NestedFieldNoCopy(g.Object, "spec", "replicas")
	return declared
}

// holdEntry freezes an object of an inventory that no revision declares.
func (a *Applier) holdEntry(ctx context.Context, p *Plan, e Entry, done map[key]bool) (*Want, error) {
	k, gvk, err := e.parse()
	if err != nil || done[k] || p.Confine != "" && k.namespace != p.Confine {
		return nil, nil
	}
	done[k] = true
	res, err := a.kinds.findAny(ctx, gvk)
	switch {
	case errors.Is(err, errNoKind):
		return nil, nil
	case err != nil:
		return nil, err
	}
	it := entryItem(k, res, p.Identity, nil)
	switch err := a.readLive(ctx, it); {
	case apierrors.IsForbidden(err):
		return a.frozen(ctx, it, "gitgate may not read it, and "+undeclared, false)
	case err != nil:
		return nil, fmt.Errorf("%s cannot be read: %w", k, err)
	case it.live == nil || ownerOf(it.live) != p.Owner:
		return nil, nil
	}
	return a.frozen(ctx, it, undeclared, false)
}
