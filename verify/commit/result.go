package commit

import "time"

// A Status sums up what became of one commit.
type Status string

// The states of a commit. Only [Good] lets pass.
const (
	// Good means signed by a signer who may make this change.
	Good Status = "good"
	// Bad means that the signature or the object itself does not hold.
	Bad Status = "bad"
	// Unsigned means that there is no signature.
	Unsigned Status = "unsigned"
	// Untrusted means that the signature may hold, but that its maker's word does
	// not count here and now.
	Untrusted Status = "untrusted"
	// Unsupported means a kind of signature that cannot be verified yet.
	Unsupported Status = "unsupported"
)

// A Result is what became of one commit. The zero value is no verdict: check
// that Status is [Good].
type Result struct {
	// Commit is the hash, in hex.
	Commit string
	Status Status
	// Reason and Message are those of the first problem; empty when good.
	Reason  Reason
	Message string
	// Signer is the name of the configured signer, if the key is one of theirs.
	Signer string
	// Identity is the user ID or the principals of the key, for people.
	Identity string
	// KeyType is the kind of signature, and Algorithm that of its key, as in
	// rsa4096 or ed25519.
	KeyType   KeyType
	Algorithm string
	// Fingerprint is that of the key that signed, in hex for OpenPGP and as
	// SHA256:… for SSH. For a signature that does not hold it is only claimed.
	Fingerprint string
	// Problems are all causes of refusal.
	Problems []Problem
}

func (r *Result) fail(p Problem) {
	p.Commit = r.Commit
	if len(r.Problems) == 0 {
		r.Status, r.Reason, r.Message = statusOf(p.Reason), p.Reason, p.Message
	}
	r.Problems = append(r.Problems, p)
}

func statusOf(r Reason) Status {
	switch r {
	case UnsignedCommit:
		return Unsigned
	case UnsupportedSignature:
		return Unsupported
	case UntrustedSigner, SignerNotAllowed, ForgeKey, AuthorMismatch, KeyExpired, KeyRevoked:
		return Untrusted
	}
	return Bad
}

// A Report is what [Verifier.Verify] found.
type Report struct {
	// Commits are the commits that were judged, in the order of git log.
	Commits []Result
	// Problems are all causes of refusal: those of the commits, and those of the
	// history as a whole. Empty means that everything holds.
	Problems []Problem
	// Rollback is the name of the tag that allows to go back, if one was needed.
	Rollback string
}

// Info describes the commit at the head of a [Tree].
type Info struct {
	// Hash and Tree are in hex.
	Hash, Tree        string
	Author, Committer Identity
	// Signers are the names of those who signed the head: one, or none if the
	// head is the pinned root.
	Signers []string
	Message string
	// When is the committer's time.
	When time.Time
}
