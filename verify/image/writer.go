package image

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A Writer puts artifacts and signatures into a repository, for those who publish what
// others verify. What holds of requests and credentials for reading holds for writing:
// plain HTTP is refused, credentials go to the registry and its token services, and a
// registry that wants content sent to another host is refused.
type Writer struct {
	verifier   *Verifier
	ref        reference
	repository name.Repository
	auth       remote.Option
	guard      *guard
}

// uploadTimeout bounds one upload; what is uploaded is small.
const uploadTimeout = 2 * time.Minute

// Writer opens the repository of a reference. Its error is an [*Error].
func (v *Verifier) Writer(ctx context.Context, ref string) (*Writer, error) {
	r, err := parseReference(ref)
	if err != nil {
		return nil, &Error{Reason: ImageNotAllowed, Image: ref, Message: "not an image reference: " + err.Error()}
	}
	repository, auth, guard, err := v.network.way(ctx, r)
	if err != nil {
		return nil, v.registryError(ctx, r, "", err)
	}
	return &Writer{verifier: v, ref: r, repository: repository, auth: remote.WithAuth(auth), guard: guard}, nil
}

// Repository is the normalised repository, and Tag the tag of the reference; empty
// beside a digest.
func (w *Writer) Repository() string { return w.ref.name() }

// Tag is the tag of the reference; empty if it has none but a digest.
func (w *Writer) Tag() string { return w.ref.tag }

// Blob stores a blob. Its error is an [*Error].
func (w *Writer) Blob(ctx context.Context, raw []byte) error {
	return w.do(ctx, func(options ...remote.Option) error {
		return remote.WriteLayer(w.repository, blob(raw), options...)
	})
}

// Manifest stores a manifest under a tag, or under its digest where the tag is empty,
// and returns its digest. Where it refers to a subject and the registry does not list
// referrers, the tag that stands in for the list is kept as well. Its error is an
// [*Error].
func (w *Writer) Manifest(ctx context.Context, raw []byte, mediaType, tag string) (digest string, err error) {
	digest = digestOf(raw)
	var ref name.Reference = w.repository.Digest(digest)
	if tag != "" {
		ref = w.repository.Tag(tag)
	}
	err = w.do(ctx, func(options ...remote.Option) error {
		return remote.Put(ref, manifest{raw, types.MediaType(mediaType)}, options...)
	})
	return digest, err
}

func (w *Writer) do(ctx context.Context, write func(...remote.Option) error) error {
	ctx, cancel := context.WithTimeout(withBudget(ctx, w.verifier.limits), uploadTimeout)
	defer cancel()
	err := write(remote.WithContext(ctx), remote.WithTransport(w.guard), w.auth,
		remote.WithRetryBackoff(remote.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.1, Steps: w.verifier.limits.Retries + 1}))
	if err != nil {
		return w.verifier.registryError(ctx, w.ref, "", err)
	}
	return nil
}

// A manifest is one for go-containerregistry.
type manifest struct {
	raw       []byte
	mediaType types.MediaType
}

func (m manifest) RawManifest() ([]byte, error)        { return m.raw, nil }
func (m manifest) MediaType() (types.MediaType, error) { return m.mediaType, nil }

// A blob is a layer for go-containerregistry, which compresses nothing.
type blob []byte

func (b blob) Digest() (v1.Hash, error) {
	h, _, err := v1.SHA256(bytes.NewReader(b))
	return h, err
}

func (b blob) DiffID() (v1.Hash, error)             { return b.Digest() }
func (b blob) Compressed() (io.ReadCloser, error)   { return io.NopCloser(bytes.NewReader(b)), nil }
func (b blob) Uncompressed() (io.ReadCloser, error) { return b.Compressed() }
func (b blob) Size() (int64, error)                 { return int64(len(b)), nil }
func (b blob) MediaType() (types.MediaType, error)  { return types.OCILayer, nil }
