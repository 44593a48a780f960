package webhook_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"

	arv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"

	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/webhook"
	"gitgate.dev/gitgate/webhook/certs"
	"gitgate.dev/gitgate/webhook/lock"
	"gitgate.dev/gitgate/webhook/registration"
)

func (r *rig) configuration(ctx context.Context) (*arv1.ValidatingWebhookConfiguration, error) {
	return r.cluster.Client().AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, registration.Name, metav1.GetOptions{})
}

// TestRegistrationOrder installs nothing before the inventory is synced.
func TestRegistrationOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{idle: true, cluster: cluster.Options{ControllerManager: true}})
	time.Sleep(2 * time.Second)
	if _, err := r.configuration(t.Context()); !apierrors.IsNotFound(err) {
		t.Fatalf("before the inventory is synced: %v, want that there is no configuration", err)
	}
	r.ready.Store(true)
	r.waitInstalled()
	live, err := r.configuration(t.Context())
	must(t, err)
	if len(live.Webhooks) != 2 {
		t.Fatalf("%d webhooks, want one for pinned versions and one for the rest", len(live.Webhooks))
	}
	for _, hook := range live.Webhooks {
		if *hook.FailurePolicy != arv1.Fail || *hook.TimeoutSeconds != 5 || *hook.SideEffects != arv1.SideEffectClassNone ||
			*hook.MatchPolicy != arv1.Equivalent || len(hook.NamespaceSelector.MatchLabels)+len(hook.NamespaceSelector.MatchExpressions)+
			len(hook.ObjectSelector.MatchLabels)+len(hook.ObjectSelector.MatchExpressions) != 0 {
			t.Errorf("%s is weaker than it must be: %+v", hook.Name, hook)
		}
	}
	// The controller that type-checks policies finds nothing to warn of.
	api := r.cluster.Client().AdmissionregistrationV1().ValidatingAdmissionPolicies()
	eventually(t, "type checks", func(ctx context.Context) bool {
		list, err := api.List(ctx, metav1.ListOptions{})
		if err != nil || len(list.Items) < 15 {
			return false
		}
		for _, p := range list.Items {
			if p.Status.ObservedGeneration != p.Generation {
				return false
			}
		}
		return true
	})
	list, err := api.List(t.Context(), metav1.ListOptions{})
	must(t, err)
	for _, p := range list.Items {
		if p.Status.TypeChecking != nil && p.Name != "gitgate-dry-run" {
			for _, w := range p.Status.TypeChecking.ExpressionWarnings {
				t.Errorf("%s: %s: %s", p.Name, w.FieldRef, w.Warning)
			}
		}
	}
}

