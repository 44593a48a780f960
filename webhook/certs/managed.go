package certs

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// The lives of certificates where [Config] says nothing.
const (
	DefaultCALifetime   = 90 * 24 * time.Hour
	DefaultLeafLifetime = 24 * time.Hour
	DefaultOverlap      = 10 * time.Minute
)

// maxConflicts bounds how often a lost race is run again at once.
const maxConflicts = 8

// ErrNoHosts means that nobody could verify the certificate.
var ErrNoHosts = errors.New("certificates need at least one host name or address")

// A Config configures [Managed].
type Config struct {
	// Secrets is the namespace that the Secret lives in.
	Secrets typedcorev1.SecretInterface
	// Name of the Secret.
	Name string
	// Hosts are the DNS names and addresses that clients connect to.
	Hosts []string
	// CALifetime, LeafLifetime: zero means the defaults. Certificates are
	// renewed after two thirds of their lives.
	CALifetime, LeafLifetime time.Duration
	// Overlap is for how long a new authority is trusted before it signs. Zero
	// means DefaultOverlap.
	Overlap time.Duration
	// Trusted, if not nil, is asked before a new authority signs: do clients
	// trust this bundle?
	Trusted func(bundle []byte) bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Managed is a certificate authority in a Secret. Replicas that share the Secret
// agree: whoever writes it first wins, the others take what he wrote.
type Managed struct {
	cfg   Config
	plan  plan
	state atomic.Pointer[state]
}

var _ Source = (*Managed)(nil)

// NewManaged returns an authority that is empty until [Managed.Sync] or
// [Managed.Start].
func NewManaged(c Config) (*Managed, error) {
	if len(c.Hosts) == 0 {
		return nil, ErrNoHosts
	}
	if c.Secrets == nil || c.Name == "" {
		return nil, errors.New("certificates need a Secret to live in")
	}
	c.CALifetime = cmp.Or(c.CALifetime, DefaultCALifetime)
	c.LeafLifetime = cmp.Or(c.LeafLifetime, DefaultLeafLifetime)
	c.Overlap = cmp.Or(c.Overlap, DefaultOverlap)
	if c.LeafLifetime > c.CALifetime {
		return nil, fmt.Errorf("a certificate of %s cannot outlive its authority of %s", c.LeafLifetime, c.CALifetime)
	}
	// The next authority is made at two thirds, must be trusted for the overlap
	// and has to sign before the last third is over.
	if c.Overlap > c.CALifetime/4 {
		return nil, fmt.Errorf("an overlap of %s is too long for authorities of %s", c.Overlap, c.CALifetime)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Trusted == nil {
		c.Trusted = func([]byte) bool { return true }
	}
	return &Managed{cfg: c, plan: plan{
		caLife: c.CALifetime, leafLife: c.LeafLifetime, overlap: c.Overlap, hosts: slices.Clone(c.Hosts), trusted: c.Trusted,
	}}, nil
}

// Certificate implements [Source].
func (m *Managed) Certificate() *tls.Certificate {
	if s := m.state.Load(); s != nil {
		return s.leaf
	}
	return nil
}

// Bundle implements [Source].
func (m *Managed) Bundle() []byte {
	if s := m.state.Load(); s != nil {
		return s.bundle()
	}
	return nil
}

// Sync reads the Secret, makes what is due, and stores it. A Secret that was
// deleted is written again from memory, so that what clients trust stays valid.
func (m *Managed) Sync(ctx context.Context) error {
	var err error
	for range maxConflicts {
		var done bool
		if done, err = m.syncOnce(ctx); done || !retriable(err) {
			return err
		}
	}
	return fmt.Errorf("the Secret %s is being written by others all the time: %w", m.cfg.Name, err)
}

func retriable(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err)
}

func (m *Managed) syncOnce(ctx context.Context) (done bool, err error) {
	secret, err := m.cfg.Secrets.Get(ctx, m.cfg.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return m.create(ctx)
	}
	if err != nil {
		return false, err
	}
	next, err := m.plan.advance(parse(secret.Data), m.cfg.Now())
	if err != nil {
		return false, err
	}
	if data := next.data(); !equalData(secret.Data, data) {
		secret.Data = data
		if _, err := m.cfg.Secrets.Update(ctx, secret, metav1.UpdateOptions{}); err != nil {
			return false, err
		}
	}
	m.state.Store(&next)
	return true, nil
}

func (m *Managed) create(ctx context.Context) (done bool, err error) {
	var old state
	if s := m.state.Load(); s != nil {
		old = *s
	}
	next, err := m.plan.advance(old, m.cfg.Now())
	if err != nil {
		return false, err
	}
	_, err = m.cfg.Secrets.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name:   m.cfg.Name,
			Labels: map[string]string{"app.kubernetes.io/name": "gitgate", "app.kubernetes.io/managed-by": "gitgate"},
		},
		Type: corev1.SecretTypeTLS,
		Data: next.data(),
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err // somebody was first: take what he made
	}
	m.state.Store(&next)
	return true, nil
}

// Start syncs whenever the Secret changes and as time goes by. Errors are tried
// again: what is in memory is served for as long as it lasts.
func (m *Managed) Start(ctx context.Context) error {
	log := logr.FromContextOrDiscard(ctx).WithName("certs")
	tick := time.NewTicker(min(max(m.cfg.LeafLifetime/50, 200*time.Millisecond), 10*time.Minute))
	defer tick.Stop()
	changes := make(chan struct{}, 1)
	go m.watch(ctx, changes)
	for {
		retry := time.Duration(0)
		if err := m.Sync(ctx); err != nil && ctx.Err() == nil {
			log.Error(err, "Certificates cannot be kept up to date", "secret", m.cfg.Name)
			retry = time.Second
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changes:
		case <-tick.C:
		case <-after(retry):
		}
	}
}

// after is time.After, and never for zero.
func after(d time.Duration) <-chan time.Time {
	if d == 0 {
		return nil
	}
	return time.After(d)
}

// watch says when the Secret has changed, until ctx is done.
func (m *Managed) watch(ctx context.Context, changes chan<- struct{}) {
	options := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", m.cfg.Name).String()}
	for ctx.Err() == nil {
		w, err := m.cfg.Secrets.Watch(ctx, options)
		if err == nil {
			notify(changes) // what happened while nobody watched
			drain(ctx, w, changes)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func drain(ctx context.Context, w watch.Interface, changes chan<- struct{}) {
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-w.ResultChan():
			if !ok {
				return
			}
			notify(changes)
		}
	}
}

func notify(changes chan<- struct{}) {
	select {
	case changes <- struct{}{}:
	default: // one is waiting already
	}
}

// Expiry is when what is served ends; zero while nothing is.
func Expiry(s Source) time.Time {
	if c := s.Certificate(); c != nil && c.Leaf != nil {
		return c.Leaf.NotAfter
	}
	return time.Time{}
}
