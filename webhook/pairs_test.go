package webhook_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"gitgate.dev/gitgate/webhook/lock"
	"gitgate.dev/gitgate/webhook/registration"
)

// A pairCase is a write by a user that the webhook is not asked about, or is.
type pairCase struct {
	user   string
	groups []string
	do     func(context.Context, kubernetes.Interface) error
	// want is the policy that must refuse the write; empty means that it passes.
	want string
	// asked means that the webhook must be asked: the write is not left out.
	asked bool
}

const (
	controllerManager = "system:kube-controller-manager"
	masters           = "system:masters"
	controller        = "system:serviceaccount:kube-system:"
)

var (
	nodes     = []string{"system:nodes", masters}
	dryRun    = []string{metav1.DryRunAll}
	bootstrap = map[string]string{"kubernetes.io/bootstrapping": "rbac-defaults"}
)

// run tries the cases as alice, impersonating. The webhook allows everything, so
// that whatever is refused was refused by a policy.
func (r *rig) run(t *testing.T, cases map[string]pairCase) {
	t.Helper()
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			asked := false
			r.decider.set(func(_ context.Context, req *admissionv1.AdmissionRequest) lock.Answer {
				mu.Lock()
				defer mu.Unlock()
				asked = asked || req.UserInfo.Username == tc.user
				return lock.Answer{Allowed: true}
			})
			err := tc.do(t.Context(), r.impersonate(tc.user, tc.groups...))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'gitgate-"+tc.want+"'")):
				t.Errorf("error = %v, want the refusal of gitgate-%s", err, tc.want)
			case asked != tc.asked:
				t.Errorf("the webhook was asked: %t, want %t", asked, tc.asked)
			}
		})
	}
}

func lease(namespace, name string, change func(*coordinationv1.Lease)) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, c kubernetes.Interface) error {
		l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if change != nil {
			change(l)
		}
		_, err := c.CoordinationV1().Leases(namespace).Create(ctx, l, metav1.CreateOptions{DryRun: dryRun})
		return err
	}
}

// patch merges body into something that is there, without storing it.
func patch(path, body string) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, c kubernetes.Interface) error {
		return c.CoreV1().RESTClient().Patch(types.MergePatchType).AbsPath(path).Param("dryRun", "All").Body([]byte(body)).Do(ctx).Error()
	}
}

func token(namespace, account string, dry bool, seconds int64, bound *authenticationv1.BoundObjectReference) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, c kubernetes.Interface) error {
		o := metav1.CreateOptions{}
		if dry {
			o.DryRun = dryRun
		}
		got, err := c.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, &authenticationv1.TokenRequest{
			Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds, BoundObjectRef: bound},
		}, o)
		if err != nil && got != nil && got.Status.Token != "" {
			return fmt.Errorf("refused with a token in the answer: %w", err)
		}
		return err
	}
}

