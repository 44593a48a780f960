package registry

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"
)

// A Fault changes the answers to some requests. Its fields combine in the order
// in which they stand here; the zero value matches everything and changes
// nothing.
type Fault struct {
	// Method and Path select requests: the method exactly, the path if it
	// contains the text. Empty selects all.
	Method, Path string
	// After lets this many selected requests pass first.
	After int
	// Times ends the fault after this many answers; zero is never.
	Times int
	// Latency passes before the answer starts.
	Latency time.Duration
	// Status answers with this code and an empty body; 429 and 503 carry
	// RetryAfter when it is set.
	Status     int
	RetryAfter string
	// Redirect sends the client to this address, the path appended.
	Redirect string
	// Challenge answers 401 with this WWW-Authenticate header.
	Challenge string
	// Body replaces the body of the real answer; Filler is a body of so many
	// zero bytes, written for as long as the client reads.
	Body   []byte
	Filler int64
	// Digest replaces the Docker-Content-Digest header.
	Digest string
	// ContentType replaces the header of that name.
	ContentType string
	// Cut ends the connection after so many bytes of the body.
	Cut int
	// Drip writes the body byte by byte with this pause between.
	Drip time.Duration
	// Handler answers instead of everything above.
	Handler http.Handler
}

type injected struct {
	Fault
	seen, done int
}

// Inject adds a fault. The first fault that matches a request decides.
func (r *Registry) Inject(f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, &injected{Fault: f})
}

// faultFor is called with the lock held.
func (r *Registry) faultFor(req *http.Request) *injected {
	for _, f := range r.faults {
		if f.Method != "" && f.Method != req.Method || !strings.Contains(req.URL.Path, f.Path) {
			continue
		}
		f.seen++
		if f.seen <= f.After || f.Times > 0 && f.done >= f.Times {
			continue
		}
		f.done++
		return f
	}
	return nil
}

func (f *injected) serve(w http.ResponseWriter, req *http.Request, next http.HandlerFunc) {
	if f.Handler != nil {
		f.Handler.ServeHTTP(w, req)
		return
	}
	if !pause(req, f.Latency) {
		return
	}
	switch {
	case f.Status != 0:
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		w.WriteHeader(f.Status)
		return
	case f.Redirect != "":
		http.Redirect(w, req, f.Redirect+req.URL.Path, http.StatusTemporaryRedirect)
		return
	case f.Challenge != "":
		w.Header().Set("WWW-Authenticate", f.Challenge)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	answer := httptest.NewRecorder()
	next(answer, req)
	f.rewrite(w, req, answer)
}

// rewrite sends the real answer as the fault wants it.
func (f *injected) rewrite(w http.ResponseWriter, req *http.Request, answer *httptest.ResponseRecorder) {
	header := w.Header()
	for k, v := range answer.Header() {
		header[k] = v
	}
	body := answer.Body.Bytes()
	if f.Body != nil {
		body = f.Body
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if f.Digest != "" {
		header.Set("Docker-Content-Digest", f.Digest)
	}
	if f.ContentType != "" {
		header.Set("Content-Type", f.ContentType)
	}
	if f.Filler > 0 {
		header.Set("Content-Length", strconv.FormatInt(f.Filler, 10))
		w.WriteHeader(http.StatusOK)
		fill(w, f.Filler)
		return
	}
	w.WriteHeader(answer.Code)
	switch {
	case f.Cut > 0:
		w.Write(body[:min(f.Cut, len(body))])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler) // net/http ends the connection here
	case f.Drip > 0:
		for i := range body {
			if _, err := w.Write(body[i : i+1]); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			if !pause(req, f.Drip) {
				return
			}
		}
	default:
		w.Write(body)
	}
}

func fill(w http.ResponseWriter, n int64) {
	chunk := bytes.Repeat([]byte{0}, 64<<10)
	for n > 0 {
		k, err := w.Write(chunk[:min(n, int64(len(chunk)))])
		if err != nil {
			return // the client has had enough
		}
		n -= int64(k)
	}
}

// pause waits; it is false if the client went away.
func pause(req *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-req.Context().Done():
		return false
	}
}
