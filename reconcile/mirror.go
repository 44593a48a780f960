package reconcile

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/apply"
	"gitgate.dev/gitgate/verify/image"
)

// A MirrorConfig configures a [Mirror]. Every field is mandatory.
type MirrorConfig struct {
	// Client reads our own kinds from the cache and reports in their status.
	Client client.Client
	// Direct reads Secrets and ConfigMaps without a cache.
	Direct client.Reader
	// Applier makes dry runs. It writes nothing.
	Applier *apply.Applier
	Gates   GateBuilder
	Sources *Sources
	// Rules holds the rules of PolicySets that come from elsewhere.
	Rules *RuleStore
	// DryRunner is who makes the dry runs: an account that can do nothing else.
	DryRunner apply.Identity
	// Sink takes what was verified.
	Sink Sink
	// Replica names this process in the status of GitSyncs.
	Replica string
	// Reconciler is the user name of the reconciler.
	Reconciler string
	// SystemNamespace is gitgate's own namespace.
	SystemNamespace string
}

// A Sink takes what a [Mirror] has verified. Its methods return at once.
type Sink interface {
	// Accept hands over the state of one GitSync, in place of any former one.
	Accept(Locked)
	// Announce tells of the newest revision that the reconciler says it judges. It is
	// not proven: it only means that this replica may be behind.
	Announce(name types.NamespacedName, revision string)
	// Retire tells which images of releases before that state may still run, in place of
	// what was told before. It does nothing for a GitSync that was not accepted.
	Retire(types.NamespacedName, []image.Evidence)
	// Drop ends the lock of a GitSync.
	Drop(types.NamespacedName)
	// Unknown tells which locks could not be verified since the start, in place of what
	// was told before.
	Unknown([]*v1alpha1.GitSync)
	// Synced says that every lock was looked at, and what could not be verified is told
	// by Unknown. It is said once.
	Synced()
}

// Locked is what the objects of one GitSync are held to.
type Locked struct {
	// Sync is the GitSync as it was read.
	Sync *v1alpha1.GitSync
	// Writer is the user who applies.
	Writer string
	// Current is the newest revision that passed every gate. As long as nothing
	// changes it is the same one at every look.
	Current *Verified
	// Former is the revision that is applied as a whole while Current is not; nil
	// when Current is, or when nothing was.
	Former *Verified
}

// Verified is a revision that passed every gate of this process, or one that is held
// because it was in force.
type Verified struct {
	Revision string
	Wants    []apply.Want
	Images   []image.Evidence
	// Held is why it is held although the gate refuses it; nil for one that passes.
	Held *Holding

	head     plumbing.Hash
	declared declaredObjects
	gate     *gate.Gate      // that let it pass; nil if none did
	mark     []plumbing.Hash // as what it passed
}

// A Mirror follows the GitSyncs that are locked, for one replica of the webhook.
// It believes nobody: it fetches, judges and renders for itself, and remembers
// beside its own clone which revision was applied. It writes nothing but its entry
// in the status.
type Mirror struct {
	MirrorConfig
	steps *Reconciler // lends its steps; never run

	mu       sync.Mutex
	sessions map[types.NamespacedName]*mirrorSession
	tried    map[types.NamespacedName]bool // since the start
	known    map[types.NamespacedName]bool // or known to be nothing
	synced   bool
	started  time.Time

	reviews  workqueue.TypedInterface[types.NamespacedName] // of earlier releases
	allKnown chan struct{}                                  // closed with synced
}

// NewMirror returns a Mirror.
func NewMirror(c MirrorConfig) *Mirror {
	return &Mirror{
		MirrorConfig: c,
		steps: New(Config{
			Client: c.Client, Direct: c.Direct, Applier: c.Applier, Gates: c.Gates, Sources: c.Sources, Rules: c.Rules,
			SystemNamespace: c.SystemNamespace,
		}),
		sessions: map[types.NamespacedName]*mirrorSession{}, started: time.Now(),
		tried:    map[types.NamespacedName]bool{},
		known:    map[types.NamespacedName]bool{},
		reviews:  workqueue.NewTyped[types.NamespacedName](),
		allKnown: make(chan struct{}),
	}
}

// SetupWithManager registers the controller. Every replica runs it, not only a
// leader.
func (m *Mirror) SetupWithManager(mgr ctrl.Manager) error {
	all := false
	return ctrl.NewControllerManagedBy(mgr).
		Named("mirror").
		For(&v1alpha1.GitSync{}, builder.WithPredicates(predicate.Or(
			predicate.GenerationChangedPredicate{}, revisionPredicate(), requestedPredicate(),
		))).
		Watches(&v1alpha1.TrustPolicy{}, m.steps.enqueue(trusts), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.PolicySet{}, m.steps.enqueue(everyone), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.TypedChannel(m.Rules.Changes(), m.steps.rulesChanged())).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4, NeedLeaderElection: &all}).
		Complete(m)
}

