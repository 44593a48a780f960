package gitserver

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// A Fault is something that goes wrong with an answer. Over HTTP all fields
// count; over SSH, CutAfter and Trickle.
type Fault struct {
	// On is the command that it befalls ("info/refs", "ls-refs", "fetch");
	// empty means every request.
	On string
	// Times is how often it strikes; 0 means always.
	Times int
	// Status answers with an error status, for instance 429 or 503, and
	// RetryAfter with that header.
	Status     int
	RetryAfter string
	// Redirect is a base URL, to which the request's path and query are added.
	Redirect string
	// CutAfter drops the connection after so many bytes of the body. Use 1 or
	// more; 0 means not at all.
	CutAfter int64
	// Trickle sends the body one byte per interval.
	Trickle time.Duration
	// Handler answers instead of the server, before authentication.
	Handler http.HandlerFunc

	struck int
}

// Inject adds a fault. The first that fits a request strikes.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Heal removes every fault.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (s *Server) due(command string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if (f.On == "" || f.On == command) && (f.Times == 0 || f.struck < f.Times) {
			f.struck++
			return f
		}
	}
	return nil
}

var errCut = errors.New("gitserver: connection cut by a fault")

// throttle applies a fault to the bytes that write sends. It returns how many
// got through.
func throttle(ctx context.Context, f *Fault, sent int64, p []byte, write func([]byte) (int, error)) (int, error) {
	if f == nil {
		return write(p)
	}
	if f.CutAfter > 0 && sent+int64(len(p)) > f.CutAfter {
		n, _ := write(p[:max(f.CutAfter-sent, 0)])
		return n, errCut
	}
	if f.Trickle == 0 {
		return write(p)
	}
	for i := range p {
		select {
		case <-ctx.Done():
			return i, ctx.Err()
		case <-time.After(f.Trickle):
		}
		if _, err := write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// faultyWriter applies a fault to an HTTP answer's body.
type faultyWriter struct {
	http.ResponseWriter
	ctx   context.Context
	fault *Fault
	sent  func(int)
	total int64
	cut   bool
}

func (w *faultyWriter) Write(p []byte) (int, error) {
	n, err := throttle(w.ctx, w.fault, w.total, p, func(b []byte) (int, error) {
		n, err := w.ResponseWriter.Write(b)
		if w.fault != nil {
			w.Flush()
		}
		return n, err
	})
	w.total += int64(n)
	w.sent(n)
	w.cut = w.cut || errors.Is(err, errCut)
	return n, err
}

// Flush lets bytes out that a fault has let through.
func (w *faultyWriter) Flush() {
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}
