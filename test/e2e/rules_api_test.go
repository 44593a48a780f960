package e2e

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// TestRuleSourcesAreValidated: the API server takes no source that could only fail, and
// none without somebody who answers for it.
func TestRuleSourcesAreValidated(t *testing.T) {
	ctx := testContext(t)
	git := func(edit func(*v1alpha1.GitPolicySource)) v1alpha1.PolicySource {
		g := &v1alpha1.GitPolicySource{URL: "https://git.example.com/r.git", Ref: v1alpha1.GitRef{Branch: "main"}, Trust: v1alpha1.LocalReference{Name: "t"}}
		edit(g)
		return v1alpha1.PolicySource{Git: g}
	}
	oci := func(edit func(*v1alpha1.OCIPolicySource)) v1alpha1.PolicySource {
		o := &v1alpha1.OCIPolicySource{URL: "oci://registry.example.com:5000/acme/rules:v1"}
		o.Verify.Authorities = []v1alpha1.ImageAuthority{{Name: "a", Key: v1alpha1.ImageKey{Data: "x"}}}
		edit(o)
		return v1alpha1.PolicySource{OCI: o}
	}
	both := git(func(*v1alpha1.GitPolicySource) {})
	both.OCI = oci(func(*v1alpha1.OCIPolicySource) {}).OCI
	url := func(url string) v1alpha1.PolicySource {
		return oci(func(o *v1alpha1.OCIPolicySource) { o.URL = url })
	}
	digest := "@sha256:" + strings.Repeat("0", 64)
	for name, tc := range map[string]struct {
		source v1alpha1.PolicySource
		want   string // part of the refusal; empty is accepted
	}{
		"Git":         {git(func(*v1alpha1.GitPolicySource) {}), ""},
		"OCI":         {oci(func(*v1alpha1.OCIPolicySource) {}), ""},
		"Digest":      {url("oci://registry.example.com/rules" + digest), ""},
		"TagDigest":   {url("oci://registry.example.com/rules:v1" + digest), ""},
		"None":        {v1alpha1.PolicySource{}, "must have at least one of library, inline, configMapRef, git and oci"},
		"Both":        {both, "must not have both git and oci"},
		"File":        {git(func(g *v1alpha1.GitPolicySource) { g.URL = "file:///etc" }), "must be an https:// or ssh:// URL"},
		"Option":      {git(func(g *v1alpha1.GitPolicySource) { g.URL = "--upload-pack=x" }), "must be an https:// or ssh:// URL"},
		"Credentials": {git(func(g *v1alpha1.GitPolicySource) { g.URL = "https://u:p@git.example.com/r.git" }), "must not hold credentials"},
		"Escape":      {git(func(g *v1alpha1.GitPolicySource) { g.Path = "a/../../b" }), "must be relative and stay inside the repository"},
		"Absolute":    {git(func(g *v1alpha1.GitPolicySource) { g.Path = "/etc" }), "must be relative and stay inside the repository"},
		"NoTrust":     {git(func(g *v1alpha1.GitPolicySource) { g.Trust.Name = "" }), "trust.name"},
		"Often":       {git(func(g *v1alpha1.GitPolicySource) { g.Interval = &metav1.Duration{Duration: 1} }), "must be between 5s and 24h"},
		"NoSigner":    {oci(func(o *v1alpha1.OCIPolicySource) { o.Verify.Authorities = []v1alpha1.ImageAuthority{} }), "verify.authorities"},
		"NoTag":       {url("oci://registry.example.com/rules"), "must name a tag or a digest"},
		"NoTagPort":   {url("oci://registry.example.com:5000/rules"), "must name a tag or a digest"},
		"HTTPS":       {url("https://registry.example.com/rules:v1"), "must be oci://HOST/REPOSITORY"},
		"ShortDigest": {url("oci://registry.example.com/rules@sha256:00"), "must be oci://HOST/REPOSITORY"},
	} {
		t.Run(name, func(t *testing.T) {
			set := &v1alpha1.PolicySet{ObjectMeta: metav1.ObjectMeta{Name: "validated"}, Spec: v1alpha1.PolicySetSpec{Source: tc.source}}
			err := shared.Client.Create(ctx, set, client.DryRunAll)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
