package image_test

import (
	"encoding/json"
	"strings"
	"testing"

	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/verify/image"
)

func TestSignedIsAccepted(t *testing.T) {
	algorithms := map[string]registry.Algorithm{
		"ecdsa-p256": registry.ECDSAP256, "ecdsa-p384": registry.ECDSAP384, "rsa": registry.RSA2048,
		"ed25519": registry.Ed25519, "ed25519ph": registry.Ed25519ph,
	}
	for name, algorithm := range algorithms {
		key := registry.MustKey(t, algorithm)
		other := registry.MustKey(t, algorithm)
		for layout, l := range layouts {
			t.Run(name+"/"+layout, func(t *testing.T) {
				reg := registry.New(t, l.options)
				img := reg.MustPushImage(t, "acme/app:1")
				must(t, l.sign(reg, img, key))

				e := accept(t, newVerifier(t, config(key)), img.Name)
				if e.Digest() != img.Digest || e.Pinned() != img.Name+"@"+img.Digest {
					t.Errorf("pinned %s, want %s", e.Pinned(), img.Digest)
				}
				if e.Layout() != l.want || e.Rule() != "rules[0]" || e.Authority() != "authority-0" {
					t.Errorf("evidence %s %s %s", e.Layout(), e.Rule(), e.Authority())
				}
				refuse(t, newVerifier(t, config(other)), img.Name, image.ImageUntrusted)
				if layout == "tag" {
					must(t, reg.CosignVerify(t.Context(), img, key))
				}
			})
		}
	}
}

func TestRules(t *testing.T) {
	reg := registry.New(t, registry.Options{})
	alice, bob := registry.MustKey(t, registry.ECDSAP256), registry.MustKey(t, registry.ECDSAP256)
	byAlice := reg.MustPushImage(t, "acme/alice:1")
	must(t, reg.SignTag(byAlice, alice))
	byBoth := reg.MustPushImage(t, "acme/both:1")
	must(t, reg.SignTag(byBoth, alice))
	must(t, reg.SignBundle(byBoth, bob))
	unsigned := reg.MustPushImage(t, "acme/unsigned:1")

	authority := func(k *registry.Key, name string) image.Authority {
		return image.Authority{Name: name, Key: &image.Key{Data: k.Public}}
	}
	host := reg.Host()
	for name, tc := range map[string]struct {
		reason string
		rules  []image.Rule
		deflt  image.Action
		ref    string
		want   image.Reason // empty is accepted
		by     string
	}{
		"AnyAuthority": {"One of a rule's authorities suffices.",
			[]image.Rule{{Match: []string{host + "/acme/*"}, Authorities: []image.Authority{authority(bob, "bob"), authority(alice, "alice")}}},
			"", byAlice.Name, "", "alice"},
		"EveryRule": {"A second rule that matches must be satisfied too.",
			[]image.Rule{
				{Match: []string{host + "/**"}, Authorities: []image.Authority{authority(alice, "alice")}},
				{Match: []string{host + "/acme/*"}, Authorities: []image.Authority{authority(bob, "bob")}},
			}, "", byAlice.Name, image.ImageUntrusted, ""},
		"EveryRuleSatisfied": {"Two rules may be satisfied by two signatures in two layouts.",
			[]image.Rule{
				{Match: []string{host + "/**"}, Authorities: []image.Authority{authority(alice, "alice")}},
				{Match: []string{host + "/acme/*"}, Authorities: []image.Authority{authority(bob, "bob")}},
			}, "", byBoth.Name, "", "alice,bob"},
		"StaticAllowIsNoExemption": {"A static Allow satisfies its own rule only.",
			[]image.Rule{
				{Match: []string{host + "/acme/*"}, Static: image.Allow},
				{Match: []string{"**"}, Authorities: []image.Authority{authority(alice, "alice")}},
			}, "", unsigned.Name, image.ImageUnsigned, ""},
		"StaticDenyWins": {"A rule that denies cannot be outvoted, whatever its place.",
			[]image.Rule{
				{Match: []string{"**"}, Authorities: []image.Authority{authority(alice, "alice")}},
				{Match: []string{host + "/acme/alice"}, Static: image.Deny},
			}, "", byAlice.Name, image.ImageNotAllowed, ""},
		"NoRuleDenies":  {"The default is to deny.", nil, "", byAlice.Name, image.ImageNotAllowed, ""},
		"DefaultAllow":  {"The default may be set.", nil, image.Allow, unsigned.Name, "", ""},
		"DefaultIsLast": {"The default is for images without a rule.", []image.Rule{{Match: []string{"**"}, Authorities: []image.Authority{authority(alice, "alice")}}}, image.Allow, unsigned.Name, image.ImageUnsigned, ""},
		"NotFound":      {"A tag that is not there yet is undetermined.", config(alice).Rules, "", reg.Name("acme/none:1"), image.RegistryUnavailable, ""},
		"NotAReference": {"What the kubelet cannot parse is not allowed.", config(alice).Rules, image.Allow, "acme/App:1", image.ImageNotAllowed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t, image.Config{Rules: tc.rules, Default: tc.deflt, LoopbackHTTP: true})
			if tc.want != "" {
				refuse(t, v, tc.ref, tc.want)
				return
			}
			if e := accept(t, v, tc.ref); e.Authority() != tc.by {
				t.Errorf("%s\nauthority %q, want %q", tc.reason, e.Authority(), tc.by)
			}
		})
	}
}

