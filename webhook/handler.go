package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook/lock"
)

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
	size := r.ContentLength
	if size < 0 {
		size = s.limits.Body
	}
	if !s.memory.TryAcquire(size) {
		// Without its body there is no review to answer. client-go in the API server
		// waits and asks again by itself.
		w.Header().Set("Retry-After", strconv.Itoa(retryAfterSeconds))
		s.refuse(w, http.StatusServiceUnavailable, "overload")
		return
	}
	held := newHold(func() { s.memory.Release(size) })
	defer held.drop()
	body, code := s.read(w, r)
	if code != 0 {
		s.refuse(w, code, "body")
		return
	}
	start := time.Now()
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

// read returns the body, or the status that says why not.
func (s *Server) read(w http.ResponseWriter, r *http.Request) (body []byte, code int) {
	limited := http.MaxBytesReader(w, r.Body, s.limits.Body)
	var err error
	if r.ContentLength > 0 {
		body = make([]byte, r.ContentLength)
		_, err = io.ReadFull(limited, body)
	} else {
		body, err = io.ReadAll(limited)
	}
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, http.StatusRequestEntityTooLarge
	}
	if err != nil {
		return nil, http.StatusBadRequest
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
		if !s.cfg.Decisions.add(decision(req, a, at, took)) {
			s.cfg.Metrics.lostDecision()
		}
	}
	s.cfg.Events.decided(req, a)
}
