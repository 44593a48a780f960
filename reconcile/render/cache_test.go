package render

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy/gate"
)

// A gitFS knows the hashes of its files, as a Git tree does, and counts reads.
type gitFS struct {
	fstest.MapFS
	hashes map[string]string
	opened map[string]int
}

func newGitFS(files fstest.MapFS) *gitFS {
	g := &gitFS{MapFS: files, hashes: map[string]string{}, opened: map[string]int{}}
	for name := range files {
		g.hash(name)
	}
	return g
}

func (g *gitFS) hash(name string) {
	sum := sha256.Sum256(g.MapFS[name].Data)
	g.hashes[name] = hex.EncodeToString(sum[:])
}

func (g *gitFS) BlobHash(name string) (string, error) {
	if h, ok := g.hashes[name]; ok {
		return h, nil
	}
	return "", fs.ErrNotExist
}

func (g *gitFS) Open(name string) (fs.File, error) {
	if _, file := g.MapFS[name]; file {
		g.opened[name]++
	}
	return g.MapFS.Open(name)
}

func (g *gitFS) set(name, content string) {
	g.MapFS[name] = &fstest.MapFile{Data: []byte(content)}
	g.hash(name)
	g.opened = map[string]int{}
}

func manyFiles(n int) fstest.MapFS {
	files := fstest.MapFS{}
	for i := range n {
		files[fmt.Sprintf("d/%04d.yaml", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, deployment, i)}
	}
	return files
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web-%d
  labels: {app.kubernetes.io/name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      securityContext: {runAsNonRoot: true}
      containers:
      - name: web
        image: ghcr.io/acme/web:1.2.3
        args: [--port=8080, --verbose]
        env:
        - {name: MODE, value: production}
        resources:
          limits: {cpu: 500m, memory: 128Mi}
          requests: {cpu: 100m, memory: 64Mi}
        securityContext:
          allowPrivilegeEscalation: false
          capabilities: {drop: [ALL]}
`

func TestCacheReadsOnlyWhatChanged(t *testing.T) {
	for name, kustomization := range map[string]string{"Plain": "", "Kustomize": "namePrefix: x-\nresources: [0000.yaml, 0001.yaml, 0002.yaml]\n"} {
		t.Run(name, func(t *testing.T) {
			g := newGitFS(manyFiles(3))
			if kustomization != "" {
				g.set("d/kustomization.yaml", kustomization)
			}
			o := Options{Path: "d", Cache: NewCache(1 << 20)}
			first := renderFS(t, g, o)
			g.opened = map[string]int{}
			again := renderFS(t, g, o)
			if len(g.opened) > 0 {
				t.Errorf("an unchanged tree was read: %v", g.opened)
			}
			if diff := cmp.Diff(first, again); diff != "" {
				t.Errorf("the cache changed the result:\n%s", diff)
			}
			g.set("d/0001.yaml", fmt.Sprintf(deployment, 77))
			changed := renderFS(t, g, o)
			if diff := cmp.Diff(map[string]int{"d/0001.yaml": 1}, g.opened); diff != "" {
				t.Errorf("other files were read than the changed one:\n%s", diff)
			}
			fresh := renderFS(t, g, Options{Path: "d"})
			if diff := cmp.Diff(fresh, changed); diff != "" {
				t.Errorf("the cache gives something else than a fresh render:\n%s", diff)
			}
			if cmp.Equal(first, changed) {
				t.Error("the change was not seen")
			}
		})
	}
}

func TestCacheKeepsFindingsAndLimitsApart(t *testing.T) {
	g := newGitFS(tree("-- a.yaml --\na: 1\na: 2\n-- b.yaml --\na: 1\na: 2\n"))
	o := Options{Cache: NewCache(1 << 20)}
	for range 2 {
		_, found := Render(t.Context(), g, o)
		if len(found) != 2 || found[0].File != "a.yaml" || found[1].File != "b.yaml" {
			t.Fatalf("equal files at two paths need a finding each: %v", found)
		}
	}
	g = newGitFS(tree(plainMap))
	renderFS(t, g, o)
	o.Limits.Nodes = 3
	if got, _ := Render(t.Context(), g, o); len(got) > 0 {
		t.Error("what passed a generous limit passed a tight one from the cache")
	}
}

// TestUnchangedObjectsKeepTheirPointer requires what lets later stages skip them.
func TestUnchangedObjectsKeepTheirPointer(t *testing.T) {
	for name, kustomization := range map[string]string{"Plain": "", "Kustomize": "namePrefix: x-\nresources: [0000.yaml, 0001.yaml, 0002.yaml]\n"} {
		for _, ns := range []string{"", "shop"} {
			t.Run(name+"/"+ns, func(t *testing.T) {
				g := newGitFS(manyFiles(3))
				if kustomization != "" {
					g.set("d/kustomization.yaml", kustomization)
				}
				o := Options{Path: "d", Cache: NewCache(1 << 20), TargetNamespace: ns}
				first := renderFS(t, g, o)
				g.set("d/0001.yaml", fmt.Sprintf(deployment, 77))
				for i, o := range renderFS(t, g, o) {
					if same, want := o.Unstructured == first[i].Unstructured, i != 1; same != want {
						t.Errorf("object %d: same pointer %t, want %t", i, same, want)
					}
					if o.GetNamespace() != ns {
						t.Errorf("object %d: namespace %q", i, o.GetNamespace())
					}
				}
			})
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := NewCache(100)
	for i := range 50 {
		c.put(cacheKey{hash: fmt.Sprint(i)}, i, 30)
		c.get(cacheKey{hash: "0"})
	}
	if c.size > 100 || len(c.entries) != 3 || c.recent.Len() != 3 {
		t.Errorf("size %d, %d entries", c.size, len(c.entries))
	}
	if _, ok := c.get(cacheKey{hash: "0"}); !ok {
		t.Error("what is used most was dropped")
	}
	c.put(cacheKey{hash: "big"}, 0, 101)
	if _, ok := c.get(cacheKey{hash: "big"}); ok {
		t.Error("an entry larger than the cache was kept")
	}
}

// TestCachedObjectsAreNotChanged requires that what one call moves to a namespace
// does not show in the next.
func TestCachedObjectsAreNotChanged(t *testing.T) {
	g := newGitFS(tree("-- a.yaml --\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: a, namespace: x}\n" +
		"subjects: [{kind: ServiceAccount, name: default, namespace: x}]\n"))
	o := Options{Cache: NewCache(1 << 20)}
	before := renderFS(t, g, o)[0].DeepCopy()
	o.TargetNamespace = "y"
	moved := renderFS(t, g, o)[0]
	o.TargetNamespace = ""
	after := renderFS(t, g, o)[0].Unstructured
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the cache was changed:\n%s", diff)
	}
	subject := moved.Object["subjects"].([]any)[0].(map[string]any)
	if moved.GetNamespace() != "y" || subject["namespace"] != "y" {
		t.Errorf("not moved: %v", moved.Object)
	}
}

func renderFS(t testing.TB, fsys fs.FS, o Options) []gate.Object {
	t.Helper()
	objects, found := Render(t.Context(), fsys, o)
	if len(found) > 0 {
		t.Fatal(found)
	}
	return objects
}

func BenchmarkRender(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprintf("Plain/Cold/%d", n), func(b *testing.B) {
			g := newGitFS(manyFiles(n))
			for b.Loop() {
				renderFS(b, g, Options{Path: "d"})
			}
		})
		b.Run(fmt.Sprintf("Plain/OneChanged/%d", n), func(b *testing.B) {
			g := newGitFS(manyFiles(n))
			o := Options{Path: "d", Cache: NewCache(256 << 20)}
			renderFS(b, g, o)
			i := 0
			for b.Loop() {
				i++
				g.set("d/0001.yaml", fmt.Sprintf(deployment, n+i))
				renderFS(b, g, o)
			}
		})
		b.Run(fmt.Sprintf("Kustomize/Cold/%d", n), func(b *testing.B) {
			g := newGitFS(manyFiles(n))
			list := "namespace: shop\nresources:\n"
			for i := range n {
				list += fmt.Sprintf("- %04d.yaml\n", i)
			}
			g.set("d/kustomization.yaml", list)
			for b.Loop() {
				renderFS(b, g, Options{Path: "d"})
			}
		})
	}
}
