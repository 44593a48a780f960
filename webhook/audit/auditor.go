package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/client-go/util/workqueue"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook/lock"
)

const (
	// settleTime is how long an object may be unexplained before it is a stray: the
	// lock, the owners and we learn of a change one after the other.
	settleTime = time.Second
	// missingTime is the same for one that is listed and not served: most often it has
	// just been deleted.
	missingTime = 5 * time.Second
	// pendingTime is the same for one whose owner is not known: it has gone, and the
	// garbage collector is on its way, or it never was.
	pendingTime = 30 * time.Second
	// recheckTime is when a stray that something is unknown of is looked at again.
	recheckTime = time.Minute
	// getsPerSecond bounds the single objects that are read.
	getsPerSecond = 20
	getsAtOnce    = 50
	workers       = 2
	// namespacesEach is how many closed namespaces are watched one by one. Where there
	// are more, a kind is watched in all namespaces at once, but for Secrets: what is
	// not ours to see must not be asked for.
	namespacesEach = 32
	// maxObjects bounds what is kept.
	maxObjects = 500_000
)

// An Explainer says whether an object is there by Git's leave. It is a [lock.Lock].
type Explainer interface {
	Explain(lock.Found) lock.Explanation
}

// A Reporter tells of strays. It is called by one goroutine at a time.
type Reporter interface {
	// Found tells of a stray that was none before, as far as this process knows.
	Found(sync types.NamespacedName, s Stray)
	// Gone tells that a stray is none any more: it was deleted, or is explained now.
	Gone(sync types.NamespacedName, s Stray)
	// Report replaces what is known of the GitSync. On an error it is called again.
	Report(ctx context.Context, r Report) error
}

// A Stray is an object in a closed namespace that nothing explains.
type Stray struct {
	Kind            schema.GroupVersionKind
	Resource        schema.GroupResource
	Namespace, Name string
	UID             types.UID
	Reason          verdict.Reason
	Why             string
}

// String is as in namespace/Kind.group/name.
func (s Stray) String() string {
	return s.Namespace + "/" + s.Kind.GroupKind().String() + "/" + s.Name
}

// A Report is what is known of the namespaces that a GitSync closes.
type Report struct {
	Sync types.NamespacedName
	// Closes is false for a GitSync that closes no namespace any more.
	Closes bool
	// Strays are all of them, sorted.
	Strays []Stray
	// Unseen are the resources that could not be looked at, sorted, with the reason: a
	// stray of these is not found.
	Unseen []string
}

// A Config says what an [Auditor] looks at, and who is told. All but Held and Stale is
// mandatory.
type Config struct {
	Discovery discovery.DiscoveryInterfaceWithContext
	Objects   dynamic.Interface
	Metadata  metadata.Interface
	Explainer Explainer
	// Closed tells which GitSyncs close which namespaces.
	Closed func() map[string][]types.NamespacedName
	// Ready reports whether the Explainer knows what it needs to.
	Ready func() bool
	// Held reports whether somebody may change the object for now, and until when.
	Held func(resource schema.GroupResource, namespace, name string) (until time.Time, held bool)
	// Stale lists GitSyncs about which something was told and that close nothing.
	Stale    func(context.Context) ([]types.NamespacedName, error)
	Reporter Reporter
	Metrics  *Metrics
}

// An Auditor finds strays while [Auditor.Run] runs.
type Auditor struct {
	cfg  Config
	kick chan struct{}
}

// New returns an Auditor.
func New(c Config) (*Auditor, error) {
	if c.Discovery == nil || c.Objects == nil || c.Metadata == nil || c.Explainer == nil || c.Closed == nil || c.Ready == nil || c.Reporter == nil || c.Metrics == nil {
		return nil, errors.New("audit: Config needs all but Held and Stale")
	}
	return &Auditor{cfg: c, kick: make(chan struct{}, 1)}, nil
}

// Kick tells that what the Explainer or Held go by has changed. It never blocks.
func (a *Auditor) Kick() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// Run audits until ctx is done. It may be called again then.
func (a *Auditor) Run(ctx context.Context) error {
	for !a.cfg.Ready() {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
	s := newSession(a.cfg)
	defer s.end()
	s.watches.wg.Go(func() { s.watchDefinitions(ctx) })
	for range workers {
		s.wg.Go(func() { s.work(ctx) })
	}
	s.wg.Go(func() { s.report(ctx) })
	s.settle(ctx, true)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.kick:
			s.settle(ctx, false)
		case <-s.redefined:
			s.settle(ctx, true)
		}
	}
}

// A session is one run of an Auditor.
type session struct {
	cfg       Config
	watches   watches
	queue     workqueue.TypedDelayingInterface[objectID]
	gets      flowcontrol.RateLimiter
	redefined chan struct{}
	wake      chan struct{} // of the reports
	wg        sync.WaitGroup

	kinds  []resource
	silent map[string]bool // groups that did not answer discovery

	mu     sync.Mutex
	book   *book
	closed map[string][]types.NamespacedName
	listed map[target]bool
	unseen map[target]string
	dirty  map[types.NamespacedName]bool
	moved  []move // strays found and gone that were not told of yet
}

