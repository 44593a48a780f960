package deploy

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// forbidden is what an API server says to who lacks a right.
var forbidden = regexp.MustCompile(`(?i)forbidden|unauthorized|is not allowed to`)

// team makes the namespace of a tenant as deploy/tenant says, with a GitSync in it.
func team(ctx context.Context, t *testing.T, l *lab.Lab) *lab.App {
	t.Helper()
	if err := l.EnsureNamespace(ctx, "team"); err != nil {
		t.Fatal(err)
	}
	install(t, l.Client, build(t, "tenant"))
	keys := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: lab.KeySecret}, Data: map[string][]byte{"lab.agekey": l.Age.PrivateKey()}}
	for _, o := range []client.Object{l.GitCredentials("team"), keys} {
		if err := l.Client.Create(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	a, err := l.NewApp(ctx, "team", func(trust *v1alpha1.TrustPolicy, s *v1alpha1.GitSync) {
		trust.Spec.Namespaces = []string{"team"}
		s.Namespace, s.Spec.TargetNamespace, s.Spec.ServiceAccountName = "team", "", "deployer"
		s.Spec.Wait = true
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func push(t *testing.T, a *lab.App, files map[string]string) *v1alpha1.GitSync {
	t.Helper()
	c := gitrepo.Change{Message: "a change", Files: map[string]string{}}
	for name, content := range files {
		c.Files["deploy/"+name] = content
	}
	h, err := a.Commit(c)
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.Accepted(stepContext(t), h)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestReconcilerRunsAsDeployed runs gitgate serve as the base says, with a token of
// its ServiceAccount, and has a tenant's signed commits applied by it: a Deployment
// and its drift, an encrypted Secret, a deletion. Nothing that it asks for is
// refused.
func TestReconcilerRunsAsDeployed(t *testing.T) {
	l := lab.New(t, lab.Options{Gitgate: binary(t), Cluster: cluster.Options{Nodes: 1, AuditLevel: "Metadata"}})
	ctx := stepContext(t)
	base := build(t, "base")
	install(t, l.Client, base)
	awaitRoles(t, l.Client)
	d := convert[appsv1.Deployment](t, find(t, base, "Deployment", reconciler))
	p := run(t, l, d)
	p.awaitReady(t, d)

	a := team(ctx, t, l)
	image, err := l.SignedImage("acme/web")
	if err != nil {
		t.Fatal(err)
	}
	push(t, a, map[string]string{
		"web.yaml": lab.Deployment("web", image.Pinned(), 1), "map.yaml": lab.ConfigMap("a", "k", "v"),
	})
	drift(t, l)
	if got := refusals(t, l, reconciler); len(got) > 0 {
		t.Errorf("the base lacks rights:\n%s", strings.Join(got, "\n"))
	}
	secrets(t, l, a)
	remove(t, l, a)
	reported(t, l)
	for _, r := range refusals(t, l, reconciler) {
		if r != "list secrets./ /: 403" && r != "watch secrets./ /: 403" { // which only a component grants
			t.Errorf("refused: %s", r)
		}
	}
	log, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	if line := forbidden.Find(log); line != nil {
		t.Errorf("the log speaks of %q", line)
	}
}

// drift proves that a change by hand is seen and undone.
func drift(t *testing.T, l *lab.Lab) {
	t.Helper()
	live := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "a"}}
	if err := l.Client.Patch(stepContext(t), live, client.RawPatch("application/merge-patch+json", []byte(`{"data":{"k":"tampered"}}`))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the drift to be corrected", func(ctx context.Context) bool {
		return l.Client.Get(ctx, client.ObjectKeyFromObject(live), live) == nil && live.Data["k"] == "v"
	})
}

// secrets proves that an encrypted Secret is applied without the right to watch
// Secrets, and that with it the watch works.
func secrets(t *testing.T, l *lab.Lab, a *lab.App) {
	t.Helper()
	text, err := l.EncryptedSecret("db", "password", "canary")
	if err != nil {
		t.Fatal(err)
	}
	push(t, a, map[string]string{"db.yaml": text})
	install(t, l.Client, with(t, "watch-secrets"))
	live := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "db"}}
	if err := l.Client.Patch(stepContext(t), live, client.RawPatch("application/merge-patch+json", []byte(`{"data":{"password":"eA=="}}`))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Secret's drift to be corrected", func(ctx context.Context) bool {
		return l.Client.Get(ctx, client.ObjectKeyFromObject(live), live) == nil && string(live.Data["password"]) == "canary"
	})
}

