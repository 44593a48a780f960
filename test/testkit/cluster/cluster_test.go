package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"gitgate.dev/gitgate/test/testkit/cluster"
)

// patience bounds waiting for controllers on a busy machine.
const patience = time.Minute

// eventually fails the test unless ok returns true in time.
func eventually(t *testing.T, what string, ok func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !ok(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s", what, patience)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func clientFor(t *testing.T, cfg *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]cluster.Options{
		"Negative": {Nodes: -1},
		"TooMany":  {Nodes: 17},
		"Level":    {AuditLevel: "metadata"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := cluster.Start(t.Context(), o)
			if err == nil {
				_ = c.Stop()
				t.Fatal("a cluster started")
			}
		})
	}
}

func TestAPIServer(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Options{AuditLevel: "Metadata", JSONStorage: true})
	ctx := t.Context()

	v, err := c.Client().Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if v.Major != "1" || v.Minor != "37" || v.GitVersion != "v1.37.1" {
		t.Errorf("version = %+v, want v1.37.1", v)
	}

	fromFile, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.EnsureNamespace(ctx, "shop"); err != nil {
		t.Fatal(err)
	}
	if _, err := clientFor(t, fromFile).CoreV1().Namespaces().Get(ctx, "shop", metav1.GetOptions{}); err != nil {
		t.Errorf("by kubeconfig: %v", err)
	}
	for user, allowed := range map[string]bool{cluster.Alice: true, "bob": false} {
		_, err := clientFor(t, c.ConfigFor(user)).CoreV1().Secrets("shop").Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: user},
		}, metav1.CreateOptions{})
		if allowed != (err == nil) || !allowed && !apierrors.IsForbidden(err) {
			t.Errorf("%s creates a Secret: %v, want allowed: %t", user, err, allowed)
		}
	}
	eventually(t, "bob's refusal in the audit log", func(context.Context) bool {
		events, err := c.AuditEvents()
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(events, func(e cluster.AuditEvent) bool {
			return e.User.Username == "bob" && e.Verb == "create" &&
				e.ObjectRef.Resource == "secrets" && e.ResponseStatus.Code == 403
		})
	})
}

func TestEtcd(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Options{JSONStorage: true})
	ctx := t.Context()
	const key = "/registry/configmaps/default/a"
	maps := c.Client().CoreV1().ConfigMaps("default")
	_, err := maps.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "a"}, Data: map[string]string{"k": "before"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := c.EtcdGet(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(stored), "{") {
		t.Fatalf("stored as %.20q, want JSON", stored)
	}
	if err := c.EtcdPut(ctx, key, []byte(strings.Replace(string(stored), "before", "behind", 1))); err != nil {
		t.Fatal(err)
	}
	got, err := maps.Get(ctx, "a", metav1.GetOptions{})
	if err != nil || got.Data["k"] != "behind" {
		t.Errorf("after writing to etcd: %v, %v", got.Data, err)
	}
	if keys, err := c.EtcdKeys(ctx, "/registry/configmaps/default/"); err != nil || !slices.Equal(keys, []string{key}) {
		t.Errorf("keys = %q, %v", keys, err)
	}
	if err := c.EtcdDelete(ctx, key); err != nil {
		t.Fatal(err)
	}
	if _, err := c.EtcdGet(ctx, key); !errors.Is(err, cluster.ErrNoKey) {
		t.Errorf("after deleting: %v, want %v", err, cluster.ErrNoKey)
	}
}

// deployment returns a Deployment whose Pods have annotations.
func deployment(name string, replicas int32, annotations map[string]string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "example.com/app:1"}}},
			},
		},
	}
}

func create(t *testing.T, c *cluster.Cluster, namespace string, d *appsv1.Deployment) {
	t.Helper()
	if err := c.EnsureNamespace(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	_, err := c.Client().AppsV1().Deployments(namespace).Create(t.Context(), d, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func waitAvailable(t *testing.T, c *cluster.Cluster, namespace, name string, replicas int32) {
	t.Helper()
	eventually(t, name+" available", func(ctx context.Context) bool {
		d, err := c.Client().AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		return err == nil && d.Status.AvailableReplicas == replicas && d.Status.ObservedGeneration == d.Generation
	})
}

// TestStaticPolicy loads a policy that exists only as a file, and finds shared
// controller credentials at work.
func TestStaticPolicy(t *testing.T) {
	t.Parallel()
	manifests := t.TempDir()
	if err := os.WriteFile(filepath.Join(manifests, "policy.yaml"), []byte(staticPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	c := cluster.New(t, cluster.Options{
		ControllerManager: true, SharedControllerCredentials: true, AuditLevel: "Metadata",
		AdmissionConfiguration: fmt.Sprintf(`
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
  - name: ValidatingAdmissionPolicy
    configuration:
      apiVersion: apiserver.config.k8s.io/v1
      kind: ValidatingAdmissionPolicyConfiguration
      staticManifestsDir: %q
`, manifests),
	})
	_, err := c.Client().CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "forbidden"},
	}, metav1.CreateOptions{})
	if err == nil || !strings.Contains(err.Error(), "not by this name") {
		t.Errorf("create = %v, want the policy's refusal", err)
	}
	events, err := c.AuditEvents()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(events, func(e cluster.AuditEvent) bool {
		return e.User.Username == "system:kube-controller-manager" && e.Verb == "create" &&
			e.ObjectRef.Resource == "serviceaccounts" && e.ObjectRef.Namespace == "default"
	}) {
		t.Error("controllers have credentials of their own")
	}
}

const staticPolicy = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: name.static.k8s.io}
spec:
  matchConstraints:
    resourceRules:
      - {apiGroups: [""], apiVersions: [v1], resources: [configmaps], operations: [CREATE]}
  validations: [{expression: "object.metadata.name != 'forbidden'", message: not by this name}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: name-binding.static.k8s.io}
spec: {policyName: name.static.k8s.io, validationActions: [Deny]}
`
