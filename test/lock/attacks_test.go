package lock

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// An assault is one way to change what Git declares.
type assault struct {
	name   string
	try    func(context.Context) error
	reason verdict.Reason // that the denial must give
}

const (
	evilImage = `{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"evil.example.com/miner"}]}}}}`
	sidecar   = `{"spec":{"template":{"spec":{"containers":[{"name":"miner","image":"evil.example.com/miner"}]}}}}`
	shipPath  = "/apis/depot.example.com/v1/namespaces/" + closed + "/ships/mary"
)

// assaults are what is tried again and again beside the legitimate writers.
func (in *installation) assaults() ([]assault, error) {
	eve, err := in.attacker()
	if err != nil {
		return nil, err
	}
	stolen := map[string]kubernetes.Interface{}
	for _, user := range []string{lab.ReconcilerUser, operator, controller("deployment-controller"), controller("replicaset-controller"), controller("clusterrole-aggregation-controller")} {
		if stolen[user], err = in.thief(user, "system:serviceaccounts", "system:authenticated"); err != nil {
			return nil, err
		}
	}
	out := in.edits(eve)
	out = append(out, in.removals(eve)...)
	return append(out, in.impostures(eve, stolen)...), nil
}

// patch makes an attack of a merge patch, a strategic one where the kind has it.
func patch(c kubernetes.Interface, path, body string) func(context.Context) error {
	kind := types.StrategicMergePatchType
	if strings.Contains(path, ".example.com/") {
		kind = types.MergePatchType
	}
	return func(ctx context.Context) error {
		return c.CoreV1().RESTClient().Patch(kind).AbsPath(path).Body([]byte(body)).Do(ctx).Error()
	}
}

const webPath = "/apis/apps/v1/namespaces/" + closed + "/deployments/web"

// edits change content under a name of one's own.
func (in *installation) edits(eve kubernetes.Interface) []assault {
	notes := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "attack-notes"}}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "attack-slice", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.6.6.6"}}},
	}
	return []assault{
		{"another image", patch(eve, webPath, evilImage), verdict.ContentMismatch},
		{"a sidecar", patch(eve, webPath, sidecar), verdict.UndeclaredField},
		{"scale", patch(eve, webPath+"/scale", `{"spec":{"replicas":7}}`), verdict.SubresourceDenied},
		{"a finalizer by way of status", patch(eve, webPath+"/status", `{"metadata":{"finalizers":["evil.example.com/keep"]}}`), verdict.SubresourceDenied},
		{"settings", patch(eve, "/api/v1/namespaces/"+closed+"/configmaps/settings", `{"data":{"mode":"evil"}}`), verdict.ContentMismatch},
		{"a delegated field by another", patch(eve, shipPath, `{"spec":{"berth":666}}`), ""},
		{"a new object", func(ctx context.Context) error {
			_, err := eve.CoreV1().ConfigMaps(closed).Create(ctx, notes, metav1.CreateOptions{})
			return err
		}, verdict.NotInGit},
		{"an EndpointSlice for a Service of Git", func(ctx context.Context) error {
			_, err := eve.DiscoveryV1().EndpointSlices(closed).Create(ctx, slice, metav1.CreateOptions{})
			return err
		}, ""},
		{"rules of the aggregated role", patch(eve, "/apis/rbac.authorization.k8s.io/v1/clusterroles/depot-all",
			`{"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]}`), ""},
		{"a token of the reconciler", func(ctx context.Context) error {
			_, err := eve.CoreV1().ServiceAccounts(lab.SystemNamespace).CreateToken(ctx, "gitgate-reconciler", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
			return err
		}, verdict.ProtectedIdentity},
		{"a shell", func(ctx context.Context) error {
			pods, err := eve.CoreV1().Pods(closed).List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
			if err != nil || len(pods.Items) == 0 {
				return errors.Join(err, errNothingThere)
			}
			return eve.CoreV1().RESTClient().Post().Namespace(closed).Resource("pods").Name(pods.Items[0].Name).SubResource("exec").
				Param("command", "sh").Do(ctx).Error()
		}, verdict.NoGrant},
	}
}

