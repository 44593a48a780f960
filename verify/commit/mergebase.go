package commit

import (
	"container/heap"
	"context"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// What a commit is reached from, in [MergeBases].
const (
	fromA = 1 << iota
	fromB
	// outdated commits lie behind a merge base.
	outdated
)

// MergeBases returns the best common ancestors of two commits, as git merge-base
// --all does: none if their histories have nothing in common, and a commit itself
// if the other one descends from it. Nothing is verified. A commit that cannot be
// read is an [ObjectError]; so are more than 100,000 commits on the way.
func MergeBases(ctx context.Context, store storer.EncodedObjectStorer, a, b plumbing.Hash) ([]plumbing.Hash, error) {
	var limits Limits
	limits.setDefaults()
	w := &baseWalk{objs: newObjects(store, limits), marks: map[plumbing.Hash]int{}, queue: &dateQueue{}}
	if err := w.mark(a, fromA); err != nil {
		return nil, err
	}
	if err := w.mark(b, fromB); err != nil {
		return nil, err
	}
	var found []plumbing.Hash
	for w.current() {
		c := heap.Pop(w.queue).(dated)
		if ctx.Err() != nil {
			return nil, stopped(ctx, c.hash)
		}
		marks := w.marks[c.hash]
		if marks == fromA|fromB && !slices.Contains(found, c.hash) {
			found = append(found, c.hash)
			marks |= outdated
		}
		for _, p := range c.parents {
			if err := w.mark(p, marks); err != nil {
				return nil, err
			}
		}
	}
	return slices.DeleteFunc(found, func(h plumbing.Hash) bool { return w.marks[h]&outdated != 0 }), nil
}

// A baseWalk goes back from two commits at once, newest first.
type baseWalk struct {
	objs  *objects
	marks map[plumbing.Hash]int
	queue *dateQueue
}

// mark adds marks to a commit, and has it visited if they are news.
func (w *baseWalk) mark(h plumbing.Hash, marks int) error {
	before, seen := w.marks[h]
	if seen && before|marks == before {
		return nil
	}
	if len(w.marks) >= w.objs.limits.Commits {
		return &ObjectError{Reason: LimitExceeded, Object: h.String(), Message: "too many commits between the two"}
	}
	c, err := w.objs.commit(h)
	if err != nil {
		return err
	}
	w.marks[h] = before | marks
	heap.Push(w.queue, dated{hash: h, when: c.committer.When, parents: c.parents})
	return nil
}

// current reports whether anything in the queue may still lead to a merge base.
func (w *baseWalk) current() bool {
	return slices.ContainsFunc(w.queue.items, func(c dated) bool { return w.marks[c.hash]&outdated == 0 })
}
