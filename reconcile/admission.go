package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// AdmissionRules keeps the rules up to date that judge at admission what no
// GitSync declares: PolicySets and TrustPolicies whose admission is not Off.
type AdmissionRules struct {
	// Client reads our own kinds from the cache, Direct ConfigMaps without one.
	Client client.Reader
	Direct client.Reader
	// Rules knows the rules of PolicySets that come from elsewhere, and Changes tells
	// when they are others.
	Rules   RuleSource
	Changes <-chan event.TypedGenericEvent[*v1alpha1.PolicySet]
	// SystemNamespace is gitgate's own.
	SystemNamespace string
	// Build takes the PolicySets that judge at admission and all TrustPolicies.
	// When it fails the former rules stay.
	Build func(context.Context, []PolicyInput, []v1alpha1.TrustPolicy) error
}

// SetupWithManager registers the controller. Every replica runs it.
func (a *AdmissionRules) SetupWithManager(mgr ctrl.Manager) error {
	all := false
	one := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{}} // whatever changed, the rules are made anew
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("admissionrules").
		Watches(&v1alpha1.PolicySet{}, one, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.TrustPolicy{}, one, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.TypedChannel(a.Changes, handler.TypedEnqueueRequestsFromMapFunc(
			func(context.Context, *v1alpha1.PolicySet) []reconcile.Request { return []reconcile.Request{{}} }))).
		WithOptions(controller.Options{NeedLeaderElection: &all}).
		Complete(a)
}

// Reconcile makes the rules anew. A PolicySet whose modules cannot be read leaves
// all former rules in force.
func (a *AdmissionRules) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	var sets v1alpha1.PolicySetList
	if err := a.Client.List(ctx, &sets); err != nil {
		return ctrl.Result{}, err
	}
	var trusts v1alpha1.TrustPolicyList
	if err := a.Client.List(ctx, &trusts); err != nil {
		return ctrl.Result{}, err
	}
	r := resolver{direct: a.Direct, system: a.SystemNamespace, rules: a.Rules}
	var in []PolicyInput
	var bad []error
	again := ctrl.Result{}
	for _, s := range sets.Items {
		if s.Spec.Admission == "" || s.Spec.Admission == v1alpha1.ModeOff {
			continue
		}
		p := PolicyInput{Set: s.DeepCopy()}
		if err := r.policyModules(ctx, &p); err != nil {
			bad = append(bad, fmt.Errorf("PolicySet %s: %w", s.Name, err))
			p.Modules = map[string]string{"unreadable.rego": err.Error(), "unreadable.yaml": err.Error()} // no format takes them
		}
		if err := r.remoteRules(ctx, &p, nil); err != nil {
			bad = append(bad, fmt.Errorf("PolicySet %s: %w", s.Name, err)) // and the former rules stay until it can be told
		}
		if s.Spec.Source.ConfigMapRef != nil {
			again.RequeueAfter = modulesInterval // ConfigMaps are not watched
		}
		in = append(in, p)
	}
	slices.SortFunc(in, func(x, y PolicyInput) int { return strings.Compare(x.Set.Name, y.Set.Name) })
	return again, errors.Join(append(bad, a.Build(ctx, in, trusts.Items))...)
}

// Start makes the rules once where there is neither PolicySet nor TrustPolicy to
// cause it.
func (a *AdmissionRules) Start(ctx context.Context) error {
	_, err := a.Reconcile(ctx, ctrl.Request{})
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "The rules for admission cannot be made yet")
	}
	return nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (a *AdmissionRules) NeedLeaderElection() bool { return false }
