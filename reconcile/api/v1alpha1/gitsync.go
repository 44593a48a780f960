package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// GitSync keeps one path of a Git repository applied to the cluster. A revision
// is applied only when its signatures, images, policies and secrets all pass;
// otherwise it is quarantined and the last good release stays.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=gs,categories=gitgate
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.lastAppliedRevision`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.spec.url`,priority=1
type GitSync struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says what to keep applied and whose word to take for it.
	// +required
	Spec GitSyncSpec `json:"spec"`
	// Status is what gitgate last saw and did. Nothing in it is trusted as input
	// for a decision.
	// +optional
	Status GitSyncStatus `json:"status,omitempty"`
}

// GitSyncList is a list of GitSyncs.
//
// +kubebuilder:object:root=true
type GitSyncList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []GitSync `json:"items"`
}

// GitSyncSpec says what to keep applied and whose word to take for it.
//
// +kubebuilder:validation:XValidation:rule="!has(self.decryption) || has(self.decryption.secretRef)",message="decryption needs secretRef, the Secret that holds the keys"
type GitSyncSpec struct {
	// URL of the repository, as in https://git.example.com/acme/shop.git or
	// ssh://git@git.example.com/acme/shop.git. Credentials belong in secretRef,
	// never in the URL.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^(https|ssh)://[^\\\\s\\'\"\\\\\\\\]+$') || self.matches('^http://(127\\\\.0\\\\.0\\\\.1|localhost|\\\\[::1\\\\])(:[0-9]+)?/')",message="must be an https:// or ssh:// URL"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https?://[^/]*@')",message="must not hold credentials: put them into the Secret named by secretRef"
	// +required
	URL string `json:"url"`

	// Ref is what to follow in the repository.
	// +required
	Ref GitRef `json:"ref"`

	// Path is the directory of the repository to render, from its root. The
	// default is the root. It must stay inside the repository.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.split('/').exists(s, s == '..')",message="must be relative and stay inside the repository"
	// +optional
	Path string `json:"path,omitempty"`

	// Interval is how often the remote is asked for a new revision. Drift is
	// watched and does not wait for it.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('5s') && duration(self) <= duration('24h')",message="must be between 5s and 24h"
	// +kubebuilder:default="1m"
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`

	// RetryInterval is how long to wait after a failure before the next try. It
	// doubles with each further failure, up to interval. The default is 5s.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="must be between 1s and 24h"
	// +optional
	RetryInterval *metav1.Duration `json:"retryInterval,omitempty"`

	// Timeout bounds fetching, applying and waiting for health, each on its own.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('2h')",message="must be between 1s and 2h"
	// +kubebuilder:default="5m"
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// Suspend stops fetching and applying, and the correction of drift, until it
	// is false again.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// SecretRef names the Secret, in this namespace, with the credentials for the
	// repository: username and password, bearerToken, or identity and
	// known_hosts; ca.crt beside them.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`

	// Trust names the TrustPolicy whose signers and image rules count.
	// +required
	Trust LocalReference `json:"trust"`

	// Policies names the PolicySets that judge every object. A set that does not
	// exist or does not compile denies.
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	// +optional
	Policies []LocalReference `json:"policies,omitempty"`

	// Decryption says how SOPS secrets are decrypted.
	// +optional
	Decryption *Decryption `json:"decryption,omitempty"`

	// ServiceAccountName is the ServiceAccount, in this namespace, that is
	// impersonated when applying. It is required outside of gitgate's own
	// namespace.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// TargetNamespace is set on every namespaced object. Outside of gitgate's
	// own namespace it must be the GitSync's namespace.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	TargetNamespace string `json:"targetNamespace,omitempty"`

	// Prune deletes what an earlier revision declared and the current one does
	// not.
	// +kubebuilder:default=true
	// +optional
	Prune *bool `json:"prune,omitempty"`

	// DeletionBudget is the most objects, as a number or as a share of the
	// inventory such as 25%, that one revision may delete. More needs the line
	// "Gitgate-Approve-Deletions: <number>" in the signed message of the commit.
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 0 : self.matches('^(100|[1-9]?[0-9])%$')",message="must be a number from 0 up, or a percentage"
	// +kubebuilder:default="25%"
	// +optional
	DeletionBudget *intstr.IntOrString `json:"deletionBudget,omitempty"`

	// Wait holds Ready back until every object is healthy, within timeout.
	// +optional
	Wait bool `json:"wait,omitempty"`

	// HealthCheckExprs say in CEL when custom resources are healthy.
	// +kubebuilder:validation:MaxItems=32
	// +optional
	HealthCheckExprs []HealthCheckExpr `json:"healthCheckExprs,omitempty"`

	// DependsOn names GitSyncs that must be Ready, at their newest generation,
	// before this one applies.
	// +kubebuilder:validation:MaxItems=32
	// +optional
	DependsOn []DependencyReference `json:"dependsOn,omitempty"`

	// Force deletes and creates again what cannot be changed in place because a
	// field is immutable.
	// +optional
	Force bool `json:"force,omitempty"`

	// Ignore lists fields that Git leaves to others: they are set when an object
	// is created and left alone from then on.
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Ignore []IgnoreRule `json:"ignore,omitempty"`

	// Lock says whether the admission webhook refuses writes that do not lead to
	// what Git says.
	// +optional
	Lock *Lock `json:"lock,omitempty"`
}

