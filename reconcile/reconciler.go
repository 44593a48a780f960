package reconcile

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/apply"
)

// A Config configures a [Reconciler]. Every field without a stated default is
// mandatory.
type Config struct {
	// Client reads our own kinds from the cache and writes their status.
	Client client.Client
	// Direct reads Secrets and ConfigMaps without a cache.
	Direct client.Reader
	// Applier writes to the cluster. Its OnDrift must be [Reconciler.OnDrift].
	Applier *apply.Applier
	// Gates makes the gates.
	Gates GateBuilder
	// Sources opens repositories.
	Sources *Sources
	// Rules holds the rules of PolicySets that come from elsewhere.
	Rules *RuleStore
	// Recorder records events.
	Recorder events.EventRecorder
	// Metrics count.
	Metrics *Metrics
	// Decisions is the decision log. Nil writes none.
	Decisions *DecisionLog
	// SystemNamespace is gitgate's own namespace.
	SystemNamespace string
	// Concurrency is how many GitSyncs are worked on at once. Zero means four.
	Concurrency int
}

// A Reconciler drives GitSyncs. Make one with [New].
type Reconciler struct {
	Config
	sessions sessions
	wake     chan event.TypedGenericEvent[*v1alpha1.GitSync]
	drifts   driftQueue
	holds    holds
}

// New returns a Reconciler.
func New(c Config) *Reconciler {
	if c.Concurrency <= 0 {
		c.Concurrency = 4
	}
	r := &Reconciler{Config: c, wake: make(chan event.TypedGenericEvent[*v1alpha1.GitSync], 1024)}
	r.drifts.init()
	return r
}

// Reconcile brings one GitSync forward by one attempt.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	owner := apply.Owner{Namespace: req.Namespace, Name: req.Name}
	var sync v1alpha1.GitSync
	if err := r.Client.Get(ctx, req.NamespacedName, &sync); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(owner)
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, err
	}
	s := r.sessions.get(owner)
	if err := r.catchUp(ctx, s, &sync); err != nil {
		return ctrl.Result{}, err
	}
	a := &attempt{Reconciler: r, sync: sync.DeepCopy(), before: &sync, session: s, started: time.Now()}
	if !sync.DeletionTimestamp.IsZero() {
		return a.finalize(ctx)
	}
	if controllerutil.AddFinalizer(a.sync, v1alpha1.Finalizer) {
		// Others have finalizers too: never from a list that is out of date.
		if err := r.Client.Patch(ctx, a.sync, client.MergeFromWithOptions(&sync, client.MergeFromWithOptimisticLock{})); err != nil {
			return ctrl.Result{}, err
		}
		a.before = a.sync.DeepCopy()
	}
	out := a.run(ctx)
	return a.finish(ctx, out)
}

// catchUp reads the GitSync anew while the cache may lag behind what we wrote last:
// by an inventory from before it, what is on the newer one would be orphaned.
func (r *Reconciler) catchUp(ctx context.Context, s *session, sync *v1alpha1.GitSync) error {
	if s.written == "" {
		return nil
	}
	if n, err := resourceversion.CompareResourceVersion(sync.ResourceVersion, s.written); err == nil && n >= 0 {
		return nil
	}
	fresh := &v1alpha1.GitSync{}
	if err := r.Direct.Get(ctx, client.ObjectKeyFromObject(sync), fresh); err != nil {
		return err
	}
	*sync, s.written = *fresh, ""
	return nil
}

func (r *Reconciler) forget(owner apply.Owner) {
	if s := r.sessions.lookup(owner); s != nil {
		s.stopHealth()
		s.setLive(nil)
		if s.repo != nil {
			s.repo.Close()
		}
	}
	r.Applier.Forget(owner)
	r.sessions.drop(owner)
	r.Metrics.forget(owner.Namespace, owner.Name)
}

// An attempt is one run of Reconcile on one GitSync.
type attempt struct {
	*Reconciler
	sync    *v1alpha1.GitSync // being changed
	before  *v1alpha1.GitSync // as it was read
	session *session
	started time.Time
	worked  bool // something was judged or applied
}

// An outcome is how an attempt ended.
type outcome struct {
	ready   metav1.ConditionStatus
	reason  string
	message string
	stalled bool // only a change of configuration or a new commit helps
	retry   bool // try again soon, with back-off
	working bool // go on without being asked, as when waiting for health
	quiet   bool // no event
	blind   bool // the newest revision is not known, or nobody can judge it
}

func failed(reason, format string, args ...any) outcome {
	return outcome{ready: metav1.ConditionFalse, reason: reason, message: fmt.Sprintf(format, args...), retry: true}
}

func stalled(reason, format string, args ...any) outcome {
	return outcome{ready: metav1.ConditionFalse, reason: reason, message: fmt.Sprintf(format, args...), stalled: true}
}

