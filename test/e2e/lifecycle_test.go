package e2e

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

func TestPrune(t *testing.T) {
	a := newApp(t, "prune")
	a.accepted(a.push("two maps", map[string]string{"a.yaml": lab.ConfigMap("a", "k", "1"), "b.yaml": lab.ConfigMap("b", "k", "1")}))
	s := a.accepted(a.push("without b", map[string]string{"b.yaml": ""}))
	a.gone(&corev1.ConfigMap{}, "b")
	if n := s.Status.Inventory.Len(); n != 1 {
		t.Errorf("the inventory has %d entries, want 1", n)
	}
	if len(s.Status.History) != 2 || s.Status.History[0].Signer != "alice" {
		t.Errorf("history = %+v", s.Status.History)
	}
}

// TestDeletionBudget proves that a commit cannot delete more than was agreed,
// unless its signed message says how many.
func TestDeletionBudget(t *testing.T) {
	a := newApp(t, "budget", func(_ *v1alpha1.TrustPolicy, s *v1alpha1.GitSync) {
		two := intstr.FromInt32(2)
		s.Spec.DeletionBudget = &two
	})
	files, none := map[string]string{"keep.yaml": lab.ConfigMap("keep", "k", "v")}, map[string]string{}
	for i := range 3 {
		name := fmt.Sprintf("m%d", i)
		files[name+".yaml"], none[name+".yaml"] = lab.ConfigMap(name, "k", "v"), ""
	}
	a.accepted(a.push("four maps", files))
	if f := a.refused(a.push("away with three", none)); f.Reason != "DeletionBudget" {
		t.Fatalf("finding = %+v", f)
	}
	if err := a.get(&corev1.ConfigMap{}, "m0"); err != nil {
		t.Fatalf("deleted although the budget was exceeded: %v", err)
	}
	a.accepted(a.push("I mean it\n\nGitgate-Approve-Deletions: 3\n", map[string]string{"keep.yaml": lab.ConfigMap("keep", "k", "w")}))
	a.gone(&corev1.ConfigMap{}, "m0")
}

// TestDeletionIsJudged proves that rules see deletions.
func TestDeletionIsJudged(t *testing.T) {
	set := &v1alpha1.PolicySet{
		ObjectMeta: metav1.ObjectMeta{Name: "keepers"},
		Spec: v1alpha1.PolicySetSpec{Source: v1alpha1.PolicySource{Inline: map[string]string{"keep.rego": `package keep
deny contains {"msg": "this object stays", "field": "metadata.labels.keep"} if {
	input.operation == "DELETE"
	input.oldObject.metadata.labels.keep == "true"
}`}}},
	}
	if err := shared.Client.Create(testContext(t), set); err != nil {
		t.Fatal(err)
	}
	a := newApp(t, "judged-deletion", func(_ *v1alpha1.TrustPolicy, s *v1alpha1.GitSync) {
		s.Spec.Policies = []v1alpha1.LocalReference{{Name: set.Name}}
	})
	kept := strings.Replace(lab.ConfigMap("kept", "k", "v"), "name: kept", "name: kept\n  labels: {keep: \"true\"}", 1)
	a.accepted(a.push("two maps", map[string]string{"kept.yaml": kept, "other.yaml": lab.ConfigMap("other", "k", "v")}))
	if f := a.refused(a.push("away with it", map[string]string{"kept.yaml": ""})); f.Reason != "PolicyDenied" || f.Policy != "keepers/keep.deny" {
		t.Fatalf("finding = %+v", f)
	}
}

func TestSuspend(t *testing.T) {
	a := newApp(t, "suspend")
	a.accepted(a.push("one", map[string]string{"a.yaml": lab.ConfigMap("a", "k", "1")}))
	a.update(func(s *v1alpha1.GitSync) { s.Spec.Suspend = true })
	a.await("suspended", func(s *v1alpha1.GitSync) bool { return lab.Ready(s).Reason == v1alpha1.ReasonSuspended })
	h := a.push("two", map[string]string{"a.yaml": lab.ConfigMap("a", "k", "2")})
	if err := a.Poke(a.ctx, a.Key); err != nil {
		t.Fatal(err)
	}
	var m corev1.ConfigMap
	if err := a.get(&m, "a"); err != nil {
		t.Fatal(err)
	}
	if m.Data["k"] != "1" {
		t.Error("applied while suspended")
	}
	a.update(func(s *v1alpha1.GitSync) { s.Spec.Suspend = false })
	a.accepted(h)
}

