// Package live keeps at hand the live objects that own others, as informers see
// them: a Pod derives from its ReplicaSet, that from its Deployment. A decision
// asks memory and nobody else.
//
// Of each object only what derivation reads is kept. A Pod, of which there are
// many, shrinks to its owners and the volumes that claims are made from.
package live

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	"gitgate.dev/gitgate/webhook/lock"
)

// kept are the fields beside metadata that are kept of each kind.
var kept = map[schema.GroupKind]struct {
	resource schema.GroupVersionResource
	fields   []string
}{
	{Group: "apps", Kind: "Deployment"}:         {apps("deployments"), []string{"spec"}},
	{Group: "apps", Kind: "ReplicaSet"}:         {apps("replicasets"), []string{"spec"}},
	{Group: "apps", Kind: "StatefulSet"}:        {apps("statefulsets"), []string{"spec"}},
	{Group: "apps", Kind: "DaemonSet"}:          {apps("daemonsets"), []string{"spec"}},
	{Group: "apps", Kind: "ControllerRevision"}: {apps("controllerrevisions"), []string{"data", "revision"}},
	{Group: "batch", Kind: "Job"}:               {batch("jobs"), []string{"spec"}},
	{Group: "batch", Kind: "CronJob"}:           {batch("cronjobs"), []string{"spec"}},
	{Kind: "ReplicationController"}:             {core("replicationcontrollers"), []string{"spec"}},
	{Kind: "Service"}:                           {core("services"), []string{"spec"}},
	{Kind: "Endpoints"}:                         {core("endpoints"), []string{"subsets"}},
	{Kind: "Pod"}:                               {core("pods"), []string{"spec"}},
}

func apps(r string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: r}
}

func batch(r string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: r}
}

func core(r string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: r}
}

// Owners implements [lock.Owners] by informers. It is a controller-runtime
// Runnable and knows nothing before it has started.
type Owners struct {
	factory   dynamicinformer.DynamicSharedInformerFactory
	informers map[schema.GroupKind]cache.SharedIndexInformer
	started   atomic.Bool
}

var _ lock.Owners = (*Owners)(nil)

// New returns owners that are read through client, which must be allowed to list
// and watch the kinds above.
func New(client dynamic.Interface) (*Owners, error) {
	o := &Owners{
		factory:   dynamicinformer.NewDynamicSharedInformerFactory(client, 0),
		informers: make(map[schema.GroupKind]cache.SharedIndexInformer, len(kept)),
	}
	for gk, k := range kept {
		informer := o.factory.ForResource(k.resource).Informer()
		if err := informer.SetTransform(trim); err != nil {
			return nil, err
		}
		o.informers[gk] = informer
	}
	return o, nil
}

// NeedLeaderElection is false: every replica decides.
func (o *Owners) NeedLeaderElection() bool { return false }

// Start keeps the owners up to date until ctx is done.
func (o *Owners) Start(ctx context.Context) error {
	o.factory.Start(ctx.Done())
	o.started.Store(true)
	<-ctx.Done()
	o.factory.Shutdown()
	return nil
}

// Synced reports whether every kind has been read.
func (o *Owners) Synced() bool {
	if !o.started.Load() {
		return false
	}
	for _, informer := range o.informers {
		if !informer.HasSynced() {
			return false
		}
	}
	return true
}

// Owner implements [lock.Owners]. The version of gvk does not matter: objects are
// in v1.
func (o *Owners) Owner(gvk schema.GroupVersionKind, namespace, name string, uid types.UID) (map[string]any, bool) {
	informer := o.informers[gvk.GroupKind()]
	if informer == nil || name == "" {
		return nil, false
	}
	key := name
	if namespace != "" {
		key = namespace + "/" + name
	}
	v, ok, err := informer.GetStore().GetByKey(key)
	if err != nil || !ok {
		return nil, false
	}
	u, ok := v.(*unstructured.Unstructured)
	if !ok || uid != "" && u.GetUID() != uid {
		return nil, false
	}
	return u.Object, true
}

// PodSpecs returns what the Deployments of a namespace run.
func (o *Owners) PodSpecs(namespace string) ([]corev1.PodSpec, error) {
	var out []corev1.PodSpec
	var errs []error
	for _, v := range o.informers[schema.GroupKind{Group: "apps", Kind: "Deployment"}].GetStore().List() {
		u, ok := v.(*unstructured.Unstructured)
		if !ok || u.GetNamespace() != namespace {
			continue
		}
		raw, _, err := unstructured.NestedMap(u.Object, "spec", "template", "spec")
		var spec corev1.PodSpec
		if err == nil {
			err = runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &spec)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("the Deployment %s: %w", u.GetName(), err))
			continue
		}
		out = append(out, spec)
	}
	return out, errors.Join(errs...)
}

// metadata is what is kept of it.
var metadata = []string{"name", "namespace", "uid", "labels", "annotations", "ownerReferences", "deletionTimestamp", "generation", "resourceVersion"}

// trim shrinks an object to what derivation reads.
func trim(v any) (any, error) {
	u, ok := v.(*unstructured.Unstructured)
	if !ok {
		return v, nil // the last state of something that was deleted
	}
	gk := u.GroupVersionKind().GroupKind()
	out := map[string]any{
		"apiVersion": u.GetAPIVersion(), "kind": u.GetKind(),
		"metadata": pick(u.Object["metadata"], metadata),
	}
	for _, field := range kept[gk].fields {
		if value, there := u.Object[field]; there {
			out[field] = value
		}
	}
	if annotations, _, _ := unstructured.NestedFieldNoCopy(out, "metadata", "annotations"); annotations != nil {
		if m, ok := annotations.(map[string]any); ok {
			delete(m, corev1.LastAppliedConfigAnnotation) // as large as the object
		}
	}
	if gk.Kind == "Pod" {
		out["metadata"] = pick(u.Object["metadata"], []string{"name", "namespace", "uid", "ownerReferences", "deletionTimestamp", "resourceVersion"})
		out["spec"] = pick(u.Object["spec"], []string{"nodeName", "serviceAccountName", "volumes", "resourceClaims"})
	}
	return &unstructured.Unstructured{Object: out}, nil
}

// pick returns some fields of a map.
func pick(v any, fields []string) map[string]any {
	m, _ := v.(map[string]any)
	out := make(map[string]any, len(fields))
	for _, f := range fields {
		if value, there := m[f]; there {
			out[f] = value
		}
	}
	return out
}
