package main

import (
	"fmt"
	"regexp"

	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/verify/commit"
)

var documentEnd = regexp.MustCompile(`(?m)^---(\s.*)?$`)

// loadTrust reads the one TrustPolicy in a file. The root is pinned if the
// policy speaks for one repository; which of several this is, a file cannot say.
func loadTrust(file string) (commit.Config, error) {
	data, err := readInput(file)
	if err != nil {
		return commit.Config{}, err
	}
	var policies []v1alpha1.TrustPolicy
	for _, document := range documentEnd.Split(data, -1) {
		var head struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
		}
		if err := yaml.Unmarshal([]byte(document), &head); err != nil {
			return commit.Config{}, fmt.Errorf("%s: %w", file, err)
		}
		if head.Kind != "TrustPolicy" {
			continue
		}
		if head.APIVersion != v1alpha1.GroupVersion.String() {
			return commit.Config{}, fmt.Errorf("%s: apiVersion %q of the TrustPolicy is not %s", file, head.APIVersion, v1alpha1.GroupVersion)
		}
		var policy v1alpha1.TrustPolicy
		if err := yaml.UnmarshalStrict([]byte(document), &policy); err != nil {
			return commit.Config{}, fmt.Errorf("%s: %w", file, err)
		}
		policies = append(policies, policy)
	}
	if len(policies) != 1 {
		return commit.Config{}, fmt.Errorf("%s holds %d TrustPolicies: give a file with one", file, len(policies))
	}
	spec := policies[0].Spec
	var root string
	if len(spec.Repositories) == 1 {
		root = spec.Repositories[0].Root
	}
	config, err := commitConfig(spec.Commits, root, nil)
	if err != nil {
		return config, fmt.Errorf("%s: %w", file, err)
	}
	if len(config.Signers) == 0 {
		return config, fmt.Errorf("%s: spec.commits.signers names nobody", file)
	}
	return config, nil
}
