package lock_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// TestAttack_K17_Identities: whose word it is does not matter to what Git says.
func TestAttack_K17_Identities(t *testing.T) {
	in := begin(t)
	for name, who := range map[string]*caller{
		"Token":      in.reconciler, // the real one
		"Reconciler": in.as(t, lab.ReconcilerUser),
		"Controller": in.as(t, "system:serviceaccount:kube-system:deployment-controller"),
		"Collector":  in.as(t, "system:serviceaccount:kube-system:generic-garbage-collector"),
		"Manager":    in.as(t, "system:kube-controller-manager", "attackers"),
		"Masters":    in.as(t, "kubernetes-admin", "system:masters"),
		"APIServer":  in.as(t, "system:apiserver", "system:masters"),
		"Webhook":    in.as(t, lab.WebhookUser),
	} {
		t.Run(name+"/Edit", func(t *testing.T) {
			in.changed(t, who, deployment, all(image, set(int64(5), "spec", "replicas")), verdict.ContentMismatch)
		})
		t.Run(name+"/Delete", func(t *testing.T) {
			in.refused(t, who, deletion("", ""), core+"configmaps/settings", verdict.ManagedDelete)
		})
		t.Run(name+"/Create", func(t *testing.T) {
			in.refused(t, who, posted("{apiVersion: v1, kind: ConfigMap, metadata: {name: stray}}", 0), core+"configmaps", verdict.NotInGit)
		})
	}
}

// bounded waits until the API server holds what next returns to a policy, in a dry
// run. Where another test had the policies of the exempt pairs taken away, they are
// back before it minds them, and each is taken up by itself. No other refusal counts:
// a conflict comes before any policy is asked.
func (in *installation) bounded(t *testing.T, server *caller, next func() request) {
	t.Helper()
	// Two replicas put the policies back, and the API server takes up each of their
	// writes within a second: they count once they stay.
	const steady = 10
	times := 0
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		times++
		if !held(in.ask(t, server, next(), true)) {
			times = 0
		}
		if times == steady {
			return
		}
	}
	r := next()
	t.Fatalf("the policy that refuses %s %s is not minded", r.verb, r.path)
}

// held reports whether the lock or a policy of the API server refused a request.
func held(got reply) bool {
	return (got.code == http.StatusForbidden || got.code == http.StatusUnprocessableEntity) &&
		(strings.Contains(got.status.Message, "lock.gitgate.dev") || strings.Contains(got.status.Message, "ValidatingAdmissionPolicy 'gitgate-"))
}

// TestAttack_K17_ExemptPairs: what never reaches the webhook lest an outage kills
// the control plane is bound by policies of the API server itself.
func TestAttack_K17_ExemptPairs(t *testing.T) {
	in := begin(t)
	server := in.as(t, "system:apiserver", "system:masters")
	for name, tc := range map[string]struct {
		path string
		edit func(map[string]any)
	}{
		"ClusterRole": {"/apis/rbac.authorization.k8s.io/v1/clusterroles/harbor-reader", list(first(set([]any{"*"}, "verbs")), "rules")},
		"Role":        {"/apis/rbac.authorization.k8s.io/v1/namespaces/harbor/roles/reader", list(first(set([]any{"*"}, "verbs")), "rules")},
		"Binding":     {"/apis/rbac.authorization.k8s.io/v1/namespaces/harbor/rolebindings/reader", drop("subjects")},
	} {
		for _, m := range methods {
			edited := func() request { return in.edited(t, m, tc.path, tc.edit) }
			in.bounded(t, server, edited)
			t.Run(name+"/"+m.name, func(t *testing.T) { in.barred(t, server, edited()) })
		}
		deleted := func() request { return deletion("", "")(tc.path) }
		in.bounded(t, server, deleted)
		t.Run(name+"/Delete", func(t *testing.T) { in.barred(t, server, deleted()) })
	}
	in.settled(t)
}

// settled fails if replicas keep writing what they should agree about: between two
// writes a policy of the API server may be one that only warns.
func (in *installation) settled(t *testing.T) {
	t.Helper()
	const writes = 10
	for _, name := range []string{"gitgate-bootstrap-roles", "gitgate-bootstrap-bindings"} {
		binding := in.get(t, "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/"+name)
		if n := binding["metadata"].(map[string]any)["generation"].(float64); n > writes {
			t.Errorf("%s was written %v times: replicas fight about it", name, n)
		}
	}
}

