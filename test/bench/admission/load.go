package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// A server is a webhook that answers.
type server struct {
	name string
	addr string
	path string
	pool *x509.CertPool
	proc *measure.Process
}

// request is an HTTP request as kube-apiserver sends it.
func (s *server) request(body []byte) []byte {
	head := fmt.Sprintf("POST %s?timeout=5s HTTP/1.1\r\nHost: %s\r\nUser-Agent: kube-apiserver-admission\r\n"+
		"Accept: application/json, */*\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", s.path, s.addr, len(body))
	return append([]byte(head), body...)
}

func (s *server) dial(ctx context.Context) (net *tls.Conn, err error) {
	d := tls.Dialer{Config: &tls.Config{RootCAs: s.pool, MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}}}
	c, err := d.DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return nil, err
	}
	return c.(*tls.Conn), nil
}

// exchange sends a request and reads the answer. buffer is reused.
func exchange(c *tls.Conn, r *bufio.Reader, request []byte) ([]byte, error) {
	if _, err := c.Write(request); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP status %s: %s", res.Status, body)
	}
	return body, err
}

// A sample is what one run of requests gave.
type sample struct {
	seconds   float64
	cpu       float64 // of the server, in seconds
	latencies []time.Duration
	answers   [][]byte
}

func (s sample) throughput() float64 { return float64(len(s.latencies)) / s.seconds }

// quantile is a latency in milliseconds.
func (s sample) quantile(q float64) float64 {
	sorted := slices.Sorted(slices.Values(s.latencies))
	i := min(int(q*float64(len(sorted))), len(sorted)-1)
	return float64(sorted[i]) / 1e6
}

// run sends all reviews over as many connections as there may be requests at
// once. Handshakes come before the clock starts.
func (s *server) run(ctx context.Context, reviews [][]byte, concurrency int) (sample, error) {
	requests := make([][]byte, len(reviews))
	for i, r := range reviews {
		requests[i] = s.request(r)
	}
	conns := make([]*tls.Conn, concurrency)
	for i := range conns {
		c, err := s.dial(ctx)
		if err != nil {
			return sample{}, err
		}
		defer c.Close()
		conns[i] = c
	}
	out := sample{latencies: make([]time.Duration, len(reviews)), answers: make([][]byte, len(reviews))}
	before, err := s.proc.CPU()
	if err != nil {
		return out, err
	}
	var next atomic.Int64
	var workers sync.WaitGroup
	failed := make([]error, concurrency)
	start := time.Now()
	for w, c := range conns {
		workers.Go(func() {
			reader := bufio.NewReaderSize(c, 16<<10)
			for {
				i := int(next.Add(1)) - 1
				if i >= len(requests) || ctx.Err() != nil {
					return
				}
				from := time.Now()
				if out.answers[i], failed[w] = exchange(c, reader, requests[i]); failed[w] != nil {
					next.Store(int64(len(requests)))
					return
				}
				out.latencies[i] = time.Since(from)
			}
		})
	}
	workers.Wait()
	out.seconds = time.Since(start).Seconds()
	after, err := s.proc.CPU()
	out.cpu = (after - before).Seconds()
	return out, errors.Join(err, ctx.Err(), errors.Join(failed...))
}

// A verdict is an answer without what is worded in another way by each server.
type verdict struct {
	allowed bool
	reasons string // sorted, one a line
	late    bool   // it is no verdict: the time for one was up
}

// readVerdict takes what comes before each reason away: the name of the
// constraint, or the reason code.
func readVerdict(answer []byte) (verdict, error) {
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(answer, &review); err != nil || review.Response == nil {
		return verdict{}, fmt.Errorf("not an AdmissionReview with a response: %s", bytes.TrimSpace(answer))
	}
	v := verdict{allowed: review.Response.Allowed}
	if v.allowed {
		return v, nil
	}
	if review.Response.Result == nil || review.Response.Result.Message == "" {
		return v, errors.New("a denial without a message")
	}
	if review.Response.Result.Code == http.StatusServiceUnavailable || strings.Contains(review.Response.Result.Message, "PolicyTimeout: ") {
		v.late = true
		return v, nil
	}
	var reasons []string
	for line := range strings.SplitSeq(review.Response.Result.Message, "\n") {
		if strings.HasPrefix(line, "[") {
			_, line, _ = strings.Cut(line, "] ")
		}
		line = strings.TrimPrefix(line, "PolicyDenied: ")
		reasons = append(reasons, line)
	}
	slices.Sort(reasons)
	v.reasons = strings.Join(slices.Compact(reasons), "\n")
	return v, nil
}
