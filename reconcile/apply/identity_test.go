package apply_test

import (
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/apply"
)

// bind lets a service account of the test's namespace do things.
func (b *bench) bind(name, rules string) {
	b.t.Helper()
	b.must(`{apiVersion: v1, kind: ServiceAccount, metadata: {name: ` + name + `, namespace: NS}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: ` + name + `, namespace: NS}, rules: ` + rules + `}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: ` + name + `, namespace: NS}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: ` + name + `}, subjects: [{kind: ServiceAccount, name: ` + name + `, namespace: NS}]}`)
	id, err := apply.ServiceAccount(b.ns, name)
	if err != nil {
		b.t.Fatal(err)
	}
	// The authorizer learns of new roles a moment later.
	eventually(b.t, 5*time.Second, "the role is in force", func() bool {
		p := b.newPlan(`{apiVersion: v1, kind: ConfigMap, metadata: {name: probe, namespace: NS}}`)
		p.Identity, p.Previous = id, nil
		return len(blocking(b.a.DryRun(b.t.Context(), p))) == 0
	})
}

func TestAttack_P6_Impersonation(t *testing.T) {
	b := newBench(t)
	b.bind("deployer", `[{apiGroups: [""], resources: [configmaps], verbs: [get, create, patch, delete]}]`)
	id, err := apply.ServiceAccount(b.ns, "deployer")
	if err != nil {
		t.Fatal(err)
	}
	p := b.newPlan(configMaps(2, "x") + "---\n{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: NS}}")
	p.Identity = id
	b.count.take()
	_, fs := b.a.Apply(t.Context(), p)
	if f := blocking(fs); len(f) != 1 || f[0].Reason != verdict.DryRunRejected || f[0].Object != b.ns+"/Secret/s" {
		t.Errorf("findings %v, want the Secret that the account may not write", fs)
	}
	if n := writes(b.count.take()); n != 0 {
		t.Errorf("%d writes", n)
	}
	p = b.newPlan(configMaps(2, "x"))
	p.Identity = id
	b.apply(p)
	// Prune is done as the account as well.
	p = b.newPlan(configMaps(1, "x"))
	p.Identity = id
	if r := b.apply(p); !strings.Contains(actions(r), "deleted") {
		t.Errorf("%s", actions(r))
	}
}

// TestRolesInTheRelease: the release brings the very rights that it needs.
func TestRolesInTheRelease(t *testing.T) {
	b := newBench(t)
	b.bind("deployer", `[{apiGroups: ["", rbac.authorization.k8s.io], resources: [configmaps, serviceaccounts, roles, rolebindings], verbs: ["*"]}, {apiGroups: [""], resources: [secrets], verbs: [escalate]}, {apiGroups: [rbac.authorization.k8s.io], resources: [roles], verbs: [escalate, bind]}]`)
	id, err := apply.ServiceAccount(b.ns, "deployer")
	if err != nil {
		t.Fatal(err)
	}
	p := b.newPlan(`{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: more, namespace: NS}, rules: [{apiGroups: [batch], resources: [cronjobs], verbs: ["*"]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: more, namespace: NS}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: more}, subjects: [{kind: ServiceAccount, name: deployer, namespace: NS}]}
---
{apiVersion: batch/v1, kind: CronJob, metadata: {name: c, namespace: NS}, spec: {schedule: "0 0 1 1 *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: a}]}}}}}}`)
	p.Identity = id
	if fs := b.a.DryRun(t.Context(), p); len(blocking(fs)) > 0 {
		t.Fatalf("the dry run must leave to its turn what the release itself allows: %v", fs)
	}
	// The authorizer needs a moment to learn of the role: a second try is what
	// the reconciler would do.
	eventually(t, 5*time.Second, "the release is applied", func() bool {
		p.Previous = b.inv
		_, fs := b.a.Apply(t.Context(), p)
		return len(blocking(fs)) == 0
	})
}

func TestOtherOwner(t *testing.T) {
	b := newBench(t)
	b.apply(b.newPlan(configMaps(1, "x")))
	for _, fresh := range []bool{false, true} {
		a := b.a
		if fresh { // a process that knows of it by its labels alone
			a = b.applier(nil)
		}
		p := b.newPlan(configMaps(1, "y"))
		p.Owner.Name, p.Previous = "other", nil
		if _, fs := a.Apply(t.Context(), p); len(blocking(fs)) != 1 || blocking(fs)[0].Reason != verdict.Conflict {
			t.Errorf("fresh=%t: findings %v, want a conflict between GitSyncs", fresh, fs)
		}
	}
}