func TestNoNetworkWithoutNeed(t *testing.T) {
	reg := registry.New(t, registry.Options{})
	img := reg.MustPushImage(t, "acme/app:1")
	c := image.Config{Rules: []image.Rule{{Match: []string{"**"}, Static: image.Allow}}, LoopbackHTTP: true}
	if e := accept(t, newVerifier(t, c), img.Pinned()); e.Layout() != "static" || e.Pinned() != img.Pinned() {
		t.Errorf("evidence %+v", e)
	}
	if n := len(reg.Requests()); n != 0 {
		t.Errorf("%d requests for a pinned image that a rule allows", n)
	}
	if e := accept(t, newVerifier(t, c), img.Name); e.Digest() != img.Digest {
		t.Errorf("an allowed tag resolves to %s, want %s", e.Digest(), img.Digest)
	}
}

func TestEvidenceJSON(t *testing.T) {
	reg := registry.New(t, registry.Options{})
	key := registry.MustKey(t, registry.ECDSAP256)
	img := reg.MustPushImage(t, "acme/app:1")
	must(t, reg.SignTag(img, key))
	raw, err := json.Marshal(accept(t, newVerifier(t, config(key)), img.Name))
	must(t, err)
	var got struct {
		Reference, Image, Tag, Digest, Pinned string
		Grants                                []image.Grant
	}
	must(t, json.Unmarshal(raw, &got))
	if got.Reference != img.Name || got.Image != img.Repository || got.Tag != "1" || got.Digest != img.Digest ||
		len(got.Grants) != 1 || !strings.HasPrefix(got.Grants[0].Key, "sha256:") {
		t.Errorf("JSON %s", raw)
	}
	if (image.Evidence{}).Valid() || (image.Evidence{}).Pinned() != "" {
		t.Error("the zero evidence speaks")
	}
}

