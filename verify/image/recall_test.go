package image

import (
	"net/http"
	"path/filepath"
	"testing"

	"gitgate.dev/gitgate/test/testkit/registry"
)

// Who has to go on with what was verified before does so while the registry is
// silent, and only then.
func TestRecallTags(t *testing.T) {
	key, other := registry.MustKey(t, registry.ECDSAP256), registry.MustKey(t, registry.ECDSAP256)
	answer := func(code int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
	for name, tc := range map[string]struct {
		reason string
		code   int
		recall bool
		key    *registry.Key
		allow  bool
	}{
		"Down":      {"A registry that fails says nothing.", http.StatusServiceUnavailable, true, key, true},
		"Throttled": {"Nor does one that has had enough of us.", http.StatusTooManyRequests, true, key, true},
		"Gone":      {"That the tag is gone is an answer.", http.StatusNotFound, true, key, false},
		"Forbidden": {"That we may not know is one too.", http.StatusForbidden, true, key, false},
		"NotAsked":  {"Who decides about something new has to ask.", http.StatusServiceUnavailable, false, key, false},
		"OtherKey":  {"What was kept is verified by the rules of now.", http.StatusServiceUnavailable, true, other, false},
	} {
		t.Run(name, func(t *testing.T) {
			reg := registry.New(t, registry.Options{})
			img := reg.MustPushImage(t, "acme/app:1")
			if err := reg.SignTag(img, key); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "cache")
			verifier := func(k *registry.Key, recall bool) *Verifier {
				v, err := NewVerifier(Config{CacheDir: dir, RecallTags: recall, LoopbackHTTP: true,
					Rules: []Rule{{Match: []string{"**"}, Authorities: []Authority{{Key: &Key{Data: k.Public}}}}}})
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
			if _, err := verifier(key, tc.recall).Verify(t.Context(), img.Name); err != nil {
				t.Fatal(err)
			}
			reg.Inject(registry.Fault{Path: "/v2/", Handler: answer(tc.code)})
			e, err := verifier(tc.key, tc.recall).Verify(t.Context(), img.Name)
			if (err == nil) != tc.allow {
				t.Fatalf("%s\nevidence %q, %v", tc.reason, e.Pinned(), err)
			}
			if tc.allow && e.Digest() != img.Digest {
				t.Errorf("%s\ndigest %s, want %s", tc.reason, e.Digest(), img.Digest)
			}
		})
	}
}

// A tag that was never seen has nothing to be recalled.
func TestRecallTagsOfNothing(t *testing.T) {
	v, err := NewVerifier(Config{CacheDir: t.TempDir(), RecallTags: true, LoopbackHTTP: true, Default: Allow})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := v.Verify(t.Context(), "127.0.0.1:1/acme/app:1"); err == nil {
		t.Errorf("evidence %q out of nothing", e.Pinned())
	}
}
