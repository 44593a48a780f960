package commit

//lint:file-ignore SA1019 DSA is recognised so that it can be refused by name

import (
	"bytes"
	"crypto/dsa"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// sshBlob is the outer form of a signature (PROTOCOL.sshsig).
type sshBlob struct {
	Magic         [6]byte
	Version       uint32
	PublicKey     []byte
	Namespace     string
	Reserved      string
	HashAlgorithm string
	Signature     []byte
}

// proveSSH verifies an armored SSH signature (PROTOCOL.sshsig).
func (k *keyring) proveSSH(armored string, payload []byte) proof {
	sig, f := readSSHSignature(armored)
	if f != nil {
		return proof{fault: f}
	}
	p := proof{algorithm: sshAlgorithm(sig.PublicKey), fingerprint: ssh.FingerprintSHA256(sshKeyOf(sig.PublicKey))}
	if p.fault = weakSSHKey(sig.PublicKey); p.fault != nil {
		return p
	}
	// Keys and certificates come with the signature. Nothing is computed with
	// numbers that an attacker chose, only with keys that are configured.
	if p.fault = k.unknownSSH(sig.PublicKey); p.fault != nil {
		return p
	}
	if err := sshsig.Verify(bytes.NewReader(payload), sig, sig.PublicKey, sig.HashAlgorithm, sig.Namespace); err != nil {
		p.fault = faultf(BadSignature, "the signature by SSH key %s does not match the signed bytes: %v", p.fingerprint, err)
		return p
	}
	if sig.Namespace != k.namespace {
		p.fault = faultf(WrongNamespace, "SSH signature made for namespace %.40q, not %q", sig.Namespace, k.namespace)
		return p
	}
	if cert, ok := sig.PublicKey.(*ssh.Certificate); ok {
		k.matchCertificate(&p, cert)
	} else {
		k.matchKey(&p, sig.PublicKey)
	}
	return p
}

// unknownSSH says that no line names a key or the authority of a certificate. A
// certificate of a known authority is verified here, for the key in it is known
// only through that.
func (k *keyring) unknownSSH(pub ssh.PublicKey) *fault {
	cert, certified := pub.(*ssh.Certificate)
	if certified {
		pub = cert.SignatureKey
	}
	known := slices.ContainsFunc(k.allowed, func(a *allowedSigner) bool {
		return a.authority == certified && sameKey(a.key, pub)
	})
	switch {
	case !known && certified:
		return faultf(UntrustedSigner, "signed with an SSH certificate by authority %s, which no signer names", ssh.FingerprintSHA256(pub))
	case !known:
		return faultf(UntrustedSigner, "signed by SSH key %s, which no signer owns", ssh.FingerprintSHA256(pub))
	case certified:
		if err := checkCertificate(cert); err != nil {
			return faultf(BadSignature, "SSH certificate %.60q: %v", cert.KeyId, err)
		}
	}
	return nil
}

// readSSHSignature reads one armored signature that fills the text.
func readSSHSignature(armored string) (*sshsig.Signature, *fault) {
	text := strings.TrimRight(armored, " \n") + "\n"
	block, rest := pem.Decode([]byte(text))
	if block == nil || len(rest) > 0 || len(block.Headers) > 0 || block.Type != sshsig.PEMType ||
		strings.Count(text, "-----BEGIN ") != 1 {
		return nil, faultf(BadSignature, "the signature is not exactly one armored block")
	}
	var blob sshBlob
	if err := ssh.Unmarshal(block.Bytes, &blob); err != nil {
		return nil, faultf(BadSignature, "the signature cannot be read: %v", err)
	}
	var inner ssh.Signature
	if err := ssh.Unmarshal(blob.Signature, &inner); err != nil {
		return nil, faultf(BadSignature, "the signature cannot be read: %v", err)
	}
	switch {
	case inner.Format == ssh.KeyAlgoRSA: // RSA with SHA-1, also under a certificate
		return nil, faultf(WeakCryptography, "RSA signature with SHA-1: sign with rsa-sha2-512")
	case inner.Format == ssh.InsecureKeyAlgoDSA:
		return nil, faultf(WeakCryptography, "DSA signatures are refused: use Ed25519")
	case sshsig.HashAlgorithm(blob.HashAlgorithm).Supported() != nil:
		return nil, faultf(WeakCryptography, "SSH signature over digest %.20q: sign with sha512 or sha256", blob.HashAlgorithm)
	}
	sig, err := sshsig.ParseSignature(block.Bytes)
	if err != nil {
		return nil, faultf(BadSignature, "the signature cannot be read: %v", err)
	}
	return sig, nil
}

// sshKeyOf returns the key inside a certificate, or the key.
func sshKeyOf(pub ssh.PublicKey) ssh.PublicKey {
	if cert, ok := pub.(*ssh.Certificate); ok {
		return cert.Key
	}
	return pub
}

// weakSSHKey says why signatures by pub are worth nothing, or nil.
func weakSSHKey(pub ssh.PublicKey) *fault {
	if cert, ok := pub.(*ssh.Certificate); ok {
		if cert.Signature == nil || cert.Signature.Format == ssh.KeyAlgoRSA {
			return faultf(WeakCryptography, "certificate signed by RSA with SHA-1: issue it with rsa-sha2-512")
		}
		if f := weakSSHKey(cert.SignatureKey); f != nil {
			return f
		}
		return weakSSHKey(cert.Key)
	}
	crypto, ok := pub.(ssh.CryptoPublicKey)
	if !ok {
		return nil // a security key, which is Ed25519 or P-256
	}
	switch key := crypto.CryptoPublicKey().(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < minRSABits {
			return faultf(WeakCryptography, "RSA key of %d bits: %d is the least", n, minRSABits)
		}
	case *dsa.PublicKey:
		return faultf(WeakCryptography, "DSA keys are refused: use Ed25519")
	}
	return nil
}

func sshAlgorithm(pub ssh.PublicKey) string {
	suffix := ""
	if cert, ok := pub.(*ssh.Certificate); ok {
		pub, suffix = cert.Key, "-cert"
	}
	if crypto, ok := pub.(ssh.CryptoPublicKey); ok {
		switch key := crypto.CryptoPublicKey().(type) {
		case *rsa.PublicKey:
			return fmt.Sprintf("rsa%d%s", key.N.BitLen(), suffix)
		case *ecdsa.PublicKey:
			return "ecdsa-p" + fmt.Sprint(key.Curve.Params().BitSize) + suffix
		}
	}
	switch pub.Type() {
	case ssh.KeyAlgoED25519:
		return "ed25519" + suffix
	case ssh.KeyAlgoSKED25519:
		return "sk-ed25519" + suffix
	case ssh.KeyAlgoSKECDSA256:
		return "sk-ecdsa-p256" + suffix
	}
	return pub.Type()
}

// matchKey finds whose key it is. Several lines of one signer may name it; one
// that admits it at the time in question is enough.
func (k *keyring) matchKey(p *proof, pub ssh.PublicKey) {
	var lines []*allowedSigner
	var other *allowedSigner
	for _, a := range k.allowed {
		switch {
		case a.authority || !sameKey(a.key, pub):
		case a.namespaces != nil && !matchList(a.namespaces, k.namespace):
			other = a
		default:
			lines = append(lines, a)
		}
	}
	switch {
	case len(lines) > 0:
		p.take(lines, lines[0].principals)
		p.at = func(t time.Time) *fault { return firstValid(lines, p.fingerprint, t) }
		p.owns = func(email string, t time.Time) bool {
			return slices.ContainsFunc(lines, func(a *allowedSigner) bool {
				return a.validAt("", t) == nil && (a.matches(email) || containsEmail(a.emails, email))
			})
		}
	case other != nil:
		p.signer = other.signer
		p.fault = faultf(WrongNamespace, "%s admits SSH key %s for namespaces %q, not %q", other.field, p.fingerprint, other.namespaces, k.namespace)
	}
}

func (p *proof) take(lines []*allowedSigner, principals []string) {
	p.signer, p.identity = lines[0].signer, strings.Join(principals, ",")
	p.principals = principals
	p.forge = slices.ContainsFunc(lines, func(a *allowedSigner) bool { return a.forge }) ||
		slices.ContainsFunc(principals, func(s string) bool { return containsEmail(forgeEmails, s) })
}

// matches reports whether the principals of the line cover an address.
func (a *allowedSigner) matches(email string) bool {
	lower := make([]string, len(a.principals))
	for i, p := range a.principals {
		lower[i] = lowerASCII(p)
	}
	return email != "" && matchList(lower, lowerASCII(email))
}

func firstValid(lines []*allowedSigner, fingerprint string, t time.Time) *fault {
	var first *fault
	for _, a := range lines {
		f := a.validAt(fingerprint, t)
		if f == nil {
			return nil
		}
		if first == nil {
			first = f
		}
	}
	return first
}

// validAt says why the line does not admit its key at t, or nil.
func (a *allowedSigner) validAt(fingerprint string, t time.Time) *fault {
	switch {
	case !a.validAfter.IsZero() && t.Before(a.validAfter):
		return faultf(KeyExpired, "SSH key %s is not valid before %s (%s)", fingerprint, a.validAfter.UTC().Format(time.RFC3339), a.field)
	case !a.validBefore.IsZero() && !t.Before(a.validBefore):
		return faultf(KeyExpired, "SSH key %s is not valid after %s (%s)", fingerprint, a.validBefore.UTC().Format(time.RFC3339), a.field)
	}
	return nil
}

// matchCertificate finds, for a certificate that was verified, the line of its
// authority and the principals for which that is trusted. The first signer of the configuration that fits is taken.
func (k *keyring) matchCertificate(p *proof, cert *ssh.Certificate) {
	authority := ssh.FingerprintSHA256(cert.SignatureKey)
	for _, a := range k.allowed {
		if !a.authority || !sameKey(a.key, cert.SignatureKey) {
			continue
		}
		principals := slices.DeleteFunc(slices.Clone(cert.ValidPrincipals), func(s string) bool { return !a.matches(s) })
		switch {
		case len(principals) == 0:
			p.fault = faultf(UntrustedSigner, "SSH certificate for %q: authority %s is trusted for other principals", cert.ValidPrincipals, authority)
			continue
		case a.namespaces != nil && !matchList(a.namespaces, k.namespace):
			p.fault = faultf(WrongNamespace, "%s admits authority %s for namespaces %q, not %q", a.field, authority, a.namespaces, k.namespace)
			continue
		}
		p.fault = nil
		p.take([]*allowedSigner{a}, principals)
		p.at = func(t time.Time) *fault {
			if f := a.validAt(authority, t); f != nil {
				return f
			}
			return certificateAt(cert, t)
		}
		p.owns = func(email string, _ time.Time) bool {
			return containsEmail(principals, email) || containsEmail(a.emails, email)
		}
		return
	}
}

// checkCertificate verifies all of a certificate but its time and its authority.
func checkCertificate(cert *ssh.Certificate) error {
	if cert.CertType != ssh.UserCert {
		return errors.New("not a user certificate")
	}
	if len(cert.ValidPrincipals) == 0 {
		return errors.New("no principals: it would speak for everybody")
	}
	// A time within its validity makes CheckCert look at the rest alone.
	checker := ssh.CertChecker{Clock: func() time.Time { return time.Unix(int64(cert.ValidAfter), 0) }}
	if cert.ValidAfter >= cert.ValidBefore || int64(cert.ValidAfter) < 0 {
		return errors.New("no time at which it is valid")
	}
	return checker.CheckCert(cert.ValidPrincipals[0], cert)
}

// certificateAt says why cert is not valid at t, or nil.
func certificateAt(cert *ssh.Certificate, t time.Time) *fault {
	after, before := int64(cert.ValidAfter), cert.ValidBefore
	switch now := t.Unix(); {
	case now < after:
		return faultf(KeyExpired, "SSH certificate %.60q is not valid before %s", cert.KeyId, day(time.Unix(after, 0)))
	case before != ssh.CertTimeInfinity && (int64(before) < 0 || now >= int64(before)):
		return faultf(KeyExpired, "SSH certificate %.60q expired on %s", cert.KeyId, day(time.Unix(int64(before), 0)))
	}
	return nil
}
