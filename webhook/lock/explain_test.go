package lock_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook/lock"
)

// explain asks about an object as it is in a list.
func (w *world) explain(text string, change ...func(*lock.Found)) lock.Explanation {
	w.t.Helper()
	obj := parse(w.t, text)
	u := unstructured.Unstructured{Object: obj}
	f := lock.Found{
		Kind: u.GroupVersionKind(), Resource: resourceOf(obj).GroupResource(), Namespace: u.GetNamespace(), Name: u.GetName(), Object: obj,
	}
	for _, c := range change {
		c(&f)
	}
	before := runtime.DeepCopyJSON(f.Object)
	defer func() {
		if diff := cmp.Diff(before, f.Object); diff != "" {
			w.t.Errorf("the object was changed (-before +after):\n%s", diff)
		}
	}()
	return w.lock.Explain(f)
}

const (
	explainedDeployment = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, uid: d1},
 spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: a}]}}}}`
	explainedSet = `{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web-1, namespace: shop, uid: r1, labels: {app: web, pod-template-hash: "1"},
 ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: d1, controller: true}]},
 spec: {replicas: 1, selector: {matchLabels: {app: web, pod-template-hash: "1"}},
 template: {metadata: {labels: {app: web, pod-template-hash: "1"}}, spec: {containers: [{name: c, image: a}]}}}}`
	explainedPod = `{apiVersion: v1, kind: Pod, metadata: {name: web-1-abcde, namespace: shop, uid: p1,
 labels: {app: web, pod-template-hash: "1", topology.kubernetes.io/zone: z},
 ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: r1, controller: true}]},
 spec: {nodeName: n1, containers: [{name: c, image: a}]}}`
	explainedQueue = `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: queue, namespace: shop, uid: s1},
 spec: {serviceName: queue, selector: {matchLabels: {app: queue}}, template: {metadata: {labels: {app: queue}}, spec: {containers: [{name: c, image: a}]}},
 volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce]}}]}}`
	explainedService = `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop, uid: v1}, spec: {selector: {app: web}}}`
)

func explainWorld(t testing.TB) *world {
	w := newWorld(t)
	w.release(func(r *lock.Release) {
		r.Namespaces = []string{"shop", "team"}
		r.Secrets = []string{"git-auth"}
		r.Delegations = []lock.Delegation{{Writer: "cert-manager", Target: lock.Target{Kind: "Secret", Namespace: "shop", Name: "tls"}}}
	}, w.object(explainedDeployment), w.object(explainedQueue), w.object(explainedService),
		w.object(`{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}, data: {a: b}}`))
	for _, text := range []string{explainedDeployment, explainedSet, explainedQueue, explainedService} {
		w.own(text)
	}
	w.own(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: foreign, namespace: shop, uid: d9}, spec: {template: {spec: {}}}}`)
	return w
}

