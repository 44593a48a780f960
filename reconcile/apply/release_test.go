package apply_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/apply"
)

func configMaps(n int, value string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: cm-%d, namespace: NS}, data: {v: %q}}\n", i, value)
	}
	return b.String()
}

func actions(r apply.Result) string {
	var out []string
	for _, o := range r.Outcomes {
		out = append(out, string(o.Action)+" "+o.Object)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func TestPrune(t *testing.T) {
	b := newBench(t)
	b.apply(b.newPlan(configMaps(5, "x")))
	patch := func(name, body string) {
		t.Helper()
		if _, err := b.alice.Resource(gvrs["configmaps"]).Namespace(b.ns).Patch(t.Context(), name, types.MergePatchType,
			[]byte(body), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	patch("cm-1", `{"metadata":{"labels":{"gitgate.dev/name":"somebody-else"}}}`)
	patch("cm-2", `{"metadata":{"labels":null}}`)
	patch("cm-3", `{"metadata":{"annotations":{"gitgate.dev/prune":"Disabled"}}}`)

	p := b.newPlan(configMaps(1, "x"))
	deletions, err := b.a.Deletions(t.Context(), p)
	if err != nil || len(deletions) != 1 || deletions[0].Object.GetName() != "cm-4" {
		t.Errorf("deletions = %v, %v; want cm-4 alone", deletions, err)
	}
	r := b.apply(p)
	want := fmt.Sprintf("deleted %[1]s/ConfigMap/cm-4, kept %[1]s/ConfigMap/cm-1, kept %[1]s/ConfigMap/cm-2, kept %[1]s/ConfigMap/cm-3", b.ns)
	if got := actions(r); got != want {
		t.Errorf("prune did %s\nwant %s", got, want)
	}
	for i, there := range []bool{true, true, true, true, false} {
		if _, err := b.try("configmaps", fmt.Sprintf("cm-%d", i)); (err == nil) != there {
			t.Errorf("cm-%d: %v, want it there: %t", i, err, there)
		}
	}
	if len(b.inv) != 1 {
		t.Errorf("inventory = %v, want cm-0 alone", b.inv)
	}

	t.Run("Disabled", func(t *testing.T) {
		b.apply(b.newPlan(configMaps(1, "x") + "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: more, namespace: NS}}"))
		p := b.newPlan(configMaps(1, "x"))
		p.Prune = false
		if r := b.apply(p); len(r.Outcomes) != 0 {
			t.Errorf("prune: false did %s", actions(r))
		}
		b.get("configmaps", "more")
	})
	t.Run("Remove", func(t *testing.T) {
		r, fs := b.a.Remove(t.Context(), b.newPlan(""))
		if len(blocking(fs)) > 0 || len(r.Inventory) != 0 || !strings.HasPrefix(actions(r), "deleted ") {
			t.Errorf("remove did %s, %v, inventory %v", actions(r), fs, r.Inventory)
		}
		if _, err := b.try("configmaps", "cm-0"); !apierrors.IsNotFound(err) {
			t.Errorf("cm-0: %v, want it gone", err)
		}
	})
}

func TestNoWriteUnlessRecorded(t *testing.T) {
	b := newBench(t)
	p := b.newPlan(configMaps(3, "x"))
	p.Record = func(context.Context, apply.Inventory) error { return fmt.Errorf("status is full") }
	b.count.take()
	r, fs := b.a.Apply(t.Context(), p)
	if len(blocking(fs)) != 1 || writes(b.count.take()) != 0 || len(r.Inventory) != 0 {
		t.Errorf("findings %v, inventory %v; nothing may be written that is not on record", fs, r.Inventory)
	}
}

const widgets = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.GROUP}
spec:
  group: GROUP
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {size: {type: integer, maximum: 10}, colour: {type: string, default: red}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
---
apiVersion: GROUP/v1
kind: Widget
metadata: {name: w, namespace: NS}
spec: {size: 3}
`

func TestDefinitionAndResourceInOneRelease(t *testing.T) {
	b := newBench(t)
	manifests := strings.ReplaceAll(widgets, "GROUP", b.ns+".example.com")
	for name, tc := range map[string]struct{ reason, from, to, field string }{
		"UnknownField": {"A typo in a resource whose kind is not served yet.", "spec: {size: 3}", "spec: {sice: 3}", "spec.sice"},
		"Invalid":      {"A value that the coming schema refuses.", "spec: {size: 3}", "spec: {size: 30}", "spec.size"},
	} {
		t.Run(name, func(t *testing.T) {
			b.count.take()
			_, fs := b.a.Apply(t.Context(), b.newPlan(strings.Replace(manifests, tc.from, tc.to, 1)))
			if f := blocking(fs); len(f) != 1 || f[0].Reason != verdict.SchemaInvalid || f[0].Field != tc.field {
				t.Errorf("%s\nfindings %v %q", tc.reason, fs, fieldOf(f))
			}
			if n := writes(b.count.take()); n != 0 {
				t.Errorf("%d writes before the release was known to be good", n)
			}
		})
	}
	p := b.newPlan(manifests)
	r := b.apply(p)
	if len(r.Outcomes) != 2 {
		t.Errorf("%s", actions(r))
	}
	gvr := gvrs["configmaps"]
	gvr.Group, gvr.Resource = b.ns+".example.com", "widgets"
	w, err := b.alice.Resource(gvr).Namespace(b.ns).Get(t.Context(), "w", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if c, _, _ := unstructured.NestedString(w.Object, "spec", "colour"); c != "red" {
		t.Errorf("colour = %q, want the default", c)
	}

	t.Run("Changed", func(t *testing.T) {
		// The new field is unknown to the schema that is in force.
		next := strings.Replace(manifests, "colour: {type", "weight: {type: integer}, colour: {type", 1)
		next = strings.Replace(next, "spec: {size: 3}", "spec: {size: 3, weight: 4}", 1)
		r := b.apply(b.newPlan(next))
		if got := actions(r); strings.Count(got, "updated") != 2 {
			t.Errorf("%s", got)
		}
	})
	t.Run("Health", func(t *testing.T) {
		exprs := []apply.HealthExpr{{APIVersion: b.ns + ".example.com/v1", Kind: "Widget",
			Current: "status.phase == 'Up'", Failed: "status.phase == 'Broken'"}}
		p := b.newPlan(strings.Replace(manifests, "size: 3", "size: 4", 1))
		p.Health = exprs
		b.apply(p)
		if fs := b.a.Wait(timeout(t, 200*time.Millisecond), p); len(fs) != 1 || !strings.Contains(fs[0].Message, "current expression") {
			t.Errorf("without a status: %v", fs)
		}
		status := func(phase string) {
			if _, err := b.alice.Resource(gvr).Namespace(b.ns).Patch(t.Context(), "w", types.MergePatchType,
				[]byte(`{"status":{"phase":"`+phase+`"}}`), metav1.PatchOptions{}, "status"); err != nil {
				t.Fatal(err)
			}
		}
		status("Up")
		if fs := b.a.Wait(timeout(t, 5*time.Second), p); len(fs) != 0 {
			t.Errorf("Up: %v", fs)
		}
		status("Broken")
		eventually(t, 5*time.Second, "the failure is seen", func() bool { return len(b.a.Health(p.Owner)) == 1 })
	})
}

func TestNamespaceAndContentInOneRelease(t *testing.T) {
	b := newBench(t)
	manifests := `{apiVersion: v1, kind: Namespace, metadata: {name: NS-new}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: NS-new}, data: {a: b}}
---
{apiVersion: v1, kind: Service, metadata: {name: x, namespace: NS-new}, spec: {ports: [{port: 80}]}}`
	t.Run("Offline", func(t *testing.T) {
		b.count.take()
		_, fs := b.a.Apply(t.Context(), b.newPlan(strings.Replace(manifests, "ports:", "prots:", 1)))
		if f := blocking(fs); len(f) != 1 || f[0].Reason != verdict.SchemaInvalid || f[0].Field != "spec.prots" {
			t.Errorf("findings %v %q", fs, fieldOf(f))
		}
		if n := writes(b.count.take()); n != 0 {
			t.Errorf("%d writes", n)
		}
	})
	t.Run("AtItsTurn", func(t *testing.T) {
		// Only the server knows that the port is out of range: it says so when the
		// namespace is there, and still before anything else is written.
		_, fs := b.a.Apply(t.Context(), b.newPlan(strings.Replace(manifests, "port: 80", "port: 80000", 1)))
		if f := blocking(fs); len(f) != 1 || f[0].Reason != verdict.DryRunRejected {
			t.Errorf("findings %v", fs)
		}
		if len(b.inv) != 3 {
			t.Errorf("inventory %v, want everything that may exist", b.inv)
		}
	})
	b.apply(b.newPlan(manifests))
	if u, err := b.alice.Resource(gvrs["configmaps"]).Namespace(b.ns+"-new").Get(t.Context(), "x", metav1.GetOptions{}); err != nil || u == nil {
		t.Error(err)
	}
}

// bind lets a service account of the test's namespace do things.
func (b *bench) bind(name, rules string) {
	b.t.Helper()
	b.must(`{apiVersion: v1, kind: ServiceAccount, metadata: {name: ` + name + `, namespace: NS}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: ` + name + `, namespace: NS}, rules: ` + rules + `}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: ` + name + `, namespace: NS}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: ` + name + `}, subjects: [{kind: ServiceAccount, name: ` + name + `, namespace: NS}]}`)
	id, err := apply.ServiceAccount(b.ns, name)
	if err != nil {
		b.t.Fatal(err)
	}
	// The authorizer learns of new roles a moment later.
	eventually(b.t, 5*time.Second, "the role is in force", func() bool {
		p := b.newPlan(`{apiVersion: v1, kind: ConfigMap, metadata: {name: probe, namespace: NS}}`)
		p.Identity, p.Previous = id, nil
		return len(blocking(b.a.DryRun(b.t.Context(), p))) == 0
	})
}

func TestAttack_P6_Impersonation(t *testing.T) {
	b := newBench(t)
	b.bind("deployer", `[{apiGroups: [""], resources: [configmaps], verbs: [get, create, patch, delete]}]`)
	id, err := apply.ServiceAccount(b.ns, "deployer")
	if err != nil {
		t.Fatal(err)
	}
	p := b.newPlan(configMaps(2, "x") + "---\n{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: NS}}")
	p.Identity = id
	b.count.take()
	_, fs := b.a.Apply(t.Context(), p)
	if f := blocking(fs); len(f) != 1 || f[0].Reason != verdict.DryRunRejected || f[0].Object != b.ns+"/Secret/s" {
		t.Errorf("findings %v, want the Secret that the account may not write", fs)
	}
	if n := writes(b.count.take()); n != 0 {
		t.Errorf("%d writes", n)
	}
	p = b.newPlan(configMaps(2, "x"))
	p.Identity = id
	b.apply(p)
	// Prune is done as the account as well.
	p = b.newPlan(configMaps(1, "x"))
	p.Identity = id
	if r := b.apply(p); !strings.Contains(actions(r), "deleted") {
		t.Errorf("%s", actions(r))
	}
}

// TestRolesInTheRelease: the release brings the very rights that it needs.
func TestRolesInTheRelease(t *testing.T) {
	b := newBench(t)
	b.bind("deployer", `[{apiGroups: ["", rbac.authorization.k8s.io], resources: [configmaps, serviceaccounts, roles, rolebindings], verbs: ["*"]}, {apiGroups: [""], resources: [secrets], verbs: [escalate]}, {apiGroups: [rbac.authorization.k8s.io], resources: [roles], verbs: [escalate, bind]}]`)
	id, err := apply.ServiceAccount(b.ns, "deployer")
	if err != nil {
		t.Fatal(err)
	}
	p := b.newPlan(`{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: more, namespace: NS}, rules: [{apiGroups: [batch], resources: [cronjobs], verbs: ["*"]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: more, namespace: NS}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: more}, subjects: [{kind: ServiceAccount, name: deployer, namespace: NS}]}
