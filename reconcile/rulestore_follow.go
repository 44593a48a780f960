package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/verify/image"
)

// ruleRetry is how soon a source that failed is asked again; see [backoff].
const ruleRetry = 5 * time.Second

// followTime bounds one look at a source, with all that verifying and loading takes.
const followTime = 5 * time.Minute

// A RuleState is what came of a look at the source of a set.
type RuleState struct {
	// InForce are the rules in force, and Since when; nil for none.
	InForce *RemoteRules
	Since   time.Time
	// Withheld is why there are none.
	Withheld *WithheldError
	// Newest is the newest version that the source has, if it could be asked.
	Newest string
	// Refused is why the newest version is not in force, or why it is not known;
	// empty when it is in force. Unknown tells the latter.
	Refused verdict.Reason
	Unknown bool
	Message string
	// Next is when to look again.
	Next time.Duration
}

// Follow asks the remote of a set for a newer version and puts it in force if it is
// verified and loads. It must not run twice at once for one set.
func (s *RuleStore) Follow(ctx context.Context, set *v1alpha1.PolicySet) (RuleState, error) {
	ctx, cancel := context.WithTimeout(ctx, followTime)
	defer cancel()
	h := s.held(set.Name)
	state := RuleState{Next: set.Spec.Source.IntervalOrDefault()}
	h.mu.Lock()
	in, err := s.refresh(ctx, set, h)
	fingerprint := h.fingerprint
	h.mu.Unlock()
	var held *WithheldError
	if err != nil && !errors.As(err, &held) {
		return state, err
	}
	if held == nil { // whom to trust is known
		newest, err := s.advance(ctx, set, in, h, fingerprint)
		if ctx.Err() != nil && err != nil {
			err = ruleErrorf(verdict.SourceUnavailable, "not done within %s", followTime)
		}
		state.Newest = newest
		s.conclude(h, set, &state, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	state.InForce, state.Since, state.Withheld = h.rules, h.since, h.why
	return state, nil
}

// conclude says in the state why the newest version is not in force, if it is not.
func (s *RuleStore) conclude(h *heldRules, set *v1alpha1.PolicySet, state *RuleState, err error) {
	if err == nil {
		h.failures = 0
		return
	}
	var refused *refusal
	if errors.As(err, &refused) {
		state.Refused, state.Message = refused.reason, refused.message
	} else {
		state.Refused, state.Message = reasonOf(err)
		state.Unknown = true
	}
	if refused == nil || !refused.final {
		h.failures++
		state.Next = backoff(h.failures, ruleRetry, state.Next)
	} else {
		h.failures = 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rules == nil {
		h.why = withheld(set, state.Refused, "%s", state.Message)
	}
}

// advance asks for the newest version, and puts it in force. The error is a
// [*refusal] if it must not be, and any other if that is not known.
func (s *RuleStore) advance(ctx context.Context, set *v1alpha1.PolicySet, in Inputs, h *heldRules, fingerprint string) (newest string, err error) {
	question, newest, verify, err := s.fetch(ctx, set, in, h)
	if err != nil {
		return "", err
	}
	question += fmt.Sprint(fingerprint, set.Generation)
	if h.refused.final && h.refused.question == question {
		return newest, &h.refused
	}
	h.mu.Lock()
	current := h.rules
	h.mu.Unlock()
	if current != nil && current.Revision == newest {
		return newest, nil
	}
	c, err := verify()
	if err == nil {
		err = s.loads(ctx, set, c.rules)
	}
	if ctx.Err() != nil {
		return newest, ctx.Err()
	}
	if err != nil {
		refused := refusalOf(question, newest, err)
		if refused.reason == verdict.PolicyError && set.Spec.Source.ConfigMapRef != nil {
			refused.final = false // the other half may be mended
		}
		h.refused = *refused
		return newest, refused
	}
	return newest, s.accept(set, h, fingerprint, c)
}

// accept puts a version in force, on disk first.
func (s *RuleStore) accept(set *v1alpha1.PolicySet, h *heldRules, fingerprint string, c *candidate) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fingerprint != fingerprint {
		return errors.New("the source or its trust changed meanwhile: it is asked again")
	}
	if err := c.record(); err != nil {
		return fmt.Errorf("%s could not be remembered: %w", c.rules.Revision, err)
	}
	s.put(set, h, fingerprint, c.rules, nil)
	h.refused = refusal{}
	return nil
}

// refusalOf is why a version is not taken.
func refusalOf(question, revision string, err error) *refusal {
	reason, message := reasonOf(err)
	return &refusal{
		question: question, reason: reason, final: finalRefusal(err),
		message: fmt.Sprintf("%s is refused: %s", revision, message),
	}
}

// finalRefusal reports whether the same version would be refused again.
func finalRefusal(err error) bool {
	var trust *commitError
	if errors.As(err, &trust) {
		return judgement{verdict: verdict.Verdict{Findings: trust.findings}}.final()
	}
	var registry *image.Error
	if errors.As(err, &registry) {
		return false // a signature may come later than what it signs
	}
	var rule *ruleError
	return errors.As(err, &rule) && rule.reason != verdict.SourceUnavailable && rule.reason != verdict.RegistryUnavailable
}

func (r *refusal) Error() string { return r.message }

// fetch asks the remote of a set. What it returns to verify with is not called when
// the question was answered before.
func (s *RuleStore) fetch(ctx context.Context, set *v1alpha1.PolicySet, in Inputs, h *heldRules) (question, revision string, verify func() (*candidate, error), err error) {
	if set.Spec.Source.Git != nil {
		return s.fetchGit(ctx, set, in, h)
	}
	return s.fetchOCI(ctx, set)
}

// A RuleFollower keeps a [RuleStore] up to date in a process that tells nobody of it: a
// replica of the webhook.
type RuleFollower struct {
	Client client.Reader
	Rules  *RuleStore
	// Metrics count; nil counts nothing.
	Metrics *RuleMetrics
}

// SetupWithManager registers the controller. Every replica runs it.
func (f *RuleFollower) SetupWithManager(mgr ctrl.Manager) error {
	all := false
	return policySetController(mgr, "policysources", f.Client).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4, NeedLeaderElection: &all}).
		Complete(f)
}

// Reconcile looks at the source of one set.
func (f *RuleFollower) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var set v1alpha1.PolicySet
	err := f.Client.Get(ctx, req.NamespacedName, &set)
	if client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	if err != nil || !set.Spec.Source.Remote() {
		f.Rules.Forget(req.Name)
		f.Metrics.forget(req.Name)
		return ctrl.Result{}, nil
	}
	state, err := f.Rules.Follow(ctx, &set)
	if err != nil {
		return ctrl.Result{}, err
	}
	f.Metrics.observe(&set, state)
	if state.Refused != "" {
		logr.FromContextOrDiscard(ctx).Info("The newest rules are not in force", "policySet", set.Name, "reason", state.Message)
	}
	return ctrl.Result{RequeueAfter: state.Next}, nil
}
