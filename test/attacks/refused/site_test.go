package refused

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
	"gitgate.dev/gitgate/test/testkit/registry"
)

const (
	reef     = "reef" // the app and its namespace
	other    = "other"
	patience = 2 * time.Minute
)

var prebuilt = flag.String("gitgate", "", "the gitgate `binary` to attack; empty builds it")

// modes is a rule that knows which modes of settings it does not want.
func modes(bad ...string) string {
	return fmt.Sprintf(`package team

deny contains msg if {
	input.object.kind == "ConfigMap"
	input.object.data.mode in {"%s"}
	msg := sprintf("%%s is in mode %%s", [input.object.metadata.name, input.object.data.mode])
}
`, strings.Join(bad, `", "`))
}

// A site is a lab with an app under a lock.
type site struct {
	*lab.Lab
	app     *lab.App
	trusted v1alpha1.TrustPolicySpec
	strange string // a key that signed nothing
	w       *lab.Webhook
}

// newSite has a first release applied, and one replica that let it pass.
func newSite(t *testing.T) *site {
	t.Helper()
	binary := *prebuilt
	if binary == "" {
		var err error
		if binary, err = lab.Binary(t.Context(), t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	s := &site{Lab: lab.New(t, lab.Options{Gitgate: binary, Cluster: cluster.Options{ControllerManager: true, Nodes: 1, JSONStorage: true}})}
	must(t, s.Client.Create(t.Context(), &v1alpha1.PolicySet{ObjectMeta: metav1.ObjectMeta{Name: "modes"}, Spec: v1alpha1.PolicySetSpec{
		Source: v1alpha1.PolicySource{Inline: map[string]string{"team.rego": modes("evil")}},
	}}))
	must(t, s.EnsureNamespace(t.Context(), other))
	var err error
	s.app, err = s.NewApp(t.Context(), reef, func(p *v1alpha1.TrustPolicy, g *v1alpha1.GitSync) {
		p.Spec.Exceptions = &v1alpha1.ExceptionTrust{Paths: []string{"deploy/exceptions/**"}, Signers: []string{"alice"}}
		s.trusted = *p.Spec.DeepCopy()
		g.Spec.Policies = []v1alpha1.LocalReference{{Name: "modes"}}
		g.Spec.Lock = &v1alpha1.Lock{Mode: v1alpha1.ModeEnforce}
	})
	must(t, err)
	_, err = s.Serve(t.Context(), lab.LockArgs()...)
	must(t, err)
	key, err := registry.NewKey(registry.ECDSAP256)
	must(t, err)
	s.strange = key.Public
	image, err := s.SignedImage("acme/web:1")
	must(t, err)
	secret, err := s.EncryptedSecret("credentials", "password", "hunter2")
	must(t, err)
	s.release(t, map[string]string{
		"deploy/web.yaml":      lab.Deployment("web", image.Pinned(), 2),
		"deploy/tagged.yaml":   lab.Deployment("tagged", image.Name, 2),
		"deploy/settings.yaml": lab.ConfigMap("settings", "mode", "safe"),
		"deploy/secret.yaml":   secret,

		"elsewhere/settings.yaml": lab.ConfigMap("settings", "mode", "evil"),
	})
	s.start(t, false)
	eventually(t, "the replica to have its own record", func(ctx context.Context) error {
		return s.lockStatus(ctx, func(r v1alpha1.LockReplica) error {
			if r.Refused != "" {
				return errors.New(r.Refused)
			}
			return nil
		})
	})
	return s
}

// release commits and waits until that is applied.
func (s *site) release(t *testing.T, files map[string]string) string {
	t.Helper()
	hash, err := s.app.Commit(gitrepo.Change{Files: files})
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = s.app.Accepted(ctx, hash)
	must(t, err)
	return hash.String()
}

// start starts the replica, on request without anything that it kept, and waits until
// the lock refuses what it must refuse in any case.
func (s *site) start(t *testing.T, empty bool) {
	t.Helper()
	if empty {
		must(t, os.RemoveAll(filepath.Join(s.Dir, "webhook-one")))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err error
	s.w, err = s.ServeWebhook(ctx, "one")
	must(t, err)
	eventually(t, "the lock to be in force", func(ctx context.Context) error {
		var g v1alpha1.GitSync
		if err := s.Client.Get(ctx, s.app.Key, &g); err != nil {
			return err
		}
		g.Spec.Interval = &metav1.Duration{Duration: time.Hour}
		if err := s.Client.Update(ctx, &g, client.DryRunAll); !apierrors.IsForbidden(err) {
			return fmt.Errorf("the edit of a GitSync got %v", err)
		}
		return nil
	})
}

// unlocked has something done while no lock is in force, and starts the replica again.
func (s *site) unlocked(t *testing.T, empty bool, do func(context.Context)) {
	t.Helper()
	must(t, s.w.Stop())
	registration := s.Cluster.Client().AdmissionregistrationV1().ValidatingWebhookConfigurations()
	must(t, client.IgnoreNotFound(registration.Delete(t.Context(), "gitgate", metav1.DeleteOptions{})))
	eventually(t, "the lock to be off", func(ctx context.Context) error {
		return s.Client.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: lab.SystemNamespace, Name: "gitgate-probe"}}, client.DryRunAll)
	})
	do(t.Context())
	s.start(t, empty)
}

