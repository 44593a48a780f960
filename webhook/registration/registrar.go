package registration

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	arv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	listers "k8s.io/client-go/listers/admissionregistration/v1"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"

	"gitgate.dev/gitgate/webhook/lock"
)

const (
	// look is how often what is there is compared with what should be, beside
	// whenever it changes. It costs no request.
	look = time.Second
	// discoverEvery is how often the API server is asked what it serves, beside
	// whenever a definition changes.
	discoverEvery = 5 * time.Minute
	// writeTimeout bounds one round of writes.
	writeTimeout = 10 * time.Second
	// complainEvery spares the log.
	complainEvery = 30 * time.Second
)

// A Registrar keeps the registration in place. It is a controller-runtime
// Runnable.
type Registrar struct {
	cfg     Config
	metrics *metrics
	wake    chan struct{}

	// stale counts how often to ask again soon what is served: discovery lags
	// behind definitions.
	stale atomic.Int32
	// webhooks is nil before Start has read them.
	webhooks atomic.Pointer[webhookLister]

	// What follows is Start's alone.

	policies listers.ValidatingAdmissionPolicyLister
	bindings listers.ValidatingAdmissionPolicyBindingLister
	// mode is in effect; laxer is what this replica wants instead since laxerSince,
	// and relaxing says that it has waited long enough and is to install mode.
	mode       lock.Mode
	laxer      lock.Mode
	laxerSince time.Time
	relaxing   bool
	pins       Pins
	discovered time.Time
	// installed is what this process has seen in place, by kind and name.
	installed map[string][]byte
	wasReady  bool
	// complained is when the log last said that we are not reached.
	complained time.Time
}

type webhookLister struct {
	listers.ValidatingWebhookConfigurationLister
}

// New checks c and returns a registrar that is not started.
func New(c Config) (*Registrar, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	return &Registrar{
		cfg: c, metrics: newMetrics(c.Metrics), wake: make(chan struct{}, 1),
		installed: map[string][]byte{},
	}, nil
}

// NeedLeaderElection is false: every replica restores what it misses.
func (r *Registrar) NeedLeaderElection() bool { return false }

// Start keeps the registration in place until ctx is done, and leaves it then.
func (r *Registrar) Start(ctx context.Context) error {
	log := logr.FromContextOrDiscard(ctx).WithName("registration")
	ctx = logr.NewContext(ctx, log)
	if err := r.watch(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		if err := r.round(ctx); err != nil && ctx.Err() == nil {
			log.Error(err, "The registration is not in place")
			r.metrics.failed()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-tick.C:
		}
	}
}

