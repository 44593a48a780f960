package render

import (
	"strings"
	"testing"
	"testing/fstest"

	"gitgate.dev/gitgate/policy/verdict"
)

func TestManifestsThatAreNone(t *testing.T) {
	const object = "apiVersion: v1\nkind: ConfigMap\n"
	for name, tc := range map[string]struct {
		reason, content, where, field string
	}{
		"Values":          {"Helm values in the path are a mistake.", "replicas: 3\n", "a.yaml:1", ""},
		"Scalar":          {"So is prose.", "hello\n", "a.yaml:1", ""},
		"Sequence":        {"And a list of things.", "- a\n", "a.yaml:1", ""},
		"NotYAML":         {"Syntax errors have a line.", object + "metadata: a: b\n", "a.yaml:3", ""},
		"NoMetadata":      {"Every object has metadata.", object, "a.yaml:1", "metadata"},
		"MetadataString":  {"Which are a mapping.", object + "metadata: a\n", "a.yaml:3", "metadata"},
		"NoName":          {"And a name.", object + "metadata: {}\n", "a.yaml:3", "metadata.name"},
		"NumberName":      {"That is text.", object + "metadata:\n  name: 123\n", "a.yaml:4", "metadata.name"},
		"SlashName":       {"A slash would address a subresource.", object + "metadata:\n  name: a/status\n", "a.yaml:4", "metadata.name"},
		"DotsName":        {"Dots would address the parent.", object + "metadata:\n  name: ..\n", "a.yaml:4", "metadata.name"},
		"PercentName":     {"Escapes hide a slash.", object + "metadata:\n  name: a%2fb\n", "a.yaml:4", "metadata.name"},
		"LongName":        {"Names have a length.", object + "metadata:\n  name: " + strings.Repeat("a", 254) + "\n", "a.yaml:4", "metadata.name"},
		"BadNamespace":    {"A namespace is a DNS label.", object + "metadata:\n  name: a\n  namespace: ../kube-system\n", "a.yaml:5", "metadata.namespace"},
		"NumberNamespace": {"And text.", object + "metadata:\n  name: a\n  namespace: 1\n", "a.yaml:5", "metadata.namespace"},
		"BadVersion":      {"apiVersion has one slash.", "apiVersion: a/b/c\nkind: X\nmetadata: {name: a}\n", "a.yaml:1", "apiVersion"},
		"PathVersion":     {"And is no path.", "apiVersion: ../v1\nkind: X\nmetadata: {name: a}\n", "a.yaml:1", "apiVersion"},
		"BadKind":         {"A kind is a word.", "apiVersion: v1\nkind: a/b\nmetadata: {name: a}\n", "a.yaml:2", "kind"},
		"Kustomization":   {"An instruction to kustomize under another name does nothing.", "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nmetadata: {name: a}\n", "a.yaml:2", "kind"},
		"NumberLabel":     {"A reader that finds a number drops all labels.", object + "metadata:\n  name: a\n  labels:\n    app: web\n    version: 1.2\n", "a.yaml:7", "metadata.labels.version"},
		"BoolAnnotation":  {"Or all annotations.", object + "metadata:\n  name: a\n  annotations:\n    x.io/enabled: yes\n", "a.yaml:6", "metadata.annotations.x.io/enabled"},
		"LabelList":       {"Labels are a mapping.", object + "metadata:\n  name: a\n  labels: []\n", "a.yaml:5", "metadata.labels"},
		"DataString":      {"So is data.", object + "metadata: {name: a}\ndata: x\n", "a.yaml:4", "data"},
	} {
		t.Run(name, func(t *testing.T) {
			got, found := Render(t.Context(), fstest.MapFS{"a.yaml": {Data: []byte(tc.content)}}, Options{})
			refused(t, tc.reason, got, found, verdict.InvalidManifest, tc.where)
			if f := find(found, verdict.InvalidManifest, tc.where); f.Field != tc.field {
				t.Errorf("field %q, want %q", f.Field, tc.field)
			}
		})
	}
}

