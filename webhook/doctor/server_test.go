package doctor_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"slices"
	"testing"
	"time"

	arv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/webhook/doctor"
	"gitgate.dev/gitgate/webhook/registration"
)

func configuration() *arv1.ValidatingWebhookConfiguration {
	return &arv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: registration.Name}}
}

// each changes both of our webhooks.
func each(edit func(*arv1.ValidatingWebhook)) func(*arv1.ValidatingWebhookConfiguration) {
	return func(c *arv1.ValidatingWebhookConfiguration) {
		for i := range c.Webhooks {
			edit(&c.Webhooks[i])
		}
	}
}

// TestAttack_K20_WeakRegistration proves that every way in which a registration can be
// made to ask less is told of.
func TestAttack_K20_WeakRegistration(t *testing.T) {
	ignore, exact, some := arv1.Ignore, arv1.Exact, arv1.SideEffectClassNoneOnDryRun
	team := &metav1.LabelSelector{MatchLabels: map[string]string{"locked": "yes"}}
	timeout := int32(1)
	with(t, sync("team", "shop", func(s *v1alpha1.GitSync) { s.Spec.Lock = &v1alpha1.Lock{Mode: v1alpha1.ModeEnforce} }))
	for name, tc := range map[string]struct {
		edit func(*arv1.ValidatingWebhookConfiguration)
		text string
	}{
		"Ignore":            {each(func(w *arv1.ValidatingWebhook) { w.FailurePolicy = &ignore }), "failurePolicy is not Fail"},
		"NamespaceSelector": {each(func(w *arv1.ValidatingWebhook) { w.NamespaceSelector = team }), "a selector"},
		"ObjectSelector":    {each(func(w *arv1.ValidatingWebhook) { w.ObjectSelector = team }), "a selector"},
		"Exact":             {each(func(w *arv1.ValidatingWebhook) { w.MatchPolicy = &exact }), "matchPolicy"},
		"SideEffects":       {each(func(w *arv1.ValidatingWebhook) { w.SideEffects = &some }), "sideEffects"},
		"Timeout":           {each(func(w *arv1.ValidatingWebhook) { w.TimeoutSeconds = &timeout }), "timeoutSeconds"},
		"Operations": {each(func(w *arv1.ValidatingWebhook) {
			for i := range w.Rules {
				w.Rules[i].Operations = []arv1.OperationType{arv1.Create}
			}
		}), "rules leave something out"},
		"Condition": {each(func(w *arv1.ValidatingWebhook) {
			w.MatchConditions = append(w.MatchConditions, arv1.MatchCondition{Name: "without-me", Expression: "request.userInfo.username != 'mallory'"})
		}), "matchCondition without-me"},
		"WiderCondition": {each(func(w *arv1.ValidatingWebhook) { w.MatchConditions[0].Expression = "false" }), "matchCondition without-events"},
		"OtherService": {each(func(w *arv1.ValidatingWebhook) {
			// Nobody is there: nothing must be asked of it.
			w.MatchConditions = []arv1.MatchCondition{{Name: "never", Expression: "false"}}
			w.ClientConfig.URL, w.ClientConfig.Service = nil, &arv1.ServiceReference{Namespace: "default", Name: "gitgate-webhook"}
		}), "the Service default/gitgate-webhook is asked"},
		"DeadPin": {func(c *arv1.ValidatingWebhookConfiguration) {
			i := slices.IndexFunc(c.Webhooks, func(w arv1.ValidatingWebhook) bool {
				return len(w.Rules) > 0 && w.Rules[0].APIGroups[0] == "autoscaling"
			})
			c.Webhooks[i].Rules[0].APIVersions = []string{"v0"}
		}, "version v0, which is not served"},
		"OneMissing": {func(c *arv1.ValidatingWebhookConfiguration) { c.Webhooks = c.Webhooks[:1] }, "is missing"},
		"None":       {func(c *arv1.ValidatingWebhookConfiguration) { c.Webhooks = nil }, "is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			changed(t, configuration(), tc.edit)
			finding{"webhook-configuration", doctor.Fail, tc.text}.check(t, examined(t))
		})
	}
	finding{"webhook-configuration", doctor.OK, "asks gitgate about every write"}.check(t, examined(t))
	finding{"webhook-configuration", doctor.OK, "is asked at " + well.webhook.URL}.check(t, examined(t))
}