// TestAttack_K20 deletes and weakens what we installed, in every way.
func TestAttack_K20(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{config: func(c *registration.Config) {
		c.OwnPods = func() []registration.Template { return []registration.Template{ownTemplate} }
	}})
	api := r.alice.AdmissionregistrationV1()
	edit := func(change func(*arv1.ValidatingWebhookConfiguration)) func(context.Context) error {
		return func(ctx context.Context) error {
			live, err := api.ValidatingWebhookConfigurations().Get(ctx, registration.Name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			change(live)
			_, err = api.ValidatingWebhookConfigurations().Update(ctx, live, metav1.UpdateOptions{})
			return err
		}
	}
	editPolicy := func(change func(*arv1.ValidatingAdmissionPolicy)) func(context.Context) error {
		return func(ctx context.Context) error {
			live, err := api.ValidatingAdmissionPolicies().Get(ctx, "gitgate-dry-run", metav1.GetOptions{})
			if err != nil {
				return err
			}
			change(live)
			_, err = api.ValidatingAdmissionPolicies().Update(ctx, live, metav1.UpdateOptions{})
			return err
		}
	}
	ignore := arv1.Ignore
	never := arv1.MatchCondition{Name: "never", Expression: "false"}
	for name, attack := range map[string]func(context.Context) error{
		"Delete": func(ctx context.Context) error {
			return api.ValidatingWebhookConfigurations().Delete(ctx, registration.Name, metav1.DeleteOptions{})
		},
		"FailurePolicy": edit(func(c *arv1.ValidatingWebhookConfiguration) { c.Webhooks[1].FailurePolicy = &ignore }),
		"CABundle":      edit(func(c *arv1.ValidatingWebhookConfiguration) { c.Webhooks[0].ClientConfig.CABundle = nil }),
		"NamespaceSelector": edit(func(c *arv1.ValidatingWebhookConfiguration) {
			c.Webhooks[1].NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
		}),
		"ObjectSelector": edit(func(c *arv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
		}),
		"MatchCondition": edit(func(c *arv1.ValidatingWebhookConfiguration) {
			c.Webhooks[1].MatchConditions = append(c.Webhooks[1].MatchConditions, never)
		}),
		"Rules": edit(func(c *arv1.ValidatingWebhookConfiguration) {
			c.Webhooks[1].Rules[0].Operations = []arv1.OperationType{arv1.Connect}
		}),
		"URL": edit(func(c *arv1.ValidatingWebhookConfiguration) {
			url := "https://127.0.0.1:1/allow"
			c.Webhooks[1].ClientConfig.URL = &url
		}),
		"Timeout": edit(func(c *arv1.ValidatingWebhookConfiguration) { *c.Webhooks[1].TimeoutSeconds = 1 }),
		"Hook":    edit(func(c *arv1.ValidatingWebhookConfiguration) { c.Webhooks = c.Webhooks[:1] }),
		"Finalizer": edit(func(c *arv1.ValidatingWebhookConfiguration) {
			c.Finalizers = []string{"example.com/hold"}
		}),
		"Owner": edit(func(c *arv1.ValidatingWebhookConfiguration) {
			c.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Namespace", Name: "gone", UID: "gone"}}
		}),
		"DeletePolicy": func(ctx context.Context) error {
			return api.ValidatingAdmissionPolicies().Delete(ctx, "gitgate-dry-run", metav1.DeleteOptions{})
		},
		"DeleteBinding": func(ctx context.Context) error {
			return api.ValidatingAdmissionPolicyBindings().Delete(ctx, "gitgate-own-pods", metav1.DeleteOptions{})
		},
		"WeakenPolicy": editPolicy(func(p *arv1.ValidatingAdmissionPolicy) { p.Spec.Validations = p.Spec.Validations[:1] }),
		"NarrowPolicy": editPolicy(func(p *arv1.ValidatingAdmissionPolicy) {
			p.Spec.MatchConditions = append(p.Spec.MatchConditions, never)
		}),
	} {
		t.Run(name, func(t *testing.T) { // one after the other: each starts from what is right
			before := r.state(t)
			must(t, attack(t.Context()))
			start := time.Now()
			eventually(t, "restoration", func(context.Context) bool { return r.state(t) == before })
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("restored after %s, want 5 s at most", took)
			}
		})
	}
	if e := r.event("default", "RegistrationRestored"); !strings.Contains(e.Note, "was restored") {
		t.Errorf("event = %+v", e)
	}
	if n := metricSum(t, r.registry, "gitgate_registration_restorations_total"); n < 16 {
		t.Errorf("%v restorations counted, want 16", n)
	}
}

// state is all that we installed, without what the API server adds.
func (r *rig) state(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	live, err := r.configuration(t.Context())
	if err == nil {
		encode(t, &b, live.ObjectMeta, live.Webhooks)
	}
	api := r.cluster.Client().AdmissionregistrationV1()
	policies, err := api.ValidatingAdmissionPolicies().List(t.Context(), metav1.ListOptions{})
	must(t, err)
	for _, p := range policies.Items {
		encode(t, &b, p.ObjectMeta, p.Spec)
	}
	bindings, err := api.ValidatingAdmissionPolicyBindings().List(t.Context(), metav1.ListOptions{})
	must(t, err)
	for _, p := range bindings.Items {
		encode(t, &b, p.ObjectMeta, p.Spec)
	}
	return b.String()
}

