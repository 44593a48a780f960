package desired_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"gitgate.dev/gitgate/policy/desired"
)

func kind(group, version, name string) desired.Kind {
	return desired.Kind{GroupVersionKind: schema.GroupVersionKind{Group: group, Version: version, Kind: name}, HasStatus: true}
}

var (
	deployment = kind("apps", "v1", "Deployment")
	service    = kind("", "v1", "Service")
	configMap  = kind("", "v1", "ConfigMap")
	secret     = kind("", "v1", "Secret")
	policy     = kind("networking.k8s.io", "v1", "NetworkPolicy")
	widget     = kind("example.com", "v1", "Widget")
	job        = kind("batch", "v1", "Job")
	pod        = kind("", "v1", "Pod")
)

// parse reads JSON as a Kubernetes client does.
func parse(t testing.TB, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := utiljson.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return m
}

func manifest(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	return &unstructured.Unstructured{Object: parse(t, text)}
}

func render(changes []desired.Change) []string {
	out := []string{}
	for _, c := range changes {
		out = append(out, c.Path.String())
	}
	return out
}

func TestNormalise(t *testing.T) {
	for name, tc := range map[string]struct {
		reason    string
		kind      desired.Kind
		in, equal string
		want      bool
	}{
		"ServerMetadata": {"What the server alone decides is not content.", configMap,
			`{"metadata":{"name":"a","uid":"u","resourceVersion":"1","generation":1,"creationTimestamp":"x","managedFields":[{}]}}`,
			`{"metadata":{"name":"a"}}`, true},
		"Status": {"Status is a subresource here.", deployment, `{"status":{"a":1}}`, `{}`, true},
		"StatusAsContent": {"A kind without /status has content of that name.",
			desired.Kind{GroupVersionKind: widget.GroupVersionKind}, `{"status":{"a":1}}`, `{}`, false},
		"Null":            {"Null is absent.", widget, `{"spec":{"a":null}}`, `{"spec":{}}`, true},
		"EmptyLabels":     {"Metadata collections may be empty or absent.", widget, `{"metadata":{"labels":{},"finalizers":[]}}`, `{"metadata":{}}`, true},
		"EmptyListBuilt":  {"Storage cannot tell an empty list of a built-in kind from none.", policy, `{"spec":{"egress":[]}}`, `{"spec":{}}`, true},
		"EmptyListCustom": {"For a custom kind it may mean something: Cilium's fromEndpoints.", widget, `{"spec":{"from":[]}}`, `{"spec":{}}`, false},
		"EmptyObject": {"namespaceSelector: {} admits every namespace; its absence none.", policy,
			`{"spec":{"ingress":[{"from":[{"podSelector":{},"namespaceSelector":{}}]}]}}`,
			`{"spec":{"ingress":[{"from":[{"podSelector":{}}]}]}}`, false},
		"EmptyPeer": {"from: [{podSelector: {}}] is not ingress: [{}], which admits everybody.", policy,
			`{"spec":{"ingress":[{"from":[{"podSelector":{}}]}]}}`, `{"spec":{"ingress":[{}]}}`, false},
		"OwnUID": {"A Job's selector holds its UID.", job,
			`{"metadata":{"uid":"u1"},"spec":{"selector":{"matchLabels":{"controller-uid":"u1"}}}}`,
			`{"metadata":{"uid":"u2"},"spec":{"selector":{"matchLabels":{"controller-uid":"u2"}}}}`, true},
		"OtherUID": {"Another's UID is content.", job,
			`{"metadata":{"uid":"u1"},"spec":{"x":"u3"}}`, `{"metadata":{"uid":"u2"},"spec":{"x":"u2"}}`, false},
		"TokenVolume": {"The names of token volumes are random.", pod,
			`{"spec":{"volumes":[{"name":"kube-api-access-abcde"}]}}`, `{"spec":{"volumes":[{"name":"kube-api-access-vwxyz"}]}}`, true},
		"TokenVolumeElsewhere": {"In a template a name is what Git says.", deployment,
			`{"spec":{"name":"kube-api-access-abcde"}}`, `{"spec":{"name":"kube-api-access-vwxyz"}}`, false},
		"Integers": {"1 and 1.0 are one number.", widget, `{"spec":{"a":1}}`, `{"spec":{"a":1.0}}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			in, other := parse(t, tc.in), parse(t, tc.equal)
			before, _ := json.Marshal(in)
			a, b := tc.kind.Normalise(in), tc.kind.Normalise(other)
			var m *desired.Mask
			if got := len(m.Diff(a, b)) == 0; got != tc.want {
				t.Errorf("%s\nequal = %t: %v", tc.reason, got, render(m.Diff(a, b)))
			}
			if got := m.Digest(a) == m.Digest(b); got != tc.want {
				t.Errorf("%s\nequal digests = %t", tc.reason, got)
			}
			if after, _ := json.Marshal(in); string(before) != string(after) {
				t.Errorf("the argument was changed to %s", after)
			}
		})
	}
}

const deploymentG = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","labels":{"app":"web"}},"spec":{"replicas":2,
"template":{"spec":{"containers":[
{"name":"app","image":"a:1","args":["x","y"],"env":[{"name":"A","value":"1"},{"name":"B","value":"2"}],"ports":[{"containerPort":80,"protocol":"TCP"}]},
{"name":"log","image":"l:1"}]}}}}`

func TestDiff(t *testing.T) {
	for name, tc := range map[string]struct {
		reason   string
		old, new string // text replaced in deploymentG
		want     []string
	}{
		"Image": {"An item of a keyed list is named by its key.", `"a:1"`, `"a:2"`, []string{"spec.template.spec.containers[name=app].image"}},
		"Added": {"A sidecar.", `{"name":"log"`, `{"name":"side","image":"s"},{"name":"log"`, []string{"spec.template.spec.containers[name=side]"}},
		"Removed": {"A container less.", `,
{"name":"log","image":"l:1"}`, ``, []string{"spec.template.spec.containers[name=log]"}},
		"Reordered": {"K33: order decides what $(A) in a later value means.", `{"name":"A","value":"1"},{"name":"B","value":"2"}`,
			`{"name":"B","value":"2"},{"name":"A","value":"1"}`, []string{"spec.template.spec.containers[name=app].env"}},
		"Duplicate": {"Of two items with one key the last may win.", `{"name":"A","value":"1"},`,
			`{"name":"A","value":"1"},{"name":"A","value":"9"},`, []string{"spec.template.spec.containers[name=app].env"}},
		"Args":  {"Plain values are compared as one.", `["x","y"]`, `["x","y","z"]`, []string{"spec.template.spec.containers[name=app].args"}},
		"Port":  {"Several fields can be a key.", `80,`, `81,`, []string{"spec.template.spec.containers[name=app].ports[containerPort=80,protocol=TCP]", "spec.template.spec.containers[name=app].ports[containerPort=81,protocol=TCP]"}},
		"Type":  {"A string is no number.", `"replicas":2`, `"replicas":"2"`, []string{"spec.replicas"}},
		"Quote": {"A label's name is quoted.", `"app":"web"`, `"app":"web","a.b/c":"d"`, []string{`metadata.labels["a.b/c"]`}},
		"None":  {"Nothing.", ``, ``, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			g := manifest(t, deploymentG)
			live := parse(t, strings.Replace(deploymentG, tc.old, tc.new, 1))
			m := deployment.NewMask(g, desired.MaskOptions{})
			changes := m.Diff(g.Object, live)
			if diff := cmp.Diff(tc.want, render(changes)); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
			if (m.Digest(g.Object) == m.Digest(live)) != (len(changes) == 0) {
				t.Errorf("%s\ndigest and diff disagree", tc.reason)
			}
			checkPatch(t, m, g.Object, live)
		})
	}
}

func TestMask(t *testing.T) {
	const (
		svc = `{"metadata":{"name":"s"},"spec":{"ports":[{"name":"a","port":80},{"name":"b","port":81,"nodePort":30001}]}}`
		d   = `{"metadata":{"name":"s"},"spec":{"clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1"],"ports":[{"name":"a","port":80,"nodePort":30000},{"name":"b","port":81,"nodePort":30001}]}}`
	)
	for name, tc := range map[string]struct {
		reason     string
		kind       desired.Kind
		g, d, live string
		opts       desired.MaskOptions
		want       []string
	}{
		"SlotsFree": {"The server allocates what the manifest leaves out.", service, svc, d,
			strings.NewReplacer("10.0.0.1", "10.0.0.9", "30000", "31000").Replace(d), desired.MaskOptions{}, []string{}},
		"SlotDeclared": {"A port that Git names is Git's.", service, svc, d, strings.Replace(d, "30001", "31001", 1),
			desired.MaskOptions{}, []string{"spec.ports[name=b].nodePort"}},
		"Headless": {"None is not an address that the server allocates.", service, svc, d, strings.ReplaceAll(d, "10.0.0.1", "None"),
			desired.MaskOptions{}, []string{"spec.clusterIP", "spec.clusterIPs"}},
		"Revision": {"The deployment controller counts.", deployment, `{"metadata":{}}`, `{"metadata":{"name":"x"}}`,
			`{"metadata":{"name":"x","annotations":{"deployment.kubernetes.io/revision":"3"}}}`, desired.MaskOptions{}, []string{}},
		"RevisionAndMore": {"Beside it nothing is open.", deployment, `{"metadata":{}}`, `{"metadata":{"name":"x"}}`,
			`{"metadata":{"name":"x","annotations":{"deployment.kubernetes.io/revision":"3","evil":"x"}}}`, desired.MaskOptions{},
			[]string{"metadata.annotations"}},
		"Finalizer": {"The garbage collector's own tokens.", deployment, `{"metadata":{}}`, `{"metadata":{}}`,
			`{"metadata":{"finalizers":["foregroundDeletion"]}}`, desired.MaskOptions{}, []string{}},
		"OtherFinalizer": {"And no others.", deployment, `{"metadata":{}}`, `{"metadata":{}}`,
			`{"metadata":{"finalizers":["foregroundDeletion","evil/x"]}}`, desired.MaskOptions{}, []string{"metadata.finalizers"}},
		"OwnerDropped": {"The garbage collector may drop owners.", deployment, `{"metadata":{}}`, `{"metadata":{"ownerReferences":[{"uid":"u","name":"n"}]}}`,
			`{"metadata":{}}`, desired.MaskOptions{}, []string{}},
		"OwnerAdded": {"Nobody may add one: it would have the object collected.", deployment, `{"metadata":{}}`, `{"metadata":{}}`,
			`{"metadata":{"ownerReferences":[{"uid":"u","name":"n"}]}}`, desired.MaskOptions{}, []string{"metadata.ownerReferences"}},
		"Autoscaled": {"An autoscaler of the release scales what Git leaves out.", deployment, `{"spec":{}}`, `{"spec":{"replicas":1}}`,
			`{"spec":{"replicas":7}}`, desired.MaskOptions{Autoscaled: true}, []string{}},
		"AutoscaledDeclared": {"What Git declares is Git's.", deployment, `{"spec":{"replicas":1}}`, `{"spec":{"replicas":1}}`,
			`{"spec":{"replicas":7}}`, desired.MaskOptions{Autoscaled: true}, []string{"spec.replicas"}},
		"NotAutoscaled": {"Without an autoscaler in Git nobody scales.", deployment, `{"spec":{}}`, `{"spec":{"replicas":1}}`,
			`{"spec":{"replicas":7}}`, desired.MaskOptions{}, []string{"spec.replicas"}},
		"Ignored": {"The plan leaves it to others.", widget, `{"spec":{}}`, `{"spec":{"a":{"b":1},"c":1}}`,
			`{"spec":{"a":{"b":2},"c":2}}`, desired.MaskOptions{Ignore: [][]string{{"spec", "a", "b"}}}, []string{"spec.c"}},
		"IgnoredItem": {"By position.", deployment, deploymentG, deploymentG, strings.Replace(deploymentG, `"l:1"`, `"l:2"`, 1),
			desired.MaskOptions{Ignore: [][]string{{"spec", "template", "spec", "containers", "1", "image"}}}, []string{}},
		"TokenSecret": {"The token controller fills it in.", secret, `{"type":"kubernetes.io/service-account-token"}`, `{"type":"kubernetes.io/service-account-token"}`,
			`{"type":"kubernetes.io/service-account-token","data":{"token":"eA=="}}`, desired.MaskOptions{}, []string{}},
		"OtherSecret": {"And no other Secret.", secret, `{"type":"Opaque"}`, `{"type":"Opaque"}`,
			`{"type":"Opaque","data":{"token":"eA=="}}`, desired.MaskOptions{}, []string{"data"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := tc.kind.NewMask(manifest(t, tc.g), tc.opts)
			d, live := parse(t, tc.d), parse(t, tc.live)
			if diff := cmp.Diff(tc.want, render(m.Diff(d, live))); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
			if len(tc.want) > 0 && m.Digest(d) == m.Digest(live) {
				t.Errorf("%s\nthe digest hides it", tc.reason)
			}
			checkPatch(t, m, d, live)
		})
	}
}

// checkPatch asserts what Patch promises: applied to live it leaves no difference,
// and there is a patch only if there is one.
func checkPatch(t testing.TB, m *desired.Mask, d, live map[string]any) {
	t.Helper()
	patch := m.Patch(d, live, "uid")
	changes := m.Diff(d, live)
	if (patch == nil) != (len(changes) == 0) {
		t.Fatalf("patch %v, but changes %v", patch, render(changes))
	}
	if patch == nil {
		return
	}
	raw, err := json.Marshal(patch)
	if err != nil {
		t.Fatal(err)
	}
	merged, _ := mergePatch(parse(t, mustJSON(t, live)), parse(t, string(raw))).(map[string]any)
	if left := m.Diff(d, merged); len(left) > 0 {
		t.Fatalf("after the patch %s there is still a difference at %v", raw, render(left))
	}
}

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// mergePatch is RFC 7396 to the letter.
func mergePatch(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, ok := target.(map[string]any)
	if !ok {
		t = map[string]any{}
	}
	for k, v := range p {
		if v == nil {
			delete(t, k)
		} else {
			t[k] = mergePatch(t[k], v)
		}
	}
	return t
}

// FuzzPatch: whatever the two objects are, Digest and Diff agree and Patch removes
// every difference.
func FuzzPatch(f *testing.F) {
	f.Add(deploymentG, strings.Replace(deploymentG, "a:1", "a:2", 1))
	f.Add(`{"metadata":{"annotations":{"deployment.kubernetes.io/revision":"1","x":"y"},"finalizers":["orphan","z"]}}`, `{"metadata":{}}`)
	f.Add(`{"spec":{"a":[{"name":"x"},{"name":"x"}],"b":[[1],[2]]}}`, `{"spec":{"a":[{"name":"x"}],"b":[[2],[1]],"replicas":1.5}}`)
	f.Add(`{"spec":{"a":{}}}`, `{"spec":{"a":[]}}`)
	f.Fuzz(func(t *testing.T, a, b string) {
		var d, live map[string]any
		if utiljson.Unmarshal([]byte(a), &d) != nil || utiljson.Unmarshal([]byte(b), &live) != nil || d == nil || live == nil {
			t.Skip()
		}
		d, live = deployment.Normalise(d), deployment.Normalise(live)
		m := deployment.NewMask(&unstructured.Unstructured{Object: d}, desired.MaskOptions{Autoscaled: true, Ignore: [][]string{{"spec", "i", "0", "x"}}})
		if m.Digest(d) == m.Digest(live) && len(m.Diff(d, live)) > 0 {
			t.Fatalf("one digest, but %v", render(m.Diff(d, live)))
		}
		checkPatch(t, m, d, live)
	})
}

func TestSeal(t *testing.T) {
	s := desired.NewSealer()
	raw := parse(t, `{"metadata":{"name":"s","annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{hunter2}"}},"data":{"a":"aHVudGVyMg==","b":"aHVudGVyMg=="}}`)
	sealed := s.Seal(raw)
	text := mustJSON(t, sealed)
	if strings.Contains(text, "hunter2") || strings.Contains(text, "aHVudGVyMg") {
		t.Errorf("a value shows: %s", text)
	}
	data := sealed["data"].(map[string]any)
	if data["a"] == data["b"] {
		t.Error("equal values of two keys look equal: that tells something")
	}
	if again := s.Seal(raw)["data"].(map[string]any); again["a"] != data["a"] {
		t.Error("the same value must look the same each time")
	}
	if other := desired.NewSealer().Seal(raw)["data"].(map[string]any); other["a"] == data["a"] {
		t.Error("another key must give another digest")
	}
	if raw["data"].(map[string]any)["a"] != "aHVudGVyMg==" {
		t.Error("the argument was changed")
	}
}

func TestManifest(t *testing.T) {
	in := manifest(t, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","uid":"u","managedFields":[]},"data":{"a":"eA=\n=","c":"eQ=="},"stringData":{"a":"new","b":"x"}}`)
	g, err := secret.Manifest(in)
	if err != nil {
		t.Fatal(err)
	}
	want := parse(t, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"data":{"a":"bmV3","b":"eA==","c":"eQ=="}}`)
	if diff := cmp.Diff(want, g.Object); diff != "" {
		t.Error(diff)
	}
	if in.Object["stringData"] == nil || in.GetUID() == "" {
		t.Error("the argument was changed")
	}
	for name, bad := range map[string]string{
		"NotBase64": `{"metadata":{},"data":{"k":"***hunter2***"}}`,
		"NotString": `{"metadata":{},"stringData":{"k":{"hunter2":"x"}}}`,
		"NotObject": `{"metadata":{},"data":"hunter2"}`,
		"NoMeta":    `{}`,
	} {
		if _, err := secret.Manifest(manifest(t, bad)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: error %v, want one without values", name, err)
		}
	}
}

func TestUnder(t *testing.T) {
	const token = "gitgate-0123456789abcdef0123"
	t.Run("Job", func(t *testing.T) {
		g := manifest(t, `{"metadata":{"name":"real"},"spec":{"own":"real"}}`)
		r, err := job.Under(g, token)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, _ := unstructured.NestedString(r.Object, "metadata", "name"); got != token || g.GetName() != "real" {
			t.Errorf("renamed to %q, original %q", got, g.GetName())
		}
		back, err := r.Back([]byte(`{"metadata":{"name":"` + token + `"},"spec":{"labels":{"job-name":"` + token + `"},"own":"real"}}`))
		if err != nil || string(back) != `{"metadata":{"name":"real"},"spec":{"labels":{"job-name":"real"},"own":"real"}}` {
			t.Errorf("back: %s, %v", back, err)
		}
	})
	t.Run("Definition", func(t *testing.T) {
		crd := kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
		text := `{"metadata":{"name":"widgets.example.com"},"spec":{"group":"example.com"}}`
		r, err := crd.Under(manifest(t, text), token)
		if err != nil {
			t.Fatal(err)
		}
		if got := mustJSON(t, r.Object); !strings.Contains(got, `"widgets.`+token+`.example.com"`) {
			t.Errorf("renamed to %s", got)
		}
		back, err := r.Back([]byte(mustJSON(t, r.Object)))
		if err != nil || string(back) != text {
			t.Errorf("back: %s, %v", back, err)
		}
	})
	t.Run("Service", func(t *testing.T) {
		g := manifest(t, `{"metadata":{"name":"s"},"spec":{"clusterIP":"10.0.0.5","ports":[{"port":1,"nodePort":30000}]}}`)
		r, err := service.Under(g, token)
		if err != nil || strings.Contains(mustJSON(t, r.Object), "30000") || strings.Contains(mustJSON(t, r.Object), "10.0.0.5") {
			t.Fatalf("what only one Service can have must be left out: %v %v", r.Object, err)
		}
		d := parse(t, `{"spec":{"clusterIP":"10.0.0.99","clusterIPs":["10.0.0.99"],"ports":[{"port":1,"nodePort":31000}]}}`)
		service.KeepAllocations(d, g)
		want := parse(t, `{"spec":{"clusterIP":"10.0.0.5","clusterIPs":["10.0.0.5"],"ports":[{"port":1,"nodePort":30000}]}}`)
		if diff := cmp.Diff(want, d); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("OddName", func(t *testing.T) {
		r, err := kind("rbac.authorization.k8s.io", "v1", "Role").Under(manifest(t, `{"metadata":{"name":"a\"b"}}`), token)
		if err != nil {
			t.Fatal(err)
		}
		back, err := r.Back([]byte(`{"n":"` + token + `"}`))
		if err != nil || parse(t, string(back))["n"] != `a"b` {
			t.Errorf("back: %s, %v", back, err)
		}
	})
}

func TestParsePointer(t *testing.T) {
	got, err := desired.ParsePointer("/metadata/annotations/a.b~1c~0d")
	if err != nil || !slices.Equal(got, []string{"metadata", "annotations", "a.b/c~d"}) {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"", "spec", "/", "/a//b", "/a~2", "/a~", "/" + strings.Repeat("a", 2000), strings.Repeat("/a", 40)} {
		if _, err := desired.ParsePointer(bad); err == nil {
			t.Errorf("%.20q was accepted", bad)
		}
	}
}

// BenchmarkCompare is what every event of a watch costs.
func BenchmarkCompare(b *testing.B) {
	live := parse(b, deploymentG)
	containers := live["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
	list := containers["containers"].([]any)
	for i := range 4 {
		c := parse(b, mustJSON(b, list[0]))
		c["name"] = fmt.Sprintf("c%d", i)
		list = append(list, c)
	}
	containers["containers"] = list
	m := deployment.NewMask(&unstructured.Unstructured{Object: live}, desired.MaskOptions{})
	want := m.Digest(deployment.Normalise(live))
	b.ReportAllocs()
	for b.Loop() {
		if m.Digest(deployment.Normalise(live)) != want {
			b.Fatal("differs from itself")
		}
	}
}
