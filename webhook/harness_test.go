package webhook_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	arv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	arclient "k8s.io/client-go/kubernetes/typed/admissionregistration/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"

	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/webhook"
	"gitgate.dev/gitgate/webhook/certs"
	"gitgate.dev/gitgate/webhook/lock"
	"gitgate.dev/gitgate/webhook/registration"
)

const (
	system      = "gitgate-system"
	webhookUser = "system:serviceaccount:gitgate-system:gitgate-webhook"
	dryRunUser  = "system:serviceaccount:gitgate-system:gitgate-dryrun"
	tlsSecret   = "gitgate-webhook-certs"
	// patience bounds waiting on a busy machine.
	patience = 2 * time.Minute
)

// A script is a Decider that does what a test says.
type script struct {
	decide atomic.Pointer[func(context.Context, *admissionv1.AdmissionRequest) lock.Answer]
	seen   atomic.Int64
}

func (s *script) set(f func(context.Context, *admissionv1.AdmissionRequest) lock.Answer) {
	s.decide.Store(&f)
}

func (s *script) Decide(ctx context.Context, req *admissionv1.AdmissionRequest) lock.Answer {
	s.seen.Add(1)
	return (*s.decide.Load())(ctx, req)
}

func allow(context.Context, *admissionv1.AdmissionRequest) lock.Answer {
	return lock.Answer{Allowed: true}
}

// forConfigMaps lets decide judge the ConfigMaps of the namespace default and
// allows all else, so that the control plane can live.
func forConfigMaps(decide func(context.Context, *admissionv1.AdmissionRequest) lock.Answer) func(context.Context, *admissionv1.AdmissionRequest) lock.Answer {
	return func(ctx context.Context, req *admissionv1.AdmissionRequest) lock.Answer {
		if req.Resource.Resource == "configmaps" && req.Namespace == "default" {
			return decide(ctx, req)
		}
		return allow(ctx, req)
	}
}

// webhookRules are the rights of the webhook's account that this package and
// registration need.
var webhookRules = []rbacv1.PolicyRule{
	{APIGroups: []string{"admissionregistration.k8s.io"}, Verbs: []string{"get", "list", "watch", "create", "update", "delete"},
		Resources: []string{"validatingwebhookconfigurations", "validatingadmissionpolicies", "validatingadmissionpolicybindings"}},
	{APIGroups: []string{"apiextensions.k8s.io"}, Verbs: []string{"list", "watch"}, Resources: []string{"customresourcedefinitions"}},
	{APIGroups: []string{"apiregistration.k8s.io"}, Verbs: []string{"list", "watch"}, Resources: []string{"apiservices"}},
	{APIGroups: []string{""}, Verbs: []string{"create"}, Resources: []string{"secrets"}},
	{APIGroups: []string{"events.k8s.io"}, Verbs: []string{"create", "patch", "update"}, Resources: []string{"events"}},
	{APIGroups: []string{""}, Verbs: []string{"get", "watch", "update"}, Resources: []string{"secrets"}, ResourceNames: []string{tlsSecret}},
}

// A rig is a control plane whose writes go through a webhook.
type rig struct {
	t         testing.TB
	cluster   *cluster.Cluster
	alice     kubernetes.Interface
	own       kubernetes.Interface // as the webhook's account
	decider   *script
	certs     *certs.Managed
	registrar *registration.Registrar
	registry  *prometheus.Registry
	mode      atomic.Value
	ready     atomic.Bool
	address   string

	handler    atomic.Pointer[webhook.Server]
	stopServer func()
	server     *sync.WaitGroup
}

// options change a rig before it starts.
type options struct {
	cluster cluster.Options
	webhook func(*webhook.Config)
	certs   func(*certs.Config)
	config  func(*registration.Config)
	idle    bool // not ready until the test says so
}

func newRig(t testing.TB, o options) *rig {
	t.Helper()
	r := &rig{t: t, cluster: cluster.New(t, o.cluster), decider: &script{}, registry: prometheus.NewRegistry(), server: &sync.WaitGroup{}}
	r.decider.set(allow)
	r.mode.Store(lock.Enforce)
	r.ready.Store(!o.idle)
	r.access()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	r.address = listener.Addr().String()
	cc := certs.Config{Secrets: r.own.CoreV1().Secrets(system), Name: tlsSecret, Hosts: []string{"127.0.0.1"},
		Trusted: func(b []byte) bool { return r.registrar.Trusts(b) }}
	if o.certs != nil {
		o.certs(&cc)
	}
	r.certs, err = certs.NewManaged(cc)
	must(t, err)
	r.serve(listener, o.webhook)
	meta, err := metadata.NewForConfig(r.cluster.ConfigFor(webhookUser, "system:serviceaccounts"))
	must(t, err)
	rc := registration.Config{
		Recorder: r.recorder(),
		Client:   r.own, Metadata: meta, Namespace: system, Secret: tlsSecret, URL: "https://" + r.address + webhook.Path,
		Bundle: r.certs.Bundle, Refresh: r.certs.Sync, Ready: r.ready.Load, Mode: func() lock.Mode { return r.mode.Load().(lock.Mode) },
		Metrics: r.registry, Reached: func() bool { return r.handler.Load().Reached() },
	}
	if o.config != nil {
		o.config(&rc)
	}
	r.registrar, err = registration.New(rc)
	must(t, err)
	r.start(r.registrar.Start)
	if !o.idle && r.mode.Load() == lock.Enforce {
		r.waitInstalled()
	}
	return r
}

