package doctor_test

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/webhook/doctor"
)

const revision = "main@sha1:8c3c5b6f0c9d4a9d7e0f2a1b3c4d5e6f708192a3"

// sync is a GitSync of a namespace.
func sync(namespace, name string, edit func(*v1alpha1.GitSync)) *v1alpha1.GitSync {
	s := &v1alpha1.GitSync{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: v1alpha1.GitSyncSpec{
		URL: "https://git.example.com/shop.git", Ref: v1alpha1.GitRef{Branch: "main"}, Trust: v1alpha1.LocalReference{Name: "t"}, ServiceAccountName: "deployer",
	}}
	if edit != nil {
		edit(s)
	}
	return s
}

func readyCondition(status metav1.ConditionStatus, generation int64, message string) []metav1.Condition {
	return []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: status, Reason: "R", Message: message, ObservedGeneration: generation, LastTransitionTime: metav1.Now()}}
}

// withStatus creates an object and then writes its status, as the reconciler does.
func withStatus[T client.Object](t *testing.T, o T, edit func(T)) {
	t.Helper()
	with(t, o)
	edit(o)
	if err := well.Status().Update(testContext(t), o); err != nil {
		t.Fatal(err)
	}
}

// TestGitSyncs proves what is told of GitSyncs.
func TestGitSyncs(t *testing.T) {
	for name, tc := range map[string]struct {
		edit   func(*v1alpha1.GitSync)
		status func(*v1alpha1.GitSync)
		want   finding
	}{
		"Ready":     {nil, func(s *v1alpha1.GitSync) { s.Status.Conditions = readyCondition("True", 1, "m") }, finding{"gitsyncs", doctor.OK, "1 GitSync"}},
		"NotReady":  {nil, func(s *v1alpha1.GitSync) { s.Status.Conditions = readyCondition("False", 1, "no\x1b[A") }, finding{"gitsyncs", doctor.Fail, `no\x1b[A`}},
		"New":       {nil, func(*v1alpha1.GitSync) {}, finding{"gitsyncs", doctor.Fail, "no condition yet"}},
		"Suspended": {func(s *v1alpha1.GitSync) { s.Spec.Suspend = true }, func(*v1alpha1.GitSync) {}, finding{"gitsyncs", doctor.Warn, "suspended"}},
		"Unlocked":  {nil, func(*v1alpha1.GitSync) {}, finding{"locks", doctor.Warn, "team/shop: Off"}},
		"Audit":     {lockMode(v1alpha1.ModeAudit), func(*v1alpha1.GitSync) {}, finding{"locks", doctor.Warn, "team/shop: Audit"}},
		"Enforce":   {lockMode(v1alpha1.ModeEnforce), func(*v1alpha1.GitSync) {}, finding{"locks", doctor.OK, "every GitSync is locked"}},
		"NoReplica": {lockMode(v1alpha1.ModeEnforce), replicas(), finding{"lock-replicas", doctor.Warn, "no replica has reported"}},
		"Behind":    {lockMode(v1alpha1.ModeEnforce), replicas(revision+" a", "main@sha1:0 a"), finding{"lock-replicas", doctor.Warn, "b has main@sha1:0"}},
		"Disagree":  {lockMode(v1alpha1.ModeEnforce), replicas(revision+" a", revision+" b"), finding{"lock-replicas", doctor.Warn, "do not agree"}},
		"Agree":     {lockMode(v1alpha1.ModeEnforce), replicas(revision+" a", revision+" a"), finding{"lock-replicas", doctor.OK, "know what was applied"}},
	} {
		t.Run(name, func(t *testing.T) {
			withStatus(t, sync("team", "shop", tc.edit), tc.status)
			tc.want.check(t, examined(t))
		})
	}
}

func lockMode(mode string) func(*v1alpha1.GitSync) {
	return func(s *v1alpha1.GitSync) { s.Spec.Lock = &v1alpha1.Lock{Mode: mode} }
}

// replicas reports each what is given as revision and digest.
func replicas(reports ...string) func(*v1alpha1.GitSync) {
	return func(s *v1alpha1.GitSync) {
		s.Status.LastAppliedRevision = revision
		s.Status.Lock = &v1alpha1.LockStatus{}
		for i, r := range reports {
			s.Status.Lock.Replicas = append(s.Status.Lock.Replicas, v1alpha1.LockReplica{
				Name: string(rune('a' + i)), Revision: r[:len(r)-2], Digest: r[len(r)-1:], Time: metav1.Now()})
		}
	}
}

// inventory says that objects were applied.
func inventory(ids ...string) func(*v1alpha1.GitSync) {
	return func(s *v1alpha1.GitSync) {
		var objects []v1alpha1.InventoryEntry
		for _, id := range ids {
			objects = append(objects, v1alpha1.InventoryEntry{ID: id, Version: "v1"})
		}
		s.Status.Inventory = v1alpha1.NewInventory(objects)
	}
}

// TestAttack_G19_TrustInGit proves that a repository which declares whose word counts is
// told of, and where it cannot harm is not.
func TestAttack_G19_TrustInGit(t *testing.T) {
	for name, tc := range map[string]struct {
		namespace string
		ids       []string
		want      finding
	}{
		"Trust":    {system, []string{"_production_gitgate.dev_TrustPolicy"}, finding{"trust-in-git", doctor.Warn, "declares TrustPolicy production"}},
		"Several":  {system, []string{"_production_gitgate.dev_TrustPolicy", "_staging_gitgate.dev_TrustPolicy"}, finding{"trust-in-git", doctor.Warn, "declares TrustPolicy staging"}},
		"GitSync":  {system, []string{"team_shop_gitgate.dev_GitSync"}, finding{"trust-in-git", doctor.Warn, "declares GitSync shop"}},
		"Ordinary": {system, []string{"team_gitgate.dev__ConfigMap"}, finding{"trust-in-git", doctor.OK, "no repository"}},
		"Tenant":   {"team", []string{"team_x_gitgate.dev_GitSync"}, finding{"trust-in-git", doctor.OK, "no repository"}},
	} {
		t.Run(name, func(t *testing.T) {
			withStatus(t, sync(tc.namespace, "root", nil), inventory(tc.ids...))
			tc.want.check(t, examined(t))
		})
	}
}

