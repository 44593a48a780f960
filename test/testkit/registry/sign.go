package registry

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v2/pkg/oci"
	"github.com/sigstore/cosign/v2/pkg/oci/mutate"
	ociremote "github.com/sigstore/cosign/v2/pkg/oci/remote"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	"github.com/sigstore/cosign/v2/pkg/types"
	v1 "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/dsse"
	"github.com/sigstore/sigstore/pkg/signature/payload"
)

// An Algorithm is a kind of cosign key.
type Algorithm int

// The algorithms that cosign generates keys for.
const (
	ECDSAP256 Algorithm = iota // what `cosign generate-key-pair` makes
	ECDSAP384
	RSA2048
	Ed25519   // pure Ed25519, as older cosign signs
	Ed25519ph // the prehashed variant, as cosign signs since 2.6
)

var details = map[Algorithm]v1.PublicKeyDetails{
	ECDSAP256: v1.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
	ECDSAP384: v1.PublicKeyDetails_PKIX_ECDSA_P384_SHA_384,
	RSA2048:   v1.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256,
	Ed25519:   v1.PublicKeyDetails_PKIX_ED25519,
	Ed25519ph: v1.PublicKeyDetails_PKIX_ED25519_PH,
}

// A Key is a cosign key pair.
type Key struct {
	// Public is the public key in PEM, as cosign.pub holds it.
	Public string

	private crypto.PrivateKey
	signer  signature.SignerVerifier
}

// NewKey makes a key pair with cosign's generator.
func NewKey(algorithm Algorithm) (*Key, error) {
	algo, err := signature.GetAlgorithmDetails(details[algorithm])
	if err != nil {
		return nil, err
	}
	private, err := cosign.GeneratePrivateKeyWithAlgorithm(&algo)
	if err != nil {
		return nil, err
	}
	var load *[]signature.LoadOption // nil is cosign's default: Ed25519ph
	if algorithm == Ed25519 {
		load = &[]signature.LoadOption{}
	}
	signer, err := signature.LoadDefaultSignerVerifier(private, *cosign.GetDefaultLoadOptions(load)...)
	if err != nil {
		return nil, err
	}
	public, err := signer.PublicKey()
	if err != nil {
		return nil, err
	}
	text, err := cryptoutils.MarshalPublicKeyToPEM(public)
	return &Key{Public: string(text), private: private, signer: signer}, err
}

// Private is the encrypted private key in PEM, as cosign.key holds it; the password is
// empty. To encrypt it is slow on purpose, a second under the race detector.
func (k *Key) Private() (string, error) {
	plain, err := cryptoutils.MarshalPrivateKeyToPEM(k.private)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "gitgate-cosign-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "import.pem")
	if err := os.WriteFile(file, plain, 0o600); err != nil {
		return "", err
	}
	pair, err := cosign.ImportKeyPair(file, func(bool) ([]byte, error) { return nil, nil })
	if err != nil {
		return "", err
	}
	return string(pair.PrivateBytes), nil
}

// MustPrivate is [Key.Private] for tests.
func (k *Key) MustPrivate(tb testing.TB) string {
	tb.Helper()
	private, err := k.Private()
	if err != nil {
		tb.Fatal(err)
	}
	return private
}

