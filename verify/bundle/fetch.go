package bundle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"gitgate.dev/gitgate/verify/image"
)

// A Config says whose bundles count and how registries are reached.
type Config struct {
	// Images is what holds of references, signatures and registries. A rule, or a
	// default, that allows without a signature is not enough for a bundle.
	Images image.Config
	// CacheDir keeps artifacts between runs; empty keeps none. What is read from it is
	// hashed again, so whoever can write there gains nothing. Unless
	// [image.Config.CacheDir] says otherwise signatures are kept below it, and verified
	// again. With [image.Config.RecallTags] a tag that was fetched once can then be
	// fetched while its registry is down.
	CacheDir string
	// MaxBytes bounds a bundle: 8 MiB.
	MaxBytes int64
}

// A Fetcher fetches bundles that are signed. It is safe for concurrent use.
type Fetcher struct {
	verifier *image.Verifier
	cache    cache
	maxBytes int64
}

// NewFetcher compiles a configuration. It fails as [image.NewVerifier] does.
func NewFetcher(c Config) (*Fetcher, error) {
	if c.CacheDir != "" && c.Images.CacheDir == "" {
		c.Images.CacheDir = filepath.Join(c.CacheDir, "signatures")
	}
	if c.MaxBytes < 0 {
		return nil, errors.New("the largest bundle: negative")
	}
	verifier, err := image.NewVerifier(c.Images)
	if err != nil {
		return nil, err
	}
	return &Fetcher{verifier: verifier, cache: cache(c.CacheDir), maxBytes: cmp.Or(c.MaxBytes, 8<<20)}, nil
}

// An Artifact is a bundle that somebody signed whose word counts. Only [Fetcher.Fetch]
// makes one.
type Artifact struct {
	// Digest is "sha256:…" of the manifest: what was signed.
	Digest string
	// Bytes are the bundle, which the manifest names by its hash.
	Bytes []byte
	// Evidence says who signed.
	Evidence image.Evidence
}

// Fetch returns the bundle that a reference names, by tag or digest, if it is signed.
// Nothing of it is read before its signature is verified, and what is read is what was
// signed, whatever the tag names meanwhile. The error is an [*image.Error], or it wraps
// [ErrNotBundle].
func (f *Fetcher) Fetch(ctx context.Context, ref string) (Artifact, error) {
	evidence, err := f.verifier.Verify(ctx, ref)
	if err != nil {
		return Artifact{}, err
	}
	if !signed(evidence) {
		return Artifact{}, &image.Error{Reason: image.ImageUnsigned, Image: ref,
			Message: fmt.Sprintf("%s may be used without a signature (%s), but not as a policy bundle: name the keys that sign bundles there", evidence.Image(), evidence.Rule())}
	}
	s := source{fetcher: f, ref: evidence.Pinned()}
	raw, err := s.bundle(ctx, evidence.Digest())
	if err != nil {
		if errors.Is(err, ErrNotBundle) {
			err = notBundlef("%.300q: %v", ref, err)
		}
		return Artifact{}, err
	}
	return Artifact{Digest: evidence.Digest(), Bytes: raw, Evidence: evidence}, nil
}

func signed(e image.Evidence) bool {
	for _, g := range e.Grants() {
		if g.Layout != image.LayoutStatic {
			return true
		}
	}
	return false
}

// A source is one artifact: in the cache, or else in its registry, which is asked only
// for what is missing.
type source struct {
	fetcher *Fetcher
	ref     string
	content *image.Content
}

func (s *source) open(ctx context.Context) (err error) {
	if s.content == nil {
		s.content, err = s.fetcher.verifier.Content(ctx, s.ref)
	}
	return err
}

// bundle reads the artifact with a digest.
func (s *source) bundle(ctx context.Context, digest string) ([]byte, error) {
	manifest, err := s.manifest(ctx, digest)
	if err != nil {
		return nil, err
	}
	layer, config, err := parse(manifest, ManifestType)
	if err != nil {
		return nil, err
	}
	if config != nil {
		raw, err := s.blob(ctx, *config, maxConfigBytes)
		if err != nil {
			return nil, err
		}
		if err := checkConfig(raw); err != nil {
			return nil, err
		}
	}
	return s.blob(ctx, layer, s.fetcher.maxBytes)
}

func (s *source) manifest(ctx context.Context, digest string) ([]byte, error) {
	if raw := s.fetcher.cache.get(digest, maxManifest); raw != nil {
		return raw, nil
	}
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	raw, _, err := s.content.Manifest(ctx, digest)
	if err == nil {
		s.fetcher.cache.put(digest, raw)
	}
	return raw, err
}

func (s *source) blob(ctx context.Context, d v1.Descriptor, limit int64) ([]byte, error) {
	if d.Size > limit {
		return nil, &image.Error{Reason: image.RegistryLimit, Image: s.ref,
			Message: fmt.Sprintf("its blob %s is said to have %d bytes, more than %d", d.Digest, d.Size, limit)}
	}
	digest := d.Digest.String()
	raw := s.fetcher.cache.get(digest, limit)
	if raw == nil {
		if err := s.open(ctx); err != nil {
			return nil, err
		}
		var err error
		if raw, err = s.content.Blob(ctx, digest, limit); err != nil {
			return nil, err
		}
		s.fetcher.cache.put(digest, raw)
	}
	if int64(len(raw)) != d.Size {
		return nil, notBundlef("its blob %s has %d bytes, and its manifest says %d", d.Digest, len(raw), d.Size)
	}
	return raw, nil
}
