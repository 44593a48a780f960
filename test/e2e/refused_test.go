package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// modeRule is a rule that does not want some modes of a ConfigMap.
func modeRule(bad ...string) map[string]string {
	return map[string]string{"modes.rego": fmt.Sprintf(`package modes

deny contains "this mode is not wanted" if {
	input.object.kind == "ConfigMap"
	input.object.data.mode in {"%s"}
}
`, strings.Join(bad, `", "`))}
}

// A refusal is an app whose applied revision comes to be refused while no reconciler
// runs.
type refusal struct {
	*app
	server *lab.Server
	data   string // the reconciler's directory
}

func (r *refusal) start() {
	r.t.Helper()
	var err error
	if r.server, err = r.Serve(r.ctx, "--data-dir", r.data); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(r.server.Kill)
}

// stopped has something done while no reconciler runs.
func (r *refusal) stopped(do func()) {
	r.t.Helper()
	if err := r.server.Stop(); err != nil {
		r.t.Error(err)
	}
	do()
	r.start()
}

func (r *refusal) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *refusal) patch(o client.Object, name, patch string) {
	r.t.Helper()
	o.SetNamespace(r.Namespace)
	o.SetName(name)
	r.must(r.Client.Patch(r.ctx, o, client.RawPatch("application/merge-patch+json", []byte(patch))))
}

func (r *refusal) delete(o client.Object, name string) {
	r.t.Helper()
	o.SetNamespace(r.Namespace)
	o.SetName(name)
	r.must(client.IgnoreNotFound(r.Client.Delete(r.ctx, o)))
}

// settled waits until a ConfigMap is in a mode.
func (r *refusal) settled(name, mode, when string) {
	r.t.Helper()
	m := &corev1.ConfigMap{}
	eventually(r.t, r.ctx, fmt.Sprintf("%s to be %s %s", name, mode, when), func() bool {
		return r.get(m, name) == nil && m.Data["mode"] == mode
	})
}

// stays fails if a ConfigMap gets into another mode while the GitSync is attempted twice.
func (r *refusal) stays(name, mode, why string) {
	r.t.Helper()
	for range 2 {
		r.must(r.Poke(r.ctx, r.Key))
		var at string
		r.await("the attempt that was asked for", func(s *v1alpha1.GitSync) bool {
			at = s.Annotations[v1alpha1.RequestedAtAnnotation]
			return at != "" && s.Status.LastHandledReconcileAt == at
		})
	}
	time.Sleep(time.Second) // a correction takes a few milliseconds
	m := &corev1.ConfigMap{}
	if err := r.get(m, name); err != nil || m.Data["mode"] != mode {
		r.t.Errorf("%s: %s is %v, %v; want it to be left as %s", why, name, m.Data, err, mode)
	}
}

func (r *refusal) rules(bad ...string) {
	r.t.Helper()
	var set v1alpha1.PolicySet
	r.must(r.Client.Get(r.ctx, client.ObjectKey{Name: "modes"}, &set))
	set.Spec.Source.Inline = modeRule(bad...)
	r.must(r.Client.Update(r.ctx, &set))
}

