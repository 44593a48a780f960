package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/cosign/v2/pkg/cosign/attestation"
	"github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v2/pkg/oci"
	"github.com/sigstore/cosign/v2/pkg/oci/mutate"
	ociremote "github.com/sigstore/cosign/v2/pkg/oci/remote"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	cosigntypes "github.com/sigstore/cosign/v2/pkg/types"
	"github.com/sigstore/sigstore/pkg/signature/dsse"
)

// InToto is the payload type of an envelope that holds an in-toto statement.
const InToto = cosigntypes.IntotoPayloadType

// Statement is the in-toto statement that `cosign attest --type` makes about an
// image: of one of its names, as vuln, or of a URI.
func Statement(i Image, predicateType, predicate string) ([]byte, error) {
	s, err := attestation.GenerateStatement(attestation.GenerateOpts{
		Predicate: strings.NewReader(predicate), Type: predicateType,
		Digest: strings.TrimPrefix(i.Digest, "sha256:"), Repo: i.Repository,
	})
	if err != nil {
		return nil, err
	}
	return json.Marshal(s)
}

// Envelope is a DSSE envelope around any bytes, signed by the key.
func Envelope(k *Key, payloadType string, payload []byte) ([]byte, error) {
	return dsse.WrapSigner(k.signer, payloadType).SignMessage(bytes.NewReader(payload))
}

// BundleOf is a Sigstore bundle around an envelope.
func BundleOf(k *Key, payload, envelope []byte) ([]byte, error) {
	public, err := k.signer.PublicKey()
	if err != nil {
		return nil, err
	}
	return bundle.MakeNewBundle(public, nil, payload, envelope, []byte(k.Public), nil)
}

// AttestTag attests a predicate in the older layout: a manifest under the tag
// "sha256-<hex>.att". More attestations are added to the same manifest.
func (r *Registry) AttestTag(i Image, k *Key, predicateType, predicate string) error {
	envelope, listed, err := attest(i, k, predicateType, predicate)
	if err != nil {
		return err
	}
	return r.AttachAttestation(i, envelope, listed)
}

// AttestBundle attests a predicate in the newer layout: a Sigstore bundle that refers
// to the image.
func (r *Registry) AttestBundle(i Image, k *Key, predicateType, predicate string) error {
	envelope, listed, err := attest(i, k, predicateType, predicate)
	if err != nil {
		return err
	}
	payload, err := Statement(i, predicateType, predicate)
	if err != nil {
		return err
	}
	raw, err := BundleOf(k, payload, envelope)
	if err != nil {
		return err
	}
	return r.AttachBundle(i, raw, listed)
}

// attest returns the envelope and the type by which cosign lists it.
func attest(i Image, k *Key, predicateType, predicate string) ([]byte, string, error) {
	payload, err := Statement(i, predicateType, predicate)
	if err != nil {
		return nil, "", err
	}
	var s struct {
		PredicateType string `json:"predicateType"`
	}
	if err := json.Unmarshal(payload, &s); err != nil {
		return nil, "", err
	}
	envelope, err := Envelope(k, InToto, payload)
	return envelope, s.PredicateType, err
}

// AttachAttestation stores any bytes as an attestation in the older layout, listed by
// a predicate type unless that is empty.
func (r *Registry) AttachAttestation(i Image, envelope []byte, listed string) error {
	options := []static.Option{static.WithLayerMediaType(cosigntypes.DssePayloadType)}
	if listed != "" {
		options = append(options, static.WithAnnotations(map[string]string{"predicateType": listed}))
	}
	att, err := static.NewAttestation(envelope, options...)
	if err != nil {
		return err
	}
	attach := func(e oci.SignedEntity) (oci.SignedEntity, error) { return mutate.AttachAttestationToEntity(e, att) }
	if err := r.attach(i, attach, ociremote.WriteAttestations); err != nil {
		return fmt.Errorf("store attestation of %s: %w", i.Pinned(), err)
	}
	return nil
}

// AttestationTag is the tag under which the older layout keeps an image's
// attestations.
func AttestationTag(digest string) string {
	return strings.Replace(digest, ":", "-", 1) + ".att"
}

// CopyAttestations stores one image's attestations, in the older layout, as
// another's.
func (r *Registry) CopyAttestations(from, to Image) error {
	raw, mediaType, err := r.Manifest(from.Repository, AttestationTag(from.Digest))
	if err != nil {
		return err
	}
	return r.PutManifest(to.Repository, AttestationTag(to.Digest), mediaType, raw)
}

// CosignVerifyAttestation is cosign's own answer, in the older layout, to whether the
// key attested anything about the image.
func (r *Registry) CosignVerifyAttestation(ctx context.Context, i Image, k *Key) error {
	ref, err := name.NewDigest(i.Pinned())
	if err != nil {
		return err
	}
	_, _, err = cosign.VerifyImageAttestations(ctx, ref, &cosign.CheckOpts{
		RegistryClientOpts: []ociremote.Option{ociremote.WithRemoteOptions(r.remoteOptions()...)},
		ClaimVerifier:      cosign.IntotoSubjectClaimVerifier,
		SigVerifier:        k.signer,
		IgnoreTlog:         true,
		IgnoreSCT:          true,
		Offline:            true,
	})
	return err
}

// ListAnnotations has the list of what refers to an image bear the annotations of each
// artifact, as the distribution specification wants it and registries in use do. It is
// for registries without the referrers API, and undone by what is attached later.
func (r *Registry) ListAnnotations(i Image) error {
	tag := strings.Replace(i.Digest, ":", "-", 1)
	raw, mediaType, err := r.Manifest(i.Repository, tag)
	if err != nil {
		return err
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(raw, &index); err != nil {
		return err
	}
	for n, d := range index.Manifests {
		raw, _, err := r.Manifest(i.Repository, d.Digest.String())
		if err != nil {
			return err
		}
		var m v1.Manifest
		if err := json.Unmarshal(raw, &m); err != nil {
			return err
		}
		index.Manifests[n].Annotations = m.Annotations
	}
	if raw, err = json.Marshal(index); err != nil {
		return err
	}
	return r.PutManifest(i.Repository, tag, mediaType, raw)
}
