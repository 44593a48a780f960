package webhook

import "sync/atomic"

// A hold releases memory when its last user is done with it: the handler, or a
// decision that came too late.
type hold struct {
	release func()
	users   atomic.Int32
}

func newHold(release func()) *hold {
	h := &hold{release: release}
	h.users.Store(1)
	return h
}

func (h *hold) keep() { h.users.Add(1) }

func (h *hold) drop() {
	if h.users.Add(-1) == 0 {
		h.release()
	}
}
