package gate_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/secrets"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/test/testkit/sopskit"
)

// imageIn is the image that a Pod runs.
func imageIn(t *testing.T, o gate.HeldObject) string {
	t.Helper()
	containers, _, err := unstructured.NestedSlice(o.Unstructured.Object, "spec", "containers")
	if err != nil || len(containers) != 1 {
		t.Fatalf("%v in %v", err, o.Unstructured.Object)
	}
	image, _ := containers[0].(map[string]any)["image"].(string)
	return image
}

// TestHold reads what refused revisions declare, each object as far as it can be told.
func TestHold(t *testing.T) {
	s := newSite(t)
	img := s.signedImage("acme/app:1")
	content := map[string]string{
		"app/map.yaml":    configMap("a", "1"),
		"app/digest.yaml": pod("digest", pinned(img)),
		"app/tag.yaml":    pod("tag", img.Name),
		"app/db.yaml":     s.encrypt("db.yaml", secret, ""),
	}
	signed := s.push("one", content)
	mallory := gitrepo.OpenPGP(t, gitrepo.OpenPGPOptions{Name: "Mallory", Email: "mallory@example.com"})
	unsigned := s.repo.Commit(gitrepo.Change{Branch: "evil", Parents: []plumbing.Hash{signed}, Files: map[string]string{"app/map.yaml": configMap("a", "2")}, Author: mallory.Person(), Sign: mallory})
	broken := s.push("two", map[string]string{"app/broken.yaml": "{"}, "app/map.yaml", "app/digest.yaml", "app/tag.yaml", "app/db.yaml")
	s.rego = "package acme\ndeny contains \"nothing any more\"\n"
	good, lost := s.cosign, key(t)
	age := s.secrets.keys
	for name, tc := range map[string]struct {
		reason   string
		head     plumbing.Hash
		change   func()
		verified bool
		unknown  map[string]verdict.Reason // by name
		none     verdict.Reason
	}{
		"Rule":     {"A rule refuses it, and is not asked.", signed, func() {}, true, nil, ""},
		"Unsigned": {"It can be read, and nobody vouches for it.", unsigned, func() {}, false, nil, ""},
		"Key":      {"Without evidence a tag says nothing, a digest itself.", signed, func() { s.cosign = lost }, true, map[string]verdict.Reason{"tag": verdict.ImageUntrusted}, ""},
		"Secret":   {"What cannot be decrypted is not known, alone.", signed, func() { s.secrets.keys = noKeys(t) }, true, map[string]verdict.Reason{"db": verdict.SecretUndecryptable}, ""},
		"Broken":   {"What cannot be read is not held.", broken, func() {}, false, nil, verdict.InvalidManifest},
		"Missing":  {"Nor what is not there.", plumbing.NewHash(strings.Repeat("1", 40)), func() {}, false, nil, verdict.IncompleteHistory},
	} {
		t.Run(name, func(t *testing.T) {
			s.cosign, s.secrets.keys = good, age
			tc.change()
			held, why := s.open().Hold(t.Context(), gate.HoldRequest{Revision: "main@sha1:x", Objects: s.repo.Objects(), Head: tc.head})
			if tc.none != "" {
				if held != nil || len(why) == 0 || why[0].Reason != tc.none {
					t.Errorf("%s\nheld %v, because of %v", tc.reason, held, why)
				}
				return
			}
			if held == nil || held.Verified() != tc.verified || len(held.Objects()) != 4 {
				t.Fatalf("%s\nheld %+v, because of %v", tc.reason, held, why)
			}
			for _, o := range held.Objects() {
				var got verdict.Reason
				if o.Unknown != nil {
					got = o.Unknown.Reason
				}
				if want := tc.unknown[o.GetName()]; got != want {
					t.Errorf("%s\n%s: unknown because of %q, want %q", tc.reason, o.GetName(), got, want)
				}
				if name := o.GetName(); o.Unknown == nil && (name == "tag" || name == "digest") && !strings.HasSuffix(imageIn(t, o), "@"+img.Digest) {
					t.Errorf("%s\n%s runs %s", tc.reason, name, imageIn(t, o))
				}
				if want := o.GetName() == "tag" && o.Unknown == nil; o.Resolved != want {
					t.Errorf("%s\n%s: a registry's word is in it: %t, want %t", tc.reason, o.GetName(), o.Resolved, want)
				}
				if o.GetName() == "db" && o.Unknown == nil && o.Source.Encrypted != nil {
					t.Errorf("%s\nthe secret is not decrypted", tc.reason)
				}
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if held, why := s.open().Hold(ctx, gate.HoldRequest{Objects: s.repo.Objects(), Head: signed}); held != nil || !slices.ContainsFunc(why, func(f verdict.Finding) bool { return f.Severity == verdict.Undetermined }) {
		t.Errorf("nobody waits any more: held %v, because of %v", held, why)
	}
}

func key(t *testing.T) *registry.Key {
	t.Helper()
	k, err := registry.NewKey(registry.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func noKeys(t *testing.T) *secrets.Keys {
	t.Helper()
	age, err := sopskit.NewAge()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := secrets.NewKeys(map[string][]byte{"other.agekey": age.PrivateKey()})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}
