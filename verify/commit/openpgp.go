package commit

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// clockSkew is how far a signer's clock may run ahead of ours.
const clockSkew = 5 * time.Minute

// proveOpenPGP verifies a detached OpenPGP signature (RFC 9580, section 5.2).
func (k *keyring) proveOpenPGP(armored string, payload []byte) proof {
	body, f := dearmor(armored, armorOpenPGP, "-----END PGP SIGNATURE-----")
	if f != nil {
		return proof{fault: f}
	}
	if f := checkSignaturePacket(body); f != nil {
		return proof{fault: f}
	}
	sig, f := readSignature(body)
	if f != nil {
		return proof{fault: f}
	}
	if sig.IssuerKeyId == nil {
		return proof{fault: faultf(BadSignature, "the signature does not name its key")}
	}
	p := proof{fingerprint: issuer(sig), signed: sig.CreationTime}
	candidates := k.openPGP[*sig.IssuerKeyId]
	if len(candidates) == 0 {
		p.fault = faultf(UntrustedSigner, "signed by OpenPGP key %s, which no signer owns", p.fingerprint)
		if forgeKeyIDs[*sig.IssuerKeyId] {
			p.forge = true
		}
		return p
	}
	for _, key := range candidates {
		if !verifies(key.public, sig, payload) {
			continue
		}
		p.fingerprint, p.algorithm = fingerprint(key.public), algorithmOf(key.public)
		p.signer, p.identity, p.forge = key.owner.signer, key.owner.name(), key.owner.forge
		p.fault = key.usable(sig)
		p.owns = key.owner.owns
		p.at = func(t time.Time) *fault { return key.validAt(sig, t) }
		return p
	}
	p.signer = candidates[0].owner.signer
	p.fault = faultf(BadSignature, "the signature by OpenPGP key %s does not match the commit's bytes", p.fingerprint)
	return p
}

// dearmor decodes one armored block that fills the whole text: a second block,
// or text around it, would be read differently elsewhere.
func dearmor(armored, begin, end string) ([]byte, *fault) {
	text := strings.TrimRight(armored, " \n")
	if !strings.HasPrefix(text, begin+"\n") || !strings.HasSuffix(text, "\n"+end) ||
		strings.Count(text, "-----BEGIN ") != 1 || strings.Count(text, "-----END ") != 1 {
		return nil, faultf(BadSignature, "the signature is not exactly one armored block")
	}
	block, err := armor.Decode(strings.NewReader(text + "\n"))
	if err != nil {
		return nil, faultf(BadSignature, "the armor cannot be decoded: %v", err)
	}
	body, err := io.ReadAll(block.Body)
	if err != nil {
		return nil, faultf(BadSignature, "the armor cannot be decoded: %v", err)
	}
	return body, nil
}

// readSignature reads the one packet that checkSignaturePacket found.
func readSignature(body []byte) (*packet.Signature, *fault) {
	packets := packet.NewReader(bytes.NewReader(body))
	p, err := packets.NextWithUnsupported()
	if err != nil {
		return nil, faultf(BadSignature, "no signature packet: %v", err)
	}
	if u, ok := p.(*packet.UnsupportedPacket); ok {
		return nil, faultf(UnsupportedSignature, "signature of an unsupported form: %v", u.Error)
	}
	sig, ok := p.(*packet.Signature)
	if !ok {
		return nil, faultf(BadSignature, "a packet that is not a signature")
	}
	switch {
	case sig.SigType != packet.SigTypeBinary:
		// A text signature covers the bytes with their line ends changed.
		return nil, faultf(BadSignature, "signature of type %#x, not over the bytes as they are", uint8(sig.SigType))
	case hasUnknownNotation(sig):
		return nil, faultf(BadSignature, "the signature has a critical notation of unknown meaning")
	}
	return sig, nil
}

func verifies(pub *packet.PublicKey, sig *packet.Signature, payload []byte) bool {
	h, err := sig.PrepareVerify()
	if err != nil {
		return false
	}
	h.Write(payload) // a hash never fails
	return pub.VerifySignature(h, sig) == nil
}

func hasUnknownNotation(sig *packet.Signature) bool {
	return slices.ContainsFunc(sig.Notations, func(n *packet.Notation) bool { return n.IsCritical })
}

// weakKey says why signatures by pub are worth nothing, or nil.
func weakKey(pub *packet.PublicKey) *fault {
	switch pub.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		if n, err := pub.BitLength(); err != nil || n < minRSABits {
			return faultf(WeakCryptography, "RSA key of %d bits: %d is the least", n, minRSABits)
		}
	case packet.PubKeyAlgoDSA:
		return faultf(WeakCryptography, "DSA keys are refused: use Ed25519 or RSA of 3072 bits or more")
	case packet.PubKeyAlgoECDSA:
		if c, err := pub.Curve(); err != nil || c == packet.CurveSecP256k1 {
			return faultf(WeakCryptography, "curve secp256k1 is refused: use Ed25519 or a NIST curve")
		}
	case packet.PubKeyAlgoEdDSA, packet.PubKeyAlgoEd25519, packet.PubKeyAlgoEd448:
	default:
		return faultf(WeakCryptography, "key of algorithm %d", pub.PubKeyAlgo)
	}
	return nil
}

// minRSABits is the least RSA modulus: NIST SP 800-57 part 1, 112 bits strength.
const minRSABits = 2048

// digestBits is the least digest for signatures by pub: ECDSA uses no more of it
// than the curve is long, and no less shall be there (FIPS 186-5, section 6.4;
// GnuPG refuses shorter ones too).
func digestBits(pub *packet.PublicKey) int {
	if pub.PubKeyAlgo != packet.PubKeyAlgoECDSA {
		return 0
	}
	switch c, _ := pub.Curve(); c {
	case packet.CurveNistP384, packet.CurveBrainpoolP384:
		return 384
	case packet.CurveNistP521, packet.CurveBrainpoolP512:
		return 512
	}
	return 256
}

func algorithmOf(pub *packet.PublicKey) string {
	switch pub.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		n, _ := pub.BitLength()
		return fmt.Sprintf("rsa%d", n)
	case packet.PubKeyAlgoDSA:
		n, _ := pub.BitLength()
		return fmt.Sprintf("dsa%d", n)
	case packet.PubKeyAlgoECDSA:
		c, _ := pub.Curve()
		return "ecdsa-" + strings.ToLower(string(c))
	case packet.PubKeyAlgoEd448:
		return "ed448"
	case packet.PubKeyAlgoEdDSA:
		if c, _ := pub.Curve(); c == packet.Curve448 {
			return "ed448"
		}
	}
	return "ed25519"
}

func fingerprint(pub *packet.PublicKey) string {
	return strings.ToUpper(hex.EncodeToString(pub.Fingerprint))
}

// issuer names the key that a signature claims.
func issuer(sig *packet.Signature) string {
	if len(sig.IssuerFingerprint) > 0 {
		return strings.ToUpper(hex.EncodeToString(sig.IssuerFingerprint))
	}
	return fmt.Sprintf("%016X", *sig.IssuerKeyId)
}
