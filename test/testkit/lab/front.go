package lab

import (
	"io"
	"net"
	"sync"
	"time"
)

// A front passes connections on to whichever backend takes them, in turn, as a
// Service does.
type front struct {
	listener net.Listener

	mu       sync.Mutex
	backends []string
	next     int
}

func newFront() (*front, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &front{listener: l}
	go f.serve()
	return f, nil
}

func (f *front) address() string { return f.listener.Addr().String() }

func (f *front) add(backend string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.backends = append(f.backends, backend)
}

func (f *front) serve() {
	for {
		c, err := f.listener.Accept()
		if err != nil {
			return // closed
		}
		go f.pass(c)
	}
}

// order lists all backends, another one first each time.
func (f *front) order() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]string, 0, len(f.backends))
	for i := range f.backends {
		out = append(out, f.backends[(f.next+i)%len(f.backends)])
	}
	f.next++
	return out
}

func (f *front) pass(c net.Conn) {
	defer c.Close()
	for _, backend := range f.order() {
		b, err := net.DialTimeout("tcp", backend, time.Second)
		if err != nil {
			continue
		}
		defer b.Close()
		done := make(chan struct{}, 2)
		relay := func(to, from net.Conn) {
			_, _ = io.Copy(to, from) // either end may hang up
			done <- struct{}{}
		}
		go relay(b, c)
		go relay(c, b)
		<-done
		return
	}
}

func (f *front) close() error { return f.listener.Close() }
