package bundle_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/verify/bundle"
	"gitgate.dev/gitgate/verify/image"
)

// TestCache goes on without the registry, by what was verified before and is verified
// again, and by nothing else.
func TestCache(t *testing.T) {
	key, other := keys[registry.ECDSAP256](), keys[registry.ECDSAP384]()
	raw, evil := archive(t, "no"), archive(t, "evil")
	down := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	for name, tc := range map[string]struct {
		reason string
		change func(c *bundle.Config, i registry.Image, layer string)
		tag    bool
		want   image.Reason // empty: it is fetched
	}{
		"Digest":     {"By digest nobody has to be asked.", nil, false, ""},
		"Tag":        {"A tag is asked for, unless it may be recalled.", nil, true, image.RegistryUnavailable},
		"RecallTags": {"Then it is what it was.", func(c *bundle.Config, _ registry.Image, _ string) { c.Images.RecallTags = true }, true, ""},
		"Offline":    {"Nobody is asked at all.", func(c *bundle.Config, _ registry.Image, _ string) { c.Images.Offline = true }, false, ""},
		"OtherKey":   {"The keys of now count.", func(c *bundle.Config, _ registry.Image, _ string) { *c = keep(c.CacheDir, other) }, false, image.RegistryUnavailable},
		"Layer": {"What was put into the cache is hashed.", func(c *bundle.Config, _ registry.Image, layer string) {
			overwrite(t, c.CacheDir, layer, evil)
		}, false, image.RegistryUnavailable},
		"Manifest": {"So is the manifest.", func(c *bundle.Config, i registry.Image, _ string) {
			overwrite(t, c.CacheDir, i.Digest, []byte("{}"))
		}, false, image.RegistryUnavailable},
		"Signatures": {"Without signatures it is nothing.", func(c *bundle.Config, _ registry.Image, _ string) {
			must(t, os.RemoveAll(filepath.Join(c.CacheDir, "signatures")))
		}, false, image.RegistryUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			r := registry.New(t, registry.Options{})
			i := signedBundle(t, r, "acme/policies:1", raw, key)
			c := keep(t.TempDir(), key)
			_, err := fetcher(t, c).Fetch(background(t), i.Name)
			must(t, err)
			if tc.change != nil {
				tc.change(&c, i, layerOf(t, r, i))
			}
			r.Inject(registry.Fault{Handler: down})
			ref := i.Pinned()
			if tc.tag {
				ref = i.Name
			}
			if tc.want != "" {
				refuse(t, fetcher(t, c), ref, tc.want)
				return
			}
			if a, err := fetcher(t, c).Fetch(background(t), ref); err != nil || !bytes.Equal(a.Bytes, raw) || a.Digest != i.Digest {
				t.Errorf("%s\n%v", tc.reason, err)
			}
		})
	}
}

func keep(dir string, k *registry.Key) bundle.Config {
	c := trust(k)
	c.CacheDir = dir
	c.Images.Limits.Retries = 1
	return c
}

// overwrite changes a file of the cache, which has to be there.
func overwrite(t *testing.T, dir, digest string, raw []byte) {
	t.Helper()
	name := filepath.Join(dir, "sha256-"+digest[len("sha256:"):])
	if _, err := os.Stat(name); err != nil {
		t.Fatal(err)
	}
	must(t, os.WriteFile(name, raw, 0o600))
}

// TestCacheForgets what was not used for the longest time.
func TestCacheForgets(t *testing.T) {
	r, key := registry.New(t, registry.Options{}), keys[registry.ECDSAP256]()
	i := signedBundle(t, r, "acme/policies:1", archive(t, "no"), key)
	c := keep(t.TempDir(), key)
	old := time.Now().Add(-time.Hour)
	for n := range 400 {
		name := filepath.Join(c.CacheDir, fmt.Sprintf("sha256-%064d", n))
		must(t, os.WriteFile(name, nil, 0o600))
		must(t, os.Chtimes(name, old, old.Add(time.Duration(n)*time.Second)))
	}
	_, err := fetcher(t, c).Fetch(background(t), i.Name)
	must(t, err)
	files, err := filepath.Glob(filepath.Join(c.CacheDir, "sha256-*"))
	must(t, err)
	if len(files) > 300 {
		t.Errorf("%d files are kept", len(files))
	}
	if _, err := os.Stat(filepath.Join(c.CacheDir, fmt.Sprintf("sha256-%064d", 399))); err != nil {
		t.Errorf("a recent one went: %v", err)
	}
	r.Close()
	if _, err := fetcher(t, c).Fetch(background(t), i.Pinned()); err != nil {
		t.Errorf("what was just fetched went: %v", err)
	}
}
