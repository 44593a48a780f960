package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// webhookName is that of the ValidatingWebhookConfiguration.
const webhookName = "gitgate"

// lock starts the webhook and has the GitSync locked.
func (d *demo) lock(ctx context.Context) error {
	for _, replica := range []string{"one", "two"} {
		if _, err := d.ServeWebhook(ctx, replica); err != nil {
			return err
		}
	}
	d.out.line("$ gitgate webhook        # two replicas, each verifies Git for itself")
	d.out.line("$ kubectl edit gitsync shop        # spec.lock: {mode: Enforce, namespaces: [%s]}", lab.Namespace)
	var sync v1alpha1.GitSync
	if err := d.Client.Get(ctx, syncKey, &sync); err != nil {
		return err
	}
	before := sync.DeepCopy()
	sync.Spec.Lock = &v1alpha1.Lock{Mode: v1alpha1.ModeEnforce, Namespaces: []string{lab.Namespace}}
	if err := d.Client.Patch(ctx, &sync, client.MergeFrom(before)); err != nil {
		return err
	}
	s, err := d.Await(ctx, syncKey, func(s *v1alpha1.GitSync) bool {
		return s.Status.Lock != nil && len(s.Status.Lock.Replicas) == 2 && d.registered(ctx) == nil
	})
	if err != nil {
		return err
	}
	replicas := s.Status.Lock.Replicas
	if replicas[0].Digest != replicas[1].Digest {
		return fmt.Errorf("the replicas disagree: %+v", replicas)
	}
	d.out.good("both replicas verified %.17s… for themselves and agree on what it wants; the webhook is registered", replicas[0].Revision)
	return nil
}

// registered reports whether the API server is told to ask the webhook.
func (d *demo) registered(ctx context.Context) error {
	_, err := d.Cluster.Client().AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, webhookName, metav1.GetOptions{})
	return err
}

// alice is a cluster-admin who is no member of system:masters.
func (d *demo) alice() (kubernetes.Interface, error) {
	config := d.Cluster.ConfigFor(cluster.Alice)
	config.WarningHandler = rest.NoWarnings{} // the transcript tells
	return kubernetes.NewForConfig(config)
}

// attempt is something that a cluster-admin tries.
type attempt struct {
	what   string
	try    func(context.Context) error
	reason verdict.Reason
}

// locked tries everything as a cluster-admin and fails unless all of it is refused.
func (d *demo) locked(ctx context.Context) error {
	alice, err := d.alice()
	if err != nil {
		return err
	}
	before, err := d.generations(ctx)
	if err != nil {
		return err
	}
	pods, err := alice.CoreV1().Pods(lab.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil || len(pods.Items) == 0 {
		return fmt.Errorf("no Pod to try with: %v", err)
	}
	for i, a := range d.attempts(alice, pods.Items[0].Name) {
		err := a.try(ctx)
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), string(a.reason)) {
			return fmt.Errorf("%s: %v, want it refused for %s", a.what, err, a.reason)
		}
		d.out.line("$ %s", a.what)
		lines := strings.Split(strings.TrimPrefix(err.Error(), `admission webhook "lock.gitgate.dev" denied the request: `), "\n")
		d.out.bad("%s", lines[0])
		if i == 0 { // all of it once
			for _, l := range lines[1:] {
				d.out.line("  %s", l)
			}
		}
	}
	after, err := d.generations(ctx)
	if err != nil {
		return err
	}
	if before != after {
		return fmt.Errorf("the live objects changed: %s, then %s", before, after)
	}
	return d.unregister(ctx, alice)
}

