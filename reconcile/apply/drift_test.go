package apply_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/apply"
)

// keep corrects every drift as a reconciler would, and returns how to read what
// it saw since the last call, and how to stop.
func (b *bench) keep(fresh string) (take func() []apply.Drift, end func()) {
	var mu sync.Mutex
	var seen []apply.Drift
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case d := <-b.drifts:
				mu.Lock()
				seen = append(seen, d)
				mu.Unlock()
				need, fs := b.correct(d, fresh)
				for tries := 0; tries < 3 && slices.ContainsFunc(fs, undetermined); tries++ { // so does the reconciler
					need, fs = b.correct(d, fresh)
				}
				if len(need) > 0 || len(blocking(fs)) > 0 && b.t.Context().Err() == nil {
					b.t.Errorf("correcting %s: need %v, findings %v", d.Object, need, fs)
				}
			case <-stop:
				return
			}
		}
	}()
	end = sync.OnceFunc(func() { close(stop); <-done })
	b.t.Cleanup(end)
	return func() []apply.Drift {
		mu.Lock()
		defer mu.Unlock()
		defer func() { seen = nil }()
		return seen
	}, end
}

// correct corrects a drift, with the manifest if that is needed.
func (b *bench) correct(d apply.Drift, fresh string) (need []apply.Drift, fs []verdict.Finding) {
	_, need, fs = b.a.Correct(b.t.Context(), []apply.Drift{d}, nil)
	if len(need) > 0 {
		_, need, fs = b.a.Correct(b.t.Context(), need, b.objects(fresh))
	}
	return need, fs
}

func undetermined(f verdict.Finding) bool { return f.Severity == verdict.Undetermined }

