package reconcile

import (
	"context"
	"errors"
	"io/fs"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/storer"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/verify/commit"
)

// Look returns the rules of a set as a cluster would have them in force, for who looks
// once and remembers nothing: those that its source has now; or, where these are
// refused, those that the status of the set tells of, verified as well. The note says
// in one line that the newest are refused. It fails with a [*WithheldError] where none
// can be had.
func (s *RuleStore) Look(ctx context.Context, set *v1alpha1.PolicySet) (rules *RemoteRules, note string, err error) {
	state, err := s.Follow(ctx, set)
	if err != nil {
		return nil, "", err
	}
	if state.InForce != nil {
		return state.InForce, "", nil
	}
	if state.Refused == "" || state.Unknown {
		return nil, "", state.Withheld
	}
	if rules, err = s.told(ctx, set); err != nil || rules == nil {
		return nil, "", state.Withheld
	}
	return rules, state.Message, nil
}

// told verifies the version that the status tells of.
func (s *RuleStore) told(ctx context.Context, set *v1alpha1.PolicySet) (*RemoteRules, error) {
	told := toldRevision(set)
	if told == "" {
		return nil, nil
	}
	if set.Spec.Source.OCI != nil {
		q := s.query(set)
		q.Ref = repositoryOf(q.Ref) + "@" + digestIn(told)
		pull, err := s.pullSecret(ctx, set)
		if err != nil {
			return nil, err
		}
		q.Pull = pull
		b, err := s.Bundles.Fetch(ctx, q)
		if err != nil {
			return nil, err
		}
		return b.rules(set.Spec.Source.OCI.URL), nil
	}
	in, _, err := s.resolve(ctx, set)
	if err != nil {
		return nil, err
	}
	h := s.held(set.Name)
	if h.repo == nil {
		return nil, errors.New("nothing was fetched")
	}
	objects, err := h.repo.Objects(ctx)
	if err != nil {
		return nil, err
	}
	verifier, err := s.Gates.Commits(in)
	if err != nil {
		return nil, err
	}
	return rulesAt(ctx, verifier, set.Spec.Source.Git, commit.Request{Head: RevisionHash(told), Objects: objects})
}

// RulesOfBranch returns the rules of a set by which a GitSync is judged that follows the
// branch that they come from, while one commit is applied and another is to come, as
// the reconciler would. The base may be zero, if nothing is applied, and so may be a
// head that is not committed. The note says in one line that the rules at head are
// refused.
func (s *RuleStore) RulesOfBranch(ctx context.Context, set *v1alpha1.PolicySet, objects storer.EncodedObjectStorer, base, head plumbing.Hash) (rules *RemoteRules, note string, err error) {
	in, _, err := s.resolve(ctx, set)
	if spec, ok := asSpecError(err); ok {
		return nil, "", withheld(set, spec.reason, "%s", spec.msg)
	}
	if err != nil {
		return nil, "", err
	}
	verifier, err := s.Gates.Commits(in)
	if err != nil {
		return nil, "", asWithheld(set, err)
	}
	f := formerRules{source: set.Spec.Source.Git, objects: objects, verifier: verifier, loads: func(r *RemoteRules) error { return s.loads(ctx, set, r) }}
	at := func(h plumbing.Hash, inForce ...plumbing.Hash) (*RemoteRules, error) {
		if h.IsZero() {
			return nil, ruleErrorf(verdict.SourceUnavailable, "nothing is committed")
		}
		found, err := rulesAt(ctx, verifier, f.source, commit.Request{Head: h, Base: inForce, Objects: objects})
		if err == nil {
			err = f.loads(found)
		}
		return found, err
	}
	var applied []plumbing.Hash
	if !base.IsZero() {
		applied = []plumbing.Hash{base}
	}
	newest, err := at(head, applied...)
	if err == nil && base.IsZero() {
		return newest, "", nil
	}
	if err == nil {
		newest, err = f.choose(ctx, base, newest)
		if err != nil {
			return nil, "", asWithheld(set, err)
		}
		return newest, "", nil
	}
	refused := asWithheld(set, err)
	if rules, err = at(base, base); err != nil {
		return nil, "", refused
	}
	if head.IsZero() {
		return rules, "", nil
	}
	return rules, string(refused.Reason) + ": " + refused.Message, nil
}

// ReadRules reads the files of a directory as they are read from Git, for who tries them
// out in the place of a remote source. What they are is nobody's word.
func ReadRules(name string, fsys fs.FS) (*RemoteRules, error) {
	files, err := readRules(fsys, ".")
	if err != nil {
		return nil, err
	}
	return &RemoteRules{URL: name, Revision: name, Digest: digestOf(files), Files: files}, nil
}

// ReadBundle takes a bundle as it is, for who tries it out in the place of a remote
// source. What it is is nobody's word.
func ReadBundle(name string, raw []byte) *RemoteRules {
	b := SignedBundle{Digest: name, Bytes: raw}
	return b.rules(name)
}
