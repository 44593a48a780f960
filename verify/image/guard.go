package image

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// A limitError is a registry that sends more than the limits allow.
type limitError struct{ what string }

func (e *limitError) Error() string { return "the registry sent " + e.what }

// A refusedError is a request that the guard did not let out.
type refusedError struct {
	what string
	// plain is set for plain HTTP, which the handshake tries on its own for some
	// hosts once HTTPS failed: that failure is then the better explanation.
	plain bool
}

func (e *refusedError) Error() string { return e.what }

// A budget is what may still be spent on one image. It travels in the context,
// for the handshake of go-containerregistry makes requests of its own.
type budget struct {
	bytes    atomic.Int64
	requests atomic.Int64
}

type budgetKey struct{}

func newBudget(l Limits) *budget {
	b := &budget{}
	b.bytes.Store(l.TotalBytes)
	b.requests.Store(int64(l.Requests))
	return b
}

func withBudget(ctx context.Context, l Limits) context.Context {
	return context.WithValue(ctx, budgetKey{}, newBudget(l))
}

// A guard is the last thing that a request for one registry passes. It holds
// the rules on where requests and credentials may go, spends the budget, and
// repeats what failed for the moment.
type guard struct {
	base      http.RoundTripper
	home      string   // the registry's host
	tokens    []string // other hosts that may see its credentials
	anonymous bool     // there are no credentials
	plainHTTP bool     // to loopback
	limits    Limits
}

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := g.permit(req); err != nil {
		return nil, err
	}
	b, ok := req.Context().Value(budgetKey{}).(*budget)
	if !ok {
		return nil, &refusedError{what: "a request without a budget"}
	}
	for attempt := 0; ; attempt++ {
		if b.requests.Add(-1) < 0 {
			return nil, &limitError{fmt.Sprintf("answers that need more than %d requests", g.limits.Requests)}
		}
		resp, err := g.base.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		resp.Body = &meteredBody{ReadCloser: resp.Body, budget: b, limit: g.limits.TotalBytes}
		if attempt >= g.limits.Retries || !transient(resp.StatusCode) || req.Body != nil && req.Body != http.NoBody {
			return resp, nil
		}
		if !backOff(req.Context(), attempt, resp.Header.Get("Retry-After")) {
			return resp, nil // no time left to ask again
		}
		resp.Body.Close()
	}
}

// permit decides whether a request may leave at all.
func (g *guard) permit(req *http.Request) error {
	scheme, host := req.URL.Scheme, req.URL.Host
	if scheme != "https" && !(scheme == "http" && g.plainHTTP && isLoopback(req.URL.Hostname())) {
		return &refusedError{fmt.Sprintf("%s does not speak HTTPS, and plain HTTP is refused", quote(host)), true}
	}
	if sameHost(host, g.home, scheme) {
		return nil
	}
	if isInternal(req.URL.Hostname()) && !isLoopback(hostname(g.home)) {
		return &refusedError{what: fmt.Sprintf("the registry sends us to the internal address %s", quote(host))}
	}
	for _, t := range g.tokens {
		if sameHost(host, t, scheme) {
			return nil
		}
	}
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		return &refusedError{what: fmt.Sprintf("the registry wants a %s sent to %s, which is refused", quote(req.Method), quote(host))}
	}
	if !g.anonymous && (req.Header.Get("Authorization") != "" || req.Header.Get("Cookie") != "") {
		return &refusedError{what: fmt.Sprintf(
			"the registry wants its credentials sent to %s, which is refused: list the host among the registry's token hosts if it is yours",
			quote(host))}
	}
	return nil
}

// transient are the answers that the registry itself calls temporary.
func transient(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// backOff waits before another attempt: as long as the registry wants, else
// 100 ms doubled each time. It is false when the deadline comes first.
func backOff(ctx context.Context, attempt int, retryAfter string) bool {
	wait := 100 * time.Millisecond << min(attempt, 6)
	if seconds, err := strconv.Atoi(retryAfter); err == nil && seconds >= 0 {
		wait = max(wait, time.Duration(min(seconds, 3600))*time.Second)
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// A meteredBody charges what is read to the budget.
type meteredBody struct {
	io.ReadCloser
	budget *budget
	limit  int64
}

func (m *meteredBody) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	if m.budget.bytes.Add(-int64(n)) < 0 {
		return 0, &limitError{fmt.Sprintf("more than %d bytes for one image", m.limit)}
	}
	return n, err
}

// sameHost compares hosts with the ports that the scheme implies.
func sameHost(a, b, scheme string) bool { return withPort(a, scheme) == withPort(b, scheme) }

func withPort(host, scheme string) string {
	host = strings.ToLower(host)
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	port := "443"
	if scheme == "http" {
		port = "80"
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

func hostname(hostport string) string {
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		return h
	}
	return strings.Trim(hostport, "[]")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// isInternal are the addresses that a redirect or a realm has no business with:
// this machine, the metadata services of clouds, private networks.
func isInternal(host string) bool {
	ip := net.ParseIP(host)
	return isLoopback(host) || ip != nil && (ip.IsPrivate() || ip.IsLinkLocalUnicast() ||
		ip.IsLinkLocalMulticast() || ip.IsMulticast() || ip.IsUnspecified())
}
