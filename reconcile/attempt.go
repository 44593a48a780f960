package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/source"
	"gitgate.dev/gitgate/verify/commit"
)

// run fetches, judges and applies. Whatever goes wrong, the last good release
// stays applied and its drift is corrected.
func (a *attempt) run(ctx context.Context) outcome {
	if a.sync.Spec.Suspend {
		a.session.stopHealth()
		a.session.setLive(nil)
		a.session.applied, a.session.resumed = plumbing.ZeroHash, "" // checked again in full on resume
		return outcome{ready: metav1.ConditionUnknown, reason: v1alpha1.ReasonSuspended, message: "suspended: nothing is fetched, applied or corrected"}
	}
	resolver := resolver{cached: a.Client, direct: a.Direct, system: a.SystemNamespace, rules: a.Rules}
	in, fingerprint, err := resolver.resolve(ctx, a.sync)
	if err != nil {
		return specOutcome(err)
	}
	if wait := a.dependency(ctx); wait != "" {
		return outcome{ready: metav1.ConditionFalse, reason: v1alpha1.ReasonDependencyNotReady, message: wait, retry: true}
	}
	if err := a.buildGate(ctx, in, fingerprint); err != nil {
		return specOutcome(err)
	}
	got, err := a.fetch(ctx)
	if err != nil {
		a.resume(ctx, in, fingerprint)
		return sourceOutcome(err)
	}
	switch s := a.session; {
	case a.requested():
	case s.applied == got.Head && s.appliedW == fingerprint && !s.excepted.lapsed(a.started):
		return a.steady()
	case s.judged.question == (question{got.Head, tagHashes(got), fingerprint}) && s.judged.final():
		a.resume(ctx, in, fingerprint)
		out := a.quarantined(s.judged.verdict)
		out.quiet = true
		return out
	}
	out := a.advance(ctx, in, fingerprint, got)
	a.resume(ctx, in, fingerprint)
	return out
}

// requested reports whether a person asked for an attempt now.
func (a *attempt) requested() bool {
	at := a.sync.Annotations[v1alpha1.RequestedAtAnnotation]
	if at == "" || at == a.session.handled || at == a.sync.Status.LastHandledReconcileAt {
		return false
	}
	a.session.handled = at
	return true
}

// dependency names the GitSync that has to be ready first, if there is one.
func (a *attempt) dependency(ctx context.Context) string {
	for _, d := range a.sync.Spec.DependsOn {
		name := types.NamespacedName{Namespace: d.Namespace, Name: d.Name}
		if name.Namespace == "" {
			name.Namespace = a.sync.Namespace
		}
		var dep v1alpha1.GitSync
		if err := a.Client.Get(ctx, name, &dep); err != nil {
			return fmt.Sprintf("waiting for GitSync %s: %v", name, err)
		}
		if !readyCondition(&dep) {
			return fmt.Sprintf("waiting for GitSync %s to be Ready", name)
		}
	}
	return ""
}

// readyCondition reports whether a GitSync is Ready as its spec stands now.
func readyCondition(s *v1alpha1.GitSync) bool {
	ready := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == s.Generation
}

// fetch opens the repository anew when its URL or credentials changed, and asks
// the remote for the head of the branch.
func (a *attempt) fetch(ctx context.Context) (*source.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, a.sync.TimeoutOrDefault())
	defer cancel()
	s, spec := a.session, a.sync.Spec
	at := location{
		url: spec.URL, branch: spec.Ref.Branch, timeout: a.sync.TimeoutOrDefault(),
		field: "spec.secretRef", namespace: a.sync.Namespace, secret: spec.SecretRef,
	}
	former := s.repo
	var err error
	if s.repo, s.access, err = a.Sources.reopen(ctx, a.Direct, at, s.repo, s.access); err != nil {
		return nil, err
	}
	if s.repo != former {
		s.marked = nil // it may be another clone
	}
	return s.repo.Fetch(ctx)
}

func (a *attempt) buildGate(ctx context.Context, in Inputs, fingerprint string) error {
	s := a.session
	if s.gate != nil && s.fingerprint == fingerprint {
		return nil
	}
	cluster := &clusterStage{applier: a.Applier}
	g, err := a.Gates.Gate(ctx, in, cluster)
	if err != nil {
		return gateError(err)
	}
	s.gate, s.stage, s.fingerprint = g, cluster, fingerprint
	return nil
}

