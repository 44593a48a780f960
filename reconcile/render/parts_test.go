package render

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/racing"
)

// oneBuild renders a kustomization by one run of kustomize over all of it.
func oneBuild(t testing.TB, files fstest.MapFS, dir string) (objects []gate.Object, found []verdict.Finding) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			objects, found = nil, []verdict.Finding{panicProblem(p).finding("")}
		}
	}()
	c := collected(t, files, dir, nil)
	s, err := c.stage(nil)
	if err != nil {
		t.Fatal(err)
	}
	made, found, p := s.kustomize(c.kusts[dir], dir, c.r.options)
	if p != nil {
		return nil, []verdict.Finding{p.finding(c.kusts[dir].name)}
	}
	for _, m := range made {
		objects = append(objects, m.Object)
	}
	return objects, found
}

func collected(t testing.TB, files fstest.MapFS, dir string, cache *Cache) *collector {
	t.Helper()
	o := Options{Path: dir, Cache: cache}
	o.Limits = o.Limits.withDefaults()
	r := &renderer{ctx: t.Context(), options: o, reader: newReader(files, o.Limits), findings: newFindings(100), shared: newSharer()}
	c := newCollector(r, dir)
	if _, p := c.directory(dir, false); p != nil || r.findings.blocked {
		t.Fatalf("refused before kustomize: %v %v", p, r.findings.sorted())
	}
	return c
}

// TestPartsEqualOneBuild holds the results of builds in parts, with a cache that
// remembers other revisions of the tree, against single builds of random trees.
func TestPartsEqualOneBuild(t *testing.T) {
	racing.Skip(t)
	trees := 40
	if testing.Short() {
		trees = 10
	}
	var s partsSummary
	for seed := range trees {
		s.compare(t, uint64(seed))
	}
	t.Log(s)
	if s.divided < s.revisions/3 || s.remembered < s.divided/3 || s.refused == 0 {
		t.Errorf("the trees do not try what they should: %+v", s)
	}
}

// TestPartsOfASite is the same for a tree as people have it, of several batches.
func TestPartsOfASite(t *testing.T) {
	for name, overlay := range map[string]string{
		"Usual":    usualOverlay,
		"Prefixed": "namePrefix: x-\nconfigMapGenerator: [{name: common, literals: [a=b]}]\nreplicas: [{name: app-0007, count: 3}]\n" + usualOverlay,
	} {
		t.Run(name, func(t *testing.T) {
			g := site(app, overlay, 4*batchSize)
			cache := NewCache(64 << 20)
			for value := range 2 {
				g.set("base/app-0007.yaml", fill(app, 7, value))
				want, found := oneBuild(t, g.MapFS, "top")
				got, ok := collected(t, g.MapFS, "top", cache).inParts(t.Context())
				if !ok || len(found) > 0 {
					t.Fatalf("built in parts: %t; %v", ok, found)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("revision %d (-one build +parts):\n%s", value, diff)
				}
			}
		})
	}
}

// FuzzParts is TestPartsEqualOneBuild for as long as one likes.
func FuzzParts(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(1_000_000 + seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { new(partsSummary).compare(t, seed) })
}

// A partsSummary counts revisions of random trees, those that were built in parts
// with and without parts from the cache, and those that kustomize refuses.
type partsSummary struct{ revisions, divided, remembered, refused int }

func (s *partsSummary) compare(t *testing.T, seed uint64) {
	t.Helper()
	g := &treeMaker{Rand: rand.New(rand.NewPCG(seed, 1))}
	g.start()
	cache := NewCache(64 << 20)
	for revision := range 4 {
		if revision > 0 {
			g.change()
		}
		files := g.files()
		want, found := oneBuild(t, files, "top")
		entries := len(cache.entries)
		c := collected(t, files, "top", cache)
		if seed%3 > 0 {
			c.batch = 1 // each part is on its own
		}
		got, ok := c.inParts(t.Context())
		s.revisions++
		if len(found) > 0 {
			s.refused++
		}
		if !ok {
			continue
		}
		s.divided++
		if revision > 0 && len(cache.entries)-entries < len(got) {
			s.remembered++
		}
		if len(found) > 0 {
			t.Fatalf("seed %d, revision %d: in parts, what is wrong is not seen: %v\n%s", seed, revision, found, dump(files))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d, revision %d: parts differ (-one build +parts):\n%s\n%s", seed, revision, diff, dump(files))
		}
	}
}