// lockStatus looks at what the replica tells.
func (s *site) lockStatus(ctx context.Context, look func(v1alpha1.LockReplica) error) error {
	var g v1alpha1.GitSync
	if err := s.Client.Get(ctx, s.app.Key, &g); err != nil {
		return err
	}
	if g.Status.Lock == nil || len(g.Status.Lock.Replicas) != 1 {
		return errors.New("no replica is in the status")
	}
	return look(g.Status.Lock.Replicas[0])
}

// holds fails unless the replica comes to tell that its revision is refused, which is
// because of what why says, and which objects are frozen.
func (s *site) holds(t *testing.T, why string, frozen ...string) {
	t.Helper()
	eventually(t, "the status of the replica", func(ctx context.Context) error {
		return s.lockStatus(ctx, func(r v1alpha1.LockReplica) error {
			if !strings.Contains(r.Refused, why) || int(r.Frozen) != len(frozen) || len(r.FrozenObjects) != len(frozen) {
				return fmt.Errorf("refused %q, frozen %q", r.Refused, r.FrozenObjects)
			}
			for i, f := range frozen {
				if !strings.HasPrefix(r.FrozenObjects[i], f+": ") {
					return fmt.Errorf("frozen %q", r.FrozenObjects)
				}
			}
			return nil
		})
	})
	s.metric(t, "gitgate_lock_refused_gitsyncs 1", fmt.Sprintf("gitgate_lock_frozen_objects %d", len(frozen)))
}

func (s *site) metric(t *testing.T, lines ...string) {
	t.Helper()
	resp, err := http.Get("http://" + s.w.Metrics + "/metrics")
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	for _, l := range lines {
		if !strings.Contains(string(text), "\n"+l+"\n") {
			t.Errorf("no metric %q", l)
		}
	}
}

func object(kind schema.GroupVersionKind, namespace, name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kind)
	u.SetNamespace(namespace)
	u.SetName(name)
	return u
}

func settings() *unstructured.Unstructured {
	return object(corev1.SchemeGroupVersion.WithKind("ConfigMap"), reef, "settings")
}

func web() *unstructured.Unstructured {
	return object(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, reef, "web")
}

func secret() *unstructured.Unstructured {
	return object(corev1.SchemeGroupVersion.WithKind("Secret"), reef, "credentials")
}

// mode is a patch of the settings.
func mode(m string) string { return fmt.Sprintf(`{"data":{"mode":%q}}`, m) }

const evilImage = `{"spec":{"template":{"metadata":{"annotations":{"evil":"1"}}}}}`

// patched patches as a cluster-admin, again as long as that is put off.
func (s *site) patched(t *testing.T, o *unstructured.Unstructured, patch string, opts ...client.PatchOption) error {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		err := s.Client.Patch(t.Context(), o.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch)), opts...)
		if !apierrors.IsServiceUnavailable(err) && !apierrors.IsTooManyRequests(err) && !apierrors.IsInternalError(err) || time.Now().After(deadline) {
			return err
		}
	}
}

// refused fails unless the lock refuses a patch for the reason.
func (s *site) refused(t *testing.T, reason verdict.Reason, o *unstructured.Unstructured, patch string) {
	t.Helper()
	s.denied(t, reason, fmt.Sprintf("%s %s %s", o.GetKind(), o.GetName(), patch), s.patched(t, o, patch))
}

// uniform is what every denial over a Secret says.
const uniform = "is not what Git says it must be, or may not be written at all: "

