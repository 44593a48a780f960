package image_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/verify/image"
)

// THREATS I1: a tag that gives one image to the verifier and another later.
func TestAttack_I1_TagFlips(t *testing.T) {
	key := registry.MustKey(t, registry.ECDSAP256)
	for layout, l := range layouts {
		for _, goodFirst := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/goodFirst=%t", layout, goodFirst), func(t *testing.T) {
				reg := registry.New(t, l.options)
				evil, good := reg.MustPushImage(t, "acme/evil:1"), reg.MustPushImage(t, "acme/app:1")
				evil.Name, evil.Repository = good.Name, good.Repository
				raw, mediaType, err := reg.Manifest("acme/evil", evil.Digest)
				must(t, err)
				must(t, reg.PutManifest("acme/app", evil.Digest, mediaType, raw))
				must(t, l.sign(reg, good, key))
				first, second := good, evil
				if !goodFirst {
					first, second = evil, good
					must(t, reg.PutManifest("acme/app", "1", mediaType, raw))
				}
				must(t, reg.FlipTag(first, second))

				session := newVerifier(t, config(key)).NewSession()
				for range 3 { // the same run asks again, and gets the same answer
					e, err := session.Verify(background(t), good.Name)
					if goodFirst && (err != nil || e.Digest() != good.Digest || e.Pinned() != good.Name+"@"+good.Digest) {
						t.Fatalf("evidence %s, %v; want %s", e.Pinned(), err, good.Digest)
					}
					if !goodFirst && err == nil {
						t.Fatalf("the signature of a later answer vouches for the first: %s", e.Pinned())
					}
				}
				if n := reg.Count("/manifests/1"); n != 1 {
					t.Errorf("the tag was resolved %d times in one run", n)
				}
			})
		}
	}
}

// THREATS I1: with Required the tag never counts, and nobody is asked.
func TestAttack_I1_RequiredDigest(t *testing.T) {
	reg := registry.New(t, registry.Options{})
	key := registry.MustKey(t, registry.ECDSAP256)
	old, current := reg.MustPushImage(t, "acme/app:1"), reg.MustPushImage(t, "acme/app:2")
	must(t, reg.SignTag(old, key))
	c := config(key)
	c.Digest = image.Required
	v := newVerifier(t, c)
	refuse(t, v, old.Name, image.ImageNotPinned)
	refuse(t, v, old.Repository, image.ImageNotPinned)
	if n := len(reg.Requests()); n != 0 {
		t.Errorf("%d requests for a tag that cannot be accepted", n)
	}
	if e := accept(t, v, old.Pinned()); e.Pinned() != old.Pinned() {
		t.Errorf("pinned %s", e.Pinned())
	}
	// The digest decides, whatever tag stands before it.
	e := accept(t, v, current.Name+"@"+old.Digest)
	if e.Digest() != old.Digest || e.Tag() != "2" {
		t.Errorf("evidence %s", e.Pinned())
	}
	refuse(t, v, old.Name+"@"+current.Digest, image.ImageUnsigned)
	if n := reg.Count("/manifests/1") + reg.Count("/manifests/2"); n != 0 {
		t.Errorf("a tag beside a digest was looked up %d times", n)
	}
}

// THREATS I1: the registry's word about a digest is not believed.
func TestAttack_I1_LyingRegistry(t *testing.T) {
	reg := registry.New(t, registry.Options{})
	key := registry.MustKey(t, registry.ECDSAP256)
	good, evil := reg.MustPushImage(t, "acme/app:1"), reg.MustPushImage(t, "acme/app:2")
	must(t, reg.SignTag(good, key))
	raw, mediaType, err := reg.Manifest("acme/app", evil.Digest)
	must(t, err)
	for name, f := range map[string]registry.Fault{
		"Digest":   {Path: "/manifests/1", Body: raw, ContentType: mediaType, Digest: good.Digest},
		"NotImage": {Path: "/manifests/1", ContentType: "text/html"},
		"Payload":  {Path: "/blobs/", Body: []byte("another blob")},
	} {
		t.Run(name, func(t *testing.T) {
			reg.Reset()
			reg.Inject(f)
			refuse(t, newVerifier(t, config(key)), good.Name, image.RegistryUnavailable)
		})
	}
}

