package reconcile

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
)

// declaredException is an object of a release that ends at a time.
func declaredException(t *testing.T, name string, expires time.Time) gate.Object {
	t.Helper()
	u := &unstructured.Unstructured{}
	text := `{apiVersion: gitgate.dev/v1alpha1, kind: PolicyException, metadata: {name: ` + name + `, namespace: shop}, spec: {policies: [{policySet: s, rules: [a.deny]}],
  match: {kinds: [{kind: ConfigMap}], namespaces: [shop], names: [m]}, owner: o, reason: r, expires: "` + expires.Format(time.RFC3339) + `"}}`
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	return gate.Object{Unstructured: u}
}

// TestExceptionsLapse: a release is judged again when an exception of it ends, once, and
// the wait for it is no longer than until then.
func TestExceptionsLapse(t *testing.T) {
	judged := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) time.Time { return judged.Add(d) }
	for name, tc := range map[string]struct {
		reason string
		ends   []time.Duration // after it was judged
		now    time.Duration
		lapsed bool
		wait   time.Duration // of an hour
	}{
		"None":    {"Without exceptions nothing ends.", nil, time.Hour, false, time.Hour},
		"Before":  {"It waits for the first to end.", []time.Duration{50 * time.Minute, 20 * time.Minute}, 0, false, 20 * time.Minute},
		"End":     {"At its end it counts no more.", []time.Duration{20 * time.Minute}, 20 * time.Minute, true, time.Hour},
		"After":   {"Whenever that is seen.", []time.Duration{20 * time.Minute}, 9 * time.Hour, true, time.Hour},
		"Earlier": {"What had ended when it was judged ends no more.", []time.Duration{-time.Minute}, time.Hour, false, time.Hour},
		"Later":   {"One that ends after the interval is waited for then.", []time.Duration{9 * time.Hour}, 0, false, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			var declared []gate.Object
			for _, d := range tc.ends {
				declared = append(declared, declaredException(t, "e", at(d)))
			}
			x := exceptionsOf(declared, judged)
			if got := x.lapsed(at(tc.now)); got != tc.lapsed {
				t.Errorf("%s\nlapsed = %t", tc.reason, got)
			}
			if got := x.soon(at(tc.now), time.Hour); got != tc.wait {
				t.Errorf("%s\nit waits %s, want %s", tc.reason, got, tc.wait)
			}
		})
	}
}

// TestExceptionMetric: exceptions are counted by how they stand, and a GitSync without
// any has no series.
func TestExceptionMetric(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	x := exceptionsOf([]gate.Object{
		declaredException(t, "a", now.Add(-time.Hour)), declaredException(t, "b", now.Add(24*time.Hour)), declaredException(t, "c", now.Add(90*24*time.Hour)),
	}, now)
	count := gate.NewExceptions(x.list, now).Count()
	count.Unused = unused(verdictOf(verdict.Finding{Stage: verdict.StagePolicy, Reason: verdict.ExceptionUnused, Severity: verdict.Warn},
		verdict.Finding{Stage: verdict.StagePolicy, Reason: verdict.ExceptionExpiring, Severity: verdict.Warn}))
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry)
	m.excepted("shop", "web", count)
	const want = `
# HELP gitgate_policy_exceptions PolicyExceptions of the revision that is applied: active, of these expiring within two weeks and unused, and expired.
# TYPE gitgate_policy_exceptions gauge
gitgate_policy_exceptions{name="web",namespace="shop",state="active"} 2
gitgate_policy_exceptions{name="web",namespace="shop",state="expired"} 1
gitgate_policy_exceptions{name="web",namespace="shop",state="expiring"} 1
gitgate_policy_exceptions{name="web",namespace="shop",state="unused"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "gitgate_policy_exceptions"); err != nil {
		t.Error(err)
	}
	m.excepted("shop", "web", gate.ExceptionCount{})
	if err := testutil.GatherAndCompare(registry, strings.NewReader(""), "gitgate_policy_exceptions"); err != nil {
		t.Error(err)
	}
}
