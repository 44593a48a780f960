package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sigstore/sigstore-go/pkg/bundle"

	"gitgate.dev/gitgate/test/testkit/registry"
)

// signedBy compiles a verifier's authority for a key.
func signedBy(tb testing.TB, k *registry.Key) *authority {
	tb.Helper()
	a, err := compileAuthority(Authority{Key: &Key{Data: k.Public}}, 0, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

var subject = registry.Image{Repository: "ghcr.io/acme/app", Digest: hash}

// Whatever the bytes: no panic, and what is accepted is what the key signed.
func FuzzBundle(f *testing.F) {
	key := registry.MustKey(f, registry.ECDSAP256)
	a := signedBy(f, key)
	good, err := registry.Bundle(subject, key, registry.PredicateSign)
	if err != nil {
		f.Fatal(err)
	}
	if err := (proof{Layout: LayoutBundle, Bundle: good}).verify(hash, a); err != nil {
		f.Fatalf("the seed is not accepted: %v", err)
	}
	signed := payloadOf(f, good)
	f.Add(good)
	for _, s := range []string{"", "{}", "null", `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`,
		`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{}},"dsseEnvelope":{}}`,
		`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{}},"messageSignature":{}}`,
		`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{},"tlogEntries":[{}]},"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AAAA"}]}}`,
	} {
		f.Add([]byte(s))
	}
	for i := 0; i < len(good); i += 17 {
		f.Add(append(bytes.Clone(good[:i]), good[i+1:]...))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		err := proof{Layout: LayoutBundle, Bundle: raw}.verify(hash, a)
		if err == nil && !bytes.Equal(payloadOf(t, raw), signed) {
			t.Errorf("a statement that nobody signed is accepted: %s", raw)
		}
		if err == errPanic {
			t.Errorf("a parser panics on %q", raw)
		}
	})
}

func payloadOf(tb testing.TB, raw []byte) []byte {
	tb.Helper()
	var b bundle.Bundle
	if err := b.UnmarshalJSON(raw); err != nil {
		tb.Fatal(err)
	}
	return b.GetDsseEnvelope().GetPayload()
}

// Documents that the key did sign, of any content: only one that names the
// digest is accepted.
func FuzzPayload(f *testing.F) {
	key := registry.MustKey(f, registry.ECDSAP256)
	a := signedBy(f, key)
	good, err := registry.Payload(subject)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, true)
	f.Add(good, false)
	for _, s := range []string{"", "null", "{}", `{"critical":null}`, `{"critical":{"image":[]}}`, `{"critical":{"type":"cosign container image signature","image":{"docker-manifest-digest":"sha256:00"}}}`} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, doc []byte, sign bool) {
		sig := doc
		if sign {
			if sig, err = key.Sign(doc); err != nil {
				t.Fatal(err)
			}
		}
		err := proof{Layout: LayoutTag, Payload: doc, Signature: sig}.verify(hash, a)
		if err == nil && (!sign || !bytes.Contains(doc, []byte(hash[len("sha256:"):]))) {
			t.Errorf("accepted: signed %t, %q", sign, doc)
		}
		if bytes.Equal(doc, good) && sign && err != nil {
			t.Errorf("refused: %v", err)
		}
	})
}