---
{apiVersion: batch/v1, kind: CronJob, metadata: {name: c, namespace: NS}, spec: {schedule: "0 0 1 1 *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: a}]}}}}}}`)
	p.Identity = id
	if fs := b.a.DryRun(t.Context(), p); len(blocking(fs)) > 0 {
		t.Fatalf("the dry run must leave to its turn what the release itself allows: %v", fs)
	}
	// The authorizer needs a moment to learn of the role: a second try is what
	// the reconciler would do.
	eventually(t, 5*time.Second, "the release is applied", func() bool {
		p.Previous = b.inv
		_, fs := b.a.Apply(t.Context(), p)
		return len(blocking(fs)) == 0
	})
}

func TestImmutable(t *testing.T) {
	b := newBench(t)
	const job = `{apiVersion: batch/v1, kind: Job, metadata: {name: j, namespace: NS}, spec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: a, image: IMG}]}}}}`
	b.apply(b.newPlan(strings.Replace(job, "IMG", "a", 1)))
	uid := b.get("jobs", "j").GetUID()

	next := strings.Replace(job, "IMG", "b", 1)
	b.count.take()
	_, fs := b.a.Apply(t.Context(), b.newPlan(next))
	if f := blocking(fs); len(f) != 1 || f[0].Reason != verdict.DryRunRejected || !strings.Contains(f[0].Message, apply.ForceAnnotation) {
		t.Errorf("findings %v, want advice how to force it", fs)
	}
	if n := writes(b.count.take()); n != 0 {
		t.Errorf("%d writes", n)
	}

	p := b.newPlan(strings.Replace(next, "{name: j,", "{name: j, annotations: {gitgate.dev/force: Enabled},", 1))
	if fs := b.a.DryRun(t.Context(), p); len(blocking(fs)) > 0 {
		t.Fatal(fs)
	}
	if ds, err := b.a.Deletions(t.Context(), p); err != nil || len(ds) != 1 || !ds[0].Recreate {
		t.Errorf("deletions %v, %v: policies must see that the Job will be deleted", ds, err)
	}
	if r := b.apply(p); actions(r) != "recreated "+b.ns+"/Job.batch/j" {
		t.Errorf("%s", actions(r))
	}
	if now := b.get("jobs", "j").GetUID(); now == uid {
		t.Error("it is the old Job still")
	}
}

func TestIgnoredReplicas(t *testing.T) {
	b := newBench(t)
	rule := []apply.IgnoreRule{{Paths: []string{"/spec/replicas"}, Target: apply.Selector{Kind: "Deployment", Name: "web"}}}
	plan := func(m string) *apply.Plan {
		p := b.newPlan(m)
		p.Ignore = rule
		return p
	}
	replicas := func() int64 {
		n, _, _ := unstructured.NestedInt64(b.get("deployments", "web").Object, "spec", "replicas")
		return n
	}
	scale := func(n int) {
		t.Helper()
		if _, err := b.alice.Resource(gvrs["deployments"]).Namespace(b.ns).Patch(t.Context(), "web", types.MergePatchType,
			fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n), metav1.PatchOptions{}, "scale"); err != nil {
			t.Fatal(err)
		}
	}
	b.apply(plan(web))
	if n := replicas(); n != 1 {
		t.Errorf("created with %d replicas, want Git's 1", n)
	}
	eventually(t, 5*time.Second, "the watches catch up", func() bool { return len(b.a.Blind()) == 0 })
	scale(4)
	b.onlyProbe("deployments", "web")
	b.apply(plan(strings.Replace(web, "app:1", "app:2", 1)))
	if n := replicas(); n != 4 {
		t.Errorf("%d replicas after an update, want 4: they are the autoscaler's", n)
	}
	b.apply(plan(strings.Replace(strings.Replace(web, "app:1", "app:3", 1), "replicas: 1", "paused: false", 1)))
	if n := replicas(); n != 4 {
		t.Errorf("%d replicas after Git dropped them, want 4", n)
	}
}