// onlyProbe proves that an object has not drifted by letting it drift: the label
// that it adds must be the only difference that is seen, in any drift so far.
func (b *bench) onlyProbe(resource, name string) {
	b.t.Helper()
	u, err := b.alice.Resource(gvrs[resource]).Namespace(b.ns).Patch(b.t.Context(), name, types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"probe":"x"}}}`), metav1.PatchOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.awaitProbe(b.t, gate.ObjectID(u))
}

// awaitProbe waits for the drift of an object that bears the probe. No drift that
// comes before it, or with it, may be of anything else.
func (b *bench) awaitProbe(t *testing.T, object string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case d := <-b.drifts:
			if len(d.Changes) != 1 || !names(d, "metadata.labels.probe") {
				t.Errorf("taken for drift: %s", describe([]apply.Drift{d}))
			}
			if d.Object == object {
				return
			}
		case <-deadline:
			t.Fatalf("the probe on %s was not seen", object)
		}
	}
}

// content is what must be as before: everything that the server alone does not
// decide.
func content(u *unstructured.Unstructured) map[string]any {
	obj := u.DeepCopy().Object
	delete(obj, "status")
	for _, f := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"} {
		unstructured.RemoveNestedField(obj, "metadata", f)
	}
	unstructured.RemoveNestedField(obj, "metadata", "annotations", "deployment.kubernetes.io/revision")
	if a, _, _ := unstructured.NestedMap(obj, "metadata", "annotations"); len(a) == 0 {
		unstructured.RemoveNestedField(obj, "metadata", "annotations")
	}
	if u.GetKind() == "Service" {
		for _, f := range []string{"clusterIP", "clusterIPs"} {
			unstructured.RemoveNestedField(obj, "spec", f)
		}
	}
	return obj
}

// driftCases are ways to change an object of web behind Git's back. A patch of
// the type apply is applied under another field manager.
var driftCases = []struct {
	name, reason   string
	resource, what string
	patch          string
	kind           types.PatchType
	path           string // that the drift must name
}{
	{"Declared", "Somebody edits what Git declares.", "configmaps", "conf",
		`{"data":{"a":"evil"}}`, types.MergePatchType, "data.a"},
	{"K1/Image", "Another image is another program.", "deployments", "web",
		`{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"evil.example.com/x:1"}]}}}}`, types.StrategicMergePatchType,
		"spec.template.spec.containers[name=app].image"},
	{"K1/NoManagedFields", "Resetting the managed fields hides who changed what.", "configmaps", "conf",
		`{"metadata":{"managedFields":[{}]},"data":{"a":"evil"}}`, types.MergePatchType, "data.a"},
	{"K34/Sidecar", "Server-side apply alone keeps a container that somebody added.", "deployments", "web",
		`{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"evil.example.com/x:1"}]}}}}`, types.StrategicMergePatchType,
		"spec.template.spec.containers[name=side]"},
	{"K2/InitContainer", "A list that Git does not have at all.", "deployments", "web",
		`{"spec":{"template":{"spec":{"initContainers":[{"name":"side","image":"evil.example.com/x:1"}]}}}}`, types.StrategicMergePatchType,
		"spec.template.spec.initContainers"},
	{"K2/HostPID", "A field that Git leaves to its default.", "deployments", "web",
		`{"spec":{"template":{"spec":{"hostPID":true}}}}`, types.MergePatchType, "spec.template.spec.hostPID"},
	{"Env", "An added variable can turn a program round.", "deployments", "web",
		`{"spec":{"template":{"spec":{"containers":[{"name":"app","env":[{"name":"LD_PRELOAD","value":"/x"}]}]}}}}`, types.StrategicMergePatchType,
		"spec.template.spec.containers[name=app].env[name=LD_PRELOAD]"},
	{"Port", "An added port.", "deployments", "web",
		`{"spec":{"template":{"spec":{"containers":[{"name":"app","ports":[{"containerPort":9}]}]}}}}`, types.StrategicMergePatchType,
		"spec.template.spec.containers[name=app].ports"},
	{"Args", "A list of plain values.", "deployments", "web",
		`[{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--insecure"}]`, types.JSONPatchType,
		"spec.template.spec.containers[name=app].args"},
	{"K33/EnvOrder", "Order decides what $(A) in a value means.", "deployments", "web",
		`[{"op":"replace","path":"/spec/template/spec/containers/0/env","value":[{"name":"B","value":"2"},{"name":"A","value":"1"}]}]`, types.JSONPatchType,
		"spec.template.spec.containers[name=app].env"},
	{"LostDefault", "A default that is not in Git is still what Git means.", "deployments", "web",
		`{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":0}}}}`, types.MergePatchType,
		"spec.template.spec.terminationGracePeriodSeconds"},
	{"Scale", "Nobody but Git scales what no autoscaler of the release scales.", "deployments", "web",
		`{"spec":{"replicas":0}}`, types.MergePatchType, "spec.replicas"},
	{"Label", "An added label changes who selects the object.", "deployments", "web",
		`{"metadata":{"labels":{"tier":"x"}}}`, types.MergePatchType, "metadata.labels.tier"},
	{"Annotation", "Annotations steer controllers.", "services", "web",
		`{"metadata":{"annotations":{"evil.example.com/x":"y"}}}`, types.MergePatchType, "metadata.annotations"},
	{"OwnerReference", "An owner that does not exist has the object garbage-collected.", "configmaps", "conf",
		`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"conf2","uid":"REFERENT"}]}}`, types.MergePatchType,
		"metadata.ownerReferences"},
	{"Finalizer", "A finalizer keeps the object from ever going.", "configmaps", "conf",
		`{"metadata":{"finalizers":["evil.example.com/x"]}}`, types.MergePatchType, "metadata.finalizers"},
	{"CoOwned", "A field that another manager applied.", "configmaps", "conf",
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"conf"},"data":{"extra":"x"}}`, types.ApplyPatchType, "data.extra"},
	{"Secret", "A value of a Secret.", "secrets", "cred",
		`{"data":{"password":"ZXZpbA=="}}`, types.MergePatchType, "data.password"},
	{"SecretKey", "A key added to a Secret.", "secrets", "cred",
		`{"data":{"more":"ZXZpbA=="}}`, types.MergePatchType, "data.more"},
	{"K3/Unlabelled", "Whoever strips our labels does not get out of sight.", "configmaps", "conf",
		`{"metadata":{"labels":null},"data":{"a":"evil"}}`, types.MergePatchType, "metadata.labels"},
	{"K3/Relabelled", "Nor who gives the object to somebody else.", "configmaps", "conf",
		`{"metadata":{"labels":{"gitgate.dev/name":"other"}}}`, types.MergePatchType, `metadata.labels["gitgate.dev/name"]`},
	{"Headless", "A Service that loses its address is another Service.", "services", "web",
		`{"spec":{"externalIPs":["198.51.100.1"]}}`, types.MergePatchType, "spec.externalIPs"},
}

func TestDrift(t *testing.T) {
	b := newBench(t)
	b.must(`{apiVersion: v1, kind: ConfigMap, metadata: {name: conf2, namespace: NS}}`)
	referent := string(b.get("configmaps", "conf2").GetUID())
	b.apply(b.newPlan(web))
	eventually(t, 5*time.Second, "the watches catch up", func() bool { return len(b.a.Blind()) == 0 })
	eventually(t, 10*time.Second, "the rollout", func() bool {
		n, _, _ := unstructured.NestedInt64(b.get("deployments", "web").Object, "status", "availableReplicas")
		return n == 1
	})
	seen, unkeep := b.keep(web)
	var took []time.Duration
	for _, tc := range driftCases {
		t.Run(tc.name, func(t *testing.T) {
			was := content(b.get(tc.resource, tc.what))
			seen()
			force := true
			o := metav1.PatchOptions{FieldManager: "meddler"}
			if tc.kind == types.ApplyPatchType {
				o.Force = &force
			}
			patch := strings.ReplaceAll(tc.patch, "REFERENT", referent)
			start := time.Now()
			changed, err := b.alice.Resource(gvrs[tc.resource]).Namespace(b.ns).Patch(t.Context(), tc.what, tc.kind, []byte(patch), o)
			if err != nil {
				t.Fatal(err)
			}
			if cmp.Equal(was, content(changed)) {
				t.Fatal("the patch changed nothing: the test would prove nothing")
			}
			eventually(t, 5*time.Second, tc.reason+" It is corrected", func() bool {
				return cmp.Equal(was, content(b.get(tc.resource, tc.what)))
			})
			took = append(took, time.Since(start))
			drifts := seen()
			if !slices.ContainsFunc(drifts, func(d apply.Drift) bool { return names(d, tc.path) }) {
				t.Errorf("%s\nno drift names %s: %s", tc.reason, tc.path, describe(drifts))
			}
			if text := describe(drifts); tc.resource == "secrets" && (strings.Contains(text, "ZXZpbA") || strings.Contains(text, "hunter2") || strings.Contains(text, "sealed:")) {
				t.Errorf("a drift tells a secret: %s", text)
			}
		})
	}
	t.Run("Deleted", func(t *testing.T) {
		for resource, name := range map[string]string{"configmaps": "conf", "secrets": "cred", "deployments": "web"} {
			was := b.get(resource, name)
			start := time.Now()
			if err := b.alice.Resource(gvrs[resource]).Namespace(b.ns).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			eventually(t, 5*time.Second, resource+" is there again", func() bool {
				u, err := b.try(resource, name)
				return err == nil && u.GetUID() != was.GetUID() && cmp.Equal(content(was), content(u))
			})
			took = append(took, time.Since(start))
		}
	})
	t.Run("OpenLeaves", func(t *testing.T) {
		gvr := gvrs["deployments"]
		_, err := b.alice.Resource(gvr).Namespace(b.ns).Patch(t.Context(), "web", types.MergePatchType,
			[]byte(`{"metadata":{"annotations":{"deployment.kubernetes.io/revision":"7"}}}`), metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		unkeep()
		b.onlyProbe("deployments", "web")
	})
	slices.Sort(took)
	t.Logf("corrected within %v at the median, %v at most, of %d", took[len(took)/2], took[len(took)-1], len(took))
	if median := took[len(took)/2]; median > 300*time.Millisecond {
		t.Errorf("median %v, want at most 300ms", median)
	}
}

func names(d apply.Drift, path string) bool {
	for _, c := range d.Changes {
		if p := c.Path.String(); p == path || strings.HasPrefix(p, path+".") || strings.HasPrefix(p, path+"[") {
			return true
		}
	}
	return false
}

func describe(ds []apply.Drift) string {
	var out []string
	for _, d := range ds {
		raw, _ := json.Marshal(d.Changes)
		out = append(out, fmt.Sprintf("%s missing=%t %s", d.Object, d.Missing, raw))
	}
	return strings.Join(out, "; ")
}

// TestAttack_K30 is the case that server-side apply gets wrong by design: whoever
// applies our own content becomes an owner of it, and when Git drops a field it
// stays, for its other owner.
func TestAttack_K30_CoOwnerOfOurContent(t *testing.T) {
	b := newBench(t)
	b.apply(b.newPlan(web))
	force := true
	manifest := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"conf"},"data":{"a":"1"}}`
	if _, err := b.alice.Resource(gvrs["configmaps"]).Namespace(b.ns).Patch(t.Context(), "conf", types.ApplyPatchType,
		[]byte(manifest), metav1.PatchOptions{FieldManager: "meddler", Force: &force}); err != nil {
		t.Fatal(err)
	}
	b.apply(b.newPlan(strings.Replace(web, `data: {a: "1"}`, `data: {b: "1"}`, 1)))
	if got := fmt.Sprint(b.get("configmaps", "conf").Object["data"]); got != "map[b:1]" {
		t.Errorf("data = %s; the field that Git dropped must go though another owns it", got)
	}
}

// TestAttack_K34: what was added while nobody watched goes with the next apply,
// also in a process that never saw the object before.
func TestAttack_K34_AddedWhileAway(t *testing.T) {
	b := newBench(t)
	b.apply(b.newPlan(web))
	b.a.Forget(apply.Owner{Namespace: b.ns, Name: "app"})
	if _, err := b.alice.Resource(gvrs["deployments"]).Namespace(b.ns).Patch(t.Context(), "web", types.StrategicMergePatchType,
		[]byte(`{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"evil.example.com/x:1"}]}}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	again := b.applier(nil)
	if _, fs := again.Apply(t.Context(), b.newPlan(web)); len(blocking(fs)) > 0 {
		t.Fatal(fs)
	}
	list, _, _ := unstructured.NestedSlice(b.get("deployments", "web").Object, "spec", "template", "spec", "containers")
	if len(list) != 1 {
		t.Errorf("%d containers, want the one of Git", len(list))
	}
}
