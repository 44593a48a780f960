package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"gitgate.dev/gitgate/policy/desired"
)

// A Config configures an [Applier].
type Config struct {
	// REST reaches the API server. Its QPS and Burst are not used: the server's
	// own fairness decides. Mandatory.
	REST *rest.Config
	// Workers bounds the requests under way at once. Fewer are where the API server
	// takes long to answer. Zero means 96.
	Workers int
	// DryRunner makes the dry runs under fresh names. The zero value leaves them to
	// the identity of the plan, whom the lock of a namespace would refuse them.
	DryRunner Identity
	// Held, if not nil, says which objects people may change for now in spite of Git,
	// by what grant and until when: their drift is told and left alone.
	Held HeldFunc
	// OnDrift, if not nil, is told of every drift as it is seen, each in a
	// goroutine of its own. A drift is told once until the object changes again.
	OnDrift func(Drift)
	// ResyncPerMinute bounds the requests of the slow full check. Zero means 15;
	// negative turns it off.
	ResyncPerMinute int
	// ResyncInterval is the time between two full checks. Zero means one hour.
	ResyncInterval time.Duration
}

// An Applier applies plans to one cluster. It is safe for concurrent use by
// different owners; the calls for one owner must not overlap, except that
// [Applier.Health] and [Applier.Drifts] may come at any time.
type Applier struct {
	cfg     Config
	clients *clients
	own     *client // as ourselves
	kinds   *kinds
	schemas *desired.Schemas
	store   *store
	forms   *formBooks
	sealer  *desired.Sealer
	watches *watches
	wants   wants
	health  bell
}

// New returns an Applier. It makes no request.
func New(cfg Config) (*Applier, error) {
	if cfg.REST == nil {
		return nil, errors.New("apply: Config.REST is missing")
	}
	cfg.Workers = cmp.Or(cfg.Workers, mostAtOnce)
	cfg.ResyncPerMinute = cmp.Or(cfg.ResyncPerMinute, 15)
	cfg.ResyncInterval = cmp.Or(cfg.ResyncInterval, time.Hour)
	restConfig := prepareConfig(cfg.REST)
	disco, err := discovery.NewDiscoveryClientForConfig(restConfig)
	if err != nil {
		return nil, fmt.Errorf("apply: %w", err)
	}
	dyn, err := dynamic.NewForConfig(restConfig)
	if err != nil {
		return nil, fmt.Errorf("apply: %w", err)
	}
	a := &Applier{
		cfg:     cfg,
		clients: &clients{cfg: restConfig, slots: newSlots(cfg.Workers), by: map[string]*client{}},
		kinds:   &kinds{client: disco},
		schemas: desired.NewSchemas(disco.OpenAPIV3()),
		store:   newStore(),
		forms:   &formBooks{byOwner: map[Owner]*formBook{}},
		sealer:  desired.NewSealer(),
	}
	a.watches = newWatches(a, dyn)
	if a.own, err = a.clients.as(Ourselves()); err != nil {
		return nil, fmt.Errorf("apply: %w", err)
	}
	return a, nil
}

// Run watches what was applied until ctx is done. Until it runs, no object counts
// as known and every plan is checked in full.
func (a *Applier) Run(ctx context.Context) error {
	if a.cfg.ResyncPerMinute > 0 {
		go a.resync(ctx)
	}
	a.watches.run(ctx)
	return nil
}

// Blind lists the kinds that ought to be watched but are not, because the watch
// is refused or has not caught up. Drift in them goes unseen.
func (a *Applier) Blind() []string { return a.watches.blind() }
