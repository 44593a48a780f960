package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

const (
	maxStatusFindings = 10
	maxHistory        = 5
	maxMessage        = 1024 // bytes of a condition's message
	maxField          = 512  // bytes of the other texts of a finding, which repository and registry chose
)

// A condition is what one attempt has to say about one aspect.
type condition struct {
	kind    string
	status  metav1.ConditionStatus
	reason  string
	message string
}

// setConditions sets conditions and returns those whose status, reason or message
// changed.
func setConditions(sync *v1alpha1.GitSync, conditions ...condition) (changed []condition) {
	for _, c := range conditions {
		message := truncate(c.message, maxMessage)
		old := meta.FindStatusCondition(sync.Status.Conditions, c.kind)
		if old == nil || old.Status != c.status || old.Reason != c.reason || old.Message != message {
			changed = append(changed, c)
		}
		meta.SetStatusCondition(&sync.Status.Conditions, metav1.Condition{
			Type: c.kind, Status: c.status, Reason: c.reason, Message: message,
			ObservedGeneration: sync.Generation,
		})
	}
	return changed
}

func removeConditions(sync *v1alpha1.GitSync, kinds ...string) {
	for _, k := range kinds {
		meta.RemoveStatusCondition(&sync.Status.Conditions, k)
	}
}

func truncate(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-len("…")], "") + "…" // never half a character
}

// verdictStatus is a verdict in short, for the status.
func verdictStatus(v verdict.Verdict) *v1alpha1.VerdictStatus {
	out := &v1alpha1.VerdictStatus{
		Revision: v.Revision, Allowed: v.Allowed(), Undetermined: v.Undetermined(), Objects: v.Objects,
	}
	for _, f := range v.Findings {
		switch {
		case f.Severity == verdict.Undetermined:
			out.Undecided++
		case f.Severity.Blocks():
			out.Denied++
		case f.Severity == verdict.Warn:
			out.Warned++
		}
		if len(out.Findings) < maxStatusFindings {
			out.Findings = append(out.Findings, v1alpha1.FindingStatus{
				Stage: string(f.Stage), Reason: string(f.Reason), Severity: string(f.Severity),
				Message: truncate(f.Message, maxMessage), Object: truncate(f.Object, maxField),
				File: truncate(f.File, maxField), Line: f.Line, Field: truncate(f.Field, maxField),
				Policy: truncate(f.Policy, maxField), Signer: truncate(f.Signer, maxField),
				Image: truncate(f.Image, maxField), Commit: truncate(f.Commit, maxField),
			})
		}
	}
	return out
}

// deniedMessage says in a condition why a revision is quarantined and what runs
// instead.
func deniedMessage(v verdict.Verdict, applied string) string {
	still := "nothing is applied yet"
	if applied != "" {
		still = applied + " stays applied"
	}
	return fmt.Sprintf("revision %s is quarantined, %s: %s", v.Revision, still, v.Summary())
}

// record adds an applied revision to the history.
func record(sync *v1alpha1.GitSync, s v1alpha1.Snapshot, now time.Time) {
	s.AppliedAt = metav1.NewTime(now.UTC().Truncate(time.Second))
	history := sync.Status.History
	if len(history) > 0 && history[0].Revision == s.Revision {
		history = history[1:]
	}
	history = append([]v1alpha1.Snapshot{s}, history...)
	sync.Status.History = history[:min(len(history), maxHistory)]
}

func sameStatus(a, b *v1alpha1.GitSync) bool {
	x, y := withoutInventory(a), withoutInventory(b)
	return sameInventory(a, b) && equality.Semantic.DeepEqual(x.Status, y.Status)
}

func sameInventory(a, b *v1alpha1.GitSync) bool {
	x, y := a.Status.Inventory, b.Status.Inventory
	if x == nil || y == nil {
		return x == y
	}
	return slices.Equal(x.Entries, y.Entries)
}

// withoutInventory returns a shallow copy.
func withoutInventory(sync *v1alpha1.GitSync) *v1alpha1.GitSync {
	out := *sync
	out.Status.Inventory = nil
	return &out
}

// statusPatch is the merge patch from one status to the other. An inventory that
// stays as it is is not even looked into: it grows with the release.
func statusPatch(from, to *v1alpha1.GitSync) ([]byte, error) {
	if sameInventory(from, to) {
		from, to = withoutInventory(from), withoutInventory(to)
	}
	return client.MergeFrom(from).Data(to)
}

// unjudged takes back what the status says of the newest revision while that is
// not known, or nobody can judge it: a verdict that allows an older one would read
// as if it still counted. A denial stays; until there is another answer nothing
// gets better than it.
func unjudged(sync *v1alpha1.GitSync, reason, message string) {
	if v := sync.Status.LastVerdict; v != nil && v.Allowed {
		sync.Status.LastVerdict = nil
	}
	setConditions(sync, condition{v1alpha1.ConditionVerified, metav1.ConditionUnknown, reason, "the newest revision is not judged: " + message})
}

// judgedAgain puts the verdict on the applied revision back after [unjudged].
func judgedAgain(sync *v1alpha1.GitSync, v verdict.Verdict) {
	if v.Revision == sync.Status.LastAppliedRevision && sync.Status.LastVerdict == nil {
		sync.Status.LastVerdict = verdictStatus(v)
	}
}
