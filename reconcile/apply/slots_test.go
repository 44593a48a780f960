package apply

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// A counter is a server that counts the requests that are under way. Each takes its
// time, and only so many are served at once.
type counter struct {
	takes  time.Duration
	served chan struct{}

	underWay, most atomic.Int64
}

func (c *counter) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	n := c.underWay.Add(1)
	defer c.underWay.Add(-1)
	for was := c.most.Load(); n > was && !c.most.CompareAndSwap(was, n); was = c.most.Load() {
	}
	c.served <- struct{}{}
	time.Sleep(c.takes)
	<-c.served
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"kind": "ConfigMap", "apiVersion": "v1"}`))
}

// TestSlots: many requests are under way where they are answered quickly, and ever
// fewer where they are not.
func TestSlots(t *testing.T) {
	for name, tc := range map[string]struct {
		server          *counter
		requests        int
		atLeast, atMost int // under way at once in the second half
	}{
		"Quick": {&counter{takes: time.Millisecond, served: make(chan struct{}, 32)}, 2000, 64, 64},
		// 24 of these are answered after 2.4 s, 12 after 1.2 s and 6 after 0.6 s.
		"Slow": {&counter{takes: 100 * time.Millisecond, served: make(chan struct{}, 1)}, 100, 5, 7},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(tc.server)
			defer server.Close()
			all := &clients{cfg: prepareConfig(&rest.Config{Host: server.URL}), slots: newSlots(64), by: map[string]*client{}}
			c, err := all.as(Ourselves())
			if err != nil {
				t.Fatal(err)
			}
			var next, done atomic.Int64
			var workers sync.WaitGroup
			for range 64 {
				workers.Go(func() {
					for n := next.Add(1); n <= int64(tc.requests); n = next.Add(1) {
						if _, err := c.get(t.Context(), &resource{}, key{name: strconv.FormatInt(n, 10)}); err != nil {
							t.Error(err)
						}
						if done.Add(1) == int64(tc.requests/2) {
							tc.server.most.Store(0)
						}
					}
				})
			}
			workers.Wait()
			s := all.slots
			if n := int(tc.server.most.Load()); n > tc.atMost || s.limit < tc.atLeast || s.limit > tc.atMost {
				t.Errorf("%d requests at once and room for %d, want %d to %d", n, s.limit, tc.atLeast, tc.atMost)
			}
			if len(s.free) != s.limit || s.owed != 0 {
				t.Errorf("%d slots are free and %d owed, want all of %d", len(s.free), s.owed, s.limit)
			}
		})
	}
}

// TestSlotsBounds: there are never less than a few, nor more than asked for; of slow
// requests that were under way together only one counts, and whoever waits may leave.
func TestSlotsBounds(t *testing.T) {
	s := newSlots(30)
	long := time.Now().Add(-time.Minute)
	for range 100 {
		s.learn(time.Now(), true)
	}
	if s.limit != 30 || len(s.free) != 30 {
		t.Errorf("limit %d with %d free, want 30", s.limit, len(s.free))
	}
	for range 30 {
		s.learn(long, false)
	}
	if s.limit != 15 || s.owed != 15 {
		t.Errorf("after slow requests: limit %d, %d owed, want 15 each", s.limit, s.owed)
	}
	for range 5 {
		s.lowered = time.Time{}
		s.learn(long, true)
	}
	if s.limit != leastAtOnce {
		t.Errorf("limit %d, want %d at least", s.limit, leastAtOnce)
	}
	s.learn(time.Now(), false)
	s.learn(time.Now().Add(-quickAnswer), true)
	if s.limit != leastAtOnce {
		t.Errorf("limit %d after a failure and an answer that was not quick, want %d still", s.limit, leastAtOnce)
	}
	for range 30 {
		if err := s.take(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	gone, leave := context.WithCancelCause(t.Context())
	bored := errors.New("bored")
	leave(bored)
	if err := s.take(gone); !errors.Is(err, bored) {
		t.Errorf("waiting in vain: %v, want %v", err, bored)
	}
	for range 30 {
		s.give()
	}
	if len(s.free) != leastAtOnce || s.owed != 0 {
		t.Errorf("%d free and %d owed in the end, want %d and none", len(s.free), s.owed, leastAtOnce)
	}
	if one := newSlots(1); one.limit != 1 {
		t.Errorf("of one slot there are %d", one.limit)
	} else if one.learn(long, false); one.limit != 1 {
		t.Errorf("of one slot %d are left", one.limit)
	}
}