func TestAutoscaled(t *testing.T) {
	b := newBench(t)
	hpa := `
---
{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: web, namespace: NS}, spec: {minReplicas: 2, maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}`
	b.apply(b.newPlan(strings.Replace(web, "replicas: 1", "paused: false", 1) + hpa))
	eventually(t, 60*time.Second, "the autoscaler scales", func() bool {
		n, _, _ := unstructured.NestedInt64(b.get("deployments", "web").Object, "spec", "replicas")
		return n == 2
	})
	b.onlyProbe("deployments", "web")
}

func TestServerSideAdmissionRejects(t *testing.T) {
	b := newBench(t)
	b.must(`apiVersion: v1
kind: ResourceQuota
metadata: {name: q, namespace: NS}
spec: {hard: {count/configmaps: "4"}}`)
	eventually(t, 60*time.Second, "the quota is counted", func() bool {
		gvr := gvrs["configmaps"]
		gvr.Resource = "resourcequotas"
		u, err := b.alice.Resource(gvr).Namespace(b.ns).Get(t.Context(), "q", metav1.GetOptions{})
		if err != nil {
			return false
		}
		used, _, _ := unstructured.NestedString(u.Object, "status", "used", "count/configmaps")
		return used == "1" // kube-root-ca.crt
	})
	b.apply(b.newPlan(configMaps(3, "x"))) // full now
	b.count.take()
	_, fs := b.a.Apply(t.Context(), b.newPlan(configMaps(4, "y")))
	if f := blocking(fs); len(f) != 1 || f[0].Reason != verdict.DryRunRejected || !strings.Contains(f[0].Message, "quota") {
		t.Errorf("findings %v, want the quota", fs)
	}
	if n := writes(b.count.take()); n != 0 {
		t.Errorf("%d writes of a release that does not fit", n)
	}
	// A full quota must not keep from changing what is there.
	r, fs := b.a.Apply(t.Context(), b.newPlan(configMaps(3, "y")))
	if len(blocking(fs)) > 0 || len(r.Outcomes) != 3 || len(fs) != 3 {
		t.Errorf("%s, findings %v; want three updates with a warning each", actions(r), fs)
	}
}

