package lock_test

import (
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook/lock"
)

// TestDelegationsStayHome checks that what one GitSync gives away is its own.
func TestDelegationsStayHome(t *testing.T) {
	w := newWorld(t)
	w.release(func(r *lock.Release) { r.Namespaces = []string{"shop"} }, w.object(liveWeb), w.object(bare))
	w.release(func(r *lock.Release) {
		r.Sync, r.Namespaces = types.NamespacedName{Namespace: "evil", Name: "evil"}, []string{"evil"}
		r.Delegations = []lock.Delegation{{Writer: "mallory"}, {Writer: "mallory", Paths: [][]string{{"spec"}, {"status"}}}}
	}, w.object(edit(bare, "namespace: shop", "namespace: evil")))
	w.own(liveWeb)
	w.own(liveSet)
	w.own(livePod)
	for name, tc := range map[string]struct {
		reason string
		try    try
		want   want
	}{
		"Create":    {"Not in another's namespace.", try{user: "mallory", op: admissionv1.Create, new: configMap}, verdict.NotInGit},
		"Derived":   {"Not another's children.", try{user: "mallory", op: admissionv1.Update, old: livePod, new: edit(livePod, "web:1", "evil:1")}, verdict.NotDerived},
		"Managed":   {"Not another's objects.", try{user: "mallory", op: admissionv1.Update, old: bare, new: edit(bare, "containers", "hostPID: true, containers")}, verdict.UndeclaredField},
		"Status":    {"Nor their status.", try{user: "mallory", op: admissionv1.Update, sub: "status", old: livePod, new: edit(livePod, "spec: {nodeName", "status: {phase: Failed}, spec: {nodeName")}, verdict.SubresourceDenied},
		"Bind":      {"Nor where they run.", try{user: "mallory", op: admissionv1.Create, sub: "binding", resource: podResource, new: `{apiVersion: v1, kind: Binding, metadata: {name: web-abc-1, namespace: shop}, target: {name: n}}`}, verdict.SubresourceDenied},
		"Node":      {"Nor nodes.", try{user: "mallory", op: admissionv1.Connect, sub: "proxy", resource: nodes, name: "n1", new: `{apiVersion: v1, kind: NodeProxyOptions}`}, verdict.NoGrant},
		"AtHome":    {"At home it may.", try{user: "mallory", op: admissionv1.Create, new: edit(configMap, "namespace: shop", "namespace: evil")}, ""},
		"OwnObject": {"And leaves of its own objects.", try{user: "mallory", op: admissionv1.Update, old: edit(bare, "namespace: shop", "namespace: evil"), new: edit(bare, "namespace: shop", "namespace: evil", "containers", "hostPID: true, containers")}, ""},
	} {
		t.Run(name, func(t *testing.T) { w.check(t, tc.reason, tc.try, tc.want) })
	}
}

// TestOperator checks what an operator makes where Git leaves a kind to it.
func TestOperator(t *testing.T) {
	const operator = "system:serviceaccount:op:op"
	set := `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: pg, namespace: shop, uid: s1}, spec: {serviceName: pg, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: "pg:1"}]}}}}`
	pod := `{apiVersion: v1, kind: Pod, metadata: {name: pg-0, namespace: shop, labels: {a: b}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: pg, uid: s1, controller: true}]}, spec: {hostname: pg-0, subdomain: pg, containers: [{name: c, image: "pg:1"}]}}`
	w := newWorld(t)
	w.release(func(r *lock.Release) {
		r.Namespaces = []string{"shop"}
		r.Delegations = []lock.Delegation{{Writer: operator, Target: lock.Target{Group: "apps", Kind: "StatefulSet", Namespace: "shop"}}}
	}, w.object(bare))
	w.check(t, "The operator makes its set.", try{user: operator, op: admissionv1.Create, new: set}, "")
	w.check(t, "Nobody else does.", try{user: alice, op: admissionv1.Create, new: set}, verdict.NotInGit)
	w.check(t, "The set was admitted a moment ago: its Pods may come.", try{user: controller("statefulset-controller"), op: admissionv1.Create, new: pod}, "")
	w.check(t, "As it says.", try{user: controller("statefulset-controller"), op: admissionv1.Create, new: edit(pod, "pg:1", "evil")}, verdict.NotDerived)
	w.check(t, "From its controller.", try{user: operator, op: admissionv1.Create, new: pod}, verdict.NotDerived)
}

