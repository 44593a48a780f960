package deploy

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/test/testkit/lab"
	"gitgate.dev/gitgate/webhook/lock"
	"gitgate.dev/gitgate/webhook/registration"
)

// wanted is what gitgate webhook registers with the names of the base.
func wanted(templates ...registration.Template) registration.Config {
	return registration.Config{
		Namespace: system, Webhook: userOf(system, webhook), Reconciler: userOf(system, reconciler), DryRunner: userOf(system, dryrun),
		Secret: "gitgate-webhook-certs", OwnPods: func() []registration.Template { return templates },
	}
}

// TestDryRunPolicyIsTheSame proves that the policy in the base is the one that
// gitgate webhook keeps in place: they would change each other for ever.
func TestDryRunPolicyIsTheSame(t *testing.T) {
	base := build(t, "base")
	want := wanted().Policies(lock.Off)[0]
	policy := convert[admissionregistrationv1.ValidatingAdmissionPolicy](t, find(t, base, "ValidatingAdmissionPolicy", want.Policy.Name))
	binding := convert[admissionregistrationv1.ValidatingAdmissionPolicyBinding](t, find(t, base, "ValidatingAdmissionPolicyBinding", want.Binding.Name))
	for what, d := range map[string]string{
		"policy":            cmp.Diff(want.Policy.Spec, policy.Spec),
		"labels of policy":  cmp.Diff(want.Policy.Labels, policy.Labels),
		"binding":           cmp.Diff(want.Binding.Spec, binding.Spec),
		"labels of binding": cmp.Diff(want.Binding.Labels, binding.Labels),
	} {
		if d != "" {
			t.Errorf("%s differs (-webhook +base):\n%s", what, d)
		}
	}
}

// TestWebhookMayKeepItsPolicies proves that the role names all that gitgate webhook
// registers, and nothing else.
func TestWebhookMayKeepItsPolicies(t *testing.T) {
	var want []string
	for _, p := range wanted(registration.Template{}).Policies(lock.Enforce) {
		want = append(want, p.Policy.Name)
	}
	role := convert[rbacv1.ClusterRole](t, find(t, build(t, "base"), "ClusterRole", webhook))
	for resource, want := range map[string][]string{
		"validatingwebhookconfigurations": {registration.Name}, "validatingadmissionpolicies": want, "validatingadmissionpolicybindings": want,
	} {
		for _, verb := range []string{"update", "delete"} {
			var got []string
			for _, r := range role.Rules {
				if slices.Contains(r.Resources, resource) && slices.Contains(r.Verbs, verb) {
					got = append(got, r.ResourceNames...)
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s %s (-wanted +granted):\n%s", verb, resource, d)
			}
		}
	}
}

// TestOwnPodsComeBack proves that the policies which bound what brings our Pods back
// let the Pods of the base through, and no others.
func TestOwnPodsComeBack(t *testing.T) {
	c := installation(t)
	ctx := stepContext(t)
	var templates []registration.Template
	for _, d := range deployments(t) {
		templates = append(templates, registration.TemplateOf(d.Spec.Template.Spec))
	}
	policies := wanted(templates...).Policies(lock.Enforce)
	for _, p := range policies {
		for _, o := range []client.Object{p.Policy, p.Binding} {
			if p.Policy.Name == "gitgate-dry-run" {
				continue // there already
			}
			if err := c.Create(ctx, o); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := c.Delete(context.WithoutCancel(ctx), o); err != nil {
					t.Error(err)
				}
			})
		}
	}
	config := shared.cluster.RESTConfig()
	config.Impersonate.UserName = userOf("kube-system", "replicaset-controller")
	controller, err := client.New(config, client.Options{Scheme: lab.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	stranger := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "stranger"}, Spec: deployments(t)[0].Spec.Template.Spec}
	stranger.Spec.Containers[0].Args = []string{"serve"}
	eventually(t, "a Pod of other arguments to be refused", func(ctx context.Context) bool {
		return apierrors.IsForbidden(controller.Create(ctx, stranger.DeepCopy(), client.DryRunAll))
	})
	old := map[string]bool{}
	for _, p := range pods(ctx, t, c) {
		old[p.Name] = true
		if err := c.Delete(ctx, &p); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the Pods to be made again", func(ctx context.Context) bool {
		fresh := 0
		for _, p := range pods(ctx, t, c) {
			if !old[p.Name] {
				fresh++
			}
		}
		return fresh == 4
	})
}

// pods lists those of our Deployments.
func pods(ctx context.Context, t *testing.T, c client.Client) []corev1.Pod {
	t.Helper()
	var list corev1.PodList
	if err := c.List(ctx, &list, client.InNamespace(system), client.HasLabels{"app.kubernetes.io/name"}); err != nil {
		t.Fatal(err)
	}
	return list.Items
}
