package reconcile

import (
	"context"

	"github.com/go-git/go-git/v5/plumbing"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// finalize deletes what the GitSync applied, unless pruning is off or it is
// suspended, and lets it go.
func (a *attempt) finalize(ctx context.Context) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(a.sync, v1alpha1.Finalizer) {
		return ctrl.Result{}, nil
	}
	a.session.stopHealth()
	a.session.setLive(nil)
	if a.sync.PruneEnabled() && !a.sync.Spec.Suspend && len(inventory(a.sync)) > 0 {
		if out, ok := a.remove(ctx); !ok {
			if !a.abandoned(ctx) {
				return a.finish(ctx, out)
			}
			a.Recorder.Eventf(a.sync, nil, corev1.EventTypeWarning, v1alpha1.ReasonPruneFailed, "Delete", "%s",
				truncate("what was applied is left behind: "+out.message, maxMessage))
		}
	}
	if a.session.repo != nil {
		if err := a.session.repo.SetApplied(a.session.owner.String(), plumbing.ZeroHash); err != nil {
			a.log(ctx).Error(err, "The record of the applied revision could not be removed")
		}
	}
	before := a.sync.DeepCopy()
	controllerutil.RemoveFinalizer(a.sync, v1alpha1.Finalizer)
	// Others have finalizers too: never from a list that is out of date.
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	return ctrl.Result{}, client.IgnoreNotFound(a.Client.Patch(ctx, a.sync, patch))
}

// abandoned reports whether nobody can delete what was applied, now or later: the
// account that may is gone, or going with the namespace, which takes along what is
// in it. To wait on would keep the GitSync, and the namespace, for ever.
func (a *attempt) abandoned(ctx context.Context) bool {
	name := a.sync.Spec.ServiceAccountName
	if name == "" {
		return false
	}
	var account corev1.ServiceAccount
	if err := a.Direct.Get(ctx, client.ObjectKey{Namespace: a.sync.Namespace, Name: name}, &account); apierrors.IsNotFound(err) {
		return true
	}
	var namespace corev1.Namespace
	err := a.Direct.Get(ctx, client.ObjectKey{Name: a.sync.Namespace}, &namespace)
	return err == nil && !namespace.DeletionTimestamp.IsZero()
}

func (a *attempt) remove(ctx context.Context) (outcome, bool) {
	in := Inputs{Sync: a.sync}
	resolver := resolver{system: a.SystemNamespace}
	if err := resolver.scope(&in); err != nil {
		return specOutcome(err), false
	}
	plan, err := a.plan(in, a.sync.Status.LastAppliedRevision)
	if err != nil {
		return specOutcome(err), false
	}
	ctx, cancel := context.WithTimeout(ctx, a.sync.TimeoutOrDefault())
	defer cancel()
	a.session.cluster.Lock()
	defer a.session.cluster.Unlock()
	result, findings := a.Applier.Remove(ctx, plan)
	a.setInventory(result.Inventory)
	if bad := blocking(findings); len(bad) > 0 {
		return failed(v1alpha1.ReasonPruneFailed, "not everything could be deleted: %s", summary(bad)), false
	}
	return outcome{}, true
}
