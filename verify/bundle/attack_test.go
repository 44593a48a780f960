package bundle_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/verify/bundle"
	"gitgate.dev/gitgate/verify/image"
)

// refuse wants a bundle refused with a reason, and nothing of it given.
func refuse(t *testing.T, f *bundle.Fetcher, ref string, want image.Reason) *image.Error {
	t.Helper()
	a, err := f.Fetch(background(t), ref)
	var failure *image.Error
	if !errors.As(err, &failure) || failure.Reason != want {
		t.Fatalf("Fetch(%s) = %v; want %s", ref, err, want)
	}
	if len(a.Bytes) > 0 || a.Digest != "" || a.Evidence.Valid() {
		t.Errorf("Fetch(%s) gives something of what it refuses: %+v", ref, a)
	}
	return failure
}

// TestAttack_I1_Bundles has somebody else's bundle where a signed one is asked for.
func TestAttack_I1_Bundles(t *testing.T) {
	r := registry.New(t, registry.Options{})
	key, other := keys[registry.ECDSAP256](), keys[registry.ECDSAP384]()
	good, evil := archive(t, "no"), archive(t, "evil")
	f := fetcher(t, trust(key))

	t.Run("Unsigned", func(t *testing.T) {
		refuse(t, f, pushed(t, r, "acme/unsigned:1", good).Name, image.ImageUnsigned)
	})
	t.Run("WrongKey", func(t *testing.T) {
		refuse(t, f, signedBundle(t, r, "acme/wrong:1", good, other).Name, image.ImageUntrusted)
	})
	t.Run("TagMoved", func(t *testing.T) {
		i := signedBundle(t, r, "acme/moved:1", good, key)
		pushed(t, r, "acme/moved:1", evil)
		refuse(t, f, i.Name, image.ImageUnsigned)
		if a, err := f.Fetch(background(t), i.Pinned()); err != nil || !bytes.Equal(a.Bytes, good) {
			t.Errorf("the digest that was signed: %v", err)
		}
	})
	t.Run("OtherDigest", func(t *testing.T) {
		from, to := pushed(t, r, "acme/other:1", good), pushed(t, r, "acme/other:2", evil)
		must(t, r.SignTag(from, key))
		must(t, r.CopySignatures(from, to))
		if e := refuse(t, f, to.Name, image.ImageUntrusted); !strings.Contains(e.Message, "another image") {
			t.Errorf("message: %s", e.Message)
		}
	})
	t.Run("TagFlips", func(t *testing.T) {
		first := signedBundle(t, r, "acme/flip:1", good, key)
		second := pushed(t, r, "acme/flip:2", evil)
		must(t, r.FlipTag(first, second))
		defer r.Reset()
		if a, err := f.Fetch(background(t), first.Name); err != nil || !bytes.Equal(a.Bytes, good) || a.Digest != first.Digest {
			t.Errorf("a tag that flips while it is fetched: %v", err)
		}
	})
	t.Run("StaticAllow", func(t *testing.T) {
		for name, c := range map[string]image.Config{
			"rule":    {Rules: []image.Rule{{Match: []string{"**"}, Static: image.Allow}}},
			"default": {Default: image.Allow},
		} {
			c.LoopbackHTTP = true
			e := refuse(t, fetcher(t, bundle.Config{Images: c}), pushed(t, r, "acme/static:1", good).Name, image.ImageUnsigned)
			if !strings.Contains(e.Message, "not as a policy bundle") {
				t.Errorf("%s: message: %s", name, e.Message)
			}
		}
	})
}

// TestAttack_I7_Bundles has a registry that lies, sends too much, or nothing.
func TestAttack_I7_Bundles(t *testing.T) {
	key := keys[registry.ECDSAP256]()
	good, evil := archive(t, "no"), archive(t, "evil")
	answer := func(code int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
	r := registry.New(t, registry.Options{})
	i := signedBundle(t, r, "acme/policies:1", good, key)
	layer := layerOf(t, r, i)
	for name, tc := range map[string]struct {
		reason string
		fault  registry.Fault
		want   image.Reason
		says   string
	}{
		"OtherLayer":   {"The layer is not what was signed.", registry.Fault{Path: "/blobs/" + layer, Body: evil}, image.RegistryUnavailable, "another content"},
		"OtherDigest":  {"Nor the manifest.", registry.Fault{Path: "/manifests/" + i.Digest, Body: []byte("{}"), Digest: i.Digest}, image.RegistryUnavailable, "another content"},
		"Truncated":    {"The layer is cut off, each time.", registry.Fault{Path: "/blobs/" + layer, Cut: 20}, image.RegistryUnavailable, "cut"},
		"Filler":       {"A layer without an end.", registry.Fault{Path: "/blobs/" + layer, Filler: 1 << 30}, image.RegistryLimit, "bytes"},
		"LongManifest": {"A manifest without an end.", registry.Fault{Path: "/manifests/" + i.Digest, Filler: 1 << 30}, image.RegistryLimit, "bytes"},
		"LayerGone":    {"The layer was deleted.", registry.Fault{Path: "/blobs/" + layer, Status: 404}, image.RegistryUnavailable, "does not have the blob"},
		"Down":         {"The registry is down.", registry.Fault{Path: "/v2/", Handler: answer(503)}, image.RegistryUnavailable, "status 503"},
		"LayerDown":    {"It goes down halfway.", registry.Fault{Path: "/blobs/" + layer, Status: 503}, image.RegistryUnavailable, "status 503"},
		"Elsewhere":    {"The layer is said to be at a metadata service.", registry.Fault{Path: "/blobs/" + layer, Redirect: "http://169.254.169.254"}, image.RegistryUnavailable, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			r.Inject(tc.fault)
			defer r.Reset()
			e := refuse(t, fetcher(t, trust(key)), i.Pinned(), tc.want)
			if !strings.Contains(e.Message, tc.says) || e.Undetermined != (tc.want == image.RegistryUnavailable) {
				t.Errorf("%s\n%v, undetermined: %t; want %q", tc.reason, e, e.Undetermined, tc.says)
			}
		})
	}
	t.Run("TooLarge", func(t *testing.T) {
		c := trust(key)
		c.MaxBytes = 100
		r.Reset()
		refuse(t, fetcher(t, c), i.Pinned(), image.RegistryLimit)
		if r.Count("/blobs/"+layer) > 0 {
			t.Error("a layer that is said to be too large is downloaded")
		}
	})
	t.Run("PlainHTTP", func(t *testing.T) {
		c := trust(key)
		c.Images.LoopbackHTTP = false
		if e := refuse(t, fetcher(t, c), i.Pinned(), image.RegistryUnavailable); !strings.Contains(e.Message, "plain HTTP is refused") {
			t.Errorf("message: %s", e.Message)
		}
	})
}

