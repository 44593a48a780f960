package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// tenant makes an app whose GitSync lives in its own namespace and applies as the
// ServiceAccount deployer of it, which may write ConfigMaps.
func tenant(t *testing.T, name string, edit func(*v1alpha1.GitSync)) *app {
	t.Helper()
	ctx := testContext(t)
	if err := shared.EnsureNamespace(ctx, name); err != nil {
		t.Fatal(err)
	}
	meta := metav1.ObjectMeta{Namespace: name, Name: "deployer"}
	if err := shared.Client.Create(ctx, shared.GitCredentials(name)); err != nil {
		t.Fatal(err)
	}
	if err := shared.Client.Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta}); err != nil {
		t.Fatal(err)
	}
	if err := shared.Client.Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"*"},
	}}}); err != nil {
		t.Fatal(err)
	}
	if err := shared.Client.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "deployer"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: name, Name: "deployer"}},
	}); err != nil {
		t.Fatal(err)
	}
	return newApp(t, name, func(trust *v1alpha1.TrustPolicy, s *v1alpha1.GitSync) {
		trust.Spec.Namespaces = []string{name}
		s.Namespace = name
		s.Spec.TargetNamespace, s.Spec.ServiceAccountName, s.Spec.Decryption = "", "deployer", nil
		if edit != nil {
			edit(s)
		}
	})
}

// TestTenant proves that a tenant's GitSync works within its rights and not beyond
// its namespace.
func TestTenant(t *testing.T) {
	a := tenant(t, "tenant", nil)
	a.accepted(a.push("a map", map[string]string{"a.yaml": lab.ConfigMap("a", "k", "v")}))
	for name, tc := range map[string]struct{ manifest, reason string }{
		"another namespace": {strings.Replace(lab.ConfigMap("b", "k", "v"), "name: b", "name: b\n  namespace: kube-system", 1), "ScopeViolation"},
		"a cluster kind":    {"apiVersion: v1\nkind: Namespace\nmetadata: {name: mine}\n", "ScopeViolation"},
		"no right to it":    {"apiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {ports: [{port: 80}]}\n", "DryRunRejected"},
	} {
		good := a.Repo.Ref("refs/heads/" + lab.Branch)
		f := a.refused(a.push(name, map[string]string{"b.yaml": tc.manifest}))
		if f.Reason != tc.reason || f.File != "deploy/b.yaml" {
			t.Errorf("%s: finding = %+v", name, f)
		}
		if err := a.Reset(good); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTenantWithoutAccount proves that a tenant without a ServiceAccount never
// falls back to the rights of gitgate (CVE-2021-41254, CVE-2026-23990).
func TestTenantWithoutAccount(t *testing.T) {
	for name, edit := range map[string]func(*v1alpha1.GitSync){
		"tenant-nobody":    func(s *v1alpha1.GitSync) { s.Spec.ServiceAccountName = "" },
		"tenant-elsewhere": func(s *v1alpha1.GitSync) { s.Spec.TargetNamespace = "kube-system" },
	} {
		a := tenant(t, name, edit)
		a.push("a map", map[string]string{"a.yaml": lab.ConfigMap("a", "k", "v")})
		s := a.await("refused", func(s *v1alpha1.GitSync) bool { return lab.Ready(s).Status == metav1.ConditionFalse })
		if got := lab.Ready(s).Reason; got != "ScopeViolation" {
			t.Errorf("%s: reason %s: %s", name, got, lab.Ready(s).Message)
		}
		if err := a.get(&corev1.ConfigMap{}, "a"); err == nil {
			t.Errorf("%s: applied", name)
		}
	}
}

// TestTrustIsConfined proves that a TrustPolicy counts only where it says.
func TestTrustIsConfined(t *testing.T) {
	for name, edit := range map[string]func(*v1alpha1.TrustPolicy, *v1alpha1.GitSync){
		"trust-namespace": func(p *v1alpha1.TrustPolicy, _ *v1alpha1.GitSync) { p.Spec.Namespaces = []string{"elsewhere"} },
		"trust-branch":    func(p *v1alpha1.TrustPolicy, _ *v1alpha1.GitSync) { p.Spec.Repositories[0].Refs = []string{"release"} },
		"trust-url": func(p *v1alpha1.TrustPolicy, _ *v1alpha1.GitSync) {
			p.Spec.Repositories[0].URL = "https://git.example.com/other.git"
		},
	} {
		a := newApp(t, name, edit)
		a.push("a map", map[string]string{"a.yaml": lab.ConfigMap("a", "k", "v")})
		s := a.await("refused", func(s *v1alpha1.GitSync) bool { return lab.Ready(s).Status == metav1.ConditionFalse })
		if got := lab.Ready(s).Reason; got != "RepositoryNotTrusted" {
			t.Errorf("%s: reason %s: %s", name, got, lab.Ready(s).Message)
		}
	}
}
