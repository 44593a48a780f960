package main

import (
	"errors"
	"slices"

	"github.com/bmatcuk/doublestar/v4"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/verify/commit"
)

// errExceptionScope means that exceptions could come with commits that nobody judged.
var errExceptionScope = errors.New("spec.exceptions needs spec.commits.scope EveryCommit: otherwise anybody could bring an exception below a signed head")

// exceptionTrust has the commits judged so that only those who may except can change
// the files that are reserved for exceptions, and says which files these are; nil for
// none.
func exceptionTrust(c *commit.Config, trust v1alpha1.TrustPolicySpec) (func(file string) bool, error) {
	e := trust.Exceptions
	if e == nil {
		return nil, nil
	}
	if c.Scope == commit.ScopeHead {
		return nil, errExceptionScope
	}
	if len(c.Rules) == 0 { // everybody may change everything, but for the exceptions
		all := commit.Rule{Paths: []string{"**"}}
		for _, s := range c.Signers {
			all.Signers = append(all.Signers, s.Name)
		}
		c.Rules = []commit.Rule{all}
	}
	// The last rule that matches decides.
	c.Rules = append(slices.Clone(c.Rules), commit.Rule{Paths: e.Paths, Signers: e.Signers})
	return func(file string) bool {
		return slices.ContainsFunc(e.Paths, func(glob string) bool {
			ok, err := doublestar.Match(glob, file)
			return ok && err == nil // the verifier checks the globs
		})
	}, nil
}
