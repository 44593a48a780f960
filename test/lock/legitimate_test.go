package lock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// TestMixedRun has every legitimate writer of section B of the threat catalogue at
// work in a closed namespace and outside, beside attacks: nothing legitimate is
// denied or left undone, and no attack passes.
func TestMixedRun(t *testing.T) {
	in := begin(t)
	length := time.Duration(0)
	if v := os.Getenv("GITGATE_LOCK_RUN"); v != "" {
		var err error
		length, err = time.ParseDuration(v)
		must(t, "GITGATE_LOCK_RUN", err)
	}
	from := in.marks(t)
	raid := in.raid(t)
	start := time.Now()
	for pass := 0; pass == 0 || time.Since(start) < length; pass++ {
		in.pass(t, fmt.Sprint(pass))
		if t.Failed() {
			break
		}
	}
	in.witnessed(t, from, witnesses...)
	raid.end(t)
	in.asGitSays(t, in.images[0])
	in.berthed(t)
	in.calm(t, from)
}

// witnesses are writes of all that have to work, as the webhook saw them. Those of
// the reconciler and of people are proven by what came of them.
var witnesses = []witness{
	{controller("deployment-controller"), "CREATE", "replicasets.apps", closed},
	{controller("deployment-controller"), "UPDATE", "deployments.apps/status", closed},
	{controller("replicaset-controller"), "CREATE", "pods", closed},
	{controller("replicaset-controller"), "DELETE", "pods", closed},
	{controller("statefulset-controller"), "CREATE", "pods", closed},
	{controller("statefulset-controller"), "CREATE", "controllerrevisions.apps", closed},
	{controller("daemon-set-controller"), "CREATE", "pods", closed},
	{controller("job-controller"), "CREATE", "pods", closed},
	{controller("job-controller"), "UPDATE", "jobs.batch/status", closed},
	{controller("ttl-after-finished-controller"), "DELETE", "jobs.batch", closed},
	{controller("cronjob-controller"), "CREATE", "jobs.batch", closed},
	{controller("horizontal-pod-autoscaler"), "UPDATE", "deployments.apps/scale", closed},
	{controller("disruption-controller"), "UPDATE", "poddisruptionbudgets.policy/status", closed},
	{controller("endpointslice-controller"), "UPDATE", "endpointslices.discovery.k8s.io", closed},
	{controller("generic-garbage-collector"), "DELETE", "pods", closed},
	{controller("clusterrole-aggregation-controller"), "UPDATE", "clusterroles.rbac.authorization.k8s.io", ""},
	{controller("service-account-controller"), "CREATE", "serviceaccounts", outside},
	{controller("root-ca-cert-publisher"), "CREATE", "configmaps", outside},
	{controller("namespace-controller"), "DELETE", "configmaps", outside},
	{controller("generic-garbage-collector"), "UPDATE", "replicasets.apps", outside},
	{"system:kube-scheduler", "CREATE", "pods/binding", closed},
	{"system:node:node-0", "UPDATE", "pods/status", closed},
	{operator, "UPDATE", "ships.depot.example.com", closed},
	{operator, "UPDATE", "ships.depot.example.com/status", closed},
}

// outside begins the names of namespaces that nobody locked.
const outside = "meadow"

// pass has everybody do their work once.
func (in *installation) pass(t *testing.T, pass string) {
	t.Helper()
	ctx := t.Context()
	in.settled(t, in.first())
	in.operate(t)
	in.aggregate(t, "depot-part-"+pass)
	in.drain(t)
	in.unmanaged(t, outside+"-"+pass)
	in.unchanged(t)
	next := version{"2-" + pass, in.images[1], 3}
	must(t, "releasing a new version", in.release(ctx, content(next)))
	in.settled(t, next)
	must(t, "going back", in.release(ctx, content(in.first())))
	in.settled(t, in.first())
}

// settled waits until all workloads are rolled out as a version says.
func (in *installation) settled(t *testing.T, v version) {
	t.Helper()
	eventually(t, "all workloads of release "+v.name, func(ctx context.Context) error {
		return errors.Join(in.deployed(ctx, "web", v.image, 2), in.deployed(ctx, "scaled", v.image, v.least), in.others(ctx, v.image))
	})
	eventually(t, "the endpoints of the Service", func(ctx context.Context) error {
		slices, err := in.alice.DiscoveryV1().EndpointSlices(closed).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=web"})
		if err != nil {
			return err
		}
		ready := 0
		for _, s := range slices.Items {
			for _, e := range s.Endpoints {
				if e.Conditions.Ready != nil && *e.Conditions.Ready {
					ready++
				}
			}
		}
		if ready != 2 {
			return fmt.Errorf("%d endpoints are ready, want 2", ready)
		}
		return nil
	})
}

