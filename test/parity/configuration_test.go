package parity

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// TestConfiguration proves that what judges is refused in the same words where no
// commit is judged at all: in the conditions of the GitSync, and by gitgate check
// as wrong use.
func TestConfiguration(t *testing.T) {
	w := begin(t)
	spec := func(edit func(*v1alpha1.TrustPolicySpec)) func(*site, *plan) {
		return func(_ *site, p *plan) { edit(&p.trust.Spec) }
	}
	for name, tc := range map[string]struct {
		reason string
		plan   func(*site, *plan)
		want   verdict.Reason
	}{
		"Namespace": {"The trust is for other namespaces.", spec(func(s *v1alpha1.TrustPolicySpec) { s.Namespaces = []string{"elsewhere"} }), verdict.RepositoryNotTrusted},
		"Branch":    {"The trust is for another branch.", spec(func(s *v1alpha1.TrustPolicySpec) { s.Repositories[0].Refs = []string{"release"} }), verdict.RepositoryNotTrusted},
		"Missing":   {"There is no such trust.", func(_ *site, p *plan) { p.sync.Spec.Trust.Name = "nobody" }, verdict.RepositoryNotTrusted},
		"NoKey":     {"A key that is none.", spec(func(s *v1alpha1.TrustPolicySpec) { s.Commits.Signers[0].OpenPGP = &v1alpha1.KeySource{Data: "x"} }), verdict.TrustInvalid},
		"NoSecret": {"A key that is nowhere.", spec(func(s *v1alpha1.TrustPolicySpec) {
			s.Commits.Signers[0].OpenPGP = &v1alpha1.KeySource{SecretRef: &v1alpha1.LocalReference{Name: "nobody"}}
		}), verdict.TrustInvalid},
		"NoSigner":  {"A rule for nobody.", spec(func(s *v1alpha1.TrustPolicySpec) { s.Commits.Rules[0].Signers = []string{"nobody"} }), verdict.TrustInvalid},
		"ImageKey":  {"A key for images that is none.", spec(func(s *v1alpha1.TrustPolicySpec) { s.Images.Rules[0].Authorities[0].Key.Data = "x" }), verdict.TrustInvalid},
		"Extractor": {"A path that is none.", spec(func(s *v1alpha1.TrustPolicySpec) { s.Images.Extractors[0].Paths = []string{".spec["} }), verdict.TrustInvalid},
		"NoPolicies": {"There is no such set.", func(_ *site, p *plan) {
			p.sync.Spec.Policies = append(p.sync.Spec.Policies, v1alpha1.LocalReference{Name: "nobody"})
		}, verdict.PolicyError},
		"NoRego":  {"A set that does not compile.", under("deny contains x if y"), verdict.PolicyError},
		"NoRule":  {"A set without a rule that denies.", under("allow := true"), verdict.PolicyError},
		"Account": {"A tenant without an account.", with(tenant, func(_ *site, p *plan) { p.sync.Spec.ServiceAccountName = "" }), verdict.ScopeViolation},
		"Target":  {"A tenant that aims elsewhere.", with(tenant, func(_ *site, p *plan) { p.sync.Spec.TargetNamespace = "kube-system" }), verdict.ScopeViolation},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := w.newSite(t, "configuration-"+strings.ToLower(name), with(fresh, tc.plan))
			head := s.commit(gitrepo.Change{Files: s.plan.files})
			_, stderr := s.check(head)
			judged, sync := s.reconcile(head)
			ready := lab.Ready(sync)
			if judged.Revision != "" || ready.Status != metav1.ConditionFalse || ready.Reason != string(tc.want) {
				t.Fatalf("%s\nthe reconciler says %s: %s", tc.reason, ready.Reason, ready.Message)
			}
			want := fmt.Sprintf("gitgate: GitSync %s: %s: %s", s.key(), ready.Reason, strings.ReplaceAll(ready.Message, "\n", "; "))
			if stderr != want {
				t.Errorf("%s\nthe check says\n%s\nand the reconciler\n%s", tc.reason, stderr, want)
			}
		})
	}
}

// TestRewritten proves where the doors differ over a branch that is no descendant
// of what is in force: the reconciler refuses it; the check judges what was written
// on the branch, for it may still be merged, and says so.
func TestRewritten(t *testing.T) {
	w := begin(t)
	for name, tc := range map[string]struct {
		reason string
		head   func(*site) plumbing.Hash
	}{
		"Older": {"The branch was set back.", func(s *site) plumbing.Hash { return s.older }},
		"Diverging": {"The branch has a commit of its own.", func(s *site) plumbing.Hash {
			c := harmless()
			c.Parents = []plumbing.Hash{s.older}
			return s.commit(c)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := w.newSite(t, "rewritten-"+strings.ToLower(name), nil)
			head := tc.head(s)
			must(t, "the branch", s.repo.SetRef("refs/heads/"+lab.Branch, head))
			check, stderr := s.check(head)
			reconciler, _ := s.reconcile(head)
			if stderr != "" || !check.Allowed || !slices.Contains(distinct(t, check.Findings), verdict.NonFastForward) {
				t.Errorf("%s\nthe check says %q and\n%s", tc.reason, stderr, texts(check.Findings))
			}
			if reconciler.Allowed || !slices.Contains(distinct(t, reconciler.Findings), verdict.NonFastForward) {
				t.Errorf("%s\nthe reconciler says\n%s", tc.reason, texts(reconciler.Findings))
			}
		})
	}
}

// TestTightened proves where the doors differ over rules that came after what is in
// force: the reconciler holds every object to them, and so does the check with
// --all. Without it the check speaks of what the commit changes.
func TestTightened(t *testing.T) {
	t.Parallel()
	w := begin(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := w.newSite(t, "tightened", with(loud, under("deny contains \"no\" if input.object.data.nothing")))
	set := s.plan.sets[0]
	set.Spec.Source.Inline[set.Name+".rego"] = "package acme\n\ndeny contains {\"msg\": \"no red\", \"field\": \"data.color\"} if input.object.data.color == \"red\"\n"
	var live v1alpha1.PolicySet
	must(t, "the rules", s.Client.Get(ctx, client.ObjectKeyFromObject(set), &live))
	live.Spec = set.Spec
	must(t, "the rules", s.Client.Update(ctx, &live))
	must(t, "the rules to be read", wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		var now v1alpha1.PolicySet
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(set), &now)
		return now.Status.ObservedGeneration == live.Generation, err
	}))
	head := s.commit(harmless())
	changed, _ := s.check(head)
	all, _ := s.check(head, "--all")
	reconciler, _ := s.reconcile(head)
	if !changed.Allowed || reconciler.Allowed {
		t.Errorf("allowed: the check %t, the reconciler %t", changed.Allowed, reconciler.Allowed)
	}
	if diff := cmp.Diff(texts(common(t, all, reconciler)), texts(reconciler.Findings)); diff != "" {
		t.Errorf("the doors differ (-check --all +reconciler)\n%s", diff)
	}
	if !strings.Contains(texts(all.Findings), "no red") {
		t.Errorf("the check finds\n%s", texts(all.Findings))
	}
}