// TestHeldAfterRestart proves that a reconciler which starts while what it has applied is
// refused puts drift right, as one that has run on: what drifted before and after, what
// is gone, and Secrets. It does so by its own record only: not as another path, and not
// because a status says so.
func TestHeldAfterRestart(t *testing.T) {
	own := lab.New(t, lab.Options{Gitgate: shared.Gitgate})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	r := &refusal{app: &app{t: t, ctx: ctx}, data: filepath.Join(own.Dir, "reconciler")}
	r.must(own.Client.Create(ctx, &v1alpha1.PolicySet{ObjectMeta: metav1.ObjectMeta{Name: "modes"}, Spec: v1alpha1.PolicySetSpec{
		Source: v1alpha1.PolicySource{Inline: modeRule("evil")},
	}}))
	var err error
	r.App, err = own.NewApp(ctx, "held", func(_ *v1alpha1.TrustPolicy, g *v1alpha1.GitSync) {
		g.Spec.Policies = []v1alpha1.LocalReference{{Name: "modes"}}
	})
	r.must(err)
	image, err := own.SignedImage("acme/web:1")
	r.must(err)
	secret, err := own.EncryptedSecret("credentials", "password", "hunter2")
	r.must(err)
	r.start()
	good, err := r.Commit(gitrepo.Change{Message: "good", Files: map[string]string{
		"deploy/a.yaml": lab.ConfigMap("a", "mode", "safe"), "deploy/b.yaml": lab.ConfigMap("b", "mode", "safe"),
		"deploy/secret.yaml": secret, "deploy/tagged.yaml": lab.Deployment("tagged", image.Name, 1),
		"elsewhere/a.yaml": lab.ConfigMap("a", "mode", "evil"),
	}})
	r.must(err)
	r.accepted(good)

	r.stopped(func() {
		r.rules("evil", "safe")
		r.patch(&corev1.ConfigMap{}, "a", `{"data":{"mode":"foreign"}}`)
		r.delete(&corev1.ConfigMap{}, "b")
		r.patch(&corev1.Secret{}, "credentials", `{"stringData":{"password":"foreign"}}`)
		r.patch(&appsv1.Deployment{}, "tagged", `{"spec":{"replicas":3}}`)
	})
	r.refused(good)
	r.settled("a", "safe", "after it drifted while no reconciler ran")
	r.settled("b", "safe", "after it was deleted while no reconciler ran")
	r.heldSecret("hunter2")
	r.heldEvent(good.String(), "held/Deployment.apps/tagged: it is not what its image tags make of it now")
	d := &appsv1.Deployment{}
	if err := r.get(d, "tagged"); err != nil || *d.Spec.Replicas != 3 {
		t.Errorf("a Deployment whose image a tag names was not left as it is: %v", err)
	}

	r.patch(&corev1.ConfigMap{}, "a", `{"data":{"mode":"foreign"}}`)
	r.settled("a", "safe", "after it drifted since")
	r.patch(&corev1.Secret{}, "credentials", `{"stringData":{"password":"foreign"}}`)
	r.heldSecret("hunter2")

	worse := r.push("worse", map[string]string{"a.yaml": lab.ConfigMap("a", "mode", "evil")})
	r.refused(worse)
	r.patch(&appsv1.Deployment{}, "tagged", `{"spec":{"replicas":1}}`)
	r.stopped(func() { r.delete(&corev1.ConfigMap{}, "a") })
	r.settled("a", "safe", "after a restart while the head is refused, too")
	r.patch(&appsv1.Deployment{}, "tagged", `{"spec":{"replicas":3}}`)
	eventually(t, ctx, "a Deployment that was as its tags say to be so again", func() bool {
		return r.get(d, "tagged") == nil && *d.Spec.Replicas == 1
	})

	t.Run("OtherPath", func(t *testing.T) {
		r.stopped(func() {
			r.must(r.Update(ctx, func(g *v1alpha1.GitSync) { g.Spec.Path = "elsewhere" }))
			r.patch(&corev1.ConfigMap{}, "a", `{"data":{"mode":"foreign"}}`)
		})
		r.refused(worse)
		r.stays("a", "foreign", "what was never judged as this path was applied")
		r.stopped(func() { r.must(r.Update(ctx, func(g *v1alpha1.GitSync) { g.Spec.Path = "deploy" })) })
		r.settled("a", "safe", "once the path is what it was")
	})
	t.Run("ForgedStatus", func(t *testing.T) {
		r.stopped(func() {
			r.must(os.RemoveAll(r.data))
			r.patch(&corev1.ConfigMap{}, "a", `{"data":{"mode":"foreign"}}`)
			var g v1alpha1.GitSync
			r.must(r.Client.Get(ctx, r.Key, &g))
			g.Status.LastAppliedRevision = reconcile.Revision(lab.Branch, worse)
			r.must(r.Client.Status().Update(ctx, &g))
		})
		r.refused(worse)
		r.stays("a", "foreign", "a status is no record")
	})
	mended := r.push("mended", map[string]string{"a.yaml": lab.ConfigMap("a", "mode", "fine"), "b.yaml": lab.ConfigMap("b", "mode", "fine")})
	r.accepted(mended)
	r.settled("a", "fine", "by the next good commit")
}

// heldSecret waits until the Secret holds what Git says.
func (r *refusal) heldSecret(want string) {
	r.t.Helper()
	s := &corev1.Secret{}
	eventually(r.t, r.ctx, "the Secret to be put back", func() bool {
		return r.get(s, "credentials") == nil && string(s.Data["password"]) == want
	})
}

// heldEvent waits for the event that tells that a refused revision is held.
func (r *refusal) heldEvent(parts ...string) {
	r.t.Helper()
	eventually(r.t, r.ctx, "the event RevisionHeld", func() bool {
		var events eventsv1.EventList
		if err := r.Client.List(r.ctx, &events, client.InNamespace(r.Key.Namespace)); err != nil {
			if apierrors.IsForbidden(err) || errors.Is(err, context.Canceled) {
				r.t.Fatal(err)
			}
			return false
		}
		for _, e := range events.Items {
			all := e.Reason == "RevisionHeld"
			for _, p := range parts {
				all = all && strings.Contains(e.Note, p)
			}
			if all {
				return true
			}
		}
		return false
	})
}
