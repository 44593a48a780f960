package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"gitgate.dev/gitgate/policy/gate"
)

// Labels and annotations that this package reads and writes.
const (
	// OwnerNameLabel and OwnerNamespaceLabel name the GitSync that an object
	// belongs to. Every applied object bears both.
	OwnerNameLabel      = "gitgate.dev/name"
	OwnerNamespaceLabel = "gitgate.dev/namespace"
	// PruneAnnotation with the value Disabled keeps an object that Git drops.
	PruneAnnotation = "gitgate.dev/prune"
	// ForceAnnotation with the value Enabled lets an object be recreated when
	// an immutable field changes.
	ForceAnnotation = "gitgate.dev/force"
	// FieldManager is the name under which fields are owned.
	FieldManager = "gitgate"
)

// An Owner names the GitSync that objects belong to.
type Owner struct{ Namespace, Name string }

// String returns namespace/name.
func (o Owner) String() string { return o.Namespace + "/" + o.Name }

// An Identity says as whom a plan is written. The zero value is refused: whoever
// makes a plan decides, and an empty service account name never becomes the
// controller's own identity by accident (CVE-2026-23990).
type Identity struct {
	decided bool
	user    string // empty means ourselves
}

// Ourselves is the identity of the process itself, without impersonation.
func Ourselves() Identity { return Identity{decided: true} }

// errIdentity means that nobody decided as whom to write.
var errIdentity = errors.New("no identity to apply with: set spec.serviceAccountName")

// ServiceAccount impersonates a service account. It fails on a name or a
// namespace that is empty or could not be a service account's.
func ServiceAccount(namespace, name string) (Identity, error) {
	if name == "" || namespace == "" {
		return Identity{}, errIdentity
	}
	if errs := validation.IsDNS1123Label(namespace); len(errs) > 0 {
		return Identity{}, fmt.Errorf("service account namespace %q: %s", namespace, errs[0])
	}
	if errs := validation.IsDNS1123Subdomain(name); len(errs) > 0 {
		return Identity{}, fmt.Errorf("service account %q: %s", name, errs[0])
	}
	return Identity{decided: true, user: "system:serviceaccount:" + namespace + ":" + name}, nil
}

// String returns the impersonated user, or "gitgate" for the process itself.
func (i Identity) String() string {
	switch {
	case !i.decided:
		return "undecided"
	case i.user == "":
		return "gitgate"
	}
	return i.user
}

// An IgnoreRule leaves fields to others: what is at Paths is applied when an
// object is created and never again touched or compared.
type IgnoreRule struct {
	// Paths are JSON pointers (RFC 6901), as in /spec/replicas.
	Paths []string
	// Target selects the objects. The zero value selects all.
	Target Selector
	// Undeclared limits the rule to what the manifest leaves out at and below the
	// paths. That is never written.
	Undeclared bool
}

// A Selector selects objects. Empty fields match everything. Name and Namespace
// are exact. The label selector is in kubectl's syntax and reads the manifest.
type Selector struct {
	Group, Version, Kind, Namespace, Name string
	LabelSelector, AnnotationSelector     string
}

// A HealthExpr says in CEL when objects of a kind are healthy. The variables are
// apiVersion, kind, metadata, spec, status and data of the object. Failed is
// asked first, then InProgress, then Current; Current is mandatory.
type HealthExpr struct {
	APIVersion, Kind            string
	Current, InProgress, Failed string
}

// A Plan is what one owner wants in the cluster. Fill in the exported fields,
// then hand the same *Plan to [Applier.DryRun], [Applier.Deletions],
// [Applier.Apply] and [Applier.Wait] in this order. A Plan is used once, by one
// goroutine, and does not change the objects in it.
type Plan struct {
	Owner    Owner
	Identity Identity
	// Revision is what is applied, for progress and events.
	Revision string
	// Objects are the decrypted objects of the release. Their content must not
	// change any more: an object that an earlier plan of the same owner had, by
	// the same pointer, is taken to be as it was then.
	Objects []gate.Object
	// Confine, if not empty, is the only namespace that may be touched, also
	// when pruning; cluster-scoped objects are refused.
	Confine string
	// Namespace is that of namespaced objects which name none. Empty means
	// Owner.Namespace.
	Namespace string
	Ignore    []IgnoreRule
	// Health overrides how the health of some kinds is told.
	Health []HealthExpr
	// Previous is the inventory on record. What it has and Objects have not is
	// pruned if Prune is set.
	Previous Inventory
	Prune    bool
	// Force recreates objects whose immutable fields change.
	Force bool
	// Record persists an inventory. It is called before the first write, with
	// everything that may exist from then on, and only when that differs from
	// Previous; no write happens if it fails. Nil is allowed in tests only.
	Record func(context.Context, Inventory) error
	// OnProgress, if not nil, is called as objects are done; calls do not overlap.
	OnProgress func(Progress)

	prepared *prepared
}

// Progress counts the objects of a plan.
type Progress struct {
	Stage       string // of the objects being written: see Stages
	Done, Total int
}

// An Action is what became of an object.
type Action string

// The actions.
const (
	Unchanged Action = "unchanged"
	Created   Action = "created"
	Updated   Action = "updated"
	Recreated Action = "recreated"
	Deleted   Action = "deleted"
	Kept      Action = "kept" // left by prune: not ours any more, or pruning is disabled on it
)

// An Outcome is what became of one object.
type Outcome struct {
	Object string // as gate.ObjectID has it
	Action Action
}

// A Result is what Apply did.
type Result struct {
	// Outcomes has every object that was written or deleted, not the unchanged.
	Outcomes []Outcome
	// Unchanged counts the objects that needed nothing.
	Unchanged int
	// Inventory is what to record now: the plan's objects after success, and
	// everything that may exist after a failure.
	Inventory Inventory
	// Elapsed is the time that Apply took.
	Elapsed time.Duration
}

// A Deletion is a live object that a plan would delete.
type Deletion struct {
	// Object is the live object. The values of Secrets are removed.
	Object *unstructured.Unstructured
	// Recreate means that it would be deleted only to be made anew.
	Recreate bool
}
