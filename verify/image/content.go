package image

import (
	"context"
	"errors"
	"fmt"
	"mime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Content reads what stands behind a digest: the manifest and the blobs that it names.
// Everything is held to the limits and to the rules on credentials of the [Verifier]
// that made it, all of it together to one [Limits.TotalBytes], and hashed here. It
// speaks of bytes only: whether somebody signed them, [Evidence] says.
type Content struct {
	verifier *Verifier
	ref      reference
	client   *client
	budget   *budget
}

// Content opens the repository of a reference. Its error is an [*Error].
func (v *Verifier) Content(ctx context.Context, ref string) (*Content, error) {
	r, err := parseReference(ref)
	if err != nil {
		return nil, &Error{Reason: ImageNotAllowed, Image: ref, Message: "not an image reference: " + err.Error()}
	}
	c := &Content{verifier: v, ref: r, budget: newBudget(v.limits)}
	ctx, cancel := c.context(ctx)
	defer cancel()
	if c.client, err = v.network.open(ctx, r); err != nil {
		return nil, v.registryError(ctx, r, "", err)
	}
	return c, nil
}

func (c *Content) context(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithValue(ctx, budgetKey{}, c.budget), c.verifier.limits.Timeout)
}

// Manifest reads the manifest that a digest names, which its bytes hash to, and what
// the registry says of what type it is. An empty digest is the one that the reference
// has or its tag names now. Its error is an [*Error].
func (c *Content) Manifest(ctx context.Context, digest string) (raw []byte, mediaType string, err error) {
	ctx, cancel := c.context(ctx)
	defer cancel()
	name := digest
	if name == "" {
		if name = c.ref.digest; name == "" {
			name = c.ref.tag
		}
	}
	a, err := c.client.get(ctx, c.client.base+"/manifests/"+name, manifestTypes, c.verifier.limits.ManifestBytes)
	if err == nil && name != c.ref.tag && digestOf(a.body) != name {
		err = fmt.Errorf("%w: the manifest %s has another content", errMalformed, quote(name))
	}
	if err != nil {
		return nil, "", c.explain(ctx, "the manifest "+name, err)
	}
	if mediaType, _, err = mime.ParseMediaType(a.header.Get("Content-Type")); err != nil {
		mediaType = ""
	}
	return a.body, mediaType, nil
}

// Blob reads a blob of at most limit bytes by its digest, which they hash to. Its
// error is an [*Error].
func (c *Content) Blob(ctx context.Context, digest string, limit int64) ([]byte, error) {
	ctx, cancel := c.context(ctx)
	defer cancel()
	hash, err := v1.NewHash(digest)
	if err != nil || !reHash.MatchString(digest) {
		return nil, &Error{Reason: RegistryUnavailable, Image: c.ref.original, Undetermined: true,
			Message: "cannot read " + c.ref.name() + ": the digest of a blob is not sha256: followed by 64 hexadecimal digits"}
	}
	raw, err := c.client.blob(ctx, hash, limit)
	if err != nil {
		return nil, c.explain(ctx, "the blob "+digest, err)
	}
	return raw, nil
}

// explain is registryError for what a manifest names: a tag that is missing is its own.
func (c *Content) explain(ctx context.Context, what string, err error) *Error {
	if errors.Is(err, errNotFound) {
		return &Error{Reason: RegistryUnavailable, Image: c.ref.original, Undetermined: true,
			Message: fmt.Sprintf("cannot read %s: the registry does not have %s: push it again or correct the name", c.ref.name(), quote(what))}
	}
	return c.verifier.registryError(ctx, c.ref, "", err)
}
