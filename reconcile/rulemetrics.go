package reconcile

import (
	"github.com/prometheus/client_golang/prometheus"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// RuleMetrics are the Prometheus metrics of rules that come from elsewhere. Their
// labels name PolicySets, which only cluster administrators make, and kinds of
// sources.
type RuleMetrics struct {
	inForce *prometheus.GaugeVec
	refused *prometheus.GaugeVec
	looks   *prometheus.CounterVec
}

// NewRuleMetrics registers the metrics.
func NewRuleMetrics(r prometheus.Registerer) *RuleMetrics {
	set := []string{"policyset"}
	m := &RuleMetrics{
		inForce: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gitgate_policyset_rules_in_force", Help: "1 when a verified version of the PolicySet's rules from Git or a registry is in force, 0 when none is.",
		}, set),
		refused: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gitgate_policyset_newest_refused", Help: "1 when the newest version of the PolicySet's rules is refused and not in force, 0 otherwise.",
		}, set),
		looks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gitgate_policyset_source_looks_total", Help: "Looks at sources of rules by kind, git or oci, and what came of them: current, refused or unavailable.",
		}, []string{"kind", "result"}),
	}
	r.MustRegister(m.inForce, m.refused, m.looks)
	return m
}

func (m *RuleMetrics) observe(set *v1alpha1.PolicySet, s RuleState) {
	if m == nil {
		return
	}
	m.inForce.WithLabelValues(set.Name).Set(boolGauge(s.InForce != nil))
	m.refused.WithLabelValues(set.Name).Set(boolGauge(s.Refused != "" && !s.Unknown))
	kind, result := "git", "current"
	if set.Spec.Source.OCI != nil {
		kind = "oci"
	}
	switch {
	case s.Unknown:
		result = "unavailable"
	case s.Refused != "" || s.Withheld != nil:
		result = "refused"
	}
	m.looks.WithLabelValues(kind, result).Inc()
}

// forget drops the series of a set that is gone.
func (m *RuleMetrics) forget(name string) {
	if m == nil {
		return
	}
	m.inForce.DeleteLabelValues(name)
	m.refused.DeleteLabelValues(name)
}