func TestOtherOwner(t *testing.T) {
	b := newBench(t)
	b.apply(b.newPlan(configMaps(1, "x")))
	for _, fresh := range []bool{false, true} {
		a := b.a
		if fresh { // a process that knows of it by its labels alone
			a = b.applier(nil)
		}
		p := b.newPlan(configMaps(1, "y"))
		p.Owner.Name, p.Previous = "other", nil
		if _, fs := a.Apply(t.Context(), p); len(blocking(fs)) != 1 || blocking(fs)[0].Reason != verdict.Conflict {
			t.Errorf("fresh=%t: findings %v, want a conflict between GitSyncs", fresh, fs)
		}
	}
}

// TestAdmissionAdds: what admission itself puts into an update cannot be removed.
// It is accepted with a warning, not fought for ever.
func TestAdmissionAdds(t *testing.T) {
	b := newBench(t)
	b.apply(b.newPlan(configMaps(1, "x")))
	b.must(`apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: NS}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NS}}
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [UPDATE], resources: [configmaps]}]
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration: {expression: "Object{metadata: Object.metadata{labels: {'added': 'yes'}}}"}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: NS}
spec: {policyName: NS}`)
	n := 0
	eventually(t, 10*time.Second, "the policy is in force", func() bool {
		n++
		p := b.newPlan(configMaps(1, fmt.Sprint(n)))
		r, fs := b.a.Apply(t.Context(), p)
		if len(blocking(fs)) > 0 {
			t.Fatal(fs)
		}
		if len(fs) == 0 {
			return false
		}
		return fs[0].Severity == verdict.Warn && strings.Contains(fs[0].Message, "metadata.labels.added") && len(r.Outcomes) == 1
	})
	b.onlyProbe("configmaps", "cm-0")
}