// access makes the namespace and the rights of the webhook's account.
func (r *rig) access() {
	must(r.t, r.cluster.EnsureNamespace(r.t.Context(), system))
	admin := r.cluster.Client().RbacV1()
	_, err := admin.ClusterRoles().Create(r.t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "gitgate-webhook"}, Rules: webhookRules,
	}, metav1.CreateOptions{})
	must(r.t, err)
	_, err = admin.ClusterRoleBindings().Create(r.t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "gitgate-webhook"},
		RoleRef:    rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "gitgate-webhook"},
		Subjects:   []rbacv1.Subject{{Kind: "User", APIGroup: "rbac.authorization.k8s.io", Name: webhookUser}},
	}, metav1.CreateOptions{})
	must(r.t, err)
	r.alice = r.as(cluster.Alice)
	r.own = r.as(webhookUser, "system:serviceaccounts")
}

// serve starts a server; the one before must be stopped.
func (r *rig) serve(listener net.Listener, change func(*webhook.Config)) {
	c := webhook.Config{
		Listener: listener, Certificates: r.certs, Decider: r.decider, Ready: r.ready.Load,
		Metrics: webhook.NewMetrics(prometheus.WrapRegistererWithPrefix("", prometheus.NewRegistry()), webhook.Gauges{}),
	}
	c.Events = webhook.NewEvents(r.recorder(), system)
	if change != nil {
		change(&c)
	}
	s, err := webhook.New(c)
	must(r.t, err)
	r.handler.Store(s)
	ctx, cancel := context.WithCancel(context.Background())
	r.server.Go(func() {
		if err := s.Start(ctx); err != nil {
			r.t.Errorf("the server ended: %v", err)
		}
	})
	r.stopServer = cancel
	r.t.Cleanup(func() { cancel(); r.server.Wait() })
}

// kill stops the server and waits until it is gone.
func (r *rig) kill() {
	r.stopServer()
	r.server.Wait()
}

// revive starts a server where the last one was.
func (r *rig) revive() {
	listener, err := net.Listen("tcp", r.address)
	must(r.t, err)
	r.serve(listener, nil)
}

// recorder writes events as the webhook's account.
func (r *rig) recorder() events.EventRecorder {
	b := events.NewBroadcaster(&events.EventSinkImpl{Interface: r.own.EventsV1()})
	must(r.t, b.StartRecordingToSinkWithContext(r.t.Context()))
	r.t.Cleanup(b.Shutdown)
	return b.NewRecorder(scheme.Scheme, "gitgate-webhook")
}