// THREATS I2: an index and its images do not vouch for each other.
func TestAttack_I2_IndexAndChild(t *testing.T) {
	key := registry.MustKey(t, registry.ECDSAP256)
	for layout, l := range layouts {
		t.Run(layout, func(t *testing.T) {
			reg := registry.New(t, l.options)
			v := newVerifier(t, config(key))

			index := reg.MustPushIndex(t, "acme/signed-index:1", 2)
			must(t, l.sign(reg, index, key))
			accept(t, v, index.Name)
			accept(t, v, index.Pinned())
			refuse(t, v, index.Child(0).Pinned(), image.ImageUnsigned)

			other := reg.MustPushIndex(t, "acme/signed-child:1", 2)
			must(t, l.sign(reg, other.Child(0), key))
			accept(t, v, other.Child(0).Pinned())
			refuse(t, v, other.Child(1).Pinned(), image.ImageUnsigned)
			refuse(t, v, other.Name, image.ImageUnsigned)
			refuse(t, v, other.Pinned(), image.ImageUnsigned)
		})
	}
}

// THREATS I8, the verifier's part: each image of an object is judged, wherever
// in the list it stands.
func TestAttack_I8_EveryImageIsJudged(t *testing.T) {
	reg := registry.New(t, registry.Options{})
	key := registry.MustKey(t, registry.ECDSAP256)
	signed, unsigned := reg.MustPushImage(t, "acme/app:1"), reg.MustPushImage(t, "acme/init:1")
	must(t, reg.SignTag(signed, key))
	refs := []string{signed.Name, unsigned.Name, signed.Name, signed.Pinned(), "not a reference", unsigned.Name}
	results := newVerifier(t, config(key)).NewSession().VerifyAll(background(t), refs)
	for i, want := range []image.Reason{"", image.ImageUnsigned, "", "", image.ImageNotAllowed, image.ImageUnsigned} {
		r := results[i]
		if want == "" && (r.Err != nil || r.Evidence.Digest() != signed.Digest) {
			t.Errorf("%s: %v", refs[i], r.Err)
		}
		if want != "" && (r.Err == nil || r.Err.Reason != want || r.Evidence.Valid()) {
			t.Errorf("%s: %v, want %s", refs[i], r.Err, want)
		}
	}
	if n := reg.Count("/manifests/1"); n != 2 {
		t.Errorf("two tags were resolved %d times", n)
	}
}

