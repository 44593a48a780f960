package deploy

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

const (
	reconciler = "gitgate-reconciler"
	webhook    = "gitgate-webhook"
	dryrun     = "gitgate-dryrun"
)

func userOf(namespace, account string) string {
	return "system:serviceaccount:" + namespace + ":" + account
}

// a right is written as "verb group/resource/subresource namespace/name"; empty parts
// are left out.
func attributes(t *testing.T, right string) *authorizationv1.ResourceAttributes {
	t.Helper()
	words := strings.Fields(right + " -/-")
	if len(words) < 3 {
		t.Fatalf("right %q", right)
	}
	what, where := strings.Split(words[1]+"/", "/"), strings.Split(words[2]+"/-", "/")
	a := &authorizationv1.ResourceAttributes{Verb: words[0], Group: what[0], Resource: what[1], Subresource: what[2]}
	if where[0] != "-" {
		a.Namespace = where[0]
	}
	if where[1] != "-" {
		a.Name = where[1]
	}
	return a
}

// may asks the API server whether a user has a right.
func may(t *testing.T, user, right string) bool {
	t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user, ResourceAttributes: attributes(t, right),
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + strings.Split(user, ":")[2], "system:authenticated"},
	}}
	if err := installation(t).Create(stepContext(t), review); err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}

// comesTo waits until a user has a right, or has it no more: the API server learns of
// changed bindings by a watch.
func comesTo(t *testing.T, user, right string, want bool) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s to have the right %q: %t", user, right, want), func(context.Context) bool { return may(t, user, right) == want })
}

// TestRights proves what the base and a tenant grant, and above all what they do
// not. THREATS.md, section D.
func TestRights(t *testing.T) {
	everyone := []string{reconciler, webhook, dryrun}
	for right, has := range map[string][]string{
		"watch gitgate.dev/gitsyncs":                                                    {reconciler, webhook},
		"watch apps/deployments":                                                        {reconciler, webhook},
		"watch /configmaps":                                                             {reconciler, webhook},
		"patch gitgate.dev/gitsyncs/status team/shop":                                   {reconciler, webhook},
		"patch gitgate.dev/gitsyncs team/shop":                                          {reconciler, dryrun},
		"patch gitgate.dev/policysets/status -/baseline":                                {reconciler},
		"get /secrets gitgate-system/keys":                                              {reconciler, webhook},
		"get /secrets team/git-auth":                                                    {reconciler, webhook},
		"get /secrets team/other":                                                       {reconciler},
		"get /secrets other/git-auth":                                                   nil,
		"get /secrets kube-system/x":                                                    nil,
		"list /secrets":                                                                 nil,
		"list /secrets gitgate-system":                                                  nil,
		"watch /secrets team":                                                           nil,
		"impersonate /serviceaccounts team/deployer":                                    {reconciler},
		"impersonate /serviceaccounts team/default":                                     nil,
		"impersonate /serviceaccounts other/deployer":                                   nil,
		"impersonate /serviceaccounts kube-system/deployment-controller":                nil,
		"impersonate /serviceaccounts gitgate-system/gitgate-reconciler":                nil,
		"impersonate /serviceaccounts gitgate-system/gitgate-dryrun":                    {reconciler, webhook},
		"impersonate /users -/alice":                                                    nil,
		"impersonate /groups -/system:masters":                                          nil,
		"patch apps/deployments team/web":                                               {dryrun},
		"create apps/deployments team":                                                  {dryrun},
		"delete apps/deployments team/web":                                              nil,
		"update apps/deployments/scale team/web":                                        nil,
		"patch /secrets team/git-auth":                                                  {dryrun},
		"create /serviceaccounts/token kube-system/x":                                   nil,
		"create /serviceaccounts/token gitgate-system/gitgate-dryrun":                   nil,
		"create /pods/exec gitgate-system/x":                                            nil,
		"get /pods/exec gitgate-system/x":                                               nil,
		"create /pods/eviction team/x":                                                  nil,
		"get /nodes/proxy -/n":                                                          nil,
		"create /pods/binding team/x":                                                   nil,
		"create gitgate.dev/trustpolicies":                                              {dryrun},
		"update gitgate.dev/trustpolicies -/production":                                 {dryrun},
		"delete gitgate.dev/trustpolicies -/production":                                 nil,
		"create admissionregistration.k8s.io/mutatingwebhookconfigurations":             nil,
		"update admissionregistration.k8s.io/mutatingwebhookconfigurations -/x":         nil,
		"create admissionregistration.k8s.io/mutatingadmissionpolicies":                 nil,
		"delete admissionregistration.k8s.io/validatingwebhookconfigurations -/gitgate": {webhook},
		"delete admissionregistration.k8s.io/validatingwebhookconfigurations -/other":   nil,
		"update admissionregistration.k8s.io/validatingwebhookconfigurations -/other":   nil,
		"escalate rbac.authorization.k8s.io/clusterroles -/x":                           {dryrun},
		"approve certificates.k8s.io/signers -/kubernetes.io/kube-apiserver-client":     nil,
		"update certificates.k8s.io/certificatesigningrequests/approval -/x":            nil,
		"update coordination.k8s.io/leases gitgate-system/gitgate-reconciler":           {reconciler, dryrun},
		"update coordination.k8s.io/leases kube-system/kube-controller-manager":         {dryrun},
	} {
		t.Run(strings.ReplaceAll(right, "/", ":"), func(t *testing.T) {
			for _, account := range everyone {
				want := false
				for _, h := range has {
					want = want || h == account
				}
				if got := may(t, userOf(system, account), right); got != want {
					t.Errorf("%s: %t, want %t", account, got, want)
				}
			}
		})
	}
}

