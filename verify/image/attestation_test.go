package image_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
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
	key, builder := registry.MustKey(t, registry.ECDSAP256), registry.MustKey(t, registry.Ed25519)
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
	key := registry.MustKey(t, registry.ECDSAP256)
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
	key, builder := registry.MustKey(t, registry.ECDSAP256), registry.MustKey(t, registry.ECDSAP256)
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
func TestAttack_I4_Attestations(t *testing.T) {
	key, builder, other := registry.MustKey(t, registry.ECDSAP256), registry.MustKey(t, registry.ECDSAP256), registry.MustKey(t, registry.ECDSAP256)
	// put stores a statement, or anything, in both layouts.
	put := func(t *testing.T, r *registry.Registry, i registry.Image, k *registry.Key, payloadType string, payload []byte, listed string) {
		t.Helper()
		envelope, err := registry.Envelope(k, payloadType, payload)
		must(t, err)
		must(t, r.AttachAttestation(i, envelope, listed))
		raw, err := registry.BundleOf(k, payload, envelope)
		must(t, err)
		must(t, r.AttachBundle(i, raw, listed))
	}
	statement := func(t *testing.T, i registry.Image, predicateType string) []byte {
		raw, err := registry.Statement(i, predicateType, anything)
		must(t, err)
		return raw
	}
	swap := func(raw []byte, from, to string) []byte {
		if !strings.Contains(string(raw), from) {
			t.Fatalf("%s is not in %s", from, raw)
		}
		return []byte(strings.ReplaceAll(string(raw), from, to))
	}
	const asked = "https://acme.dev/statement"
	for name, tc := range map[string]struct {
		reason string
		forge  func(*testing.T, *registry.Registry, registry.Image)
		want   image.Reason
		says   string
	}{
		"None": {"There is none.", func(*testing.T, *registry.Registry, registry.Image) {}, image.AttestationMissing, "cosign attest"},
		"OtherType": {"One of another type is none of this one.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			put(t, r, i, builder, registry.InToto, statement(t, i, "https://acme.dev/other"), "https://acme.dev/other")
		}, image.AttestationMissing, asked},
		"ListedAsOther": {"What the registry lists as something else, it withholds.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			envelope, err := registry.Envelope(builder, registry.InToto, statement(t, i, asked))
			must(t, err)
			must(t, r.AttachAttestation(i, envelope, "https://acme.dev/other"))
		}, image.AttestationMissing, asked},
		"WrongKey": {"Anybody can attest with a key of their own.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			put(t, r, i, other, registry.InToto, statement(t, i, asked), asked)
		}, image.AttestationInvalid, "not signed by the key of builder"},
		"SignersKey": {"Who may sign may not attest, where others are named.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			put(t, r, i, key, registry.InToto, statement(t, i, asked), asked)
		}, image.AttestationInvalid, "not signed by the key of builder"},
		"WrongSubject": {"A statement about another image, attached to this one.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			put(t, r, i, builder, registry.InToto, statement(t, r.MustPushImage(t, "acme/app:other"), asked), asked)
		}, image.AttestationInvalid, "it is about another image, sha256:"},
		"Replayed": {"The attestations of another image, as they are.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			from := r.MustPushImage(t, "acme/app:other")
			must(t, r.AttestTag(from, builder, asked, anything))
			must(t, r.CopyAttestations(from, i))
		}, image.AttestationInvalid, "it is about another image, sha256:"},
		"NoSubject": {"A statement about nothing.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			raw := swap(statement(t, i, asked), strings.TrimPrefix(i.Digest, "sha256:"), "")
			put(t, r, i, builder, registry.InToto, raw, asked)
		}, image.AttestationInvalid, "nothing with a sha256 digest"},
		"OtherAlgorithm": {"A digest by another name is another digest.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			put(t, r, i, builder, registry.InToto, swap(statement(t, i, asked), `"sha256"`, `"sha512"`), asked)
		}, image.AttestationInvalid, "nothing with a sha256 digest"},
		"Mislabelled": {"Listed as what is asked for, and stating something else.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			put(t, r, i, builder, registry.InToto, statement(t, i, "https://acme.dev/other"), asked)
		}, image.AttestationInvalid, "it is listed as such, and states https://acme.dev/other"},
		"PayloadType": {"The signature covers the type: what is no in-toto statement is none.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			put(t, r, i, builder, "application/json", statement(t, i, asked), asked)
		}, image.AttestationInvalid, "its payload is of type application/json"},
		"PayloadTypeSwapped": {"An envelope of another type that is relabelled.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			envelope, err := registry.Envelope(builder, "application/json", statement(t, i, asked))
			must(t, err)
			must(t, r.AttachAttestation(i, swap(envelope, "application/json", registry.InToto), asked))
		}, image.AttestationInvalid, "not signed by the key of builder"},
		"Tampered": {"A statement changed after it was signed.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			from := r.MustPushImage(t, "acme/app:other")
			envelope, err := registry.Envelope(builder, registry.InToto, statement(t, from, asked))
			must(t, err)
			must(t, r.AttachAttestation(i, swap(envelope, base64.StdEncoding.EncodeToString(statement(t, from, asked)),
				base64.StdEncoding.EncodeToString(statement(t, i, asked))), asked))
		}, image.AttestationInvalid, "not signed by the key of builder"},
		"Malformed": {"Garbage, and what looks like an envelope.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			for _, raw := range []string{"", "null", "[]", "{}", `{"payload":"!","payloadType":"` + registry.InToto + `"}`, `{"payload":"e30=","payloadType":"` + registry.InToto + `"}`} {
				must(t, r.AttachAttestation(i, []byte(raw), asked))
				must(t, r.AttachBundle(i, []byte(raw), asked))
			}
		}, image.AttestationInvalid, "it is no DSSE envelope"},
		"NotSigned": {"An envelope without a signature.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			must(t, r.AttachAttestation(i, []byte(`{"payload":"e30=","payloadType":"`+registry.InToto+`","signatures":[]}`), asked))
		}, image.AttestationInvalid, "it is not signed"},
		"ManySignatures": {"An envelope that keeps us checking.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			must(t, r.AttachAttestation(i, []byte(`{"payload":"e30=","payloadType":"`+registry.InToto+`","signatures":[`+strings.Repeat(`{"sig":"AA=="},`, 1000)+`{}]}`), asked))
		}, image.AttestationInvalid, "it has 1001 signatures"},
		"Deep": {"A statement that nests without end.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			deep := strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
			raw := swap(statement(t, i, asked), anything, deep)
			put(t, r, i, builder, registry.InToto, raw, asked)
		}, image.AttestationInvalid, "it nests deeper than 100"},
		"DeepEnvelope": {"And an envelope that does.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			must(t, r.AttachAttestation(i, []byte(strings.Repeat("[", 100000)), asked))
			must(t, r.AttachBundle(i, []byte(strings.Repeat("[", 100000)), asked))
		}, image.AttestationInvalid, "it nests deeper than 100"},
		"TwoTypes": {"A statement that says two things.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			raw := swap(statement(t, i, asked), `"predicateType":`, `"predicateType":"https://acme.dev/other","predicateType":`)
			put(t, r, i, builder, registry.InToto, raw, asked)
		}, image.AttestationInvalid, "the statement has the field predicateType twice"},
		"Spelling": {"A field in another spelling is another field.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			put(t, r, i, builder, registry.InToto, swap(statement(t, i, asked), `"predicateType"`, `"PredicateType"`), asked)
		}, image.AttestationInvalid, "no in-toto statement"},
		"OtherStatement": {"What is signed by the key and no statement.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			put(t, r, i, builder, registry.InToto, swap(statement(t, i, asked), "https://in-toto.io/Statement/v0.1", "https://acme.dev/s"), asked)
		}, image.AttestationInvalid, "no in-toto statement"},
		"TwoDocuments": {"A statement with something behind it.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			put(t, r, i, builder, registry.InToto, append(statement(t, i, asked), '1'), asked)
		}, image.AttestationInvalid, "no in-toto statement"},
		"ManySubjects": {"A statement about everything.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			many := strings.Repeat(`{"name":"x","digest":{"sha256":"00"}},`, 2000)
			put(t, r, i, builder, registry.InToto, swap(statement(t, i, asked), `"subject":[`, `"subject":[`+many), asked)
		}, image.AttestationInvalid, "it is about 2001 subjects"},
		"Signature": {"A signature of the image attests nothing.", func(t *testing.T, r *registry.Registry, i registry.Image) {
			must(t, r.SignBundle(i, builder))
		}, image.AttestationMissing, asked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := registry.New(t, registry.Options{})
			img := signedImage(t, reg, "acme/app:1", key)
			tc.forge(t, reg, img)
			want := by(builder, "statement", asked)
			e := refuse(t, newVerifier(t, asks(key, want)), img.Name, tc.want)
			if !strings.Contains(e.Message, tc.says) || !strings.Contains(e.Message, `statement (`+asked+`) by builder`) || strings.Contains(e.Message, "\n") {
				t.Errorf("%s\n%s\nwants %q", tc.reason, e.Message, tc.says)
			}
			optional := want
			optional.Optional = true
			if e := accept(t, newVerifier(t, asks(key, optional)), img.Name); len(e.Attestations()) != 0 {
				t.Errorf("%s\nit counts where it is not required: %+v", tc.reason, e.Attestations())
			}
			// The true one beside the forged one still counts.
			must(t, reg.AttestBundle(img, builder, asked, anything))
			if e := accept(t, newVerifier(t, asks(key, want)), img.Name); len(e.Attestations()) != 1 {
				t.Errorf("%s\n%+v", tc.reason, e.Attestations())
			}
		})
	}
}

