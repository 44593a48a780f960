package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// A Config says what to look at.
type Config struct {
	// REST reaches the cluster. Mandatory.
	REST *rest.Config
	// Namespace is gitgate's own. Empty means gitgate-system.
	Namespace string
	// Preflight leaves out whatever there is only once gitgate is installed.
	Preflight bool
	// All shows what the control plane's own identities may do, too.
	All bool
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// The names that an installation from deploy/base bears.
const (
	webhookName        = "gitgate-webhook"       // account, Deployment and Service
	reconcilerName     = "gitgate-reconciler"    // account and Deployment
	dryRunName         = "gitgate-dryrun"        // account
	dryRunPolicy       = "gitgate-dry-run"       // what holds it
	ownPodsPolicy      = "gitgate-own-pods"      // what may run in our namespace
	certificateName    = "gitgate-webhook-certs" // the Secret of the serving certificate
	controlPlane       = "kube-system"
	controllerIdentity = "kube-controller-manager" // its lease
)

// A doctor runs the checks of one Run.
type doctor struct {
	Config
	client    client.Client
	discovery discovery.DiscoveryInterface
	http      *http.Client
}

// Run runs every check. An error means that the configuration is unusable; what
// goes wrong with the cluster is in the report.
func Run(ctx context.Context, c Config) (Report, error) {
	d, err := newDoctor(c)
	if err != nil {
		return Report{}, err
	}
	sections := []func(context.Context) []Check{d.server, d.identities, d.rbac}
	if !c.Preflight {
		sections = append(sections, d.installation, d.registration, d.certificate, d.replicas, d.dryRunAccount,
			d.gitSyncs, d.trustPolicies, d.policySets, d.rights)
	}
	var r Report
	for _, s := range sections {
		r.Checks = append(r.Checks, s(ctx)...)
	}
	return r, nil
}

func newDoctor(c Config) (*doctor, error) {
	if c.REST == nil {
		return nil, errors.New("doctor: Config.REST is missing")
	}
	c.Namespace = cmp.Or(c.Namespace, "gitgate-system")
	if c.Now == nil {
		c.Now = time.Now
	}
	c.REST = rest.CopyConfig(c.REST)
	c.REST.WarningHandler = rest.NoWarnings{} // a library does not write to stderr
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, v1alpha1.AddToScheme, apiextensionsv1.AddToScheme} {
		if err := add(s); err != nil {
			return nil, err
		}
	}
	h, err := rest.HTTPClientFor(c.REST)
	if err != nil {
		return nil, fmt.Errorf("doctor: %w", err)
	}
	disco, err := discovery.NewDiscoveryClientForConfigAndClient(c.REST, h)
	if err != nil {
		return nil, fmt.Errorf("doctor: %w", err)
	}
	cl, err := client.New(c.REST, client.Options{Scheme: s, HTTPClient: h})
	if err != nil {
		return nil, fmt.Errorf("doctor: %w", err)
	}
	return &doctor{Config: c, client: cl, discovery: disco, http: h}, nil
}

const (
	pageSize = 500
	maxPages = 200 // a hundred thousand objects
)

// pages calls each for every page of a list.
func pages[L client.ObjectList](ctx context.Context, c client.Reader, empty L, each func(L), options ...client.ListOption) error {
	next := ""
	for range maxPages {
		page := empty.DeepCopyObject().(L) // decoding into a used one mixes both
		if err := c.List(ctx, page, append([]client.ListOption{client.Limit(pageSize), client.Continue(next)}, options...)...); err != nil {
			return err
		}
		each(page)
		if next = page.GetContinue(); next == "" {
			return nil
		}
	}
	return fmt.Errorf("more than %d objects", pageSize*maxPages)
}

// maxReason bounds what is told of an error, which others may have written.
const maxReason = 300

// unknown is a check that an error kept from being made.
func unknown(id, what string, err error) Check {
	reason := clean(err.Error())
	if len(reason) > maxReason {
		reason = reason[:maxReason] + "…"
	}
	c := Check{ID: id, Status: Unknown, Message: fmt.Sprintf("%s could not be read: %s", what, reason)}
	switch {
	case apierrors.IsForbidden(err):
		c.Advice = "run gitgate doctor as somebody who may read the whole cluster"
	case absent(err):
		c.Advice = "install the CRDs and everything else in deploy/base, or ask with --preflight"
	default:
		c.Advice = "see that the API server answers, and try again"
	}
	return c
}

// absent reports whether an error says that an object, or its whole kind, does not
// exist.
func absent(err error) bool { return apierrors.IsNotFound(err) || meta.IsNoMatchError(err) }
