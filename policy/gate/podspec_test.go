package gate

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policy/verdict"
)

func object(t *testing.T, manifest string) Object {
	t.Helper()
	content := map[string]any{}
	if err := yaml.Unmarshal([]byte(manifest), &content); err != nil {
		t.Fatal(err)
	}
	return Object{Unstructured: &unstructured.Unstructured{Object: content}, Source: Source{File: "app.yaml", Line: 1}}
}

const podSpec = `
      initContainers: [{name: i, image: init}]
      containers: [{name: a, image: app}, {name: b, image: side}]
      ephemeralContainers: [{name: e, image: debug}]
      volumes: [{name: v, image: {reference: data}}, {name: w, emptyDir: {}}]
`

// TestAttack_I8 proves that no image of a pod template goes unseen, whatever the
// kind, and that a custom kind that may hold one is not passed by.
func TestAttack_I8_EveryImageIsSeen(t *testing.T) {
	all := []string{"app", "data", "debug", "init", "side"}
	for name, tc := range map[string]struct {
		reason   string
		manifest string
		want     []string
		findings []verdict.Reason
	}{
		"Pod":         {"The plain kind.", "{apiVersion: v1, kind: Pod, metadata: {name: x}}\n", nil, nil},
		"Deployment":  {"A template.", "apiVersion: apps/v1\nkind: Deployment\nspec:\n template:\n   spec:" + podSpec, all, nil},
		"StatefulSet": {"A template.", "apiVersion: apps/v1\nkind: StatefulSet\nspec:\n template:\n   spec:" + podSpec, all, nil},
		"DaemonSet":   {"A template.", "apiVersion: apps/v1\nkind: DaemonSet\nspec:\n template:\n   spec:" + podSpec, all, nil},
		"ReplicaSet":  {"A template.", "apiVersion: apps/v1\nkind: ReplicaSet\nspec:\n template:\n   spec:" + podSpec, all, nil},
		"Job":         {"A template.", "apiVersion: batch/v1\nkind: Job\nspec:\n template:\n   spec:" + podSpec, all, nil},
		"CronJob":     {"A template in a template.", "apiVersion: batch/v1\nkind: CronJob\nspec:\n jobTemplate:\n  spec:\n   template:\n    spec:" + podSpec, all, nil},
		"Controller":  {"The oldest kind.", "apiVersion: v1\nkind: ReplicationController\nspec:\n template:\n   spec:" + podSpec, all, nil},
		"PodTemplate": {"Its template is at the top.", "apiVersion: v1\nkind: PodTemplate\ntemplate:\n   spec:" + podSpec, all, nil},
		"NotAList":    {"Containers that are no list cannot be judged.", "apiVersion: v1\nkind: Pod\nspec: {containers: {a: {image: x}}}", nil, []verdict.Reason{verdict.InvalidManifest}},
		"NotAString":  {"An image that is no string cannot be judged.", "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: [x]}]}", nil, []verdict.Reason{verdict.InvalidManifest}},
		"ConfigMap":   {"A built-in kind that runs nothing.", "apiVersion: v1\nkind: ConfigMap\ndata: {image: x}", nil, nil},
		"Declared":    {"The extractor finds it.", "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec: {templates: [{container: {image: x}}]}", []string{"x"}, nil},
		"Missed":      {"The extractor does not know this field.", "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec: {templates: [{script: {image: x}}]}", nil, []verdict.Reason{verdict.UncoveredImage}},
		"Unknown":     {"Nobody declared the kind.", "apiVersion: serving.knative.dev/v1\nkind: Service\nspec: {template: {spec: {containers: [{image: x}]}}}", nil, []verdict.Reason{verdict.UncoveredImage}},
		"Split":       {"An image in two fields is one too.", "apiVersion: example.com/v1\nkind: App\nspec: {image: {repository: x, tag: y}}", nil, []verdict.Reason{verdict.UncoveredImage}},
		"Named":       {"So is a name within an image.", "apiVersion: example.com/v1\nkind: App\nspec: {image: {name: x, tag: y, pullPolicy: Always}}", nil, []verdict.Reason{verdict.UncoveredImage}},
		"Listed":      {"And each of a list.", "apiVersion: example.com/v1\nkind: App\nspec: {images: [x, z]}", nil, []verdict.Reason{verdict.UncoveredImage, verdict.UncoveredImage}},
		"Waived":      {"The TrustPolicy says that the kind runs none.", "apiVersion: example.com/v1\nkind: Gallery\nspec: {image: sunset.png}", nil, nil},
		"LookAlike":   {"A group that only looks built in.", "apiVersion: evil.k8s.io/v1\nkind: Pod\nspec: {containers: [{image: x}]}", nil, []verdict.Reason{verdict.UncoveredImage}},
	} {
		t.Run(name, func(t *testing.T) {
			x, err := newExtractors([]Extractor{
				{APIVersion: "argoproj.io/v1alpha1", Kind: "Workflow", Paths: []string{".spec.templates[*].container.image"}},
				{APIVersion: "example.com/v1", Kind: "Gallery"},
			})
			if err != nil {
				t.Fatal(err)
			}
			leaves, findings := x.images(object(t, tc.manifest))
			var got []string
			for _, l := range leaves {
				got = append(got, l.ref)
			}
			slices.Sort(got)
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("%s\nimages (-want +got):\n%s", tc.reason, d)
			}
			var reasons []verdict.Reason
			for _, f := range findings {
				reasons = append(reasons, f.Reason)
				if f.File != "app.yaml" || f.Field == "" {
					t.Errorf("finding without a place: %+v", f)
				}
			}
			if d := cmp.Diff(tc.findings, reasons); d != "" {
				t.Errorf("%s\nreasons (-want +got):\n%s", tc.reason, d)
			}
		})
	}
}

func TestExtractorPaths(t *testing.T) {
	for _, bad := range []string{"", "spec.image", ".spec..image", ".spec[0].image", ".spec.", ".[*]", ".a[*]b"} {
		if _, err := newExtractors([]Extractor{{APIVersion: "v1", Kind: "X", Paths: []string{bad}}}); err == nil {
			t.Errorf("path %q is accepted", bad)
		}
	}
}
