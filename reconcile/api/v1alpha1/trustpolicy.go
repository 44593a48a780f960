package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// TrustPolicy says whose word counts: which repositories it speaks for, who may
// sign commits that change what, and who must have signed the images.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=tp,categories=gitgate
// +kubebuilder:printcolumn:name="Scope",type=string,JSONPath=`.spec.commits.scope`
// +kubebuilder:printcolumn:name="Signers",type=string,JSONPath=`.spec.commits.signers[*].name`
// +kubebuilder:printcolumn:name="Images",type=string,JSONPath=`.spec.images.default`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type TrustPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says whose word counts.
	// +required
	Spec TrustPolicySpec `json:"spec"`
}

// TrustPolicyList is a list of TrustPolicies.
//
// +kubebuilder:object:root=true
type TrustPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TrustPolicy `json:"items"`
}

// TrustPolicySpec says whose word counts.
type TrustPolicySpec struct {
	// Repositories lists what this policy speaks for. A GitSync of any other
	// repository is refused.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +required
	Repositories []TrustedRepository `json:"repositories"`

	// Namespaces lists where GitSyncs may use this policy. A GitSync elsewhere is
	// refused.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +listType=set
	// +required
	Namespaces []string `json:"namespaces"`

	// Commits says who may sign commits.
	// +required
	Commits CommitTrust `json:"commits"`

	// Images says who must have signed images. Without it every image is refused.
	// +optional
	Images ImageTrust `json:"images,omitempty"`

	// Policies names the PolicySets that judge every object of every GitSync that
	// uses this policy, beside those that the GitSync names: who may write a
	// GitSync may not choose to go without.
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	// +optional
	Policies []LocalReference `json:"policies,omitempty"`

	// TrustObjects says whether a revision may declare TrustPolicies and
	// PolicySets: Deny refuses all, Others only those that judge the revision
	// itself. What judges a revision it can never declare or delete: its GitSync,
	// its TrustPolicy, its PolicySets and the Secrets and ConfigMaps that they
	// refer to.
	// +kubebuilder:validation:Enum=Deny;Others
	// +kubebuilder:default=Deny
	// +optional
	TrustObjects string `json:"trustObjects,omitempty"`

	// Exceptions says which PolicyExceptions count: those in files that are reserved
	// for them, signed by people who are named for it. Without it none does. Every
	// commit has to be signed (commits.scope EveryCommit).
	// +optional
	Exceptions *ExceptionTrust `json:"exceptions,omitempty"`

	// BreakGlass says who may sign grants for emergencies.
	// +optional
	BreakGlass *BreakGlassTrust `json:"breakGlass,omitempty"`
}