// removals delete what Git declares, or what holds it.
func (in *installation) removals(eve kubernetes.Interface) []assault {
	remove := func(path string) func(context.Context) error {
		return func(ctx context.Context) error {
			return eve.CoreV1().RESTClient().Delete().AbsPath(path).Do(ctx).Error()
		}
	}
	return []assault{
		{"delete the Deployment", remove(webPath), verdict.ManagedDelete},
		{"delete all Deployments", remove("/apis/apps/v1/namespaces/" + closed + "/deployments"), verdict.ManagedDelete},
		{"delete the namespace", remove("/api/v1/namespaces/" + closed), verdict.ManagedDelete},
		{"delete the definition", remove("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ships.depot.example.com"), verdict.ManagedDelete},
		{"delete the custom resource", remove(shipPath), verdict.ManagedDelete},
	}
}

// impostures are made under stolen names.
func (in *installation) impostures(eve kubernetes.Interface, stolen map[string]kubernetes.Interface) []assault {
	return []assault{
		{"another image as the Deployment controller", patch(stolen[controller("deployment-controller")], webPath, evilImage), verdict.ContentMismatch},
		{"other content as the reconciler", patch(stolen[lab.ReconcilerUser], webPath, evilImage), verdict.ContentMismatch},
		{"a declared field as the operator", patch(stolen[operator], shipPath, `{"spec":{"cargo":"opium"}}`), verdict.ContentMismatch},
		{"replicas as the aggregation controller", patch(stolen[controller("clusterrole-aggregation-controller")], webPath, `{"spec":{"replicas":9}}`), verdict.ContentMismatch},
		{"a forged Pod as the ReplicaSet controller", func(ctx context.Context) error {
			sets, err := eve.AppsV1().ReplicaSets(closed).List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
			if err != nil || len(sets.Items) == 0 {
				return errors.Join(err, errNothingThere)
			}
			owner := sets.Items[0]
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
				GenerateName: owner.Name + "-", Labels: owner.Spec.Template.Labels,
				OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(&owner, owner.GroupVersionKind())},
			}, Spec: *owner.Spec.Template.Spec.DeepCopy()}
			pod.OwnerReferences[0].APIVersion, pod.OwnerReferences[0].Kind = "apps/v1", "ReplicaSet"
			pod.Spec.Containers[0].Image = "evil.example.com/miner"
			_, err = stolen[controller("replicaset-controller")].CoreV1().Pods(closed).Create(ctx, pod, metav1.CreateOptions{})
			return err
		}, verdict.NotDerived},
	}
}

// errNothingThere means that there was nothing to attack just then.
var errNothingThere = errors.New("nothing to attack")

func controller(name string) string { return "system:serviceaccount:kube-system:" + name }

// A raid is a run of assaults beside something else.
type raid struct {
	assaults []assault
	stop     context.CancelFunc
	done     sync.WaitGroup

	mu      sync.Mutex
	refused map[string]int
	faults  []error
}

// raid attacks until it is ended.
func (in *installation) raid(t *testing.T) *raid {
	t.Helper()
	all, err := in.assaults()
	must(t, "preparing attacks", err)
	ctx, cancel := context.WithCancel(t.Context())
	r := &raid{assaults: all, stop: cancel, refused: map[string]int{}}
	r.done.Go(func() {
		for ctx.Err() == nil {
			for _, a := range all {
				r.note(ctx, a, a.try(ctx))
			}
			pause(ctx, time.Second) // there is one control plane for all of us
		}
	})
	t.Cleanup(func() { cancel(); r.done.Wait() })
	return r
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// note judges the outcome of an assault. That a webhook was not asked in time or
// asks for patience is no success and proves nothing.
func (r *raid) note(ctx context.Context, a assault, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case ctx.Err() != nil, errors.Is(err, errNothingThere), apierrors.IsNotFound(err), apierrors.IsServiceUnavailable(err),
		apierrors.IsInternalError(err), apierrors.IsTimeout(err), apierrors.IsConflict(err):
	case err == nil:
		r.faults = append(r.faults, fmt.Errorf("%s: it passed", a.name))
	case !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), string(a.reason)):
		r.faults = append(r.faults, fmt.Errorf("%s: %w, want it refused for %s", a.name, err, a.reason))
	default:
		r.refused[a.name]++
	}
}

// end stops the raid and fails the test unless each assault was tried and refused.
func (r *raid) end(t *testing.T) {
	t.Helper()
	r.stop()
	r.done.Wait()
	for _, err := range r.faults {
		t.Error(err)
	}
	for _, a := range r.assaults {
		if r.refused[a.name] == 0 {
			t.Errorf("%s: never refused for %s", a.name, a.reason)
		}
	}
}
