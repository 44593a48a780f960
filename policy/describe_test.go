package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy"
)

// TestRules wants what METADATA says of a rule, that of the rule before that of its
// package, and nothing that a report could not hold.
func TestRules(t *testing.T) {
	c, err := policy.Compile(t.Context(), policy.Set{Name: "s", Modules: map[string]string{"a.rego": `# METADATA
# title: Pods
# custom:
#   severity: low
package a

# METADATA
# title: Loud
# custom:
#   severity: high
#   category: Noise
deny_loud contains "loud" if input.object.data.loud

# METADATA
# title: Again
# custom:
#   severity: critical
deny_loud contains "louder" if input.object.data.louder

# METADATA
# title: Odd
# custom:
#   severity: blocker
warn_odd contains "odd" if input.object.data.odd

deny contains "bare" if input.object.data.bare
`}}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]policy.RuleInfo{
		"s/a.deny_loud": {Title: "Loud", Severity: "high", Category: "Noise"},
		"s/a.warn_odd":  {Title: "Odd", Severity: "low", Category: "Pods"},
		"s/a.deny":      {Severity: "low", Category: "Pods"},
	}
	if diff := cmp.Diff(want, c.Rules()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