func TestExplain(t *testing.T) {
	edit := func(text string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(text) }
	earlier := func(f *lock.Found) { f.Earlier = true }
	proven := func(f *lock.Found) { f.Proven = true }
	const (
		yes     = ""
		unknown = "pending"
	)
	old := edit(explainedSet, "web-1", "web-0", "uid: r1", "uid: r0", `"1"`, `"0"`, "image: a", "image: former")
	claim := `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data-queue-0, namespace: shop, uid: c1, labels: {app: queue},
 annotations: {pv.kubernetes.io/bind-completed: "yes", volume.kubernetes.io/selected-node: n1}}, spec: {accessModes: [ReadWriteOnce], volumeName: pv1, storageClassName: fast}}`
	for name, tc := range map[string]struct {
		reason string
		object string
		change func(*lock.Found)
		want   string // part of why not; empty for explained
	}{
		"Open":            {"Nobody closed the namespace.", `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: other}}`, nil, yes},
		"Managed":         {"Git declares it; what it holds is the reconciler's to compare.", `{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}, data: {a: evil}}`, nil, yes},
		"Unknown":         {"Nobody declares it.", `{apiVersion: v1, kind: ConfigMap, metadata: {name: other, namespace: shop}}`, nil, "not in Git"},
		"OtherKind":       {"The name is another kind's.", `{apiVersion: v1, kind: Secret, metadata: {name: settings, namespace: shop}}`, nil, "not in Git"},
		"Labels":          {"Our labels on it prove nothing.", `{apiVersion: v1, kind: ConfigMap, metadata: {name: other, namespace: shop, labels: {gitgate.dev/name: shop, gitgate.dev/namespace: team}}}`, nil, "not in Git"},
		"Elsewhere":       {"It names another place than that in which it was found.", `{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}}`, func(f *lock.Found) { f.Name = "hidden" }, "in a place"},
		"Delegated":       {"Git leaves such objects to somebody.", `{apiVersion: v1, kind: Secret, metadata: {name: tls, namespace: shop}}`, nil, yes},
		"Credentials":     {"The GitSync's own spec names it.", `{apiVersion: v1, kind: Secret, metadata: {name: git-auth, namespace: team}}`, nil, yes},
		"Namesake":        {"It does so in its own namespace only.", `{apiVersion: v1, kind: Secret, metadata: {name: git-auth, namespace: shop}}`, nil, "not in Git"},
		"GitSync":         {"It is the one that closes the namespace.", `{apiVersion: gitgate.dev/v1alpha1, kind: GitSync, metadata: {name: shop, namespace: team}}`, nil, yes},
		"OtherGitSync":    {"Nobody locked this one.", `{apiVersion: gitgate.dev/v1alpha1, kind: GitSync, metadata: {name: evil, namespace: team}}`, nil, "not in Git"},
		"ReplicaSet":      {"It is its Deployment's template.", explainedSet, nil, yes},
		"ReplicaSetOther": {"It is not.", edit(explainedSet, "image: a", "image: evil"), nil, "image"},
		"ReplicaSetOld":   {"A former template, from before anybody watched.", edit(old, "replicas: 1", "replicas: 0"), earlier, yes},
		"ReplicaSetNew":   {"A former template does not appear anew.", edit(old, "replicas: 1", "replicas: 0"), nil, "image"},
		"ReplicaSetKnown": {"Its content was seen to follow once.", old, proven, yes},
		"ReplicaSetGone":  {"Its owner is not there.", edit(explainedSet, "uid: d1", "uid: d7"), nil, unknown},
		"ReplicaSetNoUID": {"An owner without a UID is none that the API server took.", edit(explainedSet, "name: web, uid: d1", "name: foreign, uid: d9"), proven, "not in Git"},
		"Pod":             {"It is its ReplicaSet's template, bound to a node.", explainedPod, nil, yes},
		"PodSidecar":      {"It has a container more.", edit(explainedPod, "image: a}]", "image: a}, {name: evil, image: a}]"), nil, "containers"},
		"PodHostPID":      {"It has a field more.", edit(explainedPod, "nodeName: n1", "nodeName: n1, hostPID: true"), nil, "hostPID"},
		"PodDebug":        {"Ephemeral containers are nobody's but a grant's.", edit(explainedPod, "nodeName: n1", "nodeName: n1, ephemeralContainers: [{name: x, image: a}]"), nil, "ephemeralContainers"},
		"PodNobodys":      {"No owner.", edit(explainedPod, "controller: true", "controller: false"), nil, "not in Git"},
		"PodMirror":       {"Who makes a static Pod can be told by its caller only.", edit(explainedPod, "controller: true", "controller: false", "uid: p1", "uid: p1, annotations: {kubernetes.io/config.mirror: x}"), nil, "not in Git"},
		"PodZoneLabel":    {"Labels of the node are added by the binding only.", edit(explainedPod, "nodeName: n1, ", ""), nil, "labels"},
		"PodGoing":        {"What the garbage collector adds.", edit(explainedPod, "uid: p1", "uid: p1, finalizers: [foregroundDeletion]"), nil, yes},
		"PodStays":        {"A finalizer of somebody's.", edit(explainedPod, "uid: p1", "uid: p1, finalizers: [evil.example.com/x]"), nil, "finalizers"},
		"Claim":           {"A bound claim of a StatefulSet.", claim, nil, yes},
		"ClaimForged":     {"Not its template.", edit(claim, "ReadWriteOnce", "ReadWriteMany"), nil, "not in Git"},
		"ClaimFreed":      {"Of no StatefulSet.", edit(claim, "data-queue-0", "data-other-0"), nil, "not in Git"},
		"Slice":           {"Of a Service in Git; what it holds only its controller knows.", `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-x, namespace: shop, ownerReferences: [{apiVersion: v1, kind: Service, name: web, uid: v1, controller: true}]}}`, nil, yes},
		"SliceLabel":      {"A label is no owner.", `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-y, namespace: shop, labels: {kubernetes.io/service-name: web}}}`, nil, "not in Git"},
		"Endpoints":       {"Of a Service in Git.", `{apiVersion: v1, kind: Endpoints, metadata: {name: web, namespace: shop}}`, nil, yes},
		"EndpointsFree":   {"Of none.", `{apiVersion: v1, kind: Endpoints, metadata: {name: evil, namespace: shop}}`, nil, "not in Git"},
		"Account":         {"Every namespace has it.", `{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: shop, uid: a1}}`, nil, yes},
		"AccountSecrets":  {"It was given more.", `{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: shop}, secrets: [{name: x}]}`, nil, "not in Git"},
		"RootCA":          {"Every namespace has it.", `{apiVersion: v1, kind: ConfigMap, metadata: {name: kube-root-ca.crt, namespace: shop}, data: {ca.crt: "-----BEGIN CERTIFICATE-----\nour own"}}`, nil, yes},
		"RootCAOther":     {"Other certificates than ours may be a rotation.", `{apiVersion: v1, kind: ConfigMap, metadata: {name: kube-root-ca.crt, namespace: shop}, data: {ca.crt: "-----BEGIN CERTIFICATE-----\nevil"}}`, nil, unknown},
		"RootCAMore":      {"It holds something else.", `{apiVersion: v1, kind: ConfigMap, metadata: {name: kube-root-ca.crt, namespace: shop}, data: {x: y}}`, nil, "not in Git"},
	} {
		t.Run(name, func(t *testing.T) {
			w := explainWorld(t)
			w.roots = []string{"-----BEGIN CERTIFICATE-----\nour own"}
			x := w.explain(tc.object, func(f *lock.Found) {
				if tc.change != nil {
					tc.change(f)
				}
			})
			ok := x.Explained == (tc.want == yes) && x.Pending == (tc.want == unknown)
			if !ok || tc.want != yes && (x.Reason == "" || tc.want != unknown && !strings.Contains(x.Why, tc.want)) {
				t.Errorf("%s\nExplain() = %+v, want %q", tc.reason, x, tc.want)
			}
		})
	}
}

