package apply

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// watches watches every kind that has records, one stream a kind, and only the
// objects that bear an owner's label. Nothing that it sees is kept: an object is
// compared and let go.
type watches struct {
	a      *Applier
	client dynamic.Interface

	mu      sync.Mutex
	ctx     context.Context // nil until Run
	wanted  map[schema.GroupVersionResource]*resource
	streams map[schema.GroupVersionResource]*stream
}

func newWatches(a *Applier, client dynamic.Interface) *watches {
	return &watches{a: a, client: client, wanted: map[schema.GroupVersionResource]*resource{},
		streams: map[schema.GroupVersionResource]*stream{}}
}

// run starts what is wanted and keeps it going until ctx is done.
func (w *watches) run(ctx context.Context) {
	w.mu.Lock()
	w.ctx = ctx
	for _, res := range w.wanted {
		w.start(res)
	}
	w.mu.Unlock()
	<-ctx.Done()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ctx = nil
	clear(w.streams)
}

// lifetime returns the context of Run, which is done if Run is not running.
func (w *watches) lifetime() context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx != nil {
		return w.ctx
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// ensure sees to it that a kind is watched.
func (w *watches) ensure(res *resource) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wanted[res.gvr()] == nil {
		w.wanted[res.gvr()] = res
		w.start(res)
	}
}

// trim ends the watches of kinds that have no records any more.
func (w *watches) trim() {
	used := map[schema.GroupVersionResource]bool{}
	for _, r := range w.a.store.of(Owner{}) {
		r.mu.Lock()
		used[r.res.gvr()] = true
		r.mu.Unlock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for gvr := range w.wanted {
		if used[gvr] {
			continue
		}
		delete(w.wanted, gvr)
		if s := w.streams[gvr]; s != nil {
			s.cancel()
			delete(w.streams, gvr)
		}
	}
}

// healthy reports whether a kind is watched and the watch has caught up.
func (w *watches) healthy(res *resource) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.streams[res.gvr()]
	return s != nil && s.caughtUp.Load()
}

// blind lists the kinds that ought to be watched and are not.
func (w *watches) blind() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for gvr, res := range w.wanted {
		if s := w.streams[gvr]; s == nil || !s.caughtUp.Load() {
			out = append(out, res.GroupVersionKind.String())
		}
	}
	slices.Sort(out)
	return out
}

// start needs w.mu.
func (w *watches) start(res *resource) {
	if w.ctx == nil {
		return
	}
	ctx, cancel := context.WithCancel(klog.NewContext(w.ctx, logr.Discard()))
	s := &stream{a: w.a, res: res, ctx: ctx, cancel: cancel}
	w.streams[res.gvr()] = s
	client := w.client.Resource(res.gvr())
	lw := &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = OwnerNameLabel
			return client.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = OwnerNameLabel
			return client.Watch(ctx, o)
		},
	}
	example := &unstructured.Unstructured{}
	example.SetGroupVersionKind(res.GroupVersionKind)
	quiet := logr.Discard()
	reflector := toolscache.NewReflectorWithOptions(lw, example, s, toolscache.ReflectorOptions{
		Name: "gitgate", Logger: &quiet,
		// A drift must be seen within two seconds also after an outage.
		Backoff: &wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 6, Cap: time.Second},
	})
	go reflector.RunWithContext(ctx)
}

// A stream is one watch. The reflector feeds it as if it were a store.
type stream struct {
	a        *Applier
	res      *resource
	ctx      context.Context
	cancel   context.CancelFunc
	caughtUp atomic.Bool
}

// Add takes an object that appeared.
func (s *stream) Add(obj any) error { return s.Update(obj) }

// Update takes an object that changed.
func (s *stream) Update(obj any) error {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		s.a.see(s.res, u.Object)
	}
	return nil
}

// Delete takes an object that is gone, or that lost its labels.
func (s *stream) Delete(obj any) error {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		if r := s.a.store.get(keyOf(s.res, u.Object)); r != nil {
			s.a.miss(s.ctx, r, versionOf(u.Object))
		}
	}
	return nil
}

