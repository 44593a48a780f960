package image_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/verify/image"
)

const (
	vuln     = "https://cosign.sigstore.dev/attestation/vuln/v1"
	slsa1    = "https://slsa.dev/provenance/v1"
	scan     = `{"scanner":{"uri":"scanner","result":{"found":0}},"metadata":{"scanStartedOn":"2026-01-01T00:00:00Z","scanFinishedOn":"2026-01-01T00:00:00Z"}}`
	built    = `{"buildDefinition":{"buildType":"https://acme.dev/build","externalParameters":{}},"runDetails":{"builder":{"id":"https://acme.dev/builder"}}}`
	anything = `{"a":"b"}`
)

// attestLayouts are the places where cosign keeps attestations.
var attestLayouts = map[string]struct {
	options registry.Options
	attest  func(*registry.Registry, registry.Image, *registry.Key, string, string) error
	layout  image.Layout
}{
	"tag":             {registry.Options{}, (*registry.Registry).AttestTag, image.LayoutTag},
	"bundle":          {registry.Options{}, (*registry.Registry).AttestBundle, image.LayoutBundle},
	"bundle-fallback": {registry.Options{NoReferrers: true}, (*registry.Registry).AttestBundle, image.LayoutBundle},
}

// sharedKeys are those of the tests of attestations: cosign takes long to make one.
var sharedKeys = sync.OnceValues(func() (map[string]*registry.Key, error) {
	keys := map[string]*registry.Key{}
	for name, algorithm := range map[string]registry.Algorithm{"release": registry.ECDSAP256, "builder": registry.Ed25519, "other": registry.ECDSAP256} {
		var err error
		if keys[name], err = registry.NewKey(algorithm); err != nil {
			return nil, err
		}
	}
	return keys, nil
})

func sharedKey(t *testing.T, name string) *registry.Key {
	t.Helper()
	keys, err := sharedKeys()
	must(t, err)
	return keys[name]
}

// asks trusts the key for signatures, and asks for attestations.
func asks(key *registry.Key, all ...image.Attestation) image.Config {
	c := config(key)
	c.Rules[0].Attestations = all
	return c
}

func by(key *registry.Key, name, predicateType string) image.Attestation {
	return image.Attestation{Name: name, PredicateType: predicateType,
		Authorities: []image.Authority{{Name: "builder", Key: &image.Key{Data: key.Public}}}}
}

// signedImage is an image that the key signed.
func signedImage(t *testing.T, reg *registry.Registry, name string, key *registry.Key) registry.Image {
	t.Helper()
	img := reg.MustPushImage(t, name)
	must(t, reg.SignTag(img, key))
	return img
}

