package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/source"
	"gitgate.dev/gitgate/verify/commit"
	"gitgate.dev/gitgate/verify/image"
)

// A commitError is why commits are not trusted.
type commitError struct{ findings []verdict.Finding }

func (e *commitError) Error() string { return summary(blocking(e.findings)) }

// openRecord opens the clone of a set's repository, without its remote.
func (s *RuleStore) openRecord(g *v1alpha1.GitPolicySource, h *heldRules) error {
	key := g.URL + "\n" + g.Ref.Branch
	if h.record != nil && h.recordOf == key {
		return nil
	}
	record, err := s.Sources.recorded(g.URL, g.Ref.Branch)
	if err != nil {
		return ruleErrorf(verdict.SourceUnavailable, "%v", err)
	}
	if h.record != nil {
		h.record.Close()
	}
	h.record, h.recordOf = record, key
	return nil
}

// recallGit verifies again the commit that was in force.
func (s *RuleStore) recallGit(ctx context.Context, set *v1alpha1.PolicySet, in Inputs, h *heldRules) (*RemoteRules, error) {
	g := set.Spec.Source.Git
	if err := s.openRecord(g, h); err != nil {
		return nil, err
	}
	head, err := h.record.Applied(ruleOwner(set.Name))
	if err != nil {
		return nil, err
	}
	if head.IsZero() {
		return nil, ruleErrorf(verdict.SourceUnavailable, "nothing was fetched from %s yet", g.URL)
	}
	objects, err := h.record.Objects(ctx)
	if err != nil {
		return nil, err
	}
	verifier, err := s.Gates.Commits(in)
	if err != nil {
		return nil, err
	}
	rules, err := rulesAt(ctx, verifier, g, commit.Request{Head: head, Base: []plumbing.Hash{head}, Objects: objects})
	if err != nil {
		return nil, fmt.Errorf("%s was in force: %w", Revision(g.Ref.Branch, head), err)
	}
	return rules, nil
}

// rulesAt verifies commits and reads the rules at their head.
func rulesAt(ctx context.Context, verifier gate.CommitVerifier, g *v1alpha1.GitPolicySource, req commit.Request) (*RemoteRules, error) {
	tree, findings := gate.VerifyCommits(ctx, verifier, req)
	if tree == nil {
		return nil, &commitError{findings}
	}
	files, err := readRules(tree, g.Path)
	if err != nil {
		return nil, err
	}
	return &RemoteRules{URL: g.URL, Revision: Revision(g.Ref.Branch, req.Head), Digest: digestOf(files), Files: files}, nil
}

// loads says whether a set loads with a version of its rules.
func (s *RuleStore) loads(ctx context.Context, set *v1alpha1.PolicySet, rules *RemoteRules) error {
	in := PolicyInput{Set: set, Remote: rules}
	r := resolver{direct: s.Direct, system: s.SystemNamespace}
	if err := r.policyModules(ctx, &in); err != nil {
		return err
	}
	if err := s.Gates.CheckPolicy(ctx, in); err != nil {
		return ruleErrorf(verdict.PolicyError, "%v", err)
	}
	return nil
}

// A candidate is a newer version of a source, and how it is put on record.
type candidate struct {
	rules  *RemoteRules
	record func() error
}

// fetchGit asks the remote for the head, and verifies it. A question that was answered
// with a final refusal before is not asked again.
func (s *RuleStore) fetchGit(ctx context.Context, set *v1alpha1.PolicySet, in Inputs, h *heldRules) (question, revision string, c func() (*candidate, error), err error) {
	g := set.Spec.Source.Git
	at := location{
		url: g.URL, branch: g.Ref.Branch, timeout: source.DefaultTimeout,
		field: "spec.source.git.secretRef", namespace: s.SystemNamespace, secret: g.SecretRef,
	}
	h.repo, h.access, err = s.Sources.reopen(ctx, s.Direct, at, h.repo, h.access)
	if err != nil && s.Lenient && at.secret != nil {
		at.secret = nil
		h.repo, h.access, err = s.Sources.reopen(ctx, s.Direct, at, h.repo, h.access)
	}
	if err != nil {
		return "", "", nil, err
	}
	got, err := h.repo.Fetch(ctx)
	if err != nil {
		return "", "", nil, err
	}
	repo, owner := h.repo, ruleOwner(set.Name)
	return got.Head.String() + tagHashes(got), Revision(g.Ref.Branch, got.Head), func() (*candidate, error) {
		req, err := commitRange(repo, owner, got, toldRevision(set))
		if err != nil {
			return nil, err
		}
		verifier, err := s.Gates.Commits(in)
		if err != nil {
			return nil, err
		}
		rules, err := rulesAt(ctx, verifier, g, req)
		if err != nil {
			return nil, err
		}
		return &candidate{rules, func() error { return recordHead(repo, owner, req) }}, nil
	}, nil
}

// recordHead puts a head on record, and what was in force before it.
func recordHead(repo *source.Repository, owner string, req commit.Request) error {
	for _, former := range req.Base {
		if former == req.Head {
			return nil
		}
		earlier := slices.DeleteFunc(repo.Earlier(owner), func(e plumbing.Hash) bool { return e == former || e == req.Head })
		if err := repo.SetEarlier(owner, append(earlier, former)); err != nil {
			return err
		}
	}
	return repo.SetApplied(owner, req.Head)
}

// toldRevision is what the status says is in force of this source. It only counts
// where our own record is lost, and then it can but refuse more.
func toldRevision(set *v1alpha1.PolicySet) string {
	if a := set.Status.Artifact; a != nil && a.URL == set.Spec.Source.RemoteURL() {
		return a.Revision
	}
	return ""
}

// reasonOf names the cause of a failure as users know it, and its text.
func reasonOf(err error) (verdict.Reason, string) {
	var rule *ruleError
	var trust *commitError
	var input *InputError
	var fetch *source.Error
	var spec *specError
	var registry *image.Error
	switch {
	case errors.As(err, &rule):
		return rule.reason, err.Error()
	case errors.As(err, &trust):
		return blocking(trust.findings)[0].Reason, err.Error()
	case errors.As(err, &input):
		return input.Reason, err.Error()
	case errors.As(err, &fetch):
		return verdict.Reason(fetch.Reason), err.Error()
	case errors.As(err, &registry):
		return verdict.Reason(registry.Reason), err.Error()
	case errors.As(err, &spec):
		return spec.reason, err.Error()
	}
	return verdict.PolicyError, err.Error()
}
