package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// PolicyException lets some objects of the GitSync that declares it pass rules that
// refuse them, until a day. It counts as it stands in the verified commit, in a file
// that the TrustPolicy reserves for exceptions (spec.exceptions): whoever may sign
// that file says what is excepted. What stands in the cluster is for people to read,
// and never trusted.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=pex,categories=gitgate
// +kubebuilder:printcolumn:name="Owner",type=string,JSONPath=`.spec.owner`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expires`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.spec.reason`,priority=1
type PolicyException struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says what is excepted, why, by whom and for how long.
	// +required
	Spec PolicyExceptionSpec `json:"spec"`
}

// PolicyExceptionList is a list of PolicyExceptions.
//
// +kubebuilder:object:root=true
type PolicyExceptionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PolicyException `json:"items"`
}

// PolicyExceptionSpec says what is excepted. All fields but parts of match are
// mandatory: an exception that nobody answers for, or that has no end, is none.
type PolicyExceptionSpec struct {
	// Policies are the rules that are not to refuse.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=policySet
	// +required
	Policies []ExceptedPolicy `json:"policies"`
	// Match selects the objects.
	// +required
	Match ExceptionMatch `json:"match"`
	// Owner is who answers for the exception: a team, or an address.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +required
	Owner string `json:"owner"`
	// Reason says why there is an exception.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +required
	Reason string `json:"reason"`
	// Expires is when the exception ends, as in 2026-12-31T00:00:00Z, at most a year
	// ahead. From then on the rules refuse again.
	// +required
	Expires metav1.Time `json:"expires"`
}

// ExceptedPolicy names rules of one PolicySet.
type ExceptedPolicy struct {
	// PolicySet is its name.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	PolicySet string `json:"policySet"`
	// Rules are the rules by their full names, as findings have them behind the name
	// of the set: baseline.deny. There is no wildcard.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Pattern=`^[^*?\[\]{}\s]+$`
	// +kubebuilder:validation:items:MaxLength=512
	// +listType=set
	// +required
	Rules []string `json:"rules"`
}

// ExceptionMatch selects objects. All that is given has to hold. There is no
// wildcard, and no exception for everything.
//
// +kubebuilder:validation:XValidation:rule="has(self.names) || has(self.labelSelector)",message="name the objects, or select them by their labels"
type ExceptionMatch struct {
	// Kinds of the objects.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +required
	Kinds []ExceptedKind `json:"kinds"`
	// Namespaces of the objects. Without it objects in no namespace are meant.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +listType=set
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`
	// Names of the objects.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Pattern=`^[^*?\[\]{}\s]+$`
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	// +optional
	Names []string `json:"names,omitempty"`
	// LabelSelector selects by labels, of which at least one has to be asked for.
	// Mind that whoever writes an object also writes its labels.
	// +optional
	LabelSelector *metav1.LabelSelector `json:"labelSelector,omitempty"`
}

// ExceptedKind is one kind.
type ExceptedKind struct {
	// APIGroup of the kind; empty is the core group.
	// +kubebuilder:validation:Pattern=`^[a-z0-9.-]*$`
	// +kubebuilder:validation:MaxLength=253
	// +optional
	APIGroup string `json:"apiGroup,omitempty"`
	// Kind as in Deployment.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]+$`
	// +kubebuilder:validation:MaxLength=63
	// +required
	Kind string `json:"kind"`
}

// ExceptionTrust says which PolicyExceptions count.
type ExceptionTrust struct {
	// Paths are globs over the files that may hold PolicyExceptions, as in
	// exceptions/**. Elsewhere they are refused. Look at what is there before you
	// reserve a path: it counts from then on.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=set
	// +required
	Paths []string `json:"paths"`
	// Signers may change what is at these paths, whatever spec.commits.rules says,
	// and nobody else may.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +listType=set
	// +required
	Signers []string `json:"signers"`
}