// Signatures that look right. What cosign refuses, gitgate refuses, and more.
func TestForgedSignatures(t *testing.T) {
	key, other := registry.MustKey(t, registry.ECDSAP256), registry.MustKey(t, registry.ECDSAP256)
	for name, tc := range map[string]struct {
		reason string
		forge  func(*testing.T, *registry.Registry, registry.Image)
		want   image.Reason
		cosign bool // cosign's library accepts it
	}{
		"WrongKey": {"Anybody can sign with a key of their own.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			must(t, r.SignTag(i, other))
			must(t, r.SignBundle(i, other))
		}, image.ImageUntrusted, false},
		"CopiedTag": {"The signature of another image of the same signer.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			from := r.MustPushImage(t, "acme/app:other")
			must(t, r.SignTag(from, key))
			must(t, r.CopySignatures(from, i))
		}, image.ImageUntrusted, false},
		"CopiedBundle": {"The bundle of another image of the same signer.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			raw, err := registry.Bundle(r.MustPushImage(t, "acme/app:other"), key, registry.PredicateSign)
			must(t, err)
			must(t, r.AttachBundle(i, raw, registry.PredicateSign))
		}, image.ImageUntrusted, false},
		"TamperedPayload": {"A signature of one document under another.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			doc, err := registry.Payload(r.MustPushImage(t, "acme/app:other"))
			must(t, err)
			sig, err := key.Sign(doc)
			must(t, err)
			doc, err = registry.Payload(i)
			must(t, err)
			must(t, r.AttachSignature(i, doc, base64.StdEncoding.EncodeToString(sig)))
		}, image.ImageUntrusted, false},
		"TamperedBundle": {"A statement changed after it was signed.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			from := r.MustPushImage(t, "acme/app:other")
			raw, err := registry.Bundle(from, key, registry.PredicateSign)
			must(t, err)
			must(t, r.AttachBundle(i, swapPayload(t, raw, from.Digest, i.Digest), registry.PredicateSign))
		}, image.ImageUntrusted, false},
		"Attestation": {"A scan report about the image, by the right key, does not release it.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			raw, err := registry.Bundle(i, key, "https://cosign.sigstore.dev/attestation/vuln/v1")
			must(t, err)
			must(t, r.AttachBundle(i, raw, registry.PredicateSign)) // even if it is listed as a signature
		}, image.ImageUntrusted, false},
		"OtherDocument": {"The key signed something that is no signature of an image.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			must(t, r.SignPayload(i, key, fmt.Appendf(nil, `{"critical":{"type":"commit","image":{"docker-manifest-digest":%q}}}`, i.Digest)))
		}, image.ImageUntrusted, true},
		"NotJSON": {"The key signed bytes.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			must(t, r.SignPayload(i, key, []byte("hello")))
		}, image.ImageUntrusted, false},
		"EmptySignature": {"No signature in the annotation.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			doc, err := registry.Payload(i)
			must(t, err)
			must(t, r.AttachSignature(i, doc, ""))
		}, image.ImageUntrusted, false},
		"NotBase64": {"Garbage in the annotation.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			doc, err := registry.Payload(i)
			must(t, err)
			must(t, r.AttachSignature(i, doc, "!!!"))
		}, image.ImageUntrusted, false},
		"MalformedBundle": {"Garbage as a bundle.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			for _, raw := range []string{"", "{}", "null", "[]", `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","dsseEnvelope":{}}`, strings.Repeat("[", 20000)} {
				must(t, r.AttachBundle(i, []byte(raw), registry.PredicateSign))
			}
		}, image.ImageUntrusted, false},
		"EmptyManifest": {"A signature manifest without signatures is none.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			must(t, r.PutManifest(i.Repository, registry.SignatureTag(i.Digest), "application/vnd.oci.image.manifest.v1+json",
				[]byte(`{"schemaVersion":2,"layers":[]}`)))
		}, image.ImageUnsigned, false},
		"MalformedManifest": {"What cannot be read might have been a signature.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			must(t, r.PutManifest(i.Repository, registry.SignatureTag(i.Digest), "application/vnd.oci.image.manifest.v1+json", []byte(`{`)))
		}, image.RegistryUnavailable, false},
	} {
		t.Run(name, func(t *testing.T) {
			reg := registry.New(t, registry.Options{})
			img := reg.MustPushImage(t, "acme/app:1")
			tc.forge(t, reg, img)
			refuse(t, newVerifier(t, config(key)), img.Name, tc.want)
			if got := reg.CosignVerify(t.Context(), img, key) == nil; got != tc.cosign {
				t.Errorf("%s\ncosign accepts it: %t, want %t", tc.reason, got, tc.cosign)
			}
			// The true signature beside the forged one still counts.
			if name == "MalformedManifest" {
				return
			}
			must(t, reg.SignBundle(img, key))
			accept(t, newVerifier(t, config(key)), img.Name)
		})
	}
}

// swapPayload changes the text of a bundle's statement and leaves its signature.
func swapPayload(t *testing.T, raw []byte, from, to string) []byte {
	t.Helper()
	_, rest, _ := strings.Cut(string(raw), `"payload":"`)
	payload, _, found := strings.Cut(strings.TrimLeft(rest, " "), `"`)
	statement, err := base64.StdEncoding.DecodeString(payload)
	must(t, err)
	swapped := strings.Replace(string(statement), strings.TrimPrefix(from, "sha256:"), strings.TrimPrefix(to, "sha256:"), 1)
	if !found || swapped == string(statement) {
		t.Fatal("nothing was changed")
	}
	return []byte(strings.Replace(string(raw), payload, base64.StdEncoding.EncodeToString([]byte(swapped)), 1))
}
