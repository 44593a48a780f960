package reconcile

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// SetupWithManager registers the controllers, the watch on what was applied, the
// correction of drift and the removal of clones that are not used any more.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := r.setupGitSyncs(mgr); err != nil {
		return err
	}
	if err := r.setupPolicySets(mgr); err != nil {
		return err
	}
	for _, run := range []manager.RunnableFunc{r.runDrifts, r.runPrune, r.Applier.Run} {
		if err := mgr.Add(run); err != nil { // on the leader only
			return err
		}
	}
	return nil
}

func (r *Reconciler) setupGitSyncs(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("gitsync").
		For(&v1alpha1.GitSync{}, builder.WithPredicates(predicate.Or(
			predicate.GenerationChangedPredicate{}, requestedPredicate(),
		))).
		Watches(&v1alpha1.GitSync{}, r.enqueue(dependsOn), builder.WithPredicates(readyPredicate())).
		Watches(&v1alpha1.TrustPolicy{}, r.enqueue(trusts), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.PolicySet{}, r.enqueue(everyone), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.TypedChannel(r.Rules.Changes(), r.rulesChanged())).
		WatchesRawSource(source.TypedChannel(r.wake, handler.TypedEnqueueRequestsFromMapFunc(
			func(_ context.Context, s *v1alpha1.GitSync) []reconcile.Request {
				return []reconcile.Request{{NamespacedName: client.ObjectKeyFromObject(s)}}
			}))).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.Concurrency}).
		Complete(r)
}

// rulesChanged asks for an attempt at every GitSync: those whose rules are the same as
// before have nothing to do.
func (r *Reconciler) rulesChanged() handler.TypedEventHandler[*v1alpha1.PolicySet, reconcile.Request] {
	return handler.TypedEnqueueRequestsFromMapFunc(func(ctx context.Context, set *v1alpha1.PolicySet) []reconcile.Request {
		return r.referring(ctx, set, everyone)
	})
}

// updates passes those updates of GitSyncs that are of interest, and no other event.
func updates(passes func(before, after *v1alpha1.GitSync) bool) predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*v1alpha1.GitSync)
			after, ok2 := e.ObjectNew.(*v1alpha1.GitSync)
			return ok && ok2 && passes(before, after)
		},
		CreateFunc:  func(event.CreateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// requestedPredicate passes updates that ask for an attempt now.
func requestedPredicate() predicate.Predicate {
	return updates(func(before, after *v1alpha1.GitSync) bool {
		const key = v1alpha1.RequestedAtAnnotation
		return before.Annotations[key] != after.Annotations[key]
	})
}

// readyPredicate passes updates by which a GitSync becomes Ready: nothing else ends
// the wait of those that depend on it.
func readyPredicate() predicate.Predicate {
	return updates(func(before, after *v1alpha1.GitSync) bool { return !readyCondition(before) && readyCondition(after) })
}

// enqueue asks for an attempt at every GitSync that refers to a changed object.
func (r *Reconciler) enqueue(refers func(sync *v1alpha1.GitSync, changed client.Object) bool) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, changed client.Object) []reconcile.Request {
		return r.referring(ctx, changed, refers)
	})
}

func (r *Reconciler) referring(ctx context.Context, changed client.Object, refers func(sync *v1alpha1.GitSync, changed client.Object) bool) []reconcile.Request {
	var all v1alpha1.GitSyncList
	if err := r.Client.List(ctx, &all); err != nil {
		return nil // the cache is gone, and so are we
	}
	var out []reconcile.Request
	for _, s := range all.Items {
		if refers(&s, changed) {
			out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: s.Namespace, Name: s.Name}})
		}
	}
	return out
}

// dependsOn holds for a GitSync that waits for the changed one.
func dependsOn(s *v1alpha1.GitSync, changed client.Object) bool {
	return slices.ContainsFunc(s.Spec.DependsOn, func(d v1alpha1.DependencyReference) bool {
		return d.Name == changed.GetName() && (d.Namespace == changed.GetNamespace() || d.Namespace == "" && s.Namespace == changed.GetNamespace())
	}) && !readyCondition(s)
}

func trusts(s *v1alpha1.GitSync, changed client.Object) bool {
	return s.Spec.Trust.Name == changed.GetName()
}

// everyone: a PolicySet is named by GitSyncs and by the TrustPolicies that they use.
// Those whose inputs are the same as before have nothing to do.
func everyone(*v1alpha1.GitSync, client.Object) bool { return true }
