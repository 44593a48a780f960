package reconcile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/apply"
	"gitgate.dev/gitgate/reconcile/source"
)

// pendingInterval is how soon D is asked for again of objects whose namespace or
// definition was not there yet.
const pendingInterval = time.Second

type declaredObjects []gate.Object

// A mirrorSession is what a replica knows of one GitSync.
type mirrorSession struct {
	session
	former  *Verified // applied as a whole, by our own record
	current *Verified // passed every gate; former itself when applied
	wants   *wantStage
	told    string // what the status says of this replica
	earlier *earlierSet
}

// A wantStage is the last stage of a mirror's gate: it learns what a release ought
// to be and asks nothing else. Whether the live cluster takes it the reconciler
// finds out.
type wantStage struct {
	applier  *apply.Applier
	plan     *apply.Plan
	previous []gate.Object
	wants    []apply.Want
}

// DryRun implements [gate.DryRunner].
func (w *wantStage) DryRun(ctx context.Context, c *gate.Candidate) []verdict.Finding {
	w.plan.Objects = c.Objects()
	wants, findings := w.applier.Desire(ctx, w.plan)
	w.wants = wants
	return findings
}

// Deletions implements [gate.DryRunner]: what the last release declared and this
// one does not. What only the live cluster knows is the reconciler's to judge.
func (w *wantStage) Deletions(_ context.Context, keep []gate.Object) ([]gate.Object, error) {
	kept := make(map[string]bool, len(keep))
	for _, o := range keep {
		kept[o.ID()] = true
	}
	return slices.DeleteFunc(slices.Clone(w.previous), func(o gate.Object) bool { return kept[o.ID()] }), nil
}

// A follow is one attempt of a [Mirror] at one GitSync.
type follow struct {
	*Mirror
	*attempt
	session *mirrorSession
	stage   *wantStage
	held    bool // what is refused was looked at in this attempt
	heldErr error
}

// errDenied means that the gate decided, and why.
type errDenied struct{ v verdict.Verdict }

func (e errDenied) Error() string { return e.v.Summary() }

func (f *follow) run(ctx context.Context) error {
	resolver := resolver{cached: f.Mirror.Client, direct: f.Mirror.Direct, system: f.Mirror.SystemNamespace, rules: f.Mirror.Rules}
	in, fingerprint, err := resolver.resolve(ctx, f.sync)
	if err != nil {
		return err
	}
	if err := f.open(ctx, in, fingerprint); err != nil {
		return err
	}
	got, err := f.reach(ctx)
	if err != nil {
		return errors.Join(err, f.recall(ctx, in, nil))
	}
	if err := f.recall(ctx, in, got); err != nil {
		return err
	}
	f.confirm(ctx)
	err = f.advance(ctx, in, got, question{got.Head, tagHashes(got), fingerprint})
	if denied := (errDenied{}); errors.As(err, &denied) && !denied.v.Undetermined() {
		if held := f.hold(ctx, in, got, denied.v); held != nil {
			return held // and not that nothing is held
		}
	}
	f.publish(ctx) // also after a refusal: the mode may be another one now
	return err
}

// advance judges the head unless that was done before.
func (f *follow) advance(ctx context.Context, in Inputs, got *source.Result, q question) error {
	s := f.session
	if s.judged.question == q && !f.pending() {
		if c := s.current; c != nil && c.Held == nil && c.head == q.head {
			return nil
		}
		if s.judged.final() {
			return errDenied{s.judged.verdict}
		}
	}
	v, err := f.judge(ctx, in, got)
	var denied errDenied
	if err != nil && !errors.As(err, &denied) {
		return err
	}
	s.judged = judgement{q, denied.v}
	if err != nil {
		return err
	}
	if former := s.current; former != nil && former.head != v.head && !sameImages(former.Images, v.Images) {
		f.retire(ctx, former)
	}
	s.current = v
	f.confirm(ctx)
	return nil
}

// reach asks the remote, unless the GitSync is suspended: then its lock stays
// where it is.
func (f *follow) reach(ctx context.Context) (*source.Result, error) {
	if !f.sync.Spec.Suspend {
		return f.fetch(ctx)
	}
	if c := f.session.current; c != nil {
		objects, err := f.session.repo.Objects(ctx)
		return &source.Result{Head: c.head, Objects: objects}, err
	}
	_, err := f.fetch(ctx) // opens the repository
	return nil, errors.Join(errors.New("the GitSync is suspended"), err)
}

