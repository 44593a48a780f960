package image_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/verify/image"
)

// layouts are the places where cosign keeps signatures.
var layouts = map[string]struct {
	options registry.Options
	sign    func(*registry.Registry, registry.Image, *registry.Key) error
	want    string
}{
	"tag":             {registry.Options{}, (*registry.Registry).SignTag, "tag"},
	"bundle":          {registry.Options{}, (*registry.Registry).SignBundle, "bundle"},
	"bundle-fallback": {registry.Options{NoReferrers: true}, (*registry.Registry).SignBundle, "bundle"},
}

// config trusts the key for everything on loopback registries.
func config(keys ...*registry.Key) image.Config {
	r := image.Rule{Match: []string{"**"}}
	for _, k := range keys {
		r.Authorities = append(r.Authorities, image.Authority{Key: &image.Key{Data: k.Public}})
	}
	return image.Config{Rules: []image.Rule{r}, LoopbackHTTP: true}
}

func newVerifier(t *testing.T, c image.Config) *image.Verifier {
	t.Helper()
	v, err := image.NewVerifier(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// background bounds a test that would hang.
func background(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func accept(t *testing.T, v *image.Verifier, ref string) image.Evidence {
	t.Helper()
	e, err := v.Verify(background(t), ref)
	if err != nil {
		t.Fatalf("Verify(%s): %v", ref, err)
	}
	if !e.Valid() {
		t.Fatalf("Verify(%s): no error and no evidence", ref)
	}
	return e
}

func refuse(t *testing.T, v *image.Verifier, ref string, want image.Reason) *image.Error {
	t.Helper()
	e, err := v.Verify(background(t), ref)
	var failure *image.Error
	if !errors.As(err, &failure) {
		t.Fatalf("Verify(%s) = %v, %v; want %s", ref, e, err, want)
	}
	if failure.Reason != want || e.Valid() {
		t.Fatalf("Verify(%s): %v; want %s", ref, err, want)
	}
	if failure.Undetermined != (want == image.RegistryUnavailable) {
		t.Errorf("%v: Undetermined = %t", err, failure.Undetermined)
	}
	if failure.Image != ref || failure.Message == "" {
		t.Errorf("error does not name the image and the cause: %+v", failure)
	}
	return failure
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
