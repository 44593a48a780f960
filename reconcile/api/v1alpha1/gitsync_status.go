package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The conditions of a GitSync.
const (
	// ConditionReady is True when the newest revision is applied and, with
	// spec.wait, healthy.
	ConditionReady = "Ready"
	// ConditionReconciling is True while gitgate is at work or will try again.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True when only a change of the GitSync or of what it
	// refers to can help.
	ConditionStalled = "Stalled"
	// ConditionVerified is True when the newest revision passed every gate, and
	// Unknown while that is not known or nobody can judge it.
	ConditionVerified = "Verified"
	// ConditionHealthy is True when every applied object was healthy.
	ConditionHealthy = "Healthy"
)

// The reasons of conditions, beside the reasons of findings.
const (
	ReasonReconciliationSucceeded = "ReconciliationSucceeded"
	ReasonReconciliationFailed    = "ReconciliationFailed"
	ReasonProgressing             = "Progressing"
	ReasonProgressingWithRetry    = "ProgressingWithRetry"
	ReasonDependencyNotReady      = "DependencyNotReady"
	ReasonHealthCheckFailed       = "HealthCheckFailed"
	ReasonPruneFailed             = "PruneFailed"
	ReasonSuspended               = "Suspended"
	ReasonInvalidSpec             = "InvalidSpec"
	ReasonVerified                = "Verified"
	ReasonQuarantined             = "Quarantined"
)

const (
	// RequestedAtAnnotation asks for a reconciliation now; any new value counts.
	RequestedAtAnnotation = "gitgate.dev/requestedAt"
	// NameLabel and NamespaceLabel say which GitSync an object belongs to.
	NameLabel      = "gitgate.dev/name"
	NamespaceLabel = "gitgate.dev/namespace"
	// Finalizer keeps a GitSync until what it applied is pruned.
	Finalizer = "gitgate.dev/finalizer"
)

// GitSyncStatus is what gitgate last saw and did.
type GitSyncStatus struct {
	// ObservedGeneration is the generation of the spec that was last reconciled.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions tell Ready, Reconciling, Stalled, Verified and Healthy.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// LastAttemptedRevision is the newest revision that was judged, as in
	// main@sha1:<hash>.
	// +optional
	LastAttemptedRevision string `json:"lastAttemptedRevision,omitempty"`
	// LastAppliedRevision is the revision that was last applied as a whole.
	// +optional
	LastAppliedRevision string `json:"lastAppliedRevision,omitempty"`
	// LastHandledReconcileAt is the value of the gitgate.dev/requestedAt
	// annotation that was last acted upon.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
	// Inventory lists the objects that were applied. It is written before the
	// first object is.
	// +optional
	Inventory *Inventory `json:"inventory,omitempty"`
	// LastVerdict is the answer of the gate to the newest revision.
	// +optional
	LastVerdict *VerdictStatus `json:"lastVerdict,omitempty"`
	// Lock says which replicas of the webhook hold writes to which revision.
	// +optional
	Lock *LockStatus `json:"lock,omitempty"`
	// History holds the last applied revisions, newest first.
	// +kubebuilder:validation:MaxItems=5
	// +listType=atomic
	// +optional
	History []Snapshot `json:"history,omitempty"`
}

// VerdictStatus is a verdict in short.
type VerdictStatus struct {
	// Revision that was judged.
	Revision string `json:"revision"`
	// Allowed says whether it passed every gate.
	Allowed bool `json:"allowed"`
	// Undetermined says that it was refused only because something could not be
	// decided, such as with a registry that does not answer.
	// +optional
	Undetermined bool `json:"undetermined,omitempty"`
	// Objects counts what was judged.
	// +optional
	Objects int `json:"objects,omitempty"`
	// Denied counts the findings that deny.
	// +optional
	Denied int `json:"denied,omitempty"`
	// Undecided counts the findings that could not decide.
	// +optional
	Undecided int `json:"undecided,omitempty"`
	// Warned counts the warnings.
	// +optional
	Warned int `json:"warned,omitempty"`
	// Findings are the first ten, worst first.
	// +kubebuilder:validation:MaxItems=10
	// +listType=atomic
	// +optional
	Findings []FindingStatus `json:"findings,omitempty"`
}

// FindingStatus is one finding of a verdict.
type FindingStatus struct {
	// Stage that spoke: commit, render, image, policy, secret or apply.
	Stage string `json:"stage"`
	// Reason is a stable code for what was found.
	Reason string `json:"reason"`
	// Severity is deny, undetermined, warn or info. The first two refuse.
	Severity string `json:"severity"`
	// Message says what is wrong and what to do.
	Message string `json:"message"`
	// Object at fault, as in namespace/Kind.group/name.
	// +optional
	Object string `json:"object,omitempty"`
	// File in the repository.
	// +optional
	File string `json:"file,omitempty"`
	// Line in the file, from 1.
	// +optional
	Line int `json:"line,omitempty"`
	// Field at fault, as in spec.replicas.
	// +optional
	Field string `json:"field,omitempty"`
	// Policy is the rule that spoke.
	// +optional
	Policy string `json:"policy,omitempty"`
	// Signer or key at fault.
	// +optional
	Signer string `json:"signer,omitempty"`
	// Image at fault.
	// +optional
	Image string `json:"image,omitempty"`
	// Commit at fault.
	// +optional
	Commit string `json:"commit,omitempty"`
}

// Snapshot is one applied revision.
type Snapshot struct {
	// Revision that was applied.
	Revision string `json:"revision"`
	// AppliedAt is when.
	AppliedAt metav1.Time `json:"appliedAt"`
	// Objects counts what it declares.
	Objects int `json:"objects"`
	// Author of the head commit.
	// +optional
	Author string `json:"author,omitempty"`
	// Signer of the head commit.
	// +optional
	Signer string `json:"signer,omitempty"`
}

// PruneEnabled says whether objects that Git drops are deleted.
func (g *GitSync) PruneEnabled() bool { return g.Spec.Prune == nil || *g.Spec.Prune }

// IntervalOrDefault is spec.interval, or a minute.
func (g *GitSync) IntervalOrDefault() time.Duration { return orDefault(g.Spec.Interval, time.Minute) }

// TimeoutOrDefault is spec.timeout, or five minutes.
func (g *GitSync) TimeoutOrDefault() time.Duration { return orDefault(g.Spec.Timeout, 5*time.Minute) }

// RetryIntervalOrDefault is spec.retryInterval, or five seconds.
func (g *GitSync) RetryIntervalOrDefault() time.Duration {
	return orDefault(g.Spec.RetryInterval, 5*time.Second)
}

func orDefault(d *metav1.Duration, standard time.Duration) time.Duration {
	if d == nil || d.Duration <= 0 {
		return standard
	}
	return d.Duration
}
