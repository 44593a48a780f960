package lock_test

import (
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook/lock"
)

const (
	configMap = `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}, data: {k: v}}`
	newPod    = `{apiVersion: v1, kind: Pod, metadata: {name: web-abc-9, namespace: shop, labels: {app: web, pod-template-hash: abc}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-abc, uid: r1, controller: true}]},
  spec: {containers: [{name: app, image: "example.com/web:1"}]}}`
)

func TestClosed(t *testing.T) {
	w := shop(t)
	rsc := controller("replicaset-controller")
	set9 := edit(liveSet, "replicas: 2", "replicas: 9")
	for name, tc := range map[string]struct {
		reason string
		try    try
		want   want
	}{
		"Create":             {"What Git does not know.", try{user: alice, op: admissionv1.Create, new: configMap}, verdict.NotInGit},
		"CreateReconciler":   {"Not by the reconciler either.", try{user: reconciler, op: admissionv1.Create, new: configMap}, verdict.NotInGit},
		"Update":             {"What was there before.", try{user: alice, op: admissionv1.Update, old: configMap, new: edit(configMap, "k: v", "k: w")}, verdict.NotInGit},
		"UpdateNothing":      {"Which may be stored anew.", try{user: alice, op: admissionv1.Update, old: configMap, new: configMap}, ""},
		"Delete":             {"Nor deleted by hand.", try{user: alice, op: admissionv1.Delete, old: configMap}, verdict.NotInGit},
		"DeleteReconciler":   {"By the reconciler.", try{user: reconciler, op: admissionv1.Delete, old: configMap}, ""},
		"DeleteGC":           {"Or the garbage collector.", try{user: controller("generic-garbage-collector"), op: admissionv1.Delete, old: configMap}, ""},
		"Derived":            {"A child of what is in Git.", try{user: rsc, op: admissionv1.Create, new: newPod, name: "-"}, ""},
		"K14/Alice":          {"By its controller alone.", try{user: alice, op: admissionv1.Create, new: newPod}, verdict.NotDerived},
		"K14/OtherControl":   {"Not by another one.", try{user: controller("job-controller"), op: admissionv1.Create, new: newPod}, verdict.NotDerived},
		"K14/ForeignGroup":   {"Controllers know their children by kind and UID.", try{user: alice, op: admissionv1.Create, new: edit(newPod, "apiVersion: apps/v1, kind: ReplicaSet", "apiVersion: x.io/v1, kind: ReplicaSet")}, verdict.NotDerived},
		"K14/OtherUID":       {"A namesake in another group is another owner.", try{user: alice, op: admissionv1.Create, new: edit(newPod, "apiVersion: apps/v1, kind: ReplicaSet, name: web-abc, uid: r1", "apiVersion: x.io/v1, kind: ReplicaSet, name: web-abc, uid: r7")}, verdict.NotInGit},
		"UnknownOwner":       {"The Pod may be quicker than the news of its ReplicaSet.", try{user: rsc, op: admissionv1.Create, new: edit(newPod, "uid: r1", "uid: r2")}, verdict.NotDerived},
		"NoController":       {"An owner that is no controller makes no child.", try{user: rsc, op: admissionv1.Create, new: edit(newPod, ", controller: true", "")}, verdict.NotInGit},
		"PodLabels":          {"A child stays what it was made.", try{user: alice, op: admissionv1.Update, old: livePod, new: edit(livePod, "app: web,", "app: other,")}, verdict.NotDerived},
		"PodOrphaned":        {"Nobody takes it from its owner.", try{user: alice, op: admissionv1.Update, old: livePod, new: edit(livePod, ", ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-abc, uid: r1, controller: true}]", "")}, verdict.NotDerived},
		"PodReleased":        {"But its controller.", try{user: rsc, op: admissionv1.Update, old: livePod, new: edit(livePod, ", ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-abc, uid: r1, controller: true}]", "")}, ""},
		"PodDelete":          {"People delete Pods.", try{user: alice, op: admissionv1.Delete, old: livePod, name: "-"}, ""},
		"SetDelete":          {"Not ReplicaSets.", try{user: alice, op: admissionv1.Delete, old: liveSet}, verdict.ManagedDelete},
		"SetDeleteControl":   {"Their controller does.", try{user: controller("deployment-controller"), op: admissionv1.Delete, old: liveSet}, ""},
		"SetScale":           {"The Deployment controller scales.", try{user: controller("deployment-controller"), op: admissionv1.Update, old: liveSet, new: set9}, ""},
		"SetScaleAlice":      {"Alone.", try{user: alice, op: admissionv1.Update, old: liveSet, new: set9}, verdict.NotDerived},
		"SetScaleRS":         {"Also the set's own controller does not.", try{user: rsc, op: admissionv1.Update, old: liveSet, new: set9}, verdict.NotDerived},
		"SetTemplate":        {"The template of a ReplicaSet can be changed.", try{user: controller("deployment-controller"), op: admissionv1.Update, old: liveSet, new: edit(liveSet, "web:1", "evil:1")}, verdict.NotDerived},
		"SetAnnotation":      {"It gets what its Deployment has.", try{user: controller("deployment-controller"), op: admissionv1.Update, old: liveSet, new: edit(liveSet, "uid: r1,", "uid: r1, annotations: {x: y},")}, verdict.NotDerived},
		"SetRevision":        {"And a number.", try{user: controller("deployment-controller"), op: admissionv1.Update, old: liveSet, new: edit(liveSet, "uid: r1,", "uid: r1, annotations: {deployment.kubernetes.io/revision: '2'},")}, ""},
		"DefaultAccount":     {"Every namespace gets one.", try{user: controller("service-account-controller"), op: admissionv1.Create, new: `{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: shop}}`}, ""},
		"DefaultAccountPull": {"A plain one.", try{user: controller("service-account-controller"), op: admissionv1.Create, new: `{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: shop}, imagePullSecrets: [{name: x}]}`}, verdict.ContentMismatch},
		"DefaultAccountBy":   {"From its controller.", try{user: alice, op: admissionv1.Create, new: `{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: shop}}`}, verdict.NotInGit},
		"RootCA":             {"The trust anchor of every Pod.", try{user: controller("root-ca-cert-publisher"), op: admissionv1.Create, new: `{apiVersion: v1, kind: ConfigMap, metadata: {name: kube-root-ca.crt, namespace: shop}, data: {ca.crt: "-----BEGIN CERTIFICATE-----"}}`}, ""},
		"RootCAAlice":        {"Nobody else's.", try{user: alice, op: admissionv1.Update, old: `{apiVersion: v1, kind: ConfigMap, metadata: {name: kube-root-ca.crt, namespace: shop}, data: {ca.crt: a}}`, new: `{apiVersion: v1, kind: ConfigMap, metadata: {name: kube-root-ca.crt, namespace: shop}, data: {ca.crt: b}}`}, verdict.NotInGit},
		"Event":              {"What happened is no state.", try{user: alice, op: admissionv1.Create, new: `{apiVersion: v1, kind: Event, metadata: {name: e, namespace: shop}, reason: x}`}, ""},
		"Question":           {"Nor is a question.", try{user: alice, op: admissionv1.Create, new: `{apiVersion: authorization.k8s.io/v1, kind: LocalSubjectAccessReview, metadata: {namespace: shop}, spec: {user: x}}`}, ""},
		"Elsewhere":          {"Where nothing is Git's nothing is locked.", try{user: alice, op: admissionv1.Create, new: edit(configMap, "namespace: shop", "namespace: other")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.check(t, tc.reason, tc.try, tc.want)
			if name == "UnknownOwner" && !a.Pending {
				t.Error("the answer is final")
			}
		})
	}
}

