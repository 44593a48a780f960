package reconcile

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
)

// exceptions are the PolicyExceptions of what is applied, and when it was judged by
// them. The zero value has none.
type exceptions struct {
	list   []*gate.Exception
	judged time.Time
}

// exceptionsOf are those that a release declares. The gate read them the same way.
func exceptionsOf(declared []gate.Object, judged time.Time) exceptions {
	x := exceptions{judged: judged}
	for _, o := range declared {
		if o.Unstructured == nil || !gate.IsException(o.Unstructured) {
			continue
		}
		if e, err := gate.ParseException(o, judged); err == nil {
			x.list = append(x.list, e)
		}
	}
	return x
}

// next is when the first of them ends that counted when the release was judged; zero if
// none does. It may be past.
func (x exceptions) next() (end time.Time) {
	for _, e := range x.list {
		if at := e.Expires(); x.judged.Before(at) && (end.IsZero() || at.Before(end)) {
			end = at
		}
	}
	return end
}

// lapsed reports whether one of them has ended since the release was judged: what it
// let pass may be refused now.
func (x exceptions) lapsed(now time.Time) bool {
	end := x.next()
	return !end.IsZero() && !now.Before(end)
}

// soon shortens a wait so that it ends when an exception does.
func (x exceptions) soon(now time.Time, wait time.Duration) time.Duration {
	end := x.next()
	if end.IsZero() || !now.Before(end) {
		return wait
	}
	return min(wait, end.Sub(now))
}

// unused counts the exceptions that a verdict says nothing needs.
func unused(v verdict.Verdict) (n int) {
	for _, f := range v.Findings {
		if f.Reason == verdict.ExceptionUnused {
			n++
		}
	}
	return n
}

// newExceptionMetric counts PolicyExceptions. A GitSync without any has no series.
func newExceptionMetric(sync []string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gitgate_policy_exceptions",
		Help: "PolicyExceptions of the revision that is applied: active, of these expiring within two weeks and unused, and expired.",
	}, append(sync, "state"))
}

func (m *Metrics) excepted(namespace, name string, n gate.ExceptionCount) {
	if n.Active+n.Expired == 0 {
		m.exceptions.DeletePartialMatch(prometheus.Labels{"namespace": namespace, "name": name})
		return
	}
	for state, value := range map[string]int{"active": n.Active, "expiring": n.Expiring, "unused": n.Unused, "expired": n.Expired} {
		m.exceptions.WithLabelValues(namespace, name, state).Set(float64(value))
	}
}
