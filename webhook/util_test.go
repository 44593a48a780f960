package webhook_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/webhook/registration"
)

// ownTemplate is what gitgate's own workloads run, in these tests.
var ownTemplate = registration.Template{
	ServiceAccount: "gitgate-webhook",
	Containers: []registration.Container{{
		Image: "ghcr.io/example/gitgate@sha256:0000000000000000000000000000000000000000000000000000000000000000",
		Args:  []string{"webhook"}, Env: []string{"POD_NAMESPACE="}, Mounts: []string{"/data"},
	}},
	Volumes: []string{"data"},
}

func encode(t *testing.T, b *strings.Builder, m metav1.ObjectMeta, content any) {
	t.Helper()
	line, err := json.Marshal(map[string]any{
		"name": m.Name, "labels": m.Labels, "annotations": m.Annotations, "finalizers": m.Finalizers,
		"owners": m.OwnerReferences, "gone": m.DeletionTimestamp, "content": content,
	})
	must(t, err)
	b.Write(append(line, '\n'))
}

// metricSum adds up all series of a metric.
func metricSum(t *testing.T, r *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := r.Gather()
	must(t, err)
	var sum float64
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}
