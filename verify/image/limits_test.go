package image_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/verify/image"
)

const ociManifest = "application/vnd.oci.image.manifest.v1+json"

// budget is short where a test waits for it to end.
const budget = 700 * time.Millisecond

// THREATS I7: a registry that sends too much, too slowly or nothing.
func TestAttack_I7_HostileRegistry(t *testing.T) {
	key := registry.MustKey(t, registry.ECDSAP256)
	endless := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", ociManifest)
		chunk := bytes.Repeat([]byte(" "), 64<<10)
		for range 16 << 10 { // 1 GiB, without a length
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	loop := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path+"?x", http.StatusFound)
	})
	for name, tc := range map[string]struct {
		fault  registry.Fault
		want   image.Reason
		atMost int // requests
	}{
		"HugeManifest":      {registry.Fault{Path: "/manifests/1", Filler: 1 << 30, ContentType: ociManifest}, image.RegistryLimit, 10},
		"EndlessManifest":   {registry.Fault{Path: "/manifests/1", Handler: endless}, image.RegistryLimit, 10},
		"HugeSignatureList": {registry.Fault{Path: ".sig", Filler: 1 << 30}, image.RegistryLimit, 10},
		"HugePayload":       {registry.Fault{Path: "/blobs/", Filler: 1 << 30}, image.RegistryLimit, 10},
		"EndlessPayload":    {registry.Fault{Path: "/blobs/", Handler: endless}, image.RegistryLimit, 10},
		"EndlessHandshake":  {registry.Fault{Path: "/v2/", Times: 1, Handler: endless}, image.RegistryLimit, 10},
		"EndlessRedirects":  {registry.Fault{Path: "/manifests/1", Handler: loop}, image.RegistryLimit, 20},
		"SlowBytes":         {registry.Fault{Path: "/manifests/1", Drip: 200 * time.Millisecond}, image.RegistryUnavailable, 10},
		"SlowPayload":       {registry.Fault{Path: "/blobs/", Drip: 200 * time.Millisecond}, image.RegistryUnavailable, 10},
		"SlowAnswer":        {registry.Fault{Path: "/manifests/1", Latency: time.Hour}, image.RegistryUnavailable, 10},
		"RateLimit":         {registry.Fault{Path: "/v2/", Status: 429}, image.RegistryUnavailable, 20},
		"RetryAfterHour":    {registry.Fault{Path: "/manifests/1", Status: 429, RetryAfter: "3600"}, image.RegistryUnavailable, 10},
		"ServerError":       {registry.Fault{Path: "/manifests/", Status: 500}, image.RegistryUnavailable, 20},
		"SignatureError":    {registry.Fault{Path: ".sig", Status: 503}, image.RegistryUnavailable, 20},
		"Forbidden":         {registry.Fault{Path: "/manifests/", Status: 403}, image.RegistryUnavailable, 10},
		"CutAlways":         {registry.Fault{Path: "/manifests/1", Cut: 10}, image.RegistryUnavailable, 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := registry.New(t, registry.Options{})
			img := reg.MustPushImage(t, "acme/app:1")
			must(t, reg.SignTag(img, key))
			reg.Inject(tc.fault)
			c := config(key)
			if tc.want == image.RegistryUnavailable {
				c.Limits.Timeout = budget
			} else {
				c.Limits.Timeout = 30 * time.Second // the limit must come first, on a busy machine too
			}
			start := time.Now()
			refuse(t, newVerifier(t, c), img.Name, tc.want)
			if d := time.Since(start); d > 30*time.Second { // far above the budget, below the minute that the test has
				t.Errorf("it took %s with a budget of %s", d, budget)
			}
			if n := len(reg.Requests()); n > tc.atMost {
				t.Errorf("%d requests, more than %d", n, tc.atMost)
			}
		})
	}
}

// THREATS I7: a fault that passes is waited out.
func TestAttack_I7_PassingFaults(t *testing.T) {
	key := registry.MustKey(t, registry.ECDSAP256)
	for name, f := range map[string]registry.Fault{
		"429":          {Times: 2, Status: 429},
		"503":          {Path: "/manifests/1", Times: 2, Status: 503, RetryAfter: "0"},
		"500Payload":   {Path: "/blobs/", Times: 1, Status: 500},
		"CutManifest":  {Path: "/manifests/1", Times: 1, Cut: 10},
		"CutPayload":   {Path: "/blobs/", Times: 2, Cut: 10},
		"502Referrers": {Path: "/referrers/", Times: 1, Status: 502},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := registry.New(t, registry.Options{})
			img := reg.MustPushImage(t, "acme/app:1")
			if name == "502Referrers" {
				must(t, reg.SignBundle(img, key))
			} else {
				must(t, reg.SignTag(img, key))
			}
			reg.Inject(f)
			accept(t, newVerifier(t, config(key)), img.Name)
		})
	}
}