func TestDuplicateObjects(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, files, where, first string
	}{
		"TwoFiles":   {"Which file wins must not depend on its name.", plainMap + "-- b.yaml --\n---\n" + configMap + "a\n", "b.yaml:2", "a.yaml:1"},
		"OneFile":    {"Nor on its place.", "-- a.yaml --\n" + configMap + "a\n---\n" + configMap + "a\n", "a.yaml:6", "a.yaml:1"},
		"InList":     {"Nor on a list.", plainMap + "-- b.yaml --\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n", "b.yaml:4", "a.yaml:1"},
		"TwoVersion": {"Versions of a group name the same object.", "-- a.yaml --\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n---\napiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {name: a}\n", "a.yaml:5", "a.yaml:1"},
	} {
		t.Run(name, func(t *testing.T) {
			got, found := Render(t.Context(), tree(tc.files), Options{})
			refused(t, tc.reason, got, found, verdict.AmbiguousManifest, tc.where)
			if f := find(found, verdict.AmbiguousManifest, tc.where); !strings.Contains(f.Message, tc.first) {
				t.Errorf("message does not name the first place %s: %s", tc.first, f.Message)
			}
		})
	}
	t.Run("ByTargetNamespace", func(t *testing.T) {
		files := tree("-- a.yaml --\n" + configMap + "a\n  namespace: one\n---\n" + configMap + "a\n  namespace: two\n")
		mustRender(t, files, Options{})
		got, found := Render(t.Context(), files, Options{TargetNamespace: "z"})
		refused(t, "Two namespaces that become one collide.", got, found, verdict.AmbiguousManifest, "a.yaml:7")
	})
}

func TestWarnings(t *testing.T) {
	content := configMap + "a\nstatus:\n  phase: Running\n---\n" + configMap + "tool\n  annotations: {config.kubernetes.io/local-config: \"true\"}\n"
	objects, found := Render(t.Context(), fstest.MapFS{"a.yaml": {Data: []byte(content)}}, Options{})
	if got := listing(objects); got != "a.yaml:1 ConfigMap/a\n" {
		t.Errorf("objects:\n%s%v", got, found)
	}
	if _, has := objects[0].Object["status"]; has {
		t.Error("status is still there")
	}
	want := []string{
		"warn render InvalidManifest: a.yaml:5: status is set by controllers and left out; remove it",
		"info render InvalidManifest: a.yaml:8: left out: annotation config.kubernetes.io/local-config says that it is not for the cluster",
	}
	if len(found) != 2 || found[0].String() != want[0] || found[1].String() != want[1] {
		t.Errorf("findings: %v", found)
	}
}

func TestFindingsAreBounded(t *testing.T) {
	files := fstest.MapFS{}
	for i := range 30 {
		files[strings.Repeat("a", i+1)+".yaml"] = &fstest.MapFile{Data: []byte("x: 1\n")}
	}
	_, found := Render(t.Context(), files, Options{Limits: Limits{Findings: 10}})
	if len(found) != 11 || !strings.HasPrefix(found[10].Message, "20 more findings") {
		t.Errorf("%d findings, the last one: %v", len(found), found[len(found)-1])
	}
}

func TestMessagesAreOneLine(t *testing.T) {
	name := "\\e[31mred\\n\\u202efake" + strings.Repeat("x", 5000)
	_, found := Render(t.Context(), fstest.MapFS{"a.yaml": {Data: []byte(configMap + "\"" + name + "\"\n\"a\\nb\": 1\n\"a\\nb\": 2\n")}}, Options{})
	if len(found) == 0 {
		t.Fatal("nothing was found")
	}
	for _, f := range found {
		if strings.ContainsAny(f.Message, "\n\x1b\u202e") || len(f.Message) > maxMessage+10 {
			t.Errorf("message can forge a terminal or log line: %q", f.Message)
		}
	}
}
