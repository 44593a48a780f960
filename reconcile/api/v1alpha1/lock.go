package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// The modes of a lock, and of rules at admission.
const (
	// ModeOff leaves writes alone.
	ModeOff = "Off"
	// ModeAudit lets every write pass and reports those that Enforce refuses.
	ModeAudit = "Audit"
	// ModeEnforce refuses.
	ModeEnforce = "Enforce"
)

// Lock makes Git the only way to change what a GitSync declares.
type Lock struct {
	// Mode is Off, Audit (let pass, but warn, log and count) or Enforce.
	// +kubebuilder:validation:Enum=Off;Audit;Enforce
	// +kubebuilder:default=Off
	// +optional
	Mode string `json:"mode,omitempty"`

	// Namespaces that hold only what Git declares and what follows from it: other
	// writes in them are refused. Outside of gitgate's own namespace it can name
	// nothing but the GitSync's namespace.
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=63
	// +listType=set
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`

	// Delegations say who else may write which fields, such as an autoscaler or an
	// injector.
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +optional
	Delegations []Delegation `json:"delegations,omitempty"`
}

// Delegation leaves fields, or objects that Git does not declare, to a writer.
//
// +kubebuilder:validation:XValidation:rule="has(self.paths) || has(self.target) && has(self.target.kind)",message="must name paths, or a target.kind whose undeclared objects are left to the writer"
type Delegation struct {
	// Writer is the user name, as in
	// system:serviceaccount:cert-manager:cert-manager.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +required
	Writer string `json:"writer"`
	// Paths are JSON pointers (RFC 6901) such as /spec/replicas. What is below
	// them is included. Without paths the writer may create, change and delete
	// objects of the target that Git does not declare.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Pattern=`^/`
	// +listType=atomic
	// +optional
	Paths []string `json:"paths,omitempty"`
	// Target selects the objects; what is left out is any.
	// +optional
	Target *DelegationTarget `json:"target,omitempty"`
}

// DelegationTarget selects objects.
type DelegationTarget struct {
	// Group of the objects.
	// +optional
	Group string `json:"group,omitempty"`
	// Kind of the objects.
	// +kubebuilder:validation:MinLength=1
	// +optional
	Kind string `json:"kind,omitempty"`
	// Namespace of the objects.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// Name of the objects.
	// +optional
	Name string `json:"name,omitempty"`
}

// LockStatus says which webhook replicas know the revision. It is for people and
// for waiting; no decision rests on it.
type LockStatus struct {
	// Replicas of the webhook.
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	// +optional
	Replicas []LockReplica `json:"replicas,omitempty"`
	// Strays are what is in the closed namespaces and not there by Git's leave,
	// such as what was written into etcd past the API server. Nobody deletes them.
	// +optional
	Strays *StrayStatus `json:"strays,omitempty"`
}

// StrayStatus tells of objects in closed namespaces that nothing in Git explains.
type StrayStatus struct {
	// Total counts them.
	Total int32 `json:"total"`
	// Objects are the first ten, by namespace, kind and name.
	// +kubebuilder:validation:MaxItems=10
	// +listType=atomic
	// +optional
	Objects []StrayObject `json:"objects,omitempty"`
	// Unseen are the kinds that could not be looked at, with the reason: whether
	// there are strays among them is not known.
	// +kubebuilder:validation:MaxItems=21
	// +listType=atomic
	// +optional
	Unseen []string `json:"unseen,omitempty"`
}

// StrayObject is one of them.
type StrayObject struct {
	// Object is named as in namespace/Kind.group/name.
	Object string `json:"object"`
	// Reason is a stable code for what is wrong with it.
	Reason string `json:"reason"`
	// Message says what is wrong with it.
	// +optional
	Message string `json:"message,omitempty"`
}

// LockReplica is what one replica of the webhook has verified for itself.
type LockReplica struct {
	// Name of the replica.
	Name string `json:"name"`
	// Revision that it holds writes to.
	Revision string `json:"revision"`
	// Digest of the desired state, equal in replicas that agree.
	// +optional
	Digest string `json:"digest,omitempty"`
	// Time at which it took up the revision.
	Time metav1.Time `json:"time"`
	// Refused is why the revision does not pass any more. It is held nevertheless, for
	// it was applied.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Refused string `json:"refused,omitempty"`
	// Frozen counts its objects that stay as they are, because what they ought to be
	// is not known while the revision is refused.
	// +optional
	Frozen int32 `json:"frozen,omitempty"`
	// FrozenObjects are the first ten, with the reason.
	// +kubebuilder:validation:MaxItems=10
	// +listType=atomic
	// +optional
	FrozenObjects []string `json:"frozenObjects,omitempty"`
}

// LockMode is the mode of the lock; without one it is Off.
func (g *GitSync) LockMode() string {
	if g.Spec.Lock == nil || g.Spec.Lock.Mode == "" {
		return ModeOff
	}
	return g.Spec.Lock.Mode
}
