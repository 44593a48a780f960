package image

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A search collects proofs for one digest until every demand is satisfied.
type search struct {
	digest  string
	open    []demand
	all     []demand
	grants  []Grant
	proofs  []proof // those that satisfied a demand
	seen    int     // proofs offered
	refused []string
}

func newSearch(digest string, demands []demand) *search {
	return &search{digest: digest, open: slices.Clone(demands), all: demands}
}

func (s *search) satisfied() bool { return len(s.open) == 0 }

// offer tries a proof on every demand that is still open.
func (s *search) offer(p proof) {
	s.seen++
	used := false
	s.open = slices.DeleteFunc(s.open, func(d demand) bool {
		for _, a := range d.authorities {
			err := p.verify(s.digest, a)
			if err == nil {
				s.grants = append(s.grants, Grant{Rule: d.label, Match: d.glob,
					Authority: a.name, Key: a.fingerprint, Layout: p.Layout})
				used = true
				return true
			}
			s.note(fmt.Sprintf("%s: %v", a.name, err))
		}
		return false
	})
	if used {
		s.proofs = append(s.proofs, p)
	}
}

// note keeps the first few different causes for the message.
func (s *search) note(cause string) {
	if len(s.refused) < 3 && !slices.Contains(s.refused, cause) {
		s.refused = append(s.refused, cause)
	}
}

// run looks into both layouts. An error means that something could not be read:
// what it hides might have been a signature.
func (s *search) run(ctx context.Context, c *client) error {
	first := s.tagLayout(ctx, c)
	if s.satisfied() {
		return nil
	}
	second := s.bundleLayout(ctx, c)
	if s.satisfied() {
		return nil
	}
	return passingFirst(first, second)
}

// passingFirst returns one of two errors: what may pass later goes before what is
// final.
func passingFirst(first, second error) error {
	var limit *limitError
	if first != nil && !errors.As(first, &limit) || second == nil {
		return first
	}
	return second
}

const (
	simpleSigning       = "application/vnd.dev.cosign.simplesigning.v1+json"
	signatureAnnotation = "dev.cosignproject.cosign/signature"
	bundleType          = "application/vnd.dev.sigstore.bundle"
	predicateAnnotation = "dev.sigstore.bundle.predicateType"
)

// tagLayout reads the signatures under the tag sha256-<hex>.sig.
func (s *search) tagLayout(ctx context.Context, c *client) error {
	tag := strings.Replace(s.digest, ":", "-", 1) + ".sig"
	manifest, err := c.manifest(ctx, tag)
	if errors.Is(err, errNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	layers := slices.DeleteFunc(manifest.Layers, func(d v1.Descriptor) bool {
		return d.MediaType != simpleSigning
	})
	if len(layers) > c.limits.Signatures {
		return &limitError{fmt.Sprintf("%d signatures, more than %d", len(layers), c.limits.Signatures)}
	}
	for _, layer := range layers {
		sig, err := base64.StdEncoding.DecodeString(layer.Annotations[signatureAnnotation])
		if err != nil || len(sig) == 0 {
			s.seen++
			s.note("a signature is not base64")
			continue
		}
		doc, err := c.blob(ctx, layer.Digest, c.limits.PayloadBytes)
		if err != nil {
			return err
		}
		if s.offer(proof{Layout: LayoutTag, Payload: doc, Signature: sig}); s.satisfied() {
			return nil
		}
	}
	return nil
}

// bundleLayout reads the Sigstore bundles that refer to the digest.
func (s *search) bundleLayout(ctx context.Context, c *client) error {
	referrers, err := c.referrers(ctx, s.digest)
	if err != nil {
		return err
	}
	referrers = slices.DeleteFunc(slices.Clone(referrers), func(d v1.Descriptor) bool { return !mayBeSignature(d) })
	if len(referrers) > c.limits.Signatures {
		return &limitError{fmt.Sprintf("%d referrers, more than %d", len(referrers), c.limits.Signatures)}
	}
	tooMany := func(int) error { return &limitError{fmt.Sprintf("more than %d bundles", c.limits.Signatures)} }
	return c.bundles(ctx, referrers, c.limits.Signatures, c.limits.BundleBytes, tooMany, func(_ v1.Descriptor, raw []byte) bool {
		s.offer(proof{Layout: LayoutBundle, Bundle: raw})
		return !s.satisfied()
	})
}

// bundles reads the Sigstore bundles that referrers hold, each of so many bytes at most,
// until offer has enough. It fails with tooMany when there are more than most.
func (c *client) bundles(ctx context.Context, referrers []v1.Descriptor, most int, size int64, tooMany func(int) error, offer func(v1.Descriptor, []byte) bool) error {
	examined := 0
	for _, r := range referrers {
		manifest, err := c.manifest(ctx, r.Digest.String())
		if errors.Is(err, errNotFound) {
			continue // listed, but gone: it proves nothing
		}
		if err != nil {
			return err
		}
		for _, layer := range manifest.Layers {
			if !strings.HasPrefix(string(layer.MediaType), bundleType) {
				continue
			}
			if examined++; examined > most {
				return tooMany(examined)
			}
			raw, err := c.blob(ctx, layer.Digest, size)
			if err != nil {
				return err
			}
			if !offer(r, raw) {
				return nil
			}
		}
	}
	return nil
}

// mayBeSignature leaves out referrers that say of themselves that they are
// something else.
func mayBeSignature(d v1.Descriptor) bool {
	if p := d.Annotations[predicateAnnotation]; p != "" && p != predicateSign {
		return false
	}
	return mayBeBundle(d)
}

// mayBeBundle leaves out what says of itself that it is no bundle. Some registries
// list an artifact by the type of its config, which is the empty one for bundles.
func mayBeBundle(d v1.Descriptor) bool {
	return d.ArtifactType == "" || d.ArtifactType == "application/vnd.oci.empty.v1+json" ||
		strings.HasPrefix(d.ArtifactType, bundleType)
}

// refusal explains a search that found everything and not enough.
func (s *search) refusal(r reference) *Error {
	if s.seen == 0 {
		return &Error{Reason: ImageUnsigned, Image: r.original,
			Message: fmt.Sprintf("%s@%s has no signature; %s asks for one by %s: sign it with cosign sign, exactly this digest",
				r.name(), s.digest, s.open[0].label, joinNames(s.open[0].authorities))}
	}
	return &Error{Reason: ImageUntrusted, Image: r.original,
		Message: fmt.Sprintf("none of the %d signatures of %s@%s satisfies %s, which asks for %s (%s)",
			s.seen, r.name(), s.digest, s.open[0].label, joinNames(s.open[0].authorities), strings.Join(s.refused, "; "))}
}