func TestHealth(t *testing.T) {
	b := newBench(t)
	t.Run("Slow", func(t *testing.T) {
		p := b.newPlan(strings.Replace(web, "image: registry", "readinessProbe: {exec: {command: [x]}}\n        image: registry", 1))
		b.apply(p)
		// Nodes that do not exist take no Pod, so this never becomes ready.
		p = b.newPlan(strings.Replace(web, "      containers:", "      nodeName: nowhere\n      containers:", 1))
		b.apply(p)
		fs := b.a.Wait(timeout(t, 500*time.Millisecond), p)
		if len(fs) != 1 || fs[0].Reason != verdict.HealthCheckFailed || fs[0].Object != b.ns+"/Deployment.apps/web" || fs[0].Line != 1 {
			t.Errorf("findings %v, want the Deployment that is not ready", fs)
		}
	})
	t.Run("JobFails", func(t *testing.T) {
		p := b.newPlan(`{apiVersion: batch/v1, kind: Job, metadata: {name: bad, namespace: NS}, spec: {backoffLimit: 0, activeDeadlineSeconds: 1, template: {spec: {restartPolicy: Never, nodeName: nowhere, containers: [{name: a, image: a}]}}}}`)
		b.apply(p)
		start := time.Now()
		fs := b.a.Wait(timeout(t, 60*time.Second), p)
		if len(fs) != 1 || !strings.Contains(fs[0].Message, "failed") || time.Since(start) > 30*time.Second {
			t.Errorf("after %v: %v; a failed Job is final, waiting does not help", time.Since(start), fs)
		}
	})
}

