package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/apply"
	"gitgate.dev/gitgate/webhook"
	"gitgate.dev/gitgate/webhook/audit"
	"gitgate.dev/gitgate/webhook/breakglass"
	"gitgate.dev/gitgate/webhook/certs"
	"gitgate.dev/gitgate/webhook/live"
	"gitgate.dev/gitgate/webhook/lock"
	"gitgate.dev/gitgate/webhook/registration"
)

// certificateSecret is the Secret in our own namespace that replicas share.
const certificateSecret = "gitgate-webhook-certs"

// servicePort is the port of the Service.
const servicePort = 443

// webhookParts are the parts of gitgate webhook.
type webhookParts struct {
	options   *webhookOptions
	mgr       ctrl.Manager
	kube      kubernetes.Interface
	applier   *apply.Applier
	dryRunner apply.Identity
	sources   *reconcile.Sources
	gates     *gates
	rules     *reconcile.RuleStore
	inventory *lock.Inventory
	images    *verifiedImages
	judge     *admissionJudge
	sink      *lockSink
	book      *breakglass.Book
	events    *webhook.Events
	decisions *webhook.DecisionLog
	registrar *registration.Registrar
	owners    *live.Owners
	auditor   *audit.Auditor
	scanner   *audit.Scanner // nil without --policy-reports
}

// ready reports whether requests can be judged: what every lock holds is known, and
// so is what is alive. Until then the lock puts requests off.
func (w *webhookParts) ready() bool {
	return w.inventory.Synced() && w.owners.Synced() && w.judge.rules.Load() != nil
}

// assemble makes what answers and what keeps it up to date, and gives it to the
// manager.
func (w *webhookParts) assemble(ctx context.Context, config *rest.Config) error {
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	if w.owners, err = live.New(objects); err != nil {
		return err
	}
	ca, err := newClusterCA(w.options.clusterCA, config)
	if err != nil {
		return err
	}
	content, err := lock.New(lock.Config{
		Inventory: w.inventory, Sealer: w.applier.Sealer(), Owners: w.owners, Grants: w.book, Judge: w.judge,
		System: w.options.namespace, Reconciler: w.reconciler(), DryRunner: w.dryRunner.String(),
		RootCA: ca.bundles,
	})
	if err != nil {
		return err
	}
	certificates, err := w.certificates()
	if err != nil {
		return err
	}
	server, err := webhook.New(webhook.Config{
		Address: w.options.bindAddr, Certificates: certificates, Decider: doorkeeper{content, w.book}, Ready: w.ready,
		ClientCA: w.options.clientCA, ClientNames: w.options.clientNames, Drain: w.options.drain,
		Metrics: webhook.NewMetrics(metrics.Registry, webhook.Gauges{
			InventoryObjects: w.inventory.Size, Refused: w.inventory.Refused, CertificateExpiry: expiry(certificates), Ready: w.ready,
		}),
		Decisions: w.decisions, Events: w.events, LogAllowed: w.options.logAllowed,
		Objects: w.options.recorded(),
	})
	if err != nil {
		return err
	}
	if err := errors.Join(w.register(config, certificates, server), metrics.Registry.Register(newExceptionGauge(&w.images.exceptions))); err != nil {
		return err
	}
	leader, err := w.audit(config, content)
	if err != nil {
		return err
	}
	mirror := w.mirror()
	rules := &reconcile.AdmissionRules{
		Client: w.mgr.GetClient(), Direct: w.mgr.GetAPIReader(), SystemNamespace: w.options.namespace,
		Rules: w.rules, Changes: w.rules.Changes(),
		Build: func(ctx context.Context, sets []reconcile.PolicyInput, trusts []v1alpha1.TrustPolicy) error {
			if err := w.judge.build(ctx, w.gates, sets, trusts); err != nil {
				return err
			}
			return w.scanWith(ctx, sets)
		},
	}
	follower := &reconcile.RuleFollower{Client: w.mgr.GetClient(), Rules: w.rules, Metrics: reconcile.NewRuleMetrics(metrics.Registry)}
	if err := errors.Join(mirror.SetupWithManager(w.mgr), rules.SetupWithManager(w.mgr), follower.SetupWithManager(w.mgr)); err != nil {
		return err
	}
	for _, r := range []manager.Runnable{w.owners, server, w.registrar, mirror, rules, leader} {
		if err := w.mgr.Add(r); err != nil {
			return err
		}
	}
	if w.decisions != nil {
		if err := w.mgr.Add(w.decisions); err != nil {
			return err
		}
	}
	return errors.Join(
		w.mgr.AddHealthzCheck("ping", healthz.Ping),
		w.mgr.AddReadyzCheck("admission", healthz.Checker(func(r *http.Request) error { return server.CheckReady(r) })),
	)
}

func (w *webhookParts) mirror() *reconcile.Mirror {
	return reconcile.NewMirror(reconcile.MirrorConfig{
		Client: w.mgr.GetClient(), Direct: w.mgr.GetAPIReader(), Applier: w.applier, Gates: w.gates, Sources: w.sources, Rules: w.rules,
		DryRunner: w.dryRunner, Sink: w.sink, Replica: w.options.replicaName(), Reconciler: w.reconciler(),
		SystemNamespace: w.options.namespace,
	})
}

// reconciler is the user name of the reconciler.
func (w *webhookParts) reconciler() string {
	if w.options.reconciler != "" {
		return w.options.reconciler
	}
	return "system:serviceaccount:" + w.options.namespace + ":gitgate-reconciler"
}