// A move is a stray that was found, or is gone.
type move struct {
	stray Stray
	found bool
}

func newSession(c Config) *session {
	s := &session{
		cfg: c, queue: workqueue.NewTypedDelayingQueue[objectID](), gets: flowcontrol.NewTokenBucketRateLimiter(getsPerSecond, getsAtOnce),
		redefined: make(chan struct{}, 1), wake: make(chan struct{}, 1), silent: map[string]bool{},
		book: newBook(), listed: map[target]bool{}, unseen: map[target]string{}, dirty: map[types.NamespacedName]bool{},
	}
	s.watches = watches{objects: c.Objects, metadata: c.Metadata, sink: s}
	return s
}

// end waits for everything that was started. The context must be done.
func (s *session) end() {
	s.queue.ShutDown()
	s.watches.done()
	s.wg.Wait()
	s.cfg.Metrics.forget()
}

// settle brings what is watched up to date, and looks anew at all that is known.
func (s *session) settle(ctx context.Context, rediscover bool) {
	if rediscover {
		s.discover(ctx)
	}
	closed := s.cfg.Closed()
	s.mu.Lock()
	for _, syncs := range s.closed {
		s.touch(syncs)
	}
	s.closed = closed
	for _, syncs := range closed {
		s.touch(syncs)
	}
	s.mu.Unlock()
	ended := s.watches.follow(ctx, s.targets(closed))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range ended {
		delete(s.listed, t)
		delete(s.unseen, t)
		s.book.each(func(id objectID, e *entry) {
			if e.target == t {
				s.forget(id, e)
			}
		})
	}
	s.book.each(s.reconsider)
}

// discover lists the kinds anew. A group that does not answer keeps those it had.
func (s *session) discover(ctx context.Context) {
	found, silent, err := discover(ctx, s.cfg.Discovery)
	if err != nil {
		logr.FromContextOrDiscard(ctx).Error(err, "The kinds of the cluster are not known; what is known is audited, and it is tried again")
		time.AfterFunc(recheckTime, s.redefine)
		return
	}
	clear(s.silent)
	for _, gv := range silent {
		s.silent[gv.Group] = true
	}
	for _, r := range s.kinds {
		if s.silent[r.gvr.Group] && !slices.Contains(found, r) {
			found = append(found, r)
		}
	}
	if len(silent) > 0 {
		time.AfterFunc(recheckTime, s.redefine)
	}
	s.kinds = found
}

// targets are what has to be watched.
func (s *session) targets(closed map[string][]types.NamespacedName) []target {
	var out []target
	for _, r := range s.kinds {
		whole, _ := lock.ReadsContent(r.gvr.GroupResource())
		if len(closed) > namespacesEach && r.gvr.GroupResource() != (schema.GroupResource{Resource: "secrets"}) {
			out = append(out, target{resource: r, whole: whole})
			continue
		}
		for namespace := range closed {
			out = append(out, target{resource: r, namespace: namespace, whole: whole})
		}
	}
	return out
}

// redefine has the kinds discovered anew. It never blocks.
func (s *session) redefine() { signal(s.redefined) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// work looks at single objects until the queue ends.
func (s *session) work(ctx context.Context) {
	for {
		id, shutdown := s.queue.Get()
		if shutdown {
			return
		}
		s.look(ctx, id)
		s.queue.Done(id)
	}
}

// look reads an object and judges it.
func (s *session) look(ctx context.Context, id objectID) {
	s.mu.Lock()
	e := s.book.entries[id]
	whole, name := lock.ReadsContent(id.gvr.GroupResource())
	if e == nil {
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	if err := s.gets.Wait(ctx); err != nil {
		return
	}
	object, err := s.watches.get(ctx, id.gvr, id.namespace, id.name, whole || id.name == name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e = s.book.entries[id]; e == nil || ctx.Err() != nil {
		return
	}
	switch {
	case apierrors.IsNotFound(err):
		s.doubt(id, e, lock.Explanation{Reason: verdict.NotInGit, Why: "it is listed, and the API server does not serve it under its name"}, missingTime)
	case err != nil:
		s.queue.AddAfter(id, pendingTime)
	default:
		if uid := uidOf(object); uid != e.uid {
			s.doubt(id, e, lock.Explanation{Reason: verdict.NotInGit, Why: "another object is served under its name"}, missingTime)
			return
		}
		e.contested = false
		s.judge(id, e, object)
	}
}

// noRight is why a kind cannot be looked at that nobody will show us.
const noRight = "no right to list and watch it"

// unseenReason says in a word why a target cannot be watched.
func unseenReason(err error) string {
	switch {
	case apierrors.IsForbidden(err):
		return noRight
	case apierrors.IsNotFound(err):
		return "not served"
	}
	return "it cannot be read"
}

func (t target) unseen(why string) string { return fmt.Sprintf("%s: %s", t.String(), why) }

func compareStrays(a, b Stray) int { return strings.Compare(a.String(), b.String()) }
