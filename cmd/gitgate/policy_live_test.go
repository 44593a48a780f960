package main

import (
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/test/testkit/cluster"
)

// TestPolicyEvalLive judges what is in a cluster.
func TestPolicyEvalLive(t *testing.T) {
	c := cluster.New(t, cluster.Options{})
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, rbacv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	cl, err := client.New(c.RESTConfig(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"team": "a"}}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "plain", Namespace: "shop"}, Data: map[string]string{"n": "1"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "secret", Namespace: "shop"}, StringData: map[string]string{"p": "hunter2"}},
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "broad"}},
	} {
		if err := cl.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	writeTree(t, map[string]string{"rules/a.rego": `package a

deny contains msg if {
	input.object.metadata.name in {"plain", "secret", "broad"}
	object.get(input.object.metadata, "managedFields", null) == null
	msg := sprintf("%s of %v holds %v", [input.operation, team, object.get(input.object, "data", null)])
}

team := input.namespace.metadata.labels.team

team := "nobody" if not input.namespace
`})
	kubeconfig := c.Kubeconfig()
	eval := func(args ...string) (int, string, string) {
		var out, errs strings.Builder
		code := run(append([]string{"policy", "eval", "--live", "--kubeconfig", kubeconfig, "-p", "rules"}, args...), strings.NewReader(""), &out, &errs)
		return code, out.String(), errs.String()
	}
	code, stdout, stderr := eval()
	if code != 1 || strings.Contains(stdout, "hunter2") || strings.Contains(stdout, "aHVudGVyMg") {
		t.Errorf("exit code %d, stderr %q\n%s", code, stderr, stdout)
	}
	for _, want := range []string{
		"ClusterRole.rbac.authorization.k8s.io/broad: deny PolicyDenied [rules/a.deny] CREATE of nobody holds null\n",
		"shop/ConfigMap/plain: deny PolicyDenied [rules/a.deny] CREATE of a holds {\"n\": \"1\"}\n",
		"shop/Secret/secret: deny PolicyDenied [rules/a.deny] CREATE of a holds {\"p\": \"(redacted)\"}\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%s lacks %q", stdout, want)
		}
	}
	if code, stdout, stderr := eval("--kinds", "ConfigMap", "-n", "shop"); code != 1 || strings.Count(stdout, "deny PolicyDenied") != 1 {
		t.Errorf("exit code %d, stderr %q\n%s", code, stderr, stdout)
	}
	if code, _, stderr := eval("--kinds", "Deployment"); code != 2 || !strings.Contains(stderr, "--kinds Deployment: the cluster has no such kind") || !strings.Contains(stderr, "Deployment.apps") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	if code, _, stderr := eval("--context", "nowhere"); code != 2 || !strings.Contains(stderr, "nowhere") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	// Who may not list something is not told that all is well.
	kubeconfig = filepath.Join(t.TempDir(), "nobody.kubeconfig")
	if err := c.KubeconfigFor(kubeconfig, "nobody"); err != nil {
		t.Fatal(err)
	}
	if code, stdout, _ := eval("--kinds", "ConfigMap"); code != 3 || !strings.Contains(stdout, "ConfigMap: undetermined SourceUnavailable") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
}
