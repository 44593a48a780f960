package apply_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
)

func workloads(n int) string {
	var b strings.Builder
	for i := range n {
		if i%2 == 0 {
			fmt.Fprintf(&b, "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: o-%d, namespace: NS}, data: {v: x}}\n", i)
			continue
		}
		// A CronJob has a Pod template and gives controllers nothing to do.
		fmt.Fprintf(&b, "---\n{apiVersion: batch/v1, kind: CronJob, metadata: {name: o-%[1]d, namespace: NS}, spec: {suspend: true, schedule: '0 0 1 1 *', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: app, image: 'example.com/a:1', env: [{name: A, value: b}], ports: [{containerPort: 80}], resources: {requests: {cpu: 10m}}}]}}}}}}\n", i)
	}
	return b.String()
}

// TestCost bounds what a release of many objects costs, in requests rather than in
// seconds, for the machine is shared. It logs the seconds.
func TestCost(t *testing.T) {
	const n = 1000
	b := newBench(t)
	all := workloads(n)
	bare := bareApply(t, b)
	p := b.newPlan(all)
	b.count.take()
	start := time.Now()
	b.apply(p)
	reqs := b.count.take()
	t.Logf("first apply of %d: %v, %d requests; bare server-side apply: %v", n, time.Since(start), len(reqs), bare)
	if writes(reqs) != n || len(reqs) > 2*n+20 {
		t.Errorf("first apply: %d requests, %d of them writes; want a dry run and a write each", len(reqs), writes(reqs))
	}
	eventually(t, 10*time.Second, "the watches catch up", func() bool { return len(b.a.Blind()) == 0 })
	b.count.take()

	p = b.newPlan(all)
	start = time.Now()
	b.apply(p)
	t.Logf("unchanged: %v", time.Since(start))
	if reqs := b.count.take(); len(reqs) != 0 {
		t.Errorf("unchanged: %d requests", len(reqs))
	}

	p = b.newPlan(strings.Replace(all, "name: o-500, namespace: NS}, data: {v: x}", "name: o-500, namespace: NS}, data: {v: z}", 1))
	start = time.Now()
	b.apply(p)
	reqs = b.count.take()
	t.Logf("one changed: %v, %q", time.Since(start), reqs)
	if writes(reqs) != 1 || len(reqs) > 3 {
		t.Errorf("one changed: %q", reqs)
	}

	var before, after runtime.MemStats
	p = nil
	runtime.GC()
	runtime.ReadMemStats(&before)
	again := b.applier(nil)
	b.run(again)
	start = time.Now()
	if _, fs := again.Apply(t.Context(), b.newPlan(all)); len(blocking(fs)) > 0 {
		t.Fatal(fs)
	}
	reqs = b.count.take()
	t.Logf("new process: %v, %d requests, %d writes", time.Since(start), len(reqs), writes(reqs))
	if writes(reqs) > 1 || len(reqs) > n+20 {
		t.Errorf("new process: %d requests, %d writes", len(reqs), writes(reqs))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("memory of one Applier with %d objects: %d kB", n, (int64(after.HeapAlloc)-int64(before.HeapAlloc))/1024)
	runtime.KeepAlive(again)

	time.Sleep(time.Second)
	if reqs := b.count.take(); len(reqs) != 0 {
		t.Errorf("at rest: %q", reqs)
	}
}

// bareApply applies as many objects without any care, for comparison.
func bareApply(t *testing.T, b *bench) time.Duration {
	t.Helper()
	b.must(`{apiVersion: v1, kind: Namespace, metadata: {name: NS-bare}}`)
	objects := b.objects(strings.ReplaceAll(workloads(1000), "NS", "NS-bare"))
	cfg := shared.RESTConfig()
	cfg.QPS = -1
	c, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	var g errgroup.Group
	g.SetLimit(24)
	for _, o := range objects {
		g.Go(func() error {
			gvr := gvrs["configmaps"]
			if o.GetKind() == "CronJob" {
				gvr = gvrs["jobs"]
				gvr.Resource = "cronjobs"
			}
			_, err := c.Resource(gvr).Namespace(o.GetNamespace()).Apply(t.Context(), o.GetName(), o.Unstructured,
				metav1.ApplyOptions{FieldManager: "bare", Force: true})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}
