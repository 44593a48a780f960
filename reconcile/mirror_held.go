package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/apply"
	"gitgate.dev/gitgate/reconcile/source"
)

// A Holding says why a revision is held that the gate in force refuses: it was applied,
// and a lock must not open because what judges it became stricter.
type Holding struct {
	// Why is what the gate says, in one line.
	Why string
	// Remembered means that this replica let the revision pass itself, by its own record.
	// Else only a status names it: see [apply.Applier.HoldLive].
	Remembered bool
	// Verified means that its commits are signed as the gate in force demands.
	Verified bool

	gate  *gate.Gate      // that refused it
	heads []plumbing.Hash // that were read, oldest word first
}

// Frozen lists the objects of the revision that stay as they are, with the reason.
func (v *Verified) Frozen() []string {
	var out []string
	for _, w := range v.Wants {
		if w.Frozen != "" {
			name := w.Kind.Kind + " " + w.Name
			if w.Namespace != "" {
				name = w.Kind.Kind + " " + w.Namespace + "/" + w.Name
			}
			out = append(out, name+": "+w.Frozen)
		}
	}
	slices.Sort(out)
	return out
}

// maxHoldWhy bounds the reason of a refusal that is kept, in bytes.
const maxHoldWhy = 1000

// hold takes up what is in force although the gate refuses it, or looks again at what is
// held so. It does nothing where a revision that passes is known. An error means that
// what is in force could not be told, and is not known yet.
func (f *follow) hold(ctx context.Context, in Inputs, got *source.Result, v verdict.Verdict) error {
	s := f.session
	if s.repo == nil || s.current != nil && s.current.Held == nil {
		return nil
	}
	if !f.held { // once in an attempt
		f.held, f.heldErr = true, f.lookHeld(ctx, in, got, v)
	}
	return f.heldErr
}

func (f *follow) lookHeld(ctx context.Context, in Inputs, got *source.Result, v verdict.Verdict) error {
	s := f.session
	own, err := s.repo.Applied(s.owner.String())
	if err != nil {
		return err
	}
	if s.current != nil && !f.worthHolding(own, got) {
		return nil
	}
	remembered := !own.IsZero() && slices.Equal(s.repo.Earlier(marker(s.owner)), mark(f.sync, own))
	h := &Holding{Why: truncate(v.Summary(), maxHoldWhy), gate: s.gate}
	if c := s.current; c != nil && c.Held.gate == s.gate {
		h.Why = c.Held.Why
	}
	var next *Verified
	if remembered {
		next, err = f.holdOwn(ctx, in, own, h)
	}
	if next == nil && err == nil {
		next, err = f.holdTold(ctx, in, own, got, h)
	}
	if err != nil {
		return fmt.Errorf("what is applied is refused (%s), and what it holds could not be told yet: %w", h.Why, err)
	}
	f.takeHeld(ctx, next)
	return nil
}

// worthHolding reports whether another look at what is held may find anything else.
func (f *follow) worthHolding(own plumbing.Hash, got *source.Result) bool {
	c := f.session.current
	if c.Held.gate != f.session.gate {
		return true
	}
	if !c.Held.Remembered && !slices.Equal(f.toldHeads(c.Held, own, got), c.Held.heads) {
		return true
	}
	return slices.ContainsFunc(c.Wants, func(w apply.Want) bool {
		return w.Desired == nil && (w.Frozen == "" || w.Retry)
	})
}

// takeHeld makes a refused revision the current one.
func (f *follow) takeHeld(ctx context.Context, next *Verified) {
	s := f.session
	if next == nil {
		return
	}
	log := logr.FromContextOrDiscard(ctx)
	if last := s.current; last != nil {
		if last.Held.Remembered == next.Held.Remembered && (!next.Held.Remembered || last.Revision == next.Revision) {
			next.Wants = keepKnown(last.Wants, next.Wants)
		}
		if last.Held.gate == next.Held.gate && last.Held.Verified == next.Held.Verified && last.Revision == next.Revision &&
			last.digest() == next.digest() && slices.Equal(last.Frozen(), next.Frozen()) {
			*last.Held = *next.Held // nothing that the lock goes by
			return
		}
	}
	frozen := next.Frozen()
	log.Info("The revision that is applied is refused now, and is held nevertheless", "revision", next.Revision,
		"reason", next.Held.Why, "remembered", next.Held.Remembered, "objects", len(next.Wants), "frozen", len(frozen),
		"which", frozen[:min(len(frozen), maxFrozenLogged)])
	s.former, s.current = next, next
	f.publish(ctx)
}

// maxFrozenLogged bounds the frozen objects that are named in a line of the log.
const maxFrozenLogged = 20

// holdOwn holds the revision that this replica let pass itself, as other replicas do
// that run since. It returns nil where that cannot be read.
func (f *follow) holdOwn(ctx context.Context, in Inputs, own plumbing.Hash, h *Holding) (*Verified, error) {
	held, err := f.read(ctx, own)
	if held == nil || err != nil {
		return nil, err
	}
	plan, err := f.holdPlan(in, held.Revision())
	if err != nil {
		return nil, err
	}
	h.Remembered, h.Verified = true, held.Verified()
	v := &Verified{Revision: held.Revision(), head: own, Held: h}
	if v.Wants, err = f.Mirror.Applier.Hold(ctx, plan, held); err != nil {
		return nil, err
	}
	for _, o := range held.Objects() {
		v.Images = append(v.Images, o.Images...)
	}
	return v, nil
}