// TrustedRepository is one repository and the commit from which its history
// counts.
type TrustedRepository struct {
	// URL of the repository, as in the GitSync.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +required
	URL string `json:"url"`
	// Refs are the branches that may be followed.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +listType=set
	// +required
	Refs []string `json:"refs"`
	// Root is the full hash of the commit from which history counts. Its content
	// is taken as it is; every commit after it must be signed.
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{40}$`
	// +required
	Root string `json:"root"`
}

// CommitTrust says who may sign commits, and which.
type CommitTrust struct {
	// Scope is EveryCommit, which verifies every commit since the root, or Head,
	// which verifies just the newest one.
	// +kubebuilder:validation:Enum=EveryCommit;Head
	// +kubebuilder:default=EveryCommit
	// +optional
	Scope string `json:"scope,omitempty"`
	// Signers are the people and machines that may sign.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +listType=map
	// +listMapKey=name
	// +required
	Signers []CommitSigner `json:"signers"`
	// Rules say who may change which paths. For each path the last rule that
	// matches decides, as in CODEOWNERS; a path that no rule matches is open to
	// nobody. Without rules every signer may change everything.
	// +kubebuilder:validation:MaxItems=256
	// +listType=atomic
	// +optional
	Rules []PathRule `json:"rules,omitempty"`
	// ForgeKeys says whether commits signed by a forge's web flow are taken. Such
	// a key says that the forge merged, not who did.
	// +kubebuilder:validation:Enum=Deny;Allow
	// +kubebuilder:default=Deny
	// +optional
	ForgeKeys string `json:"forgeKeys,omitempty"`
	// AuthorMustMatchSigner requires that the author's and the committer's e-mail
	// belong to the signer.
	// +kubebuilder:default=true
	// +optional
	AuthorMustMatchSigner *bool `json:"authorMustMatchSigner,omitempty"`
	// Rollback says whether the branch may be set back to an older commit: Deny,
	// or Signed, with a signed tag gitgate-rollback/<name> on the older commit
	// whose message has the line "Rollback-From: <hash of the applied commit>".
	// +kubebuilder:validation:Enum=Deny;Signed
	// +kubebuilder:default=Deny
	// +optional
	Rollback string `json:"rollback,omitempty"`
}

// CommitSigner is one person or machine and its keys.
//
// +kubebuilder:validation:XValidation:rule="has(self.openPGP) != has(self.ssh)",message="must have exactly one of openPGP and ssh"
type CommitSigner struct {
	// Name of the signer, for rules and findings.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`
	// OpenPGP holds the signer's public keys.
	// +optional
	OpenPGP *KeySource `json:"openPGP,omitempty"`
	// SSH holds the signer's allowed signers.
	// +optional
	SSH *SSHSigner `json:"ssh,omitempty"`
	// Emails are addresses of the signer beside those that its keys name.
	// +kubebuilder:validation:MaxItems=32
	// +listType=set
	// +optional
	Emails []string `json:"emails,omitempty"`
	// Forge marks the keys of a forge's web flow, for forgeKeys. Those of the
	// well-known forges are recognised without it.
	// +optional
	Forge bool `json:"forge,omitempty"`
}

// KeySource holds public keys, here or in another object.
//
// +kubebuilder:validation:XValidation:rule="[has(self.data), has(self.secretRef), has(self.configMapRef)].filter(x, x).size() == 1",message="must have exactly one of data, secretRef and configMapRef"
type KeySource struct {
	// Data holds the armoured public keys.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=262144
	// +optional
	Data string `json:"data,omitempty"`
	// SecretRef names a Secret in gitgate's own namespace; every entry that ends
	// in .asc counts.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
	// ConfigMapRef names a ConfigMap in gitgate's own namespace; every entry that
	// ends in .asc counts.
	// +optional
	ConfigMapRef *LocalReference `json:"configMapRef,omitempty"`
}

// SSHSigner holds SSH keys.
type SSHSigner struct {
	// AllowedSigners are lines as in OpenSSH's allowed_signers file, options
	// honoured; see ssh-keygen(1).
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=262144
	// +required
	AllowedSigners string `json:"allowedSigners"`
}

// PathRule says who may change which paths.
type PathRule struct {
	// Paths are globs from the root of the repository; ** crosses directories.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +required
	Paths []string `json:"paths"`
	// Signers may change those paths. An empty list closes them.
	// +kubebuilder:validation:MaxItems=256
	// +listType=atomic
	// +required
	Signers []string `json:"signers"`
}

// ImageTrust says who must have signed images.
type ImageTrust struct {
	// Default is what becomes of an image that no rule matches.
	// +kubebuilder:validation:Enum=Deny;Allow
	// +kubebuilder:default=Deny
	// +optional
	Default string `json:"default,omitempty"`
	// Digest is Resolve, which pins the verified digest when applying, or
	// Required, which asks for a digest in Git.
	// +kubebuilder:validation:Enum=Resolve;Required
	// +kubebuilder:default=Resolve
	// +optional
	Digest string `json:"digest,omitempty"`
	// Rules for images. Every rule that matches an image must be satisfied.
	// +kubebuilder:validation:MaxItems=256
	// +listType=atomic
	// +optional
	Rules []ImageRule `json:"rules,omitempty"`
	// Admission says whether the admission webhook lets Pods in spec.namespaces run
	// no digest but those that a release verified, also Pods that no GitSync
	// declares: Off, Audit (warn) or Enforce.
	// +kubebuilder:validation:Enum=Off;Audit;Enforce
	// +kubebuilder:default=Off
	// +optional
	Admission string `json:"admission,omitempty"`
	// Extractors say where custom resources hold images.
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +optional
	Extractors []ImageExtractor `json:"extractors,omitempty"`
	// PullSecrets name Secrets of type kubernetes.io/dockerconfigjson in gitgate's
	// own namespace with the credentials for reading images and signatures.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	// +optional
	PullSecrets []LocalReference `json:"pullSecrets,omitempty"`
}

