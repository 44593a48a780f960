package render

import (
	"fmt"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kustomize/kyaml/resid"
)

// workload is an object that nothing else in a tree has to do with.
func workload(name string) string {
	return fmt.Sprintf("{apiVersion: apps/v1, kind: Deployment, metadata: {name: %s}, spec: {template: {spec: {containers: [{name: c, image: \"nginx:2\"}]}}}}\n", name)
}

// TestDivision holds what a division must get right, and what it must leave alone,
// against one build of the same tree. Each tree is also built after a change of an
// object that has nothing to do with the matter, with what is remembered.
func TestDivision(t *testing.T) {
	const (
		account = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: sa}}\n"
		patchSA = "patches:\n- target: {kind: Deployment}\n  patch: '[{op: add, path: /spec/template/spec/serviceAccountName, value: sa}]'\n"
		binding = "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: rb%s}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}, " +
			"subjects: [{kind: ServiceAccount, name: sa, namespace: %s}]}\n"
		config = "{apiVersion: v1, kind: ConfigMap, metadata: {name: %s}}\n"
	)
	for name, tc := range map[string]struct {
		reason string
		top    string            // the kustomization that includes base and rest
		base   map[string]string // files of base
		parts  bool              // is built in parts
	}{
		"Labels":     {"What an overlay usually is.", "namespace: shop\nlabels: [{pairs: {a: b}}]\n", map[string]string{"a.yaml": account}, true},
		"Referenced": {"A name that gets a prefix is followed.", "namePrefix: x-\n", map[string]string{"a.yaml": account, "b.yaml": "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {serviceAccountName: sa}}\n"}, true},
		"Injected":   {"A patch makes every Deployment refer to an object elsewhere.", "namePrefix: x-\n" + patchSA, map[string]string{"a.yaml": account}, true},
		"Suffix":     {"So with suffixes.", "nameSuffix: -x\n" + patchSA, map[string]string{"a.yaml": account}, true},
		"SameName":   {"An object that shares a name with what a patch refers to is there too.", "namePrefix: x-\n" + patchSA, map[string]string{"a.yaml": account + "---\n" + fmt.Sprintf(config, "x-sa")}, true},
		"Chained": {"A reference that was updated is updated again if it names another object then.",
			"resources: [../base, ../other, ../rest]\nnamePrefix: x-\npatches:\n- target: {kind: Role}\n  patch: '[{op: add, path: /rules/0/resourceNames, value: [s]}]'\n",
			map[string]string{
				"a.yaml": fmt.Sprintf(config, "s") + "---\n{apiVersion: v1, kind: Secret, metadata: {name: x-s}}\n", "../other/kustomization.yaml": "resources: [r.yaml]\n",
				"../other/r.yaml": "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: r}, rules: [{verbs: [get]}]}\n",
			}, true},
		"Generated":     {"The hash of a generated object reaches those that refer to it by a patch.", "patches:\n- target: {kind: Deployment}\n  patch: '[{op: add, path: /spec/template/spec/volumes, value: [{name: vol, configMap: {name: g}}]}]'\n", map[string]string{"kustomization.yaml": "configMapGenerator: [{name: g, literals: [a=b]}]\n"}, true},
		"Unaimed":       {"A patch without a target finds it in every part.", "patches:\n- patch: '{apiVersion: v1, kind: ServiceAccount, metadata: {name: sa}, automountServiceAccountToken: false}'\n", map[string]string{"a.yaml": account}, true},
		"UnaimedChild":  {"And where an inner prefix made the name.", "patches:\n- patch: '{apiVersion: v1, kind: ServiceAccount, metadata: {name: i-sa}, automountServiceAccountToken: false}'\n", map[string]string{"kustomization.yaml": "namePrefix: i-\n", "a.yaml": account}, true},
		"UnaimedSuffix": {"So with a suffix.", "patches:\n- patch: '{apiVersion: v1, kind: ServiceAccount, metadata: {name: sa-i}, automountServiceAccountToken: false}'\n", map[string]string{"kustomization.yaml": "nameSuffix: -i\n", "a.yaml": account}, true},
		"NumberName": {"A reference that is no text still names an object.", "resources: [../base, ../other, ../rest]\nnamePrefix: x-\n", map[string]string{
			"a.yaml": "{apiVersion: v1, kind: ServiceAccount, metadata: {name: \"123\"}}\n", "../other/kustomization.yaml": "resources: [p.yaml]\n",
			"../other/p.yaml": "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {serviceAccountName: 123}}\n",
		}, true},
		"Replicas":     {"So do replicas.", "replicas: [{name: web, count: 5}]\n", map[string]string{"a.yaml": workload("web")}, true},
		"Deleted":      {"What a patch deletes by its labels is no longer referred to.", "namePrefix: x-\n" + patchSA + "- target: {labelSelector: gone=yes}\n  patch: '{apiVersion: v1, kind: X, metadata: {name: x}, $patch: delete}'\n", map[string]string{"a.yaml": "{apiVersion: v1, kind: ServiceAccount, metadata: {name: sa, labels: {gone: \"no\"}}}\n"}, true},
		"Subjects":     {"Subjects follow their accounts to another namespace.", "namespace: shop\n", map[string]string{"a.yaml": account, "b.yaml": fmt.Sprintf(binding, "", "default")}, true},
		"NamespaceObj": {"The name of a Namespace becomes what the namespace is set to.", "namespace: shop\n", map[string]string{"a.yaml": "{apiVersion: v1, kind: Namespace, metadata: {name: ns}}\n"}, true},
		"LocalConfig":  {"What is not for the cluster is left out.", "namespace: shop\n", map[string]string{"a.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: l, annotations: {config.kubernetes.io/local-config: \"true\"}}}\n"}, true},
		"Images":       {"Images are each object's own.", "images: [{name: nginx, newTag: \"9\"}]\n", map[string]string{"a.yaml": account}, true},

		"MixedSubjects":  {"Which namespaces exist decides where a subject is looked for.", "namespace: shop\n", map[string]string{"a.yaml": account, "b.yaml": fmt.Sprintf(binding, "", "shop"), "c.yaml": "{apiVersion: v1, kind: Service, metadata: {name: z, namespace: shop}}\n"}, false},
		"PatchedSubject": {"So if a patch brings the subject.", "namespace: shop\npatches:\n- target: {kind: Widget}\n  patch: '[{op: add, path: /subjects, value: [{name: sa, namespace: shop}]}]'\n", map[string]string{"a.yaml": account, "c.yaml": "{apiVersion: v1, kind: Service, metadata: {name: z, namespace: shop}}\n"}, false},
		"Twice":          {"A base that is included twice has two objects for each position.", "resources: [../one, ../two]\n", map[string]string{"a.yaml": account}, false},
		"Collision": {"Two names become one, which is an error.", "resources: [../base, ../other, ../rest]\n", map[string]string{
			"kustomization.yaml": "namePrefix: p-x\n", "a.yaml": fmt.Sprintf(config, "b"),
			"../other/kustomization.yaml": "namePrefix: p-\nresources: [c.yaml]\n", "../other/c.yaml": fmt.Sprintf(config, "xb"),
		}, false},
		"TwoNamespaces": {"So do those of two Namespaces.", "resources: [../base, ../other, ../rest]\nnamespace: shop\n", map[string]string{
			"a.yaml": "{apiVersion: v1, kind: Namespace, metadata: {name: n1}}\n", "../other/kustomization.yaml": "resources: [n.yaml]\n",
			"../other/n.yaml": "{apiVersion: v1, kind: Namespace, metadata: {name: n2}}\n",
		}, false},
		"NameChange":     {"A patch that may change names.", "patches:\n- target: {kind: ServiceAccount}\n  options: {allowNameChange: true}\n  patch: '{apiVersion: v1, kind: ServiceAccount, metadata: {name: other}}'\n", map[string]string{"a.yaml": account}, false},
		"NamePatch":      {"A JSON patch of a name.", "patches:\n- target: {kind: ServiceAccount}\n  patch: '[{op: replace, path: /metadata/name, value: other}]'\n", map[string]string{"a.yaml": account}, false},
		"NamePatchFile":  {"So in a file.", "patches:\n- target: {kind: ServiceAccount}\n  path: p.json\n", map[string]string{"a.yaml": account, "../top/p.json": "[{op: replace, path: x/metadata/name, value: other}]\n"}, false},
		"LabelFields":    {"Labels can be written anywhere, to a name too.", "labels: [{pairs: {name: other}, fields: [{path: metadata}]}]\n", map[string]string{"kustomization.yaml": "nameSuffix: -x\n", "a.yaml": account}, false},
		"Steered":        {"Annotations through which kustomize talks to itself.", "namePrefix: x-\n", map[string]string{"a.yaml": "{apiVersion: v1, kind: ServiceAccount, metadata: {name: sa, annotations: {internal.config.kubernetes.io/prefixes: p}}}\n"}, false},
		"SteeredByPatch": {"Also from a patch.", "patches:\n- target: {kind: ServiceAccount}\n  patch: '[{op: add, path: /metadata/annotations/internal.config.kubernetes.io~1prefixes, value: y}]'\n", map[string]string{"a.yaml": account}, false},
		"MostlyShared":   {"Where most is shared, one build is less work.", "commonAnnotations: {one: u, two: v, three: sa}\n", map[string]string{"a.yaml": account}, false},
		"LongPrefix":     {"Names that no object can have.", "namePrefix: " + strings.Repeat("x", maxName) + "\n", map[string]string{"a.yaml": account}, false},
		"Merged":         {"A generator that changes another object.", "configMapGenerator: [{name: m, behavior: merge, literals: [a=b]}]\n", map[string]string{"a.yaml": fmt.Sprintf(config, "m")}, false},
		"Sorted":         {"Another order.", "sortOptions: {order: legacy}\n", map[string]string{"a.yaml": account}, false},
		"Replacements":   {"Values copied between objects.", "replacements:\n- source: {kind: ServiceAccount, name: sa, fieldPath: metadata.name}\n  targets: [{select: {kind: Deployment}, fieldPaths: [spec.paused], options: {create: true}}]\n", map[string]string{"a.yaml": account}, false},
		"TagSuffix":      {"Texts composed of parts.", "images: [{name: nginx, tagSuffix: -x}]\n", map[string]string{"a.yaml": account}, false},
		"Metadata":       {"buildMetadata tells of the whole build.", "buildMetadata: [originAnnotations]\n", map[string]string{"a.yaml": account}, false},
		"LostMark":       {"A patch that takes all annotations takes our marks.", "patches:\n- target: {kind: ServiceAccount}\n  patch: '{apiVersion: v1, kind: X, metadata: {name: x, annotations: {$patch: delete}}}'\n", map[string]string{"a.yaml": account}, false},
		"Warned":         {"What there is to tell of an object is told each time.", "patches:\n- target: {kind: ServiceAccount}\n  patch: '{apiVersion: v1, kind: X, metadata: {name: x}, status: {a: 1}}'\n", map[string]string{"a.yaml": account}, false},
		"EmptyFile":      {"A file without objects is in no part.", "", map[string]string{"a.yaml": account, "b.yaml": "# nothing\n"}, false},
		"EmptyDir":       {"So is a directory.", "resources: [../nothing, ../base, ../rest]\n", map[string]string{"a.yaml": account}, false},
	} {
		t.Run(name, func(t *testing.T) {
			files := fstest.MapFS{}
			put := func(name, text string) { files[name] = &fstest.MapFile{Data: []byte(text)} }
			list := "\nresources:\n"
			for f, text := range tc.base {
				if f != "kustomization.yaml" && f[0] != '.' {
					list += "- " + f + "\n"
				}
				put(path.Join("base", f), text)
			}
			if list == "\nresources:\n" {
				list = ""
			}
			put("base/kustomization.yaml", tc.base["kustomization.yaml"]+list)
			put("rest/kustomization.yaml", "resources: [u.yaml, v.yaml]\n")
			put("rest/u.yaml", workload("u"))
			put("rest/v.yaml", workload("v"))
			put("one/kustomization.yaml", "namePrefix: one-\nresources: [../base]\n")
			put("two/kustomization.yaml", "namePrefix: two-\nresources: [../base, ../rest]\n")
			put("nothing/kustomization.yaml", "namespace: x\n")
			top := tc.top
			if !strings.Contains(top, "resources:") {
				top += "resources: [../base, ../rest]\n"
			}
			put("top/kustomization.yaml", top)
			cache := NewCache(1 << 20)
			for revision, change := range []func(){
				func() {},
				func() { put("rest/u.yaml", workload("u")+"---\n"+workload("u2")) },
				func() {
					if f := files["base/a.yaml"]; f != nil {
						put("base/a.yaml", strings.ReplaceAll(string(f.Data), `gone: "no"`, `gone: "yes"`))
					}
				},
			} {
				change()
				want, _ := oneBuild(t, files, "top")
				c := collected(t, files, "top", cache)
				c.batch = 1 // each part is on its own
				got, parts := c.inParts(t.Context())
				if parts != tc.parts {
					t.Fatalf("%s\nrevision %d: built in parts: %t, want %t", tc.reason, revision, parts, tc.parts)
				}
				if diff := cmp.Diff(want, got); parts && diff != "" {
					t.Errorf("%s\nrevision %d (-one build +parts):\n%s", tc.reason, revision, diff)
				}
			}
		})
	}
}

