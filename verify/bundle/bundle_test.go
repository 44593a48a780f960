package bundle_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"strings"
	"sync"
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

// opened are keys that were opened before: it takes its time.
var opened sync.Map

func loadKey(t *testing.T, k *registry.Key) *bundle.Key {
	t.Helper()
	if key, ok := opened.Load(k); ok {
		return key.(*bundle.Key)
	}
	key, err := bundle.LoadKey([]byte(k.MustPrivate(t)), nil)
	must(t, err)
	opened.Store(k, key)
	return key
}

// pushed puts a bundle into a registry as the command does.
func pushed(t *testing.T, r *registry.Registry, name string, raw []byte) registry.Image {
	t.Helper()
	digest, err := bundle.Push(background(t), reach(t, image.Config{Keychain: r.Keychain(), CA: r.CA()}), r.Name(name), raw, "r1")
	must(t, err)
	repository, _, err := image.Parse(r.Name(name))
	must(t, err)
	return registry.Image{Name: r.Name(name), Repository: repository, Digest: digest}
}

// signedBundle is pushed, and signed with the key.
func signedBundle(t *testing.T, r *registry.Registry, name string, raw []byte, k *registry.Key) registry.Image {
	t.Helper()
	i := pushed(t, r, name, raw)
	digest, err := bundle.Sign(background(t), reach(t, image.Config{Keychain: r.Keychain(), CA: r.CA()}), i.Pinned(), loadKey(t, k))
	must(t, err)
	if digest != i.Digest {
		t.Fatalf("signed %s, pushed %s", digest, i.Digest)
	}
	return i
}

// keys are one of each kind: to make one takes its time too.
var keys = map[registry.Algorithm]func() *registry.Key{}

func init() {
	for _, a := range []registry.Algorithm{registry.ECDSAP256, registry.ECDSAP384, registry.RSA2048, registry.Ed25519ph} {
		keys[a] = sync.OnceValue(func() *registry.Key {
			k, err := registry.NewKey(a)
			if err != nil {
				panic(err)
			}
			return k
		})
	}
}

func TestRoundTrip(t *testing.T) {
	raw := archive(t, "no")
	for name, tc := range map[string]struct {
		options registry.Options
		key     registry.Algorithm
	}{
		"Plain":       {registry.Options{}, registry.ECDSAP256},
		"NoReferrers": {registry.Options{NoReferrers: true}, registry.ECDSAP384},
		"Basic":       {registry.Options{Auth: registry.AuthBasic}, registry.RSA2048},
		"Token":       {registry.Options{Auth: registry.AuthToken}, registry.Ed25519ph},
		"TLS":         {registry.Options{TLS: true, Auth: registry.AuthToken}, registry.ECDSAP256},
	} {
		t.Run(name, func(t *testing.T) {
			r, key := registry.New(t, tc.options), keys[tc.key]()
			i := signedBundle(t, r, "acme/policies:1", raw, key)
			if again := pushed(t, r, "acme/policies:1", raw); again.Digest != i.Digest {
				t.Errorf("pushed again it is %s, not %s", again.Digest, i.Digest)
			}
			c := trust(key)
			c.Images.Keychain, c.Images.CA = r.Keychain(), r.CA()
			for _, ref := range []string{i.Name, i.Pinned()} {
				a, err := fetcher(t, c).Fetch(background(t), ref)
				must(t, err)
				if !bytes.Equal(a.Bytes, raw) || a.Digest != i.Digest || a.Evidence.Authority() != "authority-0" {
					t.Errorf("Fetch(%s) = %d bytes of %s by %q", ref, len(a.Bytes), a.Digest, a.Evidence.Authority())
				}
			}
		})
	}
}

// TestFetchCosign fetches what cosign signed, in both of its layouts.
func TestFetchCosign(t *testing.T) {
	r, key := registry.New(t, registry.Options{}), keys[registry.ECDSAP256]()
	raw := archive(t, "no")
	for name, sign := range map[string]func(registry.Image, *registry.Key) error{"tag:1": r.SignTag, "bundle:1": r.SignBundle} {
		i := pushed(t, r, "acme/"+name, raw)
		must(t, sign(i, key))
		a, err := fetcher(t, trust(key)).Fetch(background(t), i.Name)
		must(t, err)
		if !bytes.Equal(a.Bytes, raw) {
			t.Errorf("%s: other bytes", name)
		}
	}
}

func TestLoadKey(t *testing.T) {
	good := keys[registry.ECDSAP256]()
	for name, tc := range map[string]struct {
		text, password string
		want           string
	}{
		"Password": {good.MustPrivate(t), "canary-password", "the password is wrong"},
		"Public":   {good.Public, "", "a public key cannot sign"},
		"NoPEM":    {"canary-private", "", "not PEM"},
		"Other":    {"-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n", "", "cosign import-key-pair"},
		"Garbage":  {"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nY2FuYXJ5\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n", "", "does not open"},
	} {
		_, err := bundle.LoadKey([]byte(tc.text), []byte(tc.password))
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: LoadKey() = %v, want %q", name, err, tc.want)
		}
		if errors.Is(err, bundle.ErrPassword) != (name == "Password" || name == "Garbage") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