// THREATS I7: ten thousand signatures.
func TestAttack_I7_ManySignatures(t *testing.T) {
	reg := registry.New(t, registry.Options{})
	key := registry.MustKey(t, registry.ECDSAP256)
	v := newVerifier(t, config(key))

	many := reg.MustPushImage(t, "acme/app:1")
	doc, err := reg.PutBlob("acme/app", []byte("{}"))
	must(t, err)
	layer := fmt.Sprintf(`{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","size":2,"digest":%q,`+
		`"annotations":{"dev.cosignproject.cosign/signature":"AAAA"}}`, doc)
	manifest := `{"schemaVersion":2,"layers":[` + strings.Repeat(layer+",", 9999) + layer + `]}`
	must(t, reg.PutManifest("acme/app", registry.SignatureTag(many.Digest), ociManifest, []byte(manifest)))
	refuse(t, v, many.Pinned(), image.RegistryLimit)
	if n := len(reg.Requests()); n > 10 {
		t.Errorf("%d requests", n)
	}

	reg.Reset()
	referred := reg.MustPushImage(t, "acme/app:2")
	descriptor := fmt.Sprintf(`{"mediaType":%q,"size":2,"digest":%q,"artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`, ociManifest, doc)
	list := `{"schemaVersion":2,"manifests":[` + strings.Repeat(descriptor+",", 9999) + descriptor + `]}`
	reg.Inject(registry.Fault{Path: "/referrers/", Body: []byte(list)})
	refuse(t, v, referred.Pinned(), image.RegistryLimit)
	if n := len(reg.Requests()); n > 10 {
		t.Errorf("%d requests", n)
	}

	// Attestations say what they are and do not count: an image may have many.
	reg.Reset()
	attested := reg.MustPushImage(t, "acme/app:3")
	must(t, reg.SignTag(attested, key))
	reg.Inject(registry.Fault{Path: "/referrers/", Body: []byte(strings.ReplaceAll(list, "sigstore.bundle.v0.3", "spdx"))})
	accept(t, v, attested.Pinned())
}

// THREATS I7: pages of referrers are followed, but not for ever and not away.
func TestAttack_I7_ReferrerPages(t *testing.T) {
	key := registry.MustKey(t, registry.ECDSAP256)
	away := registry.New(t, registry.Options{TLS: true}) // so that only the host is wrong
	empty := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	page := func(link func(*http.Request) string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			w.Header().Set("Link", "<"+link(r)+`>; rel="next"`)
			fmt.Fprint(w, empty)
		})
	}
	for name, tc := range map[string]struct {
		fault registry.Fault
		want  image.Reason
	}{
		"Second":  {registry.Fault{Path: "/referrers/", Times: 1, Handler: page(func(r *http.Request) string { return r.URL.Path + "?page=2" })}, ""},
		"Endless": {registry.Fault{Path: "/referrers/", Handler: page(func(r *http.Request) string { return r.URL.Path + "?again" })}, image.RegistryLimit},
		"Away":    {registry.Fault{Path: "/referrers/", Handler: page(func(*http.Request) string { return away.URL() + "/v2/x" })}, image.RegistryUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			reg := registry.New(t, registry.Options{})
			img := reg.MustPushImage(t, "acme/app:1")
			must(t, reg.SignBundle(img, key))
			reg.Inject(tc.fault)
			c := config(key)
			c.CA = away.CA()
			v := newVerifier(t, c)
			if tc.want == "" {
				accept(t, v, img.Name)
				return
			}
			refuse(t, v, img.Name, tc.want)
			if n := len(away.Requests()); n != 0 {
				t.Errorf("%d requests to another host", n)
			}
		})
	}
}

// THREATS I7: what was verified stays verified while the registry is down, by
// digest only; a tag is never remembered.
func TestAttack_I7_OutageAfterVerification(t *testing.T) {
	reg := registry.New(t, registry.Options{})
	key := registry.MustKey(t, registry.ECDSAP256)
	img, unsigned := reg.MustPushImage(t, "acme/app:1"), reg.MustPushImage(t, "acme/app:2")
	must(t, reg.SignBundle(img, key))
	v := newVerifier(t, config(key))
	accept(t, v, img.Name)
	refuse(t, v, unsigned.Pinned(), image.ImageUnsigned)
	reg.Inject(registry.Fault{Status: 503, RetryAfter: "3600"})
	if e := accept(t, v, img.Pinned()); e.Layout() != "bundle" || e.Authority() != "authority-0" {
		t.Errorf("remembered evidence %+v", e.Grants())
	}
	refuse(t, v, img.Name, image.RegistryUnavailable)
	refuse(t, v, unsigned.Pinned(), image.RegistryUnavailable)

	// A refusal is not remembered: the signature may come later.
	reg.Reset()
	must(t, reg.SignTag(unsigned, key))
	accept(t, v, unsigned.Pinned())
}
