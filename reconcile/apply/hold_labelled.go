package apply

import (
	"context"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/policy/verdict"
)

// copiers are the kinds to which controllers copy the labels of other objects without
// naming an owner.
var copiers = map[groupKind]bool{
	{"", "Endpoints"}: true, {"discovery.k8s.io", "EndpointSlice"}: true,
	{"", "Event"}: true, {"events.k8s.io", "Event"}: true,
}

// HoldLabelled freezes what bears the labels of the plan's owner and is in none of the
// wants: a status that leaves an object out must not set it free. Children of controllers,
// to which labels may be copied, are left out, and so are kinds that nobody lets us list.
func (a *Applier) HoldLabelled(ctx context.Context, p *Plan, wants []Want) ([]Want, error) {
	done := map[key]bool{}
	for _, w := range wants {
		done[key{w.Kind.Group, w.Kind.Kind, w.Namespace, w.Name}] = true
	}
	kinds, err := a.kinds.all(ctx)
	if err != nil {
		return nil, err
	}
	selector := fmt.Sprintf("%s=%s,%s=%s", OwnerNameLabel, p.Owner.Name, OwnerNamespaceLabel, p.Owner.Namespace)
	var mu sync.Mutex
	var out []Want
	found := each(ctx, a.cfg.Workers, kinds, func(ctx context.Context, res *resource) []verdict.Finding {
		if copiers[res.gk()] || p.Confine != "" && !res.namespaced {
			return nil
		}
		err := a.own.list(ctx, res, p.Confine, selector, func(obj map[string]any) {
			if obj["kind"] == nil { // items of typed lists leave it out
				obj["apiVersion"], obj["kind"] = res.GroupVersion().String(), res.Kind.Kind
			}
			mu.Lock()
			defer mu.Unlock()
			if k := keyOf(res, obj); !done[k] && !controlled(obj) && len(out) < maxObjects {
				done[k] = true
				w := a.asLive(entryItem(k, res, p.Identity, obj))
				w.Frozen = undeclared
				out = append(out, *w)
			}
		})
		if err == nil || apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) || apierrors.IsServiceUnavailable(err) {
			return nil // an aggregated API may be down for good
		}
		s := subject{object: res.Kind.Kind}
		return []verdict.Finding{s.unanswered(err)}
	})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if len(found) > 0 {
		return nil, fmt.Errorf("%s", sortFindings(found)[0])
	}
	return out, nil
}

// undeclared is why an object is frozen that only its labels or an inventory name.
const undeclared = "no revision that can be read declares it"

// entryItem is the item of an object of which nothing but its name is known.
func entryItem(k key, res *resource, as Identity, live map[string]any) *item {
	return &item{
		subject: subject{object: k.String(), secret: res.gk() == kindSecret, as: as}, live: live,
		form: &form{key: k, gvk: res.GroupVersionKind, res: res, g: &unstructured.Unstructured{Object: map[string]any{}}},
	}
}

// controlled reports whether an object says that a controller made it.
func controlled(obj map[string]any) bool {
	owners, _ := lookup(obj, []string{"metadata", "ownerReferences"})
	list, _ := owners.([]any)
	for _, o := range list {
		if m, ok := o.(map[string]any); ok && m["controller"] == true {
			return true
		}
	}
	return false
}

// all lists one resource of each kind that the API server serves, in the version that it
// prefers.
func (k *kinds) all(ctx context.Context) ([]*resource, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.load(ctx, false); err != nil {
		return nil, err
	}
	out := make([]*resource, 0, len(k.any))
	for _, r := range k.any {
		out = append(out, r)
	}
	return out, nil
}
