package apply_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/apply"
)

const web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NS, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: app
        image: registry.example.com/app:1
        args: [a, b]
        env: [{name: A, value: "1"}, {name: B, value: "2"}]
        ports: [{containerPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NS}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: conf, namespace: NS}
data: {a: "1"}
---
apiVersion: v1
kind: Secret
metadata: {name: cred, namespace: NS}
stringData: {password: hunter2-s3cret}
`

func TestApply(t *testing.T) {
	b := newBench(t)
	r := b.apply(b.newPlan(web))
	if len(r.Outcomes) != 4 || r.Outcomes[0].Action != apply.Created {
		t.Fatalf("first apply: %+v", r)
	}
	if b.recs != 1 || len(b.inv) != 4 {
		t.Errorf("recorded %d times, %d entries; want once, 4", b.recs, len(b.inv))
	}
	if v, _, _ := unstructured.NestedString(b.get("configmaps", "conf").Object, "metadata", "labels", apply.OwnerNameLabel); v != "app" {
		t.Errorf("owner label = %q", v)
	}
	wait := b.newPlan(web)
	if fs := b.a.Wait(timeout(t, 20*time.Second), wait); len(fs) > 0 {
		t.Fatalf("not healthy: %v", fs)
	}

	t.Run("Unchanged", func(t *testing.T) {
		eventually(t, 5*time.Second, "the watches catch up", func() bool { return len(b.a.Blind()) == 0 })
		b.count.take()
		r := b.apply(b.newPlan(web))
		if reqs := b.count.take(); len(reqs) != 0 || r.Unchanged != 4 || len(r.Outcomes) != 0 {
			t.Errorf("an unchanged release cost %d requests: %q; %+v", len(reqs), reqs, r)
		}
	})
	t.Run("OneChanged", func(t *testing.T) {
		r := b.apply(b.newPlan(strings.Replace(web, `{a: "1"}`, `{a: "2", b: "3"}`, 1)))
		reqs := b.count.take()
		if writes(reqs) != 1 || len(reqs) > 3 || len(r.Outcomes) != 1 || r.Outcomes[0].Action != apply.Updated {
			t.Errorf("one change cost %q; %+v", reqs, r)
		}
		if v := fmt.Sprint(b.get("configmaps", "conf").Object["data"]); v != "map[a:2 b:3]" {
			t.Errorf("data = %s", v)
		}
	})
	t.Run("FieldDropped", func(t *testing.T) {
		b.apply(b.newPlan(web))
		if v := fmt.Sprint(b.get("configmaps", "conf").Object["data"]); v != "map[a:1]" {
			t.Errorf("data = %s, the dropped key must go", v)
		}
	})
	t.Run("NoDriftOfOurOwn", func(t *testing.T) {
		for resource, name := range map[string]string{"configmaps": "conf", "deployments": "web", "services": "web", "secrets": "cred"} {
			b.onlyProbe(resource, name)
		}
		_, need, fs := b.a.Correct(t.Context(), b.a.Drifts(apply.Owner{Namespace: b.ns, Name: "app"}), b.objects(web))
		if len(need) > 0 || len(fs) > 0 {
			t.Fatal(need, fs)
		}
	})
	t.Run("NewProcess", func(t *testing.T) {
		again := b.applier(nil)
		b.run(again)
		b.count.take()
		p := b.newPlan(web)
		r, fs := again.Apply(t.Context(), p)
		if reqs := b.count.take(); len(blocking(fs)) > 0 || writes(reqs) != 0 || r.Unchanged != 4 {
			t.Errorf("a new process wrote: %q; %+v; %v", reqs, r, fs)
		}
	})
}

func TestDryRunRejects(t *testing.T) {
	b := newBench(t)
	for name, tc := range map[string]struct {
		reason    string
		manifests string
		want      verdict.Reason
		field     string
		text      string
	}{
		"UnknownField": {"A typo must not be dropped silently.",
			`{apiVersion: v1, kind: ConfigMap, metadata: {name: ok, namespace: NS}, data: {a: b}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: bad, namespace: NS}, spec: {replica: 1, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a}]}}}}`,
			verdict.SchemaInvalid, "spec.replica", "replica"},
		"Invalid": {"What validation refuses must be seen before anything is written.",
			`{apiVersion: v1, kind: ConfigMap, metadata: {name: ok, namespace: NS}}
