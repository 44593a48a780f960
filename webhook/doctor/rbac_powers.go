package doctor

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
)

// A power is a way around the lock, and the rights that open it.
type power struct {
	id     string
	what   string // that it allows
	advice string
	rights []right
}

// A right is one of several that give a power.
type right struct {
	verbs     []string
	group     string
	resources []string
	// names, if there are any, are all that matters: a rule that is limited to
	// other names is harmless.
	names []string
	// system and kubeSystem say that a grant within that namespace alone
	// suffices. A grant for the whole cluster always does.
	system, kubeSystem bool
}

// powers lists what could go around a lock in a cluster whose own namespace is
// system.
func powers() []power {
	writes := []string{"create", "update", "patch", "delete", "deletecollection"}
	changes := []string{"create", "update", "patch"}
	ours := []string{reconcilerName, webhookName, dryRunName}
	return []power{
		{"rbac-impersonate", "act as somebody else, and so as a controller or as gitgate", "grant impersonate for single names only, with resourceNames",
			[]right{
				{verbs: []string{"impersonate", "impersonate:user-info"}, resources: []string{"users", "groups"}},
				{verbs: []string{"impersonate", "impersonate:serviceaccount"}, resources: []string{"serviceaccounts"}, system: true, kubeSystem: true},
				{verbs: []string{"impersonate:user-info", "impersonate:serviceaccount"}, group: "authentication.k8s.io",
					resources: []string{"users", "groups", "serviceaccounts"}, system: true, kubeSystem: true},
			}},
		{"rbac-nodes-proxy", "run commands in any container through the kubelet, which no admission sees", "grant nodes/metrics and nodes/stats instead of nodes/proxy",
			[]right{{verbs: append([]string{"get"}, writes...), resources: []string{"nodes/proxy"}}}},
		{"rbac-admission", "take the lock off: webhooks are not asked about webhook configurations and admission policies", "take these rights away; from Kubernetes 1.37 on add deploy/static-policies",
			[]right{{verbs: writes, group: "admissionregistration.k8s.io", resources: []string{
				"validatingwebhookconfigurations", "mutatingwebhookconfigurations", "validatingadmissionpolicies", "validatingadmissionpolicybindings",
				"mutatingadmissionpolicies", "mutatingadmissionpolicybindings"}}}},
		{"rbac-escalate", "give themselves any other right", "take escalate and bind away",
			[]right{
				{verbs: []string{"escalate", "bind"}, group: rbacv1.GroupName, resources: []string{"clusterroles"}},
				{verbs: []string{"escalate", "bind"}, group: rbacv1.GroupName, resources: []string{"roles"}, system: true, kubeSystem: true},
			}},
		{"rbac-tokens", "make tokens of gitgate's or a controller's account", "grant serviceaccounts/token for single names, and Secrets in single namespaces",
			[]right{
				{verbs: []string{"create"}, resources: []string{"serviceaccounts/token"}, system: true, names: ours},
				{verbs: []string{"create"}, resources: []string{"serviceaccounts/token"}, kubeSystem: true},
				{verbs: []string{"create"}, resources: []string{"secrets"}, system: true, kubeSystem: true},
			}},
		{"rbac-trust", "change whose word counts, or what is applied to the whole cluster", "leave TrustPolicies, PolicySets and GitSyncs of gitgate's namespace to Git or to few people",
			[]right{
				// Not BreakGlass: it counts by its signatures, whoever writes it down.
				{verbs: writes, group: "gitgate.dev", resources: []string{"trustpolicies", "policysets"}},
				{verbs: writes, group: "gitgate.dev", resources: []string{"gitsyncs"}, system: true},
			}},
		{"rbac-exec", "run commands in gitgate's own containers", "take these rights away for gitgate's namespace",
			[]right{{verbs: append([]string{"get"}, changes...), resources: []string{"pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers", "pods/proxy"}, system: true}}},
		{"rbac-own-namespace", "run Pods as gitgate's accounts, or read its keys", "take these rights away for gitgate's namespace",
			[]right{
				{verbs: changes, resources: []string{"pods", "replicationcontrollers"}, system: true},
				{verbs: changes, group: "apps", resources: []string{"deployments", "replicasets", "statefulsets", "daemonsets"}, system: true},
				{verbs: changes, group: "batch", resources: []string{"jobs", "cronjobs"}, system: true},
				{verbs: []string{"get", "list", "watch"}, resources: []string{"secrets"}, system: true},
			}},
		{"rbac-csr", "have certificates signed for any identity of the control plane", "grant approve and sign for single signers, with resourceNames",
			[]right{{verbs: []string{"approve", "sign"}, group: "certificates.k8s.io", resources: []string{"signers"},
				names: []string{"kubernetes.io/kube-apiserver-client", "kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/*"}}}},
	}
}

// expected says which powers our own accounts have for good reason, and which of
// them only by name.
func expected(account, power string) (ok, onlyByName bool) {
	switch account {
	case dryRunName: // what holds it is a check of its own
		return true, false
	case webhookName:
		return slices.Contains([]string{"rbac-admission", "rbac-own-namespace", "rbac-tokens", "rbac-impersonate"}, power), power == "rbac-impersonate"
	case reconcilerName:
		return slices.Contains([]string{"rbac-impersonate", "rbac-own-namespace", "rbac-trust"}, power), power == "rbac-impersonate"
	}
	return false, false
}

// given says which of the rights a rule grants, in words; empty if none. namespace
// is where the rule holds, empty for everywhere.
func (r right) given(rule rbacv1.PolicyRule, namespace, system string) string {
	switch {
	case namespace == "":
	case namespace == system && r.system:
	case namespace == controlPlane && r.kubeSystem:
	default:
		return ""
	}
	if !has(rule.APIGroups, r.group) && !has(rule.APIGroups, "*") {
		return ""
	}
	names := rule.ResourceNames
	if len(names) > 0 && len(r.names) > 0 {
		names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !has(r.names, n) })
		if len(names) == 0 {
			return ""
		}
	}
	verbs := matching(r.verbs, func(v string) bool { return has(rule.Verbs, v) || has(rule.Verbs, "*") })
	resources := matching(r.resources, func(res string) bool { return coversResource(rule.Resources, res) })
	if len(verbs) == 0 || len(resources) == 0 {
		return ""
	}
	text := strings.Join(verbs, ", ") + " " + strings.Join(resources, ", ")
	if len(names) > 0 {
		text += " named " + strings.Join(names, ", ")
	}
	return text
}

func matching(list []string, ok func(string) bool) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return !ok(s) })
}

// coversResource follows RBAC: * is every resource and subresource, */scale the
// subresource of every resource.
func coversResource(rule []string, resource string) bool {
	if has(rule, "*") || has(rule, resource) {
		return true
	}
	_, sub, ok := strings.Cut(resource, "/")
	return ok && has(rule, "*/"+sub)
}