// open makes the gate.
func (f *follow) open(ctx context.Context, in Inputs, fingerprint string) error {
	s := f.session
	if s.gate != nil && s.fingerprint == fingerprint {
		f.stage = s.wants
		return nil
	}
	stage := &wantStage{applier: f.Mirror.Applier}
	g, err := f.Mirror.Gates.Gate(ctx, in, stage)
	if err != nil {
		return gateError(err)
	}
	s.gate, s.fingerprint, s.wants, f.stage = g, fingerprint, stage, stage
	f.renewEarlier()
	return nil
}

// recall takes up, once after a start, the revision that was applied before: by
// our own record, or else by what the status says, which the gate then judges like
// any other. A replica knows it even while Git is down or the head is refused, and
// holds it if it is refused itself: see hold.
func (f *follow) recall(ctx context.Context, in Inputs, got *source.Result) error {
	s := f.session
	if c := s.current; s.repo == nil || c != nil && (c.Held == nil || c.Held.gate == s.gate) {
		return nil
	}
	head, err := s.repo.Applied(s.owner.String())
	if err != nil {
		return err
	}
	if head.IsZero() {
		head = RevisionHash(f.sync.Status.LastAppliedRevision)
	}
	if head.IsZero() || got != nil && got.Head == head {
		return nil
	}
	objects, err := s.repo.Objects(ctx)
	if err != nil {
		return err
	}
	v, err := f.judge(ctx, in, &source.Result{Head: head, Objects: objects})
	var denied errDenied
	if errors.As(err, &denied) && !denied.v.Undetermined() {
		logr.FromContextOrDiscard(ctx).Info("The revision that was applied does not pass the gate any more", "revision", head.String(), "reason", err.Error())
		err := f.hold(ctx, in, got, denied.v)
		if s.current == nil {
			f.retire(ctx, &Verified{head: head}) // but its Pods run
		}
		if got != nil {
			return nil // the head may pass
		}
		return err
	}
	if err != nil {
		return err
	}
	s.former, s.current, s.declared = v, v, v.declared
	f.publish(ctx)
	return nil
}

// judge runs the gate on a head.
func (f *follow) judge(ctx context.Context, in Inputs, got *source.Result) (*Verified, error) {
	s := f.session
	revision := Revision(f.sync.Spec.Ref.Branch, got.Head)
	req, err := f.request(got, revision)
	if err != nil {
		return nil, err
	}
	if len(req.Commit.Base) > 0 && req.Commit.Base[0] == got.Head {
		req.Commit.Base = nil // the record itself, verified from the root
	}
	plan, err := f.plan(in, revision)
	if err != nil {
		return nil, err
	}
	plan.Identity, plan.Previous, plan.Record = f.DryRunner, nil, nil
	// To the lock an ignored field is anybody's; a delegated one is not.
	plan.Ignore = slices.DeleteFunc(plan.Ignore, func(r apply.IgnoreRule) bool { return r.Undeclared })
	f.stage.plan, f.stage.previous, f.stage.wants = plan, s.declared, nil
	defer func() { *f.stage = wantStage{applier: f.stage.applier} }() // it holds plaintext
	release, v := s.gate.Admit(ctx, req)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if release == nil {
		return nil, errDenied{v}
	}
	return &Verified{
		Revision: revision, Wants: f.stage.wants, Images: release.Images(),
		head: got.Head, declared: release.Declared(), gate: s.gate, mark: mark(f.sync, got.Head),
	}, nil
}

// confirm notes that the current revision is applied when the status says so. A
// forged status can only narrow what may be written.
func (f *follow) confirm(ctx context.Context) {
	s := f.session
	if s.current == nil || s.current.Held != nil || f.sync.Status.LastAppliedRevision != s.current.Revision {
		return
	}
	if s.current != s.former {
		if err := s.repo.SetApplied(s.owner.String(), s.current.head); err != nil {
			logr.FromContextOrDiscard(ctx).Error(err, "The applied revision could not be remembered")
		}
		s.former, s.declared = s.current, s.current.declared
	}
	f.remember(ctx)
}

