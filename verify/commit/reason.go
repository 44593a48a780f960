package commit

import (
	"fmt"
	"strings"
)

// A Reason is a stable code for why a commit is refused. The texts equal those
// of the shared verdict.
type Reason string

// The reasons of this package.
const (
	// UnsignedCommit means that the commit carries no signature.
	UnsignedCommit Reason = "UnsignedCommit"
	// BadSignature means that the signature does not hold for the bytes.
	BadSignature Reason = "BadSignature"
	// UntrustedSigner means that no configured signer owns the key.
	UntrustedSigner Reason = "UntrustedSigner"
	// SignerNotAllowed means that the signer may not change a path.
	SignerNotAllowed Reason = "SignerNotAllowed"
	// ForgeKey means that a forge's web flow signed, not a person.
	ForgeKey Reason = "ForgeKey"
	// AuthorMismatch means that author or committer is not the signer.
	AuthorMismatch Reason = "AuthorMismatch"
	// KeyExpired means that the key is not valid at the time that counts.
	KeyExpired Reason = "KeyExpired"
	// KeyRevoked means that the key was revoked.
	KeyRevoked Reason = "KeyRevoked"
	// WeakCryptography means that key or digest can be forged.
	WeakCryptography Reason = "WeakCryptography"
	// WrongNamespace means that an SSH signature was made for something else.
	WrongNamespace Reason = "WrongNamespace"
	// MalformedObject means that an object is not in the form that Git writes.
	MalformedObject Reason = "MalformedObject"
	// HashMismatch means that an object's bytes do not have its hash.
	HashMismatch Reason = "HashMismatch"
	// NonFastForward means that the head does not descend from what was in force.
	NonFastForward Reason = "NonFastForward"
	// IncompleteHistory means that not every commit back to the root is there.
	IncompleteHistory Reason = "IncompleteHistory"
	// UnsupportedSignature names a kind that cannot be verified yet.
	UnsupportedSignature Reason = "UnsupportedSignature"
	// SourceUnavailable means that the object store could not be read.
	SourceUnavailable Reason = "SourceUnavailable"
	// LimitExceeded means that an object or a range is too large to judge.
	LimitExceeded Reason = "LimitExceeded"
)

// A Problem is one cause of refusal.
type Problem struct {
	Reason Reason
	// Commit is the hash at fault, in hex. It is empty when none is.
	Commit string
	// Signer is the signer or the key at fault, if known.
	Signer string
	// File is the path at fault, for SignerNotAllowed and malformed trees.
	File string
	// Message says in one line what is wrong and what to do.
	Message string
	// Undetermined means that the question could not be decided; it refuses too.
	Undetermined bool
}

// String renders the problem as one line.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(string(p.Reason))
	if p.Commit != "" {
		fmt.Fprintf(&b, " commit %.12s", p.Commit)
	}
	if p.File != "" {
		b.WriteString(" " + p.File)
	}
	b.WriteString(": " + p.Message)
	return b.String()
}

// An ObjectError says why an object cannot be used.
type ObjectError struct {
	Reason Reason
	// Object is the hash of the object, in hex.
	Object string
	// Path is where the object was met, if in a tree.
	Path string
	// Message says what is wrong.
	Message string
	// Undetermined means that trying again may help.
	Undetermined bool
	// Err is the cause, if there is one.
	Err error
}

func (e *ObjectError) Error() string {
	s := fmt.Sprintf("object %.12s: %s: %s", e.Object, e.Reason, e.Message)
	if e.Path != "" {
		s = e.Path + ": " + s
	}
	return s
}

// Unwrap returns the cause.
func (e *ObjectError) Unwrap() error { return e.Err }

func malformed(format string, args ...any) *ObjectError {
	return &ObjectError{Reason: MalformedObject, Message: fmt.Sprintf(format, args...)}
}
