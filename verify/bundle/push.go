package bundle

import (
	"context"
	"errors"

	"gitgate.dev/gitgate/verify/image"
)

// Push stores a bundle in the repository of a reference, under its tag, and returns
// the digest of its manifest. The same bundle and revision give the same digest. The
// verifier says how the registry is reached; its rules do not matter. The error is an
// [*image.Error] but for a reference with a digest, under which nothing can be put.
func Push(ctx context.Context, v *image.Verifier, ref string, raw []byte, revision string) (digest string, err error) {
	_, pinned, err := image.Parse(ref)
	if err == nil && pinned != "" {
		return "", errors.New("a bundle is pushed to a tag: its digest comes of what it is")
	}
	w, err := v.Writer(ctx, ref)
	if err != nil {
		return "", err
	}
	manifest, err := layout(raw, revision)
	if err != nil {
		return "", err
	}
	for _, blob := range [][]byte{emptyConfig, raw} {
		if err := w.Blob(ctx, blob); err != nil {
			return "", err
		}
	}
	return w.Manifest(ctx, manifest, ManifestType, w.Tag())
}
