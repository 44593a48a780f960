package reconcile

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/apply"
)

// watchHealth waits beside Reconcile, so that a new commit, which may be the cure,
// need not wait for the old one's timeout.
func (a *attempt) watchHealth(applied *gate.Applied) {
	ctx, cancel := context.WithTimeout(context.Background(), a.sync.TimeoutOrDefault())
	h := &healthWatch{cancel: cancel}
	// No plaintext waits here: the objects are those that Git declares.
	plan := &apply.Plan{Owner: a.session.owner, Namespace: a.sync.Spec.TargetNamespace, Objects: applied.Declared()}
	a.session.health = h
	sync := a.sync.DeepCopy()
	go func() {
		defer cancel()
		h.finish(a.Applier.Wait(ctx, plan))
		a.wakeUp(sync)
	}()
}

// wakeUp asks for an attempt now. When the queue is full the interval serves.
func (r *Reconciler) wakeUp(sync *v1alpha1.GitSync) {
	select {
	case r.wake <- event.TypedGenericEvent[*v1alpha1.GitSync]{Object: sync}:
	default:
	}
}

func (a *attempt) awaiting() outcome {
	message := "waiting for the health of " + a.sync.Status.LastAppliedRevision
	setConditions(a.sync, condition{v1alpha1.ConditionHealthy, metav1.ConditionUnknown, v1alpha1.ReasonProgressing, message})
	return outcome{ready: metav1.ConditionUnknown, reason: v1alpha1.ReasonProgressing, message: message, working: true}
}

// healthOutcome reports whether the wait ended well, and the outcome if not.
func (a *attempt) healthOutcome(findings []verdict.Finding) (outcome, bool) {
	if bad := blocking(findings); len(bad) > 0 {
		message := "revision " + a.sync.Status.LastAppliedRevision + " is applied but not healthy: " + summary(bad)
		setConditions(a.sync, condition{v1alpha1.ConditionHealthy, metav1.ConditionFalse, v1alpha1.ReasonHealthCheckFailed, message})
		return failed(v1alpha1.ReasonHealthCheckFailed, "%s", message), false
	}
	setConditions(a.sync, condition{v1alpha1.ConditionHealthy, metav1.ConditionTrue, v1alpha1.ReasonReconciliationSucceeded, "every object is healthy"})
	return outcome{}, true
}
