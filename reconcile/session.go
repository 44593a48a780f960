package reconcile

import (
	"context"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/apply"
	"gitgate.dev/gitgate/reconcile/source"
)

// A session is what the process knows of one GitSync. It can be lost at any
// moment: all of it is derived from Git and the cluster again.
type session struct {
	owner apply.Owner

	// The fields below belong to Reconcile, which runs once at a time.

	gate        *gate.Gate
	fingerprint string // of the inputs that gate was made from
	repo        *source.Repository
	access      string // what repo was opened with

	judged   judgement     // the last answer of the gate
	applied  plumbing.Hash // the head that is applied as a whole
	appliedW string        // the fingerprint with which it was
	declared []gate.Object // what it declares
	resumed  bool          // the last good release was taken up after a restart
	failures int           // in a row
	handled  string        // the last requestedAt that was acted upon
	health   *healthWatch

	// stage is the last stage of gate.
	stage *clusterStage

	// cluster is held while the cluster is written, by Reconcile and by the
	// correction of drift. It guards live.
	cluster sync.Mutex
	// live is what drift is corrected to; nil while suspended or not applied.
	live *liveRelease
}

// A judgement is the answer of the gate to one head.
type judgement struct {
	head        plumbing.Hash
	fingerprint string
	verdict     verdict.Verdict
}

// settled reports whether judging the same again would give the same.
func (j judgement) settled(head plumbing.Hash, fingerprint string) bool {
	if j.head != head || j.fingerprint != fingerprint || j.verdict.Allowed() || j.verdict.Undetermined() {
		return false
	}
	for _, f := range j.verdict.Blocking() {
		if f.Stage == verdict.StageApply { // the cluster may have changed its mind
			return false
		}
	}
	return true
}

// A liveRelease is what drift of one owner is corrected to.
type liveRelease struct {
	gate    *gate.Gate
	release *gate.Applied
}

// A healthWatch waits for the health of what was applied, beside Reconcile.
type healthWatch struct {
	cancel context.CancelFunc

	mu       sync.Mutex
	done     bool
	findings []verdict.Finding
}

func (h *healthWatch) finish(findings []verdict.Finding) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done, h.findings = true, findings
}

func (h *healthWatch) result() (findings []verdict.Finding, done bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.findings, h.done
}

func (s *session) stopHealth() {
	if s.health != nil {
		s.health.cancel()
		s.health = nil
	}
}

// setLive replaces what drift is corrected to.
func (s *session) setLive(l *liveRelease) {
	s.cluster.Lock()
	defer s.cluster.Unlock()
	s.live = l
}

// backoff is how long to wait after the failures in a row: retry, doubled each
// time, up to interval or a minute, whichever is longer.
func (s *session) backoff(retry, interval time.Duration) time.Duration {
	most := max(interval, time.Minute)
	d := retry
	for range s.failures - 1 {
		if d *= 2; d >= most {
			return most
		}
	}
	return min(d, most)
}

// sessions holds the session of each GitSync.
type sessions struct {
	mu sync.Mutex
	m  map[apply.Owner]*session
}

func (s *sessions) get(o apply.Owner) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[apply.Owner]*session{}
	}
	if s.m[o] == nil {
		s.m[o] = &session{owner: o}
	}
	return s.m[o]
}

// lookup returns nil when there is no session.
func (s *sessions) lookup(o apply.Owner) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[o]
}

func (s *sessions) drop(o apply.Owner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, o)
}
