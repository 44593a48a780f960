package commit

import (
	"container/heap"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// A history is what lies between a head and the root, the root excluded.
type history struct {
	head, root plumbing.Hash
	nodes      map[plumbing.Hash]*node
	reached    bool                   // whether the root is an ancestor of the head, or the head
	stopped    *ObjectError           // what ended the walk early, if anything did
	below      map[plumbing.Hash]bool // the root's ancestors; nil until they are needed
}

// A node is one commit of a history: rec, or err where it cannot be read.
type node struct {
	rec *record
	err *ObjectError
}

// history walks from head to the root. A path that ends elsewhere sends it back
// to find the root's own ancestors first: a branch that left before the root and
// was merged after it is no gap, for the root's hash vouches for them.
func (v *Verifier) history(ctx context.Context, objs *objects, head plumbing.Hash) *history {
	h := v.walk(ctx, objs, head, nil)
	if h.whole() {
		return h
	}
	return v.walk(ctx, objs, head, v.ancestors(ctx, objs))
}

// whole reports whether every path ended at the root.
func (h *history) whole() bool {
	if h.stopped != nil {
		return false
	}
	for _, n := range h.nodes {
		if n.err != nil || len(n.rec.parents) == 0 {
			return false
		}
	}
	return true
}

// walk reads all commits from head that are neither the root nor in below, and
// verifies their signatures on all processors as it goes.
func (v *Verifier) walk(ctx context.Context, objs *objects, head plumbing.Hash, below map[plumbing.Hash]bool) *history {
	h := &history{head: head, root: v.root, nodes: map[plumbing.Hash]*node{}, below: below}
	pool := newProver(v)
	defer pool.wait()
	for todo := []plumbing.Hash{head}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if at == v.root {
			h.reached = true
			continue
		}
		if below[at] || h.nodes[at] != nil {
			continue
		}
		if ctx.Err() != nil {
			h.stopped = stopped(ctx, at)
			return h
		}
		if len(h.nodes) >= objs.limits.Commits {
			h.stopped = &ObjectError{Reason: LimitExceeded, Object: at.String(),
				Message: fmt.Sprintf("more than %d commits since the root: move the root forward", objs.limits.Commits)}
			return h
		}
		n := new(node)
		h.nodes[at] = n
		if n.rec = v.memo.get(at); n.rec != nil {
			todo = append(todo, n.rec.parents...)
			continue
		}
		c, err := objs.commit(at)
		if err != nil {
			n.err = err
			continue
		}
		todo = append(todo, c.parents...)
		if v.cfg.Scope == ScopeHead && at != head {
			n.rec = &record{tree: c.tree, parents: c.parents, author: c.author, committer: c.committer}
			continue
		}
		pool.prove(n, at, c)
	}
	return h
}

// ancestors returns the root's ancestors, named ones that are missing included:
// the root's hash fixes them either way.
func (v *Verifier) ancestors(ctx context.Context, objs *objects) map[plumbing.Hash]bool {
	below := map[plumbing.Hash]bool{}
	for todo := []plumbing.Hash{v.root}; len(todo) > 0 && ctx.Err() == nil && len(below) < objs.limits.Commits; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		c, err := objs.commit(at)
		if err != nil {
			continue
		}
		for _, p := range c.parents {
			if !below[p] {
				below[p] = true
				todo = append(todo, p)
			}
		}
	}
	return below
}

// problems lists what is wrong with the history as a whole. Commits that cannot
// be read are reported as results.
func (h *history) problems() []Problem {
	var problems []Problem
	if h.stopped != nil {
		problems = append(problems, problemOf(h.stopped, h.head))
	}
	for hash, n := range h.nodes {
		if n.err == nil && len(n.rec.parents) == 0 {
			problems = append(problems, Problem{Reason: IncompleteHistory, Commit: hash.String(),
				Message: fmt.Sprintf("history begins here and not at the pinned root %.12s", h.root)})
		}
	}
	slices.SortFunc(problems, func(a, b Problem) int { return compareStrings(a.Commit, b.Commit) })
	if !h.reached && h.stopped == nil {
		problems = append(problems, Problem{Reason: IncompleteHistory, Commit: h.head.String(),
			Message: fmt.Sprintf("the pinned root %.12s is not an ancestor: is this the right repository and branch?", h.root)})
	}
	return problems
}

func compareStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// contains reports whether the head descends from commit, or is it.
func (h *history) contains(commit plumbing.Hash) bool {
	if commit == h.root {
		return h.reached
	}
	return h.nodes[commit] != nil && h.nodes[commit].err == nil
}

// mark adds commit and its ancestors within the history to known.
func (h *history) mark(known map[plumbing.Hash]bool, commit plumbing.Hash) {
	for todo := []plumbing.Hash{commit}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		n := h.nodes[at]
		if n == nil || known[at] {
			continue
		}
		known[at] = true
		if n.err == nil {
			todo = append(todo, n.rec.parents...)
		}
	}
}

// judgeAll judges the commits of a history that are in scope, in the order of
// git log.
func (v *Verifier) judgeAll(ctx context.Context, objs *objects, h *history, known map[plumbing.Hash]bool) []Result {
	order := h.order()
	if v.cfg.Scope == ScopeHead {
		// Commits that cannot be read are gaps whoever signed them.
		order = slices.DeleteFunc(order, func(c plumbing.Hash) bool { return c != h.head && h.nodes[c].err == nil })
	}
	results := make([]Result, len(order))
	parallel(len(order), func(i int) {
		hash := order[i]
		switch n := h.nodes[hash]; {
		case n.err != nil:
			results[i] = refused(hash, n.err)
		case ctx.Err() != nil:
			results[i] = refused(hash, stopped(ctx, hash))
		default:
			results[i] = v.judge(ctx, objs, hash, n.rec, known[hash])
		}
	})
	return results
}

// order lists the commits newest first, a commit after those that name it first
// reached it, as git log does.
func (h *history) order() []plumbing.Hash {
	var out []plumbing.Hash
	seen := map[plumbing.Hash]bool{}
	queue := &dateQueue{}
	push := func(c plumbing.Hash) {
		n := h.nodes[c]
		if n == nil || seen[c] {
			return
		}
		seen[c] = true
		item := dated{hash: c}
		if n.err == nil {
			item.when, item.parents = n.rec.committer.When, n.rec.parents
		}
		heap.Push(queue, item)
	}
	push(h.head)
	for queue.Len() > 0 {
		c := heap.Pop(queue).(dated)
		out = append(out, c.hash)
		for _, p := range c.parents {
			push(p)
		}
	}
	return out
}

// A dated is a commit in a dateQueue.
type dated struct {
	hash    plumbing.Hash
	when    time.Time
	parents []plumbing.Hash
	n       int // order of arrival, which settles equal times
}

// A dateQueue yields the newest commit first.
type dateQueue struct {
	items []dated
	n     int
}

func (q *dateQueue) Len() int { return len(q.items) }

func (q *dateQueue) Less(i, j int) bool {
	a, b := q.items[i], q.items[j]
	if !a.when.Equal(b.when) {
		return a.when.After(b.when)
	}
	return a.n < b.n
}

func (q *dateQueue) Swap(i, j int) { q.items[i], q.items[j] = q.items[j], q.items[i] }

// Push implements [heap.Interface].
func (q *dateQueue) Push(x any) {
	item := x.(dated)
	q.n++
	item.n = q.n
	q.items = append(q.items, item)
}

// Pop implements [heap.Interface].
func (q *dateQueue) Pop() any {
	last := q.items[len(q.items)-1]
	q.items = q.items[:len(q.items)-1]
	return last
}
