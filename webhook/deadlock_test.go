package webhook_test

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/webhook/registration"
)

// runningPods counts our Pods that run, and those that Services would reach.
func (r *rig) runningPods(ctx context.Context) (running int, uids map[string]bool) {
	list, err := r.cluster.Client().CoreV1().Pods(system).List(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, nil
	}
	uids = map[string]bool{}
	for _, p := range list.Items {
		if p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
			running++
			uids[string(p.UID)] = true
		}
	}
	return running, uids
}

// explain shows what became of our Pods, if the test has failed.
func (r *rig) explain(t *testing.T) {
	if !t.Failed() {
		return
	}
	ctx := context.WithoutCancel(t.Context())
	if pods, err := r.cluster.Client().CoreV1().Pods(system).List(ctx, metav1.ListOptions{}); err == nil {
		for _, p := range pods.Items {
			t.Logf("Pod %s on %q: %s, being deleted: %t, %v", p.Name, p.Spec.NodeName, p.Status.Phase, p.DeletionTimestamp != nil, p.Status.Conditions)
		}
	}
	if events, err := r.cluster.Client().CoreV1().Events("").List(ctx, metav1.ListOptions{}); err == nil {
		for _, e := range events.Items {
			if e.Type == corev1.EventTypeWarning {
				t.Logf("%s %s/%s: %s: %s (%d times)", e.LastTimestamp.Format(time.TimeOnly), e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message, e.Count)
			}
		}
	}
}

func ownDeployment() *appsv1.Deployment {
	replicas, labels := int32(2), map[string]string{"app": "gitgate-webhook"}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "gitgate-webhook"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: ownSpec()},
		},
	}
}

// TestOutage kills the webhook and everything with it, and deletes its Pods
// behind the API server's back. The cluster must come back by itself, and let
// nothing else through meanwhile.
func TestOutage(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{
		cluster: cluster.Options{Nodes: 1, ControllerManagerArgs: []string{"--leader-elect=true"}},
		config: func(c *registration.Config) {
			c.OwnPods = func() []registration.Template { return []registration.Template{registration.TemplateOf(ownSpec())} }
		},
	})
	ctx := t.Context()
	_, err := r.alice.CoreV1().ServiceAccounts(system).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "gitgate-webhook"}}, metav1.CreateOptions{})
	must(t, err)
	_, err = r.alice.CoreV1().Services(system).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "gitgate-webhook"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "gitgate-webhook"}, Ports: []corev1.ServicePort{{Port: 443, TargetPort: intstr.FromInt32(9443)}}},
	}, metav1.CreateOptions{})
	must(t, err)
	_, err = r.alice.AppsV1().Deployments(system).Create(ctx, ownDeployment(), metav1.CreateOptions{})
	must(t, err)
	var before map[string]bool
	eventually(t, "our Pods running", func(ctx context.Context) bool {
		n, uids := r.runningPods(ctx)
		before = uids
		return n == 2
	})

	r.kill()
	must(t, r.cluster.Signal(cluster.ControllerManager, os.Signal(syscall.SIGKILL)))
	keys, err := r.cluster.EtcdKeys(ctx, "/registry/pods/"+system+"/")
	must(t, err)
	// What kube-controller-manager and the API server make when they start goes too.
	for _, prefix := range []string{"/registry/clusterroles/system:discovery", "/registry/clusterroles/system:controller:job-controller",
		"/registry/clusterrolebindings/system:basic-user", "/registry/priorityclasses/system-node-critical",
		"/registry/flowschemas/catch-all", "/registry/serviceaccounts/kube-system/"} {
		more, err := r.cluster.EtcdKeys(ctx, prefix)
		must(t, err)
		if len(more) == 0 {
			t.Fatalf("nothing under %s", prefix)
		}
		keys = append(keys, more...)
	}
	for _, key := range keys {
		must(t, r.cluster.EtcdDelete(ctx, key))
	}
	t.Cleanup(func() { r.explain(t) })
	start := time.Now()
	must(t, r.cluster.RestartAPIServer(ctx))
	must(t, r.cluster.Restart(ctx, cluster.ControllerManager))

	// On a busy machine the manager may lose its lease and end; a kubelet would
	// start it again. Without the exemptions it would end again and again.
	restarts := 0
	keepManager := func() {
		select {
		case <-r.cluster.Exited(cluster.ControllerManager):
			if restarts++; restarts > 2 {
				t.Fatal("kube-controller-manager ends again and again")
			}
			must(t, r.cluster.Restart(ctx, cluster.ControllerManager))
		default:
		}
	}
	eventually(t, "our Pods running again, with nobody to judge", func(ctx context.Context) bool {
		keepManager()
		n, uids := r.runningPods(ctx)
		for uid := range uids {
			if before[uid] {
				return false
			}
		}
		return n == 2
	})
	eventually(t, "endpoints of our Service", func(ctx context.Context) bool {
		list, err := r.cluster.Client().DiscoveryV1().EndpointSlices(system).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=gitgate-webhook"})
		return err == nil && len(list.Items) == 1 && len(list.Items[0].Endpoints) == 2
	})
	for _, name := range []string{"system:discovery", "system:controller:job-controller"} {
		_, err := r.cluster.Client().RbacV1().ClusterRoles().Get(ctx, name, metav1.GetOptions{})
		must(t, err)
	}
	t.Logf("recovered after %s", time.Since(start).Round(time.Second))

	// Events and leases go on; the API server and the manager outlive the time
	// after which they would have ended themselves.
	must(t, patchlessEvent(ctx, r.alice))
	for time.Since(start) < 45*time.Second {
		keepManager()
		select {
		case <-r.cluster.Exited(cluster.APIServer):
			t.Fatal("the API server has ended")
		case <-time.After(time.Second):
		}
	}
	node, err := r.cluster.Client().CoreV1().Nodes().Get(ctx, "node-0", metav1.GetOptions{})
	must(t, err)
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
			t.Errorf("the node is not ready: %+v", c)
		}
	}
	// Nothing else passes.
	_, err = r.alice.CoreV1().ConfigMaps("default").Create(ctx, configMap("unjudged"), metav1.CreateOptions{})
	if err == nil || !strings.Contains(err.Error(), "failed calling webhook") {
		t.Errorf("a write with nobody to judge: %v", err)
	}
	// Certificates that ran out are renewed with nobody to judge.
	must(t, r.cluster.Client().CoreV1().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error())
	must(t, r.certs.Sync(ctx))
	r.revive()
	eventually(t, "writes", func(ctx context.Context) bool {
		_, err := r.alice.CoreV1().ConfigMaps("default").Create(ctx, configMap("judged"), metav1.CreateOptions{})
		return err == nil || apierrors.IsAlreadyExists(err)
	})
}
