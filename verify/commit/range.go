package commit

import (
	"container/heap"
	"context"
	"iter"
	"runtime"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// Range lists the commits that are reachable from to and not from any of from,
// newest first as git log does. Commits that cannot be read are listed where
// they are met; judging them says why. An end that cannot be read is an
// [ObjectError], and so is a range beyond [Limits.Commits].
func (v *Verifier) Range(ctx context.Context, store storer.EncodedObjectStorer, to plumbing.Hash, from ...plumbing.Hash) ([]plumbing.Hash, error) {
	objs := newObjects(store, v.cfg.Limits)
	for _, end := range append([]plumbing.Hash{to}, from...) {
		if _, err := objs.read(plumbing.CommitObject, end, objs.limits.CommitBytes); err != nil {
			return nil, err
		}
	}
	hidden := map[plumbing.Hash]bool{}
	if _, err := v.reach(ctx, objs, from, nil, hidden); err != nil {
		return nil, err
	}
	list, err := v.reach(ctx, objs, []plumbing.Hash{to}, hidden, map[plumbing.Hash]bool{})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// reach lists what can be reached from ends without passing through hidden.
func (v *Verifier) reach(ctx context.Context, objs *objects, ends []plumbing.Hash, hidden, seen map[plumbing.Hash]bool) ([]plumbing.Hash, *ObjectError) {
	var list []plumbing.Hash
	queue := &dateQueue{}
	push := func(hashes []plumbing.Hash) {
		for _, h := range hashes {
			if seen[h] || hidden[h] {
				continue
			}
			seen[h] = true
			item := dated{hash: h}
			if c, err := objs.commit(h); err == nil {
				item.when, item.parents = c.committer.When, c.parents
			}
			heap.Push(queue, item)
		}
	}
	push(ends)
	for queue.Len() > 0 {
		c := heap.Pop(queue).(dated)
		if ctx.Err() != nil {
			return nil, stopped(ctx, c.hash)
		}
		if len(list) >= objs.limits.Commits {
			return nil, &ObjectError{Reason: LimitExceeded, Object: c.hash.String(), Message: "too many commits in the range"}
		}
		list = append(list, c.hash)
		push(c.parents)
	}
	return list, nil
}

// Commits judges each commit alone, as [Verifier.VerifyCommit] does, on all
// processors. It yields the results in the order of hashes, each as soon as it
// and those before it are known.
func (v *Verifier) Commits(ctx context.Context, store storer.EncodedObjectStorer, hashes []plumbing.Hash) iter.Seq[Result] {
	return func(yield func(Result) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		objs := newObjects(store, v.cfg.Limits)
		workers := runtime.GOMAXPROCS(0)
		pending := make(chan chan Result, 16*workers)
		slots := make(chan struct{}, workers)
		go func() {
			defer close(pending)
			for _, h := range hashes {
				result := make(chan Result, 1)
				select {
				case pending <- result:
				case <-ctx.Done():
					return
				}
				slots <- struct{}{}
				go func() {
					defer func() { <-slots }()
					result <- v.verifyCommit(ctx, objs, h)
				}()
			}
		}()
		for result := range pending {
			if !yield(<-result) {
				return
			}
		}
	}
}
