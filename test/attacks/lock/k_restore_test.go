package lock_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	arv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/lab"
)

const registration = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/" + webhookName

// TestAttack_K20_Registration weakens the registration of the webhook, which no
// webhook sees: it must be back within 5 s.
func TestAttack_K20_Registration(t *testing.T) {
	in := begin(t)
	hooks := func(change func(map[string]any)) func(map[string]any) {
		return list(func(items []any) []any {
			for _, i := range items {
				change(i.(map[string]any))
			}
			return items
		}, "webhooks")
	}
	other := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificate().Raw})
	for name, edit := range map[string]func(map[string]any){
		"FailurePolicy":     hooks(set("Ignore", "failurePolicy")),
		"Bundle":            hooks(set(base64.StdEncoding.EncodeToString(authority), "clientConfig", "caBundle")),
		"URL":               hooks(set("https://127.0.0.1:1/admit", "clientConfig", "url")),
		"NamespaceSelector": hooks(set(map[string]any{"x": "y"}, "namespaceSelector", "matchLabels")),
		"ObjectSelector":    hooks(set(map[string]any{"x": "y"}, "objectSelector", "matchLabels")),
		"Rules":             hooks(list(first(set([]any{"CREATE"}, "operations")), "rules")),
		"Condition":         hooks(list(plus(map[string]any{"name": "never", "expression": "false"}), "matchConditions")),
		"Timeout":           hooks(set(int64(1), "timeoutSeconds")),
		"NoWebhooks":        set([]any{}, "webhooks"),
		"Delete":            nil,
	} {
		t.Run(name, func(t *testing.T) { in.reregistered(t, edit) })
	}
	t.Run("Policies", func(t *testing.T) { in.policiesReturn(t) })
}

// reregistered changes the registration, or deletes it, and measures how long that
// lasts.
func (in *installation) reregistered(t *testing.T, edit func(map[string]any)) {
	t.Helper()
	want, _ := json.Marshal(in.get(t, registration)["webhooks"])
	r := request{verb: http.MethodDelete, path: registration}
	if edit != nil {
		r = in.edited(t, methods[2], registration, edit)
	}
	if got := in.ask(t, in.alice, r, false); got.code != http.StatusOK {
		t.Fatalf("no admission sees it: %d %s", got.code, got.status.Message)
	}
	start := time.Now()
	eventually(t, 5*time.Second, "the registration is back", func(ctx context.Context) (bool, error) {
		got, err := in.alice.send(ctx, request{verb: http.MethodGet, path: registration}, false)
		if err != nil || got.code != http.StatusOK {
			return false, err
		}
		var m map[string]any
		if err := json.Unmarshal(got.body, &m); err != nil {
			return false, err
		}
		now, _ := json.Marshal(m["webhooks"])
		return bytes.Equal(now, want), nil
	})
	t.Logf("back after %s", time.Since(start))
	eventually(t, patience, "the lock is in force", func(ctx context.Context) (bool, error) {
		got, err := in.alice.send(ctx, posted("{apiVersion: v1, kind: ConfigMap, metadata: {name: probe}}", 0)(core+"configmaps"), true)
		return got.code == http.StatusForbidden, err
	})
}

// policiesReturn deletes the ValidatingAdmissionPolicies that bound what the
// webhook does not see, and their bindings.
func (in *installation) policiesReturn(t *testing.T) {
	t.Helper()
	api := in.Cluster.Client().AdmissionregistrationV1()
	policies, err := api.ValidatingAdmissionPolicies().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(policies.Items) < 5 {
		t.Fatalf("%d policies, %v", len(policies.Items), err)
	}
	for _, path := range []string{"validatingadmissionpolicies", "validatingadmissionpolicybindings"} {
		base := "/apis/admissionregistration.k8s.io/v1/" + path
		before := names(in.get(t, base))
		if got := in.ask(t, in.alice, deletion("", "")(base), false); got.code != http.StatusOK {
			t.Fatalf("%d %s", got.code, got.status.Message)
		}
		eventually(t, 5*time.Second, path+" are back", func(context.Context) (bool, error) {
			return names(in.get(t, base)) == before, nil
		})
	}
}

