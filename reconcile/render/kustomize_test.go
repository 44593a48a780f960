package render

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy/verdict"
)

const overlay = `
-- prod/kustomization.yaml --
# an overlay that uses most of kustomize
namespace: shop
namePrefix: prod-
commonAnnotations: {team: shop}
labels:
- pairs: {env: prod}
resources:
- ../base
- extra.yaml
components:
- ../component
patches:
- path: patch.yaml
- target: {kind: Deployment, name: web}
  patch: |-
    - op: replace
      path: /spec/replicas
      value: 5
images:
- name: nginx
  newName: ghcr.io/acme/web
  newTag: "1.10"
configMapGenerator:
- name: settings
  literals: [a=b]
- name: files
  files: [app.conf, renamed=../base/data.txt]
  envs: [env.txt]
secretGenerator:
- name: token
  literals: [t=s]
generatorOptions:
  labels: {generated: "true"}
replacements:
- source: {kind: ConfigMap, name: extra, fieldPath: data.host}
  targets:
  - select: {kind: Deployment}
    fieldPaths: [spec.template.metadata.annotations.host]
    options: {create: true}
transformers:
- |
  apiVersion: builtin
  kind: AnnotationsTransformer
  metadata: {name: t}
  annotations: {by: plugin}
  fieldSpecs: [{path: metadata/annotations, create: true}]
-- prod/extra.yaml --
# two documents
apiVersion: v1
kind: ConfigMap
metadata: {name: first}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: extra
  annotations: {own: kept}
data: {host: example.com}
-- prod/patch.yaml --
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {paused: true}
-- prod/app.conf --
line
-- prod/env.txt --
# comment
K=V
-- base/kustomization.yml --
resources: [web.yaml]
-- base/data.txt --
text
-- base/web.yaml --
apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: web}
  spec:
    replicas: 1
    template:
      spec:
        containers:
        - name: web
          image: nginx
- apiVersion: v1
  kind: ServiceAccount
  metadata: {name: web}
-- component/kustomization.yaml --
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
configMapGenerator:
- name: component
  literals: [x=y]
`

