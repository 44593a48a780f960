package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"gitgate.dev/gitgate/webhook/lock"
)

// A resource is a kind that is watched.
type resource struct {
	gvr  schema.GroupVersionResource
	kind string
}

func (r resource) gvk() schema.GroupVersionKind { return r.gvr.GroupVersion().WithKind(r.kind) }

// String is as in deployments.apps.
func (r resource) String() string { return r.gvr.GroupResource().String() }

// discover lists the namespaced resources that hold state and can be watched, in the
// version that the API server prefers. Groups that do not answer are told beside.
func discover(ctx context.Context, client discovery.DiscoveryInterfaceWithContext) (found []resource, silent []schema.GroupVersion, err error) {
	lists, err := discovery.ServerPreferredNamespacedResourcesWithContext(ctx, client)
	return watchables(lists, err)
}

// discoverAll lists those that belong to no namespace, too.
func discoverAll(ctx context.Context, client discovery.DiscoveryInterfaceWithContext) (found []resource, silent []schema.GroupVersion, err error) {
	lists, err := discovery.ServerPreferredResourcesWithContext(ctx, client)
	return watchables(lists, err)
}

func sameGroup(r resource) func(schema.GroupVersion) bool {
	return func(gv schema.GroupVersion) bool { return gv.Group == r.gvr.Group }
}

func watchables(lists []*metav1.APIResourceList, err error) (found []resource, silent []schema.GroupVersion, _ error) {
	var partial *discovery.ErrGroupDiscoveryFailed
	if errors.As(err, &partial) {
		for gv := range partial.Groups {
			silent = append(silent, gv)
		}
	} else if err != nil {
		return nil, nil, fmt.Errorf("discovering the kinds of the cluster: %w", err)
	}
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			continue // an aggregated server said so; there is nothing to ask it for
		}
		for _, r := range l.APIResources {
			res := resource{gv.WithResource(r.Name), r.Kind}
			if watchable(r) && !lock.Stateless(res.gvr.GroupResource()) {
				found = append(found, res)
			}
		}
	}
	slices.SortFunc(found, func(a, b resource) int { return strings.Compare(a.String(), b.String()) })
	return found, silent, nil
}

func watchable(r metav1.APIResource) bool {
	return !strings.Contains(r.Name, "/") && slices.Contains(r.Verbs, "list") && slices.Contains(r.Verbs, "watch")
}