// finish writes the status, if it changed, and says when to come back.
func (a *attempt) finish(ctx context.Context, out outcome) (ctrl.Result, error) {
	a.sync.Status.ObservedGeneration = a.sync.Generation
	if at := a.sync.Annotations[v1alpha1.RequestedAtAnnotation]; at != "" {
		a.sync.Status.LastHandledReconcileAt = at
	}
	changed := a.conclude(out)
	if err := a.patchStatus(ctx); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	a.remember(ctx)
	if len(changed) > 0 && !out.quiet {
		a.event(out)
	}
	a.observe(out)
	return ctrl.Result{RequeueAfter: a.nextTry(out)}, nil
}

// conclude puts the outcome into the conditions and returns what changed of Ready.
func (a *attempt) conclude(out outcome) (changed []condition) {
	if out.blind {
		unjudged(a.sync, out.reason, out.message)
	}
	changed = setConditions(a.sync, condition{v1alpha1.ConditionReady, out.ready, out.reason, out.message})
	switch {
	case out.stalled:
		setConditions(a.sync, condition{v1alpha1.ConditionStalled, metav1.ConditionTrue, out.reason, out.message})
		removeConditions(a.sync, v1alpha1.ConditionReconciling)
	case out.retry:
		setConditions(a.sync, condition{v1alpha1.ConditionReconciling, metav1.ConditionTrue, v1alpha1.ReasonProgressingWithRetry, out.message})
		removeConditions(a.sync, v1alpha1.ConditionStalled)
	case out.working:
		setConditions(a.sync, condition{v1alpha1.ConditionReconciling, metav1.ConditionTrue, v1alpha1.ReasonProgressing, out.message})
		removeConditions(a.sync, v1alpha1.ConditionStalled)
	default:
		removeConditions(a.sync, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled)
	}
	return changed
}

// patchStatus writes the status if it changed.
func (a *attempt) patchStatus(ctx context.Context) error {
	if sameStatus(a.before, a.sync) {
		return nil
	}
	patch, err := statusPatch(a.before, a.sync)
	if err != nil {
		return err
	}
	// Nothing of the answer but the version is of use.
	updated := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: a.sync.Namespace, Name: a.sync.Name}}
	updated.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("GitSync"))
	if err := a.Client.Status().Patch(ctx, updated, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return err
	}
	a.sync.ResourceVersion, a.session.written = updated.ResourceVersion, updated.ResourceVersion
	a.before = a.sync.DeepCopy()
	return nil
}

func (a *attempt) nextTry(out outcome) time.Duration {
	interval := a.sync.IntervalOrDefault()
	if !out.retry {
		a.session.failures = 0
		return a.session.excepted.soon(time.Now(), interval)
	}
	a.session.failures++
	return a.session.backoff(a.sync.RetryIntervalOrDefault(), interval)
}

func (a *attempt) observe(out outcome) {
	ns, name := a.sync.Namespace, a.sync.Name
	a.Metrics.ready.WithLabelValues(ns, name).Set(boolGauge(out.ready == metav1.ConditionTrue))
	a.Metrics.suspended.WithLabelValues(ns, name).Set(boolGauge(a.sync.Spec.Suspend))
	if inv := a.sync.Status.Inventory; inv != nil {
		a.Metrics.objects.WithLabelValues(ns, name).Set(float64(inv.Len()))
	}
	held := gate.NewExceptions(a.session.excepted.list, time.Now()).Count()
	held.Unused = unused(a.session.judged.verdict)
	a.Metrics.excepted(ns, name, held)
	if a.worked {
		a.Metrics.reconciles.WithLabelValues(ns, name).Observe(time.Since(a.started).Seconds())
	}
}

func (a *attempt) event(out outcome) {
	kind := corev1.EventTypeNormal
	if out.ready == metav1.ConditionFalse {
		kind = corev1.EventTypeWarning
	}
	a.Recorder.Eventf(a.sync, nil, kind, out.reason, "Reconcile", "%s", truncate(out.message, maxMessage))
}

// decide puts a verdict on record: in the status, the decision log and metrics.
func (a *attempt) decide(ctx context.Context, req gate.Request, v verdict.Verdict, author string, signers []string) {
	a.sync.Status.LastVerdict = verdictStatus(v)
	a.Metrics.verdict(a.sync.Namespace, a.sync.Name, v)
	err := a.Decisions.Write(Decision{
		Time: time.Now().UTC(), Door: "reconciler", GitSync: a.session.owner.String(),
		Author: author, Signers: signers, Verdict: v, Asked: asked(req),
	})
	log := logr.FromContextOrDiscard(ctx)
	if err != nil {
		log.Error(err, "The decision log cannot be written")
	}
	log.Info("Revision judged", "revision", v.Revision, "allowed", v.Allowed(), "undetermined", v.Undetermined(), "findings", len(v.Findings))
}

func key(o apply.Owner) types.NamespacedName {
	return types.NamespacedName{Namespace: o.Namespace, Name: o.Name}
}
