package registration

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/events"

	"gitgate.dev/gitgate/webhook/lock"
)

// DefaultRelaxAfter is for how long a replica must want less before it gets it.
const DefaultRelaxAfter = time.Minute

// A Service is where the API server finds the webhook inside of the cluster.
type Service struct {
	Namespace, Name string
	Port            int32
}

// A Config configures a [Registrar].
type Config struct {
	Client kubernetes.Interface
	// Metadata watches CustomResourceDefinitions and APIServices, whose changes
	// change what there is to pin. Nil means to look every five minutes only.
	Metadata metadata.Interface

	// Namespace is gitgate's own.
	Namespace string
	// Webhook, Reconciler and DryRunner are user names. Empty means the service
	// accounts gitgate-webhook, gitgate-reconciler and gitgate-dryrun in Namespace.
	Webhook, Reconciler, DryRunner string
	// Secret is the name of the Secret that the webhook keeps its certificates in;
	// empty if it keeps none.
	Secret string

	// Service or URL is where the API server is to ask. The URL is https and
	// includes the path; with it the webhook may run as a static Pod.
	Service *Service
	URL     string
	Path    string

	// Bundle is what the API server must trust, in PEM. Refresh, if not nil, is
	// called before a bundle that differs is replaced: another replica may have
	// rotated it.
	Bundle  func() []byte
	Refresh func(context.Context) error

	// Ready reports whether requests can be judged. Nothing is installed before.
	Ready func() bool
	// Mode is the strictest mode of any lock.
	Mode func() lock.Mode
	// Versions returns the version that the desired state of a resource's objects
	// is in, empty if there are none. Nil means none.
	Versions func(schema.GroupResource) string
	// OwnPods are the templates of our own workloads. Without any, our Pods cannot
	// be made while the webhook is down.
	OwnPods func() []Template

	// Reached reports whether the API server has ever asked this replica. Until it
	// has, Enforce is installed as Audit is: an API server that cannot reach the
	// webhook would refuse every write. Where Enforce is in force already, nobody
	// asks. Nil means to go ahead.
	Reached func() bool

	// RelaxAfter is how long this replica must have wanted a laxer mode before it
	// takes effect. Zero means DefaultRelaxAfter.
	RelaxAfter time.Duration

	// Recorder and Metrics may be nil.
	Recorder events.EventRecorder
	Metrics  prometheus.Registerer
}

var (
	errClient   = errors.New("registration: no client")
	errEndpoint = errors.New("registration: want a service or a URL, and not both")
	errURL      = errors.New("registration: the URL must be https")
	errFuncs    = errors.New("registration: Bundle, Ready and Mode are required")
	errOwn      = errors.New("registration: no namespace")
)

func (c Config) complete() (Config, error) {
	switch {
	case c.Client == nil:
		return c, errClient
	case (c.Service == nil) == (c.URL == ""):
		return c, errEndpoint
	case c.Bundle == nil || c.Ready == nil || c.Mode == nil:
		return c, errFuncs
	case c.Namespace == "":
		return c, errOwn
	}
	if c.URL != "" {
		if u, err := url.Parse(c.URL); err != nil || u.Scheme != "https" || u.Host == "" {
			return c, errURL
		}
	}
	c.Webhook = cmp.Or(c.Webhook, account(c.Namespace, "gitgate-webhook"))
	c.Reconciler = cmp.Or(c.Reconciler, account(c.Namespace, "gitgate-reconciler"))
	c.DryRunner = cmp.Or(c.DryRunner, account(c.Namespace, "gitgate-dryrun"))
	c.RelaxAfter = cmp.Or(c.RelaxAfter, DefaultRelaxAfter)
	c.Path = cmp.Or(c.Path, "/admit")
	return c, nil
}
