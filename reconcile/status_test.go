package reconcile

import (
	"errors"
	"fmt"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/source"
)

const testRevision = "main@sha1:1"

// judgedSync is the status of a GitSync whose revision was judged.
func judgedSync(v verdict.Verdict) *v1alpha1.GitSync {
	s := &v1alpha1.GitSync{}
	s.Status.LastAppliedRevision = testRevision
	s.Status.LastVerdict = verdictStatus(v)
	setConditions(s, verified(testRevision))
	return s
}

// What the status says of a revision must not outlive the knowledge that it is the
// newest: beside Ready=False an old verdict that allows would mislead.
func TestRefusalTakesAllowingVerdictBack(t *testing.T) {
	deny := verdict.Finding{Stage: verdict.StageCommit, Reason: verdict.UnsignedCommit, Severity: verdict.Deny}
	source := &source.Error{Op: "list", Reason: source.MalformedObject, Err: errors.New("the remote lies")}
	for name, tc := range map[string]struct {
		reason  string
		out     outcome
		before  verdict.Verdict
		kept    bool
		verdict metav1.ConditionStatus
	}{
		"Source":       {"The source is refused.", sourceOutcome(source), verdictOf(), false, metav1.ConditionUnknown},
		"SourceSecret": {"Its credentials are.", sourceOutcome(specErrorf(verdict.SourceUnavailable, "no")), verdictOf(), false, metav1.ConditionUnknown},
		"Spec":         {"Nobody is trusted any more.", specOutcome(specErrorf(verdict.RepositoryNotTrusted, "no")), verdictOf(), false, metav1.ConditionUnknown},
		"Unreadable":   {"The inputs cannot be read.", specOutcome(errors.New("the API server is away")), verdictOf(), false, metav1.ConditionUnknown},
		"Denied":       {"A denial allows nothing.", sourceOutcome(source), verdictOf(deny), true, metav1.ConditionUnknown},
		"Failed":       {"A release that was judged and not applied was judged.", failed("X", "y"), verdictOf(), true, metav1.ConditionTrue},
	} {
		t.Run(name, func(t *testing.T) {
			a := &attempt{sync: judgedSync(tc.before)}
			a.conclude(tc.out)
			if got := a.sync.Status.LastVerdict != nil; got != tc.kept {
				t.Errorf("%s\nthe verdict is kept: %t", tc.reason, got)
			}
			c := meta.FindStatusCondition(a.sync.Status.Conditions, v1alpha1.ConditionVerified)
			if c == nil || c.Status != tc.verdict {
				t.Errorf("%s\nVerified is %+v, want %s", tc.reason, c, tc.verdict)
			}
		})
	}
}

// When the source answers again and its head is what is applied, the verdict on it
// comes back; that on another revision does not.
func TestSteadyBringsVerdictBack(t *testing.T) {
	head := plumbing.NewHash("1111111111111111111111111111111111111111")
	for name, tc := range map[string]struct {
		judged verdict.Verdict
		want   bool
	}{
		"Same":  {verdictOf(), true},
		"Other": {verdict.NewBuilder("main@sha1:2", verdict.StageCommit).Verdict(), false},
	} {
		t.Run(name, func(t *testing.T) {
			a := &attempt{sync: judgedSync(verdictOf()), session: &session{applied: head}}
			a.session.judged = judgement{question{head: head}, tc.judged}
			a.conclude(sourceOutcome(errors.New("away")))
			a.conclude(a.steady())
			v := a.sync.Status.LastVerdict
			if (v != nil) != tc.want || tc.want && (!v.Allowed || v.Revision != testRevision) {
				t.Errorf("verdict %+v", v)
			}
			if c := meta.FindStatusCondition(a.sync.Status.Conditions, v1alpha1.ConditionVerified); c.Status != metav1.ConditionTrue {
				t.Errorf("Verified is %+v", c)
			}
		})
	}
}

// Whose fault it is that there is no gate is told by who makes gates; what names
// nobody is our own.
func TestGateErrorReason(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want verdict.Reason
	}{
		{&InputError{verdict.TrustInvalid, errors.New("no key")}, verdict.TrustInvalid},
		{fmt.Errorf("rules: %w", &InputError{verdict.PolicyError, errors.New("no rule")}), verdict.PolicyError},
		{errors.New("a stage is missing"), verdict.Internal},
	} {
		out := specOutcome(gateError(tc.err))
		if out.reason != string(tc.want) || !out.stalled || out.message != tc.err.Error() {
			t.Errorf("%v gives %+v, want %s", tc.err, out, tc.want)
		}
	}
}
