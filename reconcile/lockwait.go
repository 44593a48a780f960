package reconcile

import (
	"context"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

const (
	// replicaWait is how long the replicas of the webhook are waited for. A replica
	// that is behind answers that a request may be repeated, so going on does no harm.
	replicaWait = 10 * time.Second
	replicaPoll = 100 * time.Millisecond
)

// announce tells the replicas of the webhook, before the gate runs, which revision
// is coming, so that they judge it at the same time.
func (a *attempt) announce(ctx context.Context, revision string) error {
	if a.sync.LockMode() == v1alpha1.ModeOff || a.sync.Status.LastAttemptedRevision == revision {
		return nil
	}
	a.sync.Status.LastAttemptedRevision = revision
	setConditions(a.sync, condition{v1alpha1.ConditionReconciling, metav1.ConditionTrue, v1alpha1.ReasonProgressing, "judging " + revision})
	return a.patchStatus(ctx)
}

// awaitReplicas waits until every replica of the webhook that is on record holds
// writes to the revision. Those that do not in time are taken off the record: a
// replica that lives puts itself back.
func (a *attempt) awaitReplicas(ctx context.Context, revision string) error {
	if a.sync.LockMode() == v1alpha1.ModeOff {
		return nil
	}
	behind := func(r v1alpha1.LockReplica) bool { return r.Revision != revision }
	deadline := time.Now().Add(replicaWait)
	for {
		var now v1alpha1.GitSync
		if err := a.Client.Get(ctx, client.ObjectKeyFromObject(a.sync), &now); err != nil {
			return err
		}
		switch {
		case !slices.ContainsFunc(replicas(&now), behind):
			return nil
		case time.Now().After(deadline):
			before := now.DeepCopy()
			now.Status.Lock.Replicas = slices.DeleteFunc(slices.Clone(now.Status.Lock.Replicas), behind)
			return client.IgnoreNotFound(a.Client.Status().Patch(ctx, &now, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})))
		}
		select {
		case <-time.After(replicaPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