func TestConfigErrors(t *testing.T) {
	key := registry.MustKey(t, registry.ECDSAP256)
	good, private := image.Key{Data: key.Public}, key.MustPrivate(t)
	one := func(r image.Rule) image.Config { return image.Config{Rules: []image.Rule{r}} }
	for name, tc := range map[string]struct {
		c    image.Config
		want string
	}{
		"EmptyMatch":     {one(image.Rule{Static: image.Allow}), "rules[0].match"},
		"Neither":        {one(image.Rule{Match: []string{"**"}}), "neither authorities nor static"},
		"Both":           {one(image.Rule{Match: []string{"**"}, Static: image.Allow, Authorities: []image.Authority{{Key: &good}}}), "both"},
		"Static":         {one(image.Rule{Match: []string{"**"}, Static: "allow"}), "want Allow or Deny"},
		"Keyless":        {one(image.Rule{Match: []string{"**"}, Authorities: []image.Authority{{Keyless: &image.Keyless{}}}}), "keyless: not supported by this version"},
		"KeyAndKeyless":  {one(image.Rule{Match: []string{"**"}, Authorities: []image.Authority{{Key: &good, Keyless: &image.Keyless{}}}}), "keyless: not supported"},
		"NoType":         {one(asking(good, image.Attestation{})), "rules[0].attestations[0].predicateType: : want a URI or one of custom, cyclonedx"},
		"BadType":        {one(asking(good, image.Attestation{PredicateType: "SLSAprovenance"})), "predicateType: SLSAprovenance: want a URI"},
		"SignatureType":  {one(asking(good, image.Attestation{PredicateType: "https://sigstore.dev/cosign/sign/v1"})), "that is a signature"},
		"SameAttested":   {one(asking(good, image.Attestation{Name: "a", PredicateType: "vuln"}, image.Attestation{Name: "a", PredicateType: "spdx"})), "attestations[1].name: a stands twice"},
		"AttestedKey":    {one(asking(good, image.Attestation{PredicateType: "vuln", Authorities: []image.Authority{{}}})), "attestations[0].authorities[0].key: missing"},
		"AttestKeyless":  {one(asking(good, image.Attestation{PredicateType: "vuln", Authorities: []image.Authority{{Keyless: &image.Keyless{}}}})), "keyless: not supported"},
		"AttestStatic":   {one(image.Rule{Match: []string{"**"}, Static: image.Allow, Attestations: []image.Attestation{{PredicateType: "vuln"}}}), "name authorities"},
		"NoKey":          {one(image.Rule{Match: []string{"**"}, Authorities: []image.Authority{{}}}), "authorities[0].key: missing"},
		"PrivateKey":     {one(image.Rule{Match: []string{"**"}, Authorities: []image.Authority{{Key: &image.Key{Data: private}}}}), "never a private key"},
		"TwoKeys":        {one(image.Rule{Match: []string{"**"}, Authorities: []image.Authority{{Key: &image.Key{Data: key.Public + key.Public}}}}), "more than one PEM block"},
		"Hash":           {one(image.Rule{Match: []string{"**"}, Authorities: []image.Authority{{Key: &image.Key{Data: key.Public, HashAlgorithm: "sha1"}}}}), "want sha256"},
		"SameName":       {one(image.Rule{Match: []string{"**"}, Authorities: []image.Authority{{Name: "a", Key: &good}, {Name: "a", Key: &good}}}), "stands twice"},
		"GlobTag":        {one(image.Rule{Match: []string{"ghcr.io/acme/app:1"}, Static: image.Allow}), "leave the tag out"},
		"GlobDigest":     {one(image.Rule{Match: []string{"ghcr.io/acme/app@sha256:00"}, Static: image.Allow}), "leave the digest out"},
		"GlobUpper":      {one(image.Rule{Match: []string{"ghcr.io/Acme/*"}, Static: image.Allow}), "lower-case"},
		"GlobRegexp":     {one(image.Rule{Match: []string{"ghcr.io/acme/(a|b)"}, Static: image.Allow}), "may stand in a pattern"},
		"Default":        {image.Config{Default: "allow"}, "default: allow"},
		"Digest":         {image.Config{Digest: "Always"}, "digest: Always"},
		"CA":             {image.Config{CA: []byte("no")}, "ca: no certificate"},
		"TokenHost":      {image.Config{TokenHosts: map[string][]string{"ghcr.io": {"https://x"}}}, "tokenHosts: ghcr.io"},
		"NegativeLimits": {image.Config{Limits: image.Limits{Requests: -1}}, "limits: negative"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := image.NewVerifier(tc.c)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want %q", err, tc.want)
			}
			if strings.Contains(err.Error(), strings.Split(private, "\n")[1]) {
				t.Error("the error repeats the private key")
			}
		})
	}
}

func TestHashAlgorithmIsHonoured(t *testing.T) {
	reg := registry.New(t, registry.Options{})
	key := registry.MustKey(t, registry.ECDSAP384) // signs with SHA-384
	img := reg.MustPushImage(t, "acme/app:1")
	must(t, reg.SignTag(img, key))
	c := config(key)
	c.Rules[0].Authorities[0].Key.HashAlgorithm = "sha384"
	accept(t, newVerifier(t, c), img.Name)
	c.Rules[0].Authorities[0].Key.HashAlgorithm = "sha512"
	refuse(t, newVerifier(t, c), img.Name, image.ImageUntrusted)
}

// asking is a rule that asks for attestations of everything.
func asking(key image.Key, all ...image.Attestation) image.Rule {
	return image.Rule{Match: []string{"**"}, Authorities: []image.Authority{{Key: &key}}, Attestations: all}
}