func (in *installation) deployed(ctx context.Context, name, image string, want int32) error {
	var d appsv1.Deployment
	if err := in.get(ctx, name, &d); err != nil {
		return err
	}
	s := d.Status
	if d.Spec.Template.Spec.Containers[0].Image != image || *d.Spec.Replicas != want || s.ObservedGeneration < d.Generation ||
		s.Replicas != want || s.UpdatedReplicas != want || s.AvailableReplicas != want {
		return fmt.Errorf("%s: %d replicas of %s: %+v", name, *d.Spec.Replicas, d.Spec.Template.Spec.Containers[0].Image, s)
	}
	return nil
}

func (in *installation) others(ctx context.Context, image string) error {
	var db appsv1.StatefulSet
	var agent appsv1.DaemonSet
	if err := errors.Join(in.get(ctx, "db", &db), in.get(ctx, "agent", &agent)); err != nil {
		return err
	}
	if s := db.Status; db.Spec.Template.Spec.Containers[0].Image != image || s.ObservedGeneration < db.Generation || s.UpdatedReplicas != 1 || s.ReadyReplicas != 1 {
		return fmt.Errorf("db: %+v", s)
	}
	if s := agent.Status; agent.Spec.Template.Spec.Containers[0].Image != image || s.ObservedGeneration < agent.Generation ||
		s.DesiredNumberScheduled != 1 || s.UpdatedNumberScheduled != 1 || s.NumberReady != 1 {
		return fmt.Errorf("agent: %+v", s)
	}
	return nil
}

