package apply_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/apply"
	"gitgate.dev/gitgate/test/testkit/cluster"
)

// shared is one control plane for all tests of the package; each test has
// namespaces of its own.
var shared *cluster.Cluster

func TestMain(m *testing.M) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	c, err := cluster.Start(ctx, cluster.Options{Nodes: 1, Progress: os.Stderr})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	shared = c
	code := m.Run()
	if err := c.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// A counter counts what an Applier asks of the API server.
type counter struct {
	mu       sync.Mutex
	requests []string
}

func (c *counter) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		c.mu.Lock()
		c.requests = append(c.requests, r.Method+" "+r.URL.RequestURI())
		c.mu.Unlock()
		return next.RoundTrip(r)
	})
}

// take returns the requests since the last call, watches aside.
func (c *counter) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, r := range c.requests {
		if !strings.Contains(r, "watch=true") {
			out = append(out, r)
		}
	}
	c.requests = nil
	return out
}

// writes counts the requests that change something.
func writes(requests []string) (n int) {
	for _, r := range requests {
		if !strings.HasPrefix(r, "GET ") && !strings.Contains(r, "dryRun=All") {
			n++
		}
	}
	return n
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A bench is an Applier in a namespace of its own, and somebody else who meddles.
type bench struct {
	t      *testing.T
	ns     string
	a      *apply.Applier
	count  *counter
	alice  dynamic.Interface
	drifts chan apply.Drift
	inv    apply.Inventory // as recorded
	recs   int             // how often it was recorded
	mu     sync.Mutex
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, count: &counter{}, drifts: make(chan apply.Drift, 4096)}
	b.ns = "t-" + strings.ToLower(strings.NewReplacer("/", "-", "_", "-", " ", "-").Replace(t.Name()))
	if len(b.ns) > 50 {
		b.ns = b.ns[:50]
	}
	b.ns = strings.Trim(b.ns, "-")
	var err error
	if b.alice, err = dynamic.NewForConfig(shared.ConfigFor(cluster.Alice)); err != nil {
		t.Fatal(err)
	}
	b.must(`{apiVersion: v1, kind: Namespace, metadata: {name: ` + b.ns + `}}`)
	b.a = b.applier(nil)
	b.run(b.a)
	return b
}

// applier makes another Applier, as a new process would.
func (b *bench) applier(change func(*apply.Config)) *apply.Applier {
	b.t.Helper()
	cfg := rest.CopyConfig(shared.RESTConfig())
	cfg.Wrap(b.count.wrap)
	c := apply.Config{REST: cfg, ResyncPerMinute: -1, OnDrift: func(d apply.Drift) { b.drifts <- d }}
	if change != nil {
		change(&c)
	}
	a, err := apply.New(c)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

func (b *bench) run(a *apply.Applier) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Run(ctx) }()
	b.t.Cleanup(func() { cancel(); <-done })
}

// newPlan makes a plan of manifests; the word NS stands for the namespace.
func (b *bench) newPlan(manifests string) *apply.Plan {
	b.t.Helper()
	p := &apply.Plan{
		Owner:    apply.Owner{Namespace: b.ns, Name: "app"},
		Identity: apply.Ourselves(),
		Objects:  b.objects(manifests),
		Prune:    true,
		Previous: b.inv,
	}
	p.Record = func(_ context.Context, inv apply.Inventory) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.inv = inv
		b.recs++
		return nil
	}
	return p
}

func (b *bench) objects(manifests string) []gate.Object {
	b.t.Helper()
	var out []gate.Object
	for i, doc := range strings.Split(strings.ReplaceAll(manifests, "NS", b.ns), "\n---\n") {
		if strings.TrimSpace(doc) == "" {
			continue
		}
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			b.t.Fatalf("%v in %s", err, doc)
		}
		fix(u.Object)
		out = append(out, gate.Object{Unstructured: u, Source: gate.Source{File: "app.yaml", Line: i + 1}})
	}
	return out
}

// fix turns the floats of sigs.k8s.io/yaml into the integers of unstructured.
func fix(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, f := range v {
			v[k] = fix(f)
		}
	case []any:
		for i, f := range v {
			v[i] = fix(f)
		}
	case float64:
		if float64(int64(v)) == v {
			return int64(v)
		}
	}
	return v
}

// apply applies and fails the test on any blocking finding.
func (b *bench) apply(p *apply.Plan) apply.Result {
	b.t.Helper()
	r, found := b.a.Apply(b.t.Context(), p)
	for _, f := range found {
		if f.Severity.Blocks() {
			b.t.Fatalf("apply: %s (object %s)", f, f.Object)
		}
	}
	b.inv = r.Inventory
	return r
}

var gvrs = map[string]schema.GroupVersionResource{
	"configmaps":  {Version: "v1", Resource: "configmaps"},
	"secrets":     {Version: "v1", Resource: "secrets"},
	"services":    {Version: "v1", Resource: "services"},
	"pods":        {Version: "v1", Resource: "pods"},
	"namespaces":  {Version: "v1", Resource: "namespaces"},
	"deployments": {Group: "apps", Version: "v1", Resource: "deployments"},
	"jobs":        {Group: "batch", Version: "v1", Resource: "jobs"},
	"crds":        {Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
}

func (b *bench) get(resource, name string) *unstructured.Unstructured {
	b.t.Helper()
	u, err := b.try(resource, name)
	if err != nil {
		b.t.Fatal(err)
	}
	return u
}

func (b *bench) try(resource, name string) (*unstructured.Unstructured, error) {
	gvr, ok := gvrs[resource]
	if !ok {
		b.t.Fatalf("unknown resource %s", resource)
	}
	var c dynamic.ResourceInterface = b.alice.Resource(gvr).Namespace(b.ns)
	if resource == "namespaces" || resource == "crds" {
		c = b.alice.Resource(gvr)
	}
	return c.Get(b.t.Context(), name, metav1.GetOptions{})
}

// must creates an object as alice.
func (b *bench) must(manifest string) {
	b.t.Helper()
	for _, o := range b.objects(manifest) {
		gvk := o.GroupVersionKind()
		gvr := schema.GroupVersionResource{Group: gvk.Group, Version: gvk.Version, Resource: strings.ToLower(gvk.Kind) + "s"}
		if strings.HasSuffix(gvk.Kind, "y") {
			gvr.Resource = strings.ToLower(strings.TrimSuffix(gvk.Kind, "y")) + "ies"
		}
		var c dynamic.ResourceInterface = b.alice.Resource(gvr)
		if ns := o.GetNamespace(); ns != "" {
			c = b.alice.Resource(gvr).Namespace(ns)
		}
		if _, err := c.Create(b.t.Context(), o.Unstructured, metav1.CreateOptions{}); err != nil {
			b.t.Fatalf("creating %s: %v", o.ID(), err)
		}
	}
}

// blocking returns the findings that block.
func blocking(fs []verdict.Finding) (out []verdict.Finding) {
	for _, f := range fs {
		if f.Severity.Blocks() {
			out = append(out, f)
		}
	}
	return out
}

// eventually waits for a condition on the real cluster.
func eventually(t *testing.T, within time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !holds() {
		if time.Since(start) > within {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(start)
}
