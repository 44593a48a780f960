package lock_test

import (
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policy/verdict"
)

const webD = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, labels: {app: web}}, spec: {
  replicas: 2, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [
  {name: app, image: "example.com/web:1", env: [{name: A, value: "1"}, {name: B, value: "2"}]}, {name: log, image: "example.com/log:1"}],
  initContainers: [{name: one, image: "i:1"}, {name: two, image: "i:2"}]}}}}`

func edit(text string, pairs ...string) string {
	out := strings.NewReplacer(pairs...).Replace(text)
	if out == text {
		panic("the edit changes nothing")
	}
	return out
}

func TestManagedUpdate(t *testing.T) {
	w := newWorld(t)
	w.release(nil, w.object(webD))
	drifted := edit(webD, `{name: log,`, `{name: side, image: evil}, {name: log,`)
	for name, tc := range map[string]struct {
		reason   string
		user     string
		old, new string
		want     want
	}{
		"NoChange":         {"Storage migration writes what is there.", alice, webD, webD, ""},
		"NoChangeDrifted":  {"Nothing changes, so nothing is judged, whatever is there.", alice, drifted, drifted, ""},
		"K1/Image":         {"A declared field.", alice, webD, edit(webD, "web:1", "web:2"), verdict.ContentMismatch},
		"K17/Reconciler":   {"A stolen token of the reconciler.", reconciler, webD, edit(webD, "web:1", "web:2"), verdict.ContentMismatch},
		"K19/KubeSystem":   {"No namespace is above Git.", controller("deployment-controller"), webD, edit(webD, "web:1", "web:2"), verdict.ContentMismatch},
		"K2/Sidecar":       {"Nobody adds a container.", alice, webD, drifted, verdict.UndeclaredField},
		"K2/HostPID":       {"Nor a field.", alice, webD, edit(webD, "containers:", "hostPID: true, containers:"), verdict.UndeclaredField},
		"K3/Labels":        {"Without labels it is still the same object.", alice, webD, edit(webD, ", labels: {app: web}}, spec: {\n", "}, spec: {\n"), verdict.ContentMismatch},
		"K33/Env":          {"Order counts.", alice, webD, edit(webD, `{name: A, value: "1"}, {name: B, value: "2"}`, `{name: B, value: "2"}, {name: A, value: "1"}`), verdict.ContentMismatch},
		"K33/Init":         {"Order of init containers is the order in which they run.", alice, webD, edit(webD, `{name: one, image: "i:1"}, {name: two, image: "i:2"}`, `{name: two, image: "i:2"}, {name: one, image: "i:1"}`), verdict.ContentMismatch},
		"Repair":           {"Whoever leads it back to Git may.", alice, drifted, webD, ""},
		"HalfRepair":       {"A step on the way is one too.", reconciler, edit(drifted, "web:1", "web:3"), drifted, ""},
		"RepairAndHarm":    {"The one does not excuse the other.", reconciler, drifted, edit(webD, "web:1", "web:2"), verdict.ContentMismatch},
		"DriftElsewhere":   {"What is wrong already must not hold up the rest.", reconciler, edit(drifted, "replicas: 2", "replicas: 9"), drifted, ""},
		"Revision":         {"The deployment controller counts revisions.", controller("deployment-controller"), webD, edit(webD, "name: web,", `name: web, annotations: {deployment.kubernetes.io/revision: "3"},`), ""},
		"RevisionByAlice":  {"Nobody else does.", alice, webD, edit(webD, "name: web,", `name: web, annotations: {deployment.kubernetes.io/revision: "3"},`), verdict.UndeclaredField},
		"RevisionStripped": {"Nor takes it away, though Git does not have it.", alice, edit(webD, "name: web,", `name: web, annotations: {deployment.kubernetes.io/revision: "3"},`), webD, verdict.UndeclaredField},
		"RevisionAndMore":  {"The controller may count, not annotate.", controller("deployment-controller"), webD, edit(webD, "name: web,", `name: web, annotations: {deployment.kubernetes.io/revision: "3", x: y},`), verdict.UndeclaredField},
		"SharedIdentity":   {"With shared credentials it is the controller manager that counts.", kcm, webD, edit(webD, "name: web,", `name: web, annotations: {deployment.kubernetes.io/revision: "3"},`), ""},
		"Foreground":       {"The garbage collector's own finalizer.", controller("generic-garbage-collector"), edit(webD, "name: web,", `name: web, finalizers: [foregroundDeletion],`), webD, ""},
		"ForegroundAlice":  {"Not everybody's.", alice, edit(webD, "name: web,", `name: web, finalizers: [foregroundDeletion],`), webD, verdict.UndeclaredField},
		"Finalizer":        {"A finalizer keeps an object from being deleted.", controller("generic-garbage-collector"), webD, edit(webD, "name: web,", `name: web, finalizers: [evil/x],`), verdict.UndeclaredField},
		"Owner":            {"An owner would have it collected.", alice, webD, edit(webD, "name: web,", `name: web, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: x, uid: u}],`), verdict.UndeclaredField},
		"OwnerDropped":     {"The garbage collector drops owners that are gone.", controller("generic-garbage-collector"), edit(webD, "name: web,", `name: web, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: x, uid: u}],`), webD, ""},
		"K1/ManagedFields": {"Resetting managedFields beside a change hides nothing.", alice, edit(webD, "name: web,", "name: web, managedFields: [{manager: gitgate}],"), edit(webD, "web:1", "web:2", "name: web,", "name: web, managedFields: [],"), verdict.ContentMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			w.check(t, tc.reason, try{user: tc.user, op: admissionv1.Update, old: tc.old, new: tc.new}, tc.want)
		})
	}
}

func TestManagedCreateDelete(t *testing.T) {
	w := newWorld(t)
	w.release(nil, w.object(webD))
	for name, tc := range map[string]struct {
		reason string
		try    try
		want   want
	}{
		"K16/Other":            {"A name that Git knows is reserved.", try{user: alice, op: admissionv1.Create, new: edit(webD, "web:1", "web:2")}, verdict.ContentMismatch},
		"K17/Other":            {"From everybody.", try{user: reconciler, op: admissionv1.Create, new: edit(webD, "web:1", "web:2")}, verdict.ContentMismatch},
		"Same":                 {"What Git says may come to be, whoever makes it.", try{user: alice, op: admissionv1.Create, new: webD}, ""},
		"K16/Generated":        {"A generated name is one too.", try{user: alice, op: admissionv1.Create, new: edit(webD, "web:1", "web:2"), name: "-"}, verdict.ContentMismatch},
		"K10/Delete":           {"Not to be deleted.", try{user: alice, op: admissionv1.Delete, old: webD}, verdict.ManagedDelete},
		"K10/Collection":       {"deletecollection names nothing.", try{user: alice, op: admissionv1.Delete, old: webD, name: "-"}, verdict.ManagedDelete},
		"K17/DeleteReconciler": {"Git still has it.", try{user: reconciler, op: admissionv1.Delete, old: webD}, verdict.ManagedDelete},
		"K11/GC":               {"Deleting what somebody made its owner.", try{user: controller("generic-garbage-collector"), op: admissionv1.Delete, old: webD}, verdict.ManagedDelete},
		"Terminating":          {"It goes already.", try{user: alice, op: admissionv1.Delete, old: edit(webD, "name: web,", `name: web, deletionTimestamp: "2026-01-01T00:00:00Z",`)}, ""},
	} {
		t.Run(name, func(t *testing.T) { w.check(t, tc.reason, tc.try, tc.want) })
	}
}