// TestAttack_K27_Leases steals leases and nodes with the identities that keep them.
func TestAttack_K27_K6_ControlPlanePairs(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	_, err := r.alice.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, metav1.CreateOptions{})
	must(t, err)
	owner := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "x"}
	n1, lifecycle := "system:node:n1", controller+"node-controller"
	r.run(t, map[string]pairCase{
		"NodeLease":             {n1, nodes, lease("kube-node-lease", "n1", nil), "", false},
		"NodeWithoutGroup":      {n1, []string{masters}, lease("kube-node-lease", "n1", nil), "", true},
		"K27/NodeLeaseOwner":    {n1, nodes, lease("kube-node-lease", "n1", func(l *coordinationv1.Lease) { l.OwnerReferences = []metav1.OwnerReference{owner} }), "node-leases", false},
		"K27/NodeLeaseFinal":    {n1, nodes, lease("kube-node-lease", "n1", func(l *coordinationv1.Lease) { l.Finalizers = []string{"a.b/c"} }), "node-leases", false},
		"ComponentLease":        {controllerManager, []string{masters}, lease("kube-system", "kube-controller-manager", nil), "", false},
		"K27/ComponentOther":    {controllerManager, []string{masters}, lease("kube-system", "kube-scheduler", nil), "", true},
		"K27/ComponentOwner":    {controllerManager, []string{masters}, lease("kube-system", "kube-controller-manager", func(l *coordinationv1.Lease) { l.OwnerReferences = []metav1.OwnerReference{owner} }), "component-leases", false},
		"OwnLease":              {webhookUser, []string{masters}, lease(system, "x", nil), "", false},
		"OwnLeaseByOthers":      {"bob", []string{masters}, lease(system, "x", nil), "", true},
		"NodeStatus":            {n1, nodes, patch("/api/v1/nodes/n1/status", `{"status":{"phase":"Running"}}`), "", false},
		"K6/NodeStatusLabel":    {n1, nodes, patch("/api/v1/nodes/n1/status", `{"metadata":{"labels":{"a":"b"}}}`), "node-status", false},
		"K6/NodeStatusFinal":    {n1, nodes, patch("/api/v1/nodes/n1/status", `{"metadata":{"finalizers":["a.b/c"]}}`), "node-status", false},
		"K6/NodeStatusNote":     {n1, nodes, patch("/api/v1/nodes/n1/status", `{"metadata":{"annotations":{"a":"b"}}}`), "node-status", false},
		"NodeStatusNote":        {n1, nodes, patch("/api/v1/nodes/n1/status", `{"metadata":{"annotations":{"volumes.kubernetes.io/controller-managed-attach-detach":"true"}}}`), "", false},
		"NodeItself":            {n1, nodes, patch("/api/v1/nodes/n1", `{"metadata":{"annotations":{"a":"b"}}}`), "", true},
		"LifecycleTaint":        {lifecycle, []string{masters}, patch("/api/v1/nodes/n1", `{"spec":{"taints":[{"key":"node.kubernetes.io/not-ready","effect":"NoExecute"}]}}`), "", false},
		"K17/LifecycleTaint":    {lifecycle, []string{masters}, patch("/api/v1/nodes/n1", `{"spec":{"taints":[{"key":"mine","effect":"NoExecute"}]}}`), "node-lifecycle", false},
		"K17/LifecycleCordon":   {lifecycle, []string{masters}, patch("/api/v1/nodes/n1", `{"spec":{"unschedulable":true}}`), "node-lifecycle", false},
		"K17/LifecycleLabel":    {lifecycle, []string{masters}, patch("/api/v1/nodes/n1", `{"metadata":{"labels":{"a":"b"}}}`), "node-lifecycle", false},
		"LifecycleLabel":        {controllerManager, []string{masters}, patch("/api/v1/nodes/n1", `{"metadata":{"labels":{"kubernetes.io/os":"linux"}}}`), "", false},
		"Events":                {"bob", []string{masters}, patchlessEvent, "", false},
		"ConfigMapsAreNoEvents": {"bob", []string{masters}, createConfigMap, "", true},
	})
}

func patchlessEvent(ctx context.Context, c kubernetes.Interface) error {
	_, err := c.CoreV1().Events("default").Create(ctx, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e"}, InvolvedObject: corev1.ObjectReference{Namespace: "default"},
	}, metav1.CreateOptions{})
	return err
}

func createConfigMap(ctx context.Context, c kubernetes.Interface) error {
	_, err := c.CoreV1().ConfigMaps("default").Create(ctx, configMap("x"), metav1.CreateOptions{DryRun: dryRun})
	return err
}

func clusterRole(name string, labels map[string]string, rules ...rbacv1.PolicyRule) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, c kubernetes.Interface) error {
		_, err := c.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Rules: rules,
		}, metav1.CreateOptions{DryRun: dryRun})
		return err
	}
}

func widen(name string, rule rbacv1.PolicyRule) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, c kubernetes.Interface) error {
		role, err := c.RbacV1().ClusterRoles().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		role.Rules = append(role.Rules, rule)
		_, err = c.RbacV1().ClusterRoles().Update(ctx, role, metav1.UpdateOptions{DryRun: dryRun})
		return err
	}
}

