package deploy

import (
	"context"
	"os"
	"strings"
	"testing"

	arv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/test/testkit/lab"
	"gitgate.dev/gitgate/webhook/doctor"
)

// TestWebhookRunsAsDeployed runs gitgate serve and gitgate webhook as the base says, with
// tokens of their ServiceAccounts. A locked tenant's commits are applied, a
// cluster-admin's change is refused, nothing that either asks for is refused, and
// gitgate doctor finds nothing that failed. That addresses lead nowhere in this
// cluster is all that is set otherwise: the API server is given a URL.
func TestWebhookRunsAsDeployed(t *testing.T) {
	l := lab.New(t, lab.Options{Gitgate: binary(t), Cluster: cluster.Options{Nodes: 1, AuditLevel: "Metadata"}})
	ctx := stepContext(t)
	base := build(t, "base")
	install(t, l.Client, base)
	install(t, l.Client, with(t, "watch-secrets"))
	awaitRoles(t, l.Client)
	address := freeAddress(t)
	servers := map[string]*process{}
	for _, d := range deployments(t) {
		var extra []string
		if d.Name == webhook {
			extra = []string{"--bind-address", address, "--url", "https://" + address, "--replica-name", "replica"}
		}
		servers[d.Name] = run(t, l, d, extra...)
		servers[d.Name].awaitReady(t, d)
	}
	a := team(ctx, t, l)
	if err := a.Update(ctx, func(s *v1alpha1.GitSync) { s.Spec.Lock = &v1alpha1.Lock{Mode: v1alpha1.ModeEnforce} }); err != nil {
		t.Fatal(err)
	}
	secret, err := l.EncryptedSecret("db", "password", "canary")
	if err != nil {
		t.Fatal(err)
	}
	push(t, a, map[string]string{"map.yaml": lab.ConfigMap("a", "k", "v"), "db.yaml": secret})
	locked(t, l, a)
	refused(t, l)
	push(t, a, map[string]string{"map.yaml": lab.ConfigMap("a", "k", "w")})
	certified(t, l)
	healthy(t, l)
	for name, p := range servers {
		for _, r := range refusals(t, l, name) {
			t.Errorf("%s is refused: %s", name, r)
		}
		log, err := os.ReadFile(p.log)
		if err != nil {
			t.Fatal(err)
		}
		if line := forbidden.Find(log); line != nil {
			t.Errorf("the log of %s speaks of %q", name, line)
		}
		if strings.Contains(string(log), "canary") {
			t.Errorf("the log of %s holds a secret", name)
		}
	}
}

// locked waits until the webhook is registered, enforces, and has said so.
func locked(t *testing.T, l *lab.Lab, a *lab.App) {
	t.Helper()
	eventually(t, "the lock", func(ctx context.Context) bool {
		var config arv1.ValidatingWebhookConfiguration
		if l.Client.Get(ctx, client.ObjectKey{Name: "gitgate"}, &config) != nil || *config.Webhooks[0].FailurePolicy != arv1.Fail {
			return false
		}
		var s v1alpha1.GitSync
		return l.Client.Get(ctx, a.Key, &s) == nil && s.Status.Lock != nil && len(s.Status.Lock.Replicas) == 1 &&
			s.Status.Lock.Replicas[0].Revision == s.Status.LastAppliedRevision
	})
}

// refused proves that a cluster-admin cannot change what Git declares, and can change
// what it does not.
func refused(t *testing.T, l *lab.Lab) {
	t.Helper()
	alice, err := client.New(l.Cluster.ConfigFor(cluster.Alice), client.Options{Scheme: lab.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	ctx := stepContext(t)
	managed := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "a"}}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"data":{"k":"tampered"}}`))
	if err := alice.Patch(ctx, managed, patch); err == nil || !strings.Contains(err.Error(), "ContentMismatch") {
		t.Errorf("a change of what Git declares: %v", err)
	}
	if err := alice.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "free"}}); err != nil {
		t.Errorf("a change of what Git does not declare: %v", err)
	}
}

// certified proves that the certificates of the webhook are where the base lets it keep
// them.
func certified(t *testing.T, l *lab.Lab) {
	t.Helper()
	var s corev1.Secret
	if err := l.Client.Get(stepContext(t), client.ObjectKey{Namespace: system, Name: "gitgate-webhook-certs"}, &s); err != nil || len(s.Data["tls.crt"]) == 0 {
		t.Errorf("the certificate: %v", err)
	}
}

// healthy proves that gitgate doctor sees an installation at work.
func healthy(t *testing.T, l *lab.Lab) {
	t.Helper()
	report := func(ctx context.Context) doctor.Report {
		r, err := doctor.Run(ctx, doctor.Config{REST: l.Cluster.RESTConfig()})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	eventually(t, "the doctor to find nothing that failed", func(ctx context.Context) bool {
		s := report(ctx).Status()
		return s == doctor.OK || s == doctor.Warn
	})
	// Every test cluster has alice; which Pods are ours the webhook does not say yet.
	warned := map[string]bool{"rbac-cluster-admin": true}
	for _, c := range report(stepContext(t)).Checks {
		if c.Status != doctor.OK && !warned[c.ID] {
			t.Errorf("%s is %s: %s\n%s", c.ID, c.Status, c.Message, strings.Join(c.Details, "\n"))
		}
	}
}