// GitRef is what to follow in a repository.
type GitRef struct {
	// Branch to follow. Only commits that build on the last applied one are taken.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_][A-Za-z0-9_./-]*$`
	// +required
	Branch string `json:"branch"`
}

// LocalReference names another object.
type LocalReference struct {
	// Name of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`
}

// DependencyReference names a GitSync.
type DependencyReference struct {
	// Name of the GitSync.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`
	// Namespace of the GitSync; the default is the namespace of this one.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// Decryption says how encrypted objects are decrypted.
type Decryption struct {
	// Provider of the encryption.
	// +kubebuilder:validation:Enum=sops
	// +required
	Provider string `json:"provider"`
	// SecretRef names the Secret, in this namespace, with the private keys: every
	// entry that ends in .agekey (age) or .asc (OpenPGP).
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
}

// HealthCheckExpr says when the objects of one kind are healthy. The
// expressions see the object's fields, such as status.phase, as variables.
type HealthCheckExpr struct {
	// APIVersion of the kind.
	// +kubebuilder:validation:MinLength=1
	// +required
	APIVersion string `json:"apiVersion"`
	// Kind of the objects.
	// +kubebuilder:validation:MinLength=1
	// +required
	Kind string `json:"kind"`
	// Current is true when the object is as it should be.
	// +kubebuilder:validation:MinLength=1
	// +required
	Current string `json:"current"`
	// InProgress is true while the object is on its way.
	// +optional
	InProgress string `json:"inProgress,omitempty"`
	// Failed is true when the object will not become healthy by itself.
	// +optional
	Failed string `json:"failed,omitempty"`
}

// IgnoreRule names fields that Git leaves to others.
type IgnoreRule struct {
	// Paths are JSON pointers (RFC 6901) such as /spec/replicas.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Pattern=`^/`
	// +required
	Paths []string `json:"paths"`
	// Target selects the objects; without it all are meant.
	// +optional
	Target *Target `json:"target,omitempty"`
}

// Target selects objects. Every field that is set must match.
type Target struct {
	// Group of the objects.
	// +optional
	Group string `json:"group,omitempty"`
	// Kind of the objects.
	// +optional
	Kind string `json:"kind,omitempty"`
	// Namespace of the objects.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// Name of the objects.
	// +optional
	Name string `json:"name,omitempty"`
	// LabelSelector selects the objects by their labels, as in app=web,tier!=db.
	// +optional
	LabelSelector string `json:"labelSelector,omitempty"`
}