// publish hands the state to the sink and tells of it.
func (f *follow) publish(ctx context.Context) {
	s := f.session
	if s.current == nil {
		return
	}
	locked := Locked{Sync: f.sync, Writer: f.writer(), Current: s.current}
	if s.former != s.current {
		locked.Former = s.former
	}
	f.Sink.Accept(locked)
	if err := f.report(ctx); err != nil {
		logr.FromContextOrDiscard(ctx).Info("The status could not be told of the lock", "reason", err.Error())
	}
}

// writer is the user who applies the GitSync.
func (f *follow) writer() string {
	if name := f.sync.Spec.ServiceAccountName; name != "" {
		return "system:serviceaccount:" + f.sync.Namespace + ":" + name
	}
	return f.Mirror.Reconciler
}

// report puts the revision of this replica into the status, under a field manager
// of its own.
func (f *follow) report(ctx context.Context) error {
	s := f.session
	digest := s.current.digest()
	entry := map[string]any{"name": f.Replica, "revision": s.current.Revision, "digest": digest, "time": metav1.Now().UTC().Format(time.RFC3339)}
	told := s.current.Revision + " " + digest
	if h := s.current.Held; h != nil {
		frozen := s.current.Frozen()
		entry["refused"], entry["frozen"] = h.Why, int64(len(frozen))
		if len(frozen) > 0 {
			entry["frozenObjects"] = anys(frozen[:min(len(frozen), maxFrozenTold)])
		}
		told += fmt.Sprint(" ", h.Why, frozen)
	}
	if s.told == told && slices.ContainsFunc(replicas(f.sync), func(r v1alpha1.LockReplica) bool { return r.Name == f.Replica }) {
		return nil
	}
	u := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"name": f.sync.Name, "namespace": f.sync.Namespace},
		"status":   map[string]any{"lock": map[string]any{"replicas": []any{entry}}},
	}}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("GitSync"))
	err := f.Mirror.Client.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(u),
		client.FieldOwner("gitgate-webhook-"+f.Replica), client.ForceOwnership)
	if err == nil {
		s.told = told
	}
	return err
}

func replicas(sync *v1alpha1.GitSync) []v1alpha1.LockReplica {
	if sync.Status.Lock == nil {
		return nil
	}
	return sync.Status.Lock.Replicas
}

// pending reports whether D of some object is not known.
func (f *follow) pending() bool {
	c := f.session.current
	return c != nil && slices.ContainsFunc(c.Wants, func(w apply.Want) bool { return w.Desired == nil && w.Frozen == "" })
}

// known reports whether after an attempt all is known that this GitSync holds:
// there is a revision, or the gate said no to the only one there is, or none was
// ever applied.
func (f *follow) known(err error) bool {
	if f.session.current != nil {
		return true
	}
	var denied errDenied
	if errors.As(err, &denied) && !denied.v.Undetermined() {
		return true
	}
	return f.sync.Status.LastAppliedRevision == ""
}

// next is when to look again without being asked.
func (f *follow) next(err error) time.Duration {
	interval := f.sync.IntervalOrDefault()
	switch {
	case err != nil:
		f.session.failures++
		return f.session.backoff(pendingInterval, interval)
	case f.pending():
		return pendingInterval
	}
	f.session.failures = 0
	return interval
}

// digest identifies what the release wants, equal in replicas that agree. Values of
// Secrets are left out: each process seals them with its own key.
func (v *Verified) digest() string {
	lines := make([]string, len(v.Wants))
	for i, w := range v.Wants {
		content := map[string]any{}
		for k, part := range w.Desired {
			if w.Kind.Group != "" || w.Kind.Kind != "Secret" || k != "data" && k != "stringData" {
				content[k] = part
			}
		}
		raw, err := json.Marshal(content)
		if err != nil {
			raw = []byte(err.Error())
		}
		lines[i] = fmt.Sprintf("%s %s/%s %s", w.Kind.GroupVersionKind, w.Namespace, w.Name, raw)
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return "sha256:" + hex.EncodeToString(sum[:])
}
