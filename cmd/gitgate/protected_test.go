package main

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// Everything that a judgement rests on is protected from the judged (G19).
func TestProtected(t *testing.T) {
	ref := func(name string) *v1alpha1.LocalReference { return &v1alpha1.LocalReference{Name: name} }
	sync := &v1alpha1.GitSync{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}
	sync.Spec.SecretRef = ref("git-auth")
	sync.Spec.Decryption = &v1alpha1.Decryption{Provider: "sops", SecretRef: ref("sops-keys")}
	trust := &v1alpha1.TrustPolicy{ObjectMeta: metav1.ObjectMeta{Name: "prod"}}
	trust.Spec.Commits.Signers = []v1alpha1.CommitSigner{
		{Name: "a", OpenPGP: &v1alpha1.KeySource{SecretRef: ref("alice")}},
		{Name: "b", OpenPGP: &v1alpha1.KeySource{ConfigMapRef: ref("bob")}},
	}
	trust.Spec.Images.PullSecrets = []v1alpha1.LocalReference{{Name: "pull"}}
	set := &v1alpha1.PolicySet{ObjectMeta: metav1.ObjectMeta{Name: "base"}}
	set.Spec.Source.ConfigMapRef = ref("rules")
	set.Spec.Source.Git = &v1alpha1.GitPolicySource{Trust: *ref("lawyers"), SecretRef: ref("rules-auth")}
	lawyers := &v1alpha1.TrustPolicy{ObjectMeta: metav1.ObjectMeta{Name: "lawyers"}}
	lawyers.Spec.Commits.Signers = []v1alpha1.CommitSigner{{Name: "c", OpenPGP: &v1alpha1.KeySource{ConfigMapRef: ref("carol")}}}
	bundled := &v1alpha1.PolicySet{ObjectMeta: metav1.ObjectMeta{Name: "bundled"}}
	bundled.Spec.Source.OCI = &v1alpha1.OCIPolicySource{SecretRef: ref("registry-auth")}
	in := reconcile.Inputs{Sync: sync, Trust: trust, Policies: []reconcile.PolicyInput{{Set: set, Trust: lawyers}, {Set: bundled}}}

	named := []gate.Protected{
		{Group: "gitgate.dev", Kind: "GitSync", Namespace: "shop", Name: "web"},
		{Group: "gitgate.dev", Kind: "TrustPolicy", Name: "prod"},
		{Group: "gitgate.dev", Kind: "PolicySet", Name: "base"},
		{Kind: "ConfigMap", Namespace: "system", Name: "rules"},
		{Kind: "Secret", Namespace: "system", Name: "alice"},
		{Kind: "ConfigMap", Namespace: "system", Name: "bob"},
		{Kind: "Secret", Namespace: "system", Name: "pull"},
		{Group: "gitgate.dev", Kind: "TrustPolicy", Name: "lawyers"},
		{Kind: "Secret", Namespace: "system", Name: "rules-auth"},
		{Kind: "ConfigMap", Namespace: "system", Name: "carol"},
		{Kind: "Secret", Namespace: "system", Name: "registry-auth"},
		{Kind: "Secret", Namespace: "shop", Name: "git-auth"},
		{Kind: "Secret", Namespace: "shop", Name: "sops-keys"},
	}
	any := []gate.Protected{{Group: "gitgate.dev", Kind: "TrustPolicy"}, {Group: "gitgate.dev", Kind: "PolicySet"}}
	for name, tc := range map[string]struct {
		reason  string
		trust   string
		has, no []gate.Protected
	}{
		"Default": {"No repository is trusted with trust by default.", "", slices.Concat(named, any), nil},
		"Deny":    {"The default may be spelled out.", "Deny", slices.Concat(named, any), nil},
		"Others":  {"A repository of trust may hold that of others, never its own.", "Others", named, any},
	} {
		t.Run(name, func(t *testing.T) {
			trust.Spec.TrustObjects = tc.trust
			got := protected(in, "system")
			for i := range got {
				if got[i].Why == "" {
					t.Errorf("%+v does not say why", got[i])
				}
				got[i].Why = ""
			}
			for _, p := range tc.has {
				if !slices.Contains(got, p) {
					t.Errorf("%s\n%+v is not protected", tc.reason, p)
				}
			}
			for _, p := range tc.no {
				if slices.Contains(got, p) {
					t.Errorf("%s\n%+v is protected", tc.reason, p)
				}
			}
		})
	}
}
