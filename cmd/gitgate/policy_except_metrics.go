package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"gitgate.dev/gitgate/policy/gate"
)

// An exceptionGauge counts the PolicyExceptions that count at admission, when it is read.
// It implements [prometheus.Collector].
type exceptionGauge struct {
	desc       *prometheus.Desc
	exceptions *admissionExceptions
}

func newExceptionGauge(x *admissionExceptions) exceptionGauge {
	return exceptionGauge{prometheus.NewDesc("gitgate_admission_policy_exceptions",
		"PolicyExceptions of verified releases: active, of these expiring within two weeks, and expired.", []string{"state"}, nil), x}
}

// Describe implements [prometheus.Collector].
func (g exceptionGauge) Describe(to chan<- *prometheus.Desc) { to <- g.desc }

// Collect implements [prometheus.Collector].
func (g exceptionGauge) Collect(to chan<- prometheus.Metric) {
	var list []*gate.Exception
	for _, c := range g.exceptions.all() {
		list = append(list, c.Exception)
	}
	n := gate.NewExceptions(list, g.exceptions.clock()).Count()
	for state, value := range map[string]int{"active": n.Active, "expiring": n.Expiring, "expired": n.Expired} {
		to <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, float64(value), state)
	}
}
