package reconcile

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gitgate.dev/gitgate/policy/verdict"
)

// Metrics are the Prometheus metrics of the reconciler. Their labels hold no
// names of objects but those of GitSyncs.
type Metrics struct {
	ready      *prometheus.GaugeVec
	suspended  *prometheus.GaugeVec
	verdicts   *prometheus.CounterVec
	findings   *prometheus.CounterVec
	stages     *prometheus.HistogramVec
	reconciles *prometheus.HistogramVec
	objects    *prometheus.GaugeVec
	drifts     *prometheus.CounterVec
	correction prometheus.Histogram
	exceptions *prometheus.GaugeVec
	rules      *RuleMetrics
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	sync := []string{"namespace", "name"}
	seconds := prometheus.ExponentialBuckets(0.001, 2.5, 14)
	m := &Metrics{
		exceptions: newExceptionMetric(sync),
		ready: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gitgate_gitsync_ready", Help: "1 when the GitSync is Ready, 0 otherwise.",
		}, sync),
		suspended: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gitgate_gitsync_suspended", Help: "1 when the GitSync is suspended, 0 otherwise.",
		}, sync),
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitgate_verdicts_total", Help: "Verdicts by what they say: allowed, denied or undetermined.",
		}, append(sync, "result")),
		findings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitgate_findings_total", Help: "Findings of verdicts by stage, reason and severity.",
		}, []string{"stage", "reason", "severity"}),
		stages: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gitgate_stage_duration_seconds", Help: "Time that each stage of the gate took.", Buckets: seconds,
		}, []string{"stage"}),
		reconciles: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gitgate_reconcile_duration_seconds", Help: "Time from fetching to applied.", Buckets: seconds,
		}, sync),
		objects: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gitgate_inventory_objects", Help: "Objects in the inventory.",
		}, sync),
		drifts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitgate_drifts_total", Help: "Drifts by what became of them: corrected or failed.",
		}, append(sync, "result")),
		correction: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gitgate_drift_correction_seconds", Help: "Time from seeing a drift to its correction.", Buckets: seconds,
		}),
	}
	m.rules = NewRuleMetrics(r)
	r.MustRegister(m.ready, m.suspended, m.verdicts, m.findings, m.stages, m.reconciles, m.objects, m.drifts, m.correction, m.exceptions)
	return m
}

func (m *Metrics) verdict(namespace, name string, v verdict.Verdict) {
	result := "denied"
	switch {
	case v.Allowed():
		result = "allowed"
	case v.Undetermined():
		result = "undetermined"
	}
	m.verdicts.WithLabelValues(namespace, name, result).Inc()
	for _, f := range v.Findings {
		m.findings.WithLabelValues(string(f.Stage), string(f.Reason), string(f.Severity)).Inc()
	}
	for _, s := range v.Stages {
		if s.Status != verdict.Skipped {
			m.stages.WithLabelValues(string(s.Stage)).Observe(s.Elapsed.Seconds())
		}
	}
}

func (m *Metrics) corrected(namespace, name string, ok bool, elapsed time.Duration) {
	result := "failed"
	if ok {
		result = "corrected"
		m.correction.Observe(elapsed.Seconds())
	}
	m.drifts.WithLabelValues(namespace, name, result).Inc()
}

// forget drops the series of a GitSync that is gone.
func (m *Metrics) forget(namespace, name string) {
	labels := prometheus.Labels{"namespace": namespace, "name": name}
	for _, v := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{m.ready, m.suspended, m.verdicts, m.reconciles, m.objects, m.drifts, m.exceptions} {
		v.DeletePartialMatch(labels)
	}
}

func boolGauge(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