// TestExplainOwners proves that a Pod is no better than what it derives from.
func TestExplainOwners(t *testing.T) {
	w := explainWorld(t)
	if x := w.explain(explainedPod); len(x.Owners) != 1 || x.Owners[0] != "r1" {
		t.Errorf("a Pod rests upon %v, want its ReplicaSet", x.Owners)
	}
	w.own(`{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: queue-7, namespace: shop, uid: v7,
 ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: queue, uid: s1, controller: true}]},
 data: {spec: {template: {metadata: {labels: {app: queue}}, spec: {containers: [{name: c, image: former}]}}}}}`)
	x := w.explain(`{apiVersion: v1, kind: Pod, metadata: {name: queue-0, namespace: shop, uid: p0,
 labels: {app: queue, controller-revision-hash: queue-7, statefulset.kubernetes.io/pod-name: queue-0, apps.kubernetes.io/pod-index: "0"},
 ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: queue, uid: s1, controller: true}]},
 spec: {hostname: queue-0, subdomain: queue, containers: [{name: c, image: former}], volumes: [{name: data, persistentVolumeClaim: {claimName: data-queue-0}}]}}`)
	if !x.Explained || len(x.Owners) != 2 || x.Owners[0] != "s1" || x.Owners[1] != "v7" {
		t.Errorf("a Pod of a former revision: %+v, want it explained by its StatefulSet and the revision", x)
	}
}

