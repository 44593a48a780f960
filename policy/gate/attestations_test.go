package gate_test

import (
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/verify/image"
)

const scanned = `package acme
deny contains sprintf("%s has %s", [i.ref, id]) if {
	some i in input.images
	some a in i.attestations
	some id in a.predicate.invocation.parameters
}
deny contains "not scanned" if { input.object.kind == "Pod"; not named }
named if input.images[_].attestations[_].name == "scan"
deny contains sprintf("too late: %s", [input.time]) if input.time > "2026-06"
`

const scan = `{"invocation":{"parameters":["CVE-%"]}}`

// asking makes the site's gate ask for scans by its own key, at a time, with few bytes
// for what they state.
func (s *site) asking(now *time.Time, kept int64, optional bool) {
	s.rego = scanned
	s.edit = func(c *gate.Config) {
		v, err := image.NewVerifier(image.Config{LoopbackHTTP: true, Predicates: image.NewPredicates(kept), Rules: []image.Rule{{
			Match:        []string{"**"},
			Authorities:  []image.Authority{{Name: "release", Key: &image.Key{Data: s.cosign.Public}}},
			Attestations: []image.Attestation{{Name: "scan", PredicateType: "vuln", Optional: optional}},
		}}})
		if err != nil {
			s.t.Fatal(err)
		}
		c.Images, c.Now = v, func() time.Time { return *now }
	}
}

func (s *site) signed(name string) registry.Image {
	s.t.Helper()
	img := s.images.MustPushImage(s.t, name)
	if err := s.images.SignTag(img, s.cosign); err != nil {
		s.t.Fatal(err)
	}
	return img
}

func (s *site) scan(img registry.Image, id string) {
	s.t.Helper()
	if err := s.images.AttestTag(img, s.cosign, "vuln", strings.Replace(scan, "CVE-%", id, 1)); err != nil {
		s.t.Fatal(err)
	}
}

// A commit is denied for what is attested, for what is not, and by the time of the
// decision; the rules see only what was verified.
func TestAttestations(t *testing.T) {
	for _, optional := range []bool{false, true} {
		s := newSite(t)
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		s.asking(&now, 0, optional)
		img := s.signed("acme/app:1")
		head := s.push("one", map[string]string{"app/pod.yaml": pod("web", img.Name)})
		if optional {
			if v := s.denied(head, verdict.PolicyDenied); v.Blocking()[0].Message != "not scanned" {
				t.Errorf("%v", v.Blocking())
			}
		} else {
			s.denied(head, verdict.AttestationMissing, verdict.PolicyUndefined)
		}
		if err := s.images.AttestTag(img, registry.MustKey(t, registry.ECDSAP256), "vuln", scan); err != nil {
			t.Fatal(err)
		}
		if s.gate = nil; optional {
			s.denied(head, verdict.PolicyDenied)
		} else {
			s.denied(head, verdict.AttestationInvalid, verdict.PolicyUndefined)
		}
		s.scan(img, "CVE-1")
		s.gate = nil // attestations are remembered for a while
		v := s.denied(head, verdict.PolicyDenied)
		if got := v.Blocking()[0]; got.Message != img.Name+" has CVE-1" || got.File != "app/pod.yaml" {
			t.Errorf("finding %+v", got)
		}
		clean := s.signed("acme/app:2")
		if err := s.images.AttestBundle(clean, s.cosign, "vuln", `{}`); err != nil {
			t.Fatal(err)
		}
		next := s.push("two", map[string]string{"app/pod.yaml": pod("web", clean.Name)})
		now = now.AddDate(1, 0, 0)
		if v := s.denied(next, verdict.PolicyDenied); v.Blocking()[0].Message != "too late: 2027-01-01T00:00:00Z" {
			t.Errorf("%v", v.Blocking())
		}
		now = now.AddDate(-1, 0, 0)
		s.allowed(next)
	}
}

// An attestation that is removed while its release is live: what was proven stands for
// as long as the object does not change, and whoever asks anew misses it.
func TestAttestationRemoved(t *testing.T) {
	s := newSite(t)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s.asking(&now, 0, false)
	img := s.signed("acme/app:1")
	empty, mediaType, err := s.images.Manifest(img.Repository, registry.SignatureTag(img.Digest))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.images.AttestTag(img, s.cosign, "vuln", `{}`); err != nil {
		t.Fatal(err)
	}
	s.allowed(s.push("one", map[string]string{"app/pod.yaml": pod("web", img.Name)}))
	if err := s.images.PutManifest(img.Repository, registry.AttestationTag(img.Digest), mediaType, empty); err != nil {
		t.Fatal(err)
	}
	s.allowed(s.push("two", map[string]string{"app/a.yaml": configMap("a", "v")}))
	s.gate = nil // another process
	s.denied(s.push("three", map[string]string{"app/b.yaml": configMap("b", "v")}), verdict.AttestationMissing, verdict.PolicyUndefined)
}