---
{apiVersion: v1, kind: Service, metadata: {name: bad, namespace: NS}, spec: {ports: [{port: 70000}]}}`,
			verdict.DryRunRejected, "spec.ports[0].port", "70000"},
		"NoKind": {"A kind that nobody defines cannot be applied.",
			`{apiVersion: example.com/v1, kind: Nothing, metadata: {name: x, namespace: NS}}`,
			verdict.SchemaInvalid, "", "CustomResourceDefinition"},
		"NoNamespace": {"A namespace that neither exists nor comes with the release.",
			`{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: nowhere}}`,
			verdict.DryRunRejected, "", "nowhere"},
		"Twice": {"Which of the two would win?",
			`{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: NS}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}`,
			verdict.AmbiguousManifest, "", "twice"},
		"Secret": {"The server quotes what it refuses; of a Secret that must not get out.",
			`{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: NS}, type: kubernetes.io/dockerconfigjson, stringData: {".dockerconfigjson": "hunter2-s3cret"}}`,
			verdict.DryRunRejected, "", "withheld"},
	} {
		t.Run(name, func(t *testing.T) {
			b.count.take()
			r, fs := b.a.Apply(t.Context(), b.newPlan(tc.manifests))
			found := blocking(fs)
			if len(found) != 1 || found[0].Reason != tc.want || !strings.Contains(found[0].Message, tc.text) || found[0].Field != tc.field && tc.field != "" {
				t.Fatalf("%s\nfindings %v (field %q), want %s %s mentioning %q", tc.reason, fs, fieldOf(found), tc.want, tc.field, tc.text)
			}
			if found[0].File != "app.yaml" || found[0].Line == 0 {
				t.Errorf("the finding does not say where: %+v", found[0])
			}
			if n := writes(b.count.take()); n != 0 || len(r.Outcomes) != 0 {
				t.Errorf("%s\n%d writes, want none", tc.reason, n)
			}
			if _, err := b.try("configmaps", "ok"); err == nil {
				t.Error("a part of a refused release was applied")
			}
			for _, f := range fs {
				if strings.Contains(fmt.Sprintf("%+v", f), "hunter2") || strings.Contains(fmt.Sprintf("%+v", f), "aHVudGVyMi") {
					t.Errorf("a finding tells a secret: %+v", f)
				}
			}
		})
	}
}

func fieldOf(fs []verdict.Finding) string {
	if len(fs) == 0 {
		return ""
	}
	return fs[0].Field
}

func TestPlanRefused(t *testing.T) {
	b := newBench(t)
	cm := `{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: NS}}`
	for name, tc := range map[string]struct {
		reason string
		change func(*apply.Plan)
		want   verdict.Reason
	}{
		"Empty": {"An empty release would delete everything.", func(p *apply.Plan) { p.Objects = nil }, verdict.EmptyRelease},
		"P6/NoIdentity": {"Forgetting to decide must not mean the controller's own rights.",
			func(p *apply.Plan) { p.Identity = apply.Identity{} }, verdict.ScopeViolation},
		"P6/OtherNamespace": {"A tenant stays in its namespace.",
			func(p *apply.Plan) { p.Confine = "elsewhere" }, verdict.ScopeViolation},
		"P6/ClusterKind": {"A tenant does not touch what belongs to the cluster.",
			func(p *apply.Plan) {
				p.Confine = b.ns
				p.Objects = b.objects(`{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: NS-x}}`)
			}, verdict.ScopeViolation},
		"P6/Prune": {"A forged inventory must not delete elsewhere.",
			func(p *apply.Plan) {
				p.Confine = b.ns
				p.Previous = apply.Inventory{{ID: "kube-system_coredns__ConfigMap", V: "v1"}}
			}, verdict.ScopeViolation},
		"IgnoreName": {"Ignoring the owner labels would make the object nobody's.",
			func(p *apply.Plan) { p.Ignore = []apply.IgnoreRule{{Paths: []string{"/metadata/labels"}}} }, verdict.InvalidManifest},
	} {
		t.Run(name, func(t *testing.T) {
			p := b.newPlan(cm)
			tc.change(p)
			_, fs := b.a.Apply(t.Context(), p)
			found := blocking(fs)
			if len(found) == 0 || found[0].Reason != tc.want {
				t.Errorf("%s\nfindings %v, want %s", tc.reason, fs, tc.want)
			}
		})
	}
	if _, err := apply.ServiceAccount(b.ns, ""); err == nil {
		t.Error("P6: an empty service account name must not make an identity")
	}
}
