package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
)

// A leftover is an object on the inventory that the plan no longer has.
type leftover struct {
	subject
	entry Entry
	key   key
	gvk   schema.GroupVersionKind
}

// leftovers lists what is on the previous inventory and not wanted.
func (p *Plan) leftovers(wanted Inventory) (out []leftover, found []verdict.Finding) {
	for _, e := range p.Previous.without(wanted) {
		k, gvk, err := e.parse()
		if err != nil {
			found = append(found, planFinding(verdict.Internal, "%v; correct status.inventory", err))
			continue
		}
		s := subject{object: k.String(), secret: groupKind{k.group, k.kind} == kindSecret, as: p.Identity}
		if p.Confine != "" && k.namespace != p.Confine {
			found = append(found, s.finding(verdict.ScopeViolation, "GitSync %s may only delete in namespace %s", p.Owner, p.Confine))
			continue
		}
		out = append(out, leftover{subject: s, entry: e, key: k, gvk: gvk})
	}
	return out, found
}

// lookAt reads a leftover. It returns nil if it is gone, and why it must be kept if
// it must.
func (a *Applier) lookAt(ctx context.Context, o Owner, l leftover) (*resource, map[string]any, string, error) {
	res, err := a.kinds.findAny(ctx, l.gvk)
	if errors.Is(err, errNoKind) {
		return nil, nil, "", nil // without the kind there are no objects of it
	}
	if err != nil {
		return nil, nil, "", err
	}
	live, err := a.own.get(ctx, res, l.key)
	switch {
	case apierrors.IsNotFound(err):
		return res, nil, "", nil
	case err != nil:
		return nil, nil, "", err
	case ownerOf(live) != o:
		return res, live, "it does not bear our owner labels", nil
	case annotationOf(live, PruneAnnotation) == "Disabled":
		return res, live, "it is annotated " + PruneAnnotation + ": Disabled", nil
	}
	return res, live, "", nil
}

// Deletions returns the live objects that Apply would delete, for policies and
// the deletion budget. After DryRun it includes those that would be recreated.
func (a *Applier) Deletions(ctx context.Context, p *Plan) ([]Deletion, error) {
	var out []Deletion
	prep := p.prepared
	if prep != nil {
		for _, it := range prep.items {
			if !it.recreate {
				continue
			}
			if err := a.readLive(ctx, it); err != nil {
				return nil, fmt.Errorf("reading %s: %w", it.object, err)
			}
			if it.live != nil {
				out = append(out, Deletion{Object: withoutValues(it.live), Recreate: true})
			}
		}
	} else {
		var found []verdict.Finding
		if prep, found = a.prepare(ctx, p); blocks(found) {
			return nil, &gate.Refusal{Findings: sortFindings(found)}
		}
	}
	if !p.Prune {
		return out, nil
	}
	left, found := p.leftovers(prep.inventory())
	if len(found) > 0 {
		return nil, &gate.Refusal{Findings: sortFindings(found)}
	}
	for _, l := range left {
		_, live, keep, err := a.lookAt(ctx, p.Owner, l)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", l.object, err)
		}
		if live != nil && keep == "" {
			out = append(out, Deletion{Object: withoutValues(live)})
		}
	}
	return out, nil
}

// withoutValues returns a copy of an object for policies. Of a Secret only the
// names of its keys stay.
func withoutValues(live map[string]any) *unstructured.Unstructured {
	u := (&unstructured.Unstructured{Object: live}).DeepCopy()
	unstructured.RemoveNestedField(u.Object, "metadata", "managedFields")
	if u.GetKind() == kindSecret.kind && u.GroupVersionKind().Group == "" {
		data, _ := u.Object["data"].(map[string]any)
		for k := range data {
			data[k] = ""
		}
		unstructured.RemoveNestedField(u.Object, "metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration")
	}
	return u
}

// prune deletes what the inventory has and the plan has not, in the reverse
// order of the stages.
func (r *run) prune(ctx context.Context, wanted Inventory) []verdict.Finding {
	left, found := r.p.leftovers(wanted)
	for stage := stageCount - 1; stage >= 0; stage-- {
		var batch []leftover
		for _, l := range left {
			if (groupKind{l.key.group, l.key.kind}).stage() == stage {
				batch = append(batch, l)
			}
		}
		found = append(found, each(ctx, r.a.cfg.Workers, batch, func(ctx context.Context, l leftover) []verdict.Finding {
			action, err := r.a.deleteLeftover(ctx, r.prep.client, r.p.Owner, l)
			if err != nil {
				return []verdict.Finding{l.rejected(err)}
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if action != "" {
				r.result.Outcomes = append(r.result.Outcomes, Outcome{Object: l.object, Action: action})
			}
			return nil
		})...)
		if blocks(found) {
			return found
		}
	}
	return found
}

// deleteLeftover deletes exactly the object that was read and found to be ours.
func (a *Applier) deleteLeftover(ctx context.Context, c *client, o Owner, l leftover) (Action, error) {
	rec := a.store.get(l.key)
	if rec != nil && rec.owner != o {
		return Kept, nil
	}
	if rec != nil {
		a.store.remove(rec) // so that its going is no drift
	}
	for n := 1; ; n++ {
		res, live, keep, err := a.lookAt(ctx, o, l)
		switch {
		case err != nil:
			return "", err
		case live == nil:
			return "", nil
		case keep != "":
			return Kept, nil
		case terminating(live):
			return Deleted, nil
		}
		uid, _ := metaString(live, "uid")
		version, _ := metaString(live, "resourceVersion")
		err = c.delete(ctx, res, l.key, deleteOptions(uid, version))
		switch {
		case err == nil, apierrors.IsNotFound(err):
			return Deleted, nil
		case !apierrors.IsConflict(err) || n == attempts:
			return "", err
		}
		if err := letSettle(ctx, n); err != nil {
			return "", err
		}
	}
}

// deleteOptions deletes one very object, its dependents in the background.
func deleteOptions(uid, version string) []byte {
	pre := map[string]string{"uid": uid}
	if version != "" {
		pre["resourceVersion"] = version
	}
	raw, _ := json.Marshal(map[string]any{ // strings always marshal
		"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background", "preconditions": pre,
	})
	return raw
}

// Remove deletes everything on p.Previous that is the owner's, as when a GitSync
// goes away. p.Objects is not used.
func (a *Applier) Remove(ctx context.Context, p *Plan) (Result, []verdict.Finding) {
	result := Result{Inventory: p.Previous.sorted()}
	c, err := a.clients.as(p.Identity)
	if err != nil {
		return result, []verdict.Finding{planFinding(verdict.ScopeViolation, "%v", err)}
	}
	r := &run{a: a, p: p, prep: &prepared{client: c}, result: &result}
	found := r.prune(ctx, nil)
	if ctx.Err() != nil {
		found = append(found, undetermined(planFinding(verdict.NotReady, "the removal was interrupted: %v", context.Cause(ctx))))
	}
	if !blocks(found) {
		a.Forget(p.Owner)
		result.Inventory = Inventory{}
	}
	return result, sortFindings(found)
}
