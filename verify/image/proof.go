package image

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/payload"
)

// A proof is what a registry holds out as a signature, or as an attestation. Nothing
// in it is trusted before verify, or signedBy.
type proof struct {
	Layout Layout `json:"layout"`
	// Statement marks an attestation. It has no Signature beside its Payload, which
	// is an envelope.
	Statement bool `json:"statement,omitempty"`
	// Payload and Signature belong to [LayoutTag].
	Payload   []byte `json:"payload,omitempty"`
	Signature []byte `json:"signature,omitempty"`
	// Bundle belongs to [LayoutBundle].
	Bundle []byte `json:"bundle,omitempty"`
}

var errPanic = errors.New("the signature cannot be parsed")

// verify is nil only if the authority signed the digest.
func (p proof) verify(digest string, a *authority) (err error) {
	defer func() {
		// The parsers below are of others and read hostile bytes.
		if recover() != nil {
			err = errPanic
		}
	}()
	switch p.Layout {
	case LayoutTag:
		return verifyPayload(p.Payload, p.Signature, digest, a.key)
	case LayoutBundle:
		return verifyBundle(p.Bundle, digest, a.key)
	default:
		return fmt.Errorf("unknown layout %s", quote(string(p.Layout)))
	}
}

// verifyPayload checks a simple-signing document (containers-signature(5)) as
// cosign writes it: first who signed the bytes, then what they say.
func verifyPayload(doc, sig []byte, digest string, key signature.Verifier) error {
	if err := key.VerifySignature(bytes.NewReader(sig), bytes.NewReader(doc)); err != nil {
		return errors.New("not signed by the key")
	}
	var claim payload.SimpleContainerImage
	if err := json.Unmarshal(doc, &claim); err != nil {
		return errors.New("what is signed is not a simple-signing document")
	}
	if claim.Critical.Type != payload.CosignSignatureType {
		return fmt.Errorf("what is signed is of type %s", quote(claim.Critical.Type))
	}
	if claim.Critical.Image.DockerManifestDigest != digest {
		return fmt.Errorf("it signs another image, %s", quote(claim.Critical.Image.DockerManifestDigest))
	}
	return nil
}

const (
	// predicateSign is what `cosign sign` states in a bundle.
	predicateSign = "https://sigstore.dev/cosign/sign/v1"
	inToto        = "application/vnd.in-toto+json"
)

// verifyBundle checks a Sigstore bundle whose DSSE envelope the key signed.
func verifyBundle(raw []byte, digest string, key signature.Verifier) error {
	var b bundle.Bundle
	if err := b.UnmarshalJSON(raw); err != nil {
		return errors.New("the bundle cannot be parsed")
	}
	envelope := b.GetDsseEnvelope()
	if envelope == nil || envelope.GetPayloadType() != inToto {
		return errors.New("the bundle holds no in-toto statement")
	}
	sum, err := hex.DecodeString(strings.TrimPrefix(digest, "sha256:"))
	if err != nil {
		return err
	}
	trusted := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		// The hint names a key, but it is not signed: only our key counts.
		return root.NewExpiringKey(key, time.Time{}, time.Time{}), nil
	})
	verifier, err := verify.NewVerifier(trusted, verify.WithNoObserverTimestamps(), verify.WithoutStatementPredicate())
	if err != nil {
		return err
	}
	result, err := verifier.Verify(&b, verify.NewPolicy(verify.WithArtifactDigest("sha256", sum), verify.WithKey()))
	if err != nil {
		return errors.New("not signed by the key for this image")
	}
	if result.Statement.GetPredicateType() != predicateSign {
		return fmt.Errorf("it attests %s, which is no signature", quote(result.Statement.GetPredicateType()))
	}
	return nil
}

// anyVerifier accepts what one of its schemes, all of the same key, accepts.
type anyVerifier []signature.Verifier

func (v anyVerifier) VerifySignature(sig, message io.Reader, opts ...signature.VerifyOption) error {
	s, err := io.ReadAll(sig)
	if err != nil {
		return err
	}
	m, err := io.ReadAll(message)
	if err != nil {
		return err
	}
	err = errors.New("no scheme")
	for _, one := range v {
		if err = one.VerifySignature(bytes.NewReader(s), bytes.NewReader(m), opts...); err == nil {
			return nil
		}
	}
	return err
}

func (v anyVerifier) PublicKey(opts ...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return v[0].PublicKey(opts...)
}