func TestAttestations(t *testing.T) {
	key, builder := sharedKey(t, "release"), sharedKey(t, "builder")
	for name, l := range attestLayouts {
		t.Run(name, func(t *testing.T) {
			reg := registry.New(t, l.options)
			img := signedImage(t, reg, "acme/app:1", key)
			must(t, l.attest(reg, img, builder, "slsaprovenance1", built))
			must(t, l.attest(reg, img, key, "vuln", scan))
			e := accept(t, newVerifier(t, asks(key, by(builder, "provenance", "slsaprovenance1"), image.Attestation{PredicateType: vuln})), img.Name)
			type short struct {
				Rule, Name, Type, Authority string
				Layout                      image.Layout
			}
			var got []short
			for _, a := range e.Attestations() {
				got = append(got, short{a.Rule, a.Name, a.PredicateType, a.Authority, a.Layout})
			}
			want := []short{
				{"rules[0]", "provenance", slsa1, "builder", l.layout},
				{"rules[0]", "attestation-1", vuln, "authority-0", l.layout},
			}
			if got[0].Name != "provenance" { // referrers are listed by digest
				got[0], got[1] = got[1], got[0]
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			for _, a := range e.Attestations() {
				raw, err := a.Predicate()
				must(t, err)
				says := map[string]string{slsa1: `"id":"https://acme.dev/builder"`, vuln: `"result":{"found":0}`}[a.PredicateType]
				if !json.Valid(raw) || !strings.Contains(string(raw), says) || a.Size != len(raw) {
					t.Errorf("%s states %s", a.Name, raw)
				}
			}
			if !e.AtHand() {
				t.Error("what was just verified is gone")
			}
			if e.Layout() != "tag" || e.Authority() != "authority-0" {
				t.Errorf("an attestation grants something: %+v", e.Grants())
			}
		})
	}
}

// Nobody who asks for no attestations pays for them.
func TestAttestationsNotAskedFor(t *testing.T) {
	reg := registry.New(t, registry.Options{})
	key := sharedKey(t, "release")
	img := signedImage(t, reg, "acme/app:1", key)
	must(t, reg.AttestTag(img, key, "vuln", scan))
	if e := accept(t, newVerifier(t, config(key)), img.Name); len(e.Attestations()) != 0 {
		t.Errorf("attestations nobody asked for: %v", e.Attestations())
	}
	if n := reg.Count(".att") + reg.Count("/referrers/"); n != 0 {
		t.Errorf("%d requests for attestations", n)
	}
	reg.Reset()
	must(t, reg.AttestTag(img, key, "spdxjson", anything))
	accept(t, newVerifier(t, asks(key, image.Attestation{PredicateType: "vuln"})), img.Name)
	if n := reg.Count("/blobs/"); n != 2 { // the signature, and the one of two
		t.Errorf("%d blobs were read, of which one is asked for", n)
	}
}

// Neither of two rules makes up for the other.
func TestAttestationsOfEveryRule(t *testing.T) {
	reg := registry.New(t, registry.Options{})
	key, builder := sharedKey(t, "release"), sharedKey(t, "builder")
	img := signedImage(t, reg, "acme/app:1", key)
	must(t, reg.AttestTag(img, builder, "vuln", scan))
	c := asks(key, by(builder, "scan", "vuln"))
	c.Rules = append(c.Rules, asks(key, image.Attestation{PredicateType: "vuln"}).Rules[0])
	if e := refuse(t, newVerifier(t, c), img.Name, image.AttestationInvalid); !strings.Contains(e.Message, "rules[1]") {
		t.Errorf("%s", e.Message)
	}
	must(t, reg.AttestBundle(img, key, "vuln", scan))
	if e := accept(t, newVerifier(t, c), img.Name); len(e.Attestations()) != 2 {
		t.Errorf("%+v", e.Attestations())
	}
}

// THREATS I4: an attestation that does not count, and why; one that is not required
// is left out, and the image passes.
// THREATS I4: cosign with a signing configuration lists attestations as signatures.
// They count as what they state, and as nothing else.
// What cosign accepts, gitgate accepts, and the other way round.
func TestAttestationsAsCosign(t *testing.T) {
	key, other := sharedKey(t, "release"), sharedKey(t, "other")
	reg := registry.New(t, registry.Options{})
	for name, tc := range map[string]struct {
		attest func(registry.Image) error
		want   bool
	}{
		"good":  {func(i registry.Image) error { return reg.AttestTag(i, key, "vuln", scan) }, true},
		"wrong": {func(i registry.Image) error { return reg.AttestTag(i, other, "vuln", scan) }, false},
		"none":  {func(registry.Image) error { return nil }, false},
		"replayed": {func(i registry.Image) error {
			from := reg.MustPushImage(t, "acme/other:1")
			must(t, reg.AttestTag(from, key, "vuln", scan))
			return reg.CopyAttestations(from, i)
		}, false},
	} {
		img := signedImage(t, reg, "acme/"+name+":1", key)
		must(t, tc.attest(img))
		_, err := newVerifier(t, asks(key, image.Attestation{PredicateType: "vuln"})).Verify(background(t), img.Name)
		cosign := reg.CosignVerifyAttestation(t.Context(), img, key)
		if (err == nil) != tc.want || (cosign == nil) != tc.want {
			t.Errorf("%s: gitgate %v, cosign %v, want %t", name, err, cosign, tc.want)
		}
	}
}

// THREATS I7: hundreds of attestations, huge ones, and a registry that breaks down
// between the signature and them.
// A new scan of the same digest is seen after a while, and one that is gone is missed.
func TestAttestationsAreAskedForAgain(t *testing.T) {
	reg := registry.New(t, registry.Options{})
	key := sharedKey(t, "release")
	img := signedImage(t, reg, "acme/app:1", key)
	empty, mediaType, err := reg.Manifest(img.Repository, registry.SignatureTag(img.Digest))
	must(t, err)
	must(t, reg.AttestTag(img, key, "vuln", scan))
	c := asks(key, image.Attestation{PredicateType: "vuln"})
	c.CacheDir = t.TempDir()
	v := newVerifier(t, c)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	v.SetNow(func() time.Time { return now })
	accept(t, v, img.Pinned())
	must(t, reg.AttestTag(img, key, "vuln", `{"invocation":{"uri":"later"}}`))
	if e := accept(t, v, img.Pinned()); len(e.Attestations()) != 1 {
		t.Errorf("%d attestations; the registry was asked again at once", len(e.Attestations()))
	}
	now = now.Add(5 * time.Minute)
	if e := accept(t, v, img.Pinned()); len(e.Attestations()) != 2 {
		t.Errorf("%d attestations; the registry was not asked again", len(e.Attestations()))
	}
	// Removed: what was verified stands for as long as it is remembered, and no longer.
	must(t, reg.PutManifest(img.Repository, registry.AttestationTag(img.Digest), mediaType, empty))
	accept(t, v, img.Pinned())
	now = now.Add(5 * time.Minute)
	refuse(t, v, img.Pinned(), image.AttestationMissing)
	refuse(t, newVerifier(t, c), img.Pinned(), image.AttestationMissing) // nor does the cache of signatures help
}

// Who has nobody to ask goes on with what was verified, and verifies it again.
func TestAttestationsRecalled(t *testing.T) {
	key, other := sharedKey(t, "release"), sharedKey(t, "other")
	reg := registry.New(t, registry.Options{})
	img := signedImage(t, reg, "acme/app:1", key)
	large := `{"invocation":{"uri":"` + strings.Repeat("large ", 100_000) + `"}}`
	must(t, reg.AttestTag(img, key, "vuln", large))
	must(t, reg.AttestBundle(img, key, "slsaprovenance1", built))
	c := asks(key, image.Attestation{Name: "scan", PredicateType: "vuln"}, image.Attestation{PredicateType: "slsaprovenance1"})
	c.CacheDir, c.RecallTags = t.TempDir(), true
	accept(t, newVerifier(t, c), img.Name)
	reg.Inject(registry.Fault{Path: "/", Status: 503})
	c.Limits.Retries, c.Limits.Timeout = 1, 5*time.Second
	for name, ref := range map[string]string{"Tag": img.Name, "Digest": img.Pinned()} {
		t.Run(name, func(t *testing.T) {
			for _, a := range accept(t, newVerifier(t, c), ref).Attestations() {
				if raw, err := a.Predicate(); err != nil || a.Name == "scan" && !strings.Contains(string(raw), "large large") {
					t.Errorf("%s: %v", a.Name, err)
				}
			}
			distrusting := c
			distrusting.Rules = asks(key, by(other, "scan", "vuln")).Rules
			refuse(t, newVerifier(t, distrusting), ref, image.RegistryUnavailable)
			asking := c
			asking.RecallTags = false
			refuse(t, newVerifier(t, asking), ref, image.RegistryUnavailable)
			offline := asking
			offline.Offline = true
			if ref == img.Pinned() {
				accept(t, newVerifier(t, offline), ref)
			}
		})
	}
}

// A directory that is full takes no more large ones: they are asked for again.
func TestProofsOnDiskAreBounded(t *testing.T) {
	reg := registry.New(t, registry.Options{})
	key := sharedKey(t, "release")
	noise := make([]byte, 60<<10) // that does not compress
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < len(noise); i++ {
		noise[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[r.IntN(62)]
	}
	c := asks(key, image.Attestation{PredicateType: "vuln"})
	c.CacheDir = t.TempDir()
	img := signedImage(t, reg, "acme/app:1", key)
	must(t, reg.AttestTag(img, key, "vuln", `{"invocation":{"uri":"`+string(noise)+`"}}`))
	offline := c
	offline.Offline = true
	t.Run("Full", func(t *testing.T) {
		image.SetDiskBytes(t, 1<<10)
		accept(t, newVerifier(t, c), img.Pinned())
		refuse(t, newVerifier(t, offline), img.Pinned(), image.RegistryUnavailable)
	})
	accept(t, newVerifier(t, c), img.Pinned())
	accept(t, newVerifier(t, offline), img.Pinned())
}

// What attestations state is kept within a bound, and found again where it can be.
func TestPredicatesAreBounded(t *testing.T) {
	reg := registry.New(t, registry.Options{})
	key := sharedKey(t, "release")
	c := asks(key, image.Attestation{PredicateType: "vuln"})
	c.Predicates = image.NewPredicates(1500)
	var all []image.Evidence
	v, disk := newVerifier(t, c), c
	disk.CacheDir = t.TempDir()
	for i := range 10 {
		img := signedImage(t, reg, fmt.Sprintf("acme/app%d:1", i), key)
		must(t, reg.AttestTag(img, key, "vuln", fmt.Sprintf(`{"invocation":{"uri":"%d"}}`, i)))
		all = append(all, accept(t, v, img.Pinned()))
	}
	first, last := all[0], all[9]
	if _, err := first.Attestations()[0].Predicate(); !errors.Is(err, image.ErrPredicateGone) || first.AtHand() {
		t.Errorf("the oldest is still there: %v", err)
	}
	if _, err := last.Attestations()[0].Predicate(); err != nil || !last.AtHand() {
		t.Errorf("the newest is gone: %v", err)
	}
	// It is not remembered then: the registry is asked.
	if !accept(t, v, first.Pinned()).AtHand() {
		t.Error("evidence without what it rests upon")
	}
	onDisk := newVerifier(t, disk)
	e := accept(t, onDisk, first.Pinned())
	for _, other := range all[1:] {
		accept(t, onDisk, other.Pinned())
	}
	if raw, err := e.Attestations()[0].Predicate(); err != nil || !strings.Contains(string(raw), `"uri":"0"`) {
		t.Errorf("it is not found again on disk: %s %v", raw, err)
	}
	if raw, err := json.Marshal(e); err != nil || !strings.Contains(string(raw), `"predicateType":"`+vuln+`"`) || strings.Contains(string(raw), "invocation") {
		t.Errorf("JSON %s, %v", raw, err)
	}
	if _, err := (image.Attested{}).Predicate(); !errors.Is(err, image.ErrPredicateGone) {
		t.Errorf("the zero attestation states something: %v", err)
	}
}
