package commit

import (
	"fmt"
	"strings"
	"time"
)

// KeyType names a kind of signature.
type KeyType string

// The kinds of signature. X.509 ones (gitsign, smimesign) are named only.
const (
	OpenPGP KeyType = "openpgp"
	SSH     KeyType = "ssh"
	X509    KeyType = "x509"

	kindUnknown KeyType = ""
)

const (
	armorOpenPGP = "-----BEGIN PGP SIGNATURE-----"
	armorMessage = "-----BEGIN PGP MESSAGE-----"
	armorSSH     = "-----BEGIN SSH SIGNATURE-----"
	armorX509    = "-----BEGIN SIGNED MESSAGE-----"
)

// signatureKind tells the kind by the first line, as Git does.
func signatureKind(armored string) KeyType {
	switch {
	case strings.HasPrefix(armored, armorOpenPGP), strings.HasPrefix(armored, armorMessage):
		return OpenPGP
	case strings.HasPrefix(armored, armorSSH):
		return SSH
	case strings.HasPrefix(armored, armorX509):
		return X509
	}
	return kindUnknown
}

// A fault is why a signature does not count.
type fault struct {
	reason  Reason
	message string
}

func faultf(reason Reason, format string, args ...any) *fault {
	return &fault{reason, fmt.Sprintf(format, args...)}
}

// A proof is what the bytes of a signed object prove for all time, given the
// configured keys: either fault, or that the key of signer made the signature.
// Whether that key was valid is asked anew each time, by at.
type proof struct {
	kind        KeyType
	algorithm   string // as in ed25519 or rsa4096
	fingerprint string // of the key that signed, also when it is not ours
	signer      string
	identity    string   // the user ID or the principals, for people
	principals  []string // of an SSH key or certificate
	forge       bool
	fault       *fault

	// at says why the key does not count at the time t, or nil.
	at func(t time.Time) *fault
	// owns reports whether an e-mail address belongs to the signer at t.
	owns func(email string, t time.Time) bool
	// signed is when the signature says it was made; zero when it does not say.
	signed time.Time
}

// prove verifies a signature over payload. It decides nothing about time.
func (k *keyring) prove(armored string, payload []byte) (p proof) {
	kind := signatureKind(armored)
	defer func() {
		if r := recover(); r != nil { // hostile input met a defect in a parser
			p = proof{kind: kind, fault: faultf(BadSignature, "unreadable %s signature: %v", kind, r)}
		}
	}()
	switch kind {
	case OpenPGP:
		p = k.proveOpenPGP(armored, payload)
	case SSH:
		p = k.proveSSH(armored, payload)
	case X509:
		p.fault = faultf(UnsupportedSignature,
			"X.509 signatures (gitsign, smimesign) cannot be verified yet: sign with OpenPGP or SSH")
	default:
		first, _, _ := strings.Cut(armored, "\n")
		p.fault = faultf(UnsupportedSignature, "unknown kind of signature: %.60q", first)
	}
	p.kind = kind
	return p
}