// revisionPredicate passes updates in which the reconciler tells of a revision.
func revisionPredicate() predicate.Predicate {
	return updates(func(before, after *v1alpha1.GitSync) bool {
		return before.Status.LastAttemptedRevision != after.Status.LastAttemptedRevision ||
			before.Status.LastAppliedRevision != after.Status.LastAppliedRevision
	})
}

// Reconcile brings the lock of one GitSync up to date.
func (m *Mirror) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var sync v1alpha1.GitSync
	switch err := m.Client.Get(ctx, req.NamespacedName, &sync); {
	case apierrors.IsNotFound(err):
		return ctrl.Result{}, m.drop(ctx, req.NamespacedName)
	case err != nil:
		return ctrl.Result{}, err
	case !sync.DeletionTimestamp.IsZero() || sync.LockMode() == v1alpha1.ModeOff:
		return ctrl.Result{}, m.drop(ctx, req.NamespacedName)
	}
	s := m.session(req.NamespacedName)
	f := &follow{Mirror: m, session: s, attempt: &attempt{Reconciler: m.steps, sync: &sync, before: &sync, session: &s.session, started: time.Now()}}
	m.Sink.Announce(req.NamespacedName, sync.Status.LastAttemptedRevision)
	err := f.run(ctx)
	f.reviewEarlier(ctx)
	if err != nil {
		logr.FromContextOrDiscard(ctx).Info("The lock is not up to date", "gitsync", req.String(), "reason", err.Error())
	}
	if err := m.settle(ctx, req.NamespacedName, f.known(err)); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: f.next(err)}, nil
}

func (m *Mirror) session(name types.NamespacedName) *mirrorSession {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sessions[name]
	if s == nil {
		s = &mirrorSession{session: session{owner: apply.Owner{Namespace: name.Namespace, Name: name.Name}}}
		m.sessions[name] = s
	}
	return s
}

func (m *Mirror) drop(ctx context.Context, name types.NamespacedName) error {
	m.mu.Lock()
	if s := m.sessions[name]; s != nil && s.repo != nil {
		s.repo.Close()
	}
	delete(m.sessions, name)
	m.mu.Unlock()
	m.Sink.Drop(name)
	m.Applier.ForgetWants(apply.Owner{Namespace: name.Namespace, Name: name.Name})
	return m.settle(ctx, name, true)
}

// syncWait is how long locks are waited for at the start whose Git server does not
// answer: nobody can write anything meanwhile.
const syncWait = time.Minute

// settle notes whether a lock is known, after an attempt at it. All are looked at when
// each had an attempt since the start. Those that could not be verified put off what
// they may hold, and nothing else: one team's lost credentials must not stop a cluster.
func (m *Mirror) settle(ctx context.Context, name types.NamespacedName, known bool) error {
	m.mu.Lock()
	m.tried[name] = true
	m.known[name] = known || m.known[name]
	m.mu.Unlock()
	return m.tell(ctx)
}

// tell hands on which locks are not known.
func (m *Mirror) tell(ctx context.Context) error {
	var all v1alpha1.GitSyncList
	if err := m.Client.List(ctx, &all); err != nil {
		return fmt.Errorf("listing the GitSyncs: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var unknown []*v1alpha1.GitSync
	waiting := false
	for _, s := range all.Items {
		name := client.ObjectKeyFromObject(&s)
		if s.LockMode() == v1alpha1.ModeOff || !s.DeletionTimestamp.IsZero() || m.known[name] {
			continue
		}
		unknown = append(unknown, s.DeepCopy())
		waiting = waiting || !m.tried[name]
	}
	m.Sink.Unknown(unknown)
	if !m.synced && (!waiting || time.Since(m.started) > syncWait) {
		m.synced = true
		m.Sink.Synced()
		close(m.allKnown)
	}
	return nil
}

// Start implements manager.Runnable: where there is no GitSync nothing else says so,
// nor where one keeps us waiting. Until ctx is done it looks at earlier releases and
// removes clones that nobody uses.
func (m *Mirror) Start(ctx context.Context) error {
	m.mu.Lock()
	m.started = time.Now()
	m.mu.Unlock()
	for _, wait := range []time.Duration{0, syncWait + time.Second} {
		time.AfterFunc(wait, func() {
			if err := m.tell(ctx); err != nil && ctx.Err() == nil {
				logr.FromContextOrDiscard(ctx).Error(err, "It cannot be told which locks are known")
			}
		})
	}
	go m.runReviews(ctx)
	return m.steps.runPrune(ctx)
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (m *Mirror) NeedLeaderElection() bool { return false }
