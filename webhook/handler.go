package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook/lock"
)

// firstChunk is what is claimed at once; most reviews fit.
const firstChunk = 64 << 10

// serve answers one HTTP request. What is not a review gets a status and no
// text: only the API server has business here, and it fails closed on either.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			s.panicked(r.Context(), p)
			s.refuse(w, http.StatusInternalServerError, "panic")
		}
	}()
	if code, cause := s.acceptable(r); code != 0 {
		s.refuse(w, code, cause)
		return
	}
	held := newHold(s.memory)
	defer held.drop()
	body, code := s.read(w, r, held)
	switch code {
	case 0:
	case http.StatusServiceUnavailable:
		// Without its body there is no review to answer. client-go in the API server
		// waits and asks again by itself.
		w.Header().Set("Retry-After", strconv.Itoa(retryAfterSeconds))
		s.refuse(w, code, "overload")
		return
	default:
		s.refuse(w, code, "body")
		return
	}
	start := time.Now()
	queueUp()
	req, err := decodeReview(body)
	if err != nil {
		s.refuse(w, http.StatusBadRequest, "review")
		return
	}
	s.reached.Store(true)
	answer := s.decide(r.Context(), req, held)
	took := time.Since(start)
	s.record(req, answer, start, took)
	if s.clients == nil {
		answer = uniform(req, answer)
	}
	out, err := encode(req.UID, answer)
	if err != nil {
		s.refuse(w, http.StatusInternalServerError, "review")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(out) // whoever hung up is not told
}

// queueUp lets the reviews that are already waiting go first. A review is handed
// from goroutine to goroutine, and each of them inherits what is left of the time
// slice of the one before. Under load on few processors such chains crowd out the
// goroutines that were preempted once: they lie in the scheduler's global queue,
// which is asked on every 61st switch only, and wait for as long as the load lasts
// (measured: one request in a hundred 0.65 s, where the median was 10 ms). Through
// that queue all go in the order in which they came.
func queueUp() { runtime.Gosched() }

// acceptable returns 0, or the status of a request that is not even read.
func (s *Server) acceptable(r *http.Request) (code int, cause string) {
	if r.URL.Path != Path {
		return http.StatusNotFound, "path"
	}
	if r.Method != http.MethodPost {
		return http.StatusMethodNotAllowed, "method"
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return http.StatusUnsupportedMediaType, "type"
	}
	if r.ContentLength > s.limits.Body {
		return http.StatusRequestEntityTooLarge, "length"
	}
	return 0, ""
}

func (s *Server) refuse(w http.ResponseWriter, code int, cause string) {
	s.cfg.Metrics.refusedFor(cause)
	w.WriteHeader(code)
}

// read returns the body, or the status that says why not. Memory is claimed as
// the body arrives: who only announces a large one takes nothing from others.
func (s *Server) read(w http.ResponseWriter, r *http.Request, held *hold) (body []byte, code int) {
	limited := http.MaxBytesReader(w, r.Body, s.limits.Body)
	size := r.ContentLength
	if size < 0 {
		size = s.limits.Body + 1 // unknown: the reader ends it
	}
	for int64(len(body)) < size {
		if len(body) == cap(body) {
			grown := min(size, max(firstChunk, 2*int64(cap(body))))
			if !held.claim(grown - int64(cap(body))) {
				return nil, http.StatusServiceUnavailable
			}
			body = append(make([]byte, 0, grown), body...)
		}
		n, err := limited.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			return nil, http.StatusRequestEntityTooLarge
		}
		if errors.Is(err, io.EOF) && (r.ContentLength < 0 || int64(len(body)) == size) {
			break
		}
		if err != nil {
			return nil, http.StatusBadRequest
		}
	}
	return body, 0
}

// decide puts req to the decider and waits for as long as the limits allow. A
// decider that does not come back keeps its turn, so that it cannot use up the
// machine.
func (s *Server) decide(ctx context.Context, req *admissionv1.AdmissionRequest, held *hold) lock.Answer {
	const busy = "gitgate has too many requests to judge: this one is asked again by itself"
	if !s.queue.TryAcquire(1) {
		return failed(verdict.NotReady, true, busy)
	}
	ctx, cancel := context.WithTimeout(ctx, s.limits.Timeout)
	if s.turns.Acquire(ctx, 1) != nil {
		cancel()
		s.queue.Release(1)
		return failed(verdict.NotReady, true, busy)
	}
	s.cfg.Metrics.flight(1)
	held.keep() // the request aliases the body
	answers := make(chan lock.Answer, 1)
	go func() {
		defer func() {
			s.cfg.Metrics.flight(-1)
			s.turns.Release(1)
			s.queue.Release(1)
			held.drop()
			cancel()
		}()
		answers <- s.judge(ctx, req)
	}()
	select {
	case a := <-answers:
		return a
	case <-ctx.Done():
		select {
		case a := <-answers: // both at once: a decision counts
			return a
		default:
		}
		return failed(verdict.NotReady, true, fmt.Sprintf(
			"gitgate could not judge this request within %s: it is asked again by itself", s.limits.Timeout))
	}
}

// judge calls the decider. A panic denies.
func (s *Server) judge(ctx context.Context, req *admissionv1.AdmissionRequest) (a lock.Answer) {
	defer func() {
		if p := recover(); p != nil {
			s.panicked(ctx, p)
			a = failed(verdict.Internal, false, internalMessage)
		}
	}()
	return s.cfg.Decider.Decide(ctx, req)
}

// panicked logs where, and not with what: the value may quote an object.
func (s *Server) panicked(ctx context.Context, value any) {
	s.cfg.Metrics.panicked()
	logr.FromContextOrDiscard(ctx).Error(fmt.Errorf("panic of type %T", value), "An admission request was refused because of a fault",
		"stack", string(debug.Stack()))
}

// record tells metrics, decision log and events of a decision.
func (s *Server) record(req *admissionv1.AdmissionRequest, a lock.Answer, at time.Time, took time.Duration) {
	s.cfg.Metrics.decided(a, took)
	if s.cfg.LogAllowed || !a.Allowed || a.Grant != "" || len(a.Warnings) > 0 || len(a.Findings) > 0 {
		d := decision(req, a, at, took)
		s.objects(req, &d)
		if !s.cfg.Decisions.add(d) {
			s.cfg.Metrics.lostDecision()
		}
	}
	s.cfg.Events.decided(req, a)
}
