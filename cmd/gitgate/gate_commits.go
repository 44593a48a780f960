package main

import (
	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/verify/commit"
)

// Commits implements [reconcile.GateBuilder].
func (g *gates) Commits(in reconcile.Inputs) (gate.CommitVerifier, error) {
	verifier, _, err := g.commits(in)
	if err != nil {
		return nil, err
	}
	return verifier, nil
}

// commits makes the first stage, and says in which files exceptions count.
func (g *gates) commits(in reconcile.Inputs) (*commit.Verifier, func(string) bool, error) {
	commits, err := commitConfig(in.Trust.Spec.Commits, in.Repository.Root, in.KeyObjects)
	if err != nil {
		return nil, nil, unusable(verdict.TrustInvalid, err)
	}
	commits.Now = g.now
	honours, err := exceptionTrust(&commits, in.Trust.Spec)
	if err != nil {
		return nil, nil, unusable(verdict.TrustInvalid, err)
	}
	verifier, err := commit.NewVerifier(commits)
	if err != nil {
		return nil, nil, unusable(verdict.TrustInvalid, err)
	}
	return verifier, honours, nil
}