func names(list map[string]any) string {
	var out []string
	items, _ := list["items"].([]any)
	for _, i := range items {
		name, _, _ := unstructured.NestedString(i.(map[string]any), "metadata", "name")
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

// TestAttack_K34_BeforeTheLock adds a sidecar while there is no lock and nobody
// reconciles; then the lock holds, and still lets the next apply remove it.
func TestAttack_K34_BeforeTheLock(t *testing.T) {
	in := begin(t)
	if err := in.Server().Stop(); err != nil {
		t.Fatal(err)
	}
	in.unlocked(t, func() {
		for _, r := range []request{
			in.edited(t, methods[2], deployment, all(sidecar, set("1", "metadata", "annotations", "evil.example.com/x"))),
			in.edited(t, methods[2], core+"configmaps/settings", set("1", "data", "extra")),
		} {
			if got := in.ask(t, in.alice, r, false); got.code != http.StatusOK {
				t.Errorf("without the lock: %d %s", got.code, got.status.Message)
			}
		}
	})
	var web appsv1.Deployment
	key := client.ObjectKey{Namespace: locked, Name: "web"}
	if err := in.Client.Get(t.Context(), key, &web); err != nil || len(web.Spec.Template.Spec.Containers) != 2 {
		t.Errorf("the sidecar is not there to be removed: %v", err)
	}
	if _, err := in.Serve(t.Context(), lab.LockArgs()...); err != nil {
		t.Fatal(err)
	}
	in.restored(t, func(ctx context.Context) (bool, error) {
		var settings corev1.ConfigMap
		if err := in.Client.Get(ctx, client.ObjectKey{Namespace: locked, Name: "settings"}, &settings); err != nil {
			return false, err
		}
		web = appsv1.Deployment{}
		err := in.Client.Get(ctx, key, &web)
		return len(web.Spec.Template.Spec.Containers) == 1 && web.Annotations["evil.example.com/x"] == "" && settings.Data["extra"] == "", err
	})
}

// TestAttack_K9_K11_K18_K24_K27_WithoutLock is the negative control of attacks on what
// has no twin: without the lock each of them succeeds.
func TestAttack_K9_K11_K18_K24_K27_WithoutLock(t *testing.T) {
	in := begin(t)
	const own, definition = "/api/v1/namespaces/gitgate-system/", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gitsyncs.gitgate.dev"
	requests := map[string]request{
		"GitSync":    deletion("", "")("/apis/gitgate.dev/v1alpha1/namespaces/gitgate-system/gitsyncs/harbor"),
		"Definition": deletion("", "")(definition),
		"Conversion": in.edited(t, methods[2], definition, set("v1beta1", "metadata", "labels", "x")),
		"Replicas":   deletion("", "")("/apis/apps/v1/namespaces/harbor/replicasets/" + in.podOf(t, locked).OwnerReferences[0].Name),
		"Signer":     in.edited(t, methods[2], own+"secrets/harbor-signers", set("eA==", "data", "mallory.asc")),
		"Rule":       in.edited(t, methods[2], own+"configmaps/harbor-rules", set("package main", "data", "more.rego")),
		"Trust":      in.edited(t, methods[2], "/apis/gitgate.dev/v1alpha1/trustpolicies/harbor", set([]any{"elsewhere"}, "spec", "namespaces")),
		"Namespace":  in.edited(t, methods[2], "/api/v1/namespaces/gitgate-system", set("1", "metadata", "labels", "x")),
		"Lease":      posted("{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: gitgate}}", 0)("/apis/coordination.k8s.io/v1/namespaces/gitgate-system/leases"),
		"Token": posted("{apiVersion: authentication.k8s.io/v1, kind: TokenRequest, spec: {}}", 0)(
			"/api/v1/namespaces/kube-system/serviceaccounts/deployment-controller/token"),
	}
	in.unlocked(t, func() {
		for name, r := range requests {
			if got := in.ask(t, in.alice, r, true); got.code/100 != 2 {
				t.Errorf("%s: without the lock: %d %s", name, got.code, got.status.Message)
			}
		}
		proxy := request{verb: http.MethodGet, path: "/api/v1/nodes/node-0/proxy"}
		if got, err := in.alice.send(t.Context(), proxy, false); err != nil || strings.Contains(got.status.Message, "admission webhook") {
			t.Errorf("nodes/proxy: without the lock: %d %v %s", got.code, err, got.status.Message)
		}
	})
}

// restored fails unless something is as Git says within 10 s.
func (in *installation) restored(t *testing.T, holds func(context.Context) (bool, error)) {
	t.Helper()
	start := time.Now()
	eventually(t, 10*time.Second, "restored", holds)
	t.Logf("restored after %s", time.Since(start))
}

// TestAttack_K25_Storage writes into etcd, which no admission sees. What is put there
// under a name that Git never had stays: nothing says that it should not be.
func TestAttack_K25_Storage(t *testing.T) {
	in := begin(t)
	const key = "/registry/configmaps/harbor/settings"
	stored, err := in.Cluster.EtcdGet(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	as := func(ctx context.Context) (bool, error) {
		var m corev1.ConfigMap
		err := in.Client.Get(ctx, client.ObjectKey{Namespace: locked, Name: "settings"}, &m)
		return err == nil && len(m.Data) == 1 && m.Data["mode"] == "safe", client.IgnoreNotFound(err)
	}
	for name, evil := range map[string][]byte{
		"Edit":   bytes.Replace(stored, []byte(`"mode":"safe"`), []byte(`"mode":"evil"`), 1),
		"Add":    bytes.Replace(stored, []byte(`"mode":"safe"`), []byte(`"mode":"safe","extra":"1"`), 1),
		"Delete": nil,
	} {
		t.Run(name, func(t *testing.T) {
			if evil == nil {
				err = in.Cluster.EtcdDelete(t.Context(), key)
			} else if bytes.Equal(evil, stored) {
				t.Fatalf("etcd holds no JSON to edit: %.80q", stored)
			} else {
				err = in.Cluster.EtcdPut(t.Context(), key, evil)
			}
			if err != nil {
				t.Fatal(err)
			}
			in.restored(t, as)
		})
	}
	t.Run("Insert", func(t *testing.T) { // of another object under the name
		other := bytes.Replace(stored, []byte(`"mode":"safe"`), []byte(`"mode":"evil"`), 1)
		for _, swap := range [][2]string{{uid.FindString(string(stored)), `"uid":"00000000-0000-4000-8000-000000000000"`}, {`gitgate.dev/name`, `evil.example.com/name`}} {
			other = bytes.ReplaceAll(other, []byte(swap[0]), []byte(swap[1]))
		}
		if err := in.Cluster.EtcdDelete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if err := in.Cluster.EtcdPut(t.Context(), key, other); err != nil {
			t.Fatal(err)
		}
		in.restored(t, as)
	})
}

// uid is where an object stored as JSON says its own.
var uid = regexp.MustCompile(`"uid":"[^"]+"`)

// TestAttack_K21_LaterMutation has a webhook rewrite what Alice sends, after which
// it is judged; and forges the word of a verifier.
func TestAttack_K21_LaterMutation(t *testing.T) {
	in := begin(t)
	asked := make(chan struct{}, 1)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(req.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		select {
		case asked <- struct{}{}:
		default:
		}
		kind := admissionv1.PatchTypeJSONPatch
		review.Response = &admissionv1.AdmissionResponse{
			UID: review.Request.UID, Allowed: true, PatchType: &kind,
			Patch: []byte(`[{"op":"add","path":"/spec/template/spec/containers/-","value":{"name":"injected","image":"evil.example.com/miner"}}]`),
		}
		_ = json.NewEncoder(w).Encode(review) // the API server may hang up
	}))
	t.Cleanup(server.Close)
	url, none, fail := server.URL, arv1.SideEffectClassNone, arv1.Fail
	hook := &arv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "zzz-injector"}, Webhooks: []arv1.MutatingWebhook{{
		Name: "injector.evil.example.com", SideEffects: &none, FailurePolicy: &fail, AdmissionReviewVersions: []string{"v1"},
		ClientConfig: arv1.WebhookClientConfig{URL: &url, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})},
		Rules: []arv1.RuleWithOperations{{Operations: []arv1.OperationType{arv1.Create, arv1.Update}, Rule: arv1.Rule{
			APIGroups: []string{"apps"}, APIVersions: []string{"v1"}, Resources: []string{"deployments"},
		}}},
		MatchConditions: []arv1.MatchCondition{{Name: "alice", Expression: "request.userInfo.username == 'alice'"}},
	}}}
	if err := in.Client.Create(t.Context(), hook); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := in.Client.Delete(context.WithoutCancel(t.Context()), hook); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	}()
	nothing := func(map[string]any) {}
	eventually(t, patience, "the injector is asked", func(ctx context.Context) (bool, error) {
		_, err := in.alice.send(ctx, in.edited(t, methods[0], deployment, nothing), true)
		return len(asked) > 0, err
	})
	for _, m := range methods {
		t.Run(m.name, func(t *testing.T) {
			in.refused(t, in.alice, func(path string) request { return in.edited(t, m, path, nothing) }, deployment, verdict.UndeclaredField, verdict.ContentMismatch)
		})
	}
	t.Run("Verified", func(t *testing.T) {
		in.changed(t, in.alice, core+"configmaps/settings", all(set("reckless", "data", "mode"), set("true", "metadata", "annotations", "gitgate.dev/verified")),
			verdict.ContentMismatch, verdict.UndeclaredField)
	})
}