// TestDelete proves that a GitSync takes with it what it applied, and nothing else.
func TestDelete(t *testing.T) {
	a := newApp(t, "goes-away")
	a.accepted(a.push("one", map[string]string{"a.yaml": lab.ConfigMap("a", "k", "1")}))
	bystander := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: "bystander"}}
	if err := a.Client.Create(a.ctx, bystander); err != nil {
		t.Fatal(err)
	}
	if err := a.Client.Delete(a.ctx, &v1alpha1.GitSync{ObjectMeta: metav1.ObjectMeta{Namespace: a.Key.Namespace, Name: a.Key.Name}}); err != nil {
		t.Fatal(err)
	}
	a.gone(&corev1.ConfigMap{}, "a")
	eventually(t, a.ctx, "the GitSync to go", func() bool { return apierrors.IsNotFound(a.Client.Get(a.ctx, a.Key, &v1alpha1.GitSync{})) })
	if err := a.get(&corev1.ConfigMap{}, "bystander"); err != nil {
		t.Errorf("deleted what was not its own: %v", err)
	}
}

func TestDependsOn(t *testing.T) {
	infra := newApp(t, "infra")
	a := newApp(t, "depends", func(_ *v1alpha1.TrustPolicy, s *v1alpha1.GitSync) {
		s.Spec.DependsOn = []v1alpha1.DependencyReference{{Name: infra.Name}}
	})
	h := a.push("one", map[string]string{"a.yaml": lab.ConfigMap("a", "k", "1")})
	a.await("waiting", func(s *v1alpha1.GitSync) bool { return lab.Ready(s).Reason == v1alpha1.ReasonDependencyNotReady })
	infra.accepted(infra.push("one", map[string]string{"a.yaml": lab.ConfigMap("a", "k", "1")}))
	a.await("applied once infra is Ready", func(s *v1alpha1.GitSync) bool { return strings.HasSuffix(s.Status.LastAppliedRevision, h.String()) })
}

// TestHealth proves that Ready waits for health, that a new commit is the cure and
// need not wait for the old one's timeout.
func TestHealth(t *testing.T) {
	image, err := shared.SignedImage("acme/health:1")
	if err != nil {
		t.Fatal(err)
	}
	a := newApp(t, "health", func(_ *v1alpha1.TrustPolicy, s *v1alpha1.GitSync) { s.Spec.Wait = true })
	good := lab.Deployment("web", image.Pinned(), 1)
	bad := strings.Replace(good, "      labels: {app: web}", "      labels: {app: web}\n      annotations: {cluster.test/ready: \"false\"}", 1)
	h := a.push("never ready", map[string]string{"web.yaml": bad})
	a.await("applied but not healthy", func(s *v1alpha1.GitSync) bool {
		return strings.HasSuffix(s.Status.LastAppliedRevision, h.String()) && lab.Ready(s).Status == metav1.ConditionUnknown
	})
	a.accepted(a.push("ready", map[string]string{"web.yaml": good}))
}

// TestMergeAndRewrite proves that history only goes forward.
func TestRewrittenHistory(t *testing.T) {
	a := newApp(t, "rewritten")
	first := a.push("one", map[string]string{"a.yaml": lab.ConfigMap("a", "k", "1")})
	a.accepted(first)
	a.accepted(a.push("two", map[string]string{"a.yaml": lab.ConfigMap("a", "k", "2")}))
	if err := a.Reset(first); err != nil {
		t.Fatal(err)
	}
	if f := a.refused(first); f.Reason != "NonFastForward" {
		t.Errorf("finding = %+v", f)
	}
	h, err := a.Commit(gitrepo.Change{Message: "another two", Files: map[string]string{"deploy/a.yaml": lab.ConfigMap("a", "k", "3")}})
	if err != nil {
		t.Fatal(err)
	}
	if f := a.refused(h); f.Reason != "NonFastForward" {
		t.Errorf("finding = %+v", f)
	}
	var m corev1.ConfigMap
	if err := a.Client.Get(a.ctx, client.ObjectKey{Namespace: a.Namespace, Name: "a"}, &m); err != nil || m.Data["k"] != "2" {
		t.Errorf("the live object is %v (%v), want the last good release", m.Data, err)
	}
}