func dump(files fstest.MapFS) string {
	var out strings.Builder
	for name, f := range files {
		fmt.Fprintf(&out, "-- %s --\n%s", name, f.Data)
	}
	return out.String()
}

// A treeMaker makes random trees of kustomizations, in which objects meet often:
// names come from a small set, in which some are others with a prefix.
type treeMaker struct {
	*rand.Rand
	dirs    []*madeDir
	patches int
	objects int
	mixed   bool // objects name namespaces
	nasty   bool // what is rare in real trees, and mostly built as one, is used
}

type madeDir struct {
	name     string
	head     []string // lines of the kustomization but resources
	children []string
	objects  map[string]string // by file
	extra    map[string]string // other files
}

var someNames = []string{"a", "b", "c", "d", "e", "f", "g", "h", "x-a", "x-b", "a-y", "x-a-y", "x-x-a", "shop", "123", "true", "a:b", "system:a", "default", "nginx", "nginx:1"}

func (g *treeMaker) one(of ...string) string { return of[g.IntN(len(of))] }
func (g *treeMaker) chance(percent int) bool { return g.IntN(100) < percent }
func (g *treeMaker) aName() string {
	switch n := g.IntN(10); {
	case n < 3:
		return fmt.Sprintf("n%d", g.IntN(g.objects+1))
	case n < 5:
		return g.one(someNames...)
	}
	return fmt.Sprintf("z%d", g.IntN(1000))
}

func (g *treeMaker) start() {
	g.mixed, g.nasty = g.chance(30), g.chance(15)
	g.dirs = []*madeDir{{name: "top"}}
	for i := range g.IntN(4) {
		name := fmt.Sprintf("d%d", i)
		parent := g.dirs[g.IntN(len(g.dirs))]
		parent.children = append(parent.children, "../"+name)
		g.dirs = append(g.dirs, &madeDir{name: name})
	}
	for _, d := range g.dirs {
		d.objects, d.extra = map[string]string{}, map[string]string{}
		for i := range 1 + g.IntN(12) {
			d.objects[fmt.Sprintf("f%d.yaml", i)] = g.file()
		}
		d.head = g.head(d)
	}
}

// change makes the next revision: another object, mostly, or a file more or less,
// or something else in a kustomization.
func (g *treeMaker) change() {
	d := g.dirs[g.IntN(len(g.dirs))]
	switch n := g.IntN(10); {
	case n < 6:
		d.objects[fmt.Sprintf("f%d.yaml", g.IntN(len(d.objects)))] = g.file()
	case n < 7:
		d.objects[fmt.Sprintf("f%d.yaml", len(d.objects))] = g.file()
	case n < 8 && len(d.objects) > 1:
		delete(d.objects, fmt.Sprintf("f%d.yaml", len(d.objects)-1))
	case n < 9:
		for name, text := range d.objects {
			d.objects[name] = "# a line more\n" + text
		}
	default:
		d.head = g.head(d)
	}
}

func (g *treeMaker) files() fstest.MapFS {
	out := fstest.MapFS{}
	for _, d := range g.dirs {
		lines := append([]string{}, d.head...)
		lines = append(lines, "resources:")
		for i := range len(d.objects) {
			name := fmt.Sprintf("f%d.yaml", i)
			lines = append(lines, "- "+name)
			out[d.name+"/"+name] = &fstest.MapFile{Data: []byte(d.objects[name])}
			if i < len(d.children) {
				lines = append(lines, "- "+d.children[i])
			}
		}
		for i := len(d.objects); i < len(d.children); i++ {
			lines = append(lines, "- "+d.children[i])
		}
		for name, text := range d.extra {
			out[d.name+"/"+name] = &fstest.MapFile{Data: []byte(text)}
		}
		out[d.name+"/kustomization.yaml"] = &fstest.MapFile{Data: []byte(strings.Join(lines, "\n") + "\n")}
	}
	return out
}

