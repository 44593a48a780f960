package apply

import (
	"context"
	"time"

	"k8s.io/client-go/rest"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
)

// A Config configures an [Applier].
type Config struct {
	// REST reaches the API server. Its QPS and Burst are not used: the server's
	// own fairness decides. Mandatory.
	REST *rest.Config
	// Workers bounds the requests under way at once. Zero means 24.
	Workers int
	// OnDrift, if not nil, is told of every drift as it is seen, from several
	// goroutines; it must not block. A drift is told once until the object
	// changes again.
	OnDrift func(Drift)
	// ResyncPerMinute bounds the requests of the slow full check. Zero means 15;
	// negative turns it off.
	ResyncPerMinute int
	// ResyncInterval is the time between two full checks. Zero means one hour.
	ResyncInterval time.Duration
}

// An Applier applies plans to one cluster. It is safe for concurrent use by
// different owners; the calls for one owner must not overlap.
type Applier struct{ cfg Config }

// New returns an Applier. It makes no request.
func New(cfg Config) (*Applier, error) { panic("being written") }

// Run watches what was applied until ctx is done. Until it runs, no object
// counts as known and every plan is checked in full.
func (a *Applier) Run(ctx context.Context) error { panic("being written") }

// DryRun asks the API server about every object of the plan that it can judge
// before the first write, and validates the others by their schema. It makes no
// change. Findings that block mean that nothing may be applied; warnings may be
// among them. It remembers its answers in the plan.
func (a *Applier) DryRun(ctx context.Context, p *Plan) []verdict.Finding { panic("being written") }

// Deletions returns the live objects that Apply would delete, for policies and
// the deletion budget. After DryRun it includes those that would be recreated.
func (a *Applier) Deletions(ctx context.Context, p *Plan) ([]Deletion, error) {
	panic("being written")
}

// Apply writes the plan: it records the inventory, applies in stages and
// prunes. A plan that was not dry-run is dry-run first. On blocking findings it
// stops at the end of the stage; Result.Inventory always covers everything that
// may exist.
func (a *Applier) Apply(ctx context.Context, p *Plan) (Result, []verdict.Finding) {
	panic("being written")
}

// Wait returns when every object of the plan is healthy, one has failed for
// good, or ctx is done. It returns a finding for each object that is not healthy.
func (a *Applier) Wait(ctx context.Context, p *Plan) []verdict.Finding { panic("being written") }

// Remove deletes everything in an inventory, as when a GitSync goes away.
func (a *Applier) Remove(ctx context.Context, p *Plan) (Result, []verdict.Finding) {
	panic("being written")
}

// Forget drops what is known of an owner, without touching the cluster.
func (a *Applier) Forget(o Owner) { panic("being written") }

// Correct puts the drifted objects of one owner right. Secrets need their
// decrypted manifest among fresh, for it is not kept; without it their drift is
// returned in need, untouched. Other objects need none.
func (a *Applier) Correct(ctx context.Context, drifts []Drift, fresh []gate.Object) (r Result, need []Drift, fs []verdict.Finding) {
	panic("being written")
}
