package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook/lock"
)

// Metrics are the Prometheus metrics of the admission server. No label holds the
// name of an object or user.
type Metrics struct {
	decisions *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	inFlight  prometheus.Gauge
	refused   *prometheus.CounterVec
	panics    prometheus.Counter
	unlogged  prometheus.Counter
}

// Gauges are what [Metrics] asks others for when it is read. Nil ones are left
// out.
type Gauges struct {
	// InventoryObjects counts the objects that verified releases declare.
	InventoryObjects func() int
	// Refused counts the GitSyncs that are held to a revision which does not pass any
	// more, and their objects that are frozen.
	Refused func() (syncs, frozen int)
	// CertificateExpiry is when the certificate that is served ends; zero while
	// there is none.
	CertificateExpiry func() time.Time
	// Ready reports whether admission requests are judged rather than put off.
	Ready func() bool
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer, g Gauges) *Metrics {
	m := &Metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitgate_admission_decisions_total",
			Help: "Admission requests by outcome (allowed, audited, denied or pending), reason, mode and part of the lock.",
		}, []string{"outcome", "reason", "mode", "matched"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gitgate_admission_duration_seconds", Help: "Time from the request's last byte to the answer.",
			Buckets: prometheus.ExponentialBuckets(0.00005, 2.5, 14),
		}, []string{"outcome"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gitgate_admission_in_flight", Help: "Admission requests being judged.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitgate_admission_refused_total",
			Help: "HTTP requests that were not judged, by cause: path, method, type, length, body, review, overload, panic or handshake.",
		}, []string{"cause"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gitgate_admission_panics_total", Help: "Panics while judging. Each of them denied.",
		}),
		unlogged: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gitgate_admission_unlogged_decisions_total", Help: "Decisions that the decision log could not take.",
		}),
	}
	r.MustRegister(m.decisions, m.duration, m.inFlight, m.refused, m.panics, m.unlogged)
	g.register(r)
	return m
}

func (g Gauges) register(r prometheus.Registerer) {
	for _, gauge := range []struct {
		name, help string
		wanted     bool
		value      func() float64
	}{
		{"gitgate_admission_inventory_objects", "Objects that verified releases declare.", g.InventoryObjects != nil,
			func() float64 { return float64(g.InventoryObjects()) }},
		{"gitgate_lock_refused_gitsyncs", "GitSyncs held to a revision that was applied and is refused now.", g.Refused != nil,
			func() float64 { syncs, _ := g.Refused(); return float64(syncs) }},
		{"gitgate_lock_frozen_objects", "Objects of those GitSyncs that stay as they are, for what they ought to be is not known.", g.Refused != nil,
			func() float64 { _, frozen := g.Refused(); return float64(frozen) }},
		{"gitgate_admission_certificate_expiry_timestamp_seconds", "When the served certificate ends; 0 while there is none.",
			g.CertificateExpiry != nil, func() float64 { return unix(g.CertificateExpiry()) }},
		{"gitgate_admission_ready", "1 when requests are judged, 0 while they are put off.", g.Ready != nil,
			func() float64 { return boolGauge(g.Ready()) }},
	} {
		if gauge.wanted {
			r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: gauge.name, Help: gauge.help}, gauge.value))
		}
	}
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}

func boolGauge(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// outcome says an answer in one word.
func outcome(a lock.Answer) string {
	switch {
	case a.Allowed && a.Mode == lock.Audit && blocks(a.Findings):
		return "audited"
	case a.Allowed:
		return "allowed"
	case a.Pending:
		return "pending"
	}
	return "denied"
}

// blocks reports whether something was found that another mode would refuse.
func blocks(fs []verdict.Finding) bool {
	for _, f := range fs {
		if f.Severity != verdict.Info {
			return true
		}
	}
	return false
}

func (m *Metrics) decided(a lock.Answer, took time.Duration) {
	if m == nil {
		return
	}
	o := outcome(a)
	m.decisions.WithLabelValues(o, string(a.Reason), string(a.Mode), string(a.Matched)).Inc()
	m.duration.WithLabelValues(o).Observe(took.Seconds())
}

func (m *Metrics) refusedFor(cause string) {
	if m != nil {
		m.refused.WithLabelValues(cause).Inc()
	}
}

func (m *Metrics) flight(n float64) {
	if m != nil {
		m.inFlight.Add(n)
	}
}

func (m *Metrics) panicked() {
	if m != nil {
		m.panics.Inc()
	}
}

func (m *Metrics) lostDecision() {
	if m != nil {
		m.unlogged.Inc()
	}
}