// remove proves that the GitSync takes along what it applied.
func remove(t *testing.T, l *lab.Lab, a *lab.App) {
	t.Helper()
	sync := &v1alpha1.GitSync{ObjectMeta: metav1.ObjectMeta{Namespace: a.Key.Namespace, Name: a.Key.Name}}
	if err := l.Client.Delete(stepContext(t), sync); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the GitSync and its objects to be gone", func(ctx context.Context) bool {
		gone := client.IgnoreNotFound(l.Client.Get(ctx, client.ObjectKey{Namespace: "team", Name: "a"}, &corev1.ConfigMap{})) == nil &&
			l.Client.Get(ctx, client.ObjectKey{Namespace: "team", Name: "a"}, &corev1.ConfigMap{}) != nil
		return gone && l.Client.Get(ctx, a.Key, sync) != nil
	})
}

// reported proves that events could be recorded, which nobody else notices.
func reported(t *testing.T, l *lab.Lab) {
	t.Helper()
	eventually(t, "an event", func(ctx context.Context) bool {
		var all eventsv1.EventList
		if err := l.Client.List(ctx, &all, client.InNamespace("team")); err != nil {
			return false
		}
		for _, e := range all.Items {
			if e.Regarding.Kind == "GitSync" && e.Reason == "DriftCorrected" {
				return true
			}
		}
		return false
	})
}

func eventually(t *testing.T, what string, holds func(context.Context) bool) {
	t.Helper()
	err := wait.PollUntilContextCancel(stepContext(t), 50*time.Millisecond, true, func(ctx context.Context) (bool, error) { return holds(ctx), nil })
	if err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

// TestReconcilerIsConfined proves the negative: as deployed, a GitSync that names an
// account which the reconciler may not impersonate is refused, and so is one of
// gitgate's own namespace, until the component for that is added.
func TestReconcilerIsConfined(t *testing.T) {
	l := lab.New(t, lab.Options{Gitgate: binary(t), Cluster: cluster.Options{ControllerManager: true, AuditLevel: "Metadata"}})
	ctx := stepContext(t)
	base := build(t, "base")
	install(t, l.Client, base)
	awaitRoles(t, l.Client)
	d := convert[appsv1.Deployment](t, find(t, base, "Deployment", reconciler))
	run(t, l, d).awaitReady(t, d)
	a := team(ctx, t, l)
	if err := a.Update(ctx, func(s *v1alpha1.GitSync) { s.Spec.ServiceAccountName = "default" }); err != nil {
		t.Fatal(err)
	}
	own, err := l.NewApp(ctx, "own")
	if err != nil {
		t.Fatal(err)
	}
	for name, app := range map[string]*lab.App{"another account": a, "the own namespace": own} {
		h, err := app.Commit(gitrepo.Change{Message: "a map", Files: map[string]string{"deploy/a.yaml": lab.ConfigMap("a", "k", "v")}})
		if err != nil {
			t.Fatal(err)
		}
		s, err := app.Refused(ctx, h)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if f := s.Status.LastVerdict.Findings[0]; f.Reason != "DryRunRejected" || !forbidden.MatchString(f.Message) {
			t.Errorf("%s: %+v", name, f)
		}
		var got corev1.ConfigMap
		if err := l.Client.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: "a"}, &got); err == nil {
			t.Errorf("%s: applied", name)
		}
	}
	install(t, l.Client, with(t, "cluster-admin", "watch-secrets"))
	if _, err := own.Accepted(ctx, own.Repo.Ref("refs/heads/"+lab.Branch)); err != nil {
		t.Errorf("with the component: %v", err)
	}
}
