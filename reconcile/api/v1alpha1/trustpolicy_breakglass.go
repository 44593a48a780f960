package v1alpha1

// BreakGlassTrust says who may sign BreakGlass grants, and for where. Without it a
// TrustPolicy opens nothing.
type BreakGlassTrust struct {
	// Threshold is how many distinct people must sign a grant. A person is a
	// principal of allowedSigners: several keys of one count once, and so does one
	// key under several principals.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	// +kubebuilder:default=2
	// +optional
	Threshold *int32 `json:"threshold,omitempty"`
	// AllowedSigners are lines as in OpenSSH's allowed_signers file; see
	// ssh-keygen(1). Their options are honoured; a namespaces option must admit
	// gitgate-breakglass. The principal of a key is a plain name, without
	// patterns; one of a cert-authority may have them.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=262144
	// +required
	AllowedSigners string `json:"allowedSigners"`
	// Namespaces that a grant may open. The default is spec.namespaces. * stands
	// for all, and for what is in no namespace.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +listType=set
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`
}