func TestMayBeAnyones(t *testing.T) {
	d := &division{images: true, words: map[string]bool{"said": true}, generated: map[string]bool{"g": true, "a-g": true}}
	for name, tc := range map[string]struct {
		reason string
		want   bool
	}{
		"web":      {"Nothing leads to it.", false},
		"said":     {"A kustomization says it.", true},
		"nginx:1":  {"An image and a tag may be put together to it.", true},
		"a@sha256": {"Or an image and a digest.", true},
		"face":     {"Letters make no number.", false},
		"123":      {"A number is written like it.", true},
		"1e3":      {"So is a float.", true},
		"true":     {"So is a boolean.", true},
		"null":     {"And null.", true},
		"g-12345":  {"A generated object may get it with its hash.", true},
		"a-g-1":    {"Wherever the hash begins.", true},
		"g":        {"Without a hash a text would say it.", false},
		"b-g-1":    {"Nothing with this name is generated.", false},
	} {
		if got := d.mayBeAnyones(name); got != tc.want {
			t.Errorf("%s\nmayBeAnyones(%q) = %t", tc.reason, name, got)
		}
	}
	d.images = false
	if d.mayBeAnyones("system:a") {
		t.Error("A name with a colon is not composed where no image is changed.")
	}
}

// TestClusterKinds holds our list of kinds without namespaces against kustomize's.
func TestClusterKinds(t *testing.T) {
	for kind := range inNoNamespace {
		apiVersion, name, _ := strings.Cut(kind, " ")
		group, version := resid.ParseGroupVersion(apiVersion)
		if !resid.NewGvk(group, version, name).IsClusterScoped() {
			t.Errorf("kustomize does not know %s to be of the cluster", kind)
		}
	}
}

// TestMovedObjectsKeepTheirPointer requires that a line more in a file changes the
// line of an object and nothing else.
func TestMovedObjectsKeepTheirPointer(t *testing.T) {
	g := newGitFS(tree("-- kustomization.yaml --\nnamespace: shop\nresources: [a.yaml, b.yaml]\n-- a.yaml --\n" + workload("a") + "-- b.yaml --\n" + workload("b") + "---\n" + workload("c")))
	o := Options{Cache: NewCache(1 << 20)}
	before := renderFS(t, g, o)
	g.set("b.yaml", "# moved\n"+workload("b")+"---\n"+workload("c"))
	for i, after := range renderFS(t, g, o) {
		if after.Unstructured != before[i].Unstructured {
			t.Errorf("%s is another object", after.ID())
		}
		if want := before[i].Source.Line + min(i, 1); after.Source.Line != want {
			t.Errorf("%s: line %d, want %d", after.ID(), after.Source.Line, want)
		}
	}
}