// TestUnregistered proves that a missing registration is a failure as soon as anybody
// counts on it.
func TestUnregistered(t *testing.T) {
	removed(t, configuration())
	finding{"webhook-configuration", doctor.Warn, "nothing is locked"}.check(t, examined(t))
	with(t, sync("team", "shop", func(s *v1alpha1.GitSync) { s.Spec.Lock = &v1alpha1.Lock{Mode: v1alpha1.ModeAudit} }))
	finding{"webhook-configuration", doctor.Fail, "GitSync team/shop asks for Audit"}.check(t, examined(t))
}

// TestOutage proves what is said of an outage: what goes on, what stops, and when
// nothing stops.
func TestOutage(t *testing.T) {
	r := examined(t)
	finding{"webhook-outage", doctor.OK, "goes on: node-leases"}.check(t, r)
	finding{"webhook-outage", doctor.OK, "stops: create, update, delete and connect of every resource in every namespace"}.check(t, r)
	t.Run("Audit", func(t *testing.T) {
		ignore := arv1.Ignore
		changed(t, configuration(), each(func(w *arv1.ValidatingWebhook) { w.FailurePolicy = &ignore }))
		finding{"webhook-outage", doctor.OK, "every write passes"}.check(t, examined(t))
	})
	t.Run("OwnPods", func(t *testing.T) {
		changed(t, configuration(), each(func(w *arv1.ValidatingWebhook) {
			w.MatchConditions = slices.DeleteFunc(w.MatchConditions, func(m arv1.MatchCondition) bool { return m.Name == "without-own-pods" })
		}))
		finding{"webhook-outage", doctor.Warn, "own Pods cannot be made again"}.check(t, examined(t))
	})
	t.Run("NoExemption", func(t *testing.T) {
		changed(t, configuration(), each(func(w *arv1.ValidatingWebhook) { w.MatchConditions = nil }))
		finding{"webhook-outage", doctor.Fail, "the control plane's own included"}.check(t, examined(t))
	})
}

// TestPolicies proves that a policy which does not bound an exemption, or the account
// for dry runs, is told of.
func TestPolicies(t *testing.T) {
	policy := func(name string) *arv1.ValidatingAdmissionPolicy {
		return &arv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	binding := func(name string) *arv1.ValidatingAdmissionPolicyBinding {
		return &arv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	for _, tc := range []struct{ id, name string }{{"exemption-policies", "gitgate-node-leases"}, {"dry-run-policy", "gitgate-dry-run"}} {
		t.Run(tc.id+"/Missing", func(t *testing.T) {
			removed(t, binding(tc.name))
			finding{tc.id, doctor.Fail, tc.name}.check(t, examined(t))
		})
		t.Run(tc.id+"/Weakened", func(t *testing.T) {
			changed(t, policy(tc.name), func(p *arv1.ValidatingAdmissionPolicy) { p.Spec.Validations[0].Expression = "true" })
			finding{tc.id, doctor.Fail, "not as gitgate makes it"}.check(t, examined(t))
		})
		t.Run(tc.id+"/Lenient", func(t *testing.T) {
			changed(t, binding(tc.name), func(b *arv1.ValidatingAdmissionPolicyBinding) {
				b.Spec.ValidationActions = []arv1.ValidationAction{arv1.Warn}
			})
			finding{tc.id, doctor.Fail, "does not deny"}.check(t, examined(t))
		})
	}
}

// TestCertificate proves that a certificate is judged as the API server does, and told
// of before it ends.
func TestCertificate(t *testing.T) {
	leaf := well.webhook.Certificate()
	at := func(when time.Time) doctor.Report {
		t.Helper()
		r, err := well.examine(testContext(t), doctor.Config{Now: func() time.Time { return when }})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	finding{"webhook-certificate", doctor.OK, "verified by the caBundle"}.check(t, examined(t))
	finding{"webhook-certificate", doctor.Warn, "was not renewed"}.check(t, at(leaf.NotAfter.Add(-time.Hour)))
	finding{"webhook-certificate", doctor.Fail, "ended"}.check(t, at(leaf.NotAfter.Add(time.Hour)))
	own, _ := selfSigned(t, "other.example.com")
	for name, tc := range map[string]struct {
		edit   func(*arv1.WebhookClientConfig)
		status doctor.Status
		text   string
	}{
		"WrongBundle": {func(c *arv1.WebhookClientConfig) { c.CABundle = own }, doctor.Fail, "cannot verify"},
		"NoBundle":    {func(c *arv1.WebhookClientConfig) { c.CABundle = nil }, doctor.Fail, "holds no certificate"},
		"Unreachable": {func(c *arv1.WebhookClientConfig) { u := "https://127.0.0.1:1/admit"; c.URL = &u }, doctor.Unknown, "127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			changed(t, configuration(), each(func(w *arv1.ValidatingWebhook) { tc.edit(&w.ClientConfig) }))
			finding{"webhook-certificate", tc.status, tc.text}.check(t, examined(t))
		})
	}
}

// TestCertificateOfService proves that behind a Service the certificate is taken from
// the Secret that the webhook keeps it in.
func TestCertificateOfService(t *testing.T) {
	name := "gitgate-webhook." + system + ".svc"
	cert, key := selfSigned(t, name)
	path, port := "/admit", int32(443)
	changed(t, configuration(), each(func(w *arv1.ValidatingWebhook) {
		w.ClientConfig = arv1.WebhookClientConfig{CABundle: cert, Service: &arv1.ServiceReference{Namespace: system, Name: "gitgate-webhook", Path: &path, Port: &port}}
		// Nobody is there: nothing must be asked of it.
		w.MatchConditions = []arv1.MatchCondition{{Name: "never", Expression: "false"}}
	}))
	finding{"webhook-certificate", doctor.Unknown, "gitgate-webhook-certs"}.check(t, examined(t))
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "gitgate-webhook-certs"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{"tls.crt": cert, "tls.key": key}}
	with(t, secret)
	finding{"webhook-certificate", doctor.OK, "verified by the caBundle"}.check(t, examined(t))
	changed(t, secret.DeepCopy(), func(s *corev1.Secret) { s.Data["tls.crt"] = []byte("nothing") })
	finding{"webhook-certificate", doctor.Fail, "holds no certificate"}.check(t, examined(t))
}

// TestAttack_K20_OtherAuthority proves that an authority which is not ours is told of,
// although what is served is verified by it.
func TestAttack_K20_OtherAuthority(t *testing.T) {
	own, key := selfSigned(t, "gitgate-webhook."+system+".svc")
	with(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "gitgate-webhook-certs"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{"tls.crt": own, "tls.key": key, "ca.crt": own}})
	finding{"webhook-certificate", doctor.Fail, "another authority"}.check(t, examined(t))
}

