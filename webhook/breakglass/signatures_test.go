package breakglass_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/webhook/breakglass"
)

func TestThreshold(t *testing.T) {
	rename := func(k *gitrepo.SSHKey, principals string) string { return k.AllowedSignerAs(principals) }
	for name, tc := range map[string]struct {
		reason string
		keys   func(*site) []*gitrepo.SSHKey
		lines  func(*site) string // more allowed signers
		want   bool
	}{
		"Two":         {"As many as are needed.", func(s *site) []*gitrepo.SSHKey { return []*gitrepo.SSHKey{s.alice, s.bob} }, nil, true},
		"Three":       {"More.", func(s *site) []*gitrepo.SSHKey { return []*gitrepo.SSHKey{s.carol, s.alice, s.bob} }, nil, true},
		"WithStrange": {"One that does not count spoils nothing.", func(s *site) []*gitrepo.SSHKey { return []*gitrepo.SSHKey{s.nobody, s.alice, s.bob} }, nil, true},
		"None":        {"Nobody.", func(*site) []*gitrepo.SSHKey { return nil }, nil, false},
		"One":         {"One.", func(s *site) []*gitrepo.SSHKey { return []*gitrepo.SSHKey{s.alice} }, nil, false},
		"Twice":       {"One, twice.", func(s *site) []*gitrepo.SSHKey { return []*gitrepo.SSHKey{s.alice, s.alice} }, nil, false},
		"Stranger":    {"One and a key that nobody owns.", func(s *site) []*gitrepo.SSHKey { return []*gitrepo.SSHKey{s.alice, s.nobody} }, nil, false},
		"GitNamespace": {"A signature as over a commit.", func(s *site) []*gitrepo.SSHKey {
			return []*gitrepo.SSHKey{s.alice, s.bob.Namespace("git")}
		}, nil, false},
		"SecondKey": {"Two keys of one person, in another case.", func(s *site) []*gitrepo.SSHKey { return []*gitrepo.SSHKey{s.alice, s.nobody} },
			func(s *site) string { return rename(s.nobody, "ALICE@example.com") }, false},
		"SharedKey": {"One key under two names.", func(s *site) []*gitrepo.SSHKey { return []*gitrepo.SSHKey{s.alice, s.alice} },
			func(s *site) string { return rename(s.alice, "alicia@example.com") }, false},
		"SharedByThird": {"A key that belongs to both makes one of the two.", func(s *site) []*gitrepo.SSHKey {
			return []*gitrepo.SSHKey{s.alice, s.bob, s.nobody}
		}, func(s *site) string { return rename(s.nobody, "alice@example.com,bob@example.com") }, false},
		"SharedAndMore": {"And another person beside them.", func(s *site) []*gitrepo.SSHKey {
			return []*gitrepo.SSHKey{s.alice, s.bob, s.nobody, s.carol}
		}, func(s *site) string { return rename(s.nobody, "alice@example.com,bob@example.com") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			if tc.lines != nil {
				s.trust.Spec.BreakGlass.AllowedSigners += tc.lines(s)
				s.setTrust()
			}
			err := s.book.Set(s.sign(grant(), tc.keys(s)...))
			if (err == nil) != tc.want || s.covers(request()) != tc.want {
				t.Errorf("%s\nSet() = %v, covered: %t, want %t", tc.reason, err, s.covers(request()), tc.want)
			}
		})
	}
}