// MustKey is [NewKey] for tests.
func MustKey(tb testing.TB, algorithm Algorithm) *Key {
	tb.Helper()
	k, err := NewKey(algorithm)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// Payload is the simple-signing document that cosign signs for an image.
func Payload(i Image) ([]byte, error) {
	digest, err := name.NewDigest(i.Pinned())
	if err != nil {
		return nil, err
	}
	return payload.Cosign{Image: digest}.MarshalJSON()
}

// Sign signs any bytes as they stand.
func (k *Key) Sign(message []byte) ([]byte, error) {
	return k.signer.SignMessage(bytes.NewReader(message))
}

// SignTag signs an image in the older layout: a manifest under the tag
// "sha256-<hex>.sig". More signatures are added to the same manifest.
func (r *Registry) SignTag(i Image, k *Key) error {
	doc, err := Payload(i)
	if err != nil {
		return err
	}
	return r.SignPayload(i, k, doc)
}

// SignPayload attaches a signature over any document to the image, in the older
// layout.
func (r *Registry) SignPayload(i Image, k *Key, doc []byte) error {
	raw, err := k.Sign(doc)
	if err != nil {
		return err
	}
	return r.AttachSignature(i, doc, base64.StdEncoding.EncodeToString(raw))
}

// AttachSignature stores a document and whatever is called its signature in the
// older layout, without signing anything.
func (r *Registry) AttachSignature(i Image, doc []byte, signature string) error {
	sig, err := static.NewSignature(doc, signature)
	if err != nil {
		return err
	}
	attach := func(e oci.SignedEntity) (oci.SignedEntity, error) { return mutate.AttachSignatureToEntity(e, sig) }
	if err := r.attach(i, attach, ociremote.WriteSignatures); err != nil {
		return fmt.Errorf("store signature of %s: %w", i.Pinned(), err)
	}
	return nil
}

// attach reads what is known of an image, attaches something to it and writes it.
func (r *Registry) attach(i Image, attach func(oci.SignedEntity) (oci.SignedEntity, error), write func(name.Repository, oci.SignedEntity, ...ociremote.Option) error) error {
	digest, err := name.NewDigest(i.Pinned())
	if err != nil {
		return err
	}
	opt := ociremote.WithRemoteOptions(r.remoteOptions()...)
	entity, err := ociremote.SignedEntity(digest, opt)
	if err != nil {
		return err
	}
	if entity, err = attach(entity); err != nil {
		return err
	}
	return write(digest.Repository, entity, opt)
}

// SignatureTag is the tag under which the older layout keeps an image's
// signatures.
func SignatureTag(digest string) string {
	return strings.Replace(digest, ":", "-", 1) + ".sig"
}

// CopySignatures stores one image's signatures, in the older layout, as
// another's.
func (r *Registry) CopySignatures(from, to Image) error {
	raw, mediaType, err := r.Manifest(from.Repository, SignatureTag(from.Digest))
	if err != nil {
		return err
	}
	return r.PutManifest(to.Repository, SignatureTag(to.Digest), mediaType, raw)
}

// PredicateSign is the predicate type of a statement by which cosign signs.
const PredicateSign = types.CosignSignPredicateType

// Bundle makes a Sigstore bundle in which the key states the predicate about
// the image, as `cosign sign --new-bundle-format` does with [PredicateSign].
func Bundle(i Image, k *Key, predicateType string) ([]byte, error) {
	algorithm, hex, _ := strings.Cut(i.Digest, ":")
	statement := fmt.Sprintf(
		`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{%q:%q}}],"predicateType":%q,"predicate":{}}`,
		algorithm, hex, predicateType)
	envelope, err := dsse.WrapSigner(k.signer, types.IntotoPayloadType).SignMessage(strings.NewReader(statement))
	if err != nil {
		return nil, err
	}
	public, err := k.signer.PublicKey()
	if err != nil {
		return nil, err
	}
	return bundle.MakeNewBundle(public, nil, []byte(statement), envelope, []byte(k.Public), nil)
}

// SignBundle signs an image in the newer layout: a Sigstore bundle that refers
// to the image.
func (r *Registry) SignBundle(i Image, k *Key) error {
	raw, err := Bundle(i, k, PredicateSign)
	if err != nil {
		return err
	}
	return r.AttachBundle(i, raw, PredicateSign)
}

// AttachBundle stores any bytes as a bundle that refers to the image.
func (r *Registry) AttachBundle(i Image, raw []byte, predicateType string) error {
	digest, err := name.NewDigest(i.Pinned())
	if err != nil {
		return err
	}
	opt := ociremote.WithRemoteOptions(r.remoteOptions()...)
	if err := ociremote.WriteAttestationNewBundleFormat(digest, raw, predicateType, opt); err != nil {
		return fmt.Errorf("store bundle of %s: %w", i.Pinned(), err)
	}
	return nil
}

// CosignVerify is cosign's own answer, in the older layout, to whether the key
// signed the image: what gitgate is measured against.
func (r *Registry) CosignVerify(ctx context.Context, i Image, k *Key) error {
	ref, err := name.NewDigest(i.Pinned())
	if err != nil {
		return err
	}
	_, _, err = cosign.VerifyImageSignatures(ctx, ref, &cosign.CheckOpts{
		RegistryClientOpts: []ociremote.Option{ociremote.WithRemoteOptions(r.remoteOptions()...)},
		ClaimVerifier:      cosign.SimpleClaimVerifier,
		SigVerifier:        k.signer,
		IgnoreTlog:         true,
		IgnoreSCT:          true,
		Offline:            true,
	})
	return err
}
