package image_test

import (
	"errors"
	"strings"
	"testing"

	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/verify/image"
)

// TestContent reads what a digest names, hashed and within the limits, all of it
// together.
func TestContent(t *testing.T) {
	reg := registry.New(t, registry.Options{})
	img := reg.MustPushImage(t, "acme/app:1")
	raw := strings.Repeat("x", 3000)
	blob, err := reg.PutBlob("acme/app", []byte(raw))
	must(t, err)
	open := func(change func(*image.Config)) (*image.Content, error) {
		c := image.Config{LoopbackHTTP: true, Limits: image.Limits{Retries: 1}}
		if change != nil {
			change(&c)
		}
		return newVerifier(t, c).Content(background(t), img.Name)
	}
	content, err := open(nil)
	must(t, err)
	for _, digest := range []string{"", img.Digest} {
		if manifest, mediaType, err := content.Manifest(background(t), digest); err != nil || !strings.Contains(string(manifest), "layers") || mediaType == "" {
			t.Errorf("Manifest(%q) = %s, %q, %v", digest, manifest, mediaType, err)
		}
	}
	if got, err := content.Blob(background(t), blob, 3000); err != nil || string(got) != raw {
		t.Errorf("Blob() = %d bytes, %v", len(got), err)
	}
	for name, tc := range map[string]struct {
		reason string
		change func(*image.Config)
		read   func(*image.Content) error
		want   image.Reason
		says   string
	}{
		"Large": {"A blob is bounded.", nil, func(c *image.Content) error { _, err := c.Blob(background(t), blob, 2999); return err }, image.RegistryLimit, "3000 bytes"},
		"Together": {"What is read counts together.", func(c *image.Config) { c.Limits.TotalBytes = 8000 }, func(c *image.Content) error {
			for range 2 {
				if _, err := c.Blob(background(t), blob, 3000); err != nil {
					t.Errorf("too early: %v", err)
				}
			}
			_, err := c.Blob(background(t), blob, 3000)
			return err
		}, image.RegistryLimit, "more than 8000 bytes"},
		"NoDigest": {"A blob has a digest.", nil, func(c *image.Content) error { _, err := c.Blob(background(t), "sha256:../../x", 1); return err }, image.RegistryUnavailable, "64 hexadecimal digits"},
		"Gone":     {"What is not there is told.", nil, func(c *image.Content) error { _, err := c.Blob(background(t), img.Digest, 1); return err }, image.RegistryUnavailable, "does not have the blob"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := open(tc.change)
			must(t, err)
			var failure *image.Error
			if err := tc.read(c); !errors.As(err, &failure) || failure.Reason != tc.want || !strings.Contains(failure.Message, tc.says) {
				t.Errorf("%s\n%v, want %s and %q", tc.reason, err, tc.want, tc.says)
			}
		})
	}
	if _, err := open(func(c *image.Config) { c.Offline = true }); err == nil || !strings.Contains(err.Error(), "offline") {
		t.Errorf("an offline run opens a registry: %v", err)
	}
	if _, err := newVerifier(t, image.Config{}).Content(background(t), "Not/A:Ref!"); err == nil {
		t.Error("a reference that is none is opened")
	}
}