// TestDelegated checks what Git leaves to others.
func TestDelegated(t *testing.T) {
	const manager = "system:serviceaccount:cert-manager:cert-manager"
	w := newWorld(t)
	secret := `{apiVersion: v1, kind: Secret, metadata: {name: web-tls, namespace: shop}, type: kubernetes.io/tls, data: {tls.crt: eA==}}`
	hook := `{apiVersion: example.com/v1, kind: Widget, metadata: {name: w, namespace: shop, annotations: {mine: "1"}}, spec: {a: 1, list: [{name: x, v: 1}]}}`
	w.release(func(r *lock.Release) {
		r.Namespaces = []string{"shop"}
		r.Delegations = []lock.Delegation{
			{Writer: manager, Target: lock.Target{Kind: "Secret", Namespace: "shop"}},
			{Writer: manager, Target: lock.Target{Group: "example.com", Kind: "Widget"}, Paths: [][]string{{"spec", "caBundle"}, {"metadata", "annotations"}, {"metadata", "finalizers"}, {"spec", "a"}, {"spec", "list"}}},
			{Writer: manager, Paths: [][]string{{"metadata", "labels", "gitgate.dev/name"}, {"metadata", "ownerReferences"}, {"kind"}}},
			{Writer: controller("replicaset-controller"), Target: lock.Target{Kind: "Pod"}, Paths: [][]string{{"spec", "initContainers"}}},
		}
	}, w.object(hook), w.object(liveWeb))
	w.own(liveWeb)
	w.own(liveSet)
	bundled := edit(hook, "a: 1", "a: 1, caBundle: x")
	for name, tc := range map[string]struct {
		reason string
		try    try
		want   want
	}{
		"Whole":             {"The objects of a controller that Git lets make them.", try{user: manager, op: admissionv1.Create, new: secret}, ""},
		"WholeUpdate":       {"It keeps them.", try{user: manager, op: admissionv1.Update, old: secret, new: edit(secret, "eA==", "eQ==")}, ""},
		"WholeDelete":       {"And removes them.", try{user: manager, op: admissionv1.Delete, old: secret}, ""},
		"WholeAlice":        {"Nobody else.", try{user: alice, op: admissionv1.Update, old: secret, new: edit(secret, "eA==", "eQ==")}, verdict.NotInGit},
		"WholeOther":        {"Nothing else.", try{user: manager, op: admissionv1.Create, new: configMap}, verdict.NotInGit},
		"WholeManaged":      {"Nothing that Git declares.", try{user: manager, op: admissionv1.Delete, old: hook}, verdict.ManagedDelete},
		"Leaf":              {"A leaf that Git leaves out.", try{user: manager, op: admissionv1.Update, old: hook, new: bundled}, ""},
		"LeafAlice":         {"By whom Git says.", try{user: alice, op: admissionv1.Update, old: hook, new: bundled}, verdict.UndeclaredField},
		"LeafRemoved":       {"Nobody takes it away.", try{user: alice, op: admissionv1.Update, old: bundled, new: hook}, verdict.UndeclaredField},
		"LeafDeclared":      {"What Git declares is Git's.", try{user: manager, op: admissionv1.Update, old: hook, new: edit(hook, "a: 1", "a: 2")}, verdict.ContentMismatch},
		"LeafItem":          {"Also an item of a list.", try{user: manager, op: admissionv1.Update, old: hook, new: edit(hook, "v: 1", "v: 2")}, verdict.ContentMismatch},
		"LeafAndMore":       {"Beside it nothing.", try{user: manager, op: admissionv1.Update, old: hook, new: edit(bundled, "kind: Widget,", "kind: Widget, extra: 1,")}, verdict.UndeclaredField},
		"Annotation":        {"One more beside Git's.", try{user: manager, op: admissionv1.Update, old: hook, new: edit(hook, `mine: "1"`, `mine: "1", theirs: "2"`)}, ""},
		"AnnotationOfGit":   {"Git's own stays.", try{user: manager, op: admissionv1.Update, old: hook, new: edit(hook, `mine: "1"`, `mine: "2"`)}, verdict.ContentMismatch},
		"AnnotationsGone":   {"Git's own stays there.", try{user: manager, op: admissionv1.Update, old: hook, new: edit(hook, `, annotations: {mine: "1"}`, ``)}, verdict.ContentMismatch},
		"Finalizer":         {"It holds the object until it is done.", try{user: manager, op: admissionv1.Update, old: hook, new: edit(hook, "name: w,", "name: w, finalizers: [cm/x],")}, ""},
		"FinalizerAlice":    {"Nobody takes that away.", try{user: alice, op: admissionv1.Update, old: edit(hook, "name: w,", "name: w, finalizers: [cm/x],"), new: hook}, verdict.UndeclaredField},
		"K3/OwnLabel":       {"Whose object it is cannot be given away.", try{user: manager, op: admissionv1.Update, old: hook, new: edit(hook, "name: w,", "name: w, labels: {gitgate.dev/name: x},")}, verdict.UndeclaredField},
		"Owner":             {"Nor what it would be collected with.", try{user: manager, op: admissionv1.Update, old: hook, new: edit(hook, "name: w,", "name: w, ownerReferences: [{apiVersion: v1, kind: Pod, name: x, uid: y}],")}, verdict.UndeclaredField},
		"Injected":          {"What an injector adds while the Pod is made.", try{user: controller("replicaset-controller"), op: admissionv1.Create, new: edit(newPod, "containers:", "initContainers: [{name: proxy, image: p}], containers:")}, ""},
		"InjectedMore":      {"There and nowhere else.", try{user: controller("replicaset-controller"), op: admissionv1.Create, new: edit(newPod, "containers:", "hostNetwork: true, containers:")}, verdict.NotDerived},
		"K18/TokenOfWriter": {"Its token would be worth something.", try{user: alice, op: admissionv1.Create, sub: "token", resource: accounts, new: `{apiVersion: authentication.k8s.io/v1, kind: TokenRequest, metadata: {name: cert-manager, namespace: cert-manager}, spec: {}}`}, verdict.ProtectedIdentity},
	} {
		t.Run(name, func(t *testing.T) { w.check(t, tc.reason, tc.try, tc.want) })
	}
}

