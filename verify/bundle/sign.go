package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	sigstore "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	envelope "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/dsse"
	"github.com/sigstore/sigstore/pkg/signature/options"
	"google.golang.org/protobuf/encoding/protojson"

	"gitgate.dev/gitgate/verify/image"
)

// A Key signs. Make one with [LoadKey].
type Key struct {
	signer signature.SignerVerifier
	hint   string // what names the key in a signature
}

// ErrPassword means that a private key does not open with the password.
var ErrPassword = errors.New("the private key does not open: the password is wrong")

// LoadKey reads a private key as `cosign generate-key-pair` writes it to cosign.key: one
// PEM block, encrypted with a password. Its errors hold neither. [ErrPassword] is one.
func LoadKey(text, password []byte) (*Key, error) {
	block, _ := pem.Decode(text)
	switch {
	case block == nil:
		return nil, errors.New("not PEM: give cosign.key, as cosign generate-key-pair writes it")
	case block.Type == "PUBLIC KEY":
		return nil, errors.New("a public key cannot sign: give cosign.key")
	case block.Type != "ENCRYPTED COSIGN PRIVATE KEY" && block.Type != "ENCRYPTED SIGSTORE PRIVATE KEY":
		return nil, errors.New("not a private key of cosign's: bring it into that form with cosign import-key-pair")
	}
	der, err := encrypted.Decrypt(block.Bytes, password)
	if err != nil {
		return nil, ErrPassword
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("the private key cannot be parsed")
	}
	// As cosign: Ed25519 keys sign a hash.
	signer, err := signature.LoadDefaultSignerVerifier(private, options.WithED25519ph())
	if err != nil {
		return nil, errors.New("the private key is of a kind that cannot sign")
	}
	public, err := signer.PublicKey()
	if err != nil {
		return nil, errors.New("the private key has no public one")
	}
	if der, err = x509.MarshalPKIXPublicKey(public); err != nil {
		return nil, errors.New("the public key cannot be written")
	}
	hint := sha256.Sum256(der)
	return &Key{signer: signer, hint: base64.StdEncoding.EncodeToString(hint[:])}, nil
}

// The types of `cosign sign`.
const (
	predicateSign = "https://sigstore.dev/cosign/sign/v1"
	statementType = "https://in-toto.io/Statement/v1"
	payloadType   = "application/vnd.in-toto+json"
	bundleType    = "application/vnd.dev.sigstore.bundle.v0.3+json"
	emptyType     = "application/vnd.oci.empty.v1+json"
)

// Sign signs the bundle that a reference names, stores the signature beside it and
// returns the digest that it signed. A tag is looked up, once; to sign exactly what was
// pushed give its digest. What is no bundle is not signed. The verifier says how the
// registry is reached; its rules do not matter. The error is an [*image.Error], or it
// wraps [ErrNotBundle], or the key failed.
func Sign(ctx context.Context, v *image.Verifier, ref string, key *Key) (digest string, err error) {
	content, err := v.Content(ctx, ref)
	if err != nil {
		return "", err
	}
	manifest, mediaType, err := content.Manifest(ctx, "")
	if err != nil {
		return "", err
	}
	if err := isBundle(ctx, content, manifest, mediaType); err != nil {
		if errors.Is(err, ErrNotBundle) {
			err = notBundlef("%.300q: %v", ref, err)
		}
		return "", err
	}
	subject, err := descriptor(manifest, mediaType)
	if err != nil {
		return "", err
	}
	signed, err := key.sign(subject.Digest.String())
	if err != nil {
		return "", err
	}
	w, err := v.Writer(ctx, ref)
	if err != nil {
		return "", err
	}
	referrer, err := refer(signed, subject)
	if err != nil {
		return "", err
	}
	for _, blob := range [][]byte{emptyConfig, signed} {
		if err := w.Blob(ctx, blob); err != nil {
			return "", err
		}
	}
	if _, err := w.Manifest(ctx, referrer, ManifestType, ""); err != nil {
		return "", err
	}
	return subject.Digest.String(), nil
}

// isBundle looks at what would be signed.
func isBundle(ctx context.Context, content *image.Content, manifest []byte, mediaType string) error {
	_, config, err := parse(manifest, mediaType)
	if err != nil || config == nil {
		return err
	}
	raw, err := content.Blob(ctx, config.Digest.String(), maxConfigBytes)
	if err != nil {
		return err
	}
	return checkConfig(raw)
}

// sign states what `cosign sign` states, in a Sigstore bundle.
func (k *Key) sign(digest string) ([]byte, error) {
	algorithm, hex, _ := strings.Cut(digest, ":")
	statement, err := json.Marshal(map[string]any{
		"_type": statementType, "predicateType": predicateSign, "predicate": map[string]any{},
		"subject": []any{map[string]any{"digest": map[string]string{algorithm: hex}}},
	})
	if err != nil {
		return nil, err
	}
	raw, err := dsse.WrapSigner(k.signer, payloadType).SignMessage(bytes.NewReader(statement))
	if err != nil {
		return nil, errors.New("the private key does not sign")
	}
	var signed struct {
		Signatures []struct {
			Sig []byte `json:"sig"`
		} `json:"signatures"`
	}
	if err := json.Unmarshal(raw, &signed); err != nil || len(signed.Signatures) != 1 {
		return nil, fmt.Errorf("the private key does not sign: %d signatures", len(signed.Signatures))
	}
	return protojson.Marshal(&sigstore.Bundle{
		MediaType: bundleType,
		VerificationMaterial: &sigstore.VerificationMaterial{
			Content: &sigstore.VerificationMaterial_PublicKey{PublicKey: &common.PublicKeyIdentifier{Hint: k.hint}},
		},
		Content: &sigstore.Bundle_DsseEnvelope{DsseEnvelope: &envelope.Envelope{
			Payload: statement, PayloadType: payloadType,
			Signatures: []*envelope.Signature{{Sig: signed.Signatures[0].Sig}},
		}},
	})
}

// refer is a manifest that holds a signature and refers to what is signed, as cosign
// writes it.
func refer(signed []byte, subject v1.Descriptor) ([]byte, error) {
	layer, err := descriptor(signed, bundleType)
	if err != nil {
		return nil, err
	}
	config, err := descriptor(emptyConfig, emptyType)
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		v1.Manifest
		ArtifactType string `json:"artifactType"`
	}{v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: config,
		Layers: []v1.Descriptor{layer}, Subject: &subject,
		Annotations: map[string]string{
			"dev.sigstore.bundle.content":       "dsse-envelope",
			"dev.sigstore.bundle.predicateType": predicateSign,
		},
	}, bundleType})
}
