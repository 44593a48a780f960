package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// TestRulesOutlastOutages proves that rules stay in force, at the reconciler and at the
// webhook, while nobody can fetch them, also after a restart; and that they go out of
// force then, too, when their signer is not trusted any more.
func TestRulesOutlastOutages(t *testing.T) {
	own := lab.New(t, lab.Options{Gitgate: shared.Gitgate})
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	server, err := own.Serve(ctx, lab.LockArgs()...)
	if err != nil {
		t.Fatal(err)
	}
	closed := func(_ *v1alpha1.TrustPolicy, s *v1alpha1.PolicySet) {
		s.Spec.Admission = v1alpha1.ModeEnforce
		s.Spec.Match = &v1alpha1.PolicyMatch{Namespaces: []string{"outage", "by-hand"}}
	}
	r := newRuled(t, own, ctx, "outage", closed)
	b := newBundled(t, own, "signed")
	b.ctx = ctx
	digest := b.push(release(t, "1.0.0", "yellow"), own.Release)
	b.deploy()
	b.inForce(digest, "1.0.0")
	if err := own.EnsureNamespace(ctx, "by-hand"); err != nil {
		t.Fatal(err)
	}
	var set v1alpha1.PolicySet
	if err := own.Client.Get(ctx, client.ObjectKey{Name: b.name}, &set); err != nil {
		t.Fatal(err)
	}
	set.Spec.Admission, set.Spec.Match = v1alpha1.ModeEnforce, &v1alpha1.PolicyMatch{Namespaces: []string{"by-hand", "signed"}}
	if err := own.Client.Update(ctx, &set); err != nil {
		t.Fatal(err)
	}
	door, err := own.ServeWebhook(ctx, "one")
	if err != nil {
		t.Fatal(err)
	}
	r.accepted(r.paint("green"))
	r.byHand("red", "red is not our color")
	r.byHand("yellow", "yellow is not our color")
	r.byHand("green", "")

	// A newer version that does not load is refused at the webhook, too.
	r.legislate(gitrepo.Change{Message: "broken", Files: map[string]string{"policies/house.rego": "package house\n\ndeny contains if {"}})
	r.set("the rules to be refused", func(s *v1alpha1.PolicySet) bool {
		return lab.SetCondition(s, v1alpha1.ConditionVerified).Reason == "PolicyError"
	})
	r.byHand("red", "red is not our color")

	if err := own.Git.Close(); err != nil {
		t.Fatal(err)
	}
	own.Registry.Close()
	for _, s := range []*lab.Server{server, door.Server} {
		s.Kill()
	}
	if server, err = own.Serve(ctx, lab.LockArgs()...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Kill)
	if _, err = own.ServeWebhook(ctx, "one"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{r.rules.Name, b.name} {
		s, err := own.AwaitSet(ctx, name, func(s *v1alpha1.PolicySet) bool {
			return lab.SetCondition(s, v1alpha1.ConditionVerified).Status == metav1.ConditionUnknown
		})
		if err != nil {
			t.Fatal(err)
		}
		if s.Status.Artifact == nil || lab.SetCondition(s, v1alpha1.ConditionReady).Status != metav1.ConditionTrue ||
			!strings.Contains(lab.SetCondition(s, v1alpha1.ConditionVerified).Message, "stays in force") {
			t.Errorf("after the restart: %+v", s.Status)
		}
	}
	r.byHand("red", "red is not our color")
	r.byHand("yellow", "yellow is not our color")
	r.byHand("green", "")
	r.keeps("green")

	var trust v1alpha1.TrustPolicy
	if err := own.Client.Get(ctx, client.ObjectKey{Name: r.rules.Name}, &trust); err != nil {
		t.Fatal(err)
	}
	trust.Spec.Commits.Signers, trust.Spec.Commits.Rules = trust.Spec.Commits.Signers[1:], nil
	if err := own.Client.Update(ctx, &trust); err != nil {
		t.Fatal(err)
	}
	r.byHand("green", "no version of its rules is in force")
	r.set("the rules to go", func(s *v1alpha1.PolicySet) bool { return s.Status.Artifact == nil })
}

// byHand creates a ConfigMap of a color as nobody of Git's, as a dry run, until the
// answer says what it should; nothing means that it passes.
func (r *ruled) byHand(color, says string) {
	r.t.Helper()
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "by-hand", Name: "a"}, Data: map[string]string{"color": color}}
	var last error
	err := wait.PollUntilContextTimeout(r.ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		last = r.Client.Create(ctx, m.DeepCopy(), client.DryRunAll)
		return says == "" && last == nil || says != "" && last != nil && strings.Contains(last.Error(), says), nil
	})
	if err != nil {
		r.t.Fatalf("waiting for the webhook to say %q of %s: %v; it said last: %v", says, color, err, last)
	}
}

