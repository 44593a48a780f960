package doctor_test

import (
	"context"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/webhook/doctor"
)

// bob is somebody who should not be able to go around anything.
func bob() rbacv1.Subject {
	return rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: "bob"}
}

func group(name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: "Group", APIGroup: rbacv1.GroupName, Name: name}
}

func rule(verb, apiGroup, resource string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: []string{verb}, APIGroups: []string{apiGroup}, Resources: []string{resource}, ResourceNames: names}
}

// granted grants a rule to a subject, in the whole cluster or in one namespace.
func granted(namespace string, subject rbacv1.Subject, rules ...rbacv1.PolicyRule) []client.Object {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: "by-test"}
	if namespace == "" {
		return []client.Object{
			&rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules},
			&rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name}, Subjects: []rbacv1.Subject{subject}},
		}
	}
	return []client.Object{
		&rbacv1.Role{ObjectMeta: meta, Rules: rules},
		&rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name}, Subjects: []rbacv1.Subject{subject}},
	}
}

// TestAttack_K18_Powers proves that each way around the lock is told of, with who has it
// and by what, and that rights which open nothing are not.
func TestAttack_K18_Powers(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		id     string
		in     string
		rule   rbacv1.PolicyRule
		found  bool
	}{
		"ImpersonateUsers":      {"anybody can be acted as", "rbac-impersonate", "", rule("impersonate", "", "users"), true},
		"ImpersonateGroups":     {"system:masters is a group", "rbac-impersonate", "", rule("impersonate", "", "groups"), true},
		"ImpersonateController": {"controllers live there", "rbac-impersonate", "kube-system", rule("impersonate", "", "serviceaccounts"), true},
		"ImpersonateAnyVerb":    {"* is every verb", "rbac-impersonate", "", rule("*", "", "serviceaccounts"), true},
		"ImpersonateConstrained": {"the newer verb does the same", "rbac-impersonate", "",
			rule("impersonate:user-info", "authentication.k8s.io", "users"), true},
		"ImpersonateElsewhere": {"who rules a namespace may act as its accounts", "rbac-impersonate", "default", rule("impersonate", "", "serviceaccounts"), false},
		"NodesProxy":           {"get is enough to run commands", "rbac-nodes-proxy", "", rule("get", "", "nodes/proxy"), true},
		"NodesAnyProxy":        {"*/proxy includes that of nodes", "rbac-nodes-proxy", "", rule("create", "", "*/proxy"), true},
		"NodesMetrics":         {"metrics only", "rbac-nodes-proxy", "", rule("get", "", "nodes/metrics"), false},
		"NodesProxyNamespaced": {"nodes are in no namespace", "rbac-nodes-proxy", system, rule("get", "", "nodes/proxy"), false},
		"WebhookConfigurations": {"the lock itself", "rbac-admission", "",
			rule("delete", "admissionregistration.k8s.io", "validatingwebhookconfigurations", "gitgate"), true},
		"MutatingPolicies": {"they change what is judged", "rbac-admission", "", rule("create", "admissionregistration.k8s.io", "mutatingadmissionpolicies"), true},
		"ReadAdmission":    {"reading takes nothing off", "rbac-admission", "", rule("list", "admissionregistration.k8s.io", "*"), false},
		"Escalate":         {"any right", "rbac-escalate", "", rule("escalate", rbacv1.GroupName, "clusterroles"), true},
		"Bind":             {"any role", "rbac-escalate", "", rule("bind", rbacv1.GroupName, "clusterroles"), true},
		"EditRoles":        {"RBAC itself prevents escalation", "rbac-escalate", "", rule("update", rbacv1.GroupName, "clusterroles"), false},
		"TokensEverywhere": {"of our accounts too", "rbac-tokens", "", rule("create", "", "serviceaccounts/token"), true},
		"TokensOurs":       {"of our accounts", "rbac-tokens", system, rule("create", "", "serviceaccounts/token", "gitgate-reconciler"), true},
		"TokenSecrets":     {"a Secret of that type gets a token", "rbac-tokens", "kube-system", rule("create", "", "secrets"), true},
		"TokensOther":      {"of nobody that matters", "rbac-tokens", system, rule("create", "", "serviceaccounts/token", "other"), false},
		"Trust":            {"whose word counts", "rbac-trust", "", rule("patch", "gitgate.dev", "trustpolicies"), true},
		"BreakGlass":       {"signatures make a grant, not who writes it down", "rbac-trust", "", rule("create", "gitgate.dev", "breakglasses"), false},
		"OwnGitSyncs":      {"they reach the whole cluster", "rbac-trust", system, rule("create", "gitgate.dev", "gitsyncs"), true},
		"TenantGitSyncs":   {"they reach their namespace", "rbac-trust", "default", rule("create", "gitgate.dev", "gitsyncs"), false},
		"Exec":             {"into our containers", "rbac-exec", system, rule("create", "", "pods/exec"), true},
		"ExecAnywhere":     {"into ours too", "rbac-exec", "", rule("get", "", "pods/exec"), true},
		"ExecElsewhere":    {"not into ours", "rbac-exec", "kube-system", rule("create", "", "pods/exec"), false},
		"OwnPods":          {"as our accounts", "rbac-own-namespace", system, rule("create", "", "pods"), true},
		"OwnSecrets":       {"our keys", "rbac-own-namespace", system, rule("get", "", "secrets"), true},
		"OwnConfigMaps":    {"no keys", "rbac-own-namespace", system, rule("get", "", "configmaps"), false},
		"Approve":          {"any client certificate", "rbac-csr", "", rule("approve", "certificates.k8s.io", "signers"), true},
		"ApproveOther": {"another signer's are not believed by the API server", "rbac-csr", "",
			rule("approve", "certificates.k8s.io", "signers", "example.com/x"), false},
		"Everything": {"a second name for cluster-admin", "rbac-cluster-admin", "", rule("*", "*", "*"), true},
	} {
		t.Run(name, func(t *testing.T) {
			with(t, granted(tc.in, bob(), tc.rule)...)
			got := find(examined(t), tc.id)
			told := strings.Contains(strings.Join(got.Details, "\n"), "User bob: ")
			if told != tc.found || tc.found && got.Status != doctor.Warn || tc.found && got.Advice == "" {
				t.Errorf("%s\n%s is %s: %s\n%s", tc.reason, tc.id, got.Status, got.Message, strings.Join(got.Details, "\n"))
			}
			if tc.found && !strings.Contains(strings.Join(got.Details, "\n"), "by-test") {
				t.Errorf("the binding is not named:\n%s", strings.Join(got.Details, "\n"))
			}
		})
	}
}