// TestInterrupted stops an apply at 25 random moments, as a crash would: each time
// a new process goes on with what was recorded, and in the end everything that is
// wanted is there and nothing else.
func TestInterrupted(t *testing.T) {
	b := newBench(t)
	const n = 25
	rng := rand.New(rand.NewPCG(1, 2))
	interrupted := 0
	for i := range n {
		ctx, cancel := context.WithCancel(t.Context())
		var left atomic.Int64
		left.Store(rng.Int64N(90))
		a := b.applier(nil)
		p := b.newPlan(configMaps(10+i%7, fmt.Sprint(i)) + "---\n{apiVersion: v1, kind: Namespace, metadata: {name: NS-" + fmt.Sprint(i) + "}}\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: NS-" + fmt.Sprint(i) + "}}")
		stop := make(chan struct{})
		go func() { // cut the line after so many requests
			defer close(stop)
			for ctx.Err() == nil {
				b.count.mu.Lock()
				seen := int64(len(b.count.requests))
				b.count.mu.Unlock()
				if seen > left.Load() {
					cancel()
				}
				time.Sleep(50 * time.Microsecond)
			}
		}()
		b.count.take()
		_, fs := a.Apply(ctx, p)
		if len(blocking(fs)) > 0 {
			interrupted++
		}
		cancel()
		<-stop
	}
	if interrupted < 10 {
		t.Fatalf("only %d of %d applies were interrupted: the test would prove little", interrupted, n)
	}
	a := b.applier(nil)
	r, fs := a.Apply(t.Context(), b.newPlan(configMaps(4, "end")))
	if len(blocking(fs)) > 0 {
		t.Fatal(fs)
	}
	b.inv = r.Inventory
	list, err := b.alice.Resource(gvrs["configmaps"]).Namespace(b.ns).List(t.Context(), metav1.ListOptions{LabelSelector: apply.OwnerNameLabel})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 4 || len(b.inv) != 4 {
		t.Errorf("%d objects and %d entries at the end, want 4: something was orphaned or lost", len(list.Items), len(b.inv))
	}
	for _, cm := range list.Items {
		if v, _, _ := unstructured.NestedString(cm.Object, "data", "v"); v != "end" {
			t.Errorf("%s holds %q", cm.GetName(), v)
		}
	}
	spaces, err := b.alice.Resource(gvrs["namespaces"]).List(t.Context(), metav1.ListOptions{LabelSelector: apply.OwnerNamespaceLabel + "=" + b.ns})
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range spaces.Items {
		if ns.GetDeletionTimestamp() == nil {
			t.Errorf("namespace %s was orphaned", ns.GetName())
		}
	}
}
