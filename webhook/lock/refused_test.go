package lock_test

import (
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook/lock"
)

// asLive is an object that is held to what is live.
func (w *world) asLive(text string) lock.Object {
	o := w.object(text)
	o.Manifest = &unstructured.Unstructured{Object: o.Desired}
	o.Declared, o.Live = fieldpath.NewSet(), true
	return o
}

// frozen is an object that stays as it is.
func (w *world) frozen(text string) lock.Object {
	o := w.asLive(text)
	o.Desired, o.Frozen = nil, "it differs from what that revision says"
	return o
}

func refuse(r *lock.Release) {
	r.Refused, r.Images = "PolicyDenied: no", []lock.VerifiedImage{}
}

// TestRefused writes to objects of a revision that does not pass any more.
func TestRefused(t *testing.T) {
	const jobD = `{apiVersion: batch/v1, kind: Job, metadata: {name: once, namespace: shop}, spec: {ttlSecondsAfterFinished: 5, template: {spec: {containers: [{name: a, image: i}]}}}}`
	const roleD = `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: all}, aggregationRule: {clusterRoleSelectors: [{matchLabels: {a: b}}]}, rules: [{verbs: [get], resources: [pods], apiGroups: [""]}]}`
	const secretD = `{apiVersion: v1, kind: Secret, metadata: {name: key, namespace: shop}, data: {a: b25l}}`
	revision := edit(webD, "name: web,", `name: web, annotations: {deployment.kubernetes.io/revision: "3"},`)
	done := edit(jobD, "spec: {ttl", `status: {conditions: [{type: Complete, status: "True"}]}, spec: {ttl`)
	deployments := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	scale := func(n string) string {
		return `{apiVersion: autoscaling/v1, kind: Scale, metadata: {name: web, namespace: shop}, spec: {replicas: ` + n + `}}`
	}
	for name, tc := range map[string]struct {
		reason       string
		try          try
		held, frozen want // nothing for allowed
	}{
		"Same":          {"Nothing changes.", try{user: alice, op: admissionv1.Update, old: webD, new: webD}, "", ""},
		"Image":         {"Nobody changes what is held.", try{user: alice, op: admissionv1.Update, old: webD, new: edit(webD, "web:1", "web:2")}, verdict.ContentMismatch, verdict.RevisionRefused},
		"Reconciler":    {"Not by a stolen token either.", try{user: reconciler, op: admissionv1.Update, old: webD, new: edit(webD, "web:1", "web:2")}, verdict.ContentMismatch, verdict.RevisionRefused},
		"Repair":        {"What was as Git says may be put right, and of what was not nobody knows what is right.", try{user: reconciler, op: admissionv1.Update, old: edit(webD, "web:1", "web:2"), new: webD}, "", verdict.RevisionRefused},
		"Labels":        {"The labels say whose it is.", try{user: alice, op: admissionv1.Update, old: webD, new: edit(webD, "labels: {app: web}}, spec: {\n", "labels: {}}, spec: {\n")}, verdict.ContentMismatch, verdict.RevisionRefused},
		"Controller":    {"Controllers write what is theirs.", try{user: controller("deployment-controller"), op: admissionv1.Update, old: webD, new: revision}, "", ""},
		"NotController": {"And nobody else.", try{user: alice, op: admissionv1.Update, old: webD, new: revision}, verdict.UndeclaredField, verdict.RevisionRefused},
		"Status":        {"So is the status.", try{user: controller("deployment-controller"), op: admissionv1.Update, sub: "status", old: webD, new: edit(revision, "spec: {\n", "status: {replicas: 2}, spec: {\n")}, "", ""},
		"Delete":        {"It cannot be deleted.", try{user: reconciler, op: admissionv1.Delete, old: webD}, verdict.ManagedDelete, verdict.ManagedDelete},
		"Create":        {"Nor made anew: nobody vouches for it.", try{user: reconciler, op: admissionv1.Create, new: webD}, verdict.RevisionRefused, verdict.RevisionRefused},
		"Scale":         {"Nor scaled.", try{user: alice, op: admissionv1.Update, sub: "scale", old: scale("2"), new: scale("0"), resource: deployments}, verdict.SubresourceDenied, verdict.SubresourceDenied},
		"Autoscaler":    {"But by its autoscaler.", try{user: controller("horizontal-pod-autoscaler"), op: admissionv1.Update, sub: "scale", old: scale("2"), new: scale("3"), resource: deployments}, "", ""},
		"TooMany":       {"Within its bounds.", try{user: controller("horizontal-pod-autoscaler"), op: admissionv1.Update, sub: "scale", old: scale("2"), new: scale("9"), resource: deployments}, verdict.SubresourceDenied, verdict.SubresourceDenied},
		"NotScaled":     {"Without an autoscaler by nobody, the autoscaler included.", try{user: controller("horizontal-pod-autoscaler"), op: admissionv1.Update, sub: "scale", old: strings.ReplaceAll(scale("2"), "web", "db"), new: strings.ReplaceAll(scale("3"), "web", "db"), resource: deployments}, verdict.SubresourceDenied, verdict.SubresourceDenied},
		"Finished":      {"What deletes itself does.", try{user: controller("ttl-after-finished-controller"), op: admissionv1.Delete, old: done}, "", ""},
		"NotFinished":   {"When it is done.", try{user: controller("ttl-after-finished-controller"), op: admissionv1.Delete, old: jobD}, verdict.ManagedDelete, verdict.ManagedDelete},
		"Aggregated":    {"Roles are filled.", try{user: controller("clusterrole-aggregation-controller"), op: admissionv1.Update, old: roleD, new: edit(roleD, "[get]", "[get, list]")}, "", ""},
		"NotAggregated": {"By one controller.", try{user: alice, op: admissionv1.Update, old: roleD, new: edit(roleD, "[get]", "['*']")}, verdict.UndeclaredField, verdict.RevisionRefused},
		"Secret":        {"Secrets are held too.", try{user: alice, op: admissionv1.Update, old: secretD, new: edit(secretD, "b25l", "dHdv")}, verdict.ContentMismatch, verdict.RevisionRefused},
	} {
		for kind, want := range map[string]want{"Held": tc.held, "Frozen": tc.frozen} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				w := newWorld(t)
				make := w.asLive
				if kind == "Frozen" {
					make = w.frozen
				}
				web := make(webD)
				web.Autoscaled = true
				w.release(refuse, web, make(strings.ReplaceAll(webD, "web", "db")), make(jobD), make(roleD), make(secretD),
					w.asLive(`{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: web, namespace: shop}, spec: {maxReplicas: 4, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}`))
				a := w.check(t, tc.reason, tc.try, want)
				if want != "" && !strings.Contains(a.Message, "Held: main@sha1:1111111111111111111111111111111111111111 stays in force although it is refused now: PolicyDenied: no") {
					t.Errorf("the denial does not say that the revision is refused: %s", a.Message)
				}
				if want != "" && kind == "Frozen" && (!strings.Contains(a.Message, "Frozen: it differs") || !strings.Contains(a.Message, "Next: bring a revision that passes")) {
					t.Errorf("the denial does not say why it is frozen and what next: %s", a.Message)
				}
				if a.Refused == "" || a.Pending || strings.Contains(a.Message, "b25l") || strings.Contains(a.Message, "sealed:") {
					t.Errorf("refused %q, pending %t: %s", a.Refused, a.Pending, a.Message)
				}
			})
		}
	}
}