// TestAdministratorsAreToldOnce proves that who may do everything does not fill every
// list, and that nobody is told of when there is nobody.
func TestAdministratorsAreToldOnce(t *testing.T) {
	r := examined(t)
	for _, c := range r.Checks {
		if c.ID != "rbac-cluster-admin" && strings.Contains(strings.Join(c.Details, "\n"), "User alice") {
			t.Errorf("%s tells of alice", c.ID)
		}
	}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "cluster.test:alice"}}
	ctx := testContext(t)
	if err := well.Get(ctx, client.ObjectKeyFromObject(binding), binding); err != nil {
		t.Fatal(err)
	}
	if err := well.Delete(ctx, binding); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		binding.ResourceVersion = ""
		if err := well.Create(context.WithoutCancel(ctx), binding); err != nil {
			t.Error(err)
		}
	})
	finding{"rbac-cluster-admin", doctor.OK, "nobody"}.check(t, examined(t))
}

// TestEverybody proves that a right which anybody has is a failure, and not just to be
// known.
func TestEverybody(t *testing.T) {
	for _, subject := range []rbacv1.Subject{
		group("system:authenticated"), group("system:unauthenticated"), group("system:serviceaccounts"),
		{Kind: "User", APIGroup: rbacv1.GroupName, Name: "system:anonymous"},
	} {
		t.Run(subject.Name, func(t *testing.T) {
			with(t, granted("", subject, rule("get", "", "nodes/proxy"))...)
			finding{"rbac-nodes-proxy", doctor.Fail, subject.Name}.check(t, examined(t))
		})
	}
}

// TestControlPlane proves that what every cluster starts with is shown when asked for,
// that nobody can hide among it, and that a name cannot move the cursor.
func TestControlPlane(t *testing.T) {
	r, err := well.examine(testContext(t), doctor.Config{All: true})
	if err != nil {
		t.Fatal(err)
	}
	finding{"rbac-cluster-admin", doctor.Warn, "Group system:masters"}.check(t, r)
	finding{"rbac-tokens", doctor.Warn, "User system:kube-controller-manager"}.check(t, r)
	objects := granted("", rbacv1.Subject{Kind: "ServiceAccount", Namespace: "default", Name: "x"}, rule("get", "", "nodes/proxy"))
	for _, o := range objects {
		o.SetName("system:controller:x")
		o.SetLabels(map[string]string{"kubernetes.io/bootstrapping": "rbac-defaults"})
	}
	objects[1].(*rbacv1.ClusterRoleBinding).RoleRef.Name = "system:controller:x"
	with(t, objects...)
	with(t, granted("", rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: "a\x1b[2Kb"}, rule("get", "", "nodes/proxy"))...)
	got := examined(t)
	finding{"rbac-nodes-proxy", doctor.Warn, "ServiceAccount default/x"}.check(t, got)
	finding{"rbac-nodes-proxy", doctor.Warn, `a\x1b[2Kb`}.check(t, got)
}

// TestOurAccounts proves that more than our accounts need is told of, too.
func TestOurAccounts(t *testing.T) {
	reconciler := rbacv1.Subject{Kind: "ServiceAccount", Namespace: system, Name: "gitgate-reconciler"}
	with(t, granted("", reconciler, rule("impersonate", "", "serviceaccounts"), rule("get", "", "nodes/proxy"))...)
	r := examined(t)
	finding{"rbac-impersonate", doctor.Warn, "gitgate-reconciler"}.check(t, r)
	finding{"rbac-nodes-proxy", doctor.Warn, "gitgate-reconciler"}.check(t, r)
}
