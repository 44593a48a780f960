package lock_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/policy/verdict"
)

// request returns a certificate request in base64, as a CertificateSigningRequest
// holds it.
func request(t *testing.T, name string, groups ...string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name, Organization: groups}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func TestAttack_K18_Identities(t *testing.T) {
	w := shop(t)
	tokenFor := func(ns, name string) string {
		return `{apiVersion: authentication.k8s.io/v1, kind: TokenRequest, metadata: {name: ` + name + `, namespace: ` + ns + `}, spec: {}}`
	}
	secretFor := func(ns, name string) string {
		return `{apiVersion: v1, kind: Secret, metadata: {name: x, namespace: ` + ns + `, annotations: {kubernetes.io/service-account.name: ` + name + `}}, type: kubernetes.io/service-account-token}`
	}
	csr := func(req, status string) string {
		return `{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {name: c}, spec: {request: "` + req + `"}, status: {conditions: [` + status + `]}}`
	}
	approve := func(req string) try {
		return try{user: alice, op: admissionv1.Update, sub: "approval", old: csr(req, ""), new: csr(req, "{type: Approved}")}
	}
	podAs := func(ns, account string) string {
		return `{apiVersion: v1, kind: Pod, metadata: {name: x, namespace: ` + ns + `}, spec: {serviceAccountName: ` + account + `, containers: [{name: c, image: i}]}}`
	}
	keys := func(kind, entry string) string {
		return `{apiVersion: v1, kind: ` + kind + `, metadata: {name: signers, namespace: ` + system + `}, data: {` + entry + `}}`
	}
	for name, tc := range map[string]struct {
		reason string
		try    try
		want   want
	}{
		"SignerAdded":      {"Who is a signer writes what Git says.", try{user: alice, op: admissionv1.Update, old: keys("Secret", "a.asc: eA=="), new: keys("Secret", "a.asc: eA==, b.asc: eA==")}, verdict.NotInGit},
		"SignerFirst":      {"Also the first one.", try{user: alice, op: admissionv1.Update, old: keys("ConfigMap", "x: y"), new: keys("ConfigMap", "x: y, b.asc: k")}, verdict.NotInGit},
		"SignersMade":      {"Or where there was none.", try{user: reconciler, op: admissionv1.Create, new: keys("ConfigMap", "b.asc: k")}, verdict.NotInGit},
		"SignersGone":      {"Whoever deletes them makes them anew.", try{user: alice, op: admissionv1.Delete, old: keys("Secret", "a.asc: eA==")}, verdict.NotInGit},
		"Rules":            {"The rules by which Git is judged.", try{user: alice, op: admissionv1.Update, old: keys("ConfigMap", "a.rego: x"), new: keys("ConfigMap", "a.rego: y")}, verdict.NotInGit},
		"SignersSame":      {"Nothing changes.", try{user: alice, op: admissionv1.Update, old: keys("Secret", "a.asc: eA=="), new: keys("Secret", "a.asc: eA==")}, ""},
		"NoKeys":           {"Credentials are people's.", try{user: alice, op: admissionv1.Update, old: keys("Secret", "password: eA=="), new: keys("Secret", "password: eQ==")}, ""},
		"Controller":       {"The token of a controller.", try{user: alice, op: admissionv1.Create, sub: "token", resource: accounts, new: tokenFor("kube-system", "deployment-controller")}, verdict.ProtectedIdentity},
		"Reconciler":       {"Of the reconciler.", try{user: alice, op: admissionv1.Create, sub: "token", resource: accounts, new: tokenFor(system, "gitgate-reconciler")}, verdict.ProtectedIdentity},
		"K31/DryRun":       {"As a dry run.", try{user: alice, op: admissionv1.Create, sub: "token", resource: accounts, new: tokenFor("kube-system", "deployment-controller"), dry: true}, verdict.ProtectedIdentity},
		"K31/DryRunOther":  {"Of any account.", try{user: alice, op: admissionv1.Create, sub: "token", resource: accounts, new: tokenFor("other", "x"), dry: true}, verdict.ProtectedIdentity},
		"K31/DryRunner":    {"By the dry-run account.", try{user: dryRunner, op: admissionv1.Create, sub: "token", resource: accounts, new: tokenFor("other", "x"), dry: true}, verdict.SubresourceDenied},
		"Manager":          {"The controller manager makes those of its controllers.", try{user: kcm, op: admissionv1.Create, sub: "token", resource: accounts, new: tokenFor("kube-system", "deployment-controller")}, ""},
		"Other":            {"An account that means nothing to the lock.", try{user: alice, op: admissionv1.Create, sub: "token", resource: accounts, new: tokenFor("other", "x")}, ""},
		"OtherKubeSystem":  {"Also in kube-system.", try{user: alice, op: admissionv1.Create, sub: "token", resource: accounts, new: tokenFor("kube-system", "coredns")}, ""},
		"Secret":           {"A Secret that is filled with a token.", try{user: alice, op: admissionv1.Create, new: secretFor("kube-system", "generic-garbage-collector")}, verdict.ProtectedIdentity},
		"SecretReconciler": {"With the reconciler's.", try{user: alice, op: admissionv1.Create, new: secretFor(system, "gitgate-reconciler")}, verdict.ProtectedIdentity},
		"SecretChanged":    {"Or that comes to name it.", try{user: alice, op: admissionv1.Update, old: secretFor("kube-system", "coredns"), new: secretFor("kube-system", "namespace-controller")}, verdict.ProtectedIdentity},
		"SecretFilled":     {"The token controller fills it.", try{user: kcm, op: admissionv1.Update, old: secretFor("kube-system", "namespace-controller"), new: edit(secretFor("kube-system", "namespace-controller"), "type:", "data: {token: eA==}, type:")}, ""},
		"CSR":              {"A certificate of the controller manager.", approve(request(t, kcm)), verdict.ProtectedIdentity},
		"CSRAccount":       {"Of a controller.", approve(request(t, controller("deployment-controller"))), verdict.ProtectedIdentity},
		"CSRMasters":       {"Of a group above all.", approve(request(t, "x", "system:masters")), verdict.ProtectedIdentity},
		"CSRGarbage":       {"What cannot be read is not approved.", approve("eHl6"), verdict.ProtectedIdentity},
		"CSRNode":          {"Nodes join.", approve(request(t, "system:node:n9", "system:nodes")), ""},
		"CSRDenied":        {"To say no is always open.", try{user: alice, op: admissionv1.Update, sub: "approval", old: csr(request(t, kcm), ""), new: csr(request(t, kcm), "{type: Denied}")}, ""},
		"Pod":              {"A Pod that runs as a controller.", try{user: alice, op: admissionv1.Create, new: podAs("kube-system", "deployment-controller")}, verdict.ProtectedIdentity},
		"PodReconciler":    {"As the reconciler.", try{user: alice, op: admissionv1.Create, new: podAs(system, "gitgate-reconciler")}, verdict.ProtectedIdentity},
		"PodOther":         {"As itself.", try{user: alice, op: admissionv1.Create, new: podAs("kube-system", "coredns")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w.check(t, tc.reason, tc.try, tc.want)
			if tc.want == "" {
				return
			}
			// No grant makes somebody another.
			w.grants["serviceaccounts/"+w.request(tc.try).Name] = true
			w.check(t, "A grant is for an action, not for an identity.", tc.try, tc.want)
		})
	}
}

