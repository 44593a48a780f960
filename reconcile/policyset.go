package reconcile

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

func (r *Reconciler) setupPolicySets(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("policyset").
		For(&v1alpha1.PolicySet{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Complete(reconcile.Func(r.reconcilePolicySet))
}

// modulesInterval is how often a ConfigMap with rules is looked at, for ConfigMaps
// are not watched.
const modulesInterval = time.Minute

// reconcilePolicySet tells in the status whether the rules compile. A version
// that does not leaves the former one in force.
func (r *Reconciler) reconcilePolicySet(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	in := PolicyInput{Set: &v1alpha1.PolicySet{}}
	if err := r.Client.Get(ctx, req.NamespacedName, in.Set); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	resolver := resolver{direct: r.Direct, system: r.SystemNamespace}
	err := resolver.policyModules(ctx, &in)
	if _, known := asSpecError(err); err != nil && !known {
		return ctrl.Result{}, err
	}
	if err == nil {
		err = r.Gates.CheckPolicy(ctx, in)
	}
	ready := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: in.Set.Generation,
		Reason: v1alpha1.ReasonReconciliationSucceeded, Message: "the rules compile",
	}
	if err != nil {
		ready.Status, ready.Reason = metav1.ConditionFalse, string(verdict.PolicyError)
		ready.Message = truncate(err.Error(), maxMessage)
	}
	var again ctrl.Result
	if in.Set.Spec.Source.ConfigMapRef != nil {
		again.RequeueAfter = modulesInterval
	}
	before := in.Set.DeepCopy()
	in.Set.Status.ObservedGeneration = in.Set.Generation
	meta.SetStatusCondition(&in.Set.Status.Conditions, ready)
	if equality.Semantic.DeepEqual(before.Status, in.Set.Status) {
		return again, nil
	}
	if err != nil {
		r.Recorder.Eventf(in.Set, nil, corev1.EventTypeWarning, ready.Reason, "Compile", "%s", ready.Message)
	}
	return again, client.IgnoreNotFound(r.Client.Status().Patch(ctx, in.Set, client.MergeFrom(before)))
}
