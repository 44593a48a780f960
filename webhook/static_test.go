package webhook_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	arv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/webhook/registration"
)

// TestAttack_K20_Static has the API server itself guard the registration, with
// our process dead.
func TestAttack_K20_Static(t *testing.T) {
	t.Parallel()
	files, err := registration.StaticManifests(system, []string{"system:serviceaccount:cert-manager:cert-manager-cainjector"})
	must(t, err)
	dir := t.TempDir()
	for name, data := range files {
		must(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	r := newRig(t, options{cluster: cluster.Options{ControllerManager: true, AdmissionConfiguration: fmt.Sprintf(`
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
  - name: ValidatingAdmissionPolicy
    configuration: {apiVersion: apiserver.config.k8s.io/v1, kind: ValidatingAdmissionPolicyConfiguration, staticManifestsDir: %q}
`, dir)}})
	r.kill()
	ctx := t.Context()
	live, err := r.configuration(ctx)
	must(t, err)
	configurations := func(c kubernetes.Interface) func(func(*arv1.ValidatingWebhookConfiguration)) error {
		return func(change func(*arv1.ValidatingWebhookConfiguration)) error {
			o := live.DeepCopy()
			change(o)
			_, err := c.AdmissionregistrationV1().ValidatingWebhookConfigurations().Update(ctx, o, metav1.UpdateOptions{DryRun: dryRun})
			return err
		}
	}
	ignore := arv1.Ignore
	as := r.alice.AdmissionregistrationV1()
	own := r.impersonate(webhookUser, masters)
	mine := &arv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}
	const registrationPolicy, writers = "gitgate-registration.static.k8s.io", "gitgate-admission-writers.static.k8s.io"
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"Delete":           {as.ValidatingWebhookConfigurations().Delete(ctx, registration.Name, metav1.DeleteOptions{DryRun: dryRun}), registrationPolicy},
		"DeleteCollection": {as.ValidatingWebhookConfigurations().DeleteCollection(ctx, metav1.DeleteOptions{DryRun: dryRun}, metav1.ListOptions{}), registrationPolicy},
		"Weaken":           {configurations(r.alice)(func(c *arv1.ValidatingWebhookConfiguration) { c.Webhooks[1].FailurePolicy = &ignore }), registrationPolicy},
		"Policy":           {as.ValidatingAdmissionPolicies().Delete(ctx, "gitgate-dry-run", metav1.DeleteOptions{DryRun: dryRun}), registrationPolicy},
		"Binding":          {as.ValidatingAdmissionPolicyBindings().DeleteCollection(ctx, metav1.DeleteOptions{DryRun: dryRun}, metav1.ListOptions{}), registrationPolicy},
		"Masters":          {r.cluster.Client().AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(ctx, registration.Name, metav1.DeleteOptions{DryRun: dryRun}), registrationPolicy},
		"ImpersonatedSelector": {configurations(own)(func(c *arv1.ValidatingWebhookConfiguration) {
			c.Webhooks[1].NamespaceSelector.MatchLabels = map[string]string{"a": "b"}
		}), registrationPolicy},
		"ImpersonatedRules": {configurations(own)(func(c *arv1.ValidatingWebhookConfiguration) { c.Webhooks = c.Webhooks[:1] }), registrationPolicy},
		"OwnUpdate":         {configurations(own)(func(c *arv1.ValidatingWebhookConfiguration) { c.Webhooks[1].FailurePolicy = &ignore }), ""},
		"OtherByAlice": {func() error {
			_, err := as.MutatingWebhookConfigurations().Create(ctx, mine, metav1.CreateOptions{DryRun: dryRun})
			return err
		}(), writers},
		"OtherByWriter": {func() error {
			_, err := r.impersonate("system:serviceaccount:cert-manager:cert-manager-cainjector", masters).AdmissionregistrationV1().
				MutatingWebhookConfigurations().Create(ctx, mine, metav1.CreateOptions{DryRun: dryRun})
			return err
		}(), ""},
	} {
		switch {
		case tc.want == "" && tc.err != nil:
			t.Errorf("K20/%s: %v, want no refusal", name, tc.err)
		case tc.want != "" && (tc.err == nil || !strings.Contains(tc.err.Error(), tc.want)):
			t.Errorf("K20/%s: %v, want the refusal of %s", name, tc.err, tc.want)
		}
	}
}