// TestComponentsWiden proves that what the base withholds is what components grant,
// so that the negative answers above mean something.
func TestComponentsWiden(t *testing.T) {
	c := installation(t)
	for component, right := range map[string]string{
		"cluster-admin": "delete apps/deployments team/web",
		"watch-secrets": "watch /secrets",
	} {
		user := userOf(system, reconciler)
		if may(t, user, right) {
			t.Errorf("%s: the base alone grants %q", component, right)
		}
		install(t, c, with(t, component))
		comesTo(t, user, right, true)
		for _, o := range only(with(t, component), "ClusterRoleBinding") {
			if o.GetName() != "gitgate-read" && strings.HasPrefix(o.GetName(), "gitgate-reconciler-") {
				if err := c.Delete(stepContext(t), o); err != nil {
					t.Fatal(err)
				}
			}
		}
		comesTo(t, user, right, false)
	}
}

func aSecret(namespace string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "s"}}
}

func aDeployment(namespace string) *appsv1.Deployment {
	labels := map[string]string{"app": "web"}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
			},
		},
	}
}

// TestAttack_K17_StolenTokens proves with real tokens what somebody cannot do who
// has stolen one.
func TestAttack_K17_StolenTokens(t *testing.T) {
	ctx := stepContext(t)
	for name, tc := range map[string]struct {
		account, user string
		do            func(client.Client) error
	}{
		"the webhook writes a Deployment": {webhook, "", func(c client.Client) error { return c.Create(ctx, aDeployment("team")) }},
		"the webhook reads a Secret": {webhook, "", func(c client.Client) error {
			return c.Get(ctx, client.ObjectKeyFromObject(aSecret("other")), aSecret("other"))
		}},
		"the webhook lists Secrets":          {webhook, "", func(c client.Client) error { return c.List(ctx, &corev1.SecretList{}) }},
		"the webhook acts as a tenant":       {webhook, userOf("team", "deployer"), func(c client.Client) error { return c.Create(ctx, aDeployment("team")) }},
		"the webhook acts as the reconciler": {webhook, userOf(system, reconciler), func(c client.Client) error { return c.Get(ctx, client.ObjectKey{Name: "team"}, &corev1.Namespace{}) }},
		"the webhook changes trust": {webhook, "", func(c client.Client) error {
			return c.Create(ctx, &v1alpha1.PolicySet{ObjectMeta: metav1.ObjectMeta{Name: "x"}})
		}},
		"the reconciler writes a Deployment":  {reconciler, "", func(c client.Client) error { return c.Create(ctx, aDeployment("team")) }},
		"the reconciler acts as alice":        {reconciler, "alice", func(c client.Client) error { return c.Create(ctx, aDeployment("team")) }},
		"the reconciler acts as a controller": {reconciler, userOf("kube-system", "deployment-controller"), func(c client.Client) error { return c.Create(ctx, aDeployment("team")) }},
		"the reconciler acts elsewhere":       {reconciler, userOf("other", "deployer"), func(c client.Client) error { return c.Create(ctx, aDeployment("other")) }},
		"the tenant leaves its namespace":     {reconciler, userOf("team", "deployer"), func(c client.Client) error { return c.Create(ctx, aDeployment("other")) }},
		"the tenant grants itself rights": {reconciler, userOf("team", "deployer"), func(c client.Client) error {
			return c.Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "x"},
				RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
				Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "team", Name: "deployer"}}})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tc.do(as(t, tc.account, tc.user)); !apierrors.IsForbidden(err) {
				t.Errorf("error = %v, want forbidden", err)
			}
		})
	}
	// The positive control: the same tenant may do its work.
	tenant := as(t, reconciler, userOf("team", "deployer"))
	if err := tenant.Create(ctx, aDeployment("team")); err != nil {
		t.Fatal(err)
	}
	if err := tenant.Delete(ctx, aDeployment("team")); err != nil {
		t.Fatal(err)
	}
}