// operate writes status and the delegated field of a custom resource, as its
// controller does.
func (in *installation) operate(t *testing.T) {
	t.Helper()
	c, err := dynamic.NewForConfig(in.as(t, operator))
	must(t, "the operator", err)
	ships := c.Resource(schema.GroupVersionResource{Group: "depot.example.com", Version: "v1", Resource: "ships"}).Namespace(closed)
	berth := time.Now().UnixMilli()
	eventually(t, "the operator's writes", func(ctx context.Context) error {
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"berth":"%[1]d"}},"spec":{"berth":%[1]d}}`, berth)
		if _, err := ships.Patch(ctx, "mary", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return err
		}
		ship, err := ships.Get(ctx, "mary", metav1.GetOptions{})
		if err != nil {
			return err
		}
		docked, _, _ := unstructured.NestedBool(ship.Object, "status", "docked")
		if err := unstructured.SetNestedField(ship.Object, !docked, "status", "docked"); err != nil {
			return err
		}
		ship, err = ships.UpdateStatus(ctx, ship, metav1.UpdateOptions{})
		if err != nil {
			return err
		}
		if got, _, _ := unstructured.NestedInt64(ship.Object, "spec", "berth"); got != berth {
			return fmt.Errorf("berth = %d, want %d", got, berth)
		}
		in.berth = berth
		return nil
	})
}

// berthed fails the test unless what the operator wrote outlived all releases.
func (in *installation) berthed(t *testing.T) {
	t.Helper()
	ship := &unstructured.Unstructured{}
	ship.SetGroupVersionKind(schema.GroupVersionKind{Group: "depot.example.com", Version: "v1", Kind: "Ship"})
	must(t, "reading the ship", in.get(t.Context(), "mary", ship))
	got, _, _ := unstructured.NestedInt64(ship.Object, "spec", "berth")
	if a := ship.GetAnnotations(); got != in.berth || a["berth"] != fmt.Sprint(in.berth) || a["port"] != "home" {
		t.Errorf("berth = %d, annotations = %v, want %d in both", got, a, in.berth)
	}
}

// aggregate adds a part to the aggregated ClusterRole and takes it away.
func (in *installation) aggregate(t *testing.T, name string) {
	t.Helper()
	roles := in.alice.RbacV1().ClusterRoles()
	part := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"depot.example.com/part": "true"}},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{name}, Verbs: []string{"get"}}},
	}
	_, err := roles.Create(t.Context(), part, metav1.CreateOptions{})
	must(t, "creating a part of the role", err)
	aggregated := func(want int) {
		t.Helper()
		eventually(t, "the aggregated role", func(ctx context.Context) error {
			all, err := roles.Get(ctx, "depot-all", metav1.GetOptions{})
			if err == nil && len(all.Rules) != want {
				err = fmt.Errorf("%d rules, want %d", len(all.Rules), want)
			}
			return err
		})
	}
	aggregated(1)
	must(t, "deleting the part", roles.Delete(t.Context(), name, metav1.DeleteOptions{}))
	aggregated(0)
}

// drain drains the only node as kubectl does. The budget lets one of two Pods go.
func (in *installation) drain(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	cordon := func(on bool) {
		t.Helper()
		body := fmt.Appendf(nil, `{"spec":{"unschedulable":%t}}`, on)
		_, err := in.alice.CoreV1().Nodes().Patch(ctx, "node-0", types.MergePatchType, body, metav1.PatchOptions{})
		must(t, "cordoning the node", err)
	}
	cordon(true)
	pods, err := in.alice.CoreV1().Pods(closed).List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
	must(t, "listing Pods", err)
	var running []string
	for _, p := range pods.Items {
		if p.DeletionTimestamp == nil {
			running = append(running, p.Name)
		}
	}
	if len(running) != 2 {
		t.Fatalf("%d Pods to evict, want 2", len(running))
	}
	evict := func(ctx context.Context, name string) error {
		return in.alice.PolicyV1().Evictions(closed).Evict(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: closed, Name: name}})
	}
	eventually(t, "the eviction of one Pod", func(ctx context.Context) error { return evict(ctx, running[0]) })
	if err := evict(ctx, running[1]); !apierrors.IsTooManyRequests(err) {
		t.Errorf("evicting the second: %v, want the budget to forbid it", err)
	}
	cordon(false)
	in.settled(t, in.first())
}

// unmanaged makes a namespace that nobody locked, and workloads in it that are
// deleted with and without their children, and deletes it.
func (in *installation) unmanaged(t *testing.T, name string) {
	t.Helper()
	ctx := t.Context()
	_, err := in.alice.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	must(t, "creating a namespace", err)
	eventually(t, "the side objects of a namespace", func(ctx context.Context) error {
		_, account := in.alice.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		_, root := in.alice.CoreV1().ConfigMaps(name).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
		return errors.Join(account, root)
	})
	deployments, sets := in.alice.AppsV1().Deployments(name), in.alice.AppsV1().ReplicaSets(name)
	for _, app := range []string{"orphaned", "cascaded"} {
		_, err := deployments.Create(ctx, unmanagedDeployment(app), metav1.CreateOptions{})
		must(t, "creating a Deployment", err)
		eventually(t, app, func(ctx context.Context) error {
			d, err := deployments.Get(ctx, app, metav1.GetOptions{})
			if err == nil && d.Status.AvailableReplicas != 1 {
				err = fmt.Errorf("%+v", d.Status)
			}
			return err
		})
	}
	for app, policy := range map[string]metav1.DeletionPropagation{
		"orphaned": metav1.DeletePropagationOrphan, "cascaded": metav1.DeletePropagationForeground,
	} {
		must(t, "deleting "+app, deployments.Delete(ctx, app, metav1.DeleteOptions{PropagationPolicy: &policy}))
	}
	eventually(t, "one ReplicaSet without an owner, and no other", func(ctx context.Context) error {
		left, err := sets.List(ctx, metav1.ListOptions{})
		if err == nil && (len(left.Items) != 1 || left.Items[0].Labels["app"] != "orphaned" || len(left.Items[0].OwnerReferences) != 0) {
			err = fmt.Errorf("%d ReplicaSets are left", len(left.Items))
		}
		return err
	})
	must(t, "deleting the namespace", in.alice.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}))
	eventually(t, "the namespace to be gone", func(ctx context.Context) error {
		_, err := in.alice.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			return errors.New("it is still there")
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}

func unmanagedDeployment(name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "example.com/app:1"}}},
			},
		},
	}
}

// unchanged writes what is there already, as storage migration does.
func (in *installation) unchanged(t *testing.T) {
	t.Helper()
	eventually(t, "an update that changes nothing", func(ctx context.Context) error {
		web, err := in.alice.AppsV1().Deployments(closed).Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if _, err := in.alice.AppsV1().Deployments(closed).Update(ctx, web, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
			must(t, "an update that changes nothing", err)
			return nil
		}
		return errors.New("somebody else wrote it")
	})
	_, err := in.alice.CoreV1().ConfigMaps(closed).Patch(t.Context(), "settings", types.MergePatchType, []byte(`{}`), metav1.PatchOptions{})
	must(t, "a patch that changes nothing", err)
}

// asGitSays fails the test unless what was attacked is what Git says.
func (in *installation) asGitSays(t *testing.T, image string) {
	t.Helper()
	ctx := t.Context()
	var web appsv1.Deployment
	var settings corev1.ConfigMap
	must(t, "reading what was attacked", errors.Join(in.get(ctx, "web", &web), in.get(ctx, "settings", &settings)))
	if c := web.Spec.Template.Spec.Containers; len(c) != 1 || c[0].Image != image || *web.Spec.Replicas != 2 || len(web.Finalizers) > 0 {
		t.Errorf("web is not what Git says: %+v", web.Spec)
	}
	if settings.Data["mode"] != "safe" {
		t.Errorf("settings = %v", settings.Data)
	}
	for _, prefix := range []string{"/registry/configmaps/", "/registry/endpointslices/", "/registry/pods/"} {
		keys, err := in.Cluster.EtcdKeys(ctx, prefix+closed+"/attack-")
		must(t, "asking etcd", err)
		if len(keys) > 0 {
			t.Errorf("an attack landed: %v", keys)
		}
	}
}
