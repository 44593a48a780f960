package image

import "fmt"

// A Reason says in a stable word why an image is refused.
type Reason string

// The reasons.
const (
	// ImageNotAllowed: no rule allows the repository, or a rule denies it.
	ImageNotAllowed Reason = "ImageNotAllowed"
	// ImageUnsigned: the registry has no signature for the digest.
	ImageUnsigned Reason = "ImageUnsigned"
	// ImageUntrusted: there are signatures, but none that a rule accepts.
	ImageUntrusted Reason = "ImageUntrusted"
	// ImageNotPinned: a digest is required and the reference has none.
	ImageNotPinned Reason = "ImageNotPinned"
	// AttestationMissing: the registry has no attestation of a type that a rule asks
	// for.
	AttestationMissing Reason = "AttestationMissing"
	// AttestationInvalid: there are such attestations, but none that counts: of
	// another signer or about another image, or they cannot be read.
	AttestationInvalid Reason = "AttestationInvalid"
	// RegistryUnavailable: the registry gave no usable answer in time.
	RegistryUnavailable Reason = "RegistryUnavailable"
	// RegistryLimit: the registry sent more than the limits allow.
	RegistryLimit Reason = "RegistryLimit"
)

// An Error is why an image is not verified. Every error of [Verifier.Verify] is
// one.
type Error struct {
	Reason Reason
	// Image is the reference as it was asked for.
	Image string
	// Message is one line without secrets: what is wrong and what to do.
	Message string
	// Undetermined means that nothing is known about the image: a later try may
	// end otherwise. It is no consent.
	Undetermined bool
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s: %s", quote(e.Image), e.Reason, e.Message)
}

// quote renders text of others for a message: one line, printable, short.
func quote(s string) string {
	const most = 300
	if len(s) > most {
		s = s[:most] + "…"
	}
	q := fmt.Sprintf("%q", s)
	return q[1 : len(q)-1]
}
