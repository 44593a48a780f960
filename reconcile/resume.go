package reconcile

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/apply"
	"gitgate.dev/gitgate/reconcile/source"
)

// resume brings what is applied back under watch after a restart, from the clone, when
// the head is denied or cannot be had. It is judged like any revision. If it does not
// pass any more, its drift is corrected as by a process that has run on: see holdApplied.
// The head decides about the status.
func (a *attempt) resume(ctx context.Context, in Inputs, fingerprint string) {
	s := a.session
	if s.repo == nil || s.resumed == fingerprint || s.isLive() || ctx.Err() != nil {
		return
	}
	applied, err := s.repo.Applied(s.owner.String())
	if err != nil || applied.IsZero() {
		return
	}
	objects, err := s.repo.Objects(ctx)
	if err != nil {
		a.log(ctx).Info("The last applied revision cannot be read", "revision", applied.String(), "reason", err.Error())
		return
	}
	final := s.judged.final()
	if s.judged.head != applied || s.judged.fingerprint != fingerprint {
		final = a.readmit(ctx, in, fingerprint, &source.Result{Head: applied, Objects: objects})
	}
	if !s.isLive() && (!a.holdApplied(ctx, in, &source.Result{Head: applied, Objects: objects}) || !final) {
		return // to be tried again
	}
	s.resumed = fingerprint
}

// readmit judges what was applied as if it were the head, and applies it again if it
// passes. It reports whether it was denied for good.
func (a *attempt) readmit(ctx context.Context, in Inputs, fingerprint string, got *source.Result) (final bool) {
	s := a.session
	judged, was := s.judged, a.sync.Status.DeepCopy()
	out := a.advance(ctx, in, fingerprint, got)
	final = s.judged.head == got.Head && s.judged.final()
	if out.ready == metav1.ConditionFalse {
		a.log(ctx).Info("The last applied revision could not be taken up again", "revision", got.Head.String(), "reason", out.message)
	}
	s.judged = judged
	was.Inventory, was.LastAppliedRevision = a.sync.Status.Inventory, a.sync.Status.LastAppliedRevision
	a.sync.Status = *was
	return final
}

// holdApplied has drift corrected to a revision that the gate refuses, and that this
// reconciler has applied by its own record: a stricter rule takes nothing away, and
// must not leave what runs to whoever changes it either. A status is no such record.
// It reports whether another attempt would find nothing else.
func (a *attempt) holdApplied(ctx context.Context, in Inputs, got *source.Result) (done bool) {
	s := a.session
	if !slices.Equal(s.repo.Earlier(marker(s.owner)), mark(a.sync, got.Head)) {
		return true // it was applied as something else than the GitSync names now
	}
	ctx, cancel := context.WithTimeout(ctx, a.sync.TimeoutOrDefault())
	defer cancel()
	g, req := s.gate, gate.HoldRequest{Revision: Revision(a.sync.Spec.Ref.Branch, got.Head), Objects: got.Objects, Head: got.Head}
	held, why := g.Hold(ctx, req)
	if held == nil {
		reason := "it holds nothing"
		if len(why) > 0 {
			reason = summary(why)
		}
		a.log(ctx).Info("The last applied revision cannot be held", "revision", req.Revision, "reason", reason)
		return !slices.ContainsFunc(why, func(f verdict.Finding) bool { return f.Severity == verdict.Undetermined })
	}
	plan, err := a.plan(in, req.Revision)
	if err != nil {
		return true
	}
	plan.Record = nil // nothing is applied

	s.cluster.Lock()
	defer s.cluster.Unlock()
	before, repo := s.live, s.repo
	s.live = &liveRelease{refused: true, reopen: func(ctx context.Context, want func(gate.Object) bool) ([]gate.Object, []verdict.Finding) {
		return reopenHeld(ctx, g, repo, req, want)
	}}
	left, err := a.Applier.TakeUp(ctx, plan, held)
	if err != nil {
		s.live = before
		a.log(ctx).Info("The last applied revision could not be held", "revision", req.Revision, "reason", err.Error())
		return false
	}
	if before == nil {
		a.tellHeld(ctx, req.Revision, len(held.Objects()), left)
	}
	return !slices.ContainsFunc(left, func(l apply.Left) bool { return l.Retry })
}

// tellHeld tells that drift is corrected to a refused revision, and what is left out.
func (a *attempt) tellHeld(ctx context.Context, revision string, objects int, left []apply.Left) {
	slices.SortFunc(left, func(x, y apply.Left) int { return cmp.Compare(x.Object, y.Object) })
	lines := make([]string, len(left))
	for i, l := range left {
		lines[i] = l.Object + ": " + l.Why
	}
	lines = lines[:min(len(lines), maxFrozenLogged)]
	a.log(ctx).Info("The revision that is applied is refused now, and its drift is corrected nevertheless",
		"revision", revision, "objects", objects, "left", len(left), "which", lines)
	message := fmt.Sprintf("%s is refused now, stays applied, and its drift is corrected", revision)
	if len(left) > 0 {
		message += fmt.Sprintf(", but of %d of %d objects, as %s", len(left), objects, lines[0])
	}
	a.Recorder.Eventf(a.sync, nil, corev1.EventTypeWarning, "RevisionHeld", "Reconcile", "%s", truncate(message, maxMessage))
}

// reopenHeld decrypts objects of a refused revision, from what the clone holds by now.
func reopenHeld(ctx context.Context, g *gate.Gate, repo *source.Repository, req gate.HoldRequest, want func(gate.Object) bool) (out []gate.Object, findings []verdict.Finding) {
	objects, err := repo.Objects(ctx)
	if err != nil {
		return nil, []verdict.Finding{{Stage: verdict.StageApply, Reason: verdict.SourceUnavailable, Severity: verdict.Undetermined, Message: err.Error()}}
	}
	req.Objects = objects
	held, why := g.Hold(ctx, req)
	if held == nil {
		return nil, why
	}
	for _, o := range held.Objects() {
		switch {
		case !want(o.Object):
		case o.Unknown != nil:
			findings = append(findings, *o.Unknown)
		default:
			out = append(out, o.Object)
		}
	}
	return out, findings
}

// remember notes as what the applied head was judged, after it was told: until then, and
// if it fails, a revision that comes to be refused is not held after a restart.
func (a *attempt) remember(ctx context.Context) {
	s := a.session
	if s.applied.IsZero() {
		return
	}
	now := mark(a.sync, s.applied)
	if slices.Equal(s.marked, now) {
		return
	}
	if err := s.repo.SetEarlier(marker(s.owner), now); err != nil {
		a.log(ctx).Error(err, "How the applied revision was judged could not be remembered")
		return
	}
	s.marked = now
}

// marker is under what name the mark of a GitSync is kept beside the clone.
func marker(owner apply.Owner) string { return owner.String() + " as it was judged" }

// mark says what of a GitSync decides which objects a head declares: a head passed only
// as what the GitSync named then.
func mark(sync *v1alpha1.GitSync, head plumbing.Hash) []plumbing.Hash {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q", sync.Spec.Path, sync.Spec.TargetNamespace))
	return []plumbing.Hash{head, plumbing.Hash(sum[:len(plumbing.ZeroHash)])}
}
