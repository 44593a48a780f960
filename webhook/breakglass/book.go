package breakglass

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// A Config says for which cluster a [Book] is, and who is told.
type Config struct {
	// Cluster is the UID of the namespace kube-system. Mandatory.
	Cluster string
	// System is gitgate's own namespace. Mandatory.
	System string
	// Signers reads lines of an allowed_signers file for [Namespace]. Mandatory.
	Signers func(allowedSigners string) (Verifier, error)
	// Used, if not nil, is told of each request that a grant covers, once by its
	// UID. It must not block: the request waits for it.
	Used func(context.Context, Use)
	// Changed, if not nil, is told what became of a grant that was added, changed
	// or taken away, or whose TrustPolicy was. It must not call the Book.
	Changed func(State)
	// Now replaces the clock, which never goes back. Nil means that of the machine.
	Now func() time.Time
}

// A Use is one request that a grant covers. Nothing in it is secret.
type Use struct {
	Grant     string
	Reason    string // why the grant was asked for
	Expiry    time.Time
	UID       types.UID // of the request
	User      string
	Operation string
	Resource  string // as in deployments.apps/scale
	Namespace string
	Name      string
	DryRun    bool
}

// A Book holds the grants of one cluster. It is safe for concurrent use.
type Book struct {
	cfg    Config
	clock  *clock
	synced atomic.Bool
	// open are the grants that count as far as time allows, sorted by name.
	open atomic.Pointer[[]*entry]

	mu      sync.Mutex
	entries map[string]*entry
	trust   map[string]*trust
	// ended are the grants seen revoked or deleted, until they may be forgotten.
	ended map[string]ended

	uses uses
}

type ended struct {
	why   string
	until time.Time
}

// ErrConfig means that a [Config] lacks what is mandatory.
var ErrConfig = errors.New("breakglass: Cluster, System and Signers are mandatory")

// NewBook returns an empty Book, which covers nothing.
func NewBook(c Config) (*Book, error) {
	if c.Cluster == "" || c.System == "" || c.Signers == nil {
		return nil, ErrConfig
	}
	b := &Book{cfg: c, clock: newClock(), entries: map[string]*entry{}, trust: map[string]*trust{}, ended: map[string]ended{}}
	if c.Now != nil {
		b.clock.read = func() (time.Time, time.Duration) { return c.Now(), 0 }
	}
	return b, nil
}

// SetSynced says whether the Book knows all that the cluster has. Until then, and
// when it does not any more, it covers nothing.
func (b *Book) SetSynced(synced bool) { b.synced.Store(synced) }

// Set takes up a grant or a new version of it. The error says why it does not
// count, time aside.
func (b *Book) Set(g *v1alpha1.BreakGlass) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.judge(g.DeepCopy())
	b.entries[g.Name] = e
	b.remember(e)
	b.publish(e)
	return e.err
}

// Drop forgets a grant whose object is gone. Before its expiry it cannot come
// back while the Book lives.
func (b *Book) Drop(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[name]
	if e == nil {
		return
	}
	delete(b.entries, name)
	if e.err == nil {
		b.end(e, "it was deleted before its expiry")
	}
	e.err = errGone
	b.publish(e)
}

var errGone = errors.New("its object is gone")

// SetTrust takes up a TrustPolicy or a new version of it. The error says why none
// of its grants can count.
func (b *Book) SetTrust(p *v1alpha1.TrustPolicy) error {
	t := newTrust(p, b.cfg.Signers)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trust[p.Name] = t
	b.rejudge(p.Name)
	return t.err
}

// DropTrust forgets a TrustPolicy; its grants end.
func (b *Book) DropTrust(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.trust, name)
	b.rejudge(name)
}

func (b *Book) rejudge(trust string) {
	for name, e := range b.entries {
		if e.object.Spec.Grant.Trust == trust {
			e = b.judge(e.object)
			b.entries[name] = e
			b.remember(e)
			b.publish(e)
		}
	}
}

// remember keeps a revocation for when the object is gone.
func (b *Book) remember(e *entry) {
	if e.revoked && e.err == nil {
		b.end(e, "it was revoked")
	}
}

func (b *Book) end(e *entry, why string) {
	now := b.clock.now()
	for payload, old := range b.ended {
		if !now.Before(old.until) {
			delete(b.ended, payload)
		}
	}
	if _, ok := b.ended[string(e.payload)]; !ok {
		b.ended[string(e.payload)] = ended{why, e.object.Spec.Grant.Expiry.Add(ClockSkew)}
	}
}

// publish makes the list that Covers reads, and tells of e.
func (b *Book) publish(e *entry) {
	var open []*entry
	for _, e := range b.entries {
		if e.err == nil && !e.revoked {
			open = append(open, e)
		}
	}
	slices.SortFunc(open, func(x, y *entry) int { return strings.Compare(x.object.Name, y.object.Name) })
	b.open.Store(&open)
	if b.cfg.Changed != nil {
		b.cfg.Changed(e.state(b.clock.now()))
	}
}

// List tells of every grant, sorted by name.
func (b *Book) List() []State {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.now()
	out := make([]State, 0, len(b.entries))
	for _, e := range b.entries {
		out = append(out, e.state(now))
	}
	slices.SortFunc(out, func(x, y State) int { return strings.Compare(x.Name, y.Name) })
	return out
}

// Check says what would become of a grant, by the trust that the Book has. It
// takes nothing up.
func (b *Book) Check(g *v1alpha1.BreakGlass) State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.judge(g.DeepCopy()).state(b.clock.now())
}