func TestSystem(t *testing.T) {
	w := shop(t)
	const (
		sync   = `{apiVersion: gitgate.dev/v1alpha1, kind: GitSync, metadata: {name: shop, namespace: team}, spec: {lock: {mode: Enforce}}}`
		trust  = `{apiVersion: gitgate.dev/v1alpha1, kind: TrustPolicy, metadata: {name: production}, spec: {a: b}}`
		grant  = `{apiVersion: gitgate.dev/v1alpha1, kind: BreakGlass, metadata: {name: g}, spec: {a: b}}`
		ns     = `{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {pod-security.kubernetes.io/enforce: restricted}}}`
		crd    = `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: NAME}, spec: {conversion: {strategy: None}}}`
		api    = `{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v1.apps}, spec: {group: GROUP, version: v1, service: {name: x, namespace: y}}}`
		lease  = `{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: gitgate-reconciler, namespace: gitgate-system}, spec: {holderIdentity: a}}`
		deploy = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: gitgate-webhook, namespace: gitgate-system, uid: g1}, spec: {replicas: 2, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {serviceAccountName: gitgate-webhook, containers: [{name: c, image: i}]}}}}`
		slice  = `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: x, namespace: shop, labels: {kubernetes.io/service-name: web}}, endpoints: [{addresses: [1.2.3.4]}]}`
	)
	w.own(deploy)
	set := `{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: gitgate-webhook-1, namespace: gitgate-system, uid: g2, labels: {a: b, pod-template-hash: "1"}, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: gitgate-webhook, uid: g1, controller: true}]}, spec: {selector: {matchLabels: {a: b, pod-template-hash: "1"}}, template: {metadata: {labels: {a: b, pod-template-hash: "1"}}, spec: {serviceAccountName: gitgate-webhook, containers: [{name: c, image: i}]}}}}`
	w.own(set)
	pod := `{apiVersion: v1, kind: Pod, metadata: {name: gitgate-webhook-1-x, namespace: gitgate-system, labels: {a: b, pod-template-hash: "1"}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: gitgate-webhook-1, uid: g2, controller: true}]}, spec: {serviceAccountName: gitgate-webhook, containers: [{name: c, image: i}]}}`
	own := "system:serviceaccount:gitgate-system:gitgate-webhook"
	for name, tc := range map[string]struct {
		reason string
		try    try
		want   want
	}{
		"SyncEdit":          {"The lock cannot be turned off from within.", try{user: alice, op: admissionv1.Update, old: sync, new: edit(sync, "Enforce", "Off")}, verdict.NotInGit},
		"SyncDelete":        {"Nor deleted.", try{user: alice, op: admissionv1.Delete, old: sync}, verdict.NotInGit},
		"SyncCreate":        {"Nor joined by others.", try{user: alice, op: admissionv1.Create, new: edit(sync, "name: shop", "name: evil")}, verdict.NotInGit},
		"SyncStatus":        {"Its status is gitgate's.", try{user: reconciler, op: admissionv1.Update, sub: "status", old: sync, new: edit(sync, "spec:", "status: {a: b}, spec:")}, ""},
		"SyncStatusReplica": {"And the webhook's.", try{user: own, op: admissionv1.Update, sub: "status", old: sync, new: edit(sync, "spec:", "status: {a: b}, spec:")}, ""},
		"SyncStatusAlice":   {"Nobody else's.", try{user: alice, op: admissionv1.Update, sub: "status", old: sync, new: edit(sync, "spec:", "status: {a: b}, spec:")}, verdict.SubresourceDenied},
		"K6/SyncStatus":     {"Nothing but the status.", try{user: reconciler, op: admissionv1.Update, sub: "status", old: sync, new: edit(sync, "name: shop,", "name: shop, labels: {a: b},")}, verdict.SubresourceDenied},
		"SyncFinalizer":     {"The reconciler keeps its finalizer.", try{user: reconciler, op: admissionv1.Update, old: sync, new: edit(sync, "name: shop,", "name: shop, finalizers: [gitgate.dev/finalizer],")}, ""},
		"K17/SyncSpec":      {"And not more.", try{user: reconciler, op: admissionv1.Update, old: sync, new: edit(sync, "name: shop,", "name: shop, finalizers: [gitgate.dev/finalizer],", "Enforce", "Off")}, verdict.NotInGit},
		"FinalizerAlice":    {"Nobody else does.", try{user: alice, op: admissionv1.Update, old: edit(sync, "name: shop,", "name: shop, finalizers: [gitgate.dev/finalizer],"), new: sync}, verdict.NotInGit},
		"Trust":             {"Who is trusted.", try{user: alice, op: admissionv1.Update, old: trust, new: edit(trust, "a: b", "a: c")}, verdict.NotInGit},
		"Grant":             {"A grant opens nothing by being there.", try{user: alice, op: admissionv1.Create, new: grant}, ""},
		"K11/Namespace":     {"A namespace that holds Git's objects.", try{user: alice, op: admissionv1.Delete, old: ns}, verdict.ManagedDelete},
		"K4/OwnLabel":       {"What guards our own Pods.", try{user: alice, op: admissionv1.Update, old: edit(ns, "name: shop", "name: gitgate-system"), new: edit(ns, "name: shop", "name: gitgate-system", "restricted", "privileged")}, verdict.NotInGit},
		"K11/Own":           {"And with our namespace we would go.", try{user: alice, op: admissionv1.Delete, old: edit(ns, "name: shop", "name: gitgate-system")}, verdict.ManagedDelete},
		"K11/Home":          {"Or the GitSync itself.", try{user: alice, op: admissionv1.Delete, old: edit(ns, "name: shop", "name: team")}, verdict.ManagedDelete},
		"K4/Label":          {"Its labels are Git's.", try{user: alice, op: admissionv1.Update, old: ns, new: edit(ns, "restricted", "privileged")}, verdict.ContentMismatch},
		"Namespace":         {"Another one goes.", try{user: alice, op: admissionv1.Delete, old: edit(ns, "name: shop", "name: other")}, ""},
		"K29/CRD":           {"With the definition go the objects.", try{user: alice, op: admissionv1.Delete, old: edit(crd, "NAME", "deployments.apps")}, verdict.ManagedDelete},
		"K29/OwnCRD":        {"And gitgate with its own.", try{user: alice, op: admissionv1.Delete, old: edit(crd, "NAME", "gitsyncs.gitgate.dev")}, verdict.ManagedDelete},
		"K24/Conversion":    {"Conversion rewrites every object.", try{user: alice, op: admissionv1.Update, old: edit(crd, "NAME", "deployments.apps"), new: edit(crd, "NAME", "deployments.apps", "None", "Webhook")}, verdict.NotInGit},
		"OtherCRD":          {"Others are free.", try{user: alice, op: admissionv1.Update, old: edit(crd, "NAME", "as.example.com"), new: edit(crd, "NAME", "as.example.com", "None", "Webhook")}, ""},
		"K24/APIService":    {"Whoever serves a group says what is in it.", try{user: alice, op: admissionv1.Create, new: edit(api, "GROUP", "apps")}, verdict.NotInGit},
		"OtherAPIService":   {"Others are free.", try{user: alice, op: admissionv1.Create, new: edit(api, "GROUP", "metrics.k8s.io")}, ""},
		"K27/Lease":         {"Who holds our Lease stops the reconciler.", try{user: alice, op: admissionv1.Update, old: lease, new: edit(lease, "holderIdentity: a", "holderIdentity: b")}, verdict.NotInGit},
		"Lease":             {"We hold it.", try{user: reconciler, op: admissionv1.Update, old: lease, new: edit(lease, "holderIdentity: a", "holderIdentity: b")}, ""},
		"Own/Deployment":    {"Our own Pods.", try{user: alice, op: admissionv1.Update, old: deploy, new: edit(deploy, "image: i", "image: evil")}, verdict.NotInGit},
		"Own/Scale":         {"None of them is none.", try{user: alice, op: admissionv1.Update, sub: "scale", resource: deployments, old: edit(scale("gitgate-webhook", "2"), "shop", system), new: edit(scale("gitgate-webhook", "0"), "shop", system)}, verdict.SubresourceDenied},
		"Own/Pod":           {"They come back.", try{user: controller("replicaset-controller"), op: admissionv1.Create, new: pod}, ""},
		"Own/Forged":        {"As they are.", try{user: controller("replicaset-controller"), op: admissionv1.Create, new: edit(pod, "image: i", "image: evil")}, verdict.NotDerived},
		"Own/Exec":          {"Nobody reaches into them.", try{user: alice, op: admissionv1.Connect, sub: "exec", resource: podResource, ns: system, name: "gitgate-webhook-1-x", new: `{apiVersion: v1, kind: PodExecOptions}`}, verdict.NoGrant},
		"Own/PodDelete":     {"A Pod may go, for it comes back.", try{user: alice, op: admissionv1.Delete, old: pod}, ""},
		"Own/Secret":        {"Credentials of GitSyncs are people's.", try{user: alice, op: admissionv1.Create, new: `{apiVersion: v1, kind: Secret, metadata: {name: git-auth, namespace: gitgate-system}}`}, ""},
		"Own/Certificate":   {"Our certificates are ours.", try{user: alice, op: admissionv1.Create, new: `{apiVersion: v1, kind: Secret, metadata: {name: gitgate-webhook-certs, namespace: gitgate-system}}`}, verdict.NotInGit},
		"Own/Role":          {"And what we may do.", try{user: alice, op: admissionv1.Delete, old: `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: gitgate-webhook}}`}, verdict.NotInGit},
		"K27/Slice":         {"The traffic of a Service of Git's.", try{user: alice, op: admissionv1.Create, new: slice}, verdict.NotDerived},
		"Slice":             {"Its controller says where it goes.", try{user: controller("endpointslice-controller"), op: admissionv1.Create, new: slice}, ""},
		"K27/Endpoints":     {"By its old name too.", try{user: alice, op: admissionv1.Update, resource: schema.GroupVersionResource{Version: "v1", Resource: "endpoints"}, old: `{apiVersion: v1, kind: Endpoints, metadata: {name: web, namespace: shop}}`, new: `{apiVersion: v1, kind: Endpoints, metadata: {name: web, namespace: shop}, subsets: [{addresses: [{ip: 1.2.3.4}]}]}`}, verdict.NotDerived},
		"K26/Mirror":        {"A static Pod is its node's.", try{user: alice, op: admissionv1.Create, new: `{apiVersion: v1, kind: Pod, metadata: {name: static-n1, namespace: shop, annotations: {kubernetes.io/config.mirror: x}}, spec: {nodeName: n1}}`}, verdict.NotDerived},
		"Mirror":            {"Which shows it.", try{user: "system:node:n1", op: admissionv1.Create, new: `{apiVersion: v1, kind: Pod, metadata: {name: static-n1, namespace: shop, annotations: {kubernetes.io/config.mirror: x}}, spec: {nodeName: n1}}`}, ""},
	} {
		t.Run(name, func(t *testing.T) { w.check(t, tc.reason, tc.try, tc.want) })
	}
}