// TestModes walks through the modes: stricter at once, laxer after a while.
func TestModes(t *testing.T) {
	t.Parallel()
	const patient = 3 * time.Second
	r := newRig(t, options{idle: true, config: func(c *registration.Config) { c.RelaxAfter = patient }})
	r.mode.Store(lock.Off)
	r.ready.Store(true)
	api := r.cluster.Client().AdmissionregistrationV1()
	eventually(t, "the policy on the dry-run account", func(ctx context.Context) bool {
		_, err := api.ValidatingAdmissionPolicyBindings().Get(ctx, "gitgate-dry-run", metav1.GetOptions{})
		return err == nil
	})
	if _, err := r.configuration(t.Context()); !apierrors.IsNotFound(err) {
		t.Errorf("while no lock is on: %v, want no webhook", err)
	}
	is := r.inForce
	r.mode.Store(lock.Audit)
	eventually(t, "Audit", is(arv1.Ignore, arv1.Audit))
	r.mode.Store(lock.Enforce)
	eventually(t, "Enforce", is(arv1.Fail, arv1.Deny))
	r.mode.Store(lock.Audit)
	start := time.Now()
	eventually(t, "Audit again", is(arv1.Ignore, arv1.Audit))
	if took := time.Since(start); took < patient {
		t.Errorf("laxer after %s already", took)
	}
	r.mode.Store(lock.Mode("?"))
	eventually(t, "an unknown mode enforces", is(arv1.Fail, arv1.Deny))
	r.mode.Store(lock.Off)
	eventually(t, "Off", func(ctx context.Context) bool {
		_, err := r.configuration(ctx)
		_, bindingErr := api.ValidatingAdmissionPolicyBindings().Get(ctx, "gitgate-node-status", metav1.GetOptions{})
		return apierrors.IsNotFound(err) && apierrors.IsNotFound(bindingErr)
	})
	if n := metricSum(t, r.registry, "gitgate_registration_restorations_total"); n != 0 {
		t.Errorf("%v restorations counted, where nobody but us changed anything", n)
	}
}

// TestUnreachable does not lock a cluster whose API server cannot reach the
// webhook, and locks it once it can.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{idle: true})
	r.kill()
	r.ready.Store(true)
	must(t, r.certs.Sync(t.Context()))
	eventually(t, "the trial", func(ctx context.Context) bool {
		live, err := r.configuration(ctx)
		return err == nil && *live.Webhooks[0].FailurePolicy == arv1.Ignore && metricSum(t, r.registry, "gitgate_registration_unproven_total") > 3
	})
	_, err := r.alice.CoreV1().ConfigMaps("default").Create(t.Context(), configMap("free"), metav1.CreateOptions{})
	must(t, err)
	r.revive()
	eventually(t, "Enforce", func(ctx context.Context) bool {
		live, err := r.configuration(ctx)
		return err == nil && *live.Webhooks[0].FailurePolicy == arv1.Fail
	})
	// Once it enforces, being out of reach changes nothing.
	r.kill()
	eventually(t, "writes being refused", func(ctx context.Context) bool {
		_, err := r.alice.CoreV1().ConfigMaps("default").Create(ctx, configMap("refused"), metav1.CreateOptions{DryRun: dryRun})
		return err != nil && strings.Contains(err.Error(), "failed calling webhook")
	})
	must(t, r.alice.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(t.Context(), registration.Name, metav1.DeleteOptions{}))
	eventually(t, "restoration", func(ctx context.Context) bool {
		live, err := r.configuration(ctx)
		return err == nil && *live.Webhooks[0].FailurePolicy == arv1.Fail
	})
}

