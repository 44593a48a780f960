package main

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// A gate that cannot be made says whose fault that is: rules are not to blame for a
// broken key.
func TestGateErrorsNameTheirReason(t *testing.T) {
	alice := gitrepo.OpenPGP(t, gitrepo.OpenPGPOptions{Name: "Alice", Email: "alice@example.com"})
	for name, tc := range map[string]struct {
		change func(in *reconcile.Inputs)
		want   verdict.Reason // none if all is well
		says   string
	}{
		"Good": {func(*reconcile.Inputs) {}, "", ""},
		"BadKey": {func(in *reconcile.Inputs) {
			in.Trust.Spec.Commits.Signers[0].OpenPGP.Data = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n"
		}, verdict.TrustInvalid, "signers[0].openPGP"},
		"UnknownSigner": {func(in *reconcile.Inputs) {
			in.Trust.Spec.Commits.Rules = []v1alpha1.PathRule{{Paths: []string{"**"}, Signers: []string{"nobody"}}}
		}, verdict.TrustInvalid, "nobody"},
		"BadImageKey": {func(in *reconcile.Inputs) {
			in.Trust.Spec.Images.Rules = []v1alpha1.ImageRule{{Match: []string{"**"}, Authorities: []v1alpha1.ImageAuthority{
				{Name: "release", Key: v1alpha1.ImageKey{Data: "no key"}},
			}}}
		}, verdict.TrustInvalid, "not PEM"},
		"BadPullSecret": {func(in *reconcile.Inputs) { in.PullSecrets = []corev1.Secret{{}} }, verdict.TrustInvalid, "pullSecrets"},
		"BadExtractor": {func(in *reconcile.Inputs) {
			in.Trust.Spec.Images.Extractors = []v1alpha1.ImageExtractor{{APIVersion: "a/v1", Kind: "B", Paths: []string{"no path"}}}
		}, verdict.TrustInvalid, "no path"},
		"BadRules": {func(in *reconcile.Inputs) {
			in.Policies = []reconcile.PolicyInput{policyInput("a", "1", "package acme\ndeny contains")}
		}, verdict.PolicyError, "acme.rego"},
		"BadDecryptionKey": {func(in *reconcile.Inputs) { in.DecryptionKeys = map[string][]byte{"a.agekey": []byte("no key")} }, verdict.SecretUndecryptable, "a.agekey"},
	} {
		t.Run(name, func(t *testing.T) {
			in := reconcile.Inputs{Sync: &v1alpha1.GitSync{}, Trust: &v1alpha1.TrustPolicy{}}
			in.Repository.Root = strings.Repeat("1", 40)
			in.Trust.Spec.Commits.Signers = []v1alpha1.CommitSigner{{Name: "alice", OpenPGP: &v1alpha1.KeySource{Data: alice.Public()}}}
			tc.change(&in)
			g, err := newGates().Gate(t.Context(), in, noCluster{})
			if tc.want == "" {
				if err != nil || g == nil {
					t.Fatalf("got %v", err)
				}
				return
			}
			var known *reconcile.InputError
			if !errors.As(err, &known) || known.Reason != tc.want || !strings.Contains(err.Error(), tc.says) || g != nil {
				t.Errorf("got %v, want %s about %q", err, tc.want, tc.says)
			}
		})
	}
}

// noCluster is the stage that these gates never come to.
type noCluster struct{ gate.DryRunner }
