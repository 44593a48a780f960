package commit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// SSHSigners verifies SSH signatures over something other than a commit, by the
// same rules as over one: see ssh-keygen(1) under ALLOWED SIGNERS and OpenSSH's
// PROTOCOL.sshsig. It is safe for concurrent use.
type SSHSigners struct{ keys keyring }

// NewSSHSigners reads lines of an allowed_signers file. Signatures count for
// namespace alone, which must be another than Git's, so that nobody's commit can
// pass for a signature over something else. A key's principals must be plain
// names: a pattern would not say who signed. Errors are of type [ConfigError],
// with field as the place.
func NewSSHSigners(field, allowedSigners, namespace string) (*SSHSigners, error) {
	if namespace == "" || namespace == gitNamespace {
		return nil, fmt.Errorf("the namespace of signatures is %q, which says nothing or is Git's", namespace)
	}
	s := &SSHSigners{keys: keyring{namespace: namespace}}
	if err := s.keys.addAllowedSigners(field, SignerConfig{Name: field, AllowedSigners: allowedSigners}); err != nil {
		return nil, err
	}
	var errs []error
	for _, a := range s.keys.allowed {
		if i := slices.IndexFunc(a.principals, isPattern); i >= 0 && !a.authority {
			errs = append(errs, configError(a.field, "principal %q of a key is a pattern: give the name of its owner", a.principals[i]))
		}
		if f := weakSSHKey(a.key); f != nil {
			errs = append(errs, configError(a.field, "%s", f.message))
		}
		if a.namespaces != nil && !matchList(a.namespaces, namespace) {
			errs = append(errs, configError(a.field, "option namespaces does not admit %q, so the line could never count", namespace))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

func isPattern(principal string) bool {
	return strings.ContainsAny(principal, "*?") || strings.HasPrefix(principal, "!")
}

// Len is the number of lines that name a key.
func (s *SSHSigners) Len() int { return len(s.keys.allowed) }

// An SSHSignature is one that holds for its bytes, by a key that counts.
type SSHSignature struct {
	// Fingerprint is SHA256:… of the key, also of one in a certificate.
	Fingerprint string
	// Principals are the names under which the key is known, in lower case and
	// sorted; of a certificate those for which its authority is trusted.
	Principals []string
	// validAt says why the key does not count at a time.
	validAt func(time.Time) *fault
}

// ValidAt says why the key does not count at t, or nil. An SSH signature does not
// say when it was made.
func (s *SSHSignature) ValidAt(t time.Time) error {
	if f := s.validAt(t); f != nil {
		return &SSHSignatureError{Reason: f.reason, Message: f.message}
	}
	return nil
}

// An SSHSignatureError says why a signature does not count.
type SSHSignatureError struct {
	Reason Reason
	// Message says in one line what is wrong.
	Message string
}

func (e *SSHSignatureError) Error() string { return e.Message }

// Verify verifies one armored signature over message. An error is of type
// [SSHSignatureError]. It decides nothing about time; see [SSHSignature.ValidAt].
func (s *SSHSigners) Verify(armored string, message []byte) (sig *SSHSignature, err error) {
	defer func() {
		if r := recover(); r != nil { // hostile input met a defect in a parser
			sig, err = nil, &SSHSignatureError{Reason: BadSignature, Message: "the signature cannot be read"}
		}
	}()
	if signatureKind(armored) != SSH {
		return nil, &SSHSignatureError{Reason: BadSignature, Message: "not an armored SSH signature (-----BEGIN SSH SIGNATURE-----)"}
	}
	p := s.keys.proveSSH(armored, message)
	switch {
	case p.fault != nil:
		return nil, &SSHSignatureError{Reason: p.fault.reason, Message: p.fault.message}
	case p.at == nil || len(p.principals) == 0:
		return nil, &SSHSignatureError{Reason: UntrustedSigner, Message: fmt.Sprintf("signed by SSH key %s, which nobody owns", p.fingerprint)}
	}
	return &SSHSignature{Fingerprint: p.fingerprint, Principals: s.owners(p), validAt: p.at}, nil
}

// owners gathers every name of the key, for it may have several lines. A
// certified key may have lines of its own, and is then the same person's.
func (s *SSHSigners) owners(p proof) []string {
	names := slices.Clone(p.principals)
	for _, a := range s.keys.allowed {
		if !a.authority && ssh.FingerprintSHA256(a.key) == p.fingerprint {
			names = append(names, a.principals...)
		}
	}
	for i, n := range names {
		names[i] = lowerASCII(n)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