func TestModes(t *testing.T) {
	evil := try{user: alice, op: admissionv1.Update, old: webD, new: edit(webD, "web:1", "web:2")}
	with := func(mode lock.Mode) *world {
		w := newWorld(t)
		w.release(func(r *lock.Release) { r.Mode, r.Namespaces = mode, []string{"shop"} }, w.object(webD))
		return w
	}
	t.Run("Enforce", func(t *testing.T) { with(lock.Enforce).check(t, "Refused.", evil, verdict.ContentMismatch) })
	t.Run("Unknown", func(t *testing.T) {
		with("Enforced").check(t, "A mode that nobody knows is no permission.", evil, verdict.ContentMismatch)
	})
	t.Run("Empty", func(t *testing.T) { with("").check(t, "Nor is none.", evil, verdict.ContentMismatch) })
	t.Run("Off", func(t *testing.T) { with(lock.Off).check(t, "Left alone.", evil, "") })
	t.Run("Audit", func(t *testing.T) {
		w := with(lock.Audit)
		for name, x := range map[string]try{"Managed": evil, "Closed": {user: alice, op: admissionv1.Create, new: configMap}, "Delete": {user: alice, op: admissionv1.Delete, old: webD}} {
			a := w.decide(x)
			if !a.Allowed || a.Reason == "" || len(a.Warnings) == 0 || len(a.Findings) == 0 || a.Mode != lock.Audit {
				t.Errorf("%s: want it allowed with a warning: %+v", name, a)
			}
			for _, f := range a.Findings {
				if f.Severity.Blocks() {
					t.Errorf("%s: a finding that blocks in an answer that allows: %+v", name, f)
				}
			}
		}
		if a := w.decide(evil); !strings.Contains(strings.Join(a.Warnings, " "), "spec.template.spec.containers[name=app].image") {
			t.Errorf("the warning does not name the field: %q", a.Warnings)
		}
		if a := w.decide(try{user: alice, op: admissionv1.Update, old: webD, new: webD}); len(a.Warnings) > 0 {
			t.Errorf("a warning about nothing: %q", a.Warnings)
		}
	})
	t.Run("NotSynced", func(t *testing.T) {
		w := with(lock.Enforce)
		w.inv.SetSynced(false)
		for name, x := range map[string]try{"Managed": evil, "Elsewhere": {user: alice, op: admissionv1.Create, new: edit(configMap, "shop", "other")}} {
			if a := w.check(t, "What is not known cannot be allowed.", x, verdict.NotReady); !a.Pending {
				t.Errorf("%s: the answer is final", name)
			}
		}
	})
	t.Run("NoLock", func(t *testing.T) {
		newWorld(t).check(t, "Without a release nothing is locked.", evil, "")
	})
}

