package apply_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/apply"
)

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

// TestServerSideAdmissionRejects: a policy of the cluster that knows names refuses
// one object of a release, and the name under which D is asked for.
func TestServerSideAdmissionRejects(t *testing.T) {
	b := newBench(t)
	b.must(`apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: NS}
spec:
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NS}}
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]
  validations: [{expression: "object.metadata.name in ['cm-0', 'cm-1', 'cm-2']", message: the name is taken}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: NS}
spec: {policyName: NS, validationActions: [Deny]}`)
	eventually(t, 30*time.Second, "the policy is in force", func() bool {
		return len(blocking(b.a.DryRun(t.Context(), b.newPlan(configMaps(4, "x"))))) > 0
	})
	b.apply(b.newPlan(configMaps(3, "x")))
	b.count.take()
	_, fs := b.a.Apply(t.Context(), b.newPlan(configMaps(4, "y")))
	if f := blocking(fs); len(f) != 1 || f[0].Reason != verdict.DryRunRejected || !strings.Contains(f[0].Message, "the name is taken") {
		t.Errorf("findings %v, want what the policy says", fs)
	}
	if n := writes(b.count.take()); n != 0 {
		t.Errorf("%d writes of a release that is refused", n)
	}
	// That D cannot be asked for must not keep from changing what is there.
	r, fs := b.a.Apply(t.Context(), b.newPlan(configMaps(3, "y")))
	if len(blocking(fs)) > 0 || len(r.Outcomes) != 3 || len(fs) != 3 {
		t.Errorf("%s, findings %v; want three updates with a warning each", actions(r), fs)
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