// TestRefusedPods makes Pods of a frozen Deployment: of its own images, and of no others.
func TestRefusedPods(t *testing.T) {
	w := newWorld(t)
	const deployment = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, uid: d}, spec: {
	  replicas: 2, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: "example.com/web:1"}]}}}}`
	set := func(image string) string {
		return `{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web-5, namespace: shop, uid: r, labels: {app: web, pod-template-hash: "5"}, ownerReferences: [
		  {apiVersion: apps/v1, kind: Deployment, name: web, uid: d, controller: true, blockOwnerDeletion: true}]}, spec: {replicas: 2, selector: {matchLabels: {app: web, pod-template-hash: "5"}},
		  template: {metadata: {labels: {app: web, pod-template-hash: "5"}}, spec: {containers: [{name: app, image: "` + image + `"}]}}}}`
	}
	pod := func(image string) string {
		return `{apiVersion: v1, kind: Pod, metadata: {generateName: web-5-, name: web-5-x, namespace: shop, labels: {app: web, pod-template-hash: "5"}, ownerReferences: [
		  {apiVersion: apps/v1, kind: ReplicaSet, name: web-5, uid: r, controller: true, blockOwnerDeletion: true}]}, spec: {containers: [{name: app, image: "` + image + `"}]}}`
	}
	w.own(deployment)
	w.release(refuse, w.frozen(deployment))
	if syncs, frozen := w.inv.Refused(); syncs != 1 || frozen != 1 {
		t.Errorf("%d GitSyncs are refused and %d objects frozen, want one each", syncs, frozen)
	}
	w.check(t, "Its ReplicaSet follows from it.", try{user: controller("deployment-controller"), op: admissionv1.Create, new: set("example.com/web:1")}, "")
	w.own(set("example.com/web:1"))
	w.check(t, "And its Pod.", try{user: controller("replicaset-controller"), op: admissionv1.Create, new: pod("example.com/web:1")}, "")
	w.check(t, "Not another one.", try{user: controller("replicaset-controller"), op: admissionv1.Create, new: pod("example.com/evil:1")}, verdict.NotDerived)
	w.check(t, "Nor by somebody else.", try{user: alice, op: admissionv1.Create, new: pod("example.com/web:1")}, verdict.NotDerived)
	w.live = nil
	w.live = newWorld(t).live
	w.own(deployment)
	w.own(set("example.com/old:1"))
	a := w.decide(try{user: controller("replicaset-controller"), op: admissionv1.Create, new: pod("example.com/old:1")})
	if a.Allowed || a.Reason != verdict.ImagePending {
		t.Errorf("an image that is not the Deployment's, of which there is no evidence: %+v", a)
	}
}