// What an attestation states may have made room for others. The rule that wants it is
// undetermined, and it is read again at the next attempt.
func TestPredicateIsReadAgain(t *testing.T) {
	s := newSite(t)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s.asking(&now, 700, false)
	files := map[string]string{}
	for _, name := range []string{"a", "b"} {
		img := s.signed("acme/" + name + ":1")
		if err := s.images.AttestTag(img, s.cosign, "vuln", `{"invocation":{"uri":"`+name+`"}}`); err != nil {
			t.Fatal(err)
		}
		files["app/"+name+".yaml"] = pod(name, img.Name)
	}
	_, v := s.admit(s.push("both", files))
	if len(v.Findings) == 0 || !v.Undetermined() || !strings.Contains(v.Findings[0].Message, "input.images[].attestations[].predicate, which is not known here") {
		t.Fatalf("%v", v.Findings)
	}
	s.allowed(s.push("one", map[string]string{}, "app/a.yaml"))
}

// At admission what releases have proven serves, with the same words.
func TestCheckerSeesAttestations(t *testing.T) {
	s := newSite(t)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s.asking(&now, 0, false)
	img, bad := s.signed("acme/app:1"), s.signed("acme/app:2")
	s.scan(bad, "CVE-1")
	if err := s.images.AttestTag(img, s.cosign, "vuln", `{}`); err != nil {
		t.Fatal(err)
	}
	_, v := s.admit(s.push("bad", map[string]string{"app/pod.yaml": pod("web", bad.Name)}))
	want := v.Blocking()
	known := map[string]image.Evidence{}
	config := gate.Config{}
	s.edit(&config)
	for _, i := range []registry.Image{img, bad} {
		for _, r := range config.Images.NewSession().VerifyAll(t.Context(), []string{i.Name}) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			known[i.Pinned()] = r.Evidence
		}
	}
	engine, err := policy.Load(t.Context(), []policy.Set{{Name: "acme", Modules: map[string]string{"acme.rego": scanned}}}, policy.Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	c := gate.Checker{Policies: evaluator{engine: engine}, Secrets: &keeper{}, Now: func() time.Time { return now },
		Images: func(namespace, ref string) []image.Evidence {
			if e, ok := known[ref]; ok && namespace == "shop" {
				return []image.Evidence{e}
			}
			return nil
		}}
	write := func(group, kind, namespace string, images ...string) gate.Write {
		var list []string
		for _, i := range images {
			list = append(list, `{"name":"c","image":"`+i+`"}`)
		}
		version := "v1"
		if group != "" {
			version = group + "/v1"
		}
		return gate.Write{Operation: "CREATE", Group: group, Kind: kind, Namespace: namespace, ID: "shop/Pod/web",
			Object: []byte(`{"apiVersion":"` + version + `","kind":"` + kind + `","metadata":{"name":"web","namespace":"shop"},"spec":{"containers":[` + strings.Join(list, ",") + `]}}`)}
	}
	for name, tc := range map[string]struct {
		reason string
		write  gate.Write
		want   string
	}{
		"Good":      {"What the release proved is known.", write("", "Pod", "shop", img.Pinned(), img.Pinned()), ""},
		"Bad":       {"And judged as the release is.", write("", "Pod", "shop", img.Pinned(), bad.Pinned()), bad.Name + " has CVE-1"},
		"Tag":       {"Nobody knows what a tag stands for.", write("", "Pod", "shop", img.Name), "input.images, which is not known here"},
		"Stranger":  {"Of one image nothing is known.", write("", "Pod", "shop", img.Pinned(), "nginx@"+img.Digest), "input.images, which is not known here"},
		"Elsewhere": {"What a release of another team proved does not count.", write("", "Pod", "other", img.Pinned()), "input.images, which is not known here"},
		"NoImages":  {"A kind that runs none has none.", write("", "ConfigMap", "shop"), ""},
		"Custom":    {"What others' kinds run is not known.", write("acme.dev", "Pod", "shop"), "input.images, which is not known here"},
		"Shape":     {"Nor what cannot be read.", gate.Write{Operation: "CREATE", Kind: "Pod", Namespace: "shop", Object: []byte(`{"apiVersion":"v1","kind":"Pod","spec":{"containers":{}}}`)}, "input.images, which is not known here"},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.Check(t.Context(), tc.write)
			if tc.want == "" && len(got) != 0 || tc.want != "" && (len(got) == 0 || !strings.Contains(got[0].Message, tc.want)) {
				t.Errorf("%s\n%v, want %q", tc.reason, got, tc.want)
			}
		})
	}
	got := c.Check(t.Context(), write("", "Pod", "shop", bad.Pinned()))
	if len(got) != 1 || len(want) != 1 || got[0].Message != want[0].Message || got[0].Object != want[0].Object || got[0].Policy != want[0].Policy {
		t.Errorf("webhook %v\ngate    %v", got, want)
	}
	now = now.AddDate(1, 0, 0)
	if got := c.Check(t.Context(), write("", "Pod", "shop", img.Pinned())); len(got) != 1 || got[0].Message != "too late: 2027-01-01T00:00:00Z" {
		t.Errorf("%v", got)
	}
}
