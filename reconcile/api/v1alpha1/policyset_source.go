package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PolicySource says where rules come from. All that are given are used together.
//
// +kubebuilder:validation:XValidation:rule="has(self.library) || has(self.inline) || has(self.configMapRef) || has(self.git) || has(self.oci)",message="must have at least one of library, inline, configMapRef, git and oci"
// +kubebuilder:validation:XValidation:rule="!has(self.git) || !has(self.oci)",message="must not have both git and oci: use two PolicySets"
type PolicySource struct {
	// Library names packs of the library that gitgate brings along.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=set
	// +optional
	Library []string `json:"library,omitempty"`
	// Inline holds files by name. In the formats Gitgate and Conftest what ends in
	// .rego is a module; data.json and data.yaml, and in the format Conftest every
	// file that ends in .json, .yaml or .yml, are data. In the format Gatekeeper the
	// files are YAML.
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=64
	// +optional
	Inline map[string]string `json:"inline,omitempty"`
	// ConfigMapRef names a ConfigMap in gitgate's own namespace. Its entries are
	// files, as those of inline; others than those are left out.
	// +optional
	ConfigMapRef *LocalReference `json:"configMapRef,omitempty"`
	// Git takes the files of a directory of a Git repository. A commit comes into
	// force when its TrustPolicy accepts it, as the commits of a GitSync, and the
	// rules load; until then the former one stays.
	// +optional
	Git *GitPolicySource `json:"git,omitempty"`
	// OCI takes an OPA bundle from a registry. It comes into force when it is signed
	// and its rules load; until then the former one stays.
	// +optional
	OCI *OCIPolicySource `json:"oci,omitempty"`
}

// GitPolicySource is a directory of a Git repository, and whose word counts there.
type GitPolicySource struct {
	// URL of the repository, as that of a GitSync. Credentials belong in secretRef,
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
	// Path is the directory with the rules, from the root of the repository. The
	// default is the root. In it and below it modules and data are read as from a
	// directory of gitgate policy eval --policy; symbolic links are refused.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.split('/').exists(s, s == '..')",message="must be relative and stay inside the repository"
	// +optional
	Path string `json:"path,omitempty"`
	// Trust names the TrustPolicy whose signers and path rules count. It has to list
	// this repository and branch.
	// +required
	Trust LocalReference `json:"trust"`
	// Interval is how often the remote is asked for a new commit.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('5s') && duration(self) <= duration('24h')",message="must be between 5s and 24h"
	// +kubebuilder:default="1m"
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`
	// SecretRef names the Secret, in gitgate's own namespace, with the credentials for
	// the repository, as that of a GitSync.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
}

// OCIPolicySource is an OPA bundle in a registry, and who must have signed it.
type OCIPolicySource struct {
	// URL of the bundle, as in oci://registry.example.com/policies/house:v1, or with
	// a digest, oci://registry.example.com/policies/house@sha256:…. A tag must not lead
	// back to a bundle that was in force before, nor to an older semantic version; a
	// digest says just which bundle is meant.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^oci://[a-z0-9.:-]+(/[a-z0-9._-]+)+(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$')",message="must be oci://HOST/REPOSITORY with :TAG or @sha256:DIGEST"
	// +kubebuilder:validation:XValidation:rule="self.matches('^oci://[^/]+/.*(:[^/]+|@sha256:[0-9a-f]{64})$')",message="must name a tag or a digest"
	// +required
	URL string `json:"url"`
	// Verify says who must have signed the bundle.
	// +required
	Verify BundleVerification `json:"verify"`
	// Interval is how often the registry is asked where the tag is.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('5s') && duration(self) <= duration('24h')",message="must be between 5s and 24h"
	// +kubebuilder:default="5m"
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`
	// SecretRef names a Secret of type kubernetes.io/dockerconfigjson, in gitgate's
	// own namespace, with the credentials for the registry.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
}

// BundleVerification says who must have signed a bundle.
type BundleVerification struct {
	// Authorities may vouch for the bundle with a cosign signature; one of them
	// suffices.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	// +required
	Authorities []ImageAuthority `json:"authorities"`
}

// PolicySetStatus says whether the rules compile, and which version of rules from
// elsewhere is in force.
type PolicySetStatus struct {
	// ObservedGeneration is the generation of the spec that was last compiled.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Artifact is the version of the rules from Git or a registry that is in force in
	// the reconciler; none until one was verified.
	// +optional
	Artifact *PolicyArtifact `json:"artifact,omitempty"`
	// LastAttemptedRevision is the newest version that was looked at.
	// +optional
	LastAttemptedRevision string `json:"lastAttemptedRevision,omitempty"`
	// LastHandledReconcileAt is the value of the annotation that last asked for a
	// look at the source.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
	// Conditions hold Ready: True when the rules in force compile; and, of rules from
	// Git or a registry, Verified: False with the reason when the newest version is
	// refused, and the one of artifact stays in force.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PolicyArtifact is a version of rules.
type PolicyArtifact struct {
	// URL is where it was fetched from.
	// +required
	URL string `json:"url"`
	// Revision names it at its source, as in main@sha1:<hash> or v1@sha256:<digest>.
	// +required
	Revision string `json:"revision"`
	// Version is the revision that a bundle says that it has.
	// +optional
	Version string `json:"version,omitempty"`
	// Digest is that of the files, or of the bundle, as sha256:<hex>.
	// +required
	Digest string `json:"digest"`
	// LastUpdateTime is when it came into force.
	// +required
	LastUpdateTime metav1.Time `json:"lastUpdateTime"`
}

// Remote reports whether files of the source have to be fetched from elsewhere.
func (s *PolicySource) Remote() bool { return s.Git != nil || s.OCI != nil }

// RemoteURL is where they are fetched from; empty where none are.
func (s *PolicySource) RemoteURL() string {
	switch {
	case s.Git != nil:
		return s.Git.URL
	case s.OCI != nil:
		return s.OCI.URL
	}
	return ""
}

// IntervalOrDefault is how often the remote is asked: a minute for Git and five for
// a registry, unless the source says otherwise.
func (s *PolicySource) IntervalOrDefault() time.Duration {
	switch {
	case s.Git != nil:
		return orDefault(s.Git.Interval, time.Minute)
	case s.OCI != nil:
		return orDefault(s.OCI.Interval, 5*time.Minute)
	}
	return 0
}
