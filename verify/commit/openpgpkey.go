package commit

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// An openPGPEntity is one OpenPGP certificate: a primary key with its user IDs.
// All signatures kept in it were verified when it was read.
type openPGPEntity struct {
	signer string
	forge  bool
	emails []string // of the signer's configuration

	primary     *packet.PublicKey
	direct      []*packet.Signature
	revocations []*packet.Signature
	users       []*openPGPUser
	keys        []*openPGPKey // the primary key and the subkeys
}

// An openPGPUser is a user ID and what the primary key says of it.
type openPGPUser struct {
	id          *packet.UserId
	certs       []*packet.Signature
	revocations []*packet.Signature
}

// An openPGPKey is a primary key or a subkey that may have made a signature.
type openPGPKey struct {
	owner       *openPGPEntity
	public      *packet.PublicKey
	bindings    []*packet.Signature // of a subkey
	revocations []*packet.Signature // of a subkey
}

func (k *openPGPKey) isPrimary() bool { return k.public == k.owner.primary }

// self is the signature that carries the key's flags and lifetime.
func (k *openPGPKey) self() *packet.Signature {
	if k.isPrimary() {
		return k.owner.self()
	}
	return latest(k.bindings)
}

// usable says why the key must not have made sig, at whatever time, or nil.
func (k *openPGPKey) usable(sig *packet.Signature) *fault {
	if f := weakKey(k.public); f != nil {
		return f
	}
	self := k.self()
	switch {
	case sig.Hash.Size()*8 < digestBits(k.public):
		return faultf(WeakCryptography, "digest %s is too short for OpenPGP key %s", sig.Hash, fingerprint(k.public))
	case self == nil:
		return faultf(KeyRevoked, "OpenPGP key %s has no user ID left that is not revoked", fingerprint(k.public))
	case hasUnknownNotation(self):
		return faultf(BadSignature, "OpenPGP key %s has a critical notation of unknown meaning", fingerprint(k.public))
	case self.FlagsValid && !self.FlagSign, !self.FlagsValid && !k.isPrimary():
		// Without flags a primary key may sign, as in GnuPG; a subkey may not,
		// since only one flagged for signing proves that it wants to belong here.
		return faultf(BadSignature, "OpenPGP key %s is not a signing key", fingerprint(k.public))
	case sig.CreationTime.Before(k.public.CreationTime):
		return faultf(BadSignature, "the signature claims to be older than its key %s", fingerprint(k.public))
	}
	return nil
}

// validAt says why the key or the signature does not count at t, or nil.
func (k *openPGPKey) validAt(sig *packet.Signature, t time.Time) *fault {
	fpr := fingerprint(k.public)
	for _, r := range slices.Concat(k.owner.revocations, k.revocations) {
		if hard(r) || !r.CreationTime.After(t) {
			return faultf(KeyRevoked, "OpenPGP key %s was revoked on %s%s", fpr, day(r.CreationTime), whyRevoked(r))
		}
	}
	expiries := []time.Time{
		expiry(sig.CreationTime, sig.SigLifetimeSecs),
		keyExpiry(k.owner.primary, k.owner.self()),
		keyExpiry(k.owner.primary, latest(k.owner.direct)),
	}
	if !k.isPrimary() {
		expiries = append(expiries, keyExpiry(k.public, latest(k.bindings)))
	}
	for _, e := range expiries {
		if !e.IsZero() && !t.Before(e) {
			return faultf(KeyExpired, "OpenPGP key %s or its signature expired on %s: sign with a valid key, or extend this one and update the signer", fpr, day(e))
		}
	}
	switch {
	case k.public.CreationTime.After(t.Add(clockSkew)):
		return faultf(KeyExpired, "OpenPGP key %s is not valid before %s", fpr, day(k.public.CreationTime))
	case sig.CreationTime.After(t.Add(clockSkew)):
		return faultf(BadSignature, "the signature claims to be made in the future, on %s", day(sig.CreationTime))
	}
	return nil
}

