package v1alpha1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PolicySet is a set of Rego rules, its parameters, what it judges and how hard
// it bites.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=ps,categories=gitgate
// +kubebuilder:printcolumn:name="Enforcement",type=string,JSONPath=`.spec.enforcement`
// +kubebuilder:printcolumn:name="Library",type=string,JSONPath=`.spec.source.library`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.artifact.revision`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Newest",type=string,JSONPath=`.status.conditions[?(@.type=="Verified")].message`,priority=1
type PolicySet struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec holds the rules.
	// +required
	Spec PolicySetSpec `json:"spec"`
	// Status says whether the rules compile, and which version of rules from
	// elsewhere is in force. Nothing in it is trusted as input for a decision.
	// +optional
	Status PolicySetStatus `json:"status,omitempty"`
}

// PolicySetList is a list of PolicySets.
//
// +kubebuilder:object:root=true
type PolicySetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PolicySet `json:"items"`
}

// PolicySetSpec holds rules and says how they are used.
//
// +kubebuilder:validation:XValidation:rule="!has(self.format) || self.format != 'Gatekeeper' || (!has(self.regoVersion) && !has(self.source.library))",message="of the format Gatekeeper, regoVersion is in the templates, and the library is of another format"
// +kubebuilder:validation:XValidation:rule="!has(self.format) || self.format != 'Conftest' || !has(self.source.library)",message="the library is not of the format Conftest"
// +kubebuilder:validation:XValidation:rule="!has(self.combine) || !self.combine || (has(self.format) && self.format == 'Conftest')",message="combine is of the format Conftest: rules of others read data.inventory"
// +kubebuilder:validation:XValidation:rule="!has(self.regoVersion) || self.regoVersion == 'v1' || !has(self.source.library)",message="the library is written in Rego v1: use two PolicySets"
type PolicySetSpec struct {
	// Source of the rules.
	// +required
	Source PolicySource `json:"source"`
	// Format says what the rules were written for: Gitgate, whose input is
	// documented with the library; Conftest, where the object itself is the input; or
	// Gatekeeper, whose ConstraintTemplates and constraints are taken as they are.
	// +kubebuilder:validation:Enum=Gitgate;Conftest;Gatekeeper
	// +kubebuilder:default=Gitgate
	// +optional
	Format string `json:"format,omitempty"`
	// RegoVersion is the dialect of the modules, v1 unless it says v0. Templates of Gatekeeper say theirs themselves.
	// +kubebuilder:validation:Enum=v0;v1
	// +optional
	RegoVersion string `json:"regoVersion,omitempty"`
	// Combine has the rules judge all objects of a revision together, as conftest's
	// --combine: their input is a list of path and contents. At admission, where one
	// object is known, they are undetermined.
	// +optional
	Combine bool `json:"combine,omitempty"`
	// Enforcement is what a denial means: Deny refuses the revision, Warn shows
	// it in the verdict, Audit notes it there as information.
	// +kubebuilder:validation:Enum=Deny;Warn;Audit
	// +kubebuilder:default=Deny
	// +optional
	Enforcement string `json:"enforcement,omitempty"`
	// Match selects the objects that are judged; without it all are.
	// +optional
	Match *PolicyMatch `json:"match,omitempty"`
	// Admission says whether the rules also judge writes of objects that no
	// GitSync declares, at the admission webhook: Off, Audit (warn) or Enforce.
	// +kubebuilder:validation:Enum=Off;Audit;Enforce
	// +kubebuilder:default=Off
	// +optional
	Admission string `json:"admission,omitempty"`
	// Parameters are handed to the rules as input.parameters.
	// +optional
	Parameters *apiextensionsv1.JSON `json:"parameters,omitempty"`
}

// PolicyMatch selects objects. Every field that is set must match.
type PolicyMatch struct {
	// Kinds to judge.
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +optional
	Kinds []MatchKinds `json:"kinds,omitempty"`
	// Namespaces to judge; * matches any run of characters. Cluster-scoped
	// objects are in no namespace.
	// +kubebuilder:validation:MaxItems=256
	// +listType=set
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`
	// ExcludedNamespaces are left out.
	// +kubebuilder:validation:MaxItems=256
	// +listType=set
	// +optional
	ExcludedNamespaces []string `json:"excludedNamespaces,omitempty"`
	// LabelSelector selects objects by their labels.
	// +optional
	LabelSelector *metav1.LabelSelector `json:"labelSelector,omitempty"`
}

// MatchKinds selects kinds.
type MatchKinds struct {
	// APIGroups of the kinds; "" is the core group and * is any.
	// +kubebuilder:validation:MinItems=1
	// +listType=set
	// +required
	APIGroups []string `json:"apiGroups"`
	// Kinds to judge; * is any.
	// +kubebuilder:validation:MinItems=1
	// +listType=set
	// +required
	Kinds []string `json:"kinds"`
}
