package lock

import (
	"context"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/policy/verdict"
)

// A Mode says what the lock does about a write that it does not agree with.
type Mode string

// The modes. Any other value, the empty one included, counts as Enforce.
const (
	// Off leaves the objects of a release alone.
	Off Mode = "Off"
	// Audit lets the write pass with a warning.
	Audit Mode = "Audit"
	// Enforce refuses it.
	Enforce Mode = "Enforce"
)

// Strictest returns the strictest of modes, always one of the three: Off if there
// are none, Enforce for what is not known.
func Strictest(modes ...Mode) Mode {
	strictest := Off
	for _, m := range modes {
		if m.rank() > strictest.rank() {
			strictest = m
		}
	}
	if strictest.rank() == Enforce.rank() {
		return Enforce
	}
	return strictest
}

func (m Mode) rank() int {
	switch m {
	case Off:
		return 0
	case Audit:
		return 1
	}
	return 2
}

// A Release is one verified revision of a GitSync, complete. It must not change
// once it was accepted.
type Release struct {
	Sync types.NamespacedName
	// Revision is what was verified, as in main@sha1:<hex>.
	Revision string
	Mode     Mode
	// Namespaces are closed: what Git does not know is refused in them.
	Namespaces  []string
	Delegations []Delegation
	// Confined means that the GitSync has no say outside of its own namespace: whom it
	// names elsewhere is nobody that the lock protects.
	Confined bool
	// Writer is the user that applies the release.
	Writer string
	// Secrets are the names of those in its own namespace that the GitSync's spec
	// refers to. They may be there without being in Git.
	Secrets []string
	Objects []Object
	// Images are what Pods may run beside the very references in Objects. Nil
	// means that no image was verified, and then none is asked for.
	Images []VerifiedImage
	// Force means that its writer may delete an object to make it anew, where it
	// differs from Git in what cannot be changed. The annotation gitgate.dev/force
	// with the value Enabled says it of one object.
	Force bool
	// Applied means that the release is in the cluster: what the previous one says
	// is no longer acceptable.
	Applied bool
	// Refused is why no gate lets the revision pass any more that is in force; empty
	// means that one does.
	Refused string
}

// An Object is one object of a release.
type Object struct {
	Kind            desired.Kind
	Resource        schema.GroupVersionResource
	Namespace, Name string
	// Manifest is what Git says, G. The values of a Secret are sealed.
	Manifest *unstructured.Unstructured
	// Desired is what the API server makes of it, D: normalised, and sealed for a
	// Secret. Nil means that it cannot be told yet, as while the release's own
	// CustomResourceDefinition is not served; changes are then pending.
	Desired map[string]any
	// Declared are the paths that the manifest declares. Nil means its own fields
	// with lists as a whole.
	Declared *fieldpath.Set
	// Ignore are the paths that Git leaves to everybody.
	Ignore [][]string
	// File and Line say where Git says so.
	File string
	Line int
	// Live means that nobody vouches for the release: Manifest and Desired are what was
	// live. Nothing is made anew by it, and Pods of the object may run its own images.
	Live bool
	// Frozen is why the object stays as it is, with Desired being nil: only controllers
	// write what is theirs.
	Frozen string
	// Autoscaled means, where Live is set, that Git leaves the replicas to an autoscaler.
	Autoscaled bool
}

// A Delegation lets a user write what Git leaves out. Only a verified commit, or
// a GitSync that the lock protects, may grant one.
type Delegation struct {
	// Writer is a user name.
	Writer string
	Target Target
	// Paths in segments. None means objects as a whole, but only those that Git
	// does not declare: the writer may create, change and delete them.
	Paths [][]string
}

// A Target selects objects. Empty fields select everything.
type Target struct{ Group, Kind, Namespace, Name string }

func (t Target) selects(gk schema.GroupKind, namespace, name string) bool {
	for _, f := range [...][2]string{{t.Group, gk.Group}, {t.Kind, gk.Kind}, {t.Namespace, namespace}, {t.Name, name}} {
		if f[0] != "" && f[0] != f[1] {
			return false
		}
	}
	return true
}

// A VerifiedImage is an image of which a replica has evidence.
type VerifiedImage struct {
	// Repository is registry and path, normalised.
	Repository string
	// Tag is the tag in Git that was resolved to the digest, latest if Git names
	// none. It is empty where Git itself names the digest; then no other digest
	// stands in for it.
	Tag string
	// Digest is as in sha256:<hex>.
	Digest string
}

// Owners finds live objects by informers. What it returns is shared: read only.
type Owners interface {
	// Owner returns the live object. An empty uid is any.
	Owner(gvk schema.GroupVersionKind, namespace, name string, uid types.UID) (object map[string]any, ok bool)
}

// Grants knows the break-glass grants that are in force.
type Grants interface {
	// Covers returns the name of a grant that covers the request.
	Covers(ctx context.Context, req *admissionv1.AdmissionRequest) (grant string, ok bool)
}

// Judge judges what Git does not know where that is not refused.
type Judge interface {
	Judge(ctx context.Context, req *admissionv1.AdmissionRequest) []verdict.Finding
}

// An Answer is a decision. The zero Answer denies.
type Answer struct {
	Allowed bool
	// Pending means that the same request may pass later: HTTP 503 with
	// Retry-After rather than 403.
	Pending bool
	Reason  verdict.Reason
	// Message is what whoever asked is shown.
	Message  string
	Warnings []string
	Findings []verdict.Finding
	// Grant is the break-glass grant without which the request were denied.
	Grant string
	// Sync and Revision say whose word decided, where a GitSync's did.
	Sync     types.NamespacedName
	Revision string
	// Refused is why Revision does not pass any more, if it is held nevertheless.
	Refused string
	// Mode is the mode that the decision was made in: empty where no lock applies.
	Mode Mode
	// Matched says which part of the lock decided.
	Matched Matched
}

// A Matched names a part of the lock, for the decision log and metrics.
type Matched string

// The parts of the lock.
const (
	MatchedNone      Matched = ""          // not decided
	MatchedManaged   Matched = "managed"   // Git declares it
	MatchedDerived   Matched = "derived"   // a controller's child
	MatchedSide      Matched = "side"      // what controllers keep beside objects
	MatchedDelegated Matched = "delegated" // Git leaves the whole object to the writer
	MatchedClosed    Matched = "closed"    // in a closed namespace, unknown to Git
	MatchedOpen      Matched = "open"      // not the lock's: images and policy decide
	MatchedIdentity  Matched = "identity"  // who could become a protected identity
	MatchedSystem    Matched = "system"    // gitgate's own objects
	MatchedDryRun    Matched = "dryrun"    // the dry-run account
)
