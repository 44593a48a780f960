package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"gitgate.dev/gitgate/policy/desired"
)

// errNoKind means that the API server does not serve a kind.
var errNoKind = errors.New("the cluster has no such kind")

// A resource is a kind that the API server serves.
type resource struct {
	desired.Kind
	plural     string
	namespaced bool
}

func (r *resource) gk() groupKind { return groupKind{r.Group, r.Kind.Kind} }

func (r *resource) gvr() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: r.Group, Version: r.Version, Resource: r.plural}
}

// path returns the segments of the URL path of an object, or of the collection
// if name is empty.
func (r *resource) path(namespace, name string) []string {
	p := []string{"/apis", r.Group, r.Version}
	if r.Group == "" {
		p = []string{"/api", r.Version}
	}
	if r.namespaced && namespace != "" {
		p = append(p, "namespaces", namespace)
	}
	p = append(p, r.plural)
	if name != "" {
		p = append(p, name)
	}
	return p
}

// kinds remembers what the API server serves. It asks once, and again only when
// told to.
type kinds struct {
	client discovery.DiscoveryInterface

	mu     sync.Mutex
	loaded bool
	served map[schema.GroupVersionKind]*resource
	any    map[groupKind]*resource // in some version
	failed map[string]bool         // groups of which nothing is known for now
}

// find returns the resource of a kind. The error wraps errNoKind only if it is
// sure that there is none.
func (k *kinds) find(ctx context.Context, gvk schema.GroupVersionKind) (*resource, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.load(ctx, false); err != nil {
		return nil, err
	}
	if r := k.served[gvk]; r != nil {
		return r, nil
	}
	return nil, k.missing(gvk.Group, gvk.String())
}

// findAny returns the resource of a kind in the given version, or else in any.
func (k *kinds) findAny(ctx context.Context, gvk schema.GroupVersionKind) (*resource, error) {
	if r, err := k.find(ctx, gvk); err == nil {
		return r, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if r := k.any[groupKind{gvk.Group, gvk.Kind}]; r != nil {
		return r, nil
	}
	return nil, k.missing(gvk.Group, gvk.String())
}

func (k *kinds) missing(group, what string) error {
	if k.failed[group] {
		return fmt.Errorf("the API server cannot tell for now whether it has %s", what)
	}
	return fmt.Errorf("%s: %w", what, errNoKind)
}

// await asks again and again until the kind is served, which it is about to be.
func (k *kinds) await(ctx context.Context, gvk schema.GroupVersionKind) (*resource, error) {
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		r, err := k.find(ctx, gvk)
		if err == nil {
			return r, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, err
		}
		if err := k.refresh(ctx); err != nil {
			return nil, err
		}
	}
}

// refresh asks the API server again.
func (k *kinds) refresh(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.load(ctx, true)
}

func (k *kinds) load(ctx context.Context, again bool) error {
	if k.loaded && !again {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	_, lists, err := k.client.ServerGroupsAndResources()
	failed := map[string]bool{}
	var partial *discovery.ErrGroupDiscoveryFailed
	switch {
	case errors.As(err, &partial):
		for gv := range partial.Groups {
			failed[gv.Group] = true
		}
	case err != nil:
		return fmt.Errorf("asking the API server what it serves: %w", err)
	}
	k.served, k.any, k.failed, k.loaded = map[schema.GroupVersionKind]*resource{}, map[groupKind]*resource{}, failed, true
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			continue // not a group version that a manifest could name
		}
		status := map[string]bool{}
		for _, r := range l.APIResources {
			if name, ok := strings.CutSuffix(r.Name, "/status"); ok {
				status[name] = true
			}
		}
		for _, r := range l.APIResources {
			if strings.Contains(r.Name, "/") {
				continue
			}
			gvk := gv.WithKind(r.Kind)
			res := &resource{
				Kind:   desired.Kind{GroupVersionKind: gvk, HasStatus: status[r.Name]},
				plural: r.Name, namespaced: r.Namespaced,
			}
			k.served[gvk] = res
			if gk := res.gk(); k.any[gk] == nil {
				k.any[gk] = res // the server lists the preferred version first
			}
		}
	}
	return nil
}