// barred fails unless a request is refused by the lock or by a policy of the API
// server, and changes nothing.
func (in *installation) barred(t *testing.T, who *caller, r request) {
	t.Helper()
	before := in.state(t)
	for _, dry := range []bool{true, false} {
		got := in.ask(t, who, r, dry)
		if !held(got) {
			t.Errorf("%s %s as %s (dry run: %t): %d %s", r.verb, r.path, who.user, dry, got.code, got.status.Message)
		}
	}
	if diff := cmp.Diff(before, in.state(t)); diff != "" {
		t.Errorf("the attack changed what etcd holds (-before +after):\n%s", diff)
	}
}

func TestAttack_K19_KubeSystem(t *testing.T) {
	in := begin(t)
	who := in.as(t, "system:serviceaccount:kube-system:anything")
	for name, edit := range map[string]func(map[string]any){"Image": image, "Sidecar": sidecar} {
		t.Run(name, func(t *testing.T) {
			in.changed(t, who, deployment, edit, verdict.ContentMismatch, verdict.UndeclaredField)
		})
	}
	t.Run("Delete", func(t *testing.T) {
		in.refused(t, who, deletion("", ""), deployment, verdict.ManagedDelete)
	})
}

// TestAttack_K18_Mint mints identities whose word the lock gives weight to.
func TestAttack_K18_Mint(t *testing.T) {
	in := begin(t)
	const token = "{apiVersion: authentication.k8s.io/v1, kind: TokenRequest, spec: {expirationSeconds: 3600}}"
	for name, account := range map[string]string{
		"Controller": "kube-system/serviceaccounts/deployment-controller",
		"Collector":  "kube-system/serviceaccounts/generic-garbage-collector",
		"Reconciler": "gitgate-system/serviceaccounts/gitgate-reconciler",
	} {
		t.Run("Token/"+name, func(t *testing.T) {
			in.minted(t, in.alice, posted(token, 0)("/api/v1/namespaces/"+account+"/token"))
		})
	}
	for name, tc := range map[string]struct{ namespace, account string }{
		"Controller": {"kube-system", "deployment-controller"}, "Reconciler": {lab.SystemNamespace, "gitgate-reconciler"},
	} {
		t.Run("Secret/"+name, func(t *testing.T) {
			in.minted(t, in.alice, posted("{apiVersion: v1, kind: Secret, type: kubernetes.io/service-account-token, metadata: {name: mint, annotations: {kubernetes.io/service-account.name: "+
				tc.account+"}}}", 0)("/api/v1/namespaces/"+tc.namespace+"/secrets"))
		})
		t.Run("Pod/"+name, func(t *testing.T) {
			in.refusedAlone(t, in.alice, posted("{apiVersion: v1, kind: Pod, metadata: {name: mint}, spec: {serviceAccountName: "+
				tc.account+", containers: [{name: a, image: b}]}}", 0)("/api/v1/namespaces/"+tc.namespace+"/pods"), verdict.ProtectedIdentity, verdict.NotInGit)
		})
	}
	for name, subject := range map[string]pkix.Name{
		"Manager":    {CommonName: "system:kube-controller-manager"},
		"Scheduler":  {CommonName: "system:kube-scheduler"},
		"Controller": {CommonName: "system:serviceaccount:kube-system:deployment-controller"},
		"Reconciler": {CommonName: lab.ReconcilerUser},
	} {
		t.Run("Certificate/"+name, func(t *testing.T) { in.approves(t, subject, http.StatusForbidden) })
	}
	t.Run("Certificate/Somebody", func(t *testing.T) { in.approves(t, pkix.Name{CommonName: "bob"}, http.StatusOK) })
}

// TestAttack_K18_TrustRoots writes what signers and policies are known by: whoever is
// a signer says what Git says.
func TestAttack_K18_TrustRoots(t *testing.T) {
	in := begin(t)
	const base = "/api/v1/namespaces/gitgate-system/"
	for name, tc := range map[string]struct {
		path string
		edit func(map[string]any)
	}{
		"Signer":      {base + "secrets/harbor-signers", set("eA==", "data", "mallory.asc")},
		"Rule":        {base + "configmaps/harbor-rules", set("package main # allow all", "data", "rules.rego")},
		"OtherRule":   {base + "configmaps/harbor-rules", set("package main", "data", "more.rego")},
		"TrustPolicy": {"/apis/gitgate.dev/v1alpha1/trustpolicies/harbor", set([]any{"elsewhere"}, "spec", "namespaces")},
		"PolicySet":   {"/apis/gitgate.dev/v1alpha1/policysets/baseline", set(map[string]any{"main.rego": "package main"}, "spec", "source", "inline")},
		"GitSync":     {"/apis/gitgate.dev/v1alpha1/namespaces/gitgate-system/gitsyncs/harbor", set("Off", "spec", "lock", "mode")},
	} {
		for _, m := range methods[1:] {
			t.Run(name+"/"+m.name, func(t *testing.T) {
				in.refusedAlone(t, in.alice, in.edited(t, m, tc.path, tc.edit), verdict.NotInGit)
			})
		}
		t.Run(name+"/Delete", func(t *testing.T) { in.refusedAlone(t, in.alice, deletion("", "")(tc.path), verdict.NotInGit) })
	}
	t.Run("Credentials", func(t *testing.T) { // the same without keys of signers
		for _, m := range methods[1:] {
			in.succeeds(t, in.alice, in.edited(t, m, base+"secrets/"+lab.GitSecret, set("eA==", "data", "password")))
		}
	})
}

