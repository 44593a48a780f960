package certs

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
)

// DefaultInterval is how often files are looked at.
const DefaultInterval = 10 * time.Second

// maxFile bounds a file of certificates.
const maxFile = 1 << 20

// FilesConfig configures [Files].
type FilesConfig struct {
	// Cert, Key and CA are the paths of what to serve and of what clients must
	// trust, in PEM, as a Secret of cert-manager mounts them.
	Cert, Key, CA string
	// Interval between looks. Zero means DefaultInterval.
	Interval time.Duration
}

// Files serves a certificate that somebody else keeps in files.
type Files struct {
	cfg     FilesConfig
	current atomic.Pointer[loaded]
}

type loaded struct {
	pair   *tls.Certificate
	bundle []byte
	sum    [sha256.Size]byte
}

var _ Source = (*Files)(nil)

// NewFiles reads the files once: wrong ones are an error now, not at the first
// handshake.
func NewFiles(c FilesConfig) (*Files, error) {
	c.Interval = cmp.Or(c.Interval, DefaultInterval)
	f := &Files{cfg: c}
	return f, f.Reload()
}

// Certificate implements [Source].
func (f *Files) Certificate() *tls.Certificate { return f.current.Load().pair }

// Bundle implements [Source].
func (f *Files) Bundle() []byte { return f.current.Load().bundle }

// Reload reads the files again. On an error, as when only one of them has been
// replaced so far, what was read before stays.
func (f *Files) Reload() error {
	cert, err := ReadFile(f.cfg.Cert)
	if err != nil {
		return err
	}
	key, err := ReadFile(f.cfg.Key)
	if err != nil {
		return err
	}
	ca, err := ReadFile(f.cfg.CA)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(bytes.Join([][]byte{cert, key, ca}, []byte{0}))
	if old := f.current.Load(); old != nil && old.sum == sum {
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("%s and %s: %w", f.cfg.Cert, f.cfg.Key, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return fmt.Errorf("%s: no certificate in it", f.cfg.CA)
	}
	f.current.Store(&loaded{pair: &pair, bundle: ca, sum: sum})
	return nil
}

// Start reloads until ctx is done.
func (f *Files) Start(ctx context.Context) error {
	log := logr.FromContextOrDiscard(ctx).WithName("certs")
	tick := time.NewTicker(f.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := f.Reload(); err != nil {
				log.Error(err, "The certificate could not be reloaded; the old one stays")
			}
		}
	}
}

// ReadFile reads a file of at most 1 MiB.
func ReadFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: %w", path, errTooLarge)
	}
	return data, nil
}

var errTooLarge = errors.New("larger than 1 MiB")
