package reconcile

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

func (r *Reconciler) setupPolicySets(mgr ctrl.Manager) error {
	return policySetController(mgr, "policyset", r.Client).
		Complete(reconcile.Func(r.reconcilePolicySet))
}

// policySetController watches the PolicySets and what judges their sources. Sources
// that keep one waiting do not hold up the others.
func policySetController(mgr ctrl.Manager, name string, c client.Reader) *builder.Builder {
	return ctrl.NewControllerManagedBy(mgr).
		Named(name).
		For(&v1alpha1.PolicySet{}, builder.WithPredicates(predicate.Or(
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{},
		))).
		Watches(&v1alpha1.TrustPolicy{}, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, trust client.Object) []reconcile.Request {
			var sets v1alpha1.PolicySetList
			if err := c.List(ctx, &sets); err != nil {
				return nil // the cache is gone, and so are we
			}
			var out []reconcile.Request
			for _, s := range sets.Items {
				if g := s.Spec.Source.Git; g != nil && g.Trust.Name == trust.GetName() {
					out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Name: s.Name}})
				}
			}
			return out
		}), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4})
}

// modulesInterval is how often a ConfigMap with rules is looked at, for ConfigMaps
// are not watched.
const modulesInterval = time.Minute

// reconcilePolicySet looks for a newer version of rules from elsewhere, and tells in
// the status whether the rules in force compile. A version that does not leaves the
// former one in force.
func (r *Reconciler) reconcilePolicySet(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	set := &v1alpha1.PolicySet{}
	if err := r.Client.Get(ctx, req.NamespacedName, set); err != nil {
		if client.IgnoreNotFound(err) == nil {
			r.Rules.Forget(req.Name)
			r.Metrics.rules.forget(req.Name)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := set.DeepCopy()
	again, err := r.followSource(ctx, set)
	if err != nil {
		return ctrl.Result{}, err
	}
	ready, err := r.readiness(ctx, set)
	if err != nil {
		return ctrl.Result{}, err
	}
	if set.Spec.Source.ConfigMapRef != nil && (again == 0 || again > modulesInterval) {
		again = modulesInterval
	}
	set.Status.ObservedGeneration = set.Generation
	set.Status.LastHandledReconcileAt = set.Annotations[v1alpha1.RequestedAtAnnotation]
	r.tellSet(before, set, ready)
	result := ctrl.Result{RequeueAfter: again}
	if equality.Semantic.DeepEqual(before.Status, set.Status) {
		return result, nil
	}
	return result, client.IgnoreNotFound(r.Client.Status().Patch(ctx, set, client.MergeFrom(before)))
}

// readiness tells whether the rules in force compile.
func (r *Reconciler) readiness(ctx context.Context, set *v1alpha1.PolicySet) (metav1.Condition, error) {
	ready := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: set.Generation,
		Reason: v1alpha1.ReasonReconciliationSucceeded, Message: "the rules compile",
	}
	in := PolicyInput{Set: set}
	resolver := resolver{cached: r.Client, direct: r.Direct, system: r.SystemNamespace, rules: r.Rules}
	err := resolver.policyModules(ctx, &in)
	if err == nil {
		err = resolver.remoteRules(ctx, &in, nil)
	}
	if _, known := asSpecError(err); err != nil && !known {
		return ready, err
	}
	if err == nil {
		err = in.Withheld
	}
	if err == nil {
		err = r.Gates.CheckPolicy(ctx, in)
	}
	if err != nil {
		ready.Status, ready.Reason = metav1.ConditionFalse, string(verdict.PolicyError)
		ready.Message = truncate(err.Error(), maxMessage)
	} else if in.Remote != nil {
		ready.Message = "the rules of " + in.Remote.Revision + " are in force"
	}
	return ready, nil
}

// tellSet puts the condition into the status, and into an event if it says something
// new that is wrong.
func (r *Reconciler) tellSet(before, set *v1alpha1.PolicySet, ready metav1.Condition) {
	meta.SetStatusCondition(&set.Status.Conditions, ready)
	was := meta.FindStatusCondition(before.Status.Conditions, ready.Type)
	if ready.Status == metav1.ConditionTrue || was != nil && was.Reason == ready.Reason && was.Message == ready.Message {
		return
	}
	r.Recorder.Eventf(set, nil, corev1.EventTypeWarning, ready.Reason, "Compile", "%s", ready.Message)
}

// followSource looks at the source of a set, if it has one elsewhere, and tells what
// came of it. It returns when to look again.
func (r *Reconciler) followSource(ctx context.Context, set *v1alpha1.PolicySet) (time.Duration, error) {
	if !set.Spec.Source.Remote() {
		r.Rules.Forget(set.Name)
		r.Metrics.rules.forget(set.Name)
		set.Status.Artifact, set.Status.LastAttemptedRevision = nil, ""
		meta.RemoveStatusCondition(&set.Status.Conditions, v1alpha1.ConditionVerified)
		return 0, nil
	}
	state, err := r.Rules.Follow(ctx, set)
	if err != nil {
		return 0, err
	}
	former := set.Status.DeepCopy()
	if state.Newest != "" {
		set.Status.LastAttemptedRevision = state.Newest
	}
	set.Status.Artifact = artifact(set, state)
	verified := state.condition(set.Generation)
	meta.SetStatusCondition(&set.Status.Conditions, verified)
	r.Metrics.rules.observe(set, state)
	r.recordRules(ctx, former, set, state, verified)
	return state.Next, nil
}

// artifact is what is in force, for the status.
func artifact(set *v1alpha1.PolicySet, state RuleState) *v1alpha1.PolicyArtifact {
	rules := state.InForce
	if rules == nil {
		return nil
	}
	old := set.Status.Artifact
	if old != nil && old.URL == rules.URL && old.Revision == rules.Revision && old.Digest == rules.Digest && old.Version == rules.Version {
		return old
	}
	return &v1alpha1.PolicyArtifact{
		URL: rules.URL, Revision: rules.Revision, Version: rules.Version, Digest: rules.Digest, LastUpdateTime: metav1.NewTime(state.Since.UTC().Truncate(time.Second)),
	}
}

// condition says whether the newest version is in force.
func (s RuleState) condition(generation int64) metav1.Condition {
	c := metav1.Condition{
		Type: v1alpha1.ConditionVerified, Status: metav1.ConditionTrue, ObservedGeneration: generation,
		Reason: v1alpha1.ReasonVerified, Message: s.Newest + " is verified and loads",
	}
	switch {
	case s.Refused != "":
		c.Status, c.Reason = metav1.ConditionFalse, string(s.Refused)
		if s.Unknown {
			c.Status = metav1.ConditionUnknown
		}
		still := "; no rules are in force"
		if s.InForce != nil {
			still = "; " + s.InForce.Revision + " stays in force"
		}
		c.Message = truncate(s.Message, maxMessage-len(still)) + still
	case s.Withheld != nil: // nobody can judge the source
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, string(s.Withheld.Reason), truncate(s.Withheld.Message, maxMessage)
	}
	return c
}

// recordRules tells of rules that came into force or went out of it, and of versions
// that are refused: in events and the decision log. The status that was says what was
// told before.
func (r *Reconciler) recordRules(ctx context.Context, former *v1alpha1.PolicySetStatus, set *v1alpha1.PolicySet, state RuleState, verified metav1.Condition) {
	d := RuleDecision{
		Time: time.Now().UTC(), Door: "reconciler", PolicySet: set.Name, URL: set.Spec.Source.RemoteURL(), Newest: state.Newest,
		Refused: state.Refused, Message: verified.Message,
	}
	if a := former.Artifact; a != nil {
		d.Former = a.Revision
	}
	if a := set.Status.Artifact; a != nil {
		d.Revision, d.Digest = a.Revision, a.Digest
	}
	was := meta.FindStatusCondition(former.Conditions, verified.Type)
	news := was == nil || was.Status != verified.Status || was.Reason != verified.Reason || was.Message != verified.Message
	switch {
	case d.Revision != d.Former && d.Revision != "":
		r.Recorder.Eventf(set, nil, corev1.EventTypeNormal, "RulesChanged", "Follow", "the rules of %s are in force", d.Revision)
	case d.Revision != d.Former:
		r.Recorder.Eventf(set, nil, corev1.EventTypeWarning, verified.Reason, "Follow", "the rules of %s are out of force: %s", d.Former, verified.Message)
	case !news:
		return
	}
	if news && verified.Status != metav1.ConditionTrue {
		r.Recorder.Eventf(set, nil, corev1.EventTypeWarning, verified.Reason, "Follow", "%s", verified.Message)
	}
	if err := r.Decisions.WriteRules(d); err != nil {
		logr.FromContextOrDiscard(ctx).Error(err, "The decision log cannot be written")
	}
	logr.FromContextOrDiscard(ctx).Info("Rules looked at", "policySet", set.Name, "inForce", d.Revision, "newest", d.Newest, "refused", fmt.Sprint(d.Refused))
}