// THREATS I4: cosign with a signing configuration lists attestations as signatures.
// They count as what they state, and as nothing else.
func TestAttack_I4_ListedAsSignature(t *testing.T) {
	for _, options := range []registry.Options{{}, {NoReferrers: true}} {
		reg := registry.New(t, options)
		key := registry.MustKey(t, registry.ECDSAP256)
		img := reg.MustPushImage(t, "acme/app:1")
		payload, err := registry.Statement(img, "vuln", scan)
		must(t, err)
		envelope, err := registry.Envelope(key, registry.InToto, payload)
		must(t, err)
		raw, err := registry.BundleOf(key, payload, envelope)
		must(t, err)
		must(t, reg.AttachBundle(img, raw, registry.PredicateSign))
		must(t, reg.AttestBundle(img, key, "spdxjson", anything)) // which nobody asks for
		c := asks(key, image.Attestation{Name: "scan", PredicateType: "vuln"})
		refuse(t, newVerifier(t, c), img.Name, image.ImageUntrusted)
		must(t, reg.SignTag(img, key))
		if reg.Reset(); options.NoReferrers {
			must(t, reg.ListAnnotations(img))
		}
		if e := accept(t, newVerifier(t, c), img.Name); len(e.Attestations()) != 1 {
			t.Errorf("%+v", e.Attestations())
		}
		if n := reg.Count("/blobs/"); options.NoReferrers && n != 2 { // the signature and the scan
			t.Errorf("%d blobs were read", n)
		}
	}
}

