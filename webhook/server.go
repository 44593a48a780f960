package webhook

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/semaphore"
)

const (
	headerTimeout = 5 * time.Second
	// bodyTimeout bounds reading a request; the API server has given up by then.
	bodyTimeout  = 6 * time.Second
	writeTimeout = 12 * time.Second
	idleTimeout  = 90 * time.Second
	maxHeader    = 32 << 10
	// maxStreams bounds the requests of one HTTP/2 connection. The API server uses
	// one connection for all of its requests and opens more when it is full.
	maxStreams = 1000
	// stopTimeout bounds waiting for answers under way when stopping.
	stopTimeout = 10 * time.Second
)

// A Server answers admission reviews. It is a controller-runtime Runnable.
type Server struct {
	cfg     Config
	limits  Limits
	clients *clients
	// turns are the decisions that may be made at once, queue those that may wait
	// or be made, memory the bytes that reviews may take.
	turns, queue, memory *semaphore.Weighted
	reached              atomic.Bool
}

// New checks c and returns a server that is not started.
func New(c Config) (*Server, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	clients, err := newClients(c.ClientCA, c.ClientNames)
	if err != nil {
		return nil, err
	}
	l := c.Limits.complete()
	return &Server{
		cfg: c, limits: l, clients: clients,
		turns:  semaphore.NewWeighted(int64(l.InFlight)),
		queue:  semaphore.NewWeighted(int64(l.InFlight + l.Waiting)),
		memory: semaphore.NewWeighted(l.Memory),
	}, nil
}

// NeedLeaderElection is false: every replica answers.
func (s *Server) NeedLeaderElection() bool { return false }

// Reached reports whether a review has ever arrived. Registration asks, lest it
// locks a cluster whose API server cannot reach us.
func (s *Server) Reached() bool { return s.reached.Load() }

// CheckReady is a readiness check for controller-runtime's healthz: there is a
// certificate to serve, and decisions can be made.
func (s *Server) CheckReady(*http.Request) error {
	if s.cfg.Certificates.Certificate() == nil {
		return errNoCertificate
	}
	if s.cfg.Ready != nil && !s.cfg.Ready() {
		return errors.New("the inventory is not synced yet")
	}
	return nil
}

// Start serves until ctx is done, goes on for Config.Drain, and returns when the
// answers under way are given.
func (s *Server) Start(ctx context.Context) error {
	listener := s.cfg.Listener
	if listener == nil {
		var err error
		if listener, err = new(net.ListenConfig).Listen(ctx, "tcp", s.cfg.Address); err != nil {
			return err
		}
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer stop()
	helpers.Go(func() { _ = s.cfg.Certificates.Start(serving) }) // ends with serving only
	if s.clients != nil {
		helpers.Go(func() { s.clients.start(serving) })
	}
	srv := s.httpServer(serving)
	done := make(chan error, 1)
	go func() { done <- srv.ServeTLS(listener, "", "") }()
	logr.FromContextOrDiscard(ctx).Info("Admission reviews are answered", "address", listener.Addr().String())
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(s.cfg.Drain):
	}
	limit, cancel := context.WithTimeout(serving, stopTimeout)
	defer cancel()
	if err := srv.Shutdown(limit); err != nil {
		return errors.Join(err, srv.Close())
	}
	return nil
}

func (s *Server) httpServer(ctx context.Context) *http.Server {
	return &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		TLSConfig:         s.tlsConfig(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:          log.New(&errorLog{log: logr.FromContextOrDiscard(ctx), metrics: s.cfg.Metrics}, "", 0),
	}
}

// An errorLog takes what net/http has to say. Strangers cause most of it, so it
// is counted and shown to those who look closely only.
type errorLog struct {
	log     logr.Logger
	metrics *Metrics
}

func (l *errorLog) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "TLS handshake error") {
		l.metrics.refusedFor("handshake")
	}
	l.log.V(1).Info("HTTP server", "message", strings.TrimSpace(string(line)))
	return len(line), nil
}
