package image_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/verify/image"
)

func TestAttack_I4_Attestations(t *testing.T) {
	key, builder, other := sharedKey(t, "release"), sharedKey(t, "builder"), sharedKey(t, "other")
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

func TestAttack_I4_ListedAsSignature(t *testing.T) {
	for _, options := range []registry.Options{{}, {NoReferrers: true}} {
		reg := registry.New(t, options)
		key := sharedKey(t, "release")
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

func TestAttack_I7_Attestations(t *testing.T) {
	key := sharedKey(t, "release")
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
