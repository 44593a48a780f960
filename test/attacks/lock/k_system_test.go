package lock_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// eventually polls until a condition holds, and fails after the time given.
func eventually(t *testing.T, within time.Duration, what string, holds func(context.Context) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, holds); err != nil {
		t.Fatalf("%s: not within %s: %v", what, within, err)
	}
}

// TestAttack_K16_ReservedName takes a name between its commit and its first apply,
// outside of any closed namespace.
func TestAttack_K16_ReservedName(t *testing.T) {
	in := begin(t)
	if err := in.Server().Stop(); err != nil { // so that nothing is applied
		t.Fatal(err)
	}
	serving := false
	serve := func() {
		if serving {
			return
		}
		serving = true
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if _, err := in.Serve(ctx, lab.LockArgs()...); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(serve)
	const path = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
	const taken = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: harbor-new}, rules: [{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]}"
	if got := in.ask(t, in.alice, posted(taken, 0)(path), true); got.code != http.StatusCreated {
		t.Fatalf("before Git knows the name: %d %s", got.code, got.status.Message)
	}
	hash, err := in.harbor.Commit(gitrepo.Change{Files: map[string]string{
		"deploy/rbac/new.yaml": "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: harbor-new}\nrules: [{apiGroups: [\"\"], resources: [nodes], verbs: [get]}]\n",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Poke(t.Context(), in.harbor.Key); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the name is reserved", func(ctx context.Context) (bool, error) {
		got, err := in.alice.send(ctx, posted(taken, 0)(path), true)
		return got.code == http.StatusForbidden, err
	})
	// Both replicas have to know by now, or soon.
	eventually(t, patience, "both replicas know", func(ctx context.Context) (bool, error) {
		for range 10 {
			if got, err := in.alice.send(ctx, posted(taken, 0)(path), true); err != nil || got.code != http.StatusForbidden {
				return false, err
			}
		}
		return true, nil
	})
	in.refused(t, in.alice, posted(taken, 0), path, verdict.ContentMismatch)
	serve()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := in.harbor.Accepted(ctx, hash); err != nil {
		t.Fatal(err)
	}
	var role rbacv1.ClusterRole
	if err := in.Client.Get(ctx, client.ObjectKey{Name: "harbor-new"}, &role); err != nil || role.Rules[0].Verbs[0] != "get" {
		t.Errorf("the role is %+v, %v", role.Rules, err)
	}
}

// TestAttack_K24_Definitions changes who serves a group, and how.
func TestAttack_K24_Definitions(t *testing.T) {
	in := begin(t)
	hook := map[string]any{"strategy": "Webhook", "webhook": map[string]any{
		"conversionReviewVersions": []any{"v1"}, "clientConfig": map[string]any{"url": "https://evil.example.com/convert"},
	}}
	t.Run("Conversion", func(t *testing.T) {
		in.changed(t, in.alice, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ships.harbor.example.com", set(hook, "spec", "conversion"),
			verdict.ContentMismatch, verdict.UndeclaredField)
	})
	t.Run("OwnConversion", func(t *testing.T) {
		path := "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gitsyncs.gitgate.dev"
		for _, m := range methods {
			in.refusedAlone(t, in.alice, in.edited(t, m, path, set(hook, "spec", "conversion")), verdict.NotInGit)
		}
	})
	const service = "group: harbor.example.com, groupPriorityMinimum: 1000, versionPriority: 100, insecureSkipTLSVerify: true, service: {namespace: default, name: evil, port: 443}"
	t.Run("APIService", func(t *testing.T) {
		in.refused(t, in.alice, posted("{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v2.harbor.example.com}, spec: {version: v2, "+service+"}}", 0),
			"/apis/apiregistration.k8s.io/v1/apiservices", verdict.NotInGit)
		// The twin of a collection is itself: the control is what nothing locks.
		in.succeeds(t, in.alice, posted("{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v2.harbor.example.com}, spec: {version: v2, "+service+"}}", 0)("/apis/apiregistration.k8s.io/v1/apiservices"))
	})
	t.Run("APIServiceTakeover", func(t *testing.T) {
		edit := all(set(map[string]any{"namespace": "default", "name": "evil", "port": int64(443)}, "spec", "service"), set(true, "spec", "insecureSkipTLSVerify"))
		for _, m := range methods[:3] {
			t.Run(m.name, func(t *testing.T) {
				in.refused(t, in.alice, func(path string) request { return in.edited(t, m, path, edit) }, "/apis/apiregistration.k8s.io/v1/apiservices/v1.harbor.example.com", verdict.NotInGit)
			})
		}
	})
}

// TestAttack_K28_StaleObject writes an image in turn with no version of the object,
// while commits roll out: no write may be judged by what was before another.
func TestAttack_K28_StaleObject(t *testing.T) {
	in := begin(t)
	ctx, cancel := context.WithCancel(t.Context())
	passed := make(chan string, 8)
	for range 4 {
		go func() {
			for ctx.Err() == nil {
				for _, body := range []string{
					`{"data":{"mode":"reckless"}}`, `[{"op":"replace","path":"/data/mode","value":"reckless"}]`,
				} {
					media := mergePatch
					if body[0] == '[' {
						media = jsonPatch
					}
					got, err := in.alice.send(ctx, request{verb: http.MethodPatch, path: core + "configmaps/settings", media: media, body: []byte(body)}, false)
					if err == nil && got.code/100 == 2 {
						select {
						case passed <- string(got.body):
						default:
						}
					}
				}
			}
		}()
	}
	for _, mode := range []string{"safer", "safest", "safe"} {
		in.commit(t.Context(), t, map[string]string{"deploy/settings.yaml": lab.ConfigMap("settings", "mode", mode)})
		var settings corev1.ConfigMap
		if err := in.Client.Get(t.Context(), client.ObjectKey{Namespace: locked, Name: "settings"}, &settings); err != nil || settings.Data["mode"] != mode {
			t.Errorf("settings are %v (%v), want %s", settings.Data, err, mode)
		}
	}
	cancel()
	select {
	case body := <-passed:
		t.Errorf("a write passed: %s", body)
	default:
	}
}

// TestAttack_K30_CoOwner applies our own content under another name, which changes
// nothing and so is allowed, and waits for Git to drop a field.
func TestAttack_K30_CoOwner(t *testing.T) {
	in := begin(t)
	path := core + "configmaps/drops"
	r := methods[3].make(path, nil, in.get(t, path))
	r.query.Set("fieldManager", "mallory")
	if got := in.ask(t, in.alice, r, false); got.code != http.StatusOK {
		t.Fatalf("applying what is there already: %d %s", got.code, got.status.Message)
	}
	owners := func() (out []string) {
		var m corev1.ConfigMap
		if err := in.Client.Get(t.Context(), client.ObjectKey{Namespace: locked, Name: "drops"}, &m); err != nil {
			t.Fatal(err)
		}
		for _, f := range m.ManagedFields {
			out = append(out, f.Manager)
		}
		return out
	}
	t.Logf("owned by %s", owners())
	in.commit(t.Context(), t, map[string]string{"deploy/drops.yaml": lab.ConfigMap("drops", "keep", "1")})
	var m corev1.ConfigMap
	if err := in.Client.Get(t.Context(), client.ObjectKey{Namespace: locked, Name: "drops"}, &m); err != nil || len(m.Data) != 1 || m.Data["keep"] != "1" {
		t.Errorf("what Git dropped stays: %v, %v", m.Data, err)
	}
	in.commit(t.Context(), t, map[string]string{"deploy/drops.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: drops}\ndata: {keep: \"1\", drop: \"1\"}\n"})
}

// TestAttack_K22_Stalled stops both replicas in the middle of a flood: no write may
// land unjudged, and all is well when they go on.
func TestAttack_K22_Stalled(t *testing.T) {
	in := begin(t)
	before := in.state(t)
	for _, w := range in.replicas {
		if err := w.Pause(); err != nil {
			t.Fatal(err)
		}
	}
	const writes = 40
	codes := make(chan int, writes)
	for range writes {
		go func() {
			got, _ := in.alice.send(t.Context(), request{verb: http.MethodPatch, path: core + "configmaps/settings", media: mergePatch, body: []byte(`{"data":{"mode":"reckless"}}`)}, false)
			codes <- got.code
		}()
	}
	for range writes {
		if code := <-codes; code/100 == 2 || code == 0 {
			t.Errorf("a write ended with %d", code)
		}
	}
	for _, w := range in.replicas {
		if err := w.Resume(); err != nil {
			t.Fatal(err)
		}
	}
	after := in.state(t)
	for key := range before {
		if before[key] != after[key] {
			t.Errorf("%s changed", key)
		}
	}
	in.changed(t, in.alice, core+"configmaps/settings", set("reckless", "data", "mode"), verdict.ContentMismatch)
}

// unlocked ends the replicas and their registration, has something done without the
// lock, and brings it back.
func (in *installation) unlocked(t *testing.T, do func()) {
	t.Helper()
	for _, w := range in.replicas {
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	}
	ctx := context.WithoutCancel(t.Context())
	registration := in.Cluster.Client().AdmissionregistrationV1()
	if err := registration.ValidatingWebhookConfigurations().Delete(ctx, webhookName, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		t.Error(err)
	}
	probe := request{verb: http.MethodPost, path: core + "configmaps", media: runtime.ContentTypeJSON, body: encode(manifest("{apiVersion: v1, kind: ConfigMap, metadata: {name: probe}}"))}
	eventually(t, patience, "the lock is off", func(ctx context.Context) (bool, error) {
		got, err := in.alice.send(ctx, probe, true)
		return got.code == http.StatusCreated, err
	})
	defer func() {
		in.replicas = nil
		if err := in.lock(ctx); err != nil {
			t.Error(err)
		}
	}()
	do()
}
