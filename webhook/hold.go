package webhook

import (
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// A hold is the memory that a review takes. It is given back when its last user is
// done with it: the handler, or a decision that comes too late.
type hold struct {
	memory *semaphore.Weighted
	bytes  int64 // the handler's alone until keep
	users  atomic.Int32
}

func newHold(memory *semaphore.Weighted) *hold {
	h := &hold{memory: memory}
	h.users.Store(1)
	return h
}

// claim takes n bytes more, if there are any.
func (h *hold) claim(n int64) bool {
	if !h.memory.TryAcquire(n) {
		return false
	}
	h.bytes += n
	return true
}

func (h *hold) keep() { h.users.Add(1) }

func (h *hold) drop() {
	if h.users.Add(-1) == 0 && h.bytes > 0 {
		h.memory.Release(h.bytes)
	}
}
