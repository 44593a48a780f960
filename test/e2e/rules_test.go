package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// forbids is a file of rules that refuse ConfigMaps of one color.
func forbids(color string) map[string]string {
	return map[string]string{
		"policies/house.rego":         "package house\n\ndeny contains sprintf(\"%s is not our color\", [input.object.data.color]) if input.object.data.color == data.colors.bad\n",
		"policies/colors/data.json":   fmt.Sprintf("{\"bad\": %q}\n", color),
		"policies/house_test.rego":    "package house_test\n\nthis does not parse: it never judges\n",
		"policies/README.md":          "# Rules\n",
		"policies/.hidden/other.rego": "neither does this",
	}
}

// A ruled is an app whose rules come from a repository of their own.
type ruled struct {
	*app
	rules *lab.Rules
}

func newRuled(t *testing.T, l *lab.Lab, ctx context.Context, name string, edit ...func(*v1alpha1.TrustPolicy, *v1alpha1.PolicySet)) *ruled {
	t.Helper()
	rules, err := l.NewRules(ctx, name+"-rules", forbids("red"), edit...)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := l.NewApp(ctx, name, func(_ *v1alpha1.TrustPolicy, s *v1alpha1.GitSync) {
		s.Spec.Policies = []v1alpha1.LocalReference{{Name: rules.Name}}
	})
	if err != nil {
		t.Fatal(err)
	}
	return &ruled{&app{App: raw, t: t, ctx: ctx}, rules}
}

// legislate commits to the rules.
func (r *ruled) legislate(c gitrepo.Change) plumbing.Hash {
	r.t.Helper()
	h, err := r.rules.Commit(c)
	if err != nil {
		r.t.Fatal(err)
	}
	return h
}

// inForce waits until the rules of a commit are in force.
func (r *ruled) inForce(h plumbing.Hash) *v1alpha1.PolicySet {
	r.t.Helper()
	return r.set("the rules to be in force", func(s *v1alpha1.PolicySet) bool {
		a := s.Status.Artifact
		return a != nil && a.Revision == lab.Branch+"@sha1:"+h.String() && a.URL == s.Spec.Source.Git.URL && strings.HasPrefix(a.Digest, "sha256:") &&
			lab.SetCondition(s, v1alpha1.ConditionReady).Status == metav1.ConditionTrue && lab.SetCondition(s, v1alpha1.ConditionVerified).Status == metav1.ConditionTrue
	})
}

// rejected waits until a version is refused for a reason while another stays.
func (r *ruled) rejected(h, stays plumbing.Hash, reason, says string) {
	r.t.Helper()
	s := r.set("the rules to be refused", func(s *v1alpha1.PolicySet) bool {
		return s.Status.LastAttemptedRevision == lab.Branch+"@sha1:"+h.String() && lab.SetCondition(s, v1alpha1.ConditionVerified).Status == metav1.ConditionFalse
	})
	verified := lab.SetCondition(s, v1alpha1.ConditionVerified)
	if verified.Reason != reason || !strings.Contains(verified.Message, says) || !strings.Contains(verified.Message, stays.String()+" stays in force") {
		r.t.Errorf("Verified = %+v, want %s, %q, and that %s stays", verified, reason, says, stays)
	}
	if a := s.Status.Artifact; a == nil || !strings.HasSuffix(a.Revision, stays.String()) {
		r.t.Errorf("in force is %+v, want %s", a, stays)
	}
	if ready := lab.SetCondition(s, v1alpha1.ConditionReady); ready.Status != metav1.ConditionTrue {
		r.t.Errorf("Ready = %+v", ready)
	}
}

func (r *ruled) set(what string, holds func(*v1alpha1.PolicySet) bool) *v1alpha1.PolicySet {
	r.t.Helper()
	s, err := r.AwaitSet(r.ctx, r.rules.Name, holds)
	if err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
	return s
}

// paint commits a ConfigMap of a color.
func (r *ruled) paint(color string) plumbing.Hash {
	r.t.Helper()
	return r.push("paint it "+color, map[string]string{"a.yaml": lab.ConfigMap("a", "color", color)})
}