func (d *demo) attempts(alice kubernetes.Interface, pod string) []attempt {
	deployments := alice.AppsV1().Deployments(lab.Namespace)
	patch := func(body string, subresources ...string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := deployments.Patch(ctx, "web", types.StrategicMergePatchType, []byte(body), metav1.PatchOptions{}, subresources...)
			return err
		}
	}
	return []attempt{
		{"kubectl edit deployment web        # another image", patch(`{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"evil.example.com/miner"}]}}}}`), verdict.ContentMismatch},
		{"kubectl scale deployment web --replicas=7", patch(`{"spec":{"replicas":7}}`, "scale"), verdict.SubresourceDenied},
		{"kubectl patch deployment web        # a sidecar", patch(`{"spec":{"template":{"spec":{"containers":[{"name":"miner","image":"evil.example.com/miner"}]}}}}`), verdict.UndeclaredField},
		{"kubectl label deployment web gitgate.dev/name-", patch(`{"metadata":{"labels":{"gitgate.dev/name":null}}}`), verdict.ContentMismatch},
		{"kubectl patch deployment web --subresource=status        # a finalizer", patch(`{"metadata":{"finalizers":["evil.example.com/keep"]}}`, "status"), verdict.SubresourceDenied},
		{"kubectl delete deployment web", func(ctx context.Context) error {
			return deployments.Delete(ctx, "web", metav1.DeleteOptions{})
		}, verdict.ManagedDelete},
		{"kubectl delete deployments --all", func(ctx context.Context) error {
			return deployments.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		}, verdict.ManagedDelete},
		{"kubectl delete namespace " + lab.Namespace, func(ctx context.Context) error {
			return alice.CoreV1().Namespaces().Delete(ctx, lab.Namespace, metav1.DeleteOptions{})
		}, verdict.ManagedDelete},
		{"kubectl create configmap notes", func(ctx context.Context) error {
			_, err := alice.CoreV1().ConfigMaps(lab.Namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "notes"}}, metav1.CreateOptions{})
			return err
		}, verdict.NotInGit},
		{"kubectl exec web-… -- sh", func(ctx context.Context) error {
			return alice.CoreV1().RESTClient().Post().Namespace(lab.Namespace).Resource("pods").Name(pod).SubResource("exec").
				Param("command", "sh").Do(ctx).Error()
		}, verdict.NoGrant},
	}
}

// unregister deletes the webhook configuration, which no webhook sees, and fails
// unless it comes back in time.
func (d *demo) unregister(ctx context.Context, alice kubernetes.Interface) error {
	configurations := alice.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	if err := configurations.Delete(ctx, webhookName, metav1.DeleteOptions{}); err != nil {
		return err
	}
	d.out.line("$ kubectl delete validatingwebhookconfiguration %s", webhookName)
	start := time.Now()
	if err := wait.PollUntilContextTimeout(ctx, 5*time.Millisecond, 5*time.Second, true, func(ctx context.Context) (bool, error) {
		err := d.registered(ctx)
		return err == nil, client.IgnoreNotFound(err)
	}); err != nil {
		return fmt.Errorf("the webhook configuration did not come back: %w", err)
	}
	d.out.good("the configuration is back after %.2fs", time.Since(start).Seconds())
	return nil
}

// rollout commits a new version and fails unless the real controllers roll it out
// under the lock.
func (d *demo) rollout(ctx context.Context) error {
	next, err := d.SignedImage("acme/web:1.2")
	if err != nil {
		return err
	}
	if err := d.accept(ctx, gitrepo.Change{
		Message: "web 1.2", Files: map[string]string{"deploy/web.yaml": lab.Deployment("web", d.image+":1.2", 3)},
	}); err != nil {
		return err
	}
	if err := d.running(ctx, next.Digest, 3); err != nil {
		return err
	}
	return d.noDenials(ctx)
}

// noDenials fails if a controller was refused anything.
func (d *demo) noDenials(ctx context.Context) error {
	var web appsv1.Deployment
	if err := d.Client.Get(ctx, client.ObjectKey{Namespace: lab.Namespace, Name: "web"}, &web); err != nil {
		return err
	}
	for _, c := range web.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return errors.New("the Deployment controller was refused: " + c.Message)
		}
	}
	return nil
}
