package lock

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policy/verdict"
)

// serviceAccount is the user name of a service account.
func serviceAccount(namespace, name string) string {
	return "system:serviceaccount:" + namespace + ":" + name
}

// controllers are the service accounts of kube-controller-manager's controllers
// (Kubernetes 1.37, bootstrappolicy). Their word opens leaves and children.
var controllers = set(
	"attachdetach-controller", "certificate-controller", "clusterrole-aggregation-controller", "cronjob-controller",
	"daemon-set-controller", "deployment-controller", "device-taint-eviction-controller", "disruption-controller",
	"endpoint-controller", "endpointslice-controller", "endpointslicemirroring-controller", "ephemeral-volume-controller",
	"expand-controller", "generic-garbage-collector", "horizontal-pod-autoscaler", "job-controller",
	"legacy-service-account-token-cleaner", "namespace-controller", "node-controller", "persistent-volume-binder",
	"pod-garbage-collector", "pv-protection-controller", "pvc-protection-controller", "replicaset-controller",
	"replication-controller", "resource-claim-controller", "resourcequota-controller", "root-ca-cert-publisher",
	"route-controller", "service-account-controller", "service-cidrs-controller", "service-controller",
	"statefulset-controller", "taint-eviction-controller", "ttl-after-finished-controller", "ttl-controller",
)

// components are the users of the control plane itself.
var components = set("system:kube-controller-manager", "system:kube-scheduler", "system:apiserver", "system:admin", "kubernetes-admin")

// core reports whether the user is the control plane's or gitgate's own.
func (r *review) core(user string) bool {
	if components[user] {
		return true
	}
	account, ok := strings.CutPrefix(user, "system:serviceaccount:")
	if !ok {
		return false
	}
	namespace, name, _ := strings.Cut(account, ":")
	return namespace == "kube-system" && controllers[name] || namespace == r.lock.cfg.System
}

// protected reports whether the lock gives weight to the user's word.
func (r *review) protected(user string) bool {
	return r.core(user) || r.snap.identities[user] != nil
}

// identity refuses what would let somebody become a protected identity. It does
// not decide over anything else.
func (r *review) identity() (ruling, bool) {
	group, resource, sub, op := r.key.group, r.key.resource, r.sub, r.req.Operation
	switch {
	case group == "" && resource == "serviceaccounts" && sub == "token":
		return r.tokenRequest()
	case group == "" && (resource == "secrets" || resource == "configmaps") && sub == "" && r.key.namespace == r.lock.cfg.System:
		if g, ok := r.trustSource(); ok {
			return g, true
		}
		return r.tokenSecret()
	case group == "" && resource == "secrets" && sub == "" && (op == admissionv1.Create || op == admissionv1.Update):
		return r.tokenSecret()
	case group == "certificates.k8s.io" && resource == "certificatesigningrequests" && sub == "approval":
		return r.approval()
	case sub == "" && (op == admissionv1.Create || op == admissionv1.Update) && podSpecs[r.req.Kind.Group+"/"+r.req.Kind.Kind] != nil:
		return r.runsAs()
	}
	return ruling{}, false
}

// impersonates denies, with no grant to open it: a grant is for an action, and who
// holds an identity may do all of its.
func (r *review) impersonates(user string) ruling {
	rel := r.snap.identities[user]
	if r.core(user) {
		rel = strictest(rel, r.snap.top)
	}
	if rel == nil {
		rel = r.snap.top
	}
	return deny(MatchedIdentity, rel, verdict.ProtectedIdentity, "%s would let somebody act as %s, whose word the lock gives weight to", r.what(), clip(user)).sealed()
}

// tokenRequest judges a TokenRequest. Also a dry run of one answers with a token
// that works.
func (r *review) tokenRequest() (ruling, bool) {
	user := serviceAccount(r.key.namespace, r.key.name)
	if r.dryRun() {
		return r.impersonates(user), true
	}
	if !r.protected(user) || r.fromTrusted() {
		return ruling{}, false
	}
	return r.impersonates(user), true
}