func (r *ruled) forbidden(color string) {
	r.t.Helper()
	f := r.refused(r.paint(color))
	if f.Reason != "PolicyDenied" || f.Policy != r.rules.Name+"/house.deny" || f.Message != color+" is not our color" {
		r.t.Errorf("finding = %+v", f)
	}
}

// TestRulesFromGit proves that rules come into force when they are signed and load,
// and stay until others do.
func TestRulesFromGit(t *testing.T) {
	r := newRuled(t, shared, testContext(t), "ruled")
	tip := r.rules.Repo.Ref("refs/heads/" + lab.Branch)
	r.inForce(tip)
	r.forbidden("red")
	red := r.paint("red")

	good := r.legislate(gitrepo.Change{Files: forbids("blue"), Message: "red is fine"})
	r.inForce(good)
	r.accepted(red)
	r.forbidden("blue")

	for _, tc := range []struct {
		name, reason string
		change       gitrepo.Change
		want, says   string
	}{
		{"Unsigned", "Nobody stands behind it.", gitrepo.Change{Author: shared.Alice.Person(), Files: forbids("green")}, "UnsignedCommit", "is refused"},
		{"Stranger", "Mallory is trusted by nobody.", gitrepo.Change{Author: shared.Mallory.Person(), Sign: shared.Mallory, Files: forbids("green")}, "UntrustedSigner", "is refused"},
		{"WrongPerson", "Bob may not change policies.", gitrepo.Change{Author: shared.Bob.Person(), Sign: shared.Bob, Files: forbids("green")}, "SignerNotAllowed", "policies/"},
		{"Broken", "What does not load cannot judge.", gitrepo.Change{Files: map[string]string{"policies/house.rego": "package house\n\ndeny contains if {"}}, "PolicyError", "git/house.rego:3"},
		{"NoRules", "A set without rules would let everything pass.", gitrepo.Change{Delete: []string{"policies"}, Files: map[string]string{"x": "y"}}, "InvalidManifest", "there is no directory"},
		{"Link", "A link leads who knows where.", gitrepo.Change{Symlinks: map[string]string{"policies/lib": "../../../etc"}}, "PathEscape", "policies/lib"},
		{"LinkedFile", "A link to a file as well.", gitrepo.Change{Symlinks: map[string]string{"policies/more.rego": "/etc/passwd"}}, "PathEscape", "policies/more.rego"},
		{"Submodule", "What a submodule holds nobody signed here.", gitrepo.Change{Submodules: map[string]plumbing.Hash{"policies/sub": red}}, "PathEscape", "policies/sub"},
		{"LinkedDirectory", "Neither may the directory itself be a link.", gitrepo.Change{Delete: []string{"policies"}, Symlinks: map[string]string{"policies": "elsewhere"}, Files: map[string]string{"elsewhere/house.rego": "package house"}}, "PathEscape", "symbolic link"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r.t, r.ctx = t, testContext(t)
			tc.change.Message = tc.name
			bad := r.legislate(tc.change)
			r.rejected(bad, good, tc.want, tc.says)
			r.forbidden("blue")
			if err := r.rules.Repo.SetRef("refs/heads/"+lab.Branch, good); err != nil {
				t.Fatal(err)
			}
			r.inForce(good)
		})
	}
	t.Run("Traversal", func(t *testing.T) {
		r.t, r.ctx = t, testContext(t)
		blob, err := r.rules.Repo.Object(plumbing.BlobObject, []byte("package house\n"))
		if err != nil {
			t.Fatal(err)
		}
		inner, err := r.rules.Repo.Object(plumbing.TreeObject, gitrepo.EncodeTree(gitrepo.Entry{Mode: "100644", Name: "../house.rego", Hash: blob}))
		if err != nil {
			t.Fatal(err)
		}
		tree, err := r.rules.Repo.Object(plumbing.TreeObject, gitrepo.EncodeTree(gitrepo.Entry{Mode: "40000", Name: "policies", Hash: inner}))
		if err != nil {
			t.Fatal(err)
		}
		bad := r.legislate(gitrepo.Change{Tree: tree, Message: "up and away"})
		s := r.set("the rules not to be taken", func(s *v1alpha1.PolicySet) bool {
			return lab.SetCondition(s, v1alpha1.ConditionVerified).Status != metav1.ConditionTrue
		})
		if v := lab.SetCondition(s, v1alpha1.ConditionVerified); v.Reason != "MalformedObject" || !strings.HasSuffix(s.Status.Artifact.Revision, good.String()) {
			t.Errorf("%s: Verified = %+v, in force %+v", bad, v, s.Status.Artifact)
		}
		if err := r.rules.Repo.SetRef("refs/heads/"+lab.Branch, good); err != nil {
			t.Fatal(err)
		}
	})
	r.t, r.ctx = t, testContext(t)
	r.inForce(good)
	if err := r.rules.Repo.SetRef("refs/heads/"+lab.Branch, tip); err != nil {
		t.Fatal(err)
	}
	r.rejected(tip, good, "NonFastForward", "is refused")
	r.forbidden("blue")
	r.logged("UnsignedCommit", good)
}

