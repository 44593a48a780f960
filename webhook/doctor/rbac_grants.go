package doctor

import (
	"context"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A grant is what one binding gives to one subject.
type grant struct {
	subject rbacv1.Subject
	binding types.NamespacedName
	role    rbacv1.RoleRef
	rules   []rbacv1.PolicyRule
}

// clusterWide reports whether the grant holds in every namespace.
func (g grant) clusterWide() bool { return g.binding.Namespace == "" }

// everything reports whether the grant leaves nothing out.
func (g grant) everything() bool {
	if !g.clusterWide() {
		return false
	}
	for _, r := range g.rules {
		if has(r.Verbs, "*") && has(r.APIGroups, "*") && has(r.Resources, "*") && len(r.ResourceNames) == 0 {
			return true
		}
	}
	return false
}

// who names the subject as people do.
func (g grant) who() string {
	if g.subject.Kind == rbacv1.ServiceAccountKind {
		return clean("ServiceAccount " + g.subject.Namespace + "/" + g.subject.Name)
	}
	return clean(g.subject.Kind + " " + g.subject.Name)
}

// where names the binding and its role.
func (g grant) where() string {
	kind, name := "ClusterRoleBinding", g.binding.Name
	if !g.clusterWide() {
		kind, name = "RoleBinding", g.binding.Namespace+"/"+g.binding.Name
	}
	return clean(kind + " " + name + ", " + g.role.Kind + " " + g.role.Name)
}

// everybody reports whether the subject is a group that one need not be let into.
func (g grant) everybody() bool {
	switch g.subject.Kind {
	case rbacv1.GroupKind:
		switch g.subject.Name {
		case "system:authenticated", "system:unauthenticated", "system:serviceaccounts":
			return true
		}
	case rbacv1.UserKind:
		return g.subject.Name == "system:anonymous"
	}
	return false
}

// controlPlane reports whether this is one of the grants with which every cluster
// starts, to an identity of the control plane itself. A label says so too, but
// anybody could set it.
func (g grant) controlPlane() bool {
	if g.everybody() {
		return false
	}
	if controller, ok := strings.CutPrefix(g.role.Name, "system:controller:"); ok {
		return g.binding.Name == g.role.Name && g.subject.Kind == rbacv1.ServiceAccountKind &&
			g.subject.Namespace == controlPlane && g.subject.Name == controller
	}
	if g.binding.Name == "cluster-admin" && g.role.Name == "cluster-admin" {
		return g.subject.Kind == rbacv1.GroupKind && g.subject.Name == "system:masters"
	}
	return g.binding.Name == g.role.Name && strings.HasPrefix(g.role.Name, "system:") &&
		g.subject.Kind != rbacv1.ServiceAccountKind && strings.HasPrefix(g.subject.Name, "system:")
}

// grants reads all bindings of the cluster, and those of the two namespaces from
// which it can be taken over.
func (d *doctor) grants(ctx context.Context) ([]grant, error) {
	rules := map[string][]rbacv1.PolicyRule{} // by kind, namespace and name
	key := func(kind, namespace, name string) string { return kind + " " + namespace + "/" + name }
	err := pages(ctx, d.client, &rbacv1.ClusterRoleList{}, func(l *rbacv1.ClusterRoleList) {
		for _, r := range l.Items {
			rules[key("ClusterRole", "", r.Name)] = r.Rules
		}
	})
	if err != nil {
		return nil, err
	}
	var out []grant
	add := func(binding types.NamespacedName, ref rbacv1.RoleRef, subjects []rbacv1.Subject) {
		namespace := binding.Namespace
		if ref.Kind == "ClusterRole" {
			namespace = ""
		}
		for _, s := range subjects {
			out = append(out, grant{subject: s, binding: binding, role: ref, rules: rules[key(ref.Kind, namespace, ref.Name)]})
		}
	}
	err = pages(ctx, d.client, &rbacv1.ClusterRoleBindingList{}, func(l *rbacv1.ClusterRoleBindingList) {
		for _, b := range l.Items {
			add(types.NamespacedName{Name: b.Name}, b.RoleRef, b.Subjects)
		}
	})
	for _, namespace := range []string{d.Namespace, controlPlane} {
		if err != nil {
			return nil, err
		}
		err = pages(ctx, d.client, &rbacv1.RoleList{}, func(l *rbacv1.RoleList) {
			for _, r := range l.Items {
				rules[key("Role", r.Namespace, r.Name)] = r.Rules
			}
		}, client.InNamespace(namespace))
		if err != nil {
			return nil, err
		}
		err = pages(ctx, d.client, &rbacv1.RoleBindingList{}, func(l *rbacv1.RoleBindingList) {
			for _, b := range l.Items {
				add(types.NamespacedName{Namespace: b.Namespace, Name: b.Name}, b.RoleRef, b.Subjects)
			}
		}, client.InNamespace(namespace))
	}
	return out, err
}

func has(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