// fromTrusted reports whether a TokenRequest comes from who makes them for others:
// the controller manager for its controllers, and nodes for the Pods that run on
// them, which NodeRestriction checks.
func (r *review) fromTrusted() bool {
	if r.writer.User == "system:kube-controller-manager" && r.key.namespace == "kube-system" {
		return true
	}
	if node, ok := r.node(); !ok || node == "" {
		return false
	}
	_, ok := r.decode()
	return ok && text(r.new, "spec", "boundObjectRef", "kind") == "Pod"
}

// token judges a TokenRequest for an account that the lock only guards because Git
// declares it or its namespace is closed.
func (r *review) token(rel *release) ruling {
	if r.fromTrusted() || r.delegated() != nil {
		return ruling{allowed: true, release: rel}
	}
	g := deny(MatchedIdentity, rel, verdict.SubresourceDenied, "%s: tokens are for the Pods that run as the account", r.what())
	return g
}

// tokenSecret judges Secrets that the token controller would fill with a token.
func (r *review) tokenSecret() (ruling, bool) {
	if r.snap.records[r.key] != nil {
		return ruling{}, false // its content is judged
	}
	const annotation = "kubernetes.io/service-account.name"
	if g, ok := r.decode(); !ok {
		return g, true
	}
	name := text(r.new, "metadata", "annotations", annotation)
	if r.new["type"] != "kubernetes.io/service-account-token" || name == text(r.old, "metadata", "annotations", annotation) {
		return ruling{}, false
	}
	user := serviceAccount(r.key.namespace, name)
	if !r.protected(user) {
		return ruling{}, false
	}
	return r.impersonates(user), true
}

// approval judges the approval of a certificate by what it would be for.
func (r *review) approval() (ruling, bool) {
	if g, ok := r.decode(); !ok {
		return g, true
	}
	if !approved(r.new) || approved(r.old) {
		return ruling{}, false
	}
	for _, obj := range [...]map[string]any{r.old, r.new} {
		raw, err := base64.StdEncoding.DecodeString(text(obj, "spec", "request"))
		block, _ := pem.Decode(raw)
		if err != nil || block == nil {
			return r.impersonates("(an unreadable certificate request)"), true
		}
		csr, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil {
			return r.impersonates("(an unreadable certificate request)"), true
		}
		if slices.Contains(csr.Subject.Organization, "system:masters") {
			return r.impersonates("system:masters"), true
		}
		if r.protected(csr.Subject.CommonName) {
			return r.impersonates(csr.Subject.CommonName), true
		}
	}
	return ruling{}, false
}

func approved(csr map[string]any) bool {
	for _, c := range list(object(csr, "status"), "conditions") {
		c, _ := c.(map[string]any)
		if c["type"] == "Approved" {
			return true
		}
	}
	return false
}

// runsAs judges Pods, and templates of Pods, that run as a core identity: whoever
// makes one has its token. Git may say so; controllers only make what was judged
// when its template was.
func (r *review) runsAs() (ruling, bool) {
	if r.snap.records[r.key] != nil || r.key.namespace != "kube-system" && r.key.namespace != r.lock.cfg.System {
		return ruling{}, false
	}
	if g, ok := r.decode(); !ok {
		return g, true
	}
	k := r.kindOf()
	account := func(obj map[string]any) string {
		spec := podSpec(&k, obj)
		return cmpOr(text(spec, "serviceAccountName"), text(spec, "serviceAccount"))
	}
	name := account(r.new)
	user := serviceAccount(r.key.namespace, cmpOr(name, "default"))
	if !r.core(user) || r.old != nil && account(r.old) == name {
		return ruling{}, false
	}
	if f, ok, _ := r.family(r.new); ok && r.is(f.parent.controller) {
		return ruling{}, false
	}
	return r.impersonates(user), true
}
