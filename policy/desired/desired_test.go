package desired_test

import (
	"encoding/json"
	"fmt"
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
