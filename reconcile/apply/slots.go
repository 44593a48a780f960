package apply

import (
	"context"
	"sync"
	"time"
)

const (
	// mostAtOnce is how many requests may be under way if a [Config] does not say.
	mostAtOnce = 96
	// firstAtOnce and leastAtOnce are how many there are at first and at worst.
	firstAtOnce, leastAtOnce = 24, 4
	// quickAnswer lets one more request be under way, slowAnswer half as many.
	quickAnswer, slowAnswer = 250 * time.Millisecond, time.Second
)

// slots bounds the requests that are under way at once, by how long they take. An API
// server that answers quickly gets more of them: so its disk syncs several writes
// together, and distance costs less. One that takes its time, or has admission
// webhooks that do, gets fewer, before what waits in its queues runs into timeouts.
type slots struct {
	free chan struct{} // one for each request that may begin

	mu          sync.Mutex
	limit, most int
	owed        int // slots not to be given back, for the limit has come down
	lowered     time.Time
}

func newSlots(most int) *slots {
	s := &slots{free: make(chan struct{}, most), limit: min(firstAtOnce, most), most: most}
	for range s.limit {
		s.free <- struct{}{}
	}
	return s
}

// take waits for a slot, or fails with the cause when ctx is done.
func (s *slots) take(ctx context.Context) error {
	select {
	case <-s.free:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// give returns a slot.
func (s *slots) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add()
}

// add needs s.mu.
func (s *slots) add() {
	if s.owed > 0 {
		s.owed--
		return
	}
	s.free <- struct{}{}
}

// learn adapts the limit to a request that began some time ago and has ended just
// now. One that failed is no sign that there is room for more. Of all that are slow
// together the first counts: the others were under way already.
func (s *slots) learn(began time.Time, ok bool) {
	took := time.Since(began)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case took >= slowAnswer && began.After(s.lowered):
		lower := max(s.limit/2, min(leastAtOnce, s.limit))
		s.owed += s.limit - lower
		s.limit, s.lowered = lower, time.Now()
	case took < quickAnswer && ok && s.limit < s.most:
		s.limit++
		s.add()
	}
}
