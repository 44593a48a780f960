package reconcile

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/source"
	"gitgate.dev/gitgate/verify/image"
)

// earlierReviews is how many GitSyncs have their earlier releases looked at at once.
const earlierReviews = 2

// reviewTime bounds one look at the earlier releases of a GitSync. What is not done by
// then is done at the next one.
const reviewTime = 5 * time.Minute

// An earlierSet is what may run of the releases that were in force before the current
// one: their Pods are replaced by and by, and not at all while a rollout is stuck. What
// one gate has proven does not count for another: trust may have changed. The lock of
// the [Mirror] guards it.
type earlierSet struct {
	gate   *gate.Gate
	heads  []plumbing.Hash // oldest first, at most source.MaxEarlier
	proven map[plumbing.Hash][]image.Evidence
	// todo are those that nobody looked at yet; later those of which not everything
	// could be told, to be looked at again.
	todo, later []plumbing.Hash

	objects *source.Objects
	within  plumbing.Hash // a head in whose history they must be
}

// images are what was proven of all of them.
func (e *earlierSet) images() []image.Evidence {
	var out []image.Evidence
	for _, h := range e.heads {
		out = append(out, e.proven[h]...)
	}
	return out
}

// add notes what was in force last. The oldest ones go.
func (e *earlierSet) add(v *Verified) {
	is := func(h plumbing.Hash) bool { return h == v.head }
	e.heads = append(slices.DeleteFunc(slices.Clone(e.heads), is), v.head)
	e.heads = e.heads[max(0, len(e.heads)-source.MaxEarlier):]
	gone := func(h plumbing.Hash) bool { return is(h) || !slices.Contains(e.heads, h) }
	e.todo, e.later = slices.DeleteFunc(e.todo, gone), slices.DeleteFunc(e.later, gone)
	maps.DeleteFunc(e.proven, func(h plumbing.Hash, _ []image.Evidence) bool { return gone(h) })
	if v.gate == e.gate {
		e.proven[v.head] = v.Images
	} else {
		e.todo = append(e.todo, v.head)
	}
}

// earlierHeads are the heads that were in force before: by our own record, or where
// there is none by what the status says. Neither is believed; see [gate.Gate.Images].
func (f *follow) earlierHeads() []plumbing.Hash {
	heads := f.session.repo.Earlier(f.session.owner.String())
	if len(heads) > 0 {
		return heads
	}
	for _, s := range slices.Backward(f.sync.Status.History) {
		h := RevisionHash(s.Revision)
		if c := f.session.current; !h.IsZero() && !slices.Contains(heads, h) && (c == nil || c.head != h) {
			heads = append(heads, h)
		}
	}
	return heads[max(0, len(heads)-source.MaxEarlier):]
}

// earlier returns the set of the gate in force, and makes it where that is another gate
// than before: what the former one has proven is worth nothing from now on. The lock of
// the Mirror must be held.
func (f *follow) earlier() *earlierSet {
	s := f.session
	if s.earlier != nil && s.earlier.gate == s.gate {
		return s.earlier
	}
	heads := f.earlierHeads()
	if s.earlier != nil {
		heads = s.earlier.heads
		f.Sink.Retire(client.ObjectKeyFromObject(f.sync), nil)
	}
	s.earlier = &earlierSet{gate: s.gate, heads: heads, proven: map[plumbing.Hash][]image.Evidence{}, todo: slices.Clone(heads)}
	return s.earlier
}

// renewEarlier has what a former gate has proven count no longer, once there is another.
func (f *follow) renewEarlier() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.session.earlier != nil {
		f.earlier()
	}
}

// retire notes that what was in force no longer is, or is about to be replaced: no Pod
// is to be without its image in between. What this gate did not let pass is yet to be
// looked at.
func (f *follow) retire(ctx context.Context, former *Verified) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.earlier()
	if n := len(e.heads); n > 0 && e.heads[n-1] == former.head && former.gate == nil {
		return // as at the last look
	}
	e.add(former)
	f.Sink.Retire(client.ObjectKeyFromObject(f.sync), e.images())
	if err := f.session.repo.SetEarlier(f.session.owner.String(), e.heads); err != nil {
		logr.FromContextOrDiscard(ctx).Error(err, "The revisions that were in force before could not be remembered")
	}
}

// sameImages reports whether two releases run the same digests.
func sameImages(a, b []image.Evidence) bool {
	digests := func(all []image.Evidence) []string {
		var out []string
		for _, e := range all {
			out = append(out, e.Image()+"@"+e.Digest())
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	return slices.Equal(digests(a), digests(b))
}

// reviewEarlier has the earlier releases looked at that nobody looked at yet, beside
// everything else.
func (f *follow) reviewEarlier(ctx context.Context) {
	s := f.session
	if s.current == nil || s.gate == nil || s.repo == nil {
		return
	}
	objects, err := s.repo.Objects(ctx)
	if err != nil {
		return // the next fetch replaces the clone
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.earlier()
	e.objects, e.within = objects, s.current.head
	e.todo, e.later = append(e.later, e.todo...), nil
	if len(e.todo) > 0 {
		f.reviews.Add(client.ObjectKeyFromObject(f.sync))
	}
}

// runReviews looks at earlier releases until ctx is done. It begins when all locks are
// known, which must not wait for it.
func (m *Mirror) runReviews(ctx context.Context) {
	select {
	case <-m.allKnown:
	case <-ctx.Done():
		return
	}
	context.AfterFunc(ctx, m.reviews.ShutDown)
	for range earlierReviews {
		go func() {
			for {
				name, ended := m.reviews.Get()
				if ended {
					return
				}
				m.review(ctx, name)
				m.reviews.Done(name)
			}
		}()
	}
}

// review looks at the earlier releases of a GitSync, the newest first.
func (m *Mirror) review(ctx context.Context, name types.NamespacedName) {
	ctx, cancel := context.WithTimeout(ctx, reviewTime)
	defer cancel()
	for ctx.Err() == nil {
		e, g, request := m.nextReview(name)
		if e == nil {
			return
		}
		images, left := g.Images(ctx, request)
		if len(left) > 0 && ctx.Err() == nil {
			logr.FromContextOrDiscard(ctx).Info("Not every image of an earlier revision can be verified; Pods with the others wait",
				"gitsync", name.String(), "revision", request.Head.String(), "left", len(left), "reason", left[0].String())
		}
		m.reviewed(name, e, request.Head, images, left)
	}
}

// nextReview takes one of the heads that nobody looked at; nil if there is none.
func (m *Mirror) nextReview(name types.NamespacedName) (*earlierSet, *gate.Gate, gate.Earlier) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sessions[name]
	if s == nil || s.earlier == nil || len(s.earlier.todo) == 0 {
		return nil, nil, gate.Earlier{}
	}
	e := s.earlier
	last := len(e.todo) - 1
	head := e.todo[last]
	e.todo = e.todo[:last]
	return e, e.gate, gate.Earlier{Objects: e.objects, Head: head, Within: e.within}
}

// reviewed hands on what was proven of a head, unless it does not matter any more.
func (m *Mirror) reviewed(name types.NamespacedName, e *earlierSet, head plumbing.Hash, images []image.Evidence, left []verdict.Finding) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.sessions[name]; s == nil || s.earlier != e || !slices.Contains(e.heads, head) {
		return
	}
	if slices.ContainsFunc(left, func(f verdict.Finding) bool { return f.Severity == verdict.Undetermined }) {
		e.later = append(e.later, head)
	}
	e.proven[head] = images
	m.Sink.Retire(name, e.images())
}