func TestGrants(t *testing.T) {
	w := shop(t)
	w.grants["deployments/web"], w.grants["trustpolicies/t"] = true, true
	evil := try{user: alice, op: admissionv1.Update, old: liveWeb, new: edit(liveWeb, "web:1", "web:2")}
	a := w.decide(evil)
	if !a.Allowed || a.Grant != "grant-1" || a.Reason != verdict.ContentMismatch || len(a.Warnings) == 0 {
		t.Errorf("a grant opens what it covers, and it shows: %+v", a)
	}
	if a := w.decide(try{user: alice, op: admissionv1.Update, old: liveWeb, new: liveWeb}); a.Grant != "" {
		t.Error("a grant was used where none was needed")
	}
	w.check(t, "It opens nothing else.", try{user: alice, op: admissionv1.Delete, old: bare}, verdict.ManagedDelete)
	w.check(t, "No grant opens what grants rest upon.", try{user: alice, op: admissionv1.Create, new: `{apiVersion: gitgate.dev/v1alpha1, kind: TrustPolicy, metadata: {name: t}}`}, verdict.NotInGit)
	w.check(t, "Nor the account that only dry-runs.", try{user: dryRunner, op: admissionv1.Update, old: liveWeb, new: liveWeb}, verdict.SubresourceDenied)
	w.inv.SetSynced(false)
	if a := w.decide(evil); !a.Allowed || a.Grant == "" {
		t.Errorf("a grant works while Git is down: %+v", a)
	}
}