// TestReplicas runs a second replica: both want the same, and nobody writes
// without need.
func TestReplicas(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	meta, err := metadata.NewForConfig(r.cluster.ConfigFor(webhookUser, "system:serviceaccounts"))
	must(t, err)
	managed, err := certs.NewManaged(certs.Config{Secrets: r.own.CoreV1().Secrets(system), Name: tlsSecret, Hosts: []string{"127.0.0.1"}})
	must(t, err)
	must(t, managed.Sync(t.Context()))
	registry := prometheus.NewRegistry()
	second, err := registration.New(registration.Config{
		Client: r.own, Metadata: meta, Namespace: system, Secret: tlsSecret, URL: "https://" + r.address + webhook.Path,
		Bundle: managed.Bundle, Refresh: managed.Sync, Ready: func() bool { return true }, Mode: func() lock.Mode { return lock.Enforce },
		Metrics: registry,
	})
	must(t, err)
	r.start(second.Start)
	time.Sleep(2 * time.Second)
	before := r.versions(t)
	time.Sleep(4 * time.Second)
	if after := r.versions(t); after != before {
		t.Errorf("the replicas write what is there already:\n%s\n%s", before, after)
	}
	must(t, r.alice.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(t.Context(), registration.Name, metav1.DeleteOptions{}))
	eventually(t, "restoration", func(ctx context.Context) bool {
		_, err := r.configuration(ctx)
		return err == nil
	})
	time.Sleep(2 * time.Second)
	restored := metricSum(t, r.registry, "gitgate_registration_restorations_total") + metricSum(t, registry, "gitgate_registration_restorations_total")
	if restored != 1 {
		t.Errorf("restored %v times, want once by either replica", restored)
	}
}

// TestReplicasDisagree: a replica that the API server has not reached, or that wants
// less, does not undo what another one installs, however slowly that one writes:
// between two of their writes a policy would only report.
func TestReplicasDisagree(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{idle: true, config: func(c *registration.Config) {
		c.Reached, c.RelaxAfter = func() bool { return false }, time.Hour
	}})
	is := r.inForce
	var registrationWas, bindingWas int64
	wrote := func(what string, most int64) {
		t.Helper()
		hooks, binding := r.generations(t)
		if n := hooks - registrationWas; n > most {
			t.Errorf("%s: the registration was written %d times, want %d at most", what, n, most)
		}
		if n := binding - bindingWas; n > most {
			t.Errorf("%s: a policy's binding was written %d times, want %d at most", what, n, most)
		}
		registrationWas, bindingWas = hooks, binding
	}
	r.ready.Store(true)
	eventually(t, "the trial", is(arv1.Ignore, arv1.Audit))
	wrote("installed", 1)

	const patient = 3 * time.Second
	slow := r.cluster.ConfigFor(webhookUser, "system:serviceaccounts")
	slow.Wrap(func(next http.RoundTripper) http.RoundTripper { return lateWriter{next} })
	var mode atomic.Value
	mode.Store(lock.Enforce)
	second, err := registration.New(registration.Config{
		Client: clientFor(t, slow), Namespace: system, Secret: tlsSecret, URL: "https://" + r.address + webhook.Path,
		Bundle: r.certs.Bundle, Ready: func() bool { return true }, Mode: func() lock.Mode { return mode.Load().(lock.Mode) },
		Reached: func() bool { return true }, RelaxAfter: patient,
	})
	must(t, err)
	r.start(second.Start)
	eventually(t, "Enforce", is(arv1.Fail, arv1.Deny))
	time.Sleep(2 * time.Second)
	wrote("enforced", 1)

	// Whoever has waited long enough speaks for the other one, too.
	r.mode.Store(lock.Audit)
	mode.Store(lock.Audit)
	eventually(t, "Audit", is(arv1.Ignore, arv1.Audit))
	time.Sleep(2 * time.Second)
	wrote("relaxed", 1)

	// One goes on wanting less, and gets it for a moment, now and then.
	r.mode.Store(lock.Enforce)
	mode.Store(lock.Enforce)
	eventually(t, "Enforce again", is(arv1.Fail, arv1.Deny))
	wrote("enforced again", 2)
	mode.Store(lock.Audit)
	const times = 3
	time.Sleep(times*patient + patient/2)
	wrote("in disagreement", 2*times)
	eventually(t, "the stricter one having its way", is(arv1.Fail, arv1.Deny))
}

// inForce reports whether every webhook has a failurePolicy, and every policy of the
// exempt pairs an action.
func (r *rig) inForce(failure arv1.FailurePolicyType, action arv1.ValidationAction) func(context.Context) bool {
	return func(ctx context.Context) bool {
		live, err := r.configuration(ctx)
		if err != nil || slices.ContainsFunc(live.Webhooks, func(h arv1.ValidatingWebhook) bool { return *h.FailurePolicy != failure }) {
			return false
		}
		bindings, err := r.cluster.Client().AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false
		}
		pairs := 0
		for _, b := range bindings.Items {
			if b.Name == "gitgate-dry-run" {
				continue
			}
			if !slices.Equal(b.Spec.ValidationActions, []arv1.ValidationAction{action}) {
				return false
			}
			pairs++
		}
		return pairs > 0
	}
}

