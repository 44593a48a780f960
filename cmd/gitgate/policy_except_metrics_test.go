package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestExceptionGauge: a webhook counts the exceptions of all releases that it knows.
func TestExceptionGauge(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	var texts []string
	for i, days := range []int{-1, 3, 100} {
		texts = append(texts, fmt.Sprintf(`{apiVersion: gitgate.dev/v1alpha1, kind: PolicyException, metadata: {name: e%d, namespace: shop}, spec: {
  policies: [{policySet: s, rules: [a.deny]}], match: {kinds: [{kind: ConfigMap}], namespaces: [shop], names: [m]}, owner: o, reason: r, expires: %q}}`,
			i, now.AddDate(0, 0, days).Format(time.RFC3339)))
	}
	x := &admissionExceptions{now: func() time.Time { return now }}
	x.accept(releaseWith(t, "shop", texts...), "gitgate-system")
	const want = `
# HELP gitgate_admission_policy_exceptions PolicyExceptions of verified releases: active, of these expiring within two weeks, and expired.
# TYPE gitgate_admission_policy_exceptions gauge
gitgate_admission_policy_exceptions{state="active"} 2
gitgate_admission_policy_exceptions{state="expired"} 1
gitgate_admission_policy_exceptions{state="expiring"} 1
`
	if err := testutil.CollectAndCompare(newExceptionGauge(x), strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
