package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"gitgate.dev/gitgate/webhook/certs"
)

// clientCAInterval is how often the file of the client CA is looked at.
const clientCAInterval = 10 * time.Second

var (
	errNoCertificate = errors.New("there is no certificate yet")
	errStranger      = errors.New("the client certificate is not the API server's")
)

// clients says whose client certificates count.
type clients struct {
	path  string
	names []string
	pool  atomic.Pointer[x509.CertPool]
}

// newClients returns nil where anybody may ask.
func newClients(path string, names []string) (*clients, error) {
	if path == "" {
		return nil, nil
	}
	c := &clients{path: path, names: slices.Clone(names)}
	return c, c.reload()
}

func (c *clients) reload() error {
	data, err := certs.ReadFile(c.path)
	if err != nil {
		return fmt.Errorf("client CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return fmt.Errorf("client CA %s: no certificate in it", c.path)
	}
	c.pool.Store(pool)
	return nil
}

// start reloads until ctx is done. What cannot be read leaves the old pool.
func (c *clients) start(ctx context.Context) {
	tick := time.NewTicker(clientCAInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := c.reload(); err != nil {
				logr.FromContextOrDiscard(ctx).Error(err, "The client CA could not be reloaded; the old one stays")
			}
		}
	}
}

// verify checks the name in a certificate whose signature has been checked. That
// a CA signed it is not enough: it signs for others too (CVE-2025-64432).
func (c *clients) verify(state tls.ConnectionState) error {
	if len(state.VerifiedChains) == 0 || len(state.PeerCertificates) == 0 {
		return errStranger
	}
	leaf := state.PeerCertificates[0]
	for _, name := range c.names {
		if leaf.Subject.CommonName == name || slices.Contains(leaf.DNSNames, name) {
			return nil
		}
	}
	return errStranger
}

// tlsConfig takes certificate and client CA anew at each handshake.
func (s *Server) tlsConfig() *tls.Config {
	base := &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2", "http/1.1"},
		// A resumed session would keep the client's old proof.
		SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := s.cfg.Certificates.Certificate(); c != nil {
				return c, nil
			}
			return nil, errNoCertificate
		},
	}
	if s.clients == nil {
		return base
	}
	base.ClientAuth = tls.RequireAndVerifyClientCert
	base.VerifyConnection = s.clients.verify
	base.ClientCAs = s.clients.pool.Load()
	outer := base.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		inner := base.Clone()
		inner.ClientCAs = s.clients.pool.Load()
		return inner, nil
	}
	return outer
}
