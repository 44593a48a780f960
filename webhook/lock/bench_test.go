package lock_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"gitgate.dev/gitgate/webhook/lock"
)

// bigDeployment is a Deployment of about 4 kB, as D has it.
func bigDeployment(i int) string {
	var env strings.Builder
	for j := range 30 {
		fmt.Fprintf(&env, `{"name":"VARIABLE_%d","value":"value of variable %d"},`, j, j)
	}
	return fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web-%d","namespace":"shop-%d","labels":{"app":"web"}},"spec":{"replicas":2,
"progressDeadlineSeconds":600,"revisionHistoryLimit":10,"selector":{"matchLabels":{"app":"web"}},"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":"25%%","maxUnavailable":"25%%"}},
"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"app","image":"example.com/web:1","env":[%s],"resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"1","memory":"1Gi"}},
"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent","ports":[{"containerPort":80,"protocol":"TCP"}]},
{"name":"proxy","image":"example.com/proxy:1","args":["--a","--b","--c"],"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}],
"dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}}}}`, i, i%100, strings.TrimSuffix(env.String(), ","))
}

// stocked is a world with n objects in Git.
func stocked(t testing.TB, n int) *world {
	t.Helper()
	w := newWorld(t)
	objects := make([]lock.Object, 0, n)
	for i := range n {
		var g map[string]any
		if err := utiljson.Unmarshal([]byte(bigDeployment(i)), &g); err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{Object: g}
		objects = append(objects, lock.Object{Kind: kindOf(g), Resource: resourceOf(g), Namespace: u.GetNamespace(), Name: u.GetName(),
			Manifest: u, Desired: kindOf(g).Normalise(g), File: "apps/web.yaml", Line: i})
	}
	w.release(nil, objects...)
	return w
}

// updates are reviews about some of the objects of a stocked world.
func updates(t testing.TB, change func(string) string) []*admissionv1.AdmissionRequest {
	t.Helper()
	var out []*admissionv1.AdmissionRequest
	for i := range 64 {
		old := bigDeployment(i)
		req := &admissionv1.AdmissionRequest{Operation: admissionv1.Update, Namespace: fmt.Sprintf("shop-%d", i%100), Name: fmt.Sprintf("web-%d", i)}
		req.UserInfo.Username = alice
		req.Kind.Group, req.Kind.Version, req.Kind.Kind = "apps", "v1", "Deployment"
		req.Resource.Group, req.Resource.Version, req.Resource.Resource = "apps", "v1", "deployments"
		req.OldObject.Raw, req.Object.Raw = []byte(old), []byte(change(old))
		out = append(out, req)
	}
	return out
}

var changes = map[string]func(string) string{
	"Unchanged": func(s string) string { return strings.Replace(s, `"metadata":{`, `"metadata":{"generation":3,`, 1) },
	"Status": func(s string) string {
		return strings.Replace(s, `"spec":{"replicas"`, `"status":{"replicas":2},"spec":{"replicas"`, 1)
	},
	"Denied": func(s string) string { return strings.Replace(s, "web:1", "web:2", 1) },
}

// BenchmarkDecide is what one decision costs, at 100 and at 10,000 objects.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		w := stocked(b, n)
		for name, change := range changes {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				reqs := updates(b, change)
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					w.lock.Decide(context.Background(), reqs[i%len(reqs)])
					i++
				}
			})
		}
	}
	b.Run("Elsewhere", func(b *testing.B) {
		w := stocked(b, 100)
		req := updates(b, changes["Denied"])[0]
		req.Namespace = "other"
		b.ReportAllocs()
		for b.Loop() {
			w.lock.Decide(context.Background(), req)
		}
	})
}

// heap is what is in use after a collection.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestMemory holds the inventory to its budget: 12 KiB an object at 10,000.
func TestMemory(t *testing.T) {
	const n, budget = 10_000, 12 << 10
	w := newWorld(t)
	before := heap()
	func() { *w = *stocked(t, n) }()
	each := (heap() - before) / n
	t.Logf("%d bytes an object of %d bytes", each, len(bigDeployment(1)))
	if each > budget {
		t.Errorf("%d bytes an object, at most %d", each, budget)
	}
	if w.inv.Size() != n {
		t.Errorf("%d objects", w.inv.Size())
	}
}

// TestScale holds decisions to what they allocate with few objects: what a decision
// looks at does not grow with the inventory. BenchmarkDecide tells the time.
func TestScale(t *testing.T) {
	reqs := updates(t, changes["Denied"])
	allocs := func(w *world) float64 {
		return testing.AllocsPerRun(5, func() {
			for _, r := range reqs {
				w.lock.Decide(context.Background(), r)
			}
		})
	}
	few, many := allocs(stocked(t, 100)), allocs(stocked(t, 10_000))
	if many > few*1.01 {
		t.Errorf("decisions allocate %.0f times at 100 objects and %.0f times at 10,000", few, many)
	}
}