func bind(name, role string, subject rbacv1.Subject) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, c kubernetes.Interface) error {
		_, err := c.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: bootstrap}, Subjects: []rbacv1.Subject{subject},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		}, metav1.CreateOptions{DryRun: dryRun})
		return err
	}
}

func bindMore(name string, subject rbacv1.Subject) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, c kubernetes.Interface) error {
		b, err := c.RbacV1().ClusterRoleBindings().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		b.Subjects = append(b.Subjects, subject)
		_, err = c.RbacV1().ClusterRoleBindings().Update(ctx, b, metav1.UpdateOptions{DryRun: dryRun})
		return err
	}
}

// TestAttack_K17_Bootstrap is alice with the name of the API server.
func TestAttack_K17_Bootstrap(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	const apiserver = "system:apiserver"
	secrets := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}}
	everything := rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}
	bob := rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: "bob"}
	anybody := rbacv1.Subject{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "system:authenticated"}
	scheduler := rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: "system:kube-scheduler"}
	group := []string{masters}
	_, err := r.alice.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "admins"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "admins"}},
	}, metav1.CreateOptions{})
	must(t, err)
	// An administrator's own subject in a bootstrap binding stays harmless.
	monitoring, err := r.alice.RbacV1().ClusterRoleBindings().Get(t.Context(), "system:monitoring", metav1.GetOptions{})
	must(t, err)
	monitoring.Subjects = append(monitoring.Subjects, bob)
	_, err = r.alice.RbacV1().ClusterRoleBindings().Update(t.Context(), monitoring, metav1.UpdateOptions{})
	must(t, err)
	cases := map[string]pairCase{
		"Role":          {apiserver, group, clusterRole("system:new", bootstrap, secrets), "", false},
		"NotAPIServer":  {"bob", group, clusterRole("system:new", bootstrap, secrets), "", true},
		"NotMaster":     {apiserver, []string{"admins"}, clusterRole("system:new", bootstrap, secrets), "", true},
		"RoleName":      {apiserver, group, clusterRole("mine", bootstrap, secrets), "bootstrap-roles", false},
		"RoleLabel":     {apiserver, group, clusterRole("system:new", nil, secrets), "bootstrap-roles", false},
		"RoleStar":      {apiserver, group, clusterRole("system:new", bootstrap, everything), "bootstrap-roles", false},
		"RolePublic":    {apiserver, group, widen("system:discovery", secrets), "bootstrap-roles", false},
		"RolePeople":    {apiserver, group, widen("system:aggregate-to-view", everything), "bootstrap-roles", false},
		"RoleComponent": {apiserver, group, widen("system:kube-scheduler", secrets), "", false},
		"RoleWhole":     {apiserver, group, widen("system:kube-scheduler", everything), "bootstrap-roles", false},
		"Binding":       {apiserver, group, bind("system:new", "system:new", scheduler), "", false},
		"BindingRole":   {apiserver, group, bind("system:new", "cluster-admin", scheduler), "bootstrap-bindings", false},
		"BindingUser":   {apiserver, group, bind("system:new", "system:new", bob), "bootstrap-bindings", false},
		"BindingPublic": {apiserver, group, bind("system:new", "system:new", anybody), "bootstrap-bindings", false},
		"BindingMore":   {apiserver, group, bindMore("system:monitoring", scheduler), "", false},
		"BindingAdmin":  {apiserver, group, bindMore("cluster-admin", scheduler), "bootstrap-bindings", false},
		"BindingBob":    {apiserver, group, bindMore("cluster-admin", bob), "bootstrap-bindings", false},
		"PriorityClass": {apiserver, group, func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.SchedulingV1().PriorityClasses().Create(ctx, &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "mine"}, Value: 1}, metav1.CreateOptions{DryRun: dryRun})
			return err
		}, "bootstrap-priorities", false},
		"FlowSchema": {apiserver, group, func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.FlowcontrolV1().FlowSchemas().Create(ctx, &flowcontrolv1.FlowSchema{ObjectMeta: metav1.ObjectMeta{Name: "mine"},
				Spec: flowcontrolv1.FlowSchemaSpec{PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: "exempt"}, MatchingPrecedence: 9000}},
				metav1.CreateOptions{DryRun: dryRun})
			return err
		}, "bootstrap-flowcontrol", false},
	}
	r.run(t, cases)
}