// generations returns how often the registration was written, and the binding that was
// written most often.
func (r *rig) generations(t *testing.T) (registration, binding int64) {
	t.Helper()
	live, err := r.configuration(t.Context())
	must(t, err)
	bindings, err := r.cluster.Client().AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().List(t.Context(), metav1.ListOptions{})
	must(t, err)
	for _, b := range bindings.Items {
		binding = max(binding, b.Generation)
	}
	return live.Generation, binding
}

// A lateWriter takes its time for every write.
type lateWriter struct{ next http.RoundTripper }

func (l lateWriter) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPut {
		time.Sleep(50 * time.Millisecond)
	}
	return l.next.RoundTrip(req)
}

// versions are the resource versions of all that we installed.
func (r *rig) versions(t *testing.T) string {
	t.Helper()
	live, err := r.configuration(t.Context())
	must(t, err)
	out := live.ResourceVersion
	policies, err := r.cluster.Client().AdmissionregistrationV1().ValidatingAdmissionPolicies().List(t.Context(), metav1.ListOptions{})
	must(t, err)
	for _, p := range policies.Items {
		out += " " + p.ResourceVersion
	}
	return out
}

// TestPinsFollowDefinitions pins a resource as soon as it is served in a second
// version, and no longer when it is not.
func TestPinsFollowDefinitions(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{config: func(c *registration.Config) {
		c.Versions = func(gr schema.GroupResource) string {
			if gr.Resource == "widgets" {
				return "v1"
			}
			return ""
		}
	}})
	definition := func(v2 bool) string {
		version := func(name string, served, storage bool) string {
			return fmt.Sprintf(`{"name":%q,"served":%t,"storage":%t,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}`, name, served, storage)
		}
		return `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.example.com"},"spec":{"group":"example.com","scope":"Namespaced",` +
			`"names":{"plural":"widgets","kind":"Widget"},"versions":[` + version("v1", true, true) + `,` + version("v2", v2, false) + `]}}`
	}
	apply := func(v2 bool) {
		must(t, r.alice.CoreV1().RESTClient().Patch(types.ApplyPatchType).AbsPath("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com").
			Param("fieldManager", "t").Body([]byte(definition(v2))).Do(t.Context()).Error())
	}
	pinned := func(want string) func(context.Context) bool {
		return func(ctx context.Context) bool {
			live, err := r.configuration(ctx)
			if err != nil {
				return false
			}
			got := ""
			for _, rule := range live.Webhooks[0].Rules {
				if rule.Resources[0] == "widgets" {
					got = rule.APIVersions[0]
				}
			}
			excluded := strings.Contains(live.Webhooks[1].MatchConditions[len(live.Webhooks[1].MatchConditions)-1].Expression, "'example.com/widgets'")
			return got == want && excluded == (want != "")
		}
	}
	apply(false)
	eventually(t, "no pin for one version", pinned(""))
	apply(true)
	eventually(t, "the pin", pinned("v1"))
	var seen atomic.Value
	r.decider.set(func(_ context.Context, req *admissionv1.AdmissionRequest) lock.Answer {
		if req.Resource.Resource == "widgets" {
			seen.Store(req.Kind.Version)
		}
		return lock.Answer{Allowed: true}
	})
	eventually(t, "a review in the pinned version", func(ctx context.Context) bool {
		err := r.alice.CoreV1().RESTClient().Post().AbsPath("/apis/example.com/v2/namespaces/default/widgets").Param("dryRun", "All").
			SetHeader("Content-Type", "application/json").Body([]byte(`{"apiVersion":"example.com/v2","kind":"Widget","metadata":{"name":"w"}}`)).Do(ctx).Error()
		return err == nil && seen.Load() == "v1"
	})
	apply(false)
	eventually(t, "the pin being gone", pinned(""))
}