// watch starts the informers and waits for them.
func (r *Registrar) watch(ctx context.Context) error {
	factory := informers.NewSharedInformerFactory(r.cfg.Client, 0)
	api := factory.Admissionregistration().V1()
	webhooks := &webhookLister{api.ValidatingWebhookConfigurations().Lister()}
	r.policies = api.ValidatingAdmissionPolicies().Lister()
	r.bindings = api.ValidatingAdmissionPolicyBindings().Lister()
	for _, informer := range []cache.SharedIndexInformer{
		api.ValidatingWebhookConfigurations().Informer(), api.ValidatingAdmissionPolicies().Informer(),
		api.ValidatingAdmissionPolicyBindings().Informer(),
	} {
		if _, err := informer.AddEventHandler(handler(r.notify)); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	r.webhooks.Store(webhooks)
	if r.cfg.Metadata == nil {
		return nil
	}
	definitions := metadatainformer.NewSharedInformerFactory(r.cfg.Metadata, 0)
	for _, gvr := range []schema.GroupVersionResource{
		{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
		{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"},
	} {
		if _, err := definitions.ForResource(gvr).Informer().AddEventHandler(handler(r.rediscover)); err != nil {
			return err
		}
	}
	definitions.Start(ctx.Done())
	return nil
}

// handler calls f at every event.
func handler(f func()) cache.ResourceEventHandlerFuncs {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { f() }, UpdateFunc: func(any, any) { f() }, DeleteFunc: func(any) { f() },
	}
}

func (r *Registrar) notify() {
	select {
	case r.wake <- struct{}{}:
	default: // one is waiting already
	}
}

// rediscover asks what is served, now and on the next rounds.
func (r *Registrar) rediscover() {
	r.stale.Store(5)
	r.notify()
}

// Check makes the registrar look now, for whoever has changed what it is asked
// for: the mode, the bundle, the versions.
func (r *Registrar) Check() { r.notify() }

// Trusts reports whether the API server trusts every certificate of bundle, or
// does not ask us at all. It is for certs.Config.
func (r *Registrar) Trusts(bundle []byte) bool {
	webhooks := r.webhooks.Load()
	if webhooks == nil {
		return false
	}
	live, err := webhooks.Get(Name)
	if apierrors.IsNotFound(err) {
		return true
	}
	if err != nil {
		return false
	}
	for _, hook := range live.Webhooks {
		if string(hook.ClientConfig.CABundle) != string(bundle) {
			return false
		}
	}
	return true
}

// round compares what is there with what should be, and writes what differs.
func (r *Registrar) round(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if !r.wasReady {
		if !r.cfg.Ready() || len(r.cfg.Bundle()) == 0 {
			return nil
		}
		r.adopt()
		r.wasReady = true
	}
	mode := r.effective(time.Now())
	if err := r.discover(); err != nil {
		return err
	}
	// The policies first, for the webhook's exemptions rely on them.
	if err := r.keepPolicies(ctx, mode); err != nil {
		return err
	}
	if err := r.keepWebhook(ctx, mode); err != nil {
		return err
	}
	if r.mode != mode {
		r.notify() // it has yielded
		return nil
	}
	if err := r.retire(ctx, mode); err != nil {
		return err
	}
	r.metrics.inPlace(mode)
	r.prove(ctx)
	return nil
}

// adopt takes the mode that is in effect in the cluster: another replica, or we
// before a restart, may have had reason for it.
func (r *Registrar) adopt() { r.mode = r.inEffect() }

// inEffect is the mode that is installed in the cluster.
func (r *Registrar) inEffect() lock.Mode {
	live, err := r.webhooks.Load().Get(Name)
	if err != nil {
		return lock.Off
	}
	return modeOf(live)
}

// modeOf is the mode that live is the webhook of.
func modeOf(live *arv1.ValidatingWebhookConfiguration) lock.Mode {
	for _, hook := range live.Webhooks {
		if hook.FailurePolicy == nil || *hook.FailurePolicy == arv1.Fail {
			return lock.Enforce
		}
	}
	return lock.Audit
}

// effective returns the mode to install: a stricter one at once, a laxer one when
// it has been wanted for long enough.
func (r *Registrar) effective(now time.Time) lock.Mode {
	want := lock.Strictest(r.cfg.Mode())
	if want == lock.Strictest(want, r.mode) || !r.cfg.Ready() {
		r.laxer = ""
		if want != r.mode && r.cfg.Ready() {
			r.mode, r.relaxing = r.provable(want), false
		}
		return r.mode
	}
	if r.laxer != want {
		r.laxer, r.laxerSince = want, now
	}
	if now.Sub(r.laxerSince) >= r.cfg.RelaxAfter {
		r.mode, r.laxer, r.relaxing = want, "", true
	}
	return r.mode
}

// yields takes up the mode that live is the webhook of rather than to replace it by
// mode's, and reports whether it has. What is stricter was installed by a replica that
// wants so, and was reached: ours may lag, or not have been reached. What we only wait
// to be allowed another replica has waited for already.
func (r *Registrar) yields(mode, live lock.Mode) bool {
	awaited := r.laxer != "" && live == r.laxer
	if !awaited && (!stricter(live, mode) || r.relaxing) {
		return false
	}
	r.mode, r.laxer = live, ""
	return true
}

// weakens reports whether a stricter mode than mode is in effect. The policies go by
// it: replicas know by the webhook what is in effect, so that less than before begins
// with the webhook, and others do not put the policies back.
func (r *Registrar) weakens(mode lock.Mode) bool { return stricter(r.inEffect(), mode) }

func stricter(a, b lock.Mode) bool { return a != b && a == lock.Strictest(a, b) }

// onTrial reports whether mode is Audit only because it is not proven that the API
// server reaches this replica.
func (r *Registrar) onTrial(mode lock.Mode) bool {
	return mode == lock.Audit && lock.Strictest(r.cfg.Mode()) == lock.Enforce
}

// provable returns mode, or Audit for as long as it is not proven that the API
// server reaches the webhook. Where another replica has proven it, [Registrar.yields]
// takes up what that one installed.
func (r *Registrar) provable(mode lock.Mode) lock.Mode {
	if mode == lock.Enforce && r.cfg.Reached != nil && !r.cfg.Reached() {
		return lock.Audit
	}
	return mode
}

// prove makes the API server ask, if that is still to be proven: by a dry run
// whose answer does not matter.
func (r *Registrar) prove(ctx context.Context) {
	if !r.onTrial(r.mode) || r.provable(lock.Enforce) == lock.Enforce {
		return
	}
	r.metrics.unproven()
	_, err := r.cfg.Client.CoreV1().Secrets(r.cfg.Namespace).Create(ctx,
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "gitgate-webhook-probe"}},
		metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if r.cfg.Reached() {
		r.notify()
		return
	}
	if time.Since(r.complained) > complainEvery {
		r.complained = time.Now()
		logr.FromContextOrDiscard(ctx).Info("The API server does not reach the webhook yet: nothing is enforced", "probe", fmt.Sprint(err))
	}
}

// discover keeps the pins up to date.
func (r *Registrar) discover() error {
	if r.pins != nil && r.stale.Load() == 0 && time.Since(r.discovered) < discoverEvery {
		return nil
	}
	p, err := pins(r.cfg.Client.Discovery(), r.cfg.Versions, r.pins)
	if err != nil {
		if r.pins == nil {
			return err
		}
		return nil // the old pins are asked about again in a moment
	}
	r.pins, r.discovered = p, time.Now()
	if n := r.stale.Load(); n > 0 {
		r.stale.CompareAndSwap(n, n-1)
	}
	return nil
}

// deleteOptions deletes what we looked at and nothing that has come in its place.
func deleteOptions(m metav1.Object) metav1.DeleteOptions {
	uid := m.GetUID()
	return metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}
}
