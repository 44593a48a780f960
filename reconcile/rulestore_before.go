package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/storer"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/source"
	"gitgate.dev/gitgate/verify/commit"
)

// before returns the rules by which a GitSync is judged that follows the very branch
// that rules of it come from: those that were there before, at the commit that is
// applied. Otherwise a commit could bring what needs a rule to be gone together with
// its going. Commits that change nothing but the rules count at once, so that a rule
// that refuses everything can be mended.
func (s *RuleStore) before(ctx context.Context, set *v1alpha1.PolicySet, sync *v1alpha1.GitSync, in Inputs, h *heldRules) (*RemoteRules, error) {
	g := set.Spec.Source.Git
	if sync == nil || g == nil || !SameBranch(g, sync) {
		return h.rules, nil
	}
	applied, err := h.record.Applied(sync.Namespace + "/" + sync.Name)
	if err != nil {
		return nil, err
	}
	head := RevisionHash(h.rules.Revision)
	if applied.IsZero() || applied == head {
		return h.rules, nil
	}
	key := fmt.Sprint(set.Generation, applied)
	if v := h.versions[key]; v != nil {
		return v, nil
	}
	objects, err := h.record.Objects(ctx)
	if err != nil {
		return nil, err
	}
	verifier, err := s.Gates.Commits(in)
	if err != nil {
		return nil, gateError(err)
	}
	b := formerRules{source: g, objects: objects, verifier: verifier, earlier: h.record.Earlier(ruleOwner(set.Name)), loads: func(r *RemoteRules) error { return s.loads(ctx, set, r) }}
	v, err := b.choose(ctx, applied, h.rules)
	if err != nil {
		return nil, err
	}
	if h.versions == nil || len(h.versions) > maxFormer {
		h.versions = map[string]*RemoteRules{}
	}
	h.versions[key] = v
	return v, nil
}

// maxFormer bounds the versions that are kept of one set beside the newest.
const maxFormer = 64

// SameBranch reports whether a GitSync follows the branch that rules come from.
func SameBranch(g *v1alpha1.GitPolicySource, sync *v1alpha1.GitSync) bool {
	a, err := source.Canonical(g.URL)
	b, err2 := source.Canonical(sync.Spec.URL)
	return err == nil && err2 == nil && a == b && g.Ref.Branch == sync.Spec.Ref.Branch
}

// formerRules looks for the rules of former commits of one branch.
type formerRules struct {
	source   *v1alpha1.GitPolicySource
	objects  storer.EncodedObjectStorer
	verifier gate.CommitVerifier
	earlier  []plumbing.Hash // that were in force, oldest first
	loads    func(*RemoteRules) error
}

// choose returns the rules for who has applied a commit while newest is in force.
func (f *formerRules) choose(ctx context.Context, applied plumbing.Hash, newest *RemoteRules) (*RemoteRules, error) {
	head := RevisionHash(newest.Revision)
	if after, err := f.descends(ctx, head, applied); err != nil || !after {
		return newest, err
	}
	tree, findings := gate.VerifyCommits(ctx, f.verifier, commit.Request{Head: head, Base: []plumbing.Hash{applied}, Objects: f.objects})
	if tree == nil {
		return nil, &commitError{findings}
	}
	changed, err := tree.Changed()
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(changed, func(file string) bool { return !within(file, f.source.Path) }) {
		return newest, nil
	}
	for _, former := range slices.Backward(append(slices.Clone(f.earlier), applied)) {
		if before, err := f.descends(ctx, applied, former); err != nil || !before {
			continue // it was in force before a rollback
		}
		rules, err := rulesAt(ctx, f.verifier, f.source, commit.Request{Head: former, Base: []plumbing.Hash{former}, Objects: f.objects})
		if err == nil {
			err = f.loads(rules)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			return rules, nil
		}
	}
	return newest, nil // the set is newer than what is applied
}

// descends reports whether a commit is an ancestor of head, or head itself.
func (f *formerRules) descends(ctx context.Context, head, ancestor plumbing.Hash) (bool, error) {
	bases, err := commit.MergeBases(ctx, f.objects, head, ancestor)
	return slices.Contains(bases, ancestor), err
}

// within reports whether a file is below a directory of the repository.
func within(file, dir string) bool {
	dir = strings.Trim(strings.TrimPrefix(dir, "./"), "/")
	return dir == "" || dir == "." || strings.HasPrefix(file, dir+"/")
}
