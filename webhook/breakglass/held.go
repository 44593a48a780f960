package breakglass

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// Held reports whether a grant lets people change an object, or delete it where
// missing is set, so that what differs from Git there is to be left alone until
// the grant ends: until, or earlier if it is revoked. Of several grants the one
// that ends last is named. The namespace of what is in none is empty, also of a
// Namespace.
func (b *Book) Held(resource schema.GroupResource, namespace, name string, missing bool) (grant string, until time.Time, ok bool) {
	open := b.open.Load()
	if open == nil || !b.synced.Load() {
		return "", time.Time{}, false
	}
	now := b.clock.now()
	for _, e := range *open {
		g := &e.object.Spec.Grant
		if g.Expiry.After(until) && changes(g, resource, missing) && matchesNamespace(g, namespace) && matchesName(g, name) &&
			e.state(now).Phase == Active {
			grant, until, ok = e.object.Name, g.Expiry.Time, true
		}
	}
	return grant, until, ok
}

// changes reports whether a grant's verbs and resources can lead to an object
// that differs, or is missing. Writing a subresource such as scale changes the
// object itself; connecting to it does not.
func changes(g *v1alpha1.BreakGlassGrant, resource schema.GroupResource, missing bool) bool {
	for _, r := range g.Resources {
		main, sub, _ := strings.Cut(r.Resource, "/")
		if r.Group != resource.Group || main != resource.Resource {
			continue
		}
		for _, verb := range g.Verbs {
			evicts := verb == "create" && sub == "eviction"
			switch {
			case missing && (verb == "delete" || evicts):
				return true
			case !missing && (verb == "update" || verb == "create" && !evicts):
				return true
			}
		}
	}
	return false
}
