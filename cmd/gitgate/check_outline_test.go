package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/reconcile/outline"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/verify/commit"
)

const outlineCRD = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.example.com}
spec:
  group: example.com
  names: {kind: Gadget, plural: gadgets, singular: gadget, listKind: GadgetList}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {size: {type: integer}}}}}]
`

const outlineBinding = `apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: deployers, namespace: elsewhere}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: deployer}
subjects: [{kind: ServiceAccount, name: deployer, namespace: elsewhere}]
`

func named(name string) string { return strings.ReplaceAll(settings, "settings", name) }

// outlineTree has a file of everything that an outline treats in its own way.
func outlineTree() map[string]string {
	image := "registry.example.com/web" + digest
	return map[string]string{
		"app/aaa.yaml":           named("first"), // which always stands apart
		"app/web/web.yaml":       webManifest(image),
		"app/web/again.yaml":     strings.ReplaceAll(webManifest(image), "name: web\n  namespace", "name: again\n  namespace"),
		"app/maps/settings.yaml": settings,
		"app/maps/hidden.yaml":   named("hidden"),
		"app/maps/more.yaml":     named("more") + "---\n" + named("evenmore"),
		"app/far/hidden.yaml":    named("far"),
		"app/crd/crd.yaml":       outlineCRD,
		"app/crd/gadget.yaml":    "apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: one, namespace: shop}\nsize: 3\n",
		"app/rbac/account.yaml":  "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: deployer, namespace: elsewhere}\n",
		"app/rbac/binding.yaml":  outlineBinding,
		"app/odd/warned.yaml":    named("warned") + "status: {}\n",
		"app/odd/notes.txt":      "nothing\n",
	}
}

var seconds = regexp.MustCompile(`"seconds":\s*[0-9.e-]+`)

// comparable takes the times out of a report.
func comparable(out string) string { return seconds.ReplaceAllString(out, `"seconds":0`) }

// TestCheckOutline: with what a former run knows of a tree the verdict is the same,
// byte by byte. Where nothing else matters, what does not differ is not even read:
// the content of two files is taken away.
func TestCheckOutline(t *testing.T) {
	image := "registry.example.com/web" + digest
	unread := []string{"app/maps/hidden.yaml", "app/far/hidden.yaml"}
	for name, tc := range map[string]struct {
		reason string
		change gitrepo.Change
		whole  bool // everything has to be read
	}{
		"Edit":          {"A file is another one.", gitrepo.Change{Files: map[string]string{"app/maps/settings.yaml": strings.ReplaceAll(settings, "blue", "red")}}, false},
		"Nothing":       {"A commit beside the path.", gitrepo.Change{Files: map[string]string{"README": "x"}}, false},
		"Denied":        {"A rule speaks of what differs.", gitrepo.Change{Files: map[string]string{"app/web/web.yaml": strings.ReplaceAll(webManifest(image), "{app: web}", "{app: x}")}}, false},
		"New":           {"A new directory.", gitrepo.Change{Files: map[string]string{"app/new/new.yaml": named("new")}}, false},
		"Delete":        {"One object less.", gitrepo.Change{Delete: []string{"app/maps/more.yaml"}}, false},
		"Kept":          {"A rule speaks of a deletion.", gitrepo.Change{Delete: []string{"app/maps/settings.yaml"}}, false},
		"Budget":        {"Too many objects less, of all that there are.", gitrepo.Change{Delete: []string{"app/maps/more.yaml", "app/maps/settings.yaml"}}, false},
		"Moved":         {"An object moves to another file.", gitrepo.Change{Delete: []string{"app/maps/settings.yaml"}, Files: map[string]string{"app/new.yaml": settings}}, false},
		"Cured":         {"A warning goes.", gitrepo.Change{Files: map[string]string{"app/odd/warned.yaml": named("warned")}}, false},
		"Invalid":       {"The schema of a kind whose definition does not differ.", gitrepo.Change{Files: map[string]string{"app/crd/gadget.yaml": "apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: one, namespace: shop}\nsize: big\n"}}, false},
		"Twice":         {"An object that a hidden file declares.", gitrepo.Change{Files: map[string]string{"app/new.yaml": named("hidden")}}, true},
		"OtherImage":    {"An image that no rule names.", gitrepo.Change{Files: map[string]string{"app/web/again.yaml": webManifest("evil.example.com/x" + digest)}}, true},
		"Broken":        {"A file that is no YAML.", gitrepo.Change{Files: map[string]string{"app/maps/settings.yaml": "a: [\n"}}, true},
		"Kustomization": {"A directory is built now.", gitrepo.Change{Files: map[string]string{"app/maps/kustomization.yaml": "resources: [hidden.yaml]\n"}}, true},
		"Built":         {"A directory is built now, and hidden objects go.", gitrepo.Change{Files: map[string]string{"app/maps/kustomization.yaml": "resources: [fresh.yaml]\n", "app/maps/fresh.yaml": named("fresh")}}, true},
		"Attributes":    {"Files stand for others now.", gitrepo.Change{Files: map[string]string{"app/maps/.gitattributes": "*.yaml filter=lfs\n"}}, true},
		"Above":         {"The same, from above.", gitrepo.Change{Files: map[string]string{".gitattributes": "*.yaml filter=lfs\n"}}, true},
		"Scope":         {"The kind of a hidden object is of the cluster now.", gitrepo.Change{Files: map[string]string{"app/crd/crd.yaml": strings.ReplaceAll(outlineCRD, "scope: Namespaced", "scope: Cluster")}}, true},
		"Account":       {"A hidden binding follows its account no more.", gitrepo.Change{Delete: []string{"app/rbac/account.yaml"}}, true},
		"Secret":        {"Plaintext.", gitrepo.Change{Files: map[string]string{"app/new.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\nstringData: {a: b}\n"}}, false},
		"Many":          {"More files than are looked at in advance.", gitrepo.Change{Files: manyMaps(70)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newOutlineRepo(t)
			head := r.feature(tc.change)
			args := []string{"-o", "json", "--base", r.main.String(), "--head", head.String()}
			wantCode, want, errs := r.check(args...)
			if errs != "" {
				t.Fatal(errs)
			}
			cache := filepath.Join(t.TempDir(), "cache")
			if code, out, errs := r.check("-o", "json", "--head", r.main.String(), "--cache-dir", cache); code != exitAllowed {
				t.Fatalf("main: exit %d %s\n%s", code, errs, out)
			}
			args = append(args, "--cache-dir", cache)
			for range 2 { // also by the outline of the run before
				if code, got, _ := r.check(args...); code != wantCode || comparable(got) != comparable(want) {
					t.Fatalf("%s\nexit %d, want %d (-whole +known)\n%s", tc.reason, code, wantCode, cmp.Diff(comparable(want), comparable(got)))
				}
			}
			r.lose(unread...)
			_, got, _ := r.check(args...)
			if whole := comparable(got) != comparable(want); whole != tc.whole {
				t.Errorf("%s\nread whole: %v, want %v\n%s", tc.reason, whole, tc.whole, got)
			}
		})
	}
}

// TestCheckOutlineExceptions: where there are exceptions, the rules are asked about
// everything.
func TestCheckOutlineExceptions(t *testing.T) {
	r := newOutlineRepo(t)
	red := gitrepo.Change{Files: map[string]string{"app/maps/hidden.yaml": strings.ReplaceAll(named("hidden"), "blue", "red")}}
	r.main = r.signed(red)
	r.configure("  images:\n", "  exceptions: {paths: [app/exception.yaml], signers: [carol]}\n  images:\n")
	cache := filepath.Join(t.TempDir(), "cache")
	if code, out, errs := r.check("-o", "json", "--head", r.main.String(), "--cache-dir", cache); code != exitAllowed {
		t.Fatalf("main: exit %d %s\n%s", code, errs, out)
	}
	head := r.feature(gitrepo.Change{Files: map[string]string{"app/exception.yaml": `apiVersion: gitgate.dev/v1alpha1
