package webhook_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook"
	"gitgate.dev/gitgate/webhook/lock"
)

// TestMetrics counts what happened, by names that are few.
func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	expiry := time.Now().Add(time.Hour)
	l := newLone(t, func(c *webhook.Config, _ *issuer) {
		c.Metrics = webhook.NewMetrics(registry, webhook.Gauges{
			InventoryObjects:  func() int { return 7 },
			CertificateExpiry: func() time.Time { return expiry }, Ready: func() bool { return true },
		})
	})
	client := l.client(nil)
	for _, a := range []lock.Answer{
		{Allowed: true, Matched: lock.MatchedOpen},
		{Reason: verdict.NotInGit, Mode: lock.Enforce, Matched: lock.MatchedClosed},
		{Pending: true, Reason: verdict.RevisionPending},
		{Allowed: true, Mode: lock.Audit, Reason: verdict.NotInGit, Findings: []verdict.Finding{{Severity: verdict.Warn}}},
	} {
		l.decider.set(func(context.Context, *admissionv1.AdmissionRequest) lock.Answer { return a })
		_, _, err := l.post(client, review("{}"))
		must(t, err)
	}
	l.decider.set(func(context.Context, *admissionv1.AdmissionRequest) lock.Answer { panic("x") })
	_, _, err := l.post(client, review("{}"))
	must(t, err)
	resp, err := client.Get(l.url + "/")
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Error(resp.Status)
	}
	for name, want := range map[string]float64{
		"gitgate_admission_decisions_total": 5, "gitgate_admission_refused_total": 1, "gitgate_admission_panics_total": 1,
		"gitgate_admission_in_flight": 0, "gitgate_admission_inventory_objects": 7, "gitgate_admission_ready": 1,
		"gitgate_admission_certificate_expiry_timestamp_seconds": float64(expiry.Unix()),
	} {
		eventually(t, name, func(context.Context) bool { return metricSum(t, registry, name) == want })
	}
	families, err := registry.Gather()
	must(t, err)
	outcomes := map[string]bool{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, label := range m.GetLabel() {
				if strings.Contains(label.GetValue(), "db") || strings.Contains(label.GetValue(), "shop") || strings.Contains(label.GetValue(), "eve") {
					t.Errorf("%s has a label with a name: %s", f.GetName(), label)
				}
				if label.GetName() == "outcome" {
					outcomes[label.GetValue()] = true
				}
			}
		}
	}
	if len(outcomes) != 4 {
		t.Errorf("outcomes = %v, want all four", outcomes)
	}
}
