package main

import (
	"os"
	"slices"
	"strings"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// targetVariables are where CI systems say which branch a pull request is to be
// merged into: GitHub and Gitea, GitLab, Bitbucket, Azure DevOps, Jenkins, Buildkite.
var targetVariables = []string{
	"GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "BITBUCKET_PR_DESTINATION_BRANCH",
	"SYSTEM_PULLREQUEST_TARGETBRANCH", "CHANGE_TARGET", "BUILDKITE_PULL_REQUEST_BASE_BRANCH",
}

// ofTarget leaves of several GitSyncs those that follow the branch which the change
// is to be merged into: the one that --base names, or else the one that CI tells of.
// Where neither names a branch that any of them follows all stay, and so do those
// that the user chose.
func (o *rangeOptions) ofTarget(repo *gitRepository, syncs []*v1alpha1.GitSync) ([]*v1alpha1.GitSync, error) {
	if len(o.gitSyncs) > 0 || len(syncs) < 2 {
		return syncs, nil
	}
	config, err := repo.refs.Config()
	if err != nil {
		return nil, err
	}
	follows := func(branch string) (out []*v1alpha1.GitSync) {
		for _, s := range syncs {
			if s.Spec.Ref.Branch == branch {
				out = append(out, s)
			}
		}
		return out
	}
	var remotes []string
	for name := range config.Remotes {
		remotes = append(remotes, name)
	}
	for _, branch := range branchesNamed(o.base, remotes) {
		if found := follows(branch); len(found) > 0 {
			return found, nil
		}
	}
	for _, name := range targetVariables {
		if branch := strings.TrimPrefix(os.Getenv(name), "refs/heads/"); branch != "" {
			if found := follows(branch); len(found) > 0 {
				return found, nil
			}
		}
	}
	return syncs, nil
}

// branchesNamed are the branches that a revision may name, by the rules of git for
// branches and for those of remotes.
func branchesNamed(rev string, remotes []string) []string {
	if rev == "" {
		return nil
	}
	if branch, ok := strings.CutPrefix(rev, "refs/heads/"); ok {
		return []string{branch}
	}
	rev, remote := strings.CutPrefix(strings.TrimPrefix(rev, "refs/"), "remotes/")
	var out []string
	if !remote {
		out = append(out, strings.TrimPrefix(rev, "heads/"))
	}
	if name, branch, ok := strings.Cut(rev, "/"); ok && slices.Contains(append(remotes, "origin"), name) {
		out = append(out, branch)
	}
	return out
}