// TestOpen checks that what Git does not know is judged by policy and images.
func TestOpen(t *testing.T) {
	w := newWorld(t)
	w.release(nil, w.object(webD))
	loose := edit(configMap, "shop", "other")
	for name, tc := range map[string]struct {
		reason   string
		findings []verdict.Finding
		want     want
		pending  bool
		warnings int
	}{
		"Clean":        {"Nothing found.", nil, "", false, 0},
		"Warned":       {"Warnings let pass and are told.", []verdict.Finding{{Reason: verdict.PolicyDenied, Severity: verdict.Warn, Message: "m"}}, "", false, 1},
		"Denied":       {"One denial is enough.", []verdict.Finding{{Reason: verdict.PolicyDenied, Severity: verdict.Deny, Message: "m"}}, verdict.PolicyDenied, false, 0},
		"NoSeverity":   {"A finding that forgot its severity denies.", []verdict.Finding{{Reason: verdict.PolicyError}}, verdict.PolicyError, false, 0},
		"Pending":      {"Evidence may still come.", []verdict.Finding{{Reason: verdict.ImagePending, Severity: verdict.Undetermined, Message: "m"}}, verdict.ImagePending, true, 0},
		"PendingAndNo": {"A denial is final whatever else is pending.", []verdict.Finding{{Reason: verdict.ImagePending, Severity: verdict.Undetermined}, {Reason: verdict.PolicyDenied, Severity: verdict.Deny}}, verdict.PolicyDenied, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w.judge = func(*admissionv1.AdmissionRequest) []verdict.Finding { return tc.findings }
			a := w.check(t, tc.reason, try{user: alice, op: admissionv1.Create, new: loose}, tc.want)
			if a.Pending != tc.pending || len(a.Warnings) != tc.warnings || a.Matched != lock.MatchedOpen {
				t.Errorf("%s\n%+v", tc.reason, a)
			}
		})
	}
}