// logged wants a line about a refusal and one about a change in the decision log, and
// metrics.
func (r *ruled) logged(refused string, inForce plumbing.Hash) {
	r.t.Helper()
	raw, err := os.ReadFile(shared.Server().Decisions)
	if err != nil {
		r.t.Fatal(err)
	}
	var taken, no bool
	for line := range strings.Lines(string(raw)) {
		if !strings.Contains(line, `"policySet":"`+r.rules.Name+`"`) {
			continue
		}
		taken = taken || strings.Contains(line, `"revision":"main@sha1:`+inForce.String()) && strings.Contains(line, `"former":"main@sha1:`) && !strings.Contains(line, "refused")
		no = no || strings.Contains(line, `"refused":"`+refused+`"`)
	}
	if !taken || !no {
		r.t.Errorf("the decision log tells of the change: %t, of the refusal: %t", taken, no)
	}
}

// TestRulesLoseTrust proves that rules go out of force with the trust in who signed
// them, and come back with it.
func TestRulesLoseTrust(t *testing.T) {
	r := newRuled(t, shared, testContext(t), "distrusted")
	r.set("the rules to be in force", func(s *v1alpha1.PolicySet) bool { return s.Status.Artifact != nil })
	r.accepted(r.paint("green"))
	change := func(edit func(*v1alpha1.TrustPolicy)) {
		t.Helper()
		var trust v1alpha1.TrustPolicy
		if err := r.Client.Get(r.ctx, client.ObjectKey{Name: r.rules.Name}, &trust); err != nil {
			t.Fatal(err)
		}
		edit(&trust)
		if err := r.Client.Update(r.ctx, &trust); err != nil {
			t.Fatal(err)
		}
	}
	var alice v1alpha1.CommitSigner
	change(func(p *v1alpha1.TrustPolicy) {
		alice = p.Spec.Commits.Signers[0]
		p.Spec.Commits.Signers = p.Spec.Commits.Signers[1:]
		p.Spec.Commits.Rules = nil
	})
	s := r.set("the rules to go", func(s *v1alpha1.PolicySet) bool { return s.Status.Artifact == nil })
	if c := lab.SetCondition(s, v1alpha1.ConditionReady); c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, "no version of its rules is in force") || !strings.Contains(c.Message, "UntrustedSigner") {
		t.Errorf("Ready = %+v", c)
	}
	h := r.paint("yellow")
	if err := r.Poke(r.ctx, r.Key); err != nil {
		t.Fatal(err)
	}
	held := r.await("held", func(s *v1alpha1.GitSync) bool { return lab.Ready(s).Reason == "PolicyError" })
	if c := lab.Ready(held); !strings.Contains(c.Message, "PolicySet "+r.rules.Name+": no version of its rules is in force") || strings.HasSuffix(held.Status.LastAppliedRevision, h.String()) {
		t.Errorf("Ready = %+v, applied %s", c, held.Status.LastAppliedRevision)
	}
	change(func(p *v1alpha1.TrustPolicy) { p.Spec.Commits.Signers = append(p.Spec.Commits.Signers, alice) })
	r.set("the rules to come back", func(s *v1alpha1.PolicySet) bool { return s.Status.Artifact != nil })
	r.accepted(h)
	r.forbidden("red")
}
