package lock_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook/lock"
)

// Who writes.
const (
	alice      = "alice" // cluster-admin
	reconciler = "system:serviceaccount:gitgate-system:gitgate-reconciler"
	dryRunner  = "system:serviceaccount:gitgate-system:gitgate-dryrun"
	kcm        = "system:kube-controller-manager"
	scheduler  = "system:kube-scheduler"
	system     = "gitgate-system"
)

func controller(name string) string { return "system:serviceaccount:kube-system:" + name }

// plurals are the resources of the kinds that tests use.
var plurals = map[string]string{
	"NetworkPolicy": "networkpolicies", "PriorityClass": "priorityclasses", "Ingress": "ingresses", "Endpoints": "endpoints", "GitSync": "gitsyncs",
	"TrustPolicy": "trustpolicies", "BreakGlass": "breakglasses", "PolicySet": "policysets",
}

func plural(kind string) string {
	if p := plurals[kind]; p != "" {
		return p
	}
	return strings.ToLower(kind) + "s"
}

// parse reads YAML or JSON as the API server's client does.
func parse(t testing.TB, text string) map[string]any {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	var m map[string]any
	if err := utiljson.Unmarshal(raw, &m); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return m
}

func kindOf(obj map[string]any) desired.Kind {
	u := unstructured.Unstructured{Object: obj}
	gvk := u.GroupVersionKind()
	return desired.Kind{GroupVersionKind: gvk, HasStatus: gvk.Kind != "Secret" && gvk.Kind != "ConfigMap"}
}

func resourceOf(obj map[string]any) schema.GroupVersionResource {
	gvk := kindOf(obj).GroupVersionKind
	return gvk.GroupVersion().WithResource(plural(gvk.Kind))
}

// A world is a Lock and what it decides by.
type world struct {
	t      testing.TB
	inv    *lock.Inventory
	sealer *desired.Sealer
	live   map[types.UID]map[string]any
	grants grants
	judge  judge
	roots  []string // the CA bundles that are known
	lock   *lock.Lock
}

type grants map[string]bool // by resource/name

func (g grants) Covers(_ context.Context, req *admissionv1.AdmissionRequest) (string, bool) {
	return "grant-1", g[req.Resource.Resource+"/"+req.Name]
}

type judge func(*admissionv1.AdmissionRequest) []verdict.Finding

func (j judge) Judge(_ context.Context, req *admissionv1.AdmissionRequest) []verdict.Finding {
	if j == nil {
		return nil
	}
	return j(req)
}

// Owner finds what own put there.
func (w *world) Owner(gvk schema.GroupVersionKind, namespace, name string, uid types.UID) (map[string]any, bool) {
	for u, obj := range w.live {
		o := unstructured.Unstructured{Object: obj}
		if (uid == "" || u == uid) && o.GroupVersionKind().GroupKind() == gvk.GroupKind() && o.GetNamespace() == namespace && o.GetName() == name {
			return obj, true
		}
	}
	return nil, false
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, inv: lock.NewInventory(), sealer: desired.NewSealer(), live: map[types.UID]map[string]any{}, grants: grants{}}
	w.inv.SetSynced(true)
	var err error
	w.lock, err = lock.New(lock.Config{
		Inventory: w.inv, Sealer: w.sealer, Owners: w, System: system, Reconciler: reconciler, DryRunner: dryRunner,
		RootCA: func() []string { return w.roots },
		Grants: w.grants, Judge: judge(func(r *admissionv1.AdmissionRequest) []verdict.Finding { return w.judge.Judge(context.Background(), r) }),
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// own makes an object live.
func (w *world) own(text string) map[string]any {
	obj := parse(w.t, text)
	u := unstructured.Unstructured{Object: obj}
	if u.GetUID() == "" {
		w.t.Fatalf("live object without uid: %s", text)
	}
	w.live[u.GetUID()] = obj
	return obj
}

// object makes an object of a release; D is what Git says unless want is given.
func (w *world) object(text string, want ...string) lock.Object {
	w.t.Helper()
	g := parse(w.t, text)
	d := g
	if len(want) > 0 {
		d = parse(w.t, want[0])
	}
	kind := kindOf(g)
	u := &unstructured.Unstructured{Object: g}
	d = kind.Normalise(d)
	if kind.Kind == "Secret" {
		d = w.sealer.Seal(d)
	}
	return lock.Object{
		Kind: kind, Resource: resourceOf(g), Namespace: u.GetNamespace(), Name: u.GetName(),
		Manifest: u, Desired: d, File: "apps/" + u.GetName() + ".yaml", Line: 3,
	}
}

// release accepts a release of the objects.
func (w *world) release(change func(*lock.Release), objects ...lock.Object) {
	w.t.Helper()
	r := lock.Release{
		Sync: types.NamespacedName{Namespace: "team", Name: "shop"}, Revision: "main@sha1:1111111111111111111111111111111111111111",
		Mode: lock.Enforce, Writer: reconciler, Objects: objects, Applied: true,
	}
	if change != nil {
		change(&r)
	}
	if err := w.inv.Accept(r); err != nil {
		w.t.Fatal(err)
	}
}

// A try is an attempted write.
type try struct {
	user     string
	op       admissionv1.Operation
	old, new string
	sub      string
	resource schema.GroupVersionResource
	ns, name string
	dry      bool
}

func (w *world) request(x try) *admissionv1.AdmissionRequest {
	w.t.Helper()
	req := &admissionv1.AdmissionRequest{
		UID: "r", Operation: x.op, SubResource: x.sub, UserInfo: authenticationv1.UserInfo{Username: x.user}, DryRun: &x.dry,
		Namespace: x.ns, Name: x.name,
	}
	for _, part := range []struct {
		text string
		to   *runtime.RawExtension
	}{{x.old, &req.OldObject}, {x.new, &req.Object}} {
		if part.text == "" {
			continue
		}
		obj := parse(w.t, part.text)
		raw, err := json.Marshal(obj)
		if err != nil {
			w.t.Fatal(err)
		}
		part.to.Raw = raw
		u := unstructured.Unstructured{Object: obj}
		gvk := u.GroupVersionKind()
		req.Kind = metav1.GroupVersionKind{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind}
		if x.resource.Resource == "" {
			gvr := resourceOf(obj)
			req.Resource = metav1.GroupVersionResource{Group: gvr.Group, Version: gvr.Version, Resource: gvr.Resource}
		}
		if req.Namespace == "" {
			req.Namespace = u.GetNamespace()
		}
		if req.Name == "" && x.name != "-" {
			req.Name = u.GetName()
		}
	}
	if x.name == "-" { // as deletecollection and generateName have it
		req.Name = ""
	}
	if x.resource.Resource != "" {
		req.Resource = metav1.GroupVersionResource{Group: x.resource.Group, Version: x.resource.Version, Resource: x.resource.Resource}
	}
	return req
}

func (w *world) decide(x try) lock.Answer {
	w.t.Helper()
	return w.lock.Decide(context.Background(), w.request(x))
}

// A want is what a try must come to: nothing for allowed.
type want = verdict.Reason

func (w *world) check(t *testing.T, reason string, x try, wanted want) lock.Answer {
	t.Helper()
	a := w.decide(x)
	if a.Allowed != (wanted == "") || a.Reason != wanted {
		t.Errorf("%s\n%s by %s: allowed %t, reason %q, matched %q, want reason %q\n%s", reason, x.op, x.user, a.Allowed, a.Reason, a.Matched, wanted, a.Message)
	}
	return a
}