func layerOf(t *testing.T, r *registry.Registry, i registry.Image) string {
	t.Helper()
	raw, _, err := r.Manifest(i.Repository, i.Digest)
	must(t, err)
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	must(t, err)
	return m.Layers[0].Digest.String()
}

// TestNotBundle fetches, and signs, what is something else.
func TestNotBundle(t *testing.T) {
	r, key := registry.New(t, registry.Options{}), keys[registry.ECDSAP256]()
	raw := archive(t, "no")
	layer := v1.Descriptor{MediaType: types.OCILayer, Digest: digestOf(t, raw), Size: int64(len(raw))}
	config := v1.Descriptor{MediaType: bundle.ConfigType, Digest: digestOf(t, []byte("{}")), Size: 2}
	manifest := func(c v1.Descriptor, layers ...v1.Descriptor) v1.Manifest {
		return v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: c, Layers: layers}
	}
	with := func(d v1.Descriptor, change func(*v1.Descriptor)) v1.Descriptor { change(&d); return d }
	imageConfig := []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:00"]}}`)
	for name, tc := range map[string]struct {
		reason   string
		manifest v1.Manifest
		want     string
	}{
		"Image":    {"An image of one layer.", manifest(v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: digestOf(t, imageConfig), Size: int64(len(imageConfig))}, layer), "a container image"},
		"Two":      {"Which layer counts?", manifest(config, layer, layer), "2 layers"},
		"None":     {"Nothing in it.", manifest(config), "0 layers"},
		"Type":     {"A layer of another type.", manifest(config, with(layer, func(d *v1.Descriptor) { d.MediaType = "application/x\x1b[2J" })), "of the type"},
		"Size":     {"A manifest that gives another size.", manifest(config, with(layer, func(d *v1.Descriptor) { d.Size-- })), "its manifest says"},
		"Conftest": {"What conftest pushes is single files.", manifest(config, with(layer, func(d *v1.Descriptor) { d.MediaType = "application/vnd.cncf.openpolicyagent.policy.layer.v1+rego" })), "pushed by conftest"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.PutBlob("acme/x", imageConfig)
			must(t, err)
			_, err = r.PutBlob("acme/x", raw)
			must(t, err)
			doc, err := json.Marshal(tc.manifest)
			must(t, err)
			must(t, r.PutManifest("acme/x", "1", string(tc.manifest.MediaType), doc))
			i := registry.Image{Name: r.Name("acme/x:1"), Repository: r.Name("acme/x"), Digest: digestOf(t, doc).String()}
			must(t, r.SignBundle(i, key))
			a, err := fetcher(t, trust(key)).Fetch(background(t), i.Name)
			if !errors.Is(err, bundle.ErrNotBundle) || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\x1b") || len(a.Bytes) > 0 {
				t.Errorf("%s\nFetch() = %v, want %q", tc.reason, err, tc.want)
			}
			if _, err := bundle.Sign(background(t), reach(t, image.Config{}), i.Pinned(), loadKey(t, key)); name != "Size" && (!errors.Is(err, bundle.ErrNotBundle) || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s\nSign() = %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
	index := r.MustPushIndex(t, "acme/index:1", 2)
	must(t, r.SignBundle(index, key))
	if _, err := fetcher(t, trust(key)).Fetch(background(t), index.Name); !errors.Is(err, bundle.ErrNotBundle) || !strings.Contains(err.Error(), "an index") {
		t.Errorf("an index: %v", err)
	}
	oras := manifest(v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: digestOf(t, []byte("{}")), Size: 2}, layer)
	doc, err := json.Marshal(oras)
	must(t, err)
	_, err = r.PutBlob("acme/x", []byte("{}"))
	must(t, err)
	must(t, r.PutManifest("acme/x", "oras", string(oras.MediaType), doc))
	must(t, r.SignBundle(registry.Image{Repository: r.Name("acme/x"), Digest: digestOf(t, doc).String()}, key))
	if a, err := fetcher(t, trust(key)).Fetch(background(t), r.Name("acme/x:oras")); err != nil || !bytes.Equal(a.Bytes, raw) {
		t.Errorf("what oras pushes as OPA's documentation has it: %v", err)
	}
}

func digestOf(t *testing.T, raw []byte) v1.Hash {
	t.Helper()
	h, _, err := v1.SHA256(bytes.NewReader(raw))
	must(t, err)
	return h
}
