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