// TestExplainUnknown proves that what is not known explains nothing and accuses nobody.
func TestExplainUnknown(t *testing.T) {
	w := explainWorld(t)
	w.inv.SetUnknown(lock.Unknown{Namespaces: map[string]bool{"shop": true}})
	stray := `{apiVersion: v1, kind: ConfigMap, metadata: {name: other, namespace: shop}}`
	if x := w.explain(stray); x.Explained || !x.Pending || x.Reason != verdict.NotReady {
		t.Errorf("while a release is not known: %+v, want pending", x)
	}
	w.inv.SetUnknown(lock.Unknown{})
	w.inv.SetSynced(false)
	if x := w.explain(stray); x.Explained || !x.Pending {
		t.Errorf("before all releases are known: %+v, want pending", x)
	}
}

// TestReports proves that gitgate may tell in a closed namespace what rules say of what
// is in it, and nobody else in its name.
func TestReports(t *testing.T) {
	report := func(kind, name string) string {
		return `{apiVersion: openreports.io/v1alpha1, kind: ` + kind + `, metadata: {name: ` + name + `, namespace: shop}, results: []}`
	}
	const webhook = "system:serviceaccount:" + system + ":gitgate-webhook"
	w := explainWorld(t)
	for name, tc := range map[string]struct {
		reason, user, object string
		want                 want
	}{
		"Own":       {"Its reports are its own to write.", webhook, report("Report", "gitgate-1"), ""},
		"OtherName": {"Only those that it writes.", webhook, report("Report", "kyverno-1"), verdict.NotInGit},
		"Alice":     {"A report in our name is not hers to write.", alice, report("Report", "gitgate-1"), verdict.NotInGit},
		"OtherKind": {"No other kind.", webhook, `{apiVersion: v1, kind: ConfigMap, metadata: {name: gitgate-1, namespace: shop}}`, verdict.NotInGit},
	} {
		t.Run(name, func(t *testing.T) {
			w.check(t, tc.reason, try{user: tc.user, op: admissionv1.Create, new: tc.object}, tc.want)
			if tc.want == "" {
				w.check(t, tc.reason, try{user: tc.user, op: admissionv1.Update, old: tc.object, new: strings.Replace(tc.object, "[]", "[{policy: p}]", 1)}, "")
				w.check(t, tc.reason, try{user: tc.user, op: admissionv1.Delete, old: tc.object}, "")
			}
		})
	}
	w.judge = func(*admissionv1.AdmissionRequest) []verdict.Finding {
		return []verdict.Finding{{Stage: verdict.StagePolicy, Reason: verdict.PolicyDenied, Severity: verdict.Deny, Message: "no label"}}
	}
	open := strings.Replace(report("Report", "gitgate-1"), "shop", "elsewhere", 1)
	w.check(t, "No rule keeps it from telling.", try{user: webhook, op: admissionv1.Create, new: open}, "")
	w.check(t, "Of others it does.", try{user: alice, op: admissionv1.Create, new: open}, verdict.PolicyDenied)
	if x := w.explain(report("Report", "gitgate-1")); !x.Explained {
		t.Errorf("a report of ours: %+v", x)
	}
	if x := w.explain(report("Report", "other")); x.Explained {
		t.Errorf("a report of somebody's is explained")
	}
}

func TestClosedBy(t *testing.T) {
	w := explainWorld(t)
	shop := []types.NamespacedName{{Namespace: "team", Name: "shop"}}
	want := map[string][]types.NamespacedName{"shop": shop, "team": shop}
	equal := func(a, b []types.NamespacedName) bool { return len(a) == len(b) && a[0] == b[0] }
	if got := w.inv.Closed(); !maps.EqualFunc(got, want, equal) {
		t.Errorf("Closed() = %v, want %v", got, want)
	}
	w.inv.Drop(shop[0])
	if got := w.inv.Closed(); len(got) != 0 {
		t.Errorf("Closed() = %v after the GitSync is gone", got)
	}
}
