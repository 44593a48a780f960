package e2e

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// TestSeenFromOutside proves that allows and denials are told in the status, in
// events, metrics and the decision log.
func TestSeenFromOutside(t *testing.T) {
	a := newApp(t, "observed")
	good := a.push("good", map[string]string{"a.yaml": lab.ConfigMap("a", "k", "v")})
	s := a.accepted(good)
	if v := s.Status.LastVerdict; v == nil || !v.Allowed || v.Objects != 1 {
		t.Errorf("verdict = %+v", v)
	}
	bad, err := a.Commit(gitrepo.Change{Message: "bad", Author: a.Alice.Person(), Files: map[string]string{"deploy/a.yaml": lab.ConfigMap("a", "k", "w")}})
	if err != nil {
		t.Fatal(err)
	}
	if f := a.refused(bad); f.Reason != "UnsignedCommit" || f.Commit != bad.String() {
		t.Errorf("finding = %+v", f)
	}
	eventually(t, a.ctx, "an event about the denial", func() bool {
		var events corev1.EventList
		if err := a.Client.List(a.ctx, &events, client.InNamespace(a.Key.Namespace)); err != nil {
			t.Fatal(err)
		}
		for _, e := range events.Items {
			if e.InvolvedObject.Name == a.Name && e.Reason == "UnsignedCommit" && e.Type == corev1.EventTypeWarning {
				return true
			}
		}
		return false
	})
	decisions := a.decisions()
	if decisions[good.String()] != true || decisions[bad.String()] != false || len(decisions) != 2 {
		t.Errorf("decisions = %v", decisions)
	}
	metrics, err := a.Server().Scrape(a.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`gitgate_gitsync_ready{name="observed",namespace="gitgate-system"} 0`,
		`gitgate_verdicts_total{name="observed",namespace="gitgate-system",result="allowed"} `,
		`gitgate_verdicts_total{name="observed",namespace="gitgate-system",result="denied"} `,
		`gitgate_inventory_objects{name="observed",namespace="gitgate-system"} 1`,
		`gitgate_findings_total{reason="UnsignedCommit",severity="deny",stage="commit"}`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

// decisions reads the decision log: by commit, whether it was allowed.
func (a *app) decisions() map[string]bool {
	a.t.Helper()
	f, err := os.Open(a.Server().Decisions)
	if err != nil {
		a.t.Fatal(err)
	}
	defer f.Close()
	out := map[string]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var d struct {
			GitSync string
			Verdict struct {
				Allowed  bool
				Revision string
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &d); err != nil {
			a.t.Fatalf("%v: %s", err, lines.Text())
		}
		if d.GitSync == a.Key.String() {
			_, hash, _ := strings.Cut(d.Verdict.Revision, "@sha1:")
			out[hash] = d.Verdict.Allowed
		}
	}
	if err := lines.Err(); err != nil {
		a.t.Fatal(err)
	}
	return out
}

// TestBrokenPolicyKeepsTheOldOne proves that rules which do not compile change
// nothing but the status of their set.
func TestBrokenPolicyKeepsTheOldOne(t *testing.T) {
	ctx := testContext(t)
	set := &v1alpha1.PolicySet{ObjectMeta: metav1.ObjectMeta{Name: "changing"}, Spec: v1alpha1.PolicySetSpec{
		Source: v1alpha1.PolicySource{Inline: map[string]string{"a.rego": "package a\ndeny contains \"no b\" if input.object.data.b\n"}},
	}}
	if err := shared.Client.Create(ctx, set); err != nil {
		t.Fatal(err)
	}
	a := newApp(t, "changing", func(_ *v1alpha1.TrustPolicy, s *v1alpha1.GitSync) {
		s.Spec.Policies = []v1alpha1.LocalReference{{Name: set.Name}}
	})
	a.accepted(a.push("a", map[string]string{"m.yaml": lab.ConfigMap("m", "a", "1")}))
	before := set.DeepCopy()
	set.Spec.Source.Inline["a.rego"] = "package a\ndeny contains \"no b\" if {\n"
	if err := shared.Client.Patch(ctx, set, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "the set to say that it does not compile", func() bool {
		if err := shared.Client.Get(ctx, client.ObjectKeyFromObject(set), set); err != nil {
			t.Fatal(err)
		}
		c := apimeta.FindStatusCondition(set.Status.Conditions, v1alpha1.ConditionReady)
		return c != nil && c.Status == metav1.ConditionFalse && strings.Contains(c.Message, "a.rego:")
	})
	a.accepted(a.push("still a", map[string]string{"m.yaml": lab.ConfigMap("m", "a", "2")}))
	if f := a.refused(a.push("b", map[string]string{"m.yaml": lab.ConfigMap("m", "b", "1")})); f.Reason != "PolicyDenied" {
		t.Errorf("finding = %+v", f)
	}
}

// TestInstallationExamples proves that the API server takes what deploy/README.md
// tells people to write.
func TestInstallationExamples(t *testing.T) {
	ctx := testContext(t)
	if err := shared.EnsureNamespace(ctx, "team-shop"); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(lab.ModuleRoot(), "deploy", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var examples []string
	for _, b := range strings.Split(string(raw), "```yaml\n")[1:] {
		text, _, _ := strings.Cut(b, "```")
		if strings.HasPrefix(text, "apiVersion: gitgate.dev/") {
			examples = append(examples, text)
		}
	}
	if len(examples) != 3 {
		t.Fatalf("deploy/README.md has %d examples, want one of each kind", len(examples))
	}
	for _, text := range examples {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(text), &kind); err != nil {
			t.Fatal(err)
		}
		object, err := lab.Scheme().New(kind.GroupVersionKind())
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict([]byte(text), object); err != nil {
			t.Errorf("%s: %v", kind.Kind, err)
		}
		o := object.(client.Object)
		if o.GetName() == lab.PolicyName || o.GetName() == lab.TrustName { // the lab has its own
			o.SetName("example")
		}
		if err := shared.Client.Create(ctx, o, client.DryRunAll); err != nil {
			t.Errorf("%s: %v", kind.Kind, err)
		}
	}
}
