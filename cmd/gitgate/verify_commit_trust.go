package main

import (
	"fmt"

	"gitgate.dev/gitgate/verify/commit"
)

// loadTrust reads the one TrustPolicy in a file. The root is pinned if the
// policy speaks for one repository; which of several this is, a file cannot say.
func loadTrust(file string) (commit.Config, error) {
	policy, err := readTrustPolicy(file)
	if err != nil {
		return commit.Config{}, err
	}
	var root string
	if len(policy.Spec.Repositories) == 1 {
		root = policy.Spec.Repositories[0].Root
	}
	config, err := commitConfig(policy.Spec.Commits, root, nil)
	if err != nil {
		return config, fmt.Errorf("--trust %s: %w", file, err)
	}
	if len(config.Signers) == 0 {
		return config, fmt.Errorf("--trust %s: spec.commits.signers names nobody", file)
	}
	return config, nil
}