// advance judges a head and applies it if it passes.
func (a *attempt) advance(ctx context.Context, in Inputs, fingerprint string, got *source.Result) outcome {
	a.worked = true
	s := a.session
	revision := Revision(a.sync.Spec.Ref.Branch, got.Head)
	req, err := a.request(got, revision)
	if err != nil {
		return sourceOutcome(err)
	}
	plan, err := a.plan(in, revision)
	if err != nil {
		return specOutcome(err)
	}
	if err := a.announce(ctx, revision); err != nil {
		return failed(v1alpha1.ReasonReconciliationFailed, "the status cannot be written: %v", err)
	}
	s.stage.plan, s.stage.await = plan, a.awaitReplicas
	defer func() { s.stage.plan = nil }() // it holds plaintext
	release, v := s.gate.Admit(ctx, req)
	if ctx.Err() != nil {
		return failed(v1alpha1.ReasonReconciliationFailed, "stopped while judging: %v", ctx.Err())
	}
	s.judged = judgement{question{got.Head, tagHashes(got), fingerprint}, v}
	a.sync.Status.LastAttemptedRevision = revision
	if release == nil {
		a.decide(ctx, req, v, "", nil)
		return a.quarantined(v)
	}
	info := release.Commit()
	a.decide(ctx, req, v, info.Author.String(), info.Signers)
	setConditions(a.sync, verified(revision))
	return a.apply(ctx, release, got, fingerprint)
}

// request names the range to verify: from what was applied, by our own record
// beside the clone. Only where that is lost does the status count, and then it can
// but refuse more.
func (a *attempt) request(got *source.Result, revision string) (gate.Request, error) {
	s := a.session
	req := gate.Request{Revision: revision, Previous: s.declared}
	req.Inventory = a.sync.Status.Inventory.Len()
	var err error
	if req.Commit, err = commitRange(s.repo, s.owner.String(), got, a.sync.Status.LastAppliedRevision); err != nil {
		return req, err
	}
	if s.declared == nil && len(req.Commit.Base) > 0 {
		// Without it rules would take every object for a new one.
		if req.PreviousTree, err = commit.Unverified(got.Objects, req.Commit.Base[0]); err != nil {
			return req, fmt.Errorf("the applied commit cannot be read: %w", err)
		}
	}
	return req, nil
}

// commitRange is what to verify of a head: the commits since the one that an owner
// had in force, by the record beside the clone. Where that is lost it has to descend
// from what the status tells.
func commitRange(repo *source.Repository, owner string, got *source.Result, told string) (commit.Request, error) {
	req := commit.Request{Head: got.Head, Objects: got.Objects}
	for _, tag := range got.Tags {
		req.Tags = append(req.Tags, tag.Object)
	}
	applied, err := repo.Applied(owner)
	if err != nil {
		return req, err
	}
	if !applied.IsZero() {
		req.Base = []plumbing.Hash{applied}
	} else if h := RevisionHash(told); !h.IsZero() {
		req.Ancestors = []plumbing.Hash{h}
	}
	return req, nil
}

func verified(revision string) condition {
	return condition{v1alpha1.ConditionVerified, metav1.ConditionTrue, v1alpha1.ReasonVerified, "revision " + revision + " passed every gate"}
}

func (a *attempt) quarantined(v verdict.Verdict) outcome {
	message := deniedMessage(v, a.sync.Status.LastAppliedRevision)
	reason := v1alpha1.ReasonQuarantined
	if blocking := v.Blocking(); len(blocking) > 0 {
		reason = cmp.Or(string(blocking[0].Reason), reason)
	}
	setConditions(a.sync, condition{v1alpha1.ConditionVerified, metav1.ConditionFalse, reason, message})
	out := outcome{ready: metav1.ConditionFalse, reason: reason, message: message}
	out.stalled = a.session.judged.final()
	out.retry = !out.stalled
	return out
}

// steady is the outcome when the head is applied already.
func (a *attempt) steady() outcome {
	s := a.session
	a.sync.Status.LastAttemptedRevision = a.sync.Status.LastAppliedRevision
	setConditions(a.sync, verified(a.sync.Status.LastAppliedRevision))
	judgedAgain(a.sync, s.judged.verdict)
	if !a.sync.Spec.Wait {
		return a.succeeded()
	}
	findings := a.Applier.Health(s.owner)
	if s.health != nil {
		var done bool
		if findings, done = s.health.result(); !done {
			return a.awaiting()
		}
		s.health = nil
	}
	if out, ok := a.healthOutcome(findings); !ok {
		return out
	}
	return a.succeeded()
}

func (a *attempt) succeeded() outcome {
	return outcome{ready: metav1.ConditionTrue, reason: v1alpha1.ReasonReconciliationSucceeded, message: "applied revision " + a.sync.Status.LastAppliedRevision}
}

func specOutcome(err error) outcome {
	out := failed(v1alpha1.ReasonReconciliationFailed, "%v", err)
	if s, ok := asSpecError(err); ok {
		out = stalled(string(s.reason), "%s", s.msg)
	}
	out.blind = true
	return out
}

func sourceOutcome(err error) outcome {
	out := failed(string(verdict.SourceUnavailable), "%v", err)
	var known *source.Error
	if s, ok := asSpecError(err); ok {
		out = failed(string(s.reason), "%s", s.msg)
	} else if errors.As(err, &known) {
		out = failed(string(known.Reason), "%v", known)
	}
	out.blind = true
	return out
}

func (a *attempt) log(ctx context.Context) logr.Logger { return logr.FromContextOrDiscard(ctx) }