func TestKustomizeKeepsSources(t *testing.T) {
	objects := mustRender(t, tree(overlay), Options{Path: "prod"})
	var got []string
	for _, o := range objects {
		name := o.GetName()
		if i := strings.LastIndex(name, "-"); i > 5 && len(name)-i == 11 {
			name = name[:i] // the hash of a generated object
		}
		got = append(got, fmt.Sprintf("%s %s %s/%s", place(o.Source), o.GetKind(), o.GetNamespace(), name))
		if strings.Contains(fmt.Sprint(o.Object), "source.gitgate.dev") {
			t.Errorf("%s still carries our mark: %v", o.ID(), o.Object)
		}
		if o.GetAnnotations()["team"] != "shop" || o.GetAnnotations()["by"] != "plugin" {
			t.Errorf("%s lacks what the overlay adds: %v", o.ID(), o.GetAnnotations())
		}
	}
	want := []string{
		"base/web.yaml:4 Deployment shop/prod-web",
		"base/web.yaml:14 ServiceAccount shop/prod-web",
		"prod/extra.yaml:2 ConfigMap shop/prod-first",
		"prod/extra.yaml:6 ConfigMap shop/prod-extra",
		"prod/kustomization.yaml:24 ConfigMap shop/prod-settings",
		"prod/kustomization.yaml:26 ConfigMap shop/prod-files",
		"prod/kustomization.yaml:30 Secret shop/prod-token",
		"component/kustomization.yaml:4 ConfigMap shop/prod-component",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
	spec := objects[0].Object["spec"].(map[string]any)
	if spec["replicas"] != int64(5) || spec["paused"] != true {
		t.Errorf("patches were not applied: %v", spec)
	}
	if got := fmt.Sprint(spec["template"]); !strings.Contains(got, "ghcr.io/acme/web:1.10") || !strings.Contains(got, "example.com") {
		t.Errorf("image or replacement was not applied: %s", got)
	}
	if objects[3].Source.Document != 1 || objects[3].GetAnnotations()["own"] != "kept" {
		t.Errorf("second document: %+v %v", objects[3].Source, objects[3].GetAnnotations())
	}
	again := mustRender(t, tree(overlay), Options{Path: "prod"})
	if diff := cmp.Diff(objects, again); diff != "" {
		t.Errorf("a second render differs:\n%s", diff)
	}
}

// TestListsOnlyEqualsKustomize requires that the way round kustomize leads to the
// same objects as the way through it.
func TestListsOnlyEqualsKustomize(t *testing.T) {
	files := tree(`
-- d/kustomization.yaml --
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
bases: [../c]
resources: [b.yaml, e, a.yaml]
-- d/a.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: a, annotations: {x: "yes"}, labels: {}}
data: {m: "1"}
-- d/b.yaml --
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: b}, spec: {ports: [{port: 080}, {port: 1e3}]}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: tool, annotations: {config.kubernetes.io/local-config: "true"}}}
-- d/e/kustomization.yaml --
resources: [e.yaml]
-- d/e/e.yaml --
{apiVersion: v1, kind: ConfigMap, metadata: {name: e}}
-- c/kustomization.yaml --
resources: [c.yaml]
-- c/c.yaml --
{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}
`)
	fast := mustRender(t, files, Options{Path: "d"})
	if got, want := listing(fast), "d/b.yaml:4 Service/b\nd/e/e.yaml:1 ConfigMap/e\nd/a.yaml:1 ConfigMap/a\nc/c.yaml:1 ConfigMap/c\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	k := files["d/kustomization.yaml"]
	k.Data = append(k.Data, "labels: []\n"...)
	if diff := cmp.Diff(mustRender(t, files, Options{Path: "d"}), fast); diff != "" {
		t.Errorf("kustomize makes something else (-kustomize +listed):\n%s", diff)
	}
}

func TestKustomizeFindings(t *testing.T) {
	with := func(kustomization string, more ...string) string {
		return "-- kustomization.yaml --\n" + kustomization + plainMap + strings.Join(more, "")
	}
	for name, tc := range map[string]struct {
		reason, files string
		want          verdict.Reason
		where         string
		message       string
	}{
		"UnknownField":    {"A misspelt field must not be ignored.", with("resources: [a.yaml]\npatchez: []\n"), verdict.InvalidManifest, "kustomization.yaml:1", "patchez"},
		"MissingFile":     {"A missing file is named.", with("resources:\n- a.yaml\n- b.yaml\n"), verdict.InvalidManifest, "kustomization.yaml:3", "b.yaml does not exist"},
		"NoKustomization": {"A base needs one.", with("resources: [d]\n", "-- d/x.yaml --\n", configMap, "x\n"), verdict.InvalidManifest, "kustomization.yaml:1", "no kustomization file"},
		"Several":         {"Which of two counts is not ours to choose.", with("resources: [a.yaml]\n", "-- Kustomization --\nresources: []\n"), verdict.AmbiguousManifest, "kustomization.yaml", "Kustomization"},
		"BadResource":     {"Files are read as strictly as without kustomize.", with("resources: [b.yaml]\n", "-- b.yaml --\n", configMap, "b\nkind: Secret\n"), verdict.AmbiguousManifest, "b.yaml:5", "already set"},
		"BadPatch":        {"So are patches.", with("resources: [a.yaml]\npatches: [{path: p.yaml}]\n", "-- p.yaml --\na: 1\na: 2\n"), verdict.AmbiguousManifest, "p.yaml:2", "already set"},
		"BadInline":       {"And inline ones.", with("resources: [a.yaml]\npatches:\n- patch: |\n    a: 1\n    a: 2\n"), verdict.AmbiguousManifest, "kustomization.yaml:3", "line 2 of it"},
		"DuplicateField":  {"And the kustomization.", with("resources: [a.yaml]\nresources: []\n"), verdict.AmbiguousManifest, "kustomization.yaml:2", "already set"},
		"NoTarget":        {"kustomize's own errors are told.", with("resources: [a.yaml]\npatches:\n- patch: '{apiVersion: v1, kind: Secret, metadata: {name: none}}'\n"), verdict.InvalidManifest, "kustomization.yaml", "no resource matches"},
		"PatchedName":     {"What a patch breaks is found.", with("resources: [a.yaml]\npatches:\n- target: {kind: ConfigMap}\n  options: {allowNameChange: true}\n  patch: '[{op: replace, path: /metadata/name, value: a/b}]'\n"), verdict.InvalidManifest, "a.yaml:1", "URL path"},
		"PatchedLabel":    {"So are labels that readers would not see.", with("resources: [a.yaml]\npatches:\n- target: {kind: ConfigMap}\n  patch: '[{op: add, path: /metadata/labels, value: {a: 1}}]'\n"), verdict.InvalidManifest, "a.yaml:1", "not a string"},
		"EnvKeyOnly":      {"A bare key took its value from the process.", with("configMapGenerator:\n- name: x\n  envs: [e]\n", "-- e --\n# c\nHOME\n"), verdict.AmbiguousManifest, "kustomization.yaml:3", "line 2 of e"},
		"EncryptedInput":  {"Ciphertext is no configuration.", with("secretGenerator:\n- name: x\n  files: [e]\n", "-- e --\n{\"data\": \"ENC[AES256_GCM,data:x]\", \"sops\": {}}\n"), verdict.SecretUndecryptable, "kustomization.yaml:3", "encrypted generator input"},
		"TwoUses":         {"One file cannot be object and patch.", with("resources: [a.yaml]\npatches:\n- path: a.yaml\n"), verdict.AmbiguousManifest, "kustomization.yaml:3", "two ways"},
		"EmptyPatch":      {"An empty file is a mistake.", with("resources: [a.yaml]\ncrds: [p.yaml]\n", "-- p.yaml --\n"), verdict.InvalidManifest, "p.yaml:1", "empty"},
		"ComponentMixup":  {"Components are no resources.", with("resources: [c]\n", "-- c/kustomization.yaml --\nkind: Component\n"), verdict.InvalidManifest, "kustomization.yaml:1", "components"},
		"CopiedMark":      {"Copying all annotations would copy our mark.", with("resources: [a.yaml, b.yaml]\nreplacements:\n- source: {kind: ConfigMap, name: a, fieldPath: metadata.annotations}\n  targets:\n  - select: {kind: ConfigMap, name: b}\n    fieldPaths: [data]\n    options: {create: true}\n", "-- b.yaml --\n", configMap, "b\n"), verdict.InvalidManifest, "b.yaml:1", "copies all annotations"},
		"EmptyRelease":    {"Applying nothing would prune everything.", "-- kustomization.yaml --\nresources: []\n", verdict.EmptyRelease, ".", "delete everything"},
	} {
		t.Run(name, func(t *testing.T) {
			got, found := Render(t.Context(), tree(tc.files), Options{})
			refused(t, tc.reason, got, found, tc.want, tc.where)
			if f := find(found, tc.want, tc.where); !strings.Contains(f.Message, tc.message) {
				t.Errorf("message %q does not say %q", f.Message, tc.message)
			}
		})
	}
}

// TestNoSecretInFindings plants a canary wherever kustomize would quote its input.
func TestNoSecretInFindings(t *testing.T) {
	const canary = "hunter2canary"
	for name, text := range map[string]string{
		"Literal":      "secretGenerator:\n- name: x\n  literals: [" + canary + "]\n",
		"BadKey":       "secretGenerator:\n- name: x\n  literals: [\"a b=" + canary + "\"]\n",
		"BadBehavior":  "secretGenerator:\n- name: x\n  behavior: nonsense\n  literals: [a=" + canary + "]\n",
		"BadMerge":     "secretGenerator:\n- name: x\n  behavior: merge\n  literals: [a=" + canary + "]\n",
		"BadType":      "secretGenerator:\n- name: x\n  type: kubernetes.io/tls\n  literals: [a=" + canary + "]\n",
		"PatchTarget":  "patches:\n- patch: '{apiVersion: v1, kind: Secret, metadata: {name: no}, stringData: {a: " + canary + "}}'\n",
		"PatchNoMatch": "patches:\n- patch: '[{op: replace, path: /stringData/nope, value: " + canary + "}]'\n  target: {kind: ConfigMap}\n",
		"PatchNoOp":    "patches:\n- patch: '[{op: nope, path: /x, value: " + canary + "}]'\n  target: {kind: ConfigMap}\n",
		"PatchNeither": "patches:\n- patch: '{value: " + canary + "}'\n",
		"EnvLine":      "secretGenerator:\n- name: x\n  envs: [e]\n",
		"EnvKey":       "secretGenerator:\n- name: x\n  envs: [f]\n",
	} {
		t.Run(name, func(t *testing.T) {
			files := tree("-- kustomization.yaml --\nresources: [a.yaml]\n" + text + plainMap + "-- e --\n" + canary + "\n-- f --\na b=" + canary + "\n")
			got, found := Render(t.Context(), files, Options{})
			if len(got) == 0 && len(found) == 0 {
				t.Error("neither objects nor findings")
			}
			// What kustomize accepts today it may refuse, and quote, tomorrow.
			if s := fmt.Sprint(found); strings.Contains(s, canary) {
				t.Errorf("a secret is in a finding: %s", s)
			}
		})
	}
}

func TestEnvironmentIsNotRead(t *testing.T) {
	t.Setenv("CANARY", "from-the-process")
	objects := mustRender(t, tree("-- kustomization.yaml --\nconfigMapGenerator:\n- name: x\n  envs: [e]\n-- e --\nCANARY=\nB=$CANARY\n"), Options{})
	want := map[string]any{"CANARY": "", "B": "$CANARY"}
	if diff := cmp.Diff(want, objects[0].Object["data"]); diff != "" {
		t.Error(diff)
	}
}

func TestSopsKeepsRawFile(t *testing.T) {
	raw := "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: \"ENC[AES256_GCM,data:x]\"}\nsops: {mac: \"ENC[x]\", version: 3.9.0}\n"
	files := fstest.MapFS{"s.yaml": {Data: []byte(raw)}, "a.yaml": {Data: []byte(configMap + "a\n")}}
	check := func(t *testing.T) {
		t.Helper()
		for _, o := range mustRender(t, files, Options{}) {
			sealed := o.GetKind() == "Secret"
			if got := string(o.Source.Encrypted); sealed && got != raw || !sealed && got != "" {
				t.Errorf("%s: Encrypted is %q", o.ID(), got)
			}
			if _, has := o.Object["sops"]; has != sealed {
				t.Errorf("%s: sops field present: %t", o.ID(), has)
			}
		}
	}
	check(t)
	files["kustomization.yaml"] = &fstest.MapFile{Data: []byte("namePrefix: x-\nresources: [s.yaml, a.yaml]\n")}
	check(t)
}

func TestDeadline(t *testing.T) {
	files := tree(overlay)
	t.Run("BeforeStart", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		got, found := Render(ctx, files, Options{Path: "prod"})
		refused(t, "A cancelled render is undecided.", got, found, verdict.LimitExceeded, "")
		if found[0].Severity != verdict.Undetermined {
			t.Errorf("severity is %s", found[0].Severity)
		}
	})
	t.Run("WhileKustomizeHangs", func(t *testing.T) {
		turn <- struct{}{} // another build that does not end
		defer func() { <-turn }()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		got, found := Render(ctx, files, Options{Path: "prod"})
		refused(t, "A hanging build must not hang others beyond their deadline.", got, found, verdict.LimitExceeded, "prod/kustomization.yaml")
	})
}

// A blindFS cannot read one file, nor tell whether there is one, as a repository
// with a missing object.
type blindFS struct {
	fs.FS
	name string
}

func (b blindFS) Open(name string) (fs.File, error) {
	if name == b.name {
		return nil, errors.New("object not found")
	}
	return b.FS.Open(name)
}

func TestUnreadableIsUndetermined(t *testing.T) {
	got, found := Render(t.Context(), blindFS{tree(plainMap), "a.yaml"}, Options{})
	refused(t, "What cannot be read is not known to be good or bad.", got, found, verdict.SourceUnavailable, "a.yaml")
	if found[0].Severity != verdict.Undetermined {
		t.Errorf("severity is %s", found[0].Severity)
	}
}

func TestUnknownIsNotAbsent(t *testing.T) {
	for _, name := range []string{"d/kustomization.yaml", ".gitattributes", "d/.gitattributes"} {
		got, found := Render(t.Context(), blindFS{tree("-- d/a.yaml --\n" + configMap + "a\n"), name}, Options{Path: "d"})
		refused(t, name+" may be there and change the meaning of the tree.", got, found, verdict.SourceUnavailable, "")
	}
}