// What cosign accepts, gitgate accepts, and the other way round.
func TestAttestationsAsCosign(t *testing.T) {
	key, other := registry.MustKey(t, registry.ECDSAP256), registry.MustKey(t, registry.ECDSAP256)
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
func TestAttack_I7_Attestations(t *testing.T) {
	key := registry.MustKey(t, registry.ECDSAP256)
	for name, tc := range map[string]struct {
		reason string
		fault  registry.Fault
		want   image.Reason
	}{
		"Down":         {"What cannot be read is not known.", registry.Fault{Path: ".att", Status: 500}, image.RegistryUnavailable},
		"Denied":       {"Nor is what may not be read.", registry.Fault{Path: ".att", Status: 403}, image.RegistryUnavailable},
		"ReferrersOut": {"Nor the other place: it may hold a later scan that says the contrary.", registry.Fault{Path: "/referrers/", Status: 503}, image.RegistryUnavailable},
		"HugeList":     {"A list without end.", registry.Fault{Path: ".att", Filler: 1 << 30}, image.RegistryLimit},
		"HugeBlob":     {"An attestation of a gigabyte.", registry.Fault{Path: "/blobs/", After: 1, Filler: 1 << 30}, image.RegistryLimit},
		"OtherBlob":    {"A blob that is another one.", registry.Fault{Path: "/blobs/", After: 1, Body: []byte("{}")}, image.RegistryUnavailable},
		"Malformed":    {"A list that cannot be read may hide anything.", registry.Fault{Path: ".att", Body: []byte("{"), ContentType: ociManifest}, image.RegistryUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := registry.New(t, registry.Options{})
			img := signedImage(t, reg, "acme/app:1", key)
			must(t, reg.AttestTag(img, key, "vuln", scan))
			reg.Inject(tc.fault)
			for _, optional := range []bool{false, true} { // of what is not known nothing can be said
				c := asks(key, image.Attestation{PredicateType: "vuln", Optional: optional})
				c.Limits.Retries = 1
				e := refuse(t, newVerifier(t, c), img.Pinned(), tc.want)
				if !strings.Contains(e.Message, "the attestations of "+img.Repository) {
					t.Errorf("%s\n%s", tc.reason, e.Message)
				}
				reg.Reset()
				reg.Inject(tc.fault)
			}
		})
	}
	t.Run("Hundreds", func(t *testing.T) {
		reg := registry.New(t, registry.Options{})
		img := signedImage(t, reg, "acme/app:1", key)
		for i := range 7 {
			must(t, reg.AttestTag(img, key, "vuln", fmt.Sprintf(`{"invocation":{"uri":"%d"}}`, i)))
			must(t, reg.AttestBundle(img, key, "vuln", fmt.Sprintf(`{"invocation":{"uri":"b%d"}}`, i)))
		}
		c := asks(key, image.Attestation{PredicateType: "vuln"})
		if e := accept(t, newVerifier(t, c), img.Name); len(e.Attestations()) != 14 {
			t.Errorf("%d attestations, want all", len(e.Attestations()))
		}
		c.Limits.Attestations = 6
		reg.Reset()
		if e := refuse(t, newVerifier(t, c), img.Name, image.RegistryLimit); !strings.Contains(e.Message, "--replace") {
			t.Error(e.Message)
		}
		if n := reg.Count("/blobs/"); n != 1 {
			t.Errorf("%d blobs were read of more than are allowed", n)
		}
	})
}

// A new scan of the same digest is seen after a while, and one that is gone is missed.
func TestAttestationsAreAskedForAgain(t *testing.T) {
	reg := registry.New(t, registry.Options{})
	key := registry.MustKey(t, registry.ECDSAP256)
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
	key, other := registry.MustKey(t, registry.ECDSAP256), registry.MustKey(t, registry.ECDSAP256)
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
	key := registry.MustKey(t, registry.ECDSAP256)
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
	key := registry.MustKey(t, registry.ECDSAP256)
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
