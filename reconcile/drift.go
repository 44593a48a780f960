package reconcile

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/apply"
)

const (
	driftWorkers  = 4
	driftRetry    = 500 * time.Millisecond // before a failed correction is tried again, doubled up to
	driftRetryMax = 30 * time.Second
)

// A driftQueue gathers drifts by owner, so that one owner is corrected by one
// worker at a time.
type driftQueue struct {
	mu      sync.Mutex
	pending map[apply.Owner]map[string]seenDrift
	busy    map[apply.Owner]bool
	tries   map[apply.Owner]int
	ready   chan apply.Owner
}

type seenDrift struct {
	apply.Drift
	at time.Time
}

func (q *driftQueue) init() {
	q.pending = map[apply.Owner]map[string]seenDrift{}
	q.busy = map[apply.Owner]bool{}
	q.tries = map[apply.Owner]int{}
	q.ready = make(chan apply.Owner, 4096)
}

// add never blocks. An owner is in the channel at most once, or is being worked
// on and is put there again when that is done.
func (q *driftQueue) add(drifts ...seenDrift) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, d := range drifts {
		m := q.pending[d.Owner]
		if m == nil {
			m = map[string]seenDrift{}
			q.pending[d.Owner] = m
		}
		if old, ok := m[d.Object]; ok {
			d.at = old.at // the clock runs since the first sight
		}
		m[d.Object] = d
		q.offer(d.Owner)
	}
}

func (q *driftQueue) offer(o apply.Owner) {
	if q.busy[o] || len(q.pending[o]) == 0 {
		return
	}
	select {
	case q.ready <- o:
		q.busy[o] = true
	default: // full: the resync finds what is left
	}
}

// take hands out what is pending for an owner.
func (q *driftQueue) take(o apply.Owner) []seenDrift {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := make([]seenDrift, 0, len(q.pending[o]))
	for _, d := range q.pending[o] {
		out = append(out, d)
	}
	delete(q.pending, o)
	return out
}

// done ends the work on an owner. Failed drifts come back later.
func (q *driftQueue) done(o apply.Owner, failed []seenDrift) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy[o] = false
	if len(failed) == 0 {
		delete(q.tries, o)
		q.offer(o)
		return
	}
	wait := min(driftRetry<<min(q.tries[o], 10), driftRetryMax)
	q.tries[o]++
	time.AfterFunc(wait, func() { q.add(failed...) })
	q.offer(o)
}

// OnDrift takes note of a drift. It does not block.
func (r *Reconciler) OnDrift(d apply.Drift) { r.drifts.add(seenDrift{d, time.Now()}) }

// runDrifts corrects drift until ctx is done.
func (r *Reconciler) runDrifts(ctx context.Context) error {
	var workers sync.WaitGroup
	for range driftWorkers {
		workers.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case owner := <-r.drifts.ready:
					r.drifts.done(owner, r.correct(ctx, owner, r.drifts.take(owner)))
				}
			}
		})
	}
	workers.Wait()
	return nil
}

// correct puts drifts right and returns those that it could not.
func (r *Reconciler) correct(ctx context.Context, owner apply.Owner, drifts []seenDrift) (failed []seenDrift) {
	s := r.sessions.lookup(owner)
	if s == nil || len(drifts) == 0 {
		return nil
	}
	if drifts = r.notHeld(ctx, owner, drifts); len(drifts) == 0 {
		return nil
	}
	s.cluster.Lock()
	defer s.cluster.Unlock()
	if s.live == nil {
		return nil // suspended, or not applied by this process yet
	}
	log := logr.FromContextOrDiscard(ctx).WithValues("gitsync", owner.String())
	defer func() {
		if p := recover(); p != nil { // its value may quote a secret
			log.Error(fmt.Errorf("panic of type %T", p), "Drift could not be corrected: this is a bug in gitgate")
			failed = drifts
		}
	}()
	plain := make([]apply.Drift, len(drifts))
	for i, d := range drifts {
		plain[i] = d.Drift
	}
	_, need, findings := r.Applier.Correct(ctx, plain, nil)
	if len(need) > 0 {
		findings = append(findings, r.correctSecrets(ctx, s, need)...)
	}
	bad := map[string]bool{}
	for _, f := range blocking(findings) {
		bad[f.Object] = true
		log.Info("Drift could not be corrected", "object", f.Object, "reason", f.Reason, "message", f.Message)
	}
	for _, d := range drifts {
		ok := !bad[d.Object] && !bad[""]
		r.Metrics.corrected(owner.Namespace, owner.Name, ok, time.Since(d.at))
		if !ok {
			failed = append(failed, d)
			continue
		}
		log.Info("Drift corrected", "object", d.Object, "change", describe(d.Drift), "seconds", time.Since(d.at).Seconds())
	}
	r.driftEvents(ctx, owner, drifts, bad)
	return failed
}

func (r *Reconciler) correctSecrets(ctx context.Context, s *session, need []apply.Drift) []verdict.Finding {
	wanted := map[string]bool{}
	for _, d := range need {
		wanted[d.Object] = true
	}
	fresh, findings := s.live.reopen(ctx, func(o gate.Object) bool { return wanted[o.ID()] })
	if len(blocking(findings)) > 0 {
		return findings
	}
	_, still, findings := r.Applier.Correct(ctx, need, fresh)
	for _, d := range still { // not to be taken for corrected
		findings = append(findings, verdict.Finding{
			Stage: verdict.StageApply, Reason: verdict.Internal, Severity: verdict.Undetermined, Object: d.Object,
			Message: "the applied release has no such Secret",
		})
	}
	return findings
}

// driftEvents tells of drifts on the GitSync.
func (r *Reconciler) driftEvents(ctx context.Context, owner apply.Owner, drifts []seenDrift, bad map[string]bool) {
	var sync v1alpha1.GitSync
	if err := r.Client.Get(ctx, key(owner), &sync); err != nil {
		return
	}
	for _, d := range drifts {
		if bad[d.Object] {
			r.Recorder.Eventf(&sync, nil, corev1.EventTypeWarning, "DriftNotCorrected", "Correct", "%s",
				truncate(d.Object+": trying again: "+describe(d.Drift), maxMessage))
			continue
		}
		r.Recorder.Eventf(&sync, nil, corev1.EventTypeWarning, "DriftCorrected", "Correct", "%s",
			truncate(d.Object+": put back to what Git says: "+describe(d.Drift), maxMessage))
	}
}

// describe says which fields drifted, never to what.
func describe(d apply.Drift) string {
	if d.Missing {
		return "was deleted"
	}
	const most = 3
	fields := make([]string, 0, most)
	for i, c := range d.Changes {
		if i == most {
			return fmt.Sprintf("%s and %d more fields changed", strings.Join(fields, ", "), len(d.Changes)-most)
		}
		fields = append(fields, c.Path.String())
	}
	return strings.Join(fields, ", ") + " changed"
}
