package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// BreakGlass is a grant for an emergency: it lets the people that it names write
// what the lock would refuse, for a few hours and within exactly what it says.
// It counts by its signatures, made by people whom a TrustPolicy names, so it
// works while Git is down and whoever may create one cannot make one up.
//
// Its name is gitgate's: breakglass- and the start of the digest of what was
// signed, so that one grant can exist once only.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=bg,categories=gitgate
// +kubebuilder:printcolumn:name="Users",type=string,JSONPath=`.spec.grant.users`
// +kubebuilder:printcolumn:name="Namespaces",type=string,JSONPath=`.spec.grant.namespaces`
// +kubebuilder:printcolumn:name="Expiry",type=string,JSONPath=`.spec.grant.expiry`
// +kubebuilder:printcolumn:name="Revoked",type=boolean,JSONPath=`.spec.revoked`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.spec.grant.reason`
type BreakGlass struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is the signed grant. It cannot be changed, but for being revoked.
	// +required
	Spec BreakGlassSpec `json:"spec"`
}

// BreakGlassList is a list of BreakGlasses.
//
// +kubebuilder:object:root=true
type BreakGlassList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BreakGlass `json:"items"`
}

// BreakGlassSpec is a grant, who vouches for it, and whether it was taken back.
//
// +kubebuilder:validation:XValidation:rule="self.grant == oldSelf.grant",message="what was signed cannot be changed: request another grant"
// +kubebuilder:validation:XValidation:rule="has(self.signatures) == has(oldSelf.signatures) && (!has(self.signatures) || self.signatures == oldSelf.signatures)",message="signatures cannot be changed: delete the grant after its expiry, or apply another"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.revoked) || !oldSelf.revoked || (has(self.revoked) && self.revoked)",message="a revoked grant stays revoked: request another"
type BreakGlassSpec struct {
	// Grant is what is signed.
	// +required
	Grant BreakGlassGrant `json:"grant"`
	// Signatures over the grant. How many distinct people are needed, the
	// TrustPolicy says.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Signatures []BreakGlassSignature `json:"signatures,omitempty"`
	// Revoked ends the grant for good. Whoever may update the object may revoke;
	// nobody can take that back.
	// +optional
	Revoked bool `json:"revoked,omitempty"`
}

// BreakGlassGrant says who may do what, where and until when. A request must fit
// every field.
type BreakGlassGrant struct {
	// Cluster is the UID of the namespace kube-system of the cluster in which the
	// grant counts.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`
	// +required
	Cluster string `json:"cluster"`
	// Trust names the TrustPolicy whose spec.breakGlass says who may sign.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Trust string `json:"trust"`
	// Users are the exact names under which the API server knows the people who
	// may use the grant. Who may impersonate one of them may use it too.
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +listType=atomic
	// +optional
	Users []string `json:"users,omitempty"`
	// Groups whose members may use the grant, beside the users.
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +listType=atomic
	// +optional
	Groups []string `json:"groups,omitempty"`
	// Verbs are what may be done: create, update (which patch and apply are too),
	// delete (and deletecollection), or connect (exec, attach, portforward, proxy).
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:items:Enum=create;update;delete;connect
	// +listType=atomic
	// +required
	Verbs []string `json:"verbs"`
	// Resources to which it may be done.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +required
	Resources []BreakGlassResource `json:"resources"`
	// Namespaces in which it may be done, by exact name. Without any the grant is
	// for objects that are in no namespace, and for those alone.
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +listType=atomic
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`
	// Names of the objects. A * at the end stands for any rest, as in web-*.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=atomic
	// +required
	Names []string `json:"names"`
	// Reason for which the grant is needed, in one line.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +required
	Reason string `json:"reason"`
	// NotBefore is when the grant begins to count.
	// +required
	NotBefore metav1.Time `json:"notBefore"`
	// Expiry is when the grant ends, at most four hours after notBefore.
	// +required
	Expiry metav1.Time `json:"expiry"`
	// Nonce tells grants apart that are otherwise equal.
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{32}$`
	// +required
	Nonce string `json:"nonce"`
}

// BreakGlassResource is a resource, in every version of its group.
type BreakGlassResource struct {
	// Group of the resource; empty is the core group.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Group string `json:"group,omitempty"`
	// Resource in the plural, with the subresource behind a slash: pods, pods/exec,
	// deployments/scale. A resource does not include its subresources.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=127
	// +required
	Resource string `json:"resource"`
}

// BreakGlassSignature is one person's word for the grant.
type BreakGlassSignature struct {
	// SSH is an armored SSH signature over the payload of the grant in the
	// namespace gitgate-breakglass, as "gitgate breakglass sign" and "ssh-keygen -Y
	// sign -n gitgate-breakglass" make it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	// +required
	SSH string `json:"ssh"`
}
