package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/apply"
	"gitgate.dev/gitgate/reconcile/render"
	"gitgate.dev/gitgate/webhook"
	"gitgate.dev/gitgate/webhook/certs"
	"gitgate.dev/gitgate/webhook/lock"
)

// A webhookOptions holds the flags of gitgate webhook.
type webhookOptions struct {
	serveOptions
	bindAddr      string
	serviceName   string
	url           string
	certFile      string
	keyFile       string
	caFile        string
	clientCA      string
	clusterCA     string
	clientNames   []string
	reconciler    string
	replica       string
	user          string
	logAllowed    bool
	logObjects    bool
	policyReports bool
	caLifetime    time.Duration
	certLifetime  time.Duration
	drain         time.Duration
}

func newWebhookCommand() *cobra.Command {
	o := webhookOptions{}
	cmd := &cobra.Command{
		Use:     "webhook",
		GroupID: serverGroup,
		Short:   "Run the admission webhook",
		Long: `webhook answers the API server's admission reviews: what a locked GitSync declares
changes only towards what its verified commit says. Every replica fetches and
verifies for itself. The webhook is registered when all locks are known, and its
registration is put back when somebody weakens it.`,
		Example: `  # in a cluster, behind a Service
  gitgate webhook --data-dir /var/lib/gitgate --service-name gitgate-webhook

  # beside an API server on this machine
  gitgate webhook --kubeconfig ~/.kube/config --data-dir ./data --bind-address 127.0.0.1:9443 --url https://127.0.0.1:9443`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	o.common(f)
	f.StringVar(&o.bindAddr, "bind-address", ":9443", "`address` to answer admission reviews at")
	f.StringVar(&o.serviceName, "service-name", "gitgate-webhook", "`name` of the Service, in our own namespace, that leads to all replicas")
	f.StringVar(&o.url, "url", "", "`URL` under which the API server reaches this process, instead of a Service")
	f.StringVar(&o.certFile, "tls-cert-file", "", "`file` with the certificate to serve; without it gitgate is its own authority")
	f.StringVar(&o.keyFile, "tls-private-key-file", "", "`file` with its key")
	f.StringVar(&o.caFile, "tls-ca-file", "", "`file` with the authority that the API server is to trust")
	f.StringVar(&o.clientCA, "client-ca-file", "", "`file` with the authority of the API server's client certificate; without it anybody who reaches the port may ask")
	f.StringVar(&o.clusterCA, "cluster-ca-file", "", "`file` with the certificates that kube-root-ca.crt must hold in locked namespaces; in a cluster the default is the Pod's own")
	f.StringSliceVar(&o.clientNames, "client-name", nil, "`name` in that certificate; may be repeated")
	f.StringVar(&o.reconciler, "reconciler-user", "", "user `name` of the reconciler; the default is its ServiceAccount, gitgate-reconciler")
	f.StringVar(&o.user, "user", "", "our own user `name`; the default is the ServiceAccount gitgate-webhook")
	f.StringVar(&o.dryRunAccount, "dry-run-service-account", "gitgate-dryrun", "`ServiceAccount` of our own namespace that makes dry runs and may do nothing else")
	f.StringVar(&o.replica, "replica-name", "", "`name` of this replica in the status of GitSyncs; the default is the host's")
	f.BoolVar(&o.logAllowed, "log-allowed", false, "write plain allows into the decision log as well")
	f.BoolVar(&o.logObjects, "log-objects", false, "write the objects that rules judge into the decision log, values of Secrets masked, for gitgate check --replay; others may hold what is confidential")
	f.BoolVar(&o.policyReports, "policy-reports", false, "judge what is in the cluster by the PolicySets whose admission is not Off, and write reports of openreports.io and wgpolicyk8s.io")
	f.DurationVar(&o.caLifetime, "ca-lifetime", certs.DefaultCALifetime, "how long our own authority lasts")
	f.DurationVar(&o.certLifetime, "cert-lifetime", certs.DefaultLeafLifetime, "how long a serving certificate lasts")
	f.DurationVar(&o.drain, "drain", 5*time.Second, "how long to go on answering when stopping")
	return cmd
}

func (o *webhookOptions) run(ctx context.Context, stdout, stderr io.Writer) error {
	logger, err := o.logger(stderr)
	if err != nil {
		return err
	}
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)
	config, err := o.restConfig()
	if err != nil {
		return err
	}
	out, closeLog, err := openLog(o.decisionLog, stdout)
	if err != nil {
		return err
	}
	defer closeLog()
	ctx = logr.NewContext(ctx, logger)
	mgr, err := o.manager(config, logger)
	if err != nil {
		return fmt.Errorf("the cluster cannot be used: %w", err)
	}
	if err := o.setup(ctx, mgr, config, out); err != nil {
		return err
	}
	logger.Info("gitgate webhook is starting", "version", version, "namespace", o.namespace)
	if err := mgr.Start(ctx); err != nil {
		return &exitError{code: exitUndetermined, err: fmt.Errorf("webhook: %w", err)}
	}
	return nil
}

// setup puts the parts together. What answers the API server is started like all
// else; it puts requests off until the locks are known.
func (o *webhookOptions) setup(ctx context.Context, mgr ctrl.Manager, config *rest.Config, out io.Writer) error {
	dryRunner, err := dryRunIdentity(o.namespace, o.dryRunAccount)
	if err != nil {
		return err
	}
	applier, err := apply.New(apply.Config{REST: config, ResyncPerMinute: -1})
	if err != nil {
		return err
	}
	sources, err := reconcile.NewSources(filepath.Join(o.dataDir, "repositories"), o.loopbackHTTP)
	if err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	w := &webhookParts{
		options: o, mgr: mgr, kube: kube, applier: applier, dryRunner: dryRunner, sources: sources,
		gates: &gates{
			renders: render.NewCache(renderCacheBytes), scope: applier.Scope, system: o.namespace,
			loopbackHTTP: o.loopbackHTTP, imageCache: filepath.Join(o.dataDir, "images"), recallTags: true, lastGood: map[string]goodSet{},
		},
		inventory: lock.NewInventory(), images: &verifiedImages{}, judge: &admissionJudge{},
		events: webhook.NewEvents(mgr.GetEventRecorder("gitgate-webhook"), o.namespace),
	}
	w.judge.images = w.images
	w.rules = o.ruleStore(mgr, w.gates, sources)
	w.sink = newLockSink(o.namespace, w.inventory, w.images, w.changed)
	if w.book, err = newBook(ctx, mgr, config, o.namespace, w.grantUsed, w.grantChanged); err != nil {
		return err
	}
	if out != nil {
		w.decisions = webhook.NewDecisionLog(out)
	}
	return w.assemble(ctx, config)
}
