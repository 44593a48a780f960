package main

import (
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// TestCheckFromCluster takes the configuration and what is in force from a cluster.
func TestCheckFromCluster(t *testing.T) {
	r := newCheckRepo(t)
	c := cluster.New(t, cluster.Options{})
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme, apiextensionsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	cl, err := client.New(c.RESTConfig(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	s := &grantSite{t: t, ctx: t.Context(), client: cl}
	s.install("gitsyncs", "trustpolicies", "policysets")
	s.check(cl.Create(s.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "gitgate-system"}}))
	raw, err := os.ReadFile(r.config)
	s.check(err)
	for _, doc := range strings.Split(string(raw), "---\n") {
		var u unstructured.Unstructured
		s.check(yaml.Unmarshal([]byte(doc), &u.Object))
		s.check(cl.Create(s.ctx, &u))
	}
	head := r.feature(gitrepo.Change{Delete: []string{"app/settings.yaml"}}).String()
	check := func(args ...string) (int, string, string) {
		return runCheck(append([]string{"--repo", r.Dir, "--from-cluster", "--kubeconfig", c.Kubeconfig(), "--head", head}, args...)...)
	}
	// Nothing was applied: nothing is deleted.
	if code, out, errs := check(); code != exitAllowed || errs != "" || !strings.Contains(out, "gitgate-system/shop: allowed") {
		t.Errorf("before anything is applied: exit %d, stderr %q\n%s", code, errs, out)
	}
	var sync v1alpha1.GitSync
	s.check(cl.Get(s.ctx, client.ObjectKey{Namespace: "gitgate-system", Name: "shop"}, &sync))
	sync.Status.LastAppliedRevision = "main@sha1:" + r.main.String()
	s.check(cl.Status().Update(s.ctx, &sync))
	for _, args := range [][]string{nil, {"--gitsync", "gitgate-system/shop"}} {
		if code, out, errs := check(args...); code != exitDenied || errs != "" || !strings.Contains(out, "settings are kept") {
			t.Errorf("%v: exit %d, stderr %q\n%s", args, code, errs, out)
		}
	}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"Missing": {[]string{"--gitsync", "gitgate-system/other"}, `gitsyncs.gitgate.dev "other" not found`},
		"NoName":  {[]string{"--gitsync", "shop"}, "want NAMESPACE/NAME"},
		"Nowhere": {[]string{"--context", "nowhere"}, `context "nowhere" does not exist`},
	} {
		t.Run(name, func(t *testing.T) {
			if code, out, errs := check(tc.args...); code != exitUsage || out != "" || !strings.Contains(errs, tc.want) {
				t.Errorf("exit %d, stdout %q, stderr %q", code, out, errs)
			}
		})
	}
	sync.Status.LastAppliedRevision = "main@sha1:" + strings.Repeat("1", 40)
	s.check(cl.Status().Update(s.ctx, &sync))
	if code, _, errs := check(); code != exitUsage || !strings.Contains(errs, "which is not in this repository: fetch it, or name --base") {
		t.Errorf("an unknown commit is applied: exit %d, stderr %q", code, errs)
	}
}
