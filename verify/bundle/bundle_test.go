package bundle_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"testing"
	"time"

	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/verify/bundle"
	"gitgate.dev/gitgate/verify/image"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// background bounds a test that would hang.
func background(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// archive is a bundle with a rule; other texts make other bundles.
func archive(t *testing.T, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	files := tar.NewWriter(zip)
	module := "package acme\n\ndeny contains \"" + text + "\"\n"
	must(t, files.WriteHeader(&tar.Header{Name: "acme/team.rego", Mode: 0o644, Size: int64(len(module))}))
	_, err := files.Write([]byte(module))
	must(t, errors.Join(err, files.Close(), zip.Close()))
	return out.Bytes()
}

// trust is a configuration in which the keys may sign everything on loopback.
func trust(keys ...*registry.Key) bundle.Config {
	r := image.Rule{Match: []string{"**"}}
	for _, k := range keys {
		r.Authorities = append(r.Authorities, image.Authority{Key: &image.Key{Data: k.Public}})
	}
	return bundle.Config{Images: image.Config{Rules: []image.Rule{r}, LoopbackHTTP: true}}
}

// reach reaches registries and trusts nobody.
func reach(t *testing.T, c image.Config) *image.Verifier {
	t.Helper()
	c.LoopbackHTTP = true
	v, err := image.NewVerifier(c)
	must(t, err)
	return v
}

func fetcher(t *testing.T, c bundle.Config) *bundle.Fetcher {
	t.Helper()
	f, err := bundle.NewFetcher(c)
	must(t, err)
	return f
}

func loadKey(t *testing.T, k *registry.Key) *bundle.Key {
	t.Helper()
	key, err := bundle.LoadKey([]byte(k.Private), nil)
	must(t, err)
	return key
}

// pushed puts a bundle into a registry as the command does.
func pushed(t *testing.T, r *registry.Registry, name string, raw []byte) registry.Image {
	t.Helper()
	digest, err := bundle.Push(background(t), reach(t, image.Config{Keychain: r.Keychain()}), r.Name(name), raw, "r1")
	must(t, err)
	repository, _, err := image.Parse(r.Name(name))
	must(t, err)
	return registry.Image{Name: r.Name(name), Repository: repository, Digest: digest}
}

// signedBundle is pushed, and signed with the key.
func signedBundle(t *testing.T, r *registry.Registry, name string, raw []byte, k *registry.Key) registry.Image {
	t.Helper()
	i := pushed(t, r, name, raw)
	digest, err := bundle.Sign(background(t), reach(t, image.Config{Keychain: r.Keychain()}), i.Pinned(), loadKey(t, k))
	must(t, err)
	if digest != i.Digest {
		t.Fatalf("signed %s, pushed %s", digest, i.Digest)
	}
	return i
}

func TestRoundTrip(t *testing.T) {
	raw := archive(t, "no")
	for name, options := range map[string]registry.Options{
		"Plain":       {},
		"NoReferrers": {NoReferrers: true},
		"Basic":       {Auth: registry.AuthBasic},
		"Token":       {Auth: registry.AuthToken},
	} {
		t.Run(name, func(t *testing.T) {
			r := registry.New(t, options)
			for kind, algorithm := range map[string]registry.Algorithm{"p256": registry.ECDSAP256, "p384": registry.ECDSAP384, "rsa": registry.RSA2048, "ed25519": registry.Ed25519ph} {
				key := registry.MustKey(t, algorithm)
				i := signedBundle(t, r, "acme/"+kind+":1", raw, key)
				c := trust(key)
				c.Images.Keychain = r.Keychain()
				for _, ref := range []string{i.Name, i.Pinned()} {
					a, err := fetcher(t, c).Fetch(background(t), ref)
					must(t, err)
					if !bytes.Equal(a.Bytes, raw) || a.Digest != i.Digest || a.Evidence.Authority() != "authority-0" {
						t.Errorf("%s: Fetch(%s) = %d bytes of %s by %q", kind, ref, len(a.Bytes), a.Digest, a.Evidence.Authority())
					}
				}
			}
		})
	}
}
