package reconcile

import (
	"context"
	"slices"
	"strings"
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

	judged   judgement       // the last answer of the gate
	applied  plumbing.Hash   // the head that is applied as a whole
	appliedW string          // the fingerprint with which it was
	declared []gate.Object   // what it declares
	marked   []plumbing.Hash // what is remembered of how it was judged
	excepted exceptions      // of that
	resumed  string          // the fingerprint with which the last good release was taken up
	written  string          // the version of the GitSync that we wrote last
	failures int             // in a row
	handled  string          // the last requestedAt that was acted upon
	health   *healthWatch

	// stage is the last stage of gate.
	stage *clusterStage

	// cluster is held while the cluster is written, by Reconcile and by the
	// correction of drift. It guards live.
	cluster sync.Mutex
	// live is what drift is corrected to; nil while suspended or not applied.
	live *liveRelease
}

// A question is what the gate was asked. A rollback tag may make another answer of
// the same head.
type question struct {
	head        plumbing.Hash
	tags        string
	fingerprint string
}

func tagHashes(r *source.Result) string {
	var b strings.Builder
	for _, t := range r.Tags {
		b.WriteString(t.Hash.String())
	}
	return b.String()
}

// A judgement is the answer of the gate.
type judgement struct {
	question
	verdict verdict.Verdict
}

// final reports whether asking the same again would give a denial again: something
// denies that no time heals.
func (j judgement) final() bool {
	return slices.ContainsFunc(j.verdict.Blocking(), func(f verdict.Finding) bool {
		return f.Severity != verdict.Undetermined && !passing(f)
	})
}

// passing reports whether a denial may pass by itself: the cluster may change its
// mind, and a signature may come later than the image.
func passing(f verdict.Finding) bool {
	switch f.Reason {
	case verdict.ImageUnsigned, verdict.ImageUntrusted, verdict.AttestationMissing, verdict.AttestationInvalid, verdict.RegistryLimit:
		return true
	}
	return f.Stage == verdict.StageApply
}

// A liveRelease is what drift of one owner is corrected to.
type liveRelease struct {
	// refused means that the gate refused it after a restart.
	refused bool
	// reopen decrypts those of its objects that want selects.
	reopen func(ctx context.Context, want func(gate.Object) bool) ([]gate.Object, []verdict.Finding)
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

// isLive reports whether drift is corrected to a release that passed the gate of this
// process.
func (s *session) isLive() bool {
	s.cluster.Lock()
	defer s.cluster.Unlock()
	return s.live != nil && !s.live.refused
}

// setLive replaces what drift is corrected to.
func (s *session) setLive(l *liveRelease) {
	s.cluster.Lock()
	defer s.cluster.Unlock()
	s.live = l
}

// backoff is how long to wait after the failures in a row.
func (s *session) backoff(retry, interval time.Duration) time.Duration {
	return backoff(s.failures, retry, interval)
}

// backoff is how long to wait after failures in a row: retry, doubled each time, up
// to interval or a minute, whichever is longer.
func backoff(failures int, retry, interval time.Duration) time.Duration {
	most := max(interval, time.Minute)
	d := retry
	for range failures - 1 {
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
