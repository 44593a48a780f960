// Package deploy tests the manifests below deploy: that they build, that a real
// API server takes them, that the Pods in them are as confined as they can be, and
// that the binary works as they run it, with the rights that they give it.
package deploy

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/test/testkit/lab"
)

// deployDir is where the manifests are.
func deployDir(elem ...string) string {
	return filepath.Join(append([]string{lab.ModuleRoot(), "deploy"}, elem...)...)
}

// build returns the objects of a kustomization below deploy, in the order in which
// kubectl would apply them.
func build(t *testing.T, dir string) []*unstructured.Unstructured {
	t.Helper()
	return buildIn(t, filesys.MakeFsOnDisk(), deployDir(dir))
}

func buildIn(t *testing.T, fs filesys.FileSystem, dir string) []*unstructured.Unstructured {
	t.Helper()
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionLegacy
	built, err := krusty.MakeKustomizer(options).Run(fs, dir)
	if err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
	var out []*unstructured.Unstructured
	for _, r := range built.Resources() {
		raw, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(raw, o); err != nil {
			t.Fatal(err)
		}
		out = append(out, o)
	}
	if len(out) == 0 {
		t.Fatalf("%s: no objects", dir)
	}
	return out
}

// with builds base and components, as an overlay of a user does.
func with(t *testing.T, components ...string) []*unstructured.Unstructured {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "overlay")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	relative := func(elem ...string) string {
		from, err := filepath.EvalSymlinks(dir)
		if err != nil {
			t.Fatal(err)
		}
		path, err := filepath.Rel(from, deployDir(elem...))
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := "resources: [" + relative("base") + "]\ncomponents:\n"
	for _, c := range components {
		text += "  - " + relative("components", c) + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return buildIn(t, filesys.MakeFsOnDisk(), dir)
}

// only returns the objects of one kind.
func only(objects []*unstructured.Unstructured, kind string) []*unstructured.Unstructured {
	return slices.DeleteFunc(slices.Clone(objects), func(o *unstructured.Unstructured) bool { return o.GetKind() != kind })
}

// find returns one object.
func find(t *testing.T, objects []*unstructured.Unstructured, kind, name string) *unstructured.Unstructured {
	t.Helper()
	for _, o := range objects {
		if o.GetKind() == kind && o.GetName() == name {
			return o
		}
	}
	t.Fatalf("no %s %s", kind, name)
	return nil
}

// subdirectories lists the directories below one of deploy's.
func subdirectories(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(deployDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, e.Name())
		}
	}
	if len(out) == 0 {
		t.Fatalf("nothing in deploy/%s", dir)
	}
	return out
}

// TestEverythingBuilds proves that no overlay and no component is broken.
func TestEverythingBuilds(t *testing.T) {
	build(t, "base")
	build(t, "tenant")
	for _, name := range subdirectories(t, "overlays") {
		build(t, filepath.Join("overlays", name))
	}
	for _, name := range subdirectories(t, "components") {
		with(t, name)
	}
}

// TestEveryCRDIsInstalled proves that a CRD that is generated later is not left out.
func TestEveryCRDIsInstalled(t *testing.T) {
	files, err := filepath.Glob(deployDir("crds", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs: %v", err)
	}
	crds := only(build(t, "base"), "CustomResourceDefinition")
	for _, f := range files {
		group, plural, _ := strings.Cut(strings.TrimSuffix(filepath.Base(f), ".yaml"), "_")
		if !slices.ContainsFunc(crds, func(o *unstructured.Unstructured) bool { return o.GetName() == plural+"."+group }) {
			t.Errorf("deploy/crds/Kustomization does not list %s", filepath.Base(f))
		}
	}
}

// TestCRDsAreReadAndAskedAbout proves that the accounts may read each of our kinds,
// and ask what becomes of it.
func TestCRDsAreReadAndAskedAbout(t *testing.T) {
	base := build(t, "base")
	role := find(t, base, "ClusterRole", "gitgate-dryrun-builtin")
	rules, _, _ := unstructured.NestedSlice(role.Object, "rules")
	var listed []any
	for _, r := range rules {
		if rule := r.(map[string]any); slices.Contains(rule["apiGroups"].([]any), any("gitgate.dev")) {
			listed = rule["resources"].([]any)
		}
	}
	for _, crd := range only(base, "CustomResourceDefinition") {
		plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
		if !slices.Contains(listed, any(plural)) {
			t.Errorf("ClusterRole gitgate-dryrun-builtin does not name %s", plural)
		}
	}
}