// toldHeads are the revisions that may be in force where nothing is remembered, or only
// as something else than the GitSync names now: by the status, by that, and the head.
// They only add to each other.
func (f *follow) toldHeads(before *Holding, own plumbing.Hash, got *source.Result) []plumbing.Hash {
	var heads []plumbing.Hash
	add := func(h plumbing.Hash) {
		if !h.IsZero() && !slices.Contains(heads, h) && len(heads) < maxTold {
			heads = append(heads, h)
		}
	}
	if before != nil {
		for _, h := range before.heads {
			add(h)
		}
	}
	add(RevisionHash(f.sync.Status.LastAppliedRevision))
	add(own)
	if got != nil {
		add(got.Head)
	}
	return heads
}

// maxTold bounds the revisions that are read where nothing is remembered.
const maxTold = 8

// holdTold holds what is in force by a status, by the head and by what is labelled. None
// of them is believed: all only say which objects stay as they are.
func (f *follow) holdTold(ctx context.Context, in Inputs, own plumbing.Hash, got *source.Result, h *Holding) (*Verified, error) {
	s := f.session
	if c := s.current; c != nil && !c.Held.Remembered {
		h.heads = c.Held.heads
	}
	h.heads = f.toldHeads(h, own, got)
	told := RevisionHash(f.sync.Status.LastAppliedRevision)
	v := &Verified{Revision: f.sync.Status.LastAppliedRevision, head: told, Held: h}
	if told.IsZero() && got != nil {
		v.Revision, v.head = Revision(f.sync.Spec.Ref.Branch, got.Head), got.Head
	}
	plan, err := f.holdPlan(in, v.Revision)
	if err != nil {
		return nil, err
	}
	inventory := inventory(f.sync)
	for i := range len(h.heads) + 1 {
		plan.Previous = nil
		var held *gate.Held
		if i < len(h.heads) {
			if held, err = f.read(ctx, h.heads[i]); err != nil {
				return nil, err
			}
			if held == nil {
				continue
			}
			h.Verified = h.Verified || h.heads[i] == told && held.Verified()
		} else {
			plan.Previous = inventory
		}
		wants, err := f.Mirror.Applier.HoldLive(ctx, plan, held, i < len(h.heads) && h.heads[i] == told)
		if err != nil {
			return nil, err
		}
		v.Wants = addWants(v.Wants, wants)
	}
	more, err := f.Mirror.Applier.HoldLabelled(ctx, plan, v.Wants)
	if err != nil {
		return nil, err
	}
	v.Wants = append(v.Wants, more...)
	if told.IsZero() && len(v.Wants) == 0 {
		return nil, nil // nothing was ever applied
	}
	return v, nil
}

// addWants adds what another revision says. That an object is as one of them says is
// enough for it not to be frozen.
func addWants(all, more []apply.Want) []apply.Want {
	at := positions(all)
	for _, w := range more {
		i, there := at[nameOf(w)]
		switch {
		case !there:
			all = append(all, w)
		case all[i].Frozen != "" && w.Frozen == "":
			all[i] = w
		}
	}
	return all
}

// maxFrozenTold bounds the frozen objects that the status names.
const maxFrozenTold = 10

func anys(texts []string) []any {
	out := make([]any, len(texts))
	for i, s := range texts {
		out[i] = truncate(s, maxFrozenText)
	}
	return out
}

// maxFrozenText bounds what the status says of one of them, in bytes.
const maxFrozenText = 300

// keepKnown returns what another look found, with what the last one knew of objects that
// are frozen now: what is told of them comes from the state in which they were.
func keepKnown(last, next []apply.Want) []apply.Want {
	at := positions(next)
	for _, w := range last {
		i, there := at[nameOf(w)]
		switch {
		case !there:
			next = append(next, w)
		case next[i].Frozen != "" && w.Frozen == "" && w.Desired != nil:
			w.Ignore = next[i].Ignore
			next[i] = w
		}
	}
	return next
}

// A wantName is an object, whatever version it is wanted in.
type wantName struct {
	schema.GroupResource
	namespace, name string
}

func nameOf(w apply.Want) wantName {
	return wantName{w.Resource.GroupResource(), w.Namespace, w.Name}
}

func positions(wants []apply.Want) map[wantName]int {
	out := make(map[wantName]int, len(wants))
	for i, w := range wants {
		out[nameOf(w)] = i
	}
	return out
}

// remember notes how the current revision was judged, which is applied.
func (f *follow) remember(ctx context.Context) {
	s := f.session
	mark := s.current.mark
	if slices.Equal(s.marked, mark) {
		return
	}
	if err := s.repo.SetEarlier(marker(s.owner), mark); err != nil {
		logr.FromContextOrDiscard(ctx).Error(err, "How the applied revision was judged could not be remembered")
		return
	}
	s.marked = mark
}

// read reads a refused revision from the clone; nil if it cannot be read.
func (f *follow) read(ctx context.Context, head plumbing.Hash) (*gate.Held, error) {
	s := f.session
	objects, err := s.repo.Objects(ctx)
	if err != nil {
		return nil, err
	}
	held, why := s.gate.Hold(ctx, gate.HoldRequest{Revision: Revision(f.sync.Spec.Ref.Branch, head), Objects: objects, Head: head})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if held == nil {
		text := "it holds nothing"
		for _, w := range why {
			if text = w.String(); w.Severity == verdict.Undetermined {
				return nil, errors.New(text)
			}
		}
		logr.FromContextOrDiscard(ctx).Info("A revision that may be in force cannot be read", "revision", head.String(), "reason", text)
	}
	return held, nil
}

// holdPlan is the plan of a refused revision. Nothing is ever written by it.
func (f *follow) holdPlan(in Inputs, revision string) (*apply.Plan, error) {
	plan, err := f.plan(in, revision)
	if err != nil {
		return nil, err
	}
	plan.Identity, plan.Previous, plan.Record = f.DryRunner, nil, nil
	return plan, nil
}
