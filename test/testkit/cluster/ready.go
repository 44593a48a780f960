package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pollEvery is the time between two looks at something that is not ready.
const pollEvery = 50 * time.Millisecond

// errExited means that a process ended that had to become ready.
var errExited = errors.New("process has exited")

// poll asks ready until it returns nil. It gives up when ctx is done or the
// process that has to make it ready ends, and then returns the last answer too.
func (c *Cluster) poll(ctx context.Context, by Process, what string, ready func(context.Context) error) error {
	exited := c.Exited(by)
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("waiting for %s: %s: %w (%w)", what, by, errExited, err)
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w (%w)", what, context.Cause(ctx), err)
		case <-time.After(pollEvery):
		}
	}
}

func (c *Cluster) waitEtcd(ctx context.Context) error {
	return c.poll(ctx, Etcd, "etcd", func(ctx context.Context) error {
		if !c.etcdPort.listening(ctx) {
			return errors.New("not listening")
		}
		_, err := c.EtcdKeys(ctx, "/registry/ready")
		return err
	})
}

func (c *Cluster) waitAPI(ctx context.Context) error {
	return c.poll(ctx, APIServer, "kube-apiserver", func(ctx context.Context) error {
		if !c.apiPort.listening(ctx) {
			return errors.New("not listening")
		}
		return c.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// createAccess lets Alice do everything, and lets the simulated kubelets read
// what kwok reads and a kubelet does not.
func (c *Cluster) createAccess(ctx context.Context) error {
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "cluster.test:nodes"},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"list"}},
			{
				APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"},
				Verbs: []string{"list", "watch"},
			},
		},
	}
	rbac := c.client.RbacV1()
	if _, err := rbac.ClusterRoles().Create(ctx, role, metav1.CreateOptions{}); err != nil {
		return err
	}
	for _, b := range []*rbacv1.ClusterRoleBinding{
		clusterRoleBinding("cluster.test:alice", "cluster-admin", rbacv1.UserKind, Alice),
		clusterRoleBinding("cluster.test:nodes", role.Name, rbacv1.GroupKind, "system:nodes"),
	} {
		if _, err := rbac.ClusterRoleBindings().Create(ctx, b, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return errors.Join(
		c.waitAllowed(ctx, authorizationv1.SubjectAccessReviewSpec{
			User: Alice, ResourceAttributes: attributes("*", "*"),
		}),
		c.waitAllowed(ctx, authorizationv1.SubjectAccessReviewSpec{
			User: "system:node:any", Groups: []string{"system:nodes"}, ResourceAttributes: attributes("list", "nodes"),
		}),
	)
}

func attributes(verb, resource string) *authorizationv1.ResourceAttributes {
	return &authorizationv1.ResourceAttributes{Verb: verb, Resource: resource}
}

// waitAllowed waits until the authorizer, which learns of bindings by a watch,
// has learnt of one.
func (c *Cluster) waitAllowed(ctx context.Context, spec authorizationv1.SubjectAccessReviewSpec) error {
	return c.poll(ctx, APIServer, "the rights of "+spec.User, func(ctx context.Context) error {
		review := &authorizationv1.SubjectAccessReview{Spec: spec}
		answer, err := c.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err == nil && !answer.Status.Allowed {
			return fmt.Errorf("not allowed: %s", answer.Status.Reason)
		}
		return err
	})
}

func clusterRoleBinding(name, role, kind, subject string) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: kind, Name: subject}},
	}
}

func (c *Cluster) createNode(ctx context.Context, i int) error {
	name := string(Node(i))
	_, err := c.client.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
		}},
	}, metav1.CreateOptions{})
	return err
}

// waitWorkers waits until a Pod could be created and scheduled.
func (c *Cluster) waitWorkers(ctx context.Context) error {
	if !c.opts.ControllerManager {
		return nil
	}
	err := c.poll(ctx, ControllerManager, "controllers", func(ctx context.Context) error {
		_, err := c.client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	if err != nil {
		return err
	}
	for i := range c.opts.Nodes {
		err := c.poll(ctx, Node(i), string(Node(i)), func(ctx context.Context) error {
			n, err := c.client.CoreV1().Nodes().Get(ctx, string(Node(i)), metav1.GetOptions{})
			if err != nil {
				return err
			}
			return schedulable(n)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func schedulable(n *corev1.Node) error {
	ready := slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
	if !ready || len(n.Spec.Taints) > 0 {
		return fmt.Errorf("ready: %t, taints: %v", ready, n.Spec.Taints)
	}
	return nil
}

// EnsureNamespace creates a namespace, or takes one that exists, and with a
// controller manager waits until its default service account is there, so that
// Pods can be created in it.
func (c *Cluster) EnsureNamespace(ctx context.Context, name string) error {
	_, err := c.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: name},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	if !c.opts.ControllerManager {
		return nil
	}
	return c.poll(ctx, ControllerManager, "namespace "+name, func(ctx context.Context) error {
		_, err := c.client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}
