package render

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"gitgate.dev/gitgate/policy/verdict"
)

const plainMap = "-- a.yaml --\n" + configMap + "a\n"

func TestAttack_P1_Symlinks(t *testing.T) {
	link := func(target string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
	}
	for name, tc := range map[string]struct {
		reason string
		files  fstest.MapFS
		path   string
		where  string
	}{
		"File":          {"A link may lead to a token of the reconciler.", fstest.MapFS{"a.yaml": link("/var/run/secrets/token")}, "", "a.yaml"},
		"InsideRepo":    {"Or into another team's directory.", fstest.MapFS{"a/x.yaml": link("../b/x.yaml"), "b/x.yaml": {Data: []byte(configMap + "x\n")}}, "a", "a/x.yaml"},
		"Directory":     {"A linked directory is not walked.", fstest.MapFS{"a/d": link("../../.git"), "a/x.yaml": {Data: []byte(configMap + "x\n")}}, "a", "a/d"},
		"Path":          {"Nor rendered itself.", fstest.MapFS{"a": link("b"), "b/x.yaml": {Data: []byte(configMap + "x\n")}}, "a", "a"},
		"PathParent":    {"Nor is what is below it.", fstest.MapFS{"a": link("b"), "b/c/x.yaml": {Data: []byte(configMap + "x\n")}}, "a/c", "a/c"},
		"Resource":      {"A kustomization cannot use one.", fstest.MapFS{"kustomization.yaml": {Data: []byte("resources:\n- x.yaml\n")}, "x.yaml": link("y.yaml"), "y.yaml": {Data: []byte(configMap + "x\n")}}, "", "kustomization.yaml:2"},
		"Base":          {"Not as a base either.", fstest.MapFS{"o/kustomization.yaml": {Data: []byte("resources:\n- ../b\n")}, "b": link("c"), "c/kustomization.yaml": {Data: []byte("resources: []\n")}}, "o", "o/kustomization.yaml:2"},
		"Kustomization": {"The kustomization file must be a file.", fstest.MapFS{"kustomization.yaml": link("k.yaml"), "k.yaml": {Data: []byte("resources: []\n")}}, "", "kustomization.yaml"},
		"Generator":     {"A generator would copy the token into a ConfigMap.", fstest.MapFS{"kustomization.yaml": {Data: []byte("configMapGenerator:\n- name: x\n  files:\n  - token=t\n")}, "t": link("/etc/passwd")}, "", "kustomization.yaml:4"},
		"DotGit":        {"Git's own directory holds tokens.", fstest.MapFS{"kustomization.yaml": {Data: []byte("configMapGenerator:\n- name: x\n  files:\n  - .git/config\n")}, ".git/config": {Data: []byte("token")}}, "", "kustomization.yaml:4"},
	} {
		t.Run("P1/"+name, func(t *testing.T) {
			got, found := Render(t.Context(), tc.files, Options{Path: tc.path})
			refused(t, tc.reason, got, found, verdict.PathEscape, tc.where)
		})
	}
	t.Run("P1/OnDisk", func(t *testing.T) {
		dir := t.TempDir()
		secret := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(secret, []byte(configMap+"stolen\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(secret, filepath.Join(dir, "a.yaml")); err != nil {
			t.Fatal(err)
		}
		got, found := Render(t.Context(), os.DirFS(dir), Options{})
		refused(t, "os.DirFS follows links, Render does not.", got, found, verdict.PathEscape, "a.yaml")
	})
}

// pathFields are kustomizations that name a path in each field that can. The
// first line below the field holds it.
var pathFields = map[string]string{
	"resources":             "resources:\n- %s\n",
	"bases":                 "bases:\n- %s\n",
	"components":            "components:\n- %s\n",
	"crds":                  "crds:\n- %s\n",
	"configurations":        "configurations:\n- %s\n",
	"generators":            "generators:\n- %s\n",
	"transformers":          "transformers:\n- %s\n",
	"validators":            "validators:\n- %s\n",
	"patches":               "patches:\n- path: %s\n",
	"patchesJson6902":       "patchesJson6902:\n- path: %s\n  target: {version: v1, kind: ConfigMap, name: a}\n",
	"patchesStrategicMerge": "patchesStrategicMerge:\n- %s\n",
	"replacements":          "replacements:\n- path: %s\n",
	"openapi":               "openapi:\n  path: %s\n",
	"configMapFiles":        "configMapGenerator:\n- files: [\"%s\"]\n  name: x\n",
	"configMapKeyFiles":     "configMapGenerator:\n- files: [\"key=%s\"]\n  name: x\n",
	"configMapEnvs":         "configMapGenerator:\n- envs: [\"%s\"]\n  name: x\n",
	"configMapEnv":          "configMapGenerator:\n- env: %s\n  name: x\n",
	"secretFiles":           "secretGenerator:\n- files: [\"%s\"]\n  name: x\n",
	"secretEnvs":            "secretGenerator:\n- envs: [\"%s\"]\n  name: x\n",
}

func TestAttack_P2_PathEscape(t *testing.T) {
	for field, text := range pathFields {
		for _, p := range []string{"../../../etc/passwd", "/etc/passwd", "../../x/../../y"} {
			t.Run("P2/"+field+"/"+p, func(t *testing.T) {
				files := tree("-- d/e/kustomization.yaml --\n" + fmt.Sprintf(text, p) + "-- d/e/a.yaml --\n" + configMap + "a\n")
				got, found := Render(t.Context(), files, Options{Path: "d/e"})
				refused(t, "No field may name a file outside of the repository.", got, found, verdict.PathEscape, "d/e/kustomization.yaml:2")
			})
		}
	}
	for _, p := range []string{"..", "../x", "a/../../x", "/../x"} {
		t.Run("P2/Path/"+p, func(t *testing.T) {
			got, found := Render(t.Context(), tree(plainMap), Options{Path: p})
			refused(t, "Nor may the path itself.", got, found, verdict.PathEscape, "")
		})
	}
	t.Run("P2/UpwardsInside", func(t *testing.T) {
		objects := mustRender(t, tree("-- d/e/kustomization.yaml --\nresources: [../../base/, ../../other/b.yaml]\n"+
			"-- base/kustomization.yaml --\nresources: [a.yaml]\n-- base/a.yaml --\n"+configMap+"a\n-- other/b.yaml --\n"+configMap+"b\n"), Options{Path: "d/e"})
		if got, want := listing(objects), "base/a.yaml:1 ConfigMap/a\nother/b.yaml:1 ConfigMap/b\n"; got != want {
			t.Errorf("bases elsewhere in the repository are fine: got\n%s", got)
		}
	})
}

func TestAttack_P3_RemoteInput(t *testing.T) {
	var hits atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		fmt.Fprint(w, configMap+"remote\n")
	}))
	defer server.Close()
	// Programs that kustomize would run leave a trace.
	bin := t.TempDir()
	trace := filepath.Join(bin, "trace")
	for _, program := range []string{"git", "helm", "docker", "sh-plugin"} {
		script := "#!/bin/sh\necho \"$0 $@\" >> " + trace + "\nexit 1\n"
		if err := os.WriteFile(filepath.Join(bin, program), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	host := strings.TrimPrefix(server.URL, "http://")
	check := func(t *testing.T, files fstest.MapFS, where string) {
		t.Helper()
		got, found := Render(t.Context(), files, Options{})
		refused(t, "Everything applied comes from the signed tree.", got, found, verdict.RemoteInput, where)
		if n := hits.Load(); n != 0 {
			t.Errorf("%d requests went out", n)
		}
		if ran, err := os.ReadFile(trace); err == nil {
			t.Errorf("programs were run:\n%s", ran)
		}
	}
	for field, text := range pathFields {
		for _, url := range []string{server.URL + "/x.yaml", "HTTP://" + host + "/x"} {
			t.Run("P3/"+field+"/"+url[:5], func(t *testing.T) {
				check(t, tree("-- kustomization.yaml --\n"+fmt.Sprintf(text, url)+plainMap), "kustomization.yaml:2")
			})
		}
	}
	for _, url := range []string{
		"https://" + host + "/org/repo//base?ref=main", "git::" + server.URL + "/org/repo.git", "ssh://git@" + host + "/org/repo",
		"git@" + host + ":org/repo.git", "github.com/org/repo/base", "github.com:org/repo", "www.github.com/org/repo", "GitHub.com/org/repo",
		"file:///etc", "oci://" + host + "/org/chart", "org@" + host + ":repo", "org/repo?ref=v1", "git::github.com/org/repo", "git:://" + host,
		"s3::https://s3/bucket", "host.example/org/repo.git?version=1", "gh:org/repo",
	} {
		for _, field := range []string{"resources", "components"} {
			t.Run("P3/"+field+"/"+url, func(t *testing.T) {
				check(t, tree("-- kustomization.yaml --\n"+field+":\n- "+url+"\n"+plainMap), "kustomization.yaml:2")
			})
		}
	}
	t.Run("P3/InBase", func(t *testing.T) {
		check(t, tree("-- kustomization.yaml --\nresources: [b]\n-- b/kustomization.yaml --\nresources:\n- a.yaml\n- "+server.URL+"\n-- b/a.yaml --\n"+configMap+"a\n"), "b/kustomization.yaml:3")
	})
	plugins := map[string]string{
		"HelmCharts":      "helmCharts:\n- name: x\n  repo: " + server.URL + "\n",
		"HelmGlobals":     "helmGlobals:\n  chartHome: charts\n",
		"HelmOld":         "helmChartInflationGenerator:\n- chartName: x\n",
		"HelmGenerator":   "generators:\n- |\n  apiVersion: builtin\n  kind: HelmChartInflationGenerator\n  metadata: {name: x}\n  repo: " + server.URL + "\n",
		"ExecFunction":    "transformers:\n- |\n  apiVersion: v1\n  kind: X\n  metadata:\n    name: x\n    annotations:\n      config.kubernetes.io/function: |\n        exec: {path: ./sh-plugin}\n",
		"Container":       "generators:\n- |\n  apiVersion: v1\n  kind: X\n  metadata:\n    name: x\n    annotations:\n      config.kubernetes.io/function: |\n        container: {image: evil}\n",
		"BuiltinFunction": "generators:\n- |\n  apiVersion: builtin\n  kind: LabelTransformer\n  metadata:\n    name: x\n    annotations:\n      config.kubernetes.io/function: |\n        exec: {path: ./sh-plugin}\n",
		"ExecPlugin":      "validators:\n- |\n  apiVersion: someteam.example.com/v1\n  kind: Validator\n  metadata: {name: x}\n",
	}
	for name, text := range plugins {
		t.Run("P3/"+name, func(t *testing.T) {
			check(t, tree("-- kustomization.yaml --\nresources: [a.yaml]\n"+text+plainMap), "")
		})
	}
	t.Run("P3/PluginFile", func(t *testing.T) {
		check(t, tree("-- kustomization.yaml --\ngenerators:\n- g.yaml\n-- g.yaml --\n# a plugin\napiVersion: v1\nkind: X\nmetadata: {name: x}\n"), "g.yaml:2")
	})
	for name, text := range map[string]string{
		"Path":         "kind: PatchTransformer\n  metadata: {name: x}\n  PATH: %s\n",
		"Files":        "kind: ConfigMapGenerator\n  metadata: {name: x}\n  Files: [\"%s\"]\n",
		"Replacements": "kind: ReplacementTransformer\n  metadata: {name: x}\n  replacements: [{pATH: \"%s\"}]\n",
		"Targets":      "kind: ValueAddTransformer\n  metadata: {name: x}\n  targetFilePath: %s\n",
	} {
		t.Run("P3/BuiltinReads"+name, func(t *testing.T) {
			files := tree("-- kustomization.yaml --\nresources: [a.yaml]\ntransformers:\n- |\n  apiVersion: builtin\n  " + fmt.Sprintf(text, server.URL) + plainMap)
			got, found := Render(t.Context(), files, Options{})
			refused(t, "Built-in plugins fetch their paths too, and know no case.", got, found, verdict.InvalidManifest, "kustomization.yaml:3")
			if n := hits.Load(); n != 0 {
				t.Errorf("%d requests went out", n)
			}
		})
	}
}

// TestNothingLeavesTheStage is the second line of defence behind the collector:
// what it makes of a path can be read as a URL by no part of kustomize.
func TestNothingLeavesTheStage(t *testing.T) {
	for _, dir := range []string{".", "a", "a/b"} {
		for _, file := range []string{"github.com/org/repo", "a/http:/x", "git@host:repo", "a/b/c?ref=x", "https:"} {
			entry := file
			ref{refResource, &entry, ""}.set("", dir, file)
			if !strings.HasPrefix(entry, "./") && !strings.HasPrefix(entry, "../") || remote.MatchString(strings.TrimSuffix(entry, "?ref=x")) {
				t.Errorf("from %s: %s becomes %q", dir, file, entry)
			}
		}
	}
}

func TestAttack_P4_CyclesAndSizes(t *testing.T) {
	wide := strings.Builder{}
	for i := range 12 {
		fmt.Fprintf(&wide, "-- l%d/kustomization.yaml --\nresources: [../a%d, ../b%d]\n", i, i, i)
		for _, side := range []string{"a", "b"} {
			fmt.Fprintf(&wide, "-- %s%d/kustomization.yaml --\nnamePrefix: %s\nresources: [../l%d]\n", side, i, side, i+1)
		}
	}
	wide.WriteString("-- l12/kustomization.yaml --\nresources: [x.yaml]\n-- l12/x.yaml --\n" + configMap + "x\n")
	long := strings.Builder{}
	for i := range maxNesting + 1 {
		fmt.Fprintf(&long, "-- l%d/kustomization.yaml --\nresources: [../l%d]\n", i, i+1)
	}
	var copies strings.Builder
	for range maxCopies + 1 {
		copies.WriteString("  - {op: copy, from: /data, path: /data/x}\n")
	}
	for name, tc := range map[string]struct {
		reason, files string
		options       Options
		want          verdict.Reason
		where         string
	}{
		"SelfCycle":    {"A kustomization that includes itself has no end.", "-- d/kustomization.yaml --\nresources:\n- ../d\n", Options{Path: "d"}, verdict.LimitExceeded, "d/kustomization.yaml:2"},
		"Cycle":        {"Nor has a ring of them.", "-- a/kustomization.yaml --\nresources: [../b]\n-- b/kustomization.yaml --\ncomponents: []\nresources:\n- ../a\n", Options{Path: "a"}, verdict.LimitExceeded, "b/kustomization.yaml:3"},
		"Doubling":     {"Twelve levels of two includes are 4,096 builds.", wide.String(), Options{Path: "l0"}, verdict.LimitExceeded, "l0/kustomization.yaml"},
		"Nesting":      {"Recursion has a limit.", long.String(), Options{Path: "l0"}, verdict.LimitExceeded, ""},
		"Objects":      {"So have objects.", plainMap + "-- b.yaml --\n" + configMap + "b\n", Options{Limits: Limits{Objects: 1}}, verdict.LimitExceeded, ""},
		"ObjectsBuilt": {"Also through kustomize.", "-- kustomization.yaml --\nresources: [a.yaml, b.yaml]\n" + plainMap + "-- b.yaml --\n" + configMap + "b\n", Options{Limits: Limits{Objects: 1}}, verdict.LimitExceeded, "kustomization.yaml"},
		"Files":        {"And files.", plainMap + "-- b.yaml --\n" + configMap + "b\n", Options{Limits: Limits{Files: 3}}, verdict.LimitExceeded, ""},
		"TotalBytes":   {"And their bytes together.", plainMap + "-- b.yaml --\n" + configMap + "b\n", Options{Limits: Limits{TotalBytes: 60}}, verdict.LimitExceeded, ""},
		"FileBytes":    {"And those of each.", plainMap, Options{Limits: Limits{FileBytes: 10}}, verdict.LimitExceeded, "a.yaml"},
		"CopyBomb":     {"Each copy may double an object.", "-- kustomization.yaml --\nresources: [a.yaml]\npatches:\n- target: {kind: ConfigMap}\n  path: p.yaml\n" + plainMap + "-- p.yaml --\n" + strings.ReplaceAll(copies.String(), "  - ", "- "), Options{}, verdict.LimitExceeded, "p.yaml:1"},
		"CopyInline":   {"In inline patches as well.", "-- kustomization.yaml --\nresources: [a.yaml]\npatches:\n- target: {kind: ConfigMap}\n  patch: |\n" + strings.ReplaceAll(copies.String(), "  - ", "    - ") + plainMap, Options{}, verdict.LimitExceeded, "kustomization.yaml:4"},
	} {
		t.Run("P4/"+name, func(t *testing.T) {
			got, found := Render(t.Context(), tree(tc.files), tc.options)
			refused(t, tc.reason, got, found, tc.want, tc.where)
		})
	}
}

func TestAttack_P5_OnePoisonedFile(t *testing.T) {
	files := tree(plainMap + "-- b.yaml --\na: [\n-- c.yaml --\n" + configMap + "{}\n-- d.yaml --\n" + configMap + "d\nmetadata: {}\n")
	got, found := Render(t.Context(), files, Options{})
	refused(t, "Every poisoned file is named, not only the first.", got, found, verdict.InvalidManifest, "b.yaml:1")
	refused(t, "Every poisoned file is named, not only the first.", got, found, verdict.InvalidManifest, "c.yaml:4")
	refused(t, "Every poisoned file is named, not only the first.", got, found, verdict.AmbiguousManifest, "d.yaml:5")
}

func TestAttack_P6_OutOfScope(t *testing.T) {
	crd := "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: xs.example.com}\nspec: {group: example.com, scope: Cluster, names: {kind: X}}\n"
	for name, tc := range map[string]struct {
		reason, content string
		options         Options
		where           string
	}{
		"OtherNamespace": {"A tenant may not write into another namespace.", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  namespace: kube-system\n", Options{}, "a.yaml:5"},
		"NotMoved":       {"Nor is what it meant for another one moved into its own.", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  namespace: kube-system\n", Options{TargetNamespace: "team"}, "a.yaml:5"},
		"ClusterRole":    {"Nor may it write what has no namespace.", "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: a\n", Options{}, "a.yaml:2"},
		"ClusterInOwn":   {"Even if it claims its own one.", "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: a, namespace: team}\n", Options{}, "a.yaml:2"},
		"OwnNamespace":   {"Its namespace is not its to change.", "apiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n", Options{}, "a.yaml:2"},
		"CRD":            {"A definition is for all.", crd, Options{}, "a.yaml:2"},
		"CustomCluster":  {"Custom kinds have a scope too.", crd + "---\napiVersion: example.com/v1\nkind: X\nmetadata: {name: x}\n", Options{}, "a.yaml:7"},
		"InList":         {"A list hides nothing.", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata:\n    name: a\n    namespace: other\n", Options{}, "a.yaml:8"},
		"OtherTarget":    {"The target is confined as well.", configMap + "a\n", Options{TargetNamespace: "other"}, ""},
	} {
		t.Run("P6/"+name, func(t *testing.T) {
			tc.options.RestrictNamespace = "team"
			got, found := Render(t.Context(), fstest.MapFS{"a.yaml": {Data: []byte(tc.content)}}, tc.options)
			refused(t, tc.reason, got, found, verdict.ScopeViolation, tc.where)
		})
		t.Run("P6/Kustomize"+name, func(t *testing.T) {
			tc.options.RestrictNamespace = "team"
			got, found := Render(t.Context(), fstest.MapFS{"a.yaml": {Data: []byte(tc.content)}, "kustomization.yaml": {Data: []byte("resources: [a.yaml]\n")}}, tc.options)
			refused(t, tc.reason, got, found, verdict.ScopeViolation, tc.where)
		})
	}
	t.Run("P6/WithinBounds", func(t *testing.T) {
		files := tree("-- a.yaml --\n" + configMap + "a\n---\n" + configMap + "b\n  namespace: team\n---\napiVersion: example.com/v1\nkind: Unknown\nmetadata: {name: c}\n")
		got := listing(mustRender(t, files, Options{RestrictNamespace: "team"}))
		if want := "a.yaml:1 team/ConfigMap/a\na.yaml:6 team/ConfigMap/b\na.yaml:12 team/Unknown.example.com/c\n"; got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
		// What is judged names the namespace into which it is applied.
		files = tree("-- a.yaml --\n" + configMap + "a\n---\n" + configMap + "b\n  namespace: team\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: c}\n")
		got = listing(mustRender(t, files, Options{DefaultNamespace: "own"}))
		if want := "a.yaml:1 own/ConfigMap/a\na.yaml:6 team/ConfigMap/b\na.yaml:12 Namespace/c\n"; got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
}

func TestAttack_G16_UnsignedContent(t *testing.T) {
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
	submodule := &fstest.MapFile{Mode: fs.ModeIrregular}
	with := func(text, name string, file *fstest.MapFile) fstest.MapFS {
		files := tree(text)
		files[name] = file
		return files
	}
	attributes := func(text string) fstest.MapFS {
		return tree("-- .gitattributes --\n" + text + "\n-- d/a.yaml --\n" + configMap + "a\n-- d/kustomization.yaml --\nresources:\n- a.yaml\n")
	}
	for name, tc := range map[string]struct {
		reason string
		files  fstest.MapFS
		path   string
		where  string
	}{
		"Pointer":          {"The signature covers the pointer and not the file.", tree("-- a.yaml --\n" + pointer), "", "a.yaml"},
		"PointerResource":  {"Through kustomize as well.", tree("-- kustomization.yaml --\nresources:\n- a.yaml\n-- a.yaml --\n" + pointer), "", "kustomization.yaml:2"},
		"PointerGenerator": {"A generator would apply the pointer.", tree("-- kustomization.yaml --\nconfigMapGenerator:\n- name: x\n  files:\n  - a.bin\n-- a.bin --\n" + pointer), "", "kustomization.yaml:4"},
		"Submodule":        {"A submodule's commit was signed by others.", with(plainMap, "sub", submodule), "", "sub"},
		"SubmodulePath":    {"The path may not lead into one.", with(plainMap, "sub", submodule), "sub", "sub"},
		"SubmoduleBase":    {"Nor may a base.", with("-- kustomization.yaml --\nresources:\n- sub/base\n", "sub", submodule), "", "kustomization.yaml:2"},
		"WorkTree":         {"In a work tree it looks like a directory.", tree("-- sub/.git --\ngitdir: ../.git/modules/sub\n-- sub/a.yaml --\n" + configMap + "a\n"), "", "sub"},
		"Filter":           {"A filter makes the content at checkout.", attributes("*.yaml filter=lfs diff=lfs"), "d", "d/kustomization.yaml"},
		"FilterDir":        {"Patterns name directories too.", attributes("d/** filter=crypt"), "d", "d/kustomization.yaml"},
		"FilterMacro":      {"And go by macros.", attributes("[attr]secret filter=crypt\n/d/*.yaml secret"), "d", "d/kustomization.yaml"},
		"FilterDeeper":     {"A deeper file may set it.", tree("-- d/.gitattributes --\na.yaml filter=x\n-- d/a.yaml --\n" + configMap + "a\n"), "", "d/a.yaml"},
		"FilterResource":   {"Used by a kustomization.", tree("-- .gitattributes --\na.yaml filter=x\n-- a.yaml --\n" + configMap + "a\n-- kustomization.yaml --\nresources:\n- a.yaml\n"), "", "kustomization.yaml:2"},
	} {
		t.Run("G16/"+name, func(t *testing.T) {
			got, found := Render(t.Context(), tc.files, Options{Path: tc.path})
			refused(t, tc.reason, got, found, verdict.UnsignedContent, tc.where)
		})
	}
	t.Run("G16/OtherFiles", func(t *testing.T) {
		mustRender(t, attributes("*.bin filter=lfs\n*.yaml text eol=lf"), Options{Path: "d"})
		mustRender(t, attributes("*.yaml filter=lfs\n*.yaml -filter"), Options{Path: "d"})
	})
}