func (s *site) denied(t *testing.T, reason verdict.Reason, what string, err error) {
	t.Helper()
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), string(reason)+": ") && !strings.Contains(err.Error(), uniform) {
		t.Errorf("%s: %v\nwant it to be refused for %s", what, err, reason)
	}
}

// kept fails unless an object cannot be deleted.
func (s *site) kept(t *testing.T, o *unstructured.Unstructured) {
	t.Helper()
	s.denied(t, verdict.ManagedDelete, "deleting "+o.GetName(), s.Client.Delete(t.Context(), o))
}

// scaled fails unless an object cannot be scaled.
func (s *site) scaled(t *testing.T, o *unstructured.Unstructured) {
	t.Helper()
	scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: 0}}
	s.denied(t, verdict.SubresourceDenied, "scaling "+o.GetName(), s.Client.SubResource("scale").Update(t.Context(), o, client.WithSubResourceBody(scale)))
}

// head is the newest commit.
func (s *site) head(t *testing.T) plumbing.Hash {
	t.Helper()
	h := s.app.Repo.Ref("refs/heads/" + lab.Branch)
	if h.IsZero() {
		t.Fatal("the branch is empty")
	}
	return h
}

// rule replaces the rule.
func (s *site) rule(ctx context.Context, t *testing.T, text string) {
	t.Helper()
	var set v1alpha1.PolicySet
	must(t, s.Client.Get(ctx, client.ObjectKey{Name: "modes"}, &set))
	set.Spec.Source.Inline = map[string]string{"team.rego": text}
	must(t, s.Client.Update(ctx, &set))
}

// spec changes the GitSync.
func (s *site) spec(ctx context.Context, t *testing.T, edit func(*v1alpha1.GitSyncSpec)) {
	t.Helper()
	must(t, s.app.Update(ctx, func(g *v1alpha1.GitSync) { edit(&g.Spec) }))
}

// trust changes whom is trusted.
func (s *site) trust(ctx context.Context, t *testing.T, edit func(*v1alpha1.TrustPolicySpec)) {
	t.Helper()
	var p v1alpha1.TrustPolicy
	must(t, s.Client.Get(ctx, client.ObjectKey{Name: reef}, &p))
	edit(&p.Spec)
	must(t, s.Client.Update(ctx, &p))
}

// reborn deletes a Pod of each app, and waits until a controller has made another.
func (s *site) reborn(t *testing.T, apps ...string) {
	t.Helper()
	for _, app := range append(apps, "web") {
		s.rebornOf(t, app)
	}
}

func (s *site) rebornOf(t *testing.T, app string) {
	t.Helper()
	list := func(ctx context.Context) (names []string, err error) {
		pods, err := s.Cluster.Client().CoreV1().Pods(reef).List(ctx, metav1.ListOptions{LabelSelector: "app=" + app})
		if err != nil {
			return nil, err
		}
		for _, p := range pods.Items {
			if p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning {
				names = append(names, p.Name)
			}
		}
		if len(names) != 2 {
			return names, fmt.Errorf("%d Pods run", len(names))
		}
		return names, nil
	}
	var before []string
	eventually(t, "two Pods", func(ctx context.Context) (err error) { before, err = list(ctx); return err })
	eventually(t, "the deletion of a Pod", func(ctx context.Context) error {
		return s.Cluster.Client().CoreV1().Pods(reef).Delete(ctx, before[0], metav1.DeleteOptions{})
	})
	eventually(t, "another Pod", func(ctx context.Context) error {
		now, err := list(ctx)
		if err == nil && (now[0] == before[0] || now[1] == before[0]) {
			return errors.New("it is still there")
		}
		return err
	})
}

// forge makes the status name a revision, and an inventory of nothing.
func (s *site) forge(ctx context.Context, t *testing.T, revision string) {
	t.Helper()
	var g v1alpha1.GitSync
	must(t, s.Client.Get(ctx, s.app.Key, &g))
	g.Status.LastAppliedRevision, g.Status.LastAttemptedRevision = revision, revision
	g.Status.Inventory, g.Status.History = nil, nil
	if g.Status.Lock != nil {
		g.Status.Lock.Replicas = nil
	}
	must(t, s.Client.Status().Update(ctx, &g))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until something holds. An error is what it lacks.
func eventually(t *testing.T, what string, holds func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := holds(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v", what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