// TestAttack_K18_K31 mints tokens with the identities that may.
func TestAttack_K18_K31(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	group := []string{masters}
	for _, name := range []string{"job-controller", "mine"} {
		_, err := r.alice.CoreV1().ServiceAccounts("kube-system").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		must(t, err)
	}
	_, err := r.alice.CoreV1().ServiceAccounts(system).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "gitgate-reconciler"}}, metav1.CreateOptions{})
	must(t, err)
	account := func(namespace string, sa corev1.ServiceAccount) func(context.Context, kubernetes.Interface) error {
		return func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().ServiceAccounts(namespace).Create(ctx, &sa, metav1.CreateOptions{DryRun: dryRun})
			return err
		}
	}
	named := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }
	r.run(t, map[string]pairCase{
		"Account":         {controllerManager, group, account("kube-system", corev1.ServiceAccount{ObjectMeta: named("ttl-controller")}), "", false},
		"AccountUnknown":  {controllerManager, group, account("kube-system", corev1.ServiceAccount{ObjectMeta: named("mine2")}), "", true},
		"AccountSecrets":  {controllerManager, group, account("kube-system", corev1.ServiceAccount{ObjectMeta: named("ttl-controller"), Secrets: []corev1.ObjectReference{{Name: "s"}}}), "controller-accounts", false},
		"Token":           {controllerManager, group, token("kube-system", "job-controller", false, 3600, nil), "", false},
		"K31/Token":       {controllerManager, group, token("kube-system", "job-controller", true, 3600, nil), "controller-tokens", false},
		"K18/TokenLong":   {controllerManager, group, token("kube-system", "job-controller", false, 86400, nil), "controller-tokens", false},
		"K18/TokenBound":  {controllerManager, group, token("kube-system", "job-controller", false, 3600, &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "x"}), "controller-tokens", false},
		"K18/TokenOther":  {controllerManager, group, token("kube-system", "mine", false, 3600, nil), "", true},
		"K18/TokenAlice":  {"bob", group, token("kube-system", "job-controller", false, 3600, nil), "", true},
		"K31/DryRunToken": {dryRunUser, group, token("kube-system", "job-controller", true, 3600, nil), "dry-run", false},
		"DryRunCreate":    {dryRunUser, group, createConfigMap, "", true},
		"DryRunApply": {dryRunUser, group, func(ctx context.Context, c kubernetes.Interface) error {
			return c.CoreV1().RESTClient().Patch(types.ApplyPatchType).AbsPath("/api/v1/namespaces/default/configmaps/new").Param("fieldManager", "x").
				Param("dryRun", "All").Body([]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"new"},"data":{"a":"b"}}`)).Do(ctx).Error()
		}, "", true},
		"DryRunNot": {dryRunUser, group, func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().ConfigMaps("default").Create(ctx, configMap("x"), metav1.CreateOptions{})
			return err
		}, "dry-run", false},
		"DryRunDelete": {dryRunUser, group, func(ctx context.Context, c kubernetes.Interface) error {
			return c.CoreV1().ServiceAccounts("kube-system").Delete(ctx, "mine", metav1.DeleteOptions{DryRun: dryRun})
		}, "dry-run", false},
		"DryRunStatus":    {dryRunUser, group, patch("/api/v1/namespaces/default/status", `{"metadata":{"labels":{"a":"b"}}}`), "dry-run", false},
		"K32/DryRunBinds": {dryRunUser, group, bindPod("default"), "dry-run", false},
	})
}

func bindPod(namespace string) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, c kubernetes.Interface) error {
		return c.CoreV1().RESTClient().Post().AbsPath("/api/v1/namespaces/"+namespace+"/bindings").Param("dryRun", "All").
			Body([]byte(`{"apiVersion":"v1","kind":"Binding","metadata":{"name":"p"},"target":{"kind":"Node","name":"n1"}}`)).Do(ctx).Error()
	}
}

// ownPod is a Pod that gitgate's own ReplicaSet would make.
func ownPod(change func(*corev1.PodSpec)) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, c kubernetes.Interface) error {
		spec := ownSpec()
		if change != nil {
			change(&spec)
		}
		_, err := c.CoreV1().Pods(system).Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "gitgate-webhook-"}, Spec: spec}, metav1.CreateOptions{DryRun: dryRun})
		return err
	}
}

func ownSpec() corev1.PodSpec {
	c := ownTemplate.Containers[0]
	return corev1.PodSpec{
		ServiceAccountName: ownTemplate.ServiceAccount,
		Containers: []corev1.Container{{
			Name: "gitgate", Image: c.Image, Args: c.Args,
			Env:          []corev1.EnvVar{{Name: "POD_NAMESPACE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.namespace"}}}},
			VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}},
		}},
		Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
	}
}

// TestAttack_K14_OwnPods runs something else where our own Pods may be made.
func TestAttack_K14_OwnPods(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{config: func(c *registration.Config) {
		c.OwnPods = func() []registration.Template { return []registration.Template{registration.TemplateOf(ownSpec())} }
	}})
	for _, name := range []string{"gitgate-webhook", "other"} {
		_, err := r.alice.CoreV1().ServiceAccounts(system).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		must(t, err)
	}
	for _, name := range []string{"n1", "n2"} {
		_, err := r.alice.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		must(t, err)
	}
	placed := ownSpec()
	placed.NodeName = "n1"
	pod, err := r.alice.CoreV1().Pods(system).Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "placed"}, Spec: placed}, metav1.CreateOptions{})
	must(t, err)
	bound := &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "placed", UID: pod.UID}
	replicaset, group := controller+"replicaset-controller", []string{masters}
	refused := func(change func(*corev1.PodSpec)) pairCase {
		return pairCase{replicaset, group, ownPod(change), "own-pods", false}
	}
	yes := true
	remove := func(ctx context.Context, c kubernetes.Interface) error {
		return c.CoreV1().Pods(system).Delete(ctx, "placed", metav1.DeleteOptions{DryRun: dryRun})
	}
	slice := func(owners ...metav1.OwnerReference) func(context.Context, kubernetes.Interface) error {
		return func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.DiscoveryV1().EndpointSlices(system).Create(ctx, &discoveryv1.EndpointSlice{
				ObjectMeta: metav1.ObjectMeta{Name: "s", OwnerReferences: owners}, AddressType: discoveryv1.AddressTypeIPv4,
			}, metav1.CreateOptions{DryRun: dryRun})
			return err
		}
	}
	secret := func(name string, secretType corev1.SecretType) func(context.Context, kubernetes.Interface) error {
		return func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().Secrets(system).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: secretType,
				Data: map[string][]byte{"tls.crt": nil, "tls.key": nil}}, metav1.CreateOptions{DryRun: dryRun})
			if err != nil && strings.Contains(err.Error(), "already exists") {
				return nil // admission came first
			}
			return err
		}
	}
	r.run(t, map[string]pairCase{
		"Own":           {replicaset, group, ownPod(nil), "", false},
		"SharedManager": {controllerManager, group, ownPod(nil), "", false},
		"ByAlice":       {"bob", group, ownPod(nil), "", true},
		"K14/Image":     refused(func(s *corev1.PodSpec) { s.Containers[0].Image = "evil" }),
		"K14/Command":   refused(func(s *corev1.PodSpec) { s.Containers[0].Command = []string{"sh"} }),
		"K14/Args":      refused(func(s *corev1.PodSpec) { s.Containers[0].Args = []string{"serve"} }),
		"K14/Env":       refused(func(s *corev1.PodSpec) { s.Containers[0].Env = append(s.Containers[0].Env, corev1.EnvVar{Name: "A"}) }),
		"K14/Sidecar": refused(func(s *corev1.PodSpec) {
			s.Containers = append(s.Containers, corev1.Container{Name: "x", Image: "evil"})
		}),
		"K14/Init":       refused(func(s *corev1.PodSpec) { s.InitContainers = []corev1.Container{{Name: "x", Image: "evil"}} }),
		"K14/Privileged": refused(func(s *corev1.PodSpec) { s.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &yes} }),
		"K14/HostPID":    refused(func(s *corev1.PodSpec) { s.HostPID = true }),
		"K14/Account":    refused(func(s *corev1.PodSpec) { s.ServiceAccountName = "other" }),
		"K14/HostPath": refused(func(s *corev1.PodSpec) {
			s.Volumes[0].VolumeSource = corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}
		}),
		"K14/Mount": refused(func(s *corev1.PodSpec) {
			s.Containers[0].VolumeMounts[0].MountPath = "/usr/local/bin"
		}),
		"K14/Exec": refused(func(s *corev1.PodSpec) {
			s.Containers[0].Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sh"}}}}
		}),
		"K14/Probe": refused(func(s *corev1.PodSpec) {
			s.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"sh"}}}}
		}),
		"PodElsewhere": {replicaset, group, func(ctx context.Context, c kubernetes.Interface) error {
			_, err := c.CoreV1().Pods("kube-system").Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "x"},
				Spec: corev1.PodSpec{ServiceAccountName: "default", Containers: []corev1.Container{{Name: "x", Image: "evil"}}}}, metav1.CreateOptions{DryRun: dryRun})
			if err != nil && strings.Contains(err.Error(), "serviceaccount \"default\" not found") {
				return nil
			}
			return err
		}, "", false},
		"NodeToken":           {"system:node:n1", nodes, token(system, "gitgate-webhook", false, 3600, bound), "", false},
		"K31/NodeToken":       {"system:node:n1", nodes, token(system, "gitgate-webhook", true, 3600, bound), "own-tokens", false},
		"PodStatus":           {"system:node:n1", nodes, patch("/api/v1/namespaces/"+system+"/pods/placed/status", `{"status":{"message":"x"}}`), "", false},
		"K6/PodStatusNote":    {"system:node:n1", nodes, patch("/api/v1/namespaces/"+system+"/pods/placed/status", `{"metadata":{"annotations":{"a":"b"}}}`), "own-pod-status", false},
		"K8/BindingNote":      {"system:kube-scheduler", group, bindOwn(map[string]string{"a": "b"}), "own-binding", false},
		"RemoveByNode":        {"system:node:n1", nodes, remove, "own-removal", false}, // it is not being deleted
		"RemoveByGC":          {controller + "pod-garbage-collector", group, remove, "", false},
		"Endpoints":           {controller + "endpointslice-controller", group, slice(metav1.OwnerReference{APIVersion: "v1", Kind: "Service", Name: "s", UID: "s"}), "", false},
		"K27/Endpoints":       {controller + "endpointslice-controller", group, slice(), "own-endpoints", false},
		"Certificates":        {webhookUser, group, secret(tlsSecret, corev1.SecretTypeTLS), "", false},
		"CertificatesByOther": {"bob", group, secret(tlsSecret, corev1.SecretTypeTLS), "", true},
		"CertificatesNot":     {webhookUser, group, secret(tlsSecret, corev1.SecretTypeOpaque), "own-certificates", false},
		"OtherSecret":         {webhookUser, group, secret("other", corev1.SecretTypeTLS), "", true},
	})
}

func bindOwn(annotations map[string]string) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, c kubernetes.Interface) error {
		return c.CoreV1().Pods(system).Bind(ctx, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: "placed", Annotations: annotations}, Target: corev1.ObjectReference{Kind: "Node", Name: "n2"},
		}, metav1.CreateOptions{DryRun: dryRun})
	}
}