// replicaName is the host's name unless one was given: in a cluster the Pod's.
func (o *webhookOptions) replicaName() string {
	if o.replica != "" {
		return o.replica
	}
	name, err := os.Hostname()
	if err != nil {
		return "webhook"
	}
	return name
}

// certificates serves files if there are any, and else an authority of our own that
// replicas share.
func (w *webhookParts) certificates() (certs.Source, error) {
	o := w.options
	if o.certFile != "" || o.keyFile != "" || o.caFile != "" {
		return certs.NewFiles(certs.FilesConfig{Cert: o.certFile, Key: o.keyFile, CA: o.caFile})
	}
	hosts, err := o.hosts()
	if err != nil {
		return nil, err
	}
	return certs.NewManaged(certs.Config{
		Secrets: w.kube.CoreV1().Secrets(o.namespace), Name: certificateSecret, Hosts: hosts,
		CALifetime: o.caLifetime, LeafLifetime: o.certLifetime,
		Trusted: func(bundle []byte) bool { return w.registrar.Trusts(bundle) },
	})
}

// hosts are the names under which the API server knows us.
func (o *webhookOptions) hosts() ([]string, error) {
	if o.url == "" {
		return []string{
			fmt.Sprintf("%s.%s.svc", o.serviceName, o.namespace),
			fmt.Sprintf("%s.%s.svc.cluster.local", o.serviceName, o.namespace),
		}, nil
	}
	u, err := url.Parse(o.url)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("--url %q: want https://host:port", o.url)
	}
	return []string{u.Hostname()}, nil
}

// register makes what keeps us registered.
func (w *webhookParts) register(config *rest.Config, certificates certs.Source, server *webhook.Server) error {
	o := w.options
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return err
	}
	c := registration.Config{
		Client: w.kube, Metadata: meta, Namespace: o.namespace, Reconciler: w.reconciler(), DryRunner: w.dryRunner.String(),
		Webhook: o.user, Bundle: certificates.Bundle, Ready: w.ready, Mode: w.mode, Versions: w.sink.version,
		Reached: server.Reached, OwnPods: w.ownPods,
		Path: webhook.Path, Recorder: w.mgr.GetEventRecorder("gitgate-webhook"), Metrics: metrics.Registry,
	}
	if managed, ok := certificates.(*certs.Managed); ok {
		c.Secret, c.Refresh = certificateSecret, managed.Sync
	}
	if o.url != "" {
		u, err := url.JoinPath(o.url, webhook.Path)
		if err != nil {
			return fmt.Errorf("--url: %w", err)
		}
		c.URL = u
	} else {
		c.Service = &registration.Service{Namespace: o.namespace, Name: o.serviceName, Port: servicePort}
	}
	w.registrar, err = registration.New(c)
	return err
}

// mode is the strictest of the locks and of the rules for what no GitSync declares.
func (w *webhookParts) mode() lock.Mode {
	return lock.Strictest(w.sink.mode(), w.judge.rules.Load().mode())
}

// ownPods are the templates that may run in our own namespace while nobody judges:
// those of its Deployments, which the lock guards. One that cannot be read may not.
func (w *webhookParts) ownPods() []registration.Template {
	specs, err := w.owners.PodSpecs(w.options.namespace)
	if err != nil {
		klog.Background().Error(err, "A Deployment of our own cannot be read: its Pods do not come back while the webhook is down")
	}
	out := make([]registration.Template, len(specs))
	for i, spec := range specs {
		out[i] = registration.TemplateOf(spec)
	}
	return out
}

// changed has the registration looked at, and what is in closed namespaces.
func (w *webhookParts) changed() {
	if w.registrar != nil {
		w.registrar.Check()
	}
	if w.auditor != nil {
		w.auditor.Kick()
	}
}

// grantChanged has what grants held looked at.
func (w *webhookParts) grantChanged(breakglass.State) {
	if w.auditor != nil {
		w.auditor.Kick()
	}
}

// grantUsed puts the use of a grant on record.
func (w *webhookParts) grantUsed(ctx context.Context, u breakglass.Use) {
	logr.FromContextOrDiscard(ctx).Info("Break-glass grant used", "grant", u.Grant, "user", u.User, "operation", u.Operation,
		"resource", u.Resource, "namespace", u.Namespace, "name", u.Name, "dryRun", u.DryRun, "reason", u.Reason)
}

func expiry(s certs.Source) func() time.Time { return func() time.Time { return certs.Expiry(s) } }

// A doorkeeper asks the lock, and about break-glass grants themselves the book: whoever
// may write them by RBAC may only create, revoke and clear away.
type doorkeeper struct {
	lock *lock.Lock
	book *breakglass.Book
}

// Decide implements webhook.Decider.
func (d doorkeeper) Decide(ctx context.Context, req *admissionv1.AdmissionRequest) lock.Answer {
	if req.Resource.Group != v1alpha1.GroupVersion.Group || req.Resource.Resource != breakglass.Resource {
		return d.lock.Decide(ctx, req)
	}
	err := d.book.Review(req)
	switch {
	case errors.Is(err, breakglass.ErrNotReady):
		return lock.Answer{Pending: true, Reason: verdict.NotReady, Message: err.Error(), Matched: lock.MatchedSystem}
	case err != nil:
		return lock.Answer{Reason: verdict.NoGrant, Message: fmt.Sprintf("%s: %v", verdict.NoGrant, err), Matched: lock.MatchedSystem}
	}
	return lock.Answer{Allowed: true, Matched: lock.MatchedSystem}
}