// hard reports whether a revocation voids all that the key ever signed: it was
// compromised, or the reason is not known (RFC 9580, section 5.2.3.31).
func hard(r *packet.Signature) bool {
	if r.RevocationReason == nil {
		return true
	}
	switch *r.RevocationReason {
	case packet.KeySuperseded, packet.KeyRetired, packet.UserIDNotValid:
		return false
	}
	return true
}

func whyRevoked(r *packet.Signature) string {
	if r.RevocationReason == nil {
		return " without a reason"
	}
	switch *r.RevocationReason {
	case packet.KeySuperseded:
		return " as superseded"
	case packet.KeyRetired:
		return " as retired"
	case packet.KeyCompromised:
		return " as compromised"
	}
	return ""
}

// keyExpiry is when pub expires by what self says; zero is never. A key for
// which nothing is said is ruled out elsewhere.
func keyExpiry(pub *packet.PublicKey, self *packet.Signature) time.Time {
	if self == nil {
		return time.Time{}
	}
	end := expiry(pub.CreationTime, self.KeyLifetimeSecs)
	if own := expiry(self.CreationTime, self.SigLifetimeSecs); end.IsZero() || !own.IsZero() && own.Before(end) {
		end = own
	}
	return end
}

// expiry adds a lifetime in seconds; nil and zero mean for ever.
func expiry(start time.Time, seconds *uint32) time.Time {
	if seconds == nil || *seconds == 0 {
		return time.Time{}
	}
	return start.Add(time.Duration(*seconds) * time.Second)
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// latest returns the newest signature, or nil.
func latest(sigs []*packet.Signature) *packet.Signature {
	var newest *packet.Signature
	for _, s := range sigs {
		if newest == nil || s.CreationTime.After(newest.CreationTime) {
			newest = s
		}
	}
	return newest
}

// self is the certification of the primary user ID, or for keys without user
// IDs (version 6) the direct signature. It is nil if all user IDs are revoked.
func (e *openPGPEntity) self() *packet.Signature {
	if len(e.users) == 0 {
		return latest(e.direct)
	}
	var best *packet.Signature
	for _, u := range e.users {
		s := u.certification()
		if s == nil || best != nil && !preferred(s, best) {
			continue
		}
		best = s
	}
	return best
}

func preferred(s, than *packet.Signature) bool {
	a := s.IsPrimaryId != nil && *s.IsPrimaryId
	b := than.IsPrimaryId != nil && *than.IsPrimaryId
	if a != b {
		return a
	}
	return s.CreationTime.After(than.CreationTime)
}

// certification is the newest self-certification, or nil if the user ID was
// revoked since.
func (u *openPGPUser) certification() *packet.Signature {
	cert := latest(u.certs)
	for _, r := range u.revocations {
		if cert != nil && !r.CreationTime.Before(cert.CreationTime) {
			return nil
		}
	}
	return cert
}

// name is the primary user ID, for people.
func (e *openPGPEntity) name() string {
	self := e.self()
	for _, u := range e.users {
		if self != nil && u.certification() == self {
			return u.id.Id
		}
	}
	return fingerprint(e.primary)
}

// owns reports whether an address is in a user ID that is valid at t, or is
// configured for the signer.
func (e *openPGPEntity) owns(email string, t time.Time) bool {
	if containsEmail(e.emails, email) {
		return true
	}
	for _, u := range e.users {
		cert := u.certification()
		if cert == nil || !sameEmail(u.email(), email) {
			continue
		}
		if end := expiry(cert.CreationTime, cert.SigLifetimeSecs); end.IsZero() || t.Before(end) {
			return true
		}
	}
	return false
}

func (u *openPGPUser) email() string {
	if u.id.Email == "" && strings.Contains(u.id.Id, "@") && !strings.ContainsAny(u.id.Id, " <>") {
		return u.id.Id // a bare address
	}
	return u.id.Email
}

// sameEmail compares addresses without regard to the case of ASCII letters. An
// empty address equals none.
func sameEmail(a, b string) bool { return a != "" && lowerASCII(a) == lowerASCII(b) }

func containsEmail(list []string, email string) bool {
	return slices.ContainsFunc(list, func(e string) bool { return sameEmail(e, email) })
}

func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func (e *openPGPEntity) String() string {
	return fmt.Sprintf("%s (%s)", fingerprint(e.primary), e.name())
}
