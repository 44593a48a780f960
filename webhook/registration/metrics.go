package registration

import (
	"github.com/prometheus/client_golang/prometheus"

	"gitgate.dev/gitgate/webhook/lock"
)

// metrics are nil where nobody asks for them.
type metrics struct {
	mode         prometheus.Gauge
	restorations *prometheus.CounterVec
	failures     prometheus.Counter
	probes       prometheus.Counter
}

// modeValues are what gitgate_registration_mode says.
var modeValues = map[lock.Mode]float64{lock.Off: 0, lock.Audit: 1, lock.Enforce: 2}

func newMetrics(r prometheus.Registerer) *metrics {
	if r == nil {
		return nil
	}
	m := &metrics{
		mode: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gitgate_registration_mode", Help: "What is installed in the API server: 0 nothing, 1 Audit, 2 Enforce.",
		}),
		restorations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitgate_registration_restorations_total",
			Help: "Objects of the registration that somebody had deleted or changed. Every one is a reason to look.",
		}, []string{"kind", "was"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gitgate_registration_failures_total", Help: "Rounds in which the registration could not be put in place.",
		}),
	}
	m.probes = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gitgate_registration_unproven_total",
		Help: "Looks at which Enforce had to wait, because the API server had not reached the webhook yet.",
	})
	r.MustRegister(m.mode, m.restorations, m.failures, m.probes)
	return m
}

func (m *metrics) inPlace(mode lock.Mode) {
	if m != nil {
		m.mode.Set(modeValues[mode])
	}
}

func (m *metrics) restored(kind, was string) {
	if m != nil {
		m.restorations.WithLabelValues(kind, was).Inc()
	}
}

func (m *metrics) failed() {
	if m != nil {
		m.failures.Inc()
	}
}

func (m *metrics) unproven() {
	if m != nil {
		m.probes.Inc()
	}
}