// event waits for an event of a reason in a namespace.
func (r *rig) event(namespace, reason string) eventsv1.Event {
	r.t.Helper()
	var found eventsv1.Event
	eventually(r.t, "event "+reason, func(ctx context.Context) bool {
		list, err := r.cluster.Client().EventsV1().Events(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false
		}
		for _, e := range list.Items {
			if e.Reason == reason {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// start runs something until the test ends.
func (r *rig) start(run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := run(ctx); err != nil {
			r.t.Errorf("ended: %v", err)
		}
	})
	r.t.Cleanup(func() { cancel(); wg.Wait() })
}

func (r *rig) as(user string, groups ...string) kubernetes.Interface {
	return clientFor(r.t, r.cluster.ConfigFor(user, groups...))
}

// impersonate is alice pretending to be user.
func (r *rig) impersonate(user string, groups ...string) kubernetes.Interface {
	c := r.cluster.ConfigFor(cluster.Alice)
	c.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
	return clientFor(r.t, c)
}

func clientFor(t testing.TB, c *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(c)
	must(t, err)
	return client
}

// waitInstalled waits until the API server asks the webhook.
func (r *rig) waitInstalled() {
	r.t.Helper()
	marker := "asked-" + fmt.Sprint(time.Now().UnixNano())
	var asked atomic.Bool
	old := *r.decider.decide.Load()
	r.decider.set(func(ctx context.Context, req *admissionv1.AdmissionRequest) lock.Answer {
		if req.Name == marker {
			asked.Store(true)
		}
		return old(ctx, req)
	})
	defer r.decider.set(old)
	defer r.fence()
	eventually(r.t, "the webhook being asked", func(ctx context.Context) bool {
		_, err := r.cluster.Client().CoreV1().ConfigMaps("default").Create(ctx, configMap(marker), metav1.CreateOptions{DryRun: []string{"All"}})
		return asked.Load() && err == nil
	})
	// Policies are compiled on their own time.
	eventually(r.t, "the policies being in force", func(ctx context.Context) bool {
		_, err := r.impersonate(dryRunUser, "system:masters").CoreV1().ConfigMaps("default").Create(ctx, configMap(marker), metav1.CreateOptions{})
		_, otherErr := r.impersonate("system:apiserver", "system:masters").SchedulingV1().PriorityClasses().Create(ctx,
			&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "marker"}, Value: 1}, metav1.CreateOptions{DryRun: []string{"All"}})
		return apierrors.IsForbidden(err) && apierrors.IsForbidden(otherErr)
	})
}

// fence waits until the API server knows that the webhook must not fail: it reads
// webhook configurations in the order in which they are written, so it does once it
// heeds one that was written later.
func (r *rig) fence() {
	r.t.Helper()
	eventually(r.t, "failurePolicy Fail", func(ctx context.Context) bool {
		live, err := r.configuration(ctx)
		return err == nil && *live.Webhooks[len(live.Webhooks)-1].FailurePolicy == arv1.Fail
	})
	api := r.injector().ValidatingWebhookConfigurations()
	nowhere, none := "https://127.0.0.1:1/", arv1.SideEffectClassNone
	_, err := api.Create(r.t.Context(), &arv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "fence"},
		Webhooks: []arv1.ValidatingWebhook{{
			Name: "fence.example.com", ClientConfig: arv1.WebhookClientConfig{URL: &nowhere}, SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
			Rules: []arv1.RuleWithOperations{{Operations: []arv1.OperationType{arv1.Create}, Rule: arv1.Rule{
				APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"},
			}}},
			MatchConditions: []arv1.MatchCondition{{Name: "name", Expression: "request.name == 'fence'"}},
		}},
	}, metav1.CreateOptions{})
	must(r.t, err)
	eventually(r.t, "the fence", func(ctx context.Context) bool {
		_, err := r.cluster.Client().CoreV1().ConfigMaps("default").Create(ctx, configMap("fence"), metav1.CreateOptions{DryRun: []string{"All"}})
		return err != nil && strings.Contains(err.Error(), "fence.example.com")
	})
	must(r.t, api.Delete(r.t.Context(), "fence", metav1.DeleteOptions{}))
	r.fencePolicies()
}

// injector is somebody who may write registrations, whatever guards them.
func (r *rig) injector() arclient.AdmissionregistrationV1Interface {
	return r.impersonate("system:serviceaccount:cert-manager:cert-manager-cainjector", "system:masters").AdmissionregistrationV1()
}

// fencePolicies waits until the API server holds requests to all policies that were
// written so far: it takes them up all at once, every now and then.
func (r *rig) fencePolicies() {
	r.t.Helper()
	api := r.injector()
	_, err := api.ValidatingAdmissionPolicies().Create(r.t.Context(), &arv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "fence"},
		Spec: arv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &arv1.MatchResources{ResourceRules: []arv1.NamedRuleWithOperations{{RuleWithOperations: arv1.RuleWithOperations{
				Operations: []arv1.OperationType{arv1.Create},
				Rule:       arv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}}}},
			Validations: []arv1.Validation{{Expression: "object.metadata.name != 'fence'"}},
		},
	}, metav1.CreateOptions{})
	must(r.t, err)
	_, err = api.ValidatingAdmissionPolicyBindings().Create(r.t.Context(), &arv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "fence"},
		Spec:       arv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: "fence", ValidationActions: []arv1.ValidationAction{arv1.Deny}},
	}, metav1.CreateOptions{})
	must(r.t, err)
	eventually(r.t, "the fence of policies", func(ctx context.Context) bool {
		_, err := r.cluster.Client().CoreV1().ConfigMaps("default").Create(ctx, configMap("fence"), metav1.CreateOptions{DryRun: []string{"All"}})
		return err != nil && strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'fence'")
	})
	must(r.t, api.ValidatingAdmissionPolicies().Delete(r.t.Context(), "fence", metav1.DeleteOptions{}))
	must(r.t, api.ValidatingAdmissionPolicyBindings().Delete(r.t.Context(), "fence", metav1.DeleteOptions{}))
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func eventually(t testing.TB, what string, ok func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !ok(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s", what, patience)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