// selfSigned makes a serving certificate and its key, in PEM.
func selfSigned(t *testing.T, host string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

// TestReplicas proves that too few replicas are told of.
func TestReplicas(t *testing.T) {
	for n, want := range map[int32]struct{ webhook, endpoints, reconciler doctor.Status }{
		1: {doctor.Warn, doctor.Warn, doctor.OK}, 0: {doctor.Fail, doctor.Fail, doctor.Fail},
	} {
		scale(t, n)
		r := examined(t)
		for id, status := range map[string]doctor.Status{"webhook-replicas": want.webhook, "webhook-endpoints": want.endpoints, "reconciler-replicas": want.reconciler} {
			if got := find(r, id); got.Status != status {
				t.Errorf("%d replicas: %s is %s: %s", n, id, got.Status, got.Message)
			}
		}
	}
	scale(t, 2)
	finding{"webhook-endpoints", doctor.OK, "2 ready endpoints"}.check(t, examined(t))
}

func scale(t *testing.T, n int32) {
	t.Helper()
	ctx := testContext(t)
	for _, name := range []string{"gitgate-reconciler", "gitgate-webhook"} {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: name}}
		if err := well.Get(ctx, client.ObjectKeyFromObject(d), d); err != nil {
			t.Fatal(err)
		}
		before := d.DeepCopy()
		d.Spec.Replicas = &n
		if err := well.Patch(ctx, d, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
	}
	if err := well.awaitReplicas(ctx, n); err != nil {
		t.Fatal(err)
	}
}

// TestAccounts proves that a missing account is told of.
func TestAccounts(t *testing.T) {
	removed(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "gitgate-dryrun"}})
	finding{"accounts", doctor.Fail, "gitgate-dryrun does not exist"}.check(t, examined(t))
}

// removed deletes an object for one case, and makes it again when it is over.
func removed(t *testing.T, o client.Object) {
	t.Helper()
	ctx := testContext(t)
	if err := well.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
		t.Fatal(err)
	}
	if err := well.Delete(ctx, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		o.SetResourceVersion("")
		o.SetUID("")
		if err := well.Create(context.WithoutCancel(ctx), o); err != nil {
			t.Error(err)
		}
	})
}
