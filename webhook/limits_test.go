package webhook_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook"
	"gitgate.dev/gitgate/webhook/lock"
)

// TestChunked sends a body of unknown length that never ends.
func TestChunked(t *testing.T) {
	t.Parallel()
	l := newLone(t, func(c *webhook.Config, _ *issuer) { c.Limits.Body = 1 << 20 })
	body := io.MultiReader(strings.NewReader(`{"kind":"`), endless{})
	resp, err := l.client(nil).Post(l.url+webhook.Path, "application/json", body)
	if err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("an endless body: %s", resp.Status)
		}
	}
	if l.decider.seen.Load() != 0 {
		t.Error("an endless body was judged")
	}
}

// TestMemory takes no more bodies at once than memory is set aside for, and gives
// it back; announcing a large body takes nothing.
func TestMemory(t *testing.T) {
	t.Parallel()
	l := newLone(t, func(c *webhook.Config, _ *issuer) {
		c.Limits = webhook.Limits{Body: 1 << 20, Memory: 1 << 20}
	})
	client, large := l.client(nil), review(`{"a":"`+strings.Repeat("x", 900<<10)+`"}`)
	for range 20 { // nothing is lost from one to the next
		code, _, err := l.post(client, large)
		must(t, err)
		if code != http.StatusOK {
			t.Fatalf("%d to one large review at a time", code)
		}
	}
	var writers []*io.PipeWriter
	for range 8 {
		r, w := io.Pipe()
		writers = append(writers, w)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, l.url+webhook.Path, r)
		must(t, err)
		req.ContentLength = 1 << 20
		req.Header.Set("Content-Type", "application/json")
		go func() {
			if resp, err := client.Do(req); err == nil {
				resp.Body.Close()
			}
		}()
		_, _ = w.Write([]byte("{"))
	}
	if code, _, err := l.post(client, review("{}")); err != nil || code != http.StatusOK {
		t.Errorf("while others announce 8 MiB: %d, %v", code, err)
	}
	for _, w := range writers {
		w.CloseWithError(io.ErrUnexpectedEOF)
	}
	passes := func(context.Context) bool {
		code, _, err := l.post(client, large)
		return err == nil && code == http.StatusOK
	}
	eventually(t, "what was announced being given back", passes)
	hang, before := make(chan struct{}), l.decider.seen.Load()
	l.decider.set(func(context.Context, *admissionv1.AdmissionRequest) lock.Answer {
		<-hang
		return lock.Answer{Allowed: true}
	})
	done := make(chan struct{})
	go func() { defer close(done); _, _, _ = l.post(client, large) }()
	eventually(t, "the first being judged", func(context.Context) bool { return l.decider.seen.Load() == before+1 })
	resp, err := client.Post(l.url+webhook.Path, "application/json", strings.NewReader(large))
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "1" {
		t.Errorf("the second large review at once: %s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
	}
	close(hang)
	<-done
	eventually(t, "recovery", passes)
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// TestSlowBody dribbles a body, over both protocols: the server does not wait
// for ever, and answers others meanwhile.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	l := newLone(t, nil)
	for name, change := range map[string]func(*tls.Config){
		"HTTP2": nil, "HTTP1": func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := l.client(change)
			if change != nil {
				c.Transport.(*http.Transport).ForceAttemptHTTP2 = false
			}
			r, w := io.Pipe()
			go func() {
				for range 60 { // a byte each half second would take the review two minutes
					if _, err := w.Write([]byte("{")); err != nil {
						return
					}
					time.Sleep(500 * time.Millisecond)
				}
				w.CloseWithError(io.ErrUnexpectedEOF)
			}()
			start := time.Now()
			resp, err := c.Post(l.url+webhook.Path, "application/json", r)
			if err == nil {
				resp.Body.Close()
			}
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("the server waited for %s", took)
			}
			if err == nil && resp.StatusCode == http.StatusOK {
				t.Error("half a body was judged")
			}
			if code, _, err := l.post(l.client(nil), review("{}")); err != nil || code != 200 {
				t.Errorf("others: %d, %v", code, err)
			}
		})
	}
}

// TestDeadline answers within the timeout, whatever the decider does.
func TestDeadline(t *testing.T) {
	t.Parallel()
	l := newLone(t, func(c *webhook.Config, _ *issuer) {
		c.Limits = webhook.Limits{Timeout: 300 * time.Millisecond, InFlight: 2, Waiting: 2}
	})
	hang := make(chan struct{})
	l.decider.set(func(context.Context, *admissionv1.AdmissionRequest) lock.Answer {
		<-hang
		return lock.Answer{Allowed: true}
	})
	client := l.client(nil)
	for i := range 8 { // the first two hang for good, then there is no turn left
		start := time.Now()
		code, out, err := l.post(client, review("{}"))
		must(t, err)
		if code != 200 || out.Response.Allowed || out.Response.Result.Code != http.StatusServiceUnavailable ||
			out.Response.Result.Details.RetryAfterSeconds != 1 || out.Response.Result.Reason != metav1.StatusReason(verdict.NotReady) || out.Response.UID != "u-1" {
			t.Errorf("%d: %d %+v", i, code, out.Response)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%d: answered after %s", i, took)
		}
	}
	if n := l.decider.seen.Load(); n != 2 {
		t.Errorf("%d decisions under way, want the 2 that are allowed", n)
	}
	close(hang)
	eventually(t, "recovery", func(context.Context) bool {
		_, out, err := l.post(client, review("{}"))
		return err == nil && out.Response.Allowed
	})
}