// TestForce checks the deletion of what can only be replaced.
func TestForce(t *testing.T) {
	forced := edit(bare, "name: bare,", "name: bare, annotations: {gitgate.dev/force: Enabled},")
	w := newWorld(t)
	w.release(nil, w.object(forced), w.object(webD))
	old := edit(forced, "b:1", "b:0")
	w.check(t, "It is not what Git says and cannot be made so.", try{user: reconciler, op: admissionv1.Delete, old: old}, "")
	w.check(t, "That is the reconciler's to do.", try{user: alice, op: admissionv1.Delete, old: old}, verdict.ManagedDelete)
	w.check(t, "K17: what is as Git says need not be replaced.", try{user: reconciler, op: admissionv1.Delete, old: forced}, verdict.ManagedDelete)
	w.check(t, "Git does not allow it for this one.", try{user: reconciler, op: admissionv1.Delete, old: edit(webD, "web:1", "web:0")}, verdict.ManagedDelete)
	w.release(func(r *lock.Release) { r.Force = true }, w.object(webD))
	w.check(t, "The GitSync allows it for all.", try{user: reconciler, op: admissionv1.Delete, old: edit(webD, "web:1", "web:0")}, "")
	counted := edit(webD, "name: web,", `name: web, annotations: {deployment.kubernetes.io/revision: "3"},`)
	w.check(t, "What its controller writes is no difference.", try{user: reconciler, op: admissionv1.Delete, old: counted}, verdict.ManagedDelete)
}

// TestPruneAll has a release drop a definition with its objects and a namespace with
// what is in it, while the release is not yet applied.
func TestPruneAll(t *testing.T) {
	const (
		crd = `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: widgets.example.com}, spec: {a: b}}`
		cr  = `{apiVersion: example.com/v1, kind: Widget, metadata: {name: w, namespace: gone}, spec: {a: b}}`
		ns  = `{apiVersion: v1, kind: Namespace, metadata: {name: gone}}`
		set = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: gone, uid: u1}, spec: {a: b}}`
		rs  = `{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: d-1, namespace: gone, uid: u2, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: d, uid: u1, controller: true}]}, spec: {replicas: 1}}`
	)
	w := newWorld(t)
	all := func(rev string, applied bool, objects ...lock.Object) {
		w.release(func(r *lock.Release) { r.Revision, r.Applied, r.Namespaces = rev, applied, []string{"gone", "shop"} }, objects...)
	}
	all(rev1, true, w.object(webD), w.object(crd), w.object(cr), w.object(ns), w.object(set))
	w.own(set)
	w.own(rs)
	for _, text := range []string{crd, cr, ns, set} {
		w.check(t, "It is in Git.", try{user: reconciler, op: admissionv1.Delete, old: text}, verdict.ManagedDelete)
	}
	all(rev2, false, w.object(webD))
	for _, applied := range []bool{false, true} {
		for _, text := range []string{cr, crd, set, ns} {
			w.check(t, "Git has it no more.", try{user: reconciler, op: admissionv1.Delete, old: text}, "")
		}
		nsc := controller("namespace-controller")
		w.check(t, "The namespace goes with what is in it.", try{user: nsc, op: admissionv1.Delete, old: set, name: "-"}, "")
		w.check(t, "With children.", try{user: nsc, op: admissionv1.Delete, old: rs, name: "-"}, "")
		w.check(t, "Nothing else does.", try{user: nsc, op: admissionv1.Delete, old: webD}, verdict.ManagedDelete)
		w.check(t, "Its controller winds down.", try{user: controller("deployment-controller"), op: admissionv1.Update, old: rs, new: edit(rs, "replicas: 1", "replicas: 0")}, "")
		if !applied {
			w.inv.Applied(types.NamespacedName{Namespace: "team", Name: "shop"}, rev2)
		}
	}
}

// TestModesMeet checks that the stricter of two GitSyncs decides where they meet.
func TestModesMeet(t *testing.T) {
	w := newWorld(t)
	w.release(func(r *lock.Release) { r.Mode = lock.Audit }, w.object(liveWeb))
	w.release(func(r *lock.Release) { r.Sync.Name, r.Namespaces = "platform", []string{"shop"} }, w.object(account))
	w.own(liveWeb)
	w.own(liveSet)
	forged := edit(newPod, "web:1", "evil:1")
	w.check(t, "A child in a namespace that another closes.", try{user: controller("replicaset-controller"), op: admissionv1.Create, new: forged}, verdict.NotDerived)
	if a := w.decide(try{user: alice, op: admissionv1.Update, old: liveWeb, new: edit(liveWeb, "web:1", "evil:1")}); !a.Allowed || a.Mode != lock.Audit {
		t.Errorf("the object of the GitSync that only audits: %+v", a)
	}
}