// TestAttack_K31_DryRunAccount proves that the account for dry runs can do nothing
// else, although its role names creation and change of all kinds.
func TestAttack_K31_DryRunAccount(t *testing.T) {
	admin, ctx := installation(t), stepContext(t)
	if err := admin.Create(ctx, aDeployment("other")); err != nil {
		t.Fatal(err)
	}
	for _, account := range []string{webhook, reconciler} {
		c := as(t, account, userOf(system, dryrun))
		if err := c.Create(ctx, aSecret("team"), client.DryRunAll); err != nil {
			t.Errorf("%s: a dry run is refused: %v", account, err)
		}
		escalation := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}}}
		if err := c.Create(ctx, escalation.DeepCopy(), client.DryRunAll); err != nil {
			t.Errorf("%s: the dry run of a wide role is refused: %v", account, err)
		}
		for what, err := range map[string]error{
			"create":            c.Create(ctx, aSecret("team")),
			"escalate":          c.Create(ctx, escalation.DeepCopy()),
			"change":            c.Patch(ctx, aDeployment("other"), client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"replicas":7}}`))),
			"delete":            c.Delete(ctx, aDeployment("other"), client.DryRunAll),
			"scale, as dry run": c.SubResource("scale").Patch(ctx, aDeployment("other"), client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"replicas":7}}`)), client.DryRunAll),
			"read":              c.Get(ctx, client.ObjectKeyFromObject(aDeployment("other")), aDeployment("other")),
		} {
			if !apierrors.IsForbidden(err) {
				t.Errorf("%s as %s: %s: error = %v, want forbidden", account, dryrun, what, err)
			}
		}
	}
	var live appsv1.Deployment
	if err := admin.Get(ctx, client.ObjectKeyFromObject(aDeployment("other")), &live); err != nil || *live.Spec.Replicas != 1 {
		t.Errorf("replicas = %v, %v", live.Spec.Replicas, err)
	}
}

// TestAttack_K31_PolicyHoldsAlone proves that the policy stands where the role would
// not: it refuses subresources and writes of an account with all rights.
func TestAttack_K31_PolicyHoldsAlone(t *testing.T) {
	admin, ctx := installation(t), stepContext(t)
	grant := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "too-much"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: system, Name: dryrun}},
	}
	if err := admin.Create(ctx, grant); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := admin.Delete(context.WithoutCancel(ctx), grant); err != nil {
			t.Error(err)
		}
	})
	c := as(t, webhook, userOf(system, dryrun))
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "deployer"}}
	minted := tokenRequest()
	for what, err := range map[string]error{
		"token, as dry run": c.SubResource("token").Create(ctx, account, minted, client.DryRunAll),
		"create":            c.Create(ctx, aSecret("team")),
		"delete":            c.Delete(ctx, account, client.DryRunAll),
	} {
		if !apierrors.IsForbidden(err) || !strings.Contains(fmt.Sprint(err), "gitgate: this account makes dry runs") {
			t.Errorf("%s: error = %v, want the policy's refusal", what, err)
		}
	}
	if minted.Status.Token != "" {
		t.Error("a token was returned")
	}
}
