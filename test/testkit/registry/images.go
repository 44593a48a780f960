package registry

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// An Image is what was pushed.
type Image struct {
	// Name is the full name with the tag.
	Name string
	// Repository is the full name without the tag.
	Repository string
	// Digest is "sha256:…" of the manifest, or of the index.
	Digest string
	// Children are the digests of an index's images.
	Children []string
}

// Pinned is the image by its digest alone.
func (i Image) Pinned() string { return i.Repository + "@" + i.Digest }

// Child is one image of an index by its digest.
func (i Image) Child(n int) Image {
	c := i
	c.Digest, c.Children = i.Children[n], nil
	c.Name = c.Pinned()
	return c
}

func (r *Registry) remoteOptions() []remote.Option {
	return []remote.Option{remote.WithTransport(direct{r.content})}
}

// PushImage pushes an image of random content under "repository:tag".
func (r *Registry) PushImage(image string) (Image, error) {
	tag, err := name.NewTag(r.Name(image))
	if err != nil {
		return Image{}, err
	}
	content, err := random.Image(256, 1)
	if err != nil {
		return Image{}, err
	}
	if err := remote.Write(tag, content, r.remoteOptions()...); err != nil {
		return Image{}, fmt.Errorf("push %s: %w", image, err)
	}
	return pushed(tag, content)
}

// PushIndex pushes an index of n random images under "repository:tag".
func (r *Registry) PushIndex(image string, n int) (Image, error) {
	tag, err := name.NewTag(r.Name(image))
	if err != nil {
		return Image{}, err
	}
	content, err := random.Index(256, 1, int64(n))
	if err != nil {
		return Image{}, err
	}
	if err := remote.WriteIndex(tag, content, r.remoteOptions()...); err != nil {
		return Image{}, fmt.Errorf("push %s: %w", image, err)
	}
	i, err := pushed(tag, content)
	if err != nil {
		return Image{}, err
	}
	manifest, err := content.IndexManifest()
	if err != nil {
		return Image{}, err
	}
	for _, m := range manifest.Manifests {
		i.Children = append(i.Children, m.Digest.String())
	}
	return i, nil
}

func pushed(tag name.Tag, content interface{ Digest() (v1.Hash, error) }) (Image, error) {
	digest, err := content.Digest()
	if err != nil {
		return Image{}, err
	}
	return Image{Name: tag.Name(), Repository: tag.Repository.Name(), Digest: digest.String()}, nil
}

// Manifest reads a stored manifest by tag or digest.
func (r *Registry) Manifest(repository, reference string) (raw []byte, mediaType string, err error) {
	path := "/v2/" + r.path(repository) + "/manifests/" + reference
	w := httptest.NewRecorder()
	r.content.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	if w.Code != http.StatusOK {
		return nil, "", fmt.Errorf("get %s: status %d", path, w.Code)
	}
	return w.Body.Bytes(), w.Header().Get("Content-Type"), nil
}

// PutManifest stores any bytes as a manifest under a tag, also by their digest.
func (r *Registry) PutManifest(repository, tag, mediaType string, raw []byte) error {
	return r.put("/v2/"+r.path(repository)+"/manifests/"+tag, mediaType, raw)
}

// PutBlob stores any bytes and returns their digest.
func (r *Registry) PutBlob(repository string, raw []byte) (string, error) {
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(raw))
	path := "/v2/" + r.path(repository) + "/blobs/uploads/?digest=" + digest
	req := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(raw))
	w := httptest.NewRecorder()
	r.content.ServeHTTP(w, req)
	if w.Code != http.StatusCreated {
		return "", fmt.Errorf("put blob: status %d: %s", w.Code, w.Body)
	}
	return digest, nil
}

// FlipTag lets the tag give the first image once and the second from then on.
func (r *Registry) FlipTag(first, second Image) error {
	raw, mediaType, err := r.Manifest(second.Repository, second.Digest)
	if err != nil {
		return err
	}
	tag := first.Name[strings.LastIndex(first.Name, ":")+1:]
	r.Inject(Fault{
		Path: "/manifests/" + tag, After: 1,
		Body: raw, ContentType: mediaType, Digest: second.Digest,
	})
	return nil
}

// path is the repository without the registry's address.
func (r *Registry) path(repository string) string {
	return strings.TrimPrefix(repository, r.Host()+"/")
}

// MustPushImage is [Registry.PushImage] for tests.
func (r *Registry) MustPushImage(tb testing.TB, image string) Image {
	tb.Helper()
	i, err := r.PushImage(image)
	if err != nil {
		tb.Fatal(err)
	}
	return i
}

// MustPushIndex is [Registry.PushIndex] for tests.
func (r *Registry) MustPushIndex(tb testing.TB, image string, n int) Image {
	tb.Helper()
	i, err := r.PushIndex(image, n)
	if err != nil {
		tb.Fatal(err)
	}
	return i
}
