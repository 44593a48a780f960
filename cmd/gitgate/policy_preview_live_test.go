package main

import (
	"encoding/json"
	"fmt"
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
)

// TestPolicyPreviewLive compares new rules with those of a cluster on what is in it: more
// than a page of it, without a secret, with exceptions and owners.
func TestPolicyPreviewLive(t *testing.T) {
	c := cluster.New(t, cluster.Options{})
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme, apiextensionsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	cl, err := client.New(c.RESTConfig(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	site := &grantSite{t: t, ctx: t.Context(), client: cl}
	site.install("gitsyncs", "policysets", "policyexceptions")
	create := func(o client.Object) {
		t.Helper()
		if err := cl.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	const modules = "package modes\n\ndeny_mode contains \"loud\" if input.object.data.mode == \"loud\"\n"
	const inForce = "apiVersion: gitgate.dev/v1alpha1\nkind: PolicySet\nmetadata: {name: modes}\nspec: {source: {configMapRef: {name: modes}}}\n"
	create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"team": "sales"}}})
	if err := c.EnsureNamespace(t.Context(), "gitgate-system"); err != nil {
		t.Fatal(err)
	}
	create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "modes", Namespace: "gitgate-system"}, Data: map[string]string{"modes.rego": modules}})
	for _, text := range []string{inForce, `{apiVersion: gitgate.dev/v1alpha1, kind: PolicyException, metadata: {name: x, namespace: shop}, spec: {
  policies: [{policySet: modes, rules: [modes.deny_mode]}], match: {kinds: [{kind: ConfigMap}], namespaces: [shop], names: [m-001]}, owner: o, reason: r, expires: "2027-01-31T00:00:00Z"}}`} {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			t.Fatal(err)
		}
		create(u)
	}
	for i := range 520 {
		create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("m-%03d", i), Namespace: "shop"}, Data: map[string]string{"mode": "odd"}})
	}
	create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "managed", Namespace: "shop", Labels: map[string]string{
		"gitgate.dev/namespace": "shop", "gitgate.dev/name": "web"}}, Data: map[string]string{"mode": "odd"}})
	create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "shop"}, StringData: map[string]string{"mode": "hunter2"}})
	writeTree(t, map[string]string{"rules/modes.rego": `package modes

deny_mode contains sprintf("mode %v", [input.object.data.mode]) if input.object.data.mode in {"odd", "(redacted)"}
`})
	common := []string{"--policy-bundle", "modes=rules", "--from-cluster", "--live", "--kubeconfig", c.Kubeconfig(), "--namespace", "shop", "--kinds", "ConfigMap,Secret"}
	code, out, errs := preview(append(common, "-o", "json")...)
	if code != exitDenied || strings.Contains(out, "hunter2") || strings.Contains(out, "aHVudGVyMg") {
		t.Fatalf("exit %d, %s%.2000s", code, errs, out)
	}
	var got previewResult
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Judged != 522 || got.Counts.Denied != 521 || got.Counts.Excepted != 1 {
		t.Errorf("%d judged, %+v", got.Judged, got.Counts)
	}
	if len(got.Groups) != 2 || got.Groups[0].Name != "namespace shop" || got.Groups[1].Name != "GitSync shop/web" || got.Groups[1].Denied != 1 {
		t.Errorf("groups %+v", got.Groups)
	}
	code, out, errs = preview(append(common, "--owner-key", "team", "--limit", "1")...)
	if code != exitDenied || !strings.Contains(out, "newly denied, sales:\n") || !strings.Contains(out, "521 more differences are not shown") {
		t.Errorf("exit %d, %s%s", code, errs, out)
	}
}