kind: PolicyException
metadata: {name: red, namespace: shop}
spec:
  policies: [{policySet: acme, rules: [acme.warn]}]
  match: {kinds: [{kind: ConfigMap}], namespaces: [shop], names: [hidden]}
  owner: shop
  reason: a test
  expires: 2026-12-31T00:00:00Z
`}})
	args := []string{"-o", "json", "--base", r.main.String(), "--head", head.String()}
	wantCode, want, _ := r.check(args...)
	code, got, _ := r.check(append(args, "--cache-dir", cache)...)
	if code != wantCode || comparable(got) != comparable(want) || !strings.Contains(want, "red is loud") {
		t.Errorf("exit %d, want %d (-whole +known)\n%s", code, wantCode, cmp.Diff(comparable(want), comparable(got)))
	}
}

// TestCheckOutlineNeighbours: where rules look at other objects, those have to be there.
func TestCheckOutlineNeighbours(t *testing.T) {
	r := newOutlineRepo(t)
	r.configure(`        warn contains "red is loud"`, `        warn contains "far away" if { input.object.data.color == "red"; data.inventory.namespace.shop["v1"].ConfigMap.far }
        warn contains "red is loud"`)
	cache := filepath.Join(t.TempDir(), "cache")
	if code, out, errs := r.check("-o", "json", "--head", r.main.String(), "--cache-dir", cache); code != exitAllowed {
		t.Fatalf("main: exit %d %s\n%s", code, errs, out)
	}
	head := r.feature(gitrepo.Change{Files: map[string]string{"app/maps/settings.yaml": strings.ReplaceAll(settings, "blue", "red")}})
	args := []string{"-o", "json", "--base", r.main.String(), "--head", head.String()}
	wantCode, want, _ := r.check(args...)
	code, got, _ := r.check(append(args, "--cache-dir", cache)...)
	if code != wantCode || comparable(got) != comparable(want) || !strings.Contains(want, "far away") {
		t.Errorf("exit %d, want %d: %s (-whole +known)\n%s", code, wantCode, want, cmp.Diff(comparable(want), comparable(got)))
	}
}

// TestCheckOutlineImages: the images of files that are not read are proven again, and
// what is wrong with one is told of every object that runs it.
func TestCheckOutlineImages(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	reg := registry.New(t, registry.Options{})
	image := reg.MustPushImage(t, "acme/app:1").Name
	r := newOutlineRepo(t)
	r.configure("registry.example.com/**\"", "registry.example.com/**\", \""+reg.Host()+"/**\"")
	r.main = r.signed(gitrepo.Change{Files: map[string]string{
		"app/tags/a.yaml": strings.ReplaceAll(webManifest(image), "name: web\n  namespace", "name: a\n  namespace"),
		"app/tags/b.yaml": strings.ReplaceAll(webManifest(image), "name: web\n  namespace", "name: b\n  namespace"),
	}})
	cache := filepath.Join(t.TempDir(), "cache")
	loopback := "--insecure-loopback-registries"
	if code, out, errs := r.check("-o", "json", loopback, "--head", r.main.String(), "--cache-dir", cache); code != exitAllowed {
		t.Fatalf("main: exit %d %s\n%s", code, errs, out)
	}
	head := r.feature(gitrepo.Change{Files: map[string]string{"app/maps/settings.yaml": strings.ReplaceAll(settings, "blue", "green")}})
	reg.Close()
	args := []string{"-o", "json", loopback, "--offline", "--base", r.main.String(), "--head", head.String()}
	_, want, _ := r.check(args...)
	code, got, _ := r.check(append(args, "--cache-dir", cache)...)
	if code != exitUndetermined || comparable(got) != comparable(want) || strings.Count(got, "RegistryUnavailable") != 2 {
		t.Errorf("exit %d (-whole +known)\n%s", code, cmp.Diff(comparable(want), comparable(got)))
	}
}

// configure replaces text in the configuration.
func (r *checkRepo) configure(old, new string) {
	r.t.Helper()
	config, err := os.ReadFile(r.config)
	if err != nil {
		r.t.Fatal(err)
	}
	after := bytes.Replace(config, []byte(old), []byte(new), 1)
	if bytes.Equal(after, config) {
		r.t.Fatalf("the configuration has no %q", old)
	}
	if err := os.WriteFile(r.config, after, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func manyMaps(n int) map[string]string {
	out := map[string]string{}
	for i := range n {
		name := "map" + strings.Repeat("x", i)
		out["app/many/"+name+".yaml"] = named(name)
	}
	return out
}

func newOutlineRepo(t *testing.T) *checkRepo {
	t.Helper()
	r := newCheckRepo(t)
	r.main = r.signed(gitrepo.Change{Delete: []string{"app/web.yaml", "app/settings.yaml", "app/more.yaml"}, Files: outlineTree()})
	r.configure("  path: app\n", "  path: ./app/\n  targetNamespace: shop\n")
	return r
}

// lose takes the content of files of main away.
func (r *checkRepo) lose(files ...string) {
	r.t.Helper()
	fsys, err := commit.Unverified(r.Objects(), r.main)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, name := range files {
		hash, err := fsys.(outline.Tree).BlobHash(name)
		if err != nil {
			r.t.Fatal(err)
		}
		if err := r.Remove(plumbing.NewHash(hash)); err != nil {
			r.t.Fatal(err)
		}
	}
}

// TestCheckOutlineInputs: an outline holds for what it was made from.
func TestCheckOutlineInputs(t *testing.T) {
	r := newOutlineRepo(t)
	head := r.feature(gitrepo.Change{Files: map[string]string{"app/maps/settings.yaml": strings.ReplaceAll(settings, "blue", "red")}})
	cache := filepath.Join(t.TempDir(), "cache")
	args := []string{"-o", "json", "--base", r.main.String(), "--head", head.String(), "--cache-dir", cache}
	_, want, _ := r.check(args...)
	r.lose("app/maps/hidden.yaml")
	known := func() bool {
		t.Helper()
		_, out, _ := r.check(args...)
		return comparable(out) == comparable(want)
	}
	if !known() {
		t.Fatal("nothing was remembered")
	}
	t.Run("Sealed", func(t *testing.T) {
		t.Setenv(cacheKeyVariable, "another")
		if known() {
			t.Error("an outline without the seal was believed")
		}
	})
	t.Run("Trust", func(t *testing.T) {
		r.configure("  images:\n", "  images:\n    default: Deny\n")
		defer r.configure("    default: Deny\n", "")
		if known() {
			t.Error("an outline for another trust was believed")
		}
	})
	t.Run("All", func(t *testing.T) {
		if _, out, _ := r.check(append(args, "--all")...); comparable(out) == comparable(want) {
			t.Error("--all did not look at everything")
		}
	})
	t.Run("Damaged", func(t *testing.T) {
		files, err := filepath.Glob(filepath.Join(cache, "outlines", "*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no outlines: %v", err)
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			raw = bytes.Replace(raw, []byte("ConfigMap/shop/far"), []byte("ConfigMap/shop/fax"), 1)
			if err := os.WriteFile(file, raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if known() {
			t.Error("a damaged outline was believed")
		}
	})
}
