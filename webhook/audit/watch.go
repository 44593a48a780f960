package audit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
)

const (
	retryFirst = time.Second // before a kind that cannot be watched is tried again,
	retryMost  = 5 * time.Minute
)

// A target is a kind that is watched in a namespace; the empty one is all.
type target struct {
	resource
	namespace string
	whole     bool // objects, not their metadata alone
}

// A sink takes what is watched. Objects are its own to read while the call lasts.
type sink interface {
	// replaced tells all that there is.
	replaced(t target, objects []map[string]any)
	// changed tells of one object, and whether it is gone.
	changed(t target, object map[string]any, gone bool)
	// failed tells that a target cannot be watched at present. What was told of it is
	// then out of date.
	failed(t target, err error)
}

// watches follow targets. What they see is handed on and not kept.
type watches struct {
	objects  dynamic.Interface
	metadata metadata.Interface
	sink     sink

	mu      sync.Mutex
	running map[target]context.CancelFunc
	wg      sync.WaitGroup
}

// follow watches these targets and no others, until ctx is done. It returns the targets
// that are not watched any more.
func (w *watches) follow(ctx context.Context, targets []target) (ended []target) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running == nil {
		w.running = map[target]context.CancelFunc{}
	}
	wanted := make(map[target]bool, len(targets))
	for _, t := range targets {
		wanted[t] = true
	}
	for t, cancel := range w.running {
		if !wanted[t] {
			cancel()
			delete(w.running, t)
			ended = append(ended, t)
		}
	}
	for _, t := range targets {
		if w.running[t] != nil || ctx.Err() != nil {
			continue
		}
		within, cancel := context.WithCancel(ctx)
		w.running[t] = cancel
		w.wg.Go(func() { w.run(within, t) })
	}
	return ended
}

// targets are those that are watched.
func (w *watches) targets() []target {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.running))
}

// done waits until nothing is watched any more. The contexts must have ended.
func (w *watches) done() { w.wg.Wait() }

// run watches one target until ctx is done. The reflector's own loop would log every
// failure, and to lack a right is no event.
func (w *watches) run(ctx context.Context, t target) {
	s := &store{target: t, sink: w.sink, ctx: ctx}
	reflector := cache.NewReflectorWithOptions(w.listWatch(t), nil, s, cache.ReflectorOptions{Name: "audit", TypeDescription: t.String()})
	backoff := wait.Backoff{Duration: retryFirst, Factor: 2, Jitter: 0.2, Steps: 16, Cap: retryMost}
	next := backoff
	for ctx.Err() == nil {
		s.listed.Store(false)
		err := reflector.ListAndWatchWithContext(ctx)
		if ctx.Err() != nil {
			return
		}
		if s.listed.Load() {
			next = backoff
		}
		if err != nil {
			w.sink.failed(t, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(next.Step()):
		}
	}
}

func (w *watches) listWatch(t target) cache.ListerWatcher {
	var list func(context.Context, metav1.ListOptions) (runtime.Object, error)
	var follow func(context.Context, metav1.ListOptions) (watch.Interface, error)
	var client any
	if t.whole {
		c := w.objects.Resource(t.gvr).Namespace(t.namespace)
		list = func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return c.List(ctx, o) }
		follow, client = c.Watch, w.objects
	} else {
		c := w.metadata.Resource(t.gvr).Namespace(t.namespace)
		list = func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return c.List(ctx, o) }
		follow, client = c.Watch, w.metadata
	}
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{ListWithContextFunc: list, WatchFuncWithContext: follow}, client)
}

// get reads one object, as the target is watched or as a whole.
func (w *watches) get(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string, whole bool) (map[string]any, error) {
	if !whole {
		m, err := w.metadata.Resource(gvr).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		return content(m)
	}
	u, err := w.objects.Resource(gvr).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return u.Object, nil
}

// content is an object in the form in which the lock reads objects.
func content(v any) (map[string]any, error) {
	switch v := v.(type) {
	case *unstructured.Unstructured:
		return v.Object, nil
	case *metav1.PartialObjectMetadata:
		v.ManagedFields = nil
		return runtime.DefaultUnstructuredConverter.ToUnstructured(v)
	}
	return nil, fmt.Errorf("an object of type %T cannot be read", v)
}

// A store hands on what a reflector puts into it.
type store struct {
	target target
	sink   sink
	ctx    context.Context
	listed atomic.Bool
}

// Add implements [cache.ReflectorStore].
func (s *store) Add(v any) error { return s.tell(v, false) }

// Update implements [cache.ReflectorStore].
func (s *store) Update(v any) error { return s.tell(v, false) }

// Delete implements [cache.ReflectorStore].
func (s *store) Delete(v any) error {
	if d, ok := v.(cache.DeletedFinalStateUnknown); ok {
		v = d.Obj
	}
	return s.tell(v, true)
}

// Resync implements [cache.ReflectorStore]. Nothing is kept that could be told anew.
func (s *store) Resync() error { return nil }

// Replace implements [cache.ReflectorStore].
func (s *store) Replace(list []any, _ string) error {
	objects := make([]map[string]any, 0, len(list))
	for _, v := range list {
		object, err := content(v)
		if err != nil {
			return err
		}
		objects = append(objects, object)
	}
	if s.ctx.Err() == nil {
		s.listed.Store(true)
		s.sink.replaced(s.target, objects)
	}
	return nil
}

func (s *store) tell(v any, gone bool) error {
	object, err := content(v)
	if err == nil && s.ctx.Err() == nil {
		s.sink.changed(s.target, object, gone)
	}
	return err
}
