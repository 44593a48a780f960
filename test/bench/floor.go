package main

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

// floorWorkers is how many requests of a bare apply are under way at once. More
// are not faster on two cores.
const floorWorkers = 16

// A request is one server-side apply, ready to be sent.
type request struct {
	path string
	body []byte
}

func newRequest(u *unstructured.Unstructured) (request, error) {
	body, err := json.Marshal(u.Object)
	if err != nil {
		return request{}, err
	}
	gvr := resourceOf(u)
	prefix := "/api/v1"
	if gvr.Group != "" {
		prefix = "/apis/" + gvr.Group + "/" + gvr.Version
	}
	return request{prefix + "/namespaces/" + u.GetNamespace() + "/" + gvr.Resource + "/" + u.GetName(), body}, nil
}

// resourceOf knows the kinds of a site.
func resourceOf(u *unstructured.Unstructured) schema.GroupVersionResource {
	return map[string]schema.GroupVersionResource{
		"ConfigMap": configMaps, "Service": services, "ServiceAccount": accounts, "Deployment": deployments,
	}[u.GetKind()]
}

// bareApply applies objects, or only asks what would become of them, and reads
// nothing of the answers.
func bareApply(ctx context.Context, config *rest.Config, objects []*unstructured.Unstructured, dryRun bool) (time.Duration, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return 0, err
	}
	requests := make(chan request, len(objects))
	for _, u := range objects {
		r, err := newRequest(u)
		if err != nil {
			return 0, err
		}
		requests <- r
	}
	close(requests)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	start := time.Now()
	var workers sync.WaitGroup
	for range floorWorkers {
		workers.Go(func() {
			for r := range requests {
				q := client.RESTClient().Patch(types.ApplyPatchType).AbsPath(r.path).
					Param("fieldManager", "bench").Param("force", "true").Body(r.body)
				if dryRun {
					q.Param("dryRun", "All")
				}
				if err := q.Do(ctx).Error(); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	workers.Wait()
	return time.Since(start), context.Cause(ctx)
}
