package cluster_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/test/testkit/cluster"
)

func TestWorkloads(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Options{Nodes: 2, AuditLevel: "Metadata"})
	t.Run("Deployment", func(t *testing.T) { testDeployment(t, c) })
	t.Run("NeverReady", func(t *testing.T) { testNeverReady(t, c) })
	t.Run("Waiting", func(t *testing.T) { testWaiting(t, c) })
	t.Run("Job", func(t *testing.T) { testJob(t, c) })
	t.Run("Identities", func(t *testing.T) { testIdentities(t, c) })
	t.Run("ScaleDown", func(t *testing.T) { testScaleDown(t, c) })
}

func testDeployment(t *testing.T, c *cluster.Cluster) {
	create(t, c, "shop", deployment("web", 2, nil))
	waitAvailable(t, c, "shop", "web", 2)
	pods, err := c.Client().CoreV1().Pods("shop").List(t.Context(), metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods.Items {
		if p.Status.Phase != corev1.PodRunning || p.Status.PodIP == "" || !strings.HasPrefix(p.Spec.NodeName, "node-") {
			t.Errorf("pod %s on %q: %s, %q", p.Name, p.Spec.NodeName, p.Status.Phase, p.Status.PodIP)
		}
	}
}

func testNeverReady(t *testing.T, c *cluster.Cluster) {
	create(t, c, "shop", deployment("sick", 1, map[string]string{cluster.ReadyAnnotation: "false"}))
	p := waitPod(t, c, "app=sick", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
	if p.Status.ContainerStatuses[0].Ready {
		t.Error("container is ready")
	}
}

func testWaiting(t *testing.T, c *cluster.Cluster) {
	create(t, c, "shop", deployment("stuck", 1, map[string]string{cluster.WaitingAnnotation: "ImagePullBackOff"}))
	p := waitPod(t, c, "app=stuck", func(p *corev1.Pod) bool { return len(p.Status.ContainerStatuses) > 0 })
	if w := p.Status.ContainerStatuses[0].State.Waiting; w == nil || w.Reason != "ImagePullBackOff" {
		t.Errorf("state = %+v", p.Status.ContainerStatuses[0].State)
	}
}

// waitPod waits for a pod in shop.
func waitPod(t *testing.T, c *cluster.Cluster, selector string, ok func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var found *corev1.Pod
	eventually(t, "pod "+selector, func(ctx context.Context) bool {
		pods, err := c.Client().CoreV1().Pods("shop").List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil || len(pods.Items) == 0 || !ok(&pods.Items[0]) {
			return false
		}
		found = &pods.Items[0]
		return true
	})
	return found
}

func testJob(t *testing.T, c *cluster.Cluster) {
	jobs := c.Client().BatchV1().Jobs("shop")
	_, err := jobs.Create(t.Context(), &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "migrate"},
		Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers:    []corev1.Container{{Name: "c", Image: "example.com/app:1"}},
		}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "job", func(ctx context.Context) bool {
		j, err := jobs.Get(ctx, "migrate", metav1.GetOptions{})
		return err == nil && slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
			return c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue
		})
	})
}

// testIdentities checks that writers are who they are in a production cluster:
// a webhook that judges writers is tested in vain otherwise.
func testIdentities(t *testing.T, c *cluster.Cluster) {
	events, err := c.AuditEvents()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ user, verb, resource, sub string }{
		{"system:serviceaccount:kube-system:deployment-controller", "create", "replicasets", ""},
		{"system:serviceaccount:kube-system:replicaset-controller", "create", "pods", ""},
		{"system:kube-scheduler", "create", "pods", "binding"},
		{"system:node:node-0", "patch", "nodes", "status"},
		{"system:node:node-0", "create", "leases", ""},
	} {
		if !slices.ContainsFunc(events, func(e cluster.AuditEvent) bool {
			return e.User.Username == want.user && e.Verb == want.verb && e.ResponseStatus.Code < 300 &&
				e.ObjectRef.Resource == want.resource && e.ObjectRef.Subresource == want.sub
		}) {
			t.Errorf("nobody did: %+v", want)
		}
	}
	for _, e := range events {
		if strings.HasPrefix(e.User.Username, "system:node:") && e.ResponseStatus.Code == 403 {
			t.Errorf("%s was refused: %s %s", e.User.Username, e.Verb, e.RequestURI)
		}
	}
}

func testScaleDown(t *testing.T, c *cluster.Cluster) {
	patch := []byte(`{"spec":{"replicas":0}}`)
	_, err := c.Client().AppsV1().Deployments("shop").
		Patch(t.Context(), "web", types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "pods gone", func(ctx context.Context) bool {
		pods, err := c.Client().CoreV1().Pods("shop").List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		return err == nil && len(pods.Items) == 0
	})
}

// TestParallel runs two clusters at once that must not know of each other.
func TestParallel(t *testing.T) {
	t.Parallel()
	a := cluster.New(t, cluster.Options{})
	b := cluster.New(t, cluster.Options{})
	if a.RESTConfig().Host == b.RESTConfig().Host {
		t.Fatal("two clusters at one address")
	}
	if err := a.EnsureNamespace(t.Context(), "only-a"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Client().CoreV1().Namespaces().Get(t.Context(), "only-a", metav1.GetOptions{}); err == nil {
		t.Error("b has a namespace of a")
	}
}
