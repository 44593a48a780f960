package verdict

// A Stage is one of the gates that a revision passes, in order.
type Stage string

// The stages, in the order in which they run.
const (
	StageCommit    Stage = "commit"
	StageRender    Stage = "render"
	StageImage     Stage = "image"
	StagePolicy    Stage = "policy"
	StageSecret    Stage = "secret"
	StageApply     Stage = "apply"
	StageAdmission Stage = "admission"
)

// Stages lists every stage in the order in which they run.
func Stages() []Stage {
	return []Stage{StageCommit, StageRender, StageImage, StagePolicy, StageSecret, StageApply, StageAdmission}
}

// A Reason is a stable code for why something was found. Reasons appear in
// conditions, events, metrics, logs and on the command line: they are API. Add
// to them, never rename one.
type Reason string

// Reasons of the commit stage.
const (
	UnsignedCommit       Reason = "UnsignedCommit"
	BadSignature         Reason = "BadSignature"
	UntrustedSigner      Reason = "UntrustedSigner"
	SignerNotAllowed     Reason = "SignerNotAllowed"
	ForgeKey             Reason = "ForgeKey"
	AuthorMismatch       Reason = "AuthorMismatch"
	KeyExpired           Reason = "KeyExpired"
	KeyRevoked           Reason = "KeyRevoked"
	WeakCryptography     Reason = "WeakCryptography"
	WrongNamespace       Reason = "WrongNamespace"
	MalformedObject      Reason = "MalformedObject"
	HashMismatch         Reason = "HashMismatch"
	NonFastForward       Reason = "NonFastForward"
	IncompleteHistory    Reason = "IncompleteHistory"
	TransparencyMismatch Reason = "TransparencyMismatch"
	// UnsupportedSignature names a signature kind that this build cannot verify.
	UnsupportedSignature Reason = "UnsupportedSignature"
	// RepositoryNotTrusted means that no trust policy speaks for the repository,
	// the ref or the namespace from which it is used.
	RepositoryNotTrusted Reason = "RepositoryNotTrusted"
	// TrustInvalid means that a trust policy speaks for the repository and cannot be
	// used: a key that is no key or is missing, a rule that names an unknown signer.
	TrustInvalid Reason = "TrustInvalid"
	// SourceUnavailable means that the repository could not be read.
	SourceUnavailable Reason = "SourceUnavailable"
)

// Reasons of the render stage.
const (
	PathEscape        Reason = "PathEscape"
	RemoteInput       Reason = "RemoteInput"
	UnsignedContent   Reason = "UnsignedContent"
	LimitExceeded     Reason = "LimitExceeded"
	InvalidManifest   Reason = "InvalidManifest"
	AmbiguousManifest Reason = "AmbiguousManifest"
	ScopeViolation    Reason = "ScopeViolation"
	SchemaInvalid     Reason = "SchemaInvalid"
	UncoveredImage    Reason = "UncoveredImage"
	// EmptyRelease means that nothing was rendered: applying it would prune all.
	EmptyRelease Reason = "EmptyRelease"
)

// Reasons of the image stage.
const (
	ImageNotAllowed     Reason = "ImageNotAllowed"
	ImageUnsigned       Reason = "ImageUnsigned"
	ImageUntrusted      Reason = "ImageUntrusted"
	ImageNotPinned      Reason = "ImageNotPinned"
	AttestationMissing  Reason = "AttestationMissing"
	AttestationInvalid  Reason = "AttestationInvalid"
	RegistryUnavailable Reason = "RegistryUnavailable"
	RegistryLimit       Reason = "RegistryLimit"
)

// Reasons of the policy stage.
const (
	PolicyDenied    Reason = "PolicyDenied"
	PolicyError     Reason = "PolicyError"
	PolicyUndefined Reason = "PolicyUndefined"
	PolicyTimeout   Reason = "PolicyTimeout"
	DeletionBudget  Reason = "DeletionBudget"
	// ExceptionInvalid means that a PolicyException does not count; ExceptionUnused
	// that it covers nothing; ExceptionExpiring that it has expired or is about to.
	ExceptionInvalid  Reason = "ExceptionInvalid"
	ExceptionUnused   Reason = "ExceptionUnused"
	ExceptionExpiring Reason = "ExceptionExpiring"
)

// Reasons of the secret stage.
const (
	PlaintextSecret     Reason = "PlaintextSecret"
	SecretUndecryptable Reason = "SecretUndecryptable"
	SecretIntegrity     Reason = "SecretIntegrity"
	RecipientMissing    Reason = "RecipientMissing"
	RecipientStale      Reason = "RecipientStale"
	KeyServiceDenied    Reason = "KeyServiceDenied"
)

// Reasons of the apply stage.
const (
	DryRunRejected Reason = "DryRunRejected"
	// DryRunSkipped says that no API server was asked.
	DryRunSkipped     Reason = "DryRunSkipped"
	Conflict          Reason = "Conflict"
	HealthCheckFailed Reason = "HealthCheckFailed"
)

// Reasons of the admission stage.
const (
	NotInGit          Reason = "NotInGit"
	ContentMismatch   Reason = "ContentMismatch"
	UndeclaredField   Reason = "UndeclaredField"
	ManagedDelete     Reason = "ManagedDelete"
	SubresourceDenied Reason = "SubresourceDenied"
	NotDerived        Reason = "NotDerived"
	ProtectedIdentity Reason = "ProtectedIdentity"
	NoGrant           Reason = "NoGrant"
	RevisionPending   Reason = "RevisionPending"
	ImagePending      Reason = "ImagePending"
	NotReady          Reason = "NotReady"
	// RevisionRefused means that the revision in force does not pass any more, and that
	// what an object ought to be is therefore not known.
	RevisionRefused Reason = "RevisionRefused"
	Internal        Reason = "Internal"
)