func (g *treeMaker) head(d *madeDir) []string {
	var out []string
	add := func(percent int, format string, args ...any) {
		if g.chance(percent) {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(35, "namespace: %s", g.one("shop", "default", "prod"))
	add(25, "namePrefix: %s", g.one("x-", "p-", "\"\""))
	add(15, "nameSuffix: %s", g.one("-y", "-s"))
	add(25, "labels:\n- pairs: {env: %s}\n  includeSelectors: %s", g.aValue(), g.one("true", "false"))
	add(15, "commonLabels: {app: %s}", g.aValue())
	add(15, "commonAnnotations: {nginx.ingress.kubernetes.io/auth-secret: %s}", g.aValue())
	add(20, "images: [{name: nginx, newName: %s, newTag: \"1\"}]", g.one("nginx", "a", "ghcr.io/x/y"))
	add(3, "replicas: [{name: %s, count: 3}]", g.aValue())
	add(20, "configMapGenerator: [{name: %s, literals: [a=b]}]", g.aValue())
	add(10, "secretGenerator: [{name: %s, literals: [a=b], options: {disableNameSuffixHash: true}}]", g.aValue())
	if g.chance(50) {
		out = append(out, "patches:\n"+g.patch(d)+g.patch(d))
	}
	if g.nasty {
		add(20, "sortOptions: {order: legacy}")
		add(20, "buildMetadata: [originAnnotations]")
		if !slices.ContainsFunc(out, func(l string) bool { return strings.HasPrefix(l, "labels:") }) {
			add(20, "labels: [{pairs: {name: a}, fields: [{path: metadata, create: true}]}]")
		}
	}
	return out
}

func (g *treeMaker) patch(d *madeDir) string {
	kind := g.one("Deployment", "ConfigMap", "RoleBinding", "Ingress")
	name := g.aValue()
	targets := []string{"kind: " + kind, "labelSelector: app=a", "name: x-.*", "kind: " + kind + ", name: " + name, "namespace: shop"}
	options := ""
	if g.nasty && g.chance(50) {
		options = "  options: {allowNameChange: true}\n"
	}
	target := "- target: {" + g.one(targets...) + "}\n" + options + "  patch: |\n    "
	switch g.IntN(9) {
	case 0:
		return target + "[{op: add, path: /metadata/labels, value: {app: " + g.aValue() + "}}]\n"
	case 1:
		return target + "[{op: add, path: /subjects, value: [{kind: ServiceAccount, name: " + g.aValue() + ", namespace: shop}]}]\n"
	case 2:
		return target + "[{op: " + g.one("add", "replace") + ", path: " + g.one("/metadata/name", "x/metadata/namespace", "/metadata/annotations/z", "/data") + ", value: " + g.aValue() + "}]\n"
	case 3:
		return target + "{apiVersion: v1, kind: " + kind + ", metadata: {name: q, annotations: {note: " + g.aValue() + "}}}\n"
	case 4:
		return target + "{apiVersion: v1, kind: " + kind + ", metadata: {name: q, labels: {app: " + g.aValue() + "}}, " +
			g.one("spec: {template: {spec: {serviceAccountName: "+g.aValue()+"}}}", "$patch: delete", "status: {a: 1}", "spec: {replicas: 4}") + "}\n"
	case 5:
		g.patches++
		file := fmt.Sprintf("p%d.yaml", g.patches)
		d.extra[file] = g.unaimed(d)
		return "- path: " + file + "\n"
	case 6:
		return "- patch: '" + strings.TrimSpace(g.unaimed(d)) + "'\n"
	case 7:
		return target + "{apiVersion: v1, kind: " + kind + ", metadata: {name: q, annotations: null}, spec: {x: 1}}\n"
	}
	return target + "[{op: copy, from: " + g.one("/metadata/labels", "/metadata/name", "/data") + ", path: /spec}]\n"
}

// unaimed returns a patch without a target, for an object of the directory, mostly.
func (g *treeMaker) unaimed(d *madeDir) string {
	text := g.object()
	if len(d.objects) > 0 && g.chance(90) {
		text = d.objects["f0.yaml"]
	}
	m := identity.FindStringSubmatch(text)
	return fmt.Sprintf("{apiVersion: %s, kind: %s, metadata: {name: %s%s}, data: {patched: %s}}\n", m[1], m[2], m[3], m[4], g.aValue())
}

var identity = regexp.MustCompile(`apiVersion: (\S+), kind: (\w+), metadata: \{name: ("[^"]*")(, namespace: \w+)?`)

// aValue returns a text that is a name, mostly.
func (g *treeMaker) aValue() string { return fmt.Sprintf("%q", g.aName()) }

func (g *treeMaker) file() string {
	n := 1
	if g.chance(30) {
		n = 1 + g.IntN(3)
	}
	docs := make([]string, n)
	for i := range docs {
		docs[i] = g.object()
	}
	return strings.Join(docs, "---\n")
}

func (g *treeMaker) object() string {
	v := g.aValue
	apiVersion, kind := "v1", "ConfigMap"
	body := "data: {a: " + v() + ", b: \"0777\", c: \"2001-01-01\"}"
	switch g.IntN(12) {
	case 0:
		kind, body = "Secret", "stringData: {a: "+v()+"}"
	case 1, 2, 3:
		apiVersion, kind = "apps/v1", "Deployment"
		body = "spec: {replicas: 2, selector: {matchLabels: {app: a}}, big: 9007199254740993, half: 0.5, template: {metadata: {labels: {app: a}}, spec: {serviceAccountName: " + v() +
			", volumes: [{name: v, configMap: {name: " + v() + "}}, {name: w, secret: {secretName: " + v() + "}}], containers: [{name: c, image: \"nginx:2\", " +
			"envFrom: [{configMapRef: {name: " + v() + "}}]}]}}}"
	case 4:
		kind, body = "ServiceAccount", "imagePullSecrets: [{name: "+v()+"}]"
	case 5:
		apiVersion, kind = "rbac.authorization.k8s.io/v1", g.one("RoleBinding", "ClusterRoleBinding")
		ns := g.one("", ", namespace: shop", ", namespace: default", ", namespace: prod")
		body = "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: " + g.one("Role", "ClusterRole") + ", name: " + v() + "}, subjects: [{kind: ServiceAccount, name: " + v() + ns + "}]"
	case 6:
		apiVersion, kind = "rbac.authorization.k8s.io/v1", g.one("Role", "ClusterRole")
		body = "rules: [{resources: [secrets], resourceNames: [" + v() + ", " + v() + "], verbs: [get]}]"
	case 7:
		apiVersion, kind = "networking.k8s.io/v1", "Ingress"
		body = "spec: {tls: [{secretName: " + v() + "}], rules: [{http: {paths: [{backend: {service: {name: " + v() + "}}}]}}]}"
	case 8:
		apiVersion, kind = "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"
		body = "webhooks: [{name: w, clientConfig: {service: {name: " + v() + ", namespace: " + g.one("shop", "default") + "}}}]"
	case 9:
		kind, body = g.one("Namespace", "Service"), "spec: {x: 1}"
	case 10:
		apiVersion, kind = "example.com/v1", "Widget"
		body = "spec: {ref: {name: " + v() + ", namespace: shop}, num: 1.0, exp: 1e3}"
	}
	name := fmt.Sprintf("%q", g.one(someNames...))
	if g.chance(80) {
		name = fmt.Sprintf("%q", fmt.Sprintf("n%d", g.objects))
		g.objects++
	}
	meta := "name: " + name
	if g.mixed && g.chance(50) {
		meta += ", namespace: " + g.one("shop", "default", "prod")
	}
	if g.chance(40) {
		meta += ", labels: {app: " + v() + "}"
	}
	switch {
	case g.chance(3):
		meta += ", annotations: {config.kubernetes.io/local-config: \"true\"}"
	case g.nasty && g.chance(10):
		meta += ", annotations: {internal.config.kubernetes.io/previousNames: " + v() + "}"
	case g.chance(20):
		meta += ", annotations: {nginx.ingress.kubernetes.io/auth-secret: " + v() + "}"
	}
	return fmt.Sprintf("{apiVersion: %s, kind: %s, metadata: {%s}, %s}\n", apiVersion, kind, meta, body)
}
