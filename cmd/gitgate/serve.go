package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/apply"
	"gitgate.dev/gitgate/reconcile/render"
)

// gcPercent has the heap grow by half and not to twice its size between two
// collections: a server that rests most of the time had better be small. The
// environment variable GOGC says otherwise.
const gcPercent = 50

// renderCacheBytes bounds what parsed manifests may occupy.
const renderCacheBytes = 256 << 20

// A serveOptions holds the flags of gitgate serve.
type serveOptions struct {
	kubeconfig      string
	namespace       string
	dataDir         string
	metricsAddr     string
	healthAddr      string
	leaderElect     bool
	concurrency     int
	decisionLog     string
	logLevel        string
	logFormat       string
	loopbackHTTP    bool
	resyncInterval  time.Duration
	shutdownTimeout time.Duration
	dryRunAccount   string
}

func newServeCommand() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:     "serve",
		GroupID: serverGroup,
		Short:   "Run the reconciler",
		Long: `serve watches GitSyncs and applies what passes every gate, until it is
interrupted. What it was applying then is on record and goes on at the next start.

Several replicas may run: one leads, the others wait.`,
		Example: `  # in a cluster
  gitgate serve --data-dir /var/lib/gitgate

  # against the cluster of a kubeconfig, with decisions in a file
  gitgate serve --kubeconfig ~/.kube/config --data-dir ./data --decision-log decisions.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	o.common(f)
	f.BoolVar(&o.leaderElect, "leader-elect", true, "let one of several replicas lead")
	f.IntVar(&o.concurrency, "concurrency", 4, "how many GitSyncs are worked on at once")
	f.StringVar(&o.dryRunAccount, "dry-run-service-account", "", "`ServiceAccount` of our own namespace that makes the dry runs under fresh names; the webhook refuses them to everybody else. Empty leaves them to who applies")
	f.DurationVar(&o.resyncInterval, "resync-interval", time.Hour, "how often every applied object is read and compared whatever the watches said, 15 a minute at most")
	f.DurationVar(&o.shutdownTimeout, "shutdown-timeout", 30*time.Second, "how long to wait for the requests under way when stopping")
	return cmd
}

// common registers the flags of every server.
func (o *serveOptions) common(f *pflag.FlagSet) {
	f.StringVar(&o.kubeconfig, "kubeconfig", os.Getenv("KUBECONFIG"), "`file` to reach the cluster with; empty means from inside of it")
	f.StringVar(&o.namespace, "namespace", envOr("POD_NAMESPACE", "gitgate-system"), "gitgate's own `namespace`: GitSyncs in it may reach the whole cluster")
	f.StringVar(&o.dataDir, "data-dir", "/var/lib/gitgate", "`directory` for clones and what was applied; losing it costs time, and what is refused by then is not held to Git until a revision passes")
	f.StringVar(&o.metricsAddr, "metrics-bind-address", ":8080", "`address` of the metrics; 0 turns them off")
	f.StringVar(&o.healthAddr, "health-probe-bind-address", ":8081", "`address` of /healthz and /readyz; 0 turns them off")
	f.StringVar(&o.decisionLog, "decision-log", "-", "`file` for decisions, one JSON object a line; - is standard output, empty is none")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.logFormat, "log-format", "text", "text or json")
	f.BoolVar(&o.loopbackHTTP, "allow-loopback-http", false, "allow plain HTTP to repositories and registries on this machine, for trying things out")
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func (o *serveOptions) run(ctx context.Context, stdout, stderr io.Writer) error {
	logger, err := o.logger(stderr)
	if err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)
	config, err := o.restConfig()
	if err != nil {
		return err
	}
	log, closeLog, err := openLog(o.decisionLog, stdout)
	if err != nil {
		return err
	}
	defer closeLog()
	mgr, err := o.manager(config, logger)
	if err != nil {
		return fmt.Errorf("the cluster cannot be used: %w", err)
	}
	if err := o.setup(ctx, mgr, config, reconcile.NewDecisionLog(log)); err != nil {
		return err
	}
	logger.Info("gitgate is starting", "version", version, "namespace", o.namespace)
	if err := mgr.Start(logr.NewContext(ctx, logger)); err != nil {
		return &exitError{code: exitUndetermined, err: fmt.Errorf("serve: %w", err)}
	}
	return nil
}

func (o *serveOptions) logger(out io.Writer) (logr.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return logr.Logger{}, fmt.Errorf("--log-level %q: want debug, info, warn or error", o.logLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	switch o.logFormat {
	case "json":
		return logr.FromSlogHandler(slog.NewJSONHandler(out, options)), nil
	case "text":
		return logr.FromSlogHandler(slog.NewTextHandler(out, options)), nil
	}
	return logr.Logger{}, fmt.Errorf("--log-format %q: want text or json", o.logFormat)
}

func (o *serveOptions) restConfig() (*rest.Config, error) {
	config, err := rest.InClusterConfig()
	if o.kubeconfig != "" || errors.Is(err, rest.ErrNotInCluster) {
		rules := clientcmd.NewDefaultClientConfigLoadingRules()
		rules.ExplicitPath = o.kubeconfig
		config, err = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	}
	if err != nil {
		return nil, fmt.Errorf("no cluster to connect to: %w; set --kubeconfig, or run inside of a cluster", err)
	}
	config.UserAgent = "gitgate/" + version
	config.QPS = -1 // the API server's own fairness decides
	return config, nil
}

func (o *serveOptions) manager(config *rest.Config, logger logr.Logger) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return ctrl.NewManager(config, ctrl.Options{
		Scheme:                        scheme,
		Logger:                        logger,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              "gitgate-reconciler",
		LeaderElectionNamespace:       o.namespace,
		LeaderElectionReleaseOnCancel: true,
		HealthProbeBindAddress:        o.healthAddr,
		Metrics:                       metricsserver.Options{BindAddress: o.metricsAddr},
		GracefulShutdownTimeout:       &o.shutdownTimeout,
	})
}

func (o *serveOptions) setup(ctx context.Context, mgr ctrl.Manager, config *rest.Config, decisions *reconcile.DecisionLog) error {
	var reconciler *reconcile.Reconciler
	dryRunner, err := dryRunIdentity(o.namespace, o.dryRunAccount)
	if err != nil {
		return err
	}
	book, err := newBook(ctx, mgr, config, o.namespace, nil, nil)
	if err != nil {
		return err
	}
	applier, err := apply.New(apply.Config{REST: config, ResyncInterval: o.resyncInterval, DryRunner: dryRunner, Held: book.Held, OnDrift: func(d apply.Drift) { reconciler.OnDrift(d) }})
	if err != nil {
		return err
	}
	sources, err := reconcile.NewSources(filepath.Join(o.dataDir, "repositories"), o.loopbackHTTP)
	if err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	builder := &gates{
		renders: render.NewCache(renderCacheBytes), scope: applier.Scope, system: o.namespace, loopbackHTTP: o.loopbackHTTP,
		lastGood: map[string]goodSet{},
	}
	reconciler = reconcile.New(reconcile.Config{
		Client: mgr.GetClient(), Direct: mgr.GetAPIReader(), Applier: applier, Sources: sources, Gates: builder,
		Rules:    o.ruleStore(mgr, builder, sources),
		Recorder: mgr.GetEventRecorder("gitgate"), Metrics: reconcile.NewMetrics(metrics.Registry),
		Decisions: decisions, SystemNamespace: o.namespace, Concurrency: o.concurrency,
	})
	if err := reconciler.SetupWithManager(mgr); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	return mgr.AddReadyzCheck("cache", cacheSynced(mgr))
}

// ruleStore makes what holds the rules of PolicySets that come from elsewhere.
func (o *serveOptions) ruleStore(mgr ctrl.Manager, builder *gates, sources *reconcile.Sources) *reconcile.RuleStore {
	return reconcile.NewRuleStore(reconcile.RuleStoreConfig{
		Client: mgr.GetClient(), Direct: mgr.GetAPIReader(), Gates: builder, Sources: sources, SystemNamespace: o.namespace,
		Bundles: ruleBundles{loopbackHTTP: o.loopbackHTTP}, Dir: filepath.Join(o.dataDir, "bundles"),
	})
}

// dryRunIdentity is the zero identity for an empty name.
func dryRunIdentity(namespace, name string) (apply.Identity, error) {
	if name == "" {
		return apply.Identity{}, nil
	}
	id, err := apply.ServiceAccount(namespace, name)
	if err != nil {
		return id, fmt.Errorf("--dry-run-service-account: %w", err)
	}
	return id, nil
}

// openLog opens the file of the decision log for appending; only its owner may read
// it. It is nil where there is to be none.
func openLog(path string, stdout io.Writer) (io.Writer, func(), error) {
	switch path {
	case "":
		return nil, func() {}, nil
	case "-":
		return stdout, func() {}, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("--decision-log: %w", err)
	}
	return f, func() { f.Close() }, nil
}

// cacheSynced is ready once the kinds that drive us have been read.
func cacheSynced(mgr ctrl.Manager) healthz.Checker {
	return func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return errors.New("the cache is not synced yet")
		}
		return nil
	}
}
