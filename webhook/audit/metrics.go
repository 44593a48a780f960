package audit

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
)

// Metrics are the Prometheus metrics of the audit. Their labels hold the names of
// GitSyncs and no others. Only the replica that audits has any.
type Metrics struct {
	strays *prometheus.GaugeVec
	unseen *prometheus.GaugeVec
	finds  *prometheus.CounterVec
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	sync := []string{"namespace", "name"}
	m := &Metrics{
		strays: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gitgate_strays", Help: "Objects in the closed namespaces of the GitSync that nothing in Git explains.",
		}, sync),
		unseen: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gitgate_strays_unseen_kinds", Help: "Kinds that cannot be looked at in the closed namespaces of the GitSync.",
		}, sync),
		finds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitgate_strays_found_total", Help: "Strays that were found in the closed namespaces of the GitSync.",
		}, sync),
	}
	r.MustRegister(m.strays, m.unseen, m.finds)
	return m
}

func (m *Metrics) set(r Report) {
	m.strays.WithLabelValues(r.Sync.Namespace, r.Sync.Name).Set(float64(len(r.Strays)))
	m.unseen.WithLabelValues(r.Sync.Namespace, r.Sync.Name).Set(float64(len(r.Unseen)))
}

func (m *Metrics) found(sync types.NamespacedName) {
	m.finds.WithLabelValues(sync.Namespace, sync.Name).Inc()
}

// drop forgets a GitSync.
func (m *Metrics) drop(sync types.NamespacedName) {
	m.strays.DeleteLabelValues(sync.Namespace, sync.Name)
	m.unseen.DeleteLabelValues(sync.Namespace, sync.Name)
	m.finds.DeleteLabelValues(sync.Namespace, sync.Name)
}

// forget drops what this process does not know any more.
func (m *Metrics) forget() {
	m.strays.Reset()
	m.unseen.Reset()
}

// ScanMetrics are the Prometheus metrics of a [Scanner]. Their labels hold the names
// of PolicySets and no others. Only the replica that audits has any.
type ScanMetrics struct {
	results *prometheus.GaugeVec
	objects prometheus.Gauge
	unseen  prometheus.Gauge
	missed  prometheus.Gauge
	writes  prometheus.Counter
}

// NewScanMetrics registers the metrics.
func NewScanMetrics(r prometheus.Registerer) *ScanMetrics {
	m := &ScanMetrics{
		results: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gitgate_policy_audit_results", Help: "What the rules of a PolicySet say of the objects that are there: pass, fail, warn, error or skip (excepted).",
		}, []string{"policyset", "result"}),
		objects: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gitgate_policy_audit_objects", Help: "Objects of which a rule has something to say.",
		}),
		unseen: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gitgate_policy_audit_unseen_kinds", Help: "Kinds that a PolicySet selects and that cannot be looked at.",
		}),
		missed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gitgate_policy_audit_incomplete", Help: "1 when there are more objects than can be kept, 0 otherwise.",
		}),
		writes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gitgate_policy_audit_writes_total", Help: "Reports that were written.",
		}),
	}
	r.MustRegister(m.results, m.objects, m.unseen, m.missed, m.writes)
	return m
}

func (m *ScanMetrics) set(counts map[[2]string]int, objects, unseen int, full bool) {
	for k, n := range counts {
		if n == 0 {
			m.results.DeleteLabelValues(k[0], k[1])
			continue
		}
		m.results.WithLabelValues(k[0], k[1]).Set(float64(n))
	}
	m.objects.Set(float64(objects))
	m.unseen.Set(float64(unseen))
	m.missed.Set(0)
	if full {
		m.missed.Set(1)
	}
}

func (m *ScanMetrics) wrote() { m.writes.Inc() }

func (m *ScanMetrics) forget() {
	m.results.Reset()
	m.objects.Set(0)
	m.unseen.Set(0)
	m.missed.Set(0)
}