// ImageRule says who must have signed the images that it matches, and what must have
// been attested about them.
//
// +kubebuilder:validation:XValidation:rule="!has(self.attestations) || has(self.authorities)",message="attestations need authorities: a static rule looks at nothing"
// +kubebuilder:validation:XValidation:rule="has(self.static) != has(self.authorities)",message="must have exactly one of static and authorities"
type ImageRule struct {
	// Match are globs over repositories, as in ghcr.io/acme/**; ** crosses
	// slashes.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +required
	Match []string `json:"match"`
	// Static allows or denies without looking at signatures.
	// +kubebuilder:validation:Enum=Allow;Deny
	// +optional
	Static string `json:"static,omitempty"`
	// Authorities may vouch for the image; one of them suffices.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	// +optional
	Authorities []ImageAuthority `json:"authorities,omitempty"`
	// Attestations are the in-toto statements that are looked for beside a signature,
	// as cosign attest makes them. They are verified, and rules find them in
	// input.images[].attestations. Of others nothing is fetched.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	// +optional
	Attestations []ImageAttestation `json:"attestations,omitempty"`
}

// ImageAttestation is an attestation that is looked for. It counts when an authority
// signed it for the very digest that is verified.
type ImageAttestation struct {
	// Name of the attestation, for findings and rules.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`
	// PredicateType is the type of the statement: a URI, as
	// https://slsa.dev/provenance/v1, or one of the names that cosign attest has:
	// slsaprovenance, slsaprovenance02, slsaprovenance1, spdx, spdxjson, cyclonedx,
	// vuln, openvex, link, custom.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self in ['slsaprovenance', 'slsaprovenance02', 'slsaprovenance1', 'spdx', 'spdxjson', 'cyclonedx', 'vuln', 'openvex', 'link', 'custom'] || self.matches('^[a-zA-Z][a-zA-Z0-9+.-]*:.+')",message="must be a URI, or a name that cosign attest has, such as slsaprovenance1"
	// +required
	PredicateType string `json:"predicateType"`
	// Optional lets the image pass without the attestation. Otherwise it is refused.
	// +optional
	Optional bool `json:"optional,omitempty"`
	// Authorities are those whose attestation counts, any one of them. Without any they
	// are those of the rule.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	// +optional
	Authorities []ImageAuthority `json:"authorities,omitempty"`
}

// ImageAuthority is a holder of a cosign key.
type ImageAuthority struct {
	// Name of the authority, for findings.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`
	// Key with which the authority signs.
	// +required
	Key ImageKey `json:"key"`
}

// ImageKey is a cosign public key.
type ImageKey struct {
	// Data is the public key in PEM.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	// +required
	Data string `json:"data"`
	// HashAlgorithm of the signatures. The default is sha256 and what cosign uses
	// for keys of that size.
	// +kubebuilder:validation:Enum=sha256;sha384;sha512
	// +optional
	HashAlgorithm string `json:"hashAlgorithm,omitempty"`
}

// ImageExtractor says where a kind holds images.
type ImageExtractor struct {
	// APIVersion of the kind.
	// +kubebuilder:validation:MinLength=1
	// +required
	APIVersion string `json:"apiVersion"`
	// Kind of the objects.
	// +kubebuilder:validation:MinLength=1
	// +required
	Kind string `json:"kind"`
	// Paths of the image fields, as in .spec.templates[*].container.image. An
	// empty list says that the kind holds no image.
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +required
	Paths []string `json:"paths"`
}