// minted fails unless a request is refused and its answer holds no token.
func (in *installation) minted(t *testing.T, who *caller, r request) {
	t.Helper()
	for _, dry := range []bool{true, false} {
		got := in.denied(t, who, r, dry, verdict.ProtectedIdentity)
		if bytes.Contains(got.body, []byte("eyJ")) {
			t.Errorf("dry run %t: the answer holds a token: %s", dry, got.body)
		}
	}
	if twin := withoutToken(in, t, r); twin != http.StatusCreated {
		t.Errorf("for an account that nobody gives weight to the request ends with %d: the attack proves nothing", twin)
	}
}

// withoutToken sends the same for the account default of the twin.
func withoutToken(in *installation, t *testing.T, r request) int {
	t.Helper()
	path, body := "/api/v1/namespaces/"+free+"/serviceaccounts/default/token", r.body
	if bytes.Contains(body, []byte("Secret")) {
		path = "/api/v1/namespaces/" + free + "/secrets"
		body = encode(manifest("{apiVersion: v1, kind: Secret, type: kubernetes.io/service-account-token, metadata: {generateName: mint-, annotations: {kubernetes.io/service-account.name: default}}}"))
	}
	r.path, r.body = path, body
	return in.ask(t, in.alice, r, false).code
}

// approves asks for a certificate, approves it, and fails unless that ends as told.
func (in *installation) approves(t *testing.T, subject pkix.Name, want int) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "mint-"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			SignerName: certificatesv1.KubeAPIServerClientSignerName, Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
		},
	}
	if err := in.Client.Create(t.Context(), csr); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := in.Client.Delete(context.WithoutCancel(t.Context()), csr); err != nil {
			t.Error(err)
		}
	}()
	path := "/apis/certificates.k8s.io/v1/certificatesigningrequests/" + csr.Name + "/approval"
	for _, m := range methods[:3] {
		r := in.edited(t, m, path, set([]any{map[string]any{"type": "Approved", "status": "True", "reason": "x", "message": "y"}}, "status", "conditions"))
		for _, dry := range []bool{true, false} {
			if want == http.StatusForbidden {
				in.denied(t, in.alice, r, dry, verdict.ProtectedIdentity)
			} else if got := in.ask(t, in.alice, r, dry); got.code != want {
				t.Errorf("%s: %d %s, want %d", m.name, got.code, got.status.Message, want)
			}
		}
	}
	if err := in.Client.Get(t.Context(), client.ObjectKeyFromObject(csr), csr); err != nil || want != http.StatusOK && len(csr.Status.Certificate)+len(csr.Status.Conditions) > 0 {
		t.Errorf("the certificate is made: %v %+v", err, csr.Status)
	}
}