// keeps waits until drift of the map a is corrected.
func (r *ruled) keeps(color string) {
	r.t.Helper()
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "a"}}
	if err := r.Client.Patch(r.ctx, m, client.RawPatch("application/merge-patch+json", []byte(`{"data":{"color":"grey"}}`))); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, r.ctx, "the drift to be corrected", func() bool { return r.get(m, "a") == nil && m.Data["color"] == color })
}

// TestRulesBesideWhatTheyJudge proves that a commit cannot bring what needs a rule to be
// gone together with its going, and that a rule that refuses everything can be mended.
func TestRulesBesideWhatTheyJudge(t *testing.T) {
	ctx := testContext(t)
	raw, err := shared.NewApp(ctx, "monorepo", func(_ *v1alpha1.TrustPolicy, s *v1alpha1.GitSync) {
		s.Spec.Policies = []v1alpha1.LocalReference{{Name: "monorepo"}}
	})
	if err != nil {
		t.Fatal(err)
	}
	a := &app{App: raw, t: t, ctx: ctx}
	files := forbids("red")
	files["deploy/a.yaml"] = lab.ConfigMap("a", "color", "green")
	commit := func(message string, files map[string]string) string {
		t.Helper()
		h, err := a.Commit(gitrepo.Change{Message: message, Files: files})
		if err != nil {
			t.Fatal(err)
		}
		return h.String()
	}
	commit("rules and what they judge", files)
	set := shared.GitPolicySet("monorepo", a.URL(), "monorepo")
	if err := shared.Client.Create(ctx, set); err != nil {
		t.Fatal(err)
	}
	inForce := func(h string) {
		t.Helper()
		if _, err := shared.AwaitSet(ctx, set.Name, func(s *v1alpha1.PolicySet) bool {
			return s.Status.Artifact != nil && strings.HasSuffix(s.Status.Artifact.Revision, h)
		}); err != nil {
			t.Fatal(err)
		}
	}
	first := a.Repo.Ref("refs/heads/" + lab.Branch)
	inForce(first.String())
	a.accepted(first)

	// The rule goes, and what it refused comes, in one commit.
	both := forbids("blue")
	both["deploy/a.yaml"] = lab.ConfigMap("a", "color", "red")
	inForce(commit("red is fine, and here it is", both))
	bad := a.Repo.Ref("refs/heads/" + lab.Branch)
	if f := a.refused(bad); f.Policy != "monorepo/house.deny" || f.Message != "red is not our color" {
		t.Errorf("finding = %+v", f)
	}

	// Without what it is needed for the rule may go; then red may come.
	inForce(commit("only the rule", map[string]string{"deploy/a.yaml": lab.ConfigMap("a", "color", "green")}))
	a.accepted(a.Repo.Ref("refs/heads/" + lab.Branch))
	commit("and now red", map[string]string{"deploy/a.yaml": lab.ConfigMap("a", "color", "red")})
	a.accepted(a.Repo.Ref("refs/heads/" + lab.Branch))

	// A rule that refuses everything does not keep itself.
	all := map[string]string{"policies/house.rego": "package house\n\ndeny contains \"nothing passes\" if input.object.kind\n"}
	inForce(commit("nothing passes", all))
	a.refused(a.Repo.Ref("refs/heads/" + lab.Branch))
	inForce(commit("mended", forbids("blue")))
	a.accepted(a.Repo.Ref("refs/heads/" + lab.Branch))
}
