package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/test/testkit/lab"
)

const (
	system    = lab.SystemNamespace
	stepLimit = 90 * time.Second // what one step may take, on a busy machine too
)

func stepContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), stepLimit)
	t.Cleanup(cancel)
	return ctx
}

// install applies objects as kubectl apply --server-side does. What depends on a
// CRD that is not served yet is tried again.
func install(t *testing.T, c client.Client, objects []*unstructured.Unstructured) {
	t.Helper()
	ctx := stepContext(t)
	for _, o := range objects {
		body, err := json.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		err = wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			err := c.Patch(ctx, o.DeepCopy(), client.RawPatch(types.ApplyPatchType, body),
				client.FieldOwner("kubectl"), client.ForceOwnership, client.FieldValidation(metav1.FieldValidationStrict))
			return err == nil, client.IgnoreNotFound(ignoreNoMatch(err))
		})
		if err != nil {
			t.Fatalf("%s %s is refused: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

func ignoreNoMatch(err error) error {
	if meta.IsNoMatchError(err) {
		return nil
	}
	return err
}

// shared is a control plane with nothing but the base and a tenant installed.
var shared struct {
	sync.Once
	cluster *cluster.Cluster
	client  client.Client
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.cluster != nil {
		if err := shared.cluster.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// installation returns the shared control plane.
func installation(t *testing.T) client.Client {
	t.Helper()
	shared.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		c, err := cluster.Start(ctx, cluster.Options{ControllerManager: true})
		if err != nil {
			t.Fatal(err)
		}
		shared.cluster = c
		admin, err := client.New(c.RESTConfig(), client.Options{Scheme: lab.Scheme()})
		if err != nil {
			t.Fatal(err)
		}
		install(t, admin, build(t, "base"))
		for _, name := range []string{"team", "other"} {
			if err := admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
				t.Fatal(err)
			}
		}
		install(t, admin, build(t, "tenant"))
		shared.client = admin
		awaitRoles(t, admin)
	})
	if shared.client == nil {
		t.Fatal("the installation failed in an earlier test")
	}
	return shared.client
}

// awaitRoles waits until the aggregated roles are filled in.
func awaitRoles(t *testing.T, c client.Client) {
	t.Helper()
	ctx := stepContext(t)
	for _, name := range []string{"gitgate-read", "gitgate-dryrun"} {
		err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			role := &unstructured.Unstructured{}
			role.SetAPIVersion("rbac.authorization.k8s.io/v1")
			role.SetKind("ClusterRole")
			if err := c.Get(ctx, client.ObjectKey{Name: name}, role); err != nil {
				return false, err
			}
			rules, _, _ := unstructured.NestedSlice(role.Object, "rules")
			return len(rules) > 0, nil
		})
		if err != nil {
			t.Fatalf("ClusterRole %s stays empty: %v", name, err)
		}
	}
}

// token asks for a token of one of our accounts, as a kubelet does.
func token(t *testing.T, admin *rest.Config, account string) string {
	t.Helper()
	k, err := kubernetes.NewForConfig(admin)
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.CoreV1().ServiceAccounts(system).CreateToken(stepContext(t), account, tokenRequest(), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return got.Status.Token
}

// as returns a client that holds the token of one of our accounts and, with a user,
// impersonates that user.
func as(t *testing.T, account, user string) client.Client {
	t.Helper()
	installation(t)
	admin := shared.cluster.RESTConfig()
	config := rest.AnonymousClientConfig(admin)
	config.QPS, config.BearerToken = -1, token(t, admin, account)
	config.Impersonate.UserName = user
	c, err := client.New(config, client.Options{Scheme: lab.Scheme(), Mapper: shared.client.RESTMapper()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestBaseIsAccepted proves that a cluster without gitgate takes all of the base,
// and takes it once more without a change.
func TestBaseIsAccepted(t *testing.T) {
	c := installation(t)
	ctx := stepContext(t)
	versions := map[string]string{}
	for _, pass := range []string{"again", "compare"} {
		install(t, c, build(t, "base"))
		for _, o := range build(t, "base") {
			live := o.DeepCopy()
			if err := c.Get(ctx, client.ObjectKeyFromObject(o), live); err != nil {
				t.Fatal(err)
			}
			key := o.GetKind() + "/" + o.GetName()
			if pass == "compare" && versions[key] != version(live) {
				t.Errorf("%s: applying it twice changes it", key)
			}
			versions[key] = version(live)
		}
	}
}

// version changes when an object does, and where it can be told apart, not when its
// status does.
func version(o *unstructured.Unstructured) string {
	if g := o.GetGeneration(); g > 0 {
		return fmt.Sprint(g)
	}
	return o.GetResourceVersion()
}

// TestPodsAreAdmitted proves that Pod Security "restricted", which the namespace
// enforces, lets our Pods in, and that it is enforced.
func TestPodsAreAdmitted(t *testing.T) {
	c := installation(t)
	for _, d := range deployments(t) {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "try", Labels: d.Spec.Template.Labels}, Spec: d.Spec.Template.Spec}
		if err := c.Create(stepContext(t), pod.DeepCopy(), client.DryRunAll); err != nil {
			t.Errorf("%s: %v", d.Name, err)
		}
		pod.Spec.HostNetwork = true
		if err := c.Create(stepContext(t), pod, client.DryRunAll); !apierrors.IsForbidden(err) {
			t.Errorf("%s on the host's network: %v, want forbidden", d.Name, err)
		}
	}
}

// TestReplicasAreMade proves that the Deployment controller can do what we ask.
func TestReplicasAreMade(t *testing.T) {
	c := installation(t)
	ctx := stepContext(t)
	for _, d := range deployments(t) {
		err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			var live appsv1.Deployment
			err := c.Get(ctx, client.ObjectKeyFromObject(d), &live)
			return err == nil && live.Status.UpdatedReplicas == *d.Spec.Replicas, err
		})
		if err != nil {
			t.Errorf("%s: %v", d.Name, err)
		}
	}
}

func tokenRequest() *authenticationv1.TokenRequest {
	seconds := int64(3600)
	return &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
}