// TestAttack_K31_DryRunToken: a dry run of a TokenRequest answers with a token that
// works.
func TestAttack_K31_DryRunToken(t *testing.T) {
	in := begin(t)
	const token = "{apiVersion: authentication.k8s.io/v1, kind: TokenRequest, spec: {expirationSeconds: 3600}}"
	dryRunner := in.as(t, "system:serviceaccount:"+lab.SystemNamespace+":"+lab.DryRunAccount)
	for name, tc := range map[string]struct {
		who  *caller
		path string
		dry  bool
	}{
		"Alice":            {in.alice, core + "serviceaccounts/default/token", true},
		"AliceElsewhere":   {in.alice, "/api/v1/namespaces/meadow/serviceaccounts/default/token", true},
		"Masters":          {in.as(t, "kubernetes-admin", "system:masters"), "/api/v1/namespaces/kube-system/serviceaccounts/default/token", true},
		"DryRunner":        {dryRunner, "/api/v1/namespaces/meadow/serviceaccounts/default/token", true},
		"DryRunnerForReal": {dryRunner, "/api/v1/namespaces/meadow/serviceaccounts/default/token", false},
	} {
		t.Run(name, func(t *testing.T) {
			got := in.ask(t, tc.who, posted(token, 0)(tc.path), tc.dry)
			var answer struct{ Status struct{ Token string } }
			_ = json.Unmarshal(got.body, &answer) // a Status has none
			if got.code != http.StatusForbidden && got.code != http.StatusUnprocessableEntity || answer.Status.Token != "" {
				t.Errorf("%d, token of %d bytes, %s", got.code, len(answer.Status.Token), got.status.Message)
			}
			if !says(got.status.Message, []verdict.Reason{verdict.ProtectedIdentity, verdict.SubresourceDenied}) && !bytes.Contains(got.body, []byte("ValidatingAdmissionPolicy")) {
				t.Errorf("refused for another reason: %s", got.status.Message)
			}
		})
	}
	t.Run("DryRunnerWrites", func(t *testing.T) {
		got := in.ask(t, dryRunner, posted("{apiVersion: v1, kind: ConfigMap, metadata: {name: stray}}", 0)("/api/v1/namespaces/meadow/configmaps"), false)
		if got.code == http.StatusCreated {
			t.Error("the dry-run account writes for real")
		}
		if err := in.Client.Get(t.Context(), client.ObjectKey{Namespace: free, Name: "stray"}, &corev1.ConfigMap{}); client.IgnoreNotFound(err) != nil || err == nil {
			t.Errorf("the object is there: %v", err)
		}
	})
	t.Run("Works", func(t *testing.T) { // for real, where nothing is locked, by who may
		if got := in.ask(t, in.alice, posted(token, 0)("/api/v1/namespaces/meadow/serviceaccounts/default/token"), false); got.code != http.StatusCreated {
			t.Errorf("%d %s", got.code, got.status.Message)
		}
	})
}

// TestAttack_K26_MirrorPod: only a node pictures its static Pods.
func TestAttack_K26_MirrorPod(t *testing.T) {
	in := begin(t)
	const pod = "{apiVersion: v1, kind: Pod, metadata: {name: static-node-0, namespace: harbor, annotations: {kubernetes.io/config.mirror: x, kubernetes.io/config.hash: x, kubernetes.io/config.source: file}}, " +
		"spec: {nodeName: node-0, containers: [{name: a, image: evil.example.com/miner}]}}"
	in.refused(t, in.alice, posted(pod, 0), core+"pods", verdict.NotDerived)
	in.refused(t, in.as(t, "system:node:node-1", "attackers"), posted(pod, 0), core+"pods", verdict.NotDerived)
}

// TestAttack_K27_Traffic sends the traffic of a Service elsewhere, and takes
// gitgate's Lease.
func TestAttack_K27_Traffic(t *testing.T) {
	in := begin(t)
	const slice = "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-mine, labels: {kubernetes.io/service-name: web}}, addressType: IPv4, endpoints: [{addresses: [10.9.9.9]}], ports: [{port: 80}]}"
	in.refused(t, in.alice, posted(slice, 0), "/apis/discovery.k8s.io/v1/namespaces/harbor/endpointslices", verdict.NotDerived)
	in.refused(t, in.as(t, "system:serviceaccount:kube-system:replicaset-controller"), posted(slice, 0), "/apis/discovery.k8s.io/v1/namespaces/harbor/endpointslices", verdict.NotDerived)
	for _, m := range methods {
		t.Run("Endpoints/"+m.name, func(t *testing.T) {
			subsets := []any{map[string]any{"addresses": []any{map[string]any{"ip": "10.9.9.9"}}, "ports": []any{map[string]any{"port": int64(80)}}}}
			in.refused(t, in.alice, func(path string) request { return in.edited(t, m, path, set(subsets, "subsets")) }, core+"endpoints/web", verdict.NotDerived)
		})
	}
	lease := request{
		verb: http.MethodPost, path: "/apis/coordination.k8s.io/v1/namespaces/gitgate-system/leases", media: runtime.ContentTypeJSON,
		body: encode(manifest("{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: gitgate}, spec: {holderIdentity: mallory, leaseDurationSeconds: 3600}}")),
	}
	t.Run("Lease", func(t *testing.T) { in.refusedAlone(t, in.alice, lease, verdict.NotInGit) })
}