func TestThresholdCertificates(t *testing.T) {
	s := newSite(t)
	authority := gitrepo.SSH(t, "CA", "ca@example.com", "")
	s.trust.Spec.BreakGlass.AllowedSigners = authority.AllowedSignerAs("*@example.com", "cert-authority", `namespaces="gitgate-*"`)
	s.setTrust()
	issue := func(k *gitrepo.SSHKey, principals ...string) *gitrepo.SSHKey {
		c, err := authority.Certify(k, gitrepo.Certificate{Principals: principals, ValidAfter: noon.Add(-time.Hour), ValidBefore: noon.Add(30 * time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	alice, bob := issue(s.alice, "alice@example.com"), issue(s.bob, "bob@example.com")
	if err := s.book.Set(s.sign(grant(), alice, issue(s.bob, "alice@example.com"))); err == nil {
		t.Error("two certificates of one person count as two")
	}
	if err := s.book.Set(s.sign(grant(), alice, issue(s.alice, "zoe@example.com"))); err == nil {
		t.Error("two certificates of one key count as two")
	}
	if err := s.book.Set(s.sign(grant(), alice, bob)); err != nil {
		t.Fatal(err)
	}
	for after, want := range map[time.Duration]bool{0: true, 30*time.Minute - time.Second: true, 30 * time.Minute: false} {
		s.now = noon.Add(after)
		s.restart()
		_ = s.book.Set(s.sign(grant(), alice, bob))
		if got := s.covers(request()); got != want {
			t.Errorf("%s after noon a grant by certificates that end at 12:30 counts: %t, want %t", after, got, want)
		}
	}
}

// TestEveryByteIsSigned changes what was signed, byte by byte, by way of the
// verifier, and field by field in the object.
func TestEveryByteIsSigned(t *testing.T) {
	s := newSite(t)
	g := s.sign(grant(), s.alice, s.bob)
	payload, err := breakglass.Payload(&g.Spec.Grant)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := readSigners(s.trust.Spec.BreakGlass.AllowedSigners)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verifier.Verify(g.Spec.Signatures[0].SSH, payload); err != nil {
		t.Fatal(err)
	}
	for i := range payload {
		for _, bit := range []byte{1, 0x20, 0x80} {
			flipped := slices.Clone(payload)
			flipped[i] ^= bit
			if _, err := verifier.Verify(g.Spec.Signatures[0].SSH, flipped); err == nil {
				t.Fatalf("byte %d can be changed by %#x", i, bit)
			}
		}
	}
	for name, change := range map[string]func(*v1alpha1.BreakGlassGrant){
		"users":      func(g *v1alpha1.BreakGlassGrant) { g.Users = append(g.Users, "eve") },
		"groups":     func(g *v1alpha1.BreakGlassGrant) { g.Groups = nil },
		"swap":       func(g *v1alpha1.BreakGlassGrant) { g.Users, g.Groups = g.Groups, g.Users },
		"verbs":      func(g *v1alpha1.BreakGlassGrant) { g.Verbs = breakglass.Verbs },
		"resources":  func(g *v1alpha1.BreakGlassGrant) { g.Resources = g.Resources[:1] },
		"group":      func(g *v1alpha1.BreakGlassGrant) { g.Resources[0].Group = "" },
		"namespaces": func(g *v1alpha1.BreakGlassGrant) { g.Namespaces[0] = "test" },
		"cluster":    func(g *v1alpha1.BreakGlassGrant) { g.Namespaces = nil },
		"names":      func(g *v1alpha1.BreakGlassGrant) { g.Names = []string{"*"} },
		"reason":     func(g *v1alpha1.BreakGlassGrant) { g.Reason += "." },
		"notBefore":  func(g *v1alpha1.BreakGlassGrant) { g.NotBefore.Time = g.NotBefore.Add(-time.Second) },
		"expiry":     func(g *v1alpha1.BreakGlassGrant) { g.Expiry.Time = g.Expiry.Add(time.Hour) },
		"nonce":      func(g *v1alpha1.BreakGlassGrant) { g.Nonce = strings.Repeat("0", 32) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, renamed := range []bool{false, true} { // the name that was signed, or the one that fits
				forged := g.DeepCopy()
				change(&forged.Spec.Grant)
				if renamed {
					s.sign(forged)
				}
				if err := s.book.Set(forged); err == nil || s.covers(request()) {
					t.Errorf("a grant whose %s were changed after signing counts (renamed: %t)", name, renamed)
				}
				s.restart()
			}
		})
	}
}

func TestSignaturesOfAnotherGrant(t *testing.T) {
	s := newSite(t)
	other := s.sign(grant(func(g *v1alpha1.BreakGlassGrant) { g.Nonce = strings.Repeat("a", 32) }), s.alice, s.bob)
	g := s.sign(grant())
	g.Spec.Signatures = other.Spec.Signatures
	if err := s.book.Set(g); err == nil {
		t.Error("signatures over a grant with another nonce count")
	}
}

func TestAnotherCluster(t *testing.T) {
	s := newSite(t)
	g := s.sign(grant(func(g *v1alpha1.BreakGlassGrant) { g.Cluster = "11111111-9f8c-4b1c-8d5e-1c2f3a4b5c6d" }), s.alice, s.bob)
	if err := s.book.Set(g); err == nil || !strings.Contains(err.Error(), "it is for the cluster 11111111") || s.covers(request()) {
		t.Errorf("Set() = %v for a grant of another cluster", err)
	}
}

func TestTooManySignatures(t *testing.T) {
	s := newSite(t)
	g := s.sign(grant(), s.alice, s.bob)
	for range 15 {
		g.Spec.Signatures = append(g.Spec.Signatures, g.Spec.Signatures[0])
	}
	if err := s.book.Set(g); err == nil || !strings.Contains(err.Error(), "17 signatures, more than 16") {
		t.Errorf("Set() = %v for 17 signatures", err)
	}
	g = s.sign(grant(), s.alice, s.bob)
	g.Spec.Signatures[0].SSH += strings.Repeat("\n", 16<<10)
	if err := s.book.Set(g); err == nil || !strings.Contains(err.Error(), "larger than 16384 bytes") {
		t.Errorf("Set() = %v for a large signature", err)
	}
}

// TestCarelessVerifier: a signature of nobody's counts for nobody.
func TestCarelessVerifier(t *testing.T) {
	always := func(time.Time) error { return nil }
	for name, sig := range map[string]breakglass.Signature{
		"Zero":         {},
		"NoPrincipals": {Key: "k", ValidAt: always},
		"NoValidity":   {Key: "k", Principals: []string{"alice"}},
		"NoKey":        {Principals: []string{"alice"}, ValidAt: always},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			book, err := breakglass.NewBook(breakglass.Config{Cluster: testCluster, System: testSystem, Now: func() time.Time { return noon },
				Signers: func(string) (breakglass.Verifier, error) { return careless{sig}, nil }})
			if err != nil {
				t.Fatal(err)
			}
			one := int32(1)
			s.trust.Spec.BreakGlass.Threshold = &one
			if err := errors.Join(book.SetTrust(s.trust), book.Set(s.sign(grant(), s.alice))); err == nil {
				t.Error("the grant counts")
			}
		})
	}
}

type careless struct{ breakglass.Signature }

func (c careless) Verify(string, []byte) (breakglass.Signature, error) { return c.Signature, nil }

// FuzzSignature: no text passes for the second of two people.
func FuzzSignature(f *testing.F) {
	s := newSite(f)
	g := s.sign(grant(), s.alice)
	first := g.Spec.Signatures[0].SSH
	other := s.sign(grant(func(g *v1alpha1.BreakGlassGrant) { g.Reason = "another" }), s.bob).Spec.Signatures[0].SSH
	for _, seed := range []string{"", first, first + first, other, strings.Replace(first, "S", "T", 1), first[:100]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, armored string) {
		forged := g.DeepCopy()
		forged.Spec.Signatures = append(forged.Spec.Signatures, v1alpha1.BreakGlassSignature{SSH: armored})
		if state := s.book.Check(forged); state.Phase != breakglass.Refused || state.Err == nil {
			t.Errorf("%q makes the grant %s", armored, state.Phase)
		}
	})
}