// The cache on disk saves the network and grants nothing.
func TestDiskCache(t *testing.T) {
	reg := registry.New(t, registry.Options{})
	key, other := registry.MustKey(t, registry.ECDSAP256), registry.MustKey(t, registry.ECDSAP256)
	img, unsigned := reg.MustPushImage(t, "acme/app:1"), reg.MustPushImage(t, "acme/app:2")
	for _, err := range []error{reg.SignTag(img, key), reg.SignBundle(img, key)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(t.TempDir(), "cache")
	verifier := func(k *registry.Key) *Verifier {
		v, err := NewVerifier(Config{CacheDir: dir, LoopbackHTTP: true,
			Rules: []Rule{{Match: []string{"**"}, Authorities: []Authority{{Key: &Key{Data: k.Public}}}}}})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if _, err := verifier(key).Verify(t.Context(), img.Name); err != nil {
		t.Fatal(err)
	}
	file := disk(dir).path(img.Repository + "@" + img.Digest)
	kept, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	reg.Reset()
	if e, err := verifier(key).Verify(t.Context(), img.Pinned()); err != nil || e.Layout() != "tag" || len(reg.Requests()) != 0 {
		t.Fatalf("evidence %+v, %v after %d requests", e.Grants(), err, len(reg.Requests()))
	}
	if _, err := verifier(other).Verify(t.Context(), img.Pinned()); err == nil {
		t.Error("a key that is no longer trusted lives on in the cache")
	}

	// Whoever can write the cache copies, invents or breaks files.
	target := disk(dir).path(unsigned.Repository + "@" + unsigned.Digest)
	forged, err := registry.Bundle(unsigned, other, registry.PredicateSign)
	if err != nil {
		t.Fatal(err)
	}
	invented, err := json.Marshal([]proof{{Layout: LayoutBundle, Bundle: forged}, {Layout: LayoutStatic}, {Layout: "tag"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"copied": kept, "invented": invented, "broken": []byte("{"), "null": []byte("[null, {}]"), "empty": nil,
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(target, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if e, err := verifier(key).Verify(t.Context(), unsigned.Pinned()); err == nil {
				t.Errorf("evidence from a poisoned cache: %+v", e.Grants())
			}
		})
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := newMemory(2)
	for i := range 5 {
		m.put(fmt.Sprint(i), known{grants: []Grant{{Rule: fmt.Sprint(i)}}})
		m.get("0", false)
	}
	if len(m.entries) != 2 || m.order.Len() != 2 {
		t.Errorf("%d entries, want 2", len(m.entries))
	}
	if _, ok := m.get("0", false); !ok {
		t.Error("the entry used most recently is gone")
	}
	if g, ok := m.get("4", false); !ok || g.grants[0].Rule != "4" {
		t.Error("the newest entry is gone")
	}
}

// Whatever the bytes: no panic, and a statement that counts is one that the key signed
// about the digest, in either layout.
func FuzzAttestation(f *testing.F) {
	const uri = "https://acme.dev/statement"
	key := registry.MustKey(f, registry.ECDSAP256)
	a := signedBy(f, key)
	payload, err := registry.Statement(subject, uri, `{"a":"b"}`)
	if err != nil {
		f.Fatal(err)
	}
	envelope, err := registry.Envelope(key, registry.InToto, payload)
	if err != nil {
		f.Fatal(err)
	}
	raw, err := registry.BundleOf(key, payload, envelope)
	if err != nil {
		f.Fatal(err)
	}
	counts := func(p proof) (string, bool) {
		g := &gathering{digest: hash, from: &source{kept: NewPredicates(0)}, wants: []*want{{asked: asked{name: "a", uri: uri, authorities: []*authority{a}}}}}
		g.offer(p, uri)
		if g.satisfied() != (len(g.attested) == 1) {
			return "", false
		}
		if len(g.attested) == 0 {
			return "", true
		}
		stated, err := g.attested[0].Predicate()
		return string(stated), err == nil
	}
	if stated, ok := counts(proof{Layout: LayoutTag, Payload: envelope}); !ok || stated != `{"a":"b"}` {
		f.Fatalf("the seed does not count: %s", stated)
	}
	if stated, ok := counts(proof{Layout: LayoutBundle, Bundle: raw}); !ok || stated != `{"a":"b"}` {
		f.Fatalf("the seed does not count: %s", stated)
	}
	for _, seed := range [][]byte{envelope, raw, nil, []byte("{}"), []byte(`{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AAAA"}]}`)} {
		f.Add(seed)
		for i := 0; i < len(seed); i += 23 {
			f.Add(append(bytes.Clone(seed[:i]), seed[i+1:]...))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, p := range []proof{{Layout: LayoutTag, Payload: raw}, {Layout: LayoutBundle, Bundle: raw}} {
			if stated, ok := counts(p); !ok || stated != "" && stated != `{"a":"b"}` {
				t.Errorf("a statement that nobody signed counts: %s of %q", stated, raw)
			}
			if _, err := p.openEnvelope(); err == errPanic {
				t.Errorf("a parser panics on %q", raw)
			}
		}
	})
}