// Replace takes everything that there was at a version.
func (s *stream) Replace(objs []any, version string) error {
	at, _ := strconv.ParseUint(version, 10, 64)
	there := make(map[key]bool, len(objs))
	for _, obj := range objs {
		if u, ok := obj.(*unstructured.Unstructured); ok {
			there[keyOf(s.res, u.Object)] = true
			s.a.see(s.res, u.Object)
		}
	}
	for _, r := range s.a.store.of(Owner{}) {
		if r.key.group == s.res.Group && r.key.kind == s.res.Kind.Kind && !there[r.key] {
			s.a.miss(s.ctx, r, at)
		}
	}
	s.caughtUp.Store(true)
	return nil
}

// Resync does nothing: what is known was compared when it came.
func (s *stream) Resync() error { return nil }

// see compares an object that the watch shows.
func (a *Applier) see(res *resource, obj map[string]any) {
	r := a.store.get(keyOf(res, obj))
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.res.GroupVersionKind != res.GroupVersionKind {
		return // another version of the kind, whose own watch shows it too
	}
	if r.state == inFlight {
		if r.pending == nil || versionOf(obj) >= versionOf(r.pending) {
			r.pending = obj
		}
		return
	}
	if v := versionOf(obj); v != 0 && v <= r.version && r.state != unknown {
		return // our own write, or older
	}
	a.look(r, obj)
}

// miss follows up on an object that the watch no longer shows since a version.
func (a *Applier) miss(ctx context.Context, r *record, version uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.state == inFlight:
		r.goneAt = max(r.goneAt, version)
	case version >= r.version: // else it was made after that
		go a.verifyGone(ctx, r)
	}
}

// verifyGone finds out whether an object is gone or only lost its labels.
func (a *Applier) verifyGone(ctx context.Context, r *record) {
	r.mu.Lock()
	res := r.res
	r.mu.Unlock()
	live, err := a.own.get(ctx, res, r.key)
	for err != nil && !apierrors.IsNotFound(err) { // nobody else will ask again before long
		select {
		case <-time.After(verifyPause):
		case <-ctx.Done():
			return
		}
		live, err = a.own.get(ctx, res, r.key)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == inFlight {
		return // it is being written: the answer will tell
	}
	if err == nil {
		a.look(r, live)
		return
	}
	a.lookGone(r)
}

// lookGone reports that an object is not there. It needs r.mu.
func (a *Applier) lookGone(r *record) {
	r.state, r.live, r.gone, r.health = drifted, nil, true, health{missing, "it does not exist"}
	a.health.announce()
	a.report(r, nil)
}

// verifyPause is the time between two questions whether an object is gone, while
// the API server does not answer.
const verifyPause = time.Second

// look compares a live object with D and reports a drift. It needs r.mu.
func (a *Applier) look(r *record, live map[string]any) {
	r.version, r.live, r.gone = versionOf(live), nil, false
	if h := r.rules.health(live); h != r.health {
		r.health = h
		a.health.announce()
	}
	if terminating(live) {
		r.state = dying // when it is gone the watch says so
		return
	}
	equal, norm := r.judge(a.sealer, live)
	if equal {
		r.state = synced
		return
	}
	r.state = drifted
	if !r.secret() {
		r.live = live
	}
	a.report(r, norm)
}

// report tells of a drift. It needs r.mu.
func (a *Applier) report(r *record, norm map[string]any) {
	if a.cfg.OnDrift == nil {
		return
	}
	d := Drift{Owner: r.owner, Object: r.object, Source: r.source, Missing: r.gone, key: r.key}
	if want, err := decode(r.d); err == nil && norm != nil {
		d.Changes = r.mask.Diff(want, norm)
		d.Patch = a.heldPatch(r, want, norm)
	}
	if r.secret() {
		for i := range d.Changes {
			d.Changes[i].Old, d.Changes[i].New = nil, nil
		}
	}
	go a.cfg.OnDrift(d) // it may call us, and we hold a lock
}
