package audit

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// LeaseName is the Lease that the replica holds which audits.
const LeaseName = "gitgate-audit"

// The times of the lease, as of controllers elsewhere.
const (
	leaseDuration = 15 * time.Second
	leaseRenew    = 10 * time.Second
	leaseRetry    = 2 * time.Second
)

// A Leader has one of several replicas run something. It is a controller-runtime
// Runnable. A replica that loses the lease stops and stands in line again: to end the
// process, as a manager does, would take an admission webhook away.
type Leader struct {
	Client    coordinationv1.CoordinationV1Interface
	Namespace string
	// Identity is this replica's own.
	Identity string
	Run      func(context.Context) error
}

// NeedLeaderElection is false: the Leader elects for itself.
func (l *Leader) NeedLeaderElection() bool { return false }

// Start stands for election until ctx is done.
func (l *Leader) Start(ctx context.Context) error {
	lock := &resourcelock.LeaseLock{
		LeaseMeta: metav1.ObjectMeta{Namespace: l.Namespace, Name: LeaseName}, Client: l.Client,
		LockConfig: resourcelock.ResourceLockConfig{Identity: l.Identity},
	}
	for ctx.Err() == nil {
		if err := l.term(ctx, lock); err != nil {
			return err
		}
	}
	return nil
}

// term stands for election once, and runs what is to be run while it leads.
func (l *Leader) term(ctx context.Context, lock resourcelock.Interface) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex
	var running chan struct{} // closed when the run has ended; nil if there was none
	over := false
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: leaseDuration, RenewDeadline: leaseRenew, RetryPeriod: leaseRetry, ReleaseOnCancel: true, Name: LeaseName,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) {
				mu.Lock()
				if over {
					mu.Unlock()
					return
				}
				ended := make(chan struct{})
				running = ended
				mu.Unlock()
				defer close(ended)
				if err := l.Run(ctx); err != nil && ctx.Err() == nil {
					logr.FromContextOrDiscard(ctx).Error(err, "The audit ended")
				}
				stop()
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return err
	}
	elector.Run(ctx)
	mu.Lock()
	over = true
	ended := running
	mu.Unlock()
	if ended != nil {
		<-ended
	}
	return nil
}
