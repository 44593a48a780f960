package lock_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
)

// posted makes a request that creates something, of YAML.
func posted(text string, twin int) func(path string) request {
	return func(path string) request {
		return request{verb: http.MethodPost, path: path, media: runtime.ContentTypeJSON, body: encode(manifest(text)), twin: twin}
	}
}

// written writes what is there already in every way: subresources cannot be posted.
func (in *installation) written(t *testing.T, who *caller, path string, edit func(map[string]any), want ...verdict.Reason) {
	t.Helper()
	for _, m := range methods {
		t.Run(m.name, func(t *testing.T) {
			in.refused(t, who, func(path string) request { return in.edited(t, m, path, edit) }, path, want...)
		})
	}
}

// podOf is a Pod of the Deployment web in a namespace.
func (in *installation) podOf(t *testing.T, namespace string) corev1.Pod {
	t.Helper()
	var pods corev1.PodList
	if err := in.Client.List(t.Context(), &pods, client.InNamespace(namespace), client.MatchingLabels{"app": "web"}); err != nil || len(pods.Items) == 0 {
		t.Fatalf("no Pod of web in %s: %v", namespace, err)
	}
	return pods.Items[0]
}

func TestAttack_K5_Subresources(t *testing.T) {
	in := begin(t)
	t.Run("Scale", func(t *testing.T) {
		in.written(t, in.alice, deployment+"/scale", set(int64(7), "spec", "replicas"), verdict.SubresourceDenied)
	})
	// Of a Pod that no node has: simulated nodes cannot resize what runs.
	resize := list(first(set("15m", "resources", "limits", "cpu")), "spec", "containers")
	t.Run("Resize", func(t *testing.T) {
		for _, m := range methods[:3] { // a Pod cannot be applied through it
			t.Run(m.name, func(t *testing.T) {
				in.refused(t, in.alice, func(path string) request { return in.edited(t, m, path, resize) }, core+"pods/idle/resize",
					verdict.SubresourceDenied, verdict.ContentMismatch)
			})
		}
	})
	debug := set([]any{map[string]any{"name": "debug", "image": "evil.example.com/miner"}}, "spec", "ephemeralContainers")
	t.Run("EphemeralContainers", func(t *testing.T) {
		for _, m := range methods[:3] {
			t.Run(m.name, func(t *testing.T) {
				in.refused(t, in.alice, func(path string) request { return in.edited(t, m, path, debug) }, core+"pods/bare/ephemeralcontainers",
					verdict.SubresourceDenied)
			})
		}
	})
	t.Run("EphemeralContainersDerived", func(t *testing.T) {
		name := in.podOf(t, locked).Name
		in.refusedAlone(t, in.alice, in.edited(t, methods[2], core+"pods/"+name+"/ephemeralcontainers", debug), verdict.SubresourceDenied)
	})
}

// refusedAlone is refused for what has no twin of its name.
func (in *installation) refusedAlone(t *testing.T, who *caller, r request, want ...verdict.Reason) {
	t.Helper()
	in.refused(t, who, func(string) request { return r }, "", want...)
}

// A lodging is what of an object's metadata may be kept through a subresource.
func lodging(obj map[string]any) map[string]any {
	meta, _ := obj["metadata"].(map[string]any)
	out := map[string]any{}
	for _, k := range []string{"labels", "annotations", "finalizers", "ownerReferences"} {
		if meta[k] != nil {
			out[k] = meta[k]
		}
	}
	return out
}