// TestTrustPolicies proves that trust which leaves much open is told of.
func TestTrustPolicies(t *testing.T) {
	for name, tc := range map[string]struct {
		edit func(*v1alpha1.TrustPolicySpec)
		want finding
	}{
		"Rules":       {nil, finding{"trust-rules", doctor.OK, "1 TrustPolicy"}},
		"NoRules":     {func(s *v1alpha1.TrustPolicySpec) { s.Commits.Rules = nil }, finding{"trust-rules", doctor.Warn, "every signer may change every path"}},
		"Head":        {func(s *v1alpha1.TrustPolicySpec) { s.Commits.Scope = "Head" }, finding{"trust-rules", doctor.Warn, "scope Head"}},
		"ForgeKeys":   {func(s *v1alpha1.TrustPolicySpec) { s.Commits.ForgeKeys = "Allow" }, finding{"trust-rules", doctor.Warn, "forgeKeys"}},
		"AllowImages": {func(s *v1alpha1.TrustPolicySpec) { s.Images.Default = "Allow" }, finding{"trust-rules", doctor.Warn, "images.default"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := &v1alpha1.TrustPolicy{ObjectMeta: metav1.ObjectMeta{Name: "production"}, Spec: v1alpha1.TrustPolicySpec{
				Repositories: []v1alpha1.TrustedRepository{{URL: "https://git.example.com/shop.git", Refs: []string{"main"}, Root: revision[len("main@sha1:"):]}},
				Namespaces:   []string{"team"},
				Commits: v1alpha1.CommitTrust{
					Signers: []v1alpha1.CommitSigner{{Name: "a", SSH: &v1alpha1.SSHSigner{AllowedSigners: "a@example.com ssh-ed25519 AAAA\n"}}},
					Rules:   []v1alpha1.PathRule{{Paths: []string{"**"}, Signers: []string{"a"}}},
				},
			}}
			if tc.edit != nil {
				tc.edit(&p.Spec)
			}
			with(t, p)
			tc.want.check(t, examined(t))
		})
	}
}

// TestPolicySets proves what is told of rules.
func TestPolicySets(t *testing.T) {
	for name, tc := range map[string]struct {
		enforcement string
		conditions  []metav1.Condition
		want        finding
	}{
		"Compiles": {"Deny", readyCondition("True", 1, "m"), finding{"policysets", doctor.OK, "1 PolicySet"}},
		"Broken":   {"Deny", readyCondition("False", 1, "rego_parse_error"), finding{"policysets", doctor.Fail, "rego_parse_error"}},
		"New":      {"Deny", nil, finding{"policysets", doctor.Unknown, "not compiled yet"}},
		"Outdated": {"Deny", readyCondition("True", 0, "m"), finding{"policysets", doctor.Unknown, "not compiled yet"}},
		"Lenient":  {"Warn", readyCondition("True", 1, "m"), finding{"policysets", doctor.Warn, "enforcement is Warn"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := &v1alpha1.PolicySet{ObjectMeta: metav1.ObjectMeta{Name: "baseline"}, Spec: v1alpha1.PolicySetSpec{
				Enforcement: tc.enforcement, Source: v1alpha1.PolicySource{Library: []string{"pod-security-restricted"}}}}
			withStatus(t, p, func(p *v1alpha1.PolicySet) { p.Status.Conditions = tc.conditions })
			tc.want.check(t, examined(t))
		})
	}
}

// TestRights proves that rights which GitSyncs need and our accounts lack are told of,
// and are not once they are granted.
func TestRights(t *testing.T) {
	withStatus(t, sync("team", "shop", nil), inventory("team_a__ConfigMap", "team_b__Secret"))
	with(t, sync(system, "root", func(s *v1alpha1.GitSync) { s.Spec.ServiceAccountName = "" }))
	r := examined(t)
	for _, text := range []string{
		"gitgate-reconciler may not act as ServiceAccount team/deployer for GitSync team/shop",
		"gitgate-reconciler may not watch secrets", "gitgate-reconciler may not write everything, as GitSync gitgate-system/root",
	} {
		finding{"rights", doctor.Warn, text}.check(t, r)
	}
	if got := len(find(r, "rights").Details); got != 3 {
		t.Errorf("%d rights are missing, want 3: %q", got, find(r, "rights").Details)
	}
	if err := well.installFiles(testContext(t), "deploy/components/cluster-admin/binding.yaml"); err != nil {
		t.Fatal(err)
	}
	removeAfter(t)
	finding{"rights", doctor.OK, "have the rights"}.check(t, examined(t))
	finding{"rbac-cluster-admin", doctor.Warn, "ServiceAccount gitgate-system/gitgate-reconciler"}.check(t, examined(t))
}

func removeAfter(t *testing.T) {
	t.Helper()
	o := granted("", bob())[1]
	o.SetName("gitgate-reconciler-cluster-admin")
	t.Cleanup(func() {
		if err := well.Delete(context.WithoutCancel(t.Context()), o); err != nil {
			t.Error(err)
		}
	})
}