// TestAttack_K6_StatusMetadata writes metadata through every subresource that
// discovery knows, of an object of every kind that is in Git. A server that drops
// what it was sent has changed nothing and may say so.
func TestAttack_K6_StatusMetadata(t *testing.T) {
	in := begin(t)
	edits := map[string]func(map[string]any){
		"Label":      set("1", "metadata", "labels", "evil.example.com/x"),
		"Strip":      drop("metadata", "labels", "gitgate.dev/name"),
		"Annotation": set("1", "metadata", "annotations", "evil.example.com/x"),
		"Finalizer":  set([]any{"evil.example.com/keep"}, "metadata", "finalizers"),
		"Owner":      set([]any{map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1"}}, "metadata", "ownerReferences"),
	}
	paths := in.subresources(t)
	if len(paths) < 14 || paths["v1.namespaces/finalize"] == "" {
		t.Fatalf("only %d subresources of what is in Git: %s", len(paths), slices.Sorted(maps.Keys(paths)))
	}
	for name, path := range paths {
		t.Run(name, func(t *testing.T) {
			for name, edit := range edits {
				for _, m := range methods {
					t.Run(name+"/"+m.name, func(t *testing.T) { in.keepsNothing(t, m, path, edit) })
				}
			}
		})
	}
}

// TestAttack_K6_WithoutLock is the negative control: where nothing is locked, servers
// keep much of what they are sent.
func TestAttack_K6_WithoutLock(t *testing.T) {
	in := begin(t)
	kept := 0
	for _, path := range in.subresources(t) {
		twin := strings.ReplaceAll(path, locked, free)
		if !strings.HasSuffix(twin, "/status") || twin == path {
			continue
		}
		got := in.ask(t, in.alice, in.edited(t, methods[2], twin, set("1", "metadata", "annotations", "evil.example.com/x")), true)
		if got.code == http.StatusOK && strings.Contains(string(got.body), "evil.example.com/x") {
			kept++
		}
	}
	if kept < 8 {
		t.Errorf("only %d kinds keep an annotation: the attacks prove little", kept)
	}
}

// keepsNothing writes through a subresource and fails unless it is refused or
// leaves the metadata as it was.
func (in *installation) keepsNothing(t *testing.T, m method, path string, edit func(map[string]any)) {
	t.Helper()
	main := path[:strings.LastIndexByte(path, '/')]
	before := lodging(in.get(t, main))
	was := in.get(t, main)
	if strings.HasSuffix(path, "/status") {
		was = in.get(t, path)
	}
	is := runtime.DeepCopyJSON(was)
	edit(is)
	r := m.make(path, was, is)
	for _, dry := range []bool{true, false} {
		got := in.ask(t, in.alice, r, dry)
		if refusal := got.code == http.StatusForbidden; refusal && !says(got.status.Message, []verdict.Reason{
			verdict.SubresourceDenied, verdict.ContentMismatch, verdict.UndeclaredField,
		}) {
			t.Errorf("dry run %t: refused for another reason: %s", dry, got.status.Message)
		} else if got.code/100 == 2 && dry {
			var answer map[string]any
			if err := json.Unmarshal(got.body, &answer); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, lodging(answer)); diff != "" && strings.HasSuffix(path, "/status") {
				t.Errorf("a dry run keeps (-before +after):\n%s", diff)
			}
		}
	}
	if diff := cmp.Diff(before, lodging(in.get(t, main))); diff != "" {
		t.Errorf("%s changed what is kept (-before +after):\n%s", path, diff)
	}
}

// subresources finds the subresources that can be written of what is in Git.
func (in *installation) subresources(t *testing.T) map[string]string {
	t.Helper()
	_, lists, err := in.Cluster.Client().Discovery().ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, l := range lists {
		for _, r := range l.APIResources {
			resource, sub, ok := strings.Cut(r.Name, "/")
			if !ok || !slices.Contains(r.Verbs, "update") || sub == "scale" || sub == "ephemeralcontainers" || sub == "resize" || sub == "proxy" {
				continue
			}
			if name := in.inGit(t, l.GroupVersion, resource, r.Namespaced); name != "" {
				out[l.GroupVersion+"."+r.Name] = name + "/" + sub
			}
		}
	}
	return out
}

// inGit is the path of an object of the resource that Git declares, or empty.
func (in *installation) inGit(t *testing.T, version, resource string, namespaced bool) string {
	t.Helper()
	base := "/apis/" + version
	if version == "v1" {
		base = "/api/v1"
	}
	base += "/"
	if namespaced {
		base += "namespaces/" + locked + "/"
	}
	got, err := in.alice.send(t.Context(), request{
		verb: http.MethodGet, path: base + resource, query: map[string][]string{"labelSelector": {"gitgate.dev/name=" + locked}},
	}, false)
	var found struct {
		Items []struct{ Metadata metav1.ObjectMeta }
	}
	if err != nil || got.code != http.StatusOK || json.Unmarshal(got.body, &found) != nil || len(found.Items) == 0 {
		return ""
	}
	return base + resource + "/" + found.Items[0].Metadata.Name
}

func TestAttack_K7_Eviction(t *testing.T) {
	in := begin(t)
	in.refused(t, in.alice, posted("{apiVersion: policy/v1, kind: Eviction, metadata: {name: bare, namespace: harbor}}", 0),
		core+"pods/bare/eviction", verdict.ManagedDelete)
	in.refused(t, in.as(t, "system:serviceaccount:kube-system:disruption-controller"),
		posted("{apiVersion: policy/v1, kind: Eviction, metadata: {name: idle, namespace: harbor}}", 0), core+"pods/idle/eviction", verdict.ManagedDelete)
}

const binding = "{apiVersion: v1, kind: Binding, metadata: {name: idle, namespace: harbor, labels: {app: web}, annotations: {a: b}}, target: {kind: Node, name: node-0}}"

func TestAttack_K8_Binding(t *testing.T) {
	in := begin(t)
	in.refused(t, in.alice, posted(binding, 0), core+"pods/idle/binding", verdict.SubresourceDenied)
	in.refused(t, in.as(t, "system:kube-scheduler", "attackers"), posted(binding, 0), core+"pods/idle/binding", verdict.SubresourceDenied)
}

func TestAttack_K32_Bindings(t *testing.T) {
	in := begin(t)
	in.refused(t, in.alice, posted(binding, 0), core+"bindings", verdict.SubresourceDenied)
	in.refused(t, in.as(t, "system:kube-scheduler", "attackers"), posted(binding, 0), core+"bindings", verdict.SubresourceDenied)
}

// TestAttack_K9_Connect connects into Pods. Simulated nodes have no kubelet, so
// that where nothing is locked the connection fails later, and not for the lock.
func TestAttack_K9_Connect(t *testing.T) {
	in := begin(t)
	derived := in.podOf(t, locked).Name
	for name, path := range map[string]string{
		"Exec":         core + "pods/bare/exec",
		"ExecDerived":  core + "pods/" + derived + "/exec",
		"Attach":       core + "pods/bare/attach",
		"PortForward":  core + "pods/bare/portforward",
		"PodProxy":     core + "pods/bare/proxy/x",
		"ServiceProxy": core + "services/web/proxy/x",
		"NodeProxy":    "/api/v1/nodes/node-0/proxy/run/harbor/bare/app",
		"NodeProxyTop": "/api/v1/nodes/node-0/proxy",
	} {
		for _, verb := range []string{http.MethodGet, http.MethodPost} {
			t.Run(name+"/"+verb, func(t *testing.T) {
				r := request{verb: verb, path: path, query: map[string][]string{"command": {"sh"}, "ports": {"80"}}}
				before := in.state(t)
				in.denied(t, in.alice, r, false, verdict.NoGrant)
				if diff := cmp.Diff(before, in.state(t)); diff != "" {
					t.Errorf("the attack changed what etcd holds (-before +after):\n%s", diff)
				}
				if !strings.HasPrefix(path, core+"pods/bare/") {
					return // the twin has another name, or none
				}
				r.path = strings.ReplaceAll(path, locked, free)
				if got, err := in.alice.send(t.Context(), r, false); err != nil || strings.Contains(got.status.Message, "admission webhook") {
					t.Errorf("where nothing is locked: %d %v %s", got.code, err, got.status.Message)
				}
			})
		}
	}
}
