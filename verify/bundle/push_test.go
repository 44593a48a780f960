package bundle_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/verify/bundle"
	"gitgate.dev/gitgate/verify/image"
)

// TestAttack_I11_Uploads keeps credentials, and what is uploaded, at home.
func TestAttack_I11_Uploads(t *testing.T) {
	thief := registry.New(t, registry.Options{})
	away := strings.Replace(thief.URL(), "127.0.0.1", "localhost", 1)
	for name, fault := range map[string]registry.Fault{
		"Redirect": {Method: http.MethodPost, Redirect: away},
		"Manifest": {Method: http.MethodPut, Path: "/manifests/", Redirect: away},
		"Realm":    {Path: "/v2/", Challenge: `Bearer realm="` + away + `/token",service="registry"`},
		"Location": {Method: http.MethodPost, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", away+"/v2/acme/policies/blobs/uploads/1")
			w.WriteHeader(http.StatusAccepted)
		})},
	} {
		t.Run(name, func(t *testing.T) {
			r := registry.New(t, registry.Options{Auth: registry.AuthBasic})
			if name == "Realm" {
				r = registry.New(t, registry.Options{Auth: registry.AuthToken})
			}
			thief.Reset()
			r.Inject(fault)
			_, err := bundle.Push(background(t), reach(t, image.Config{Keychain: r.Keychain()}), r.Name("acme/policies:1"), archive(t, "no"), "")
			var failure *image.Error
			if !errors.As(err, &failure) || failure.Reason != image.RegistryUnavailable {
				t.Errorf("Push() = %v", err)
			}
			for _, seen := range thief.Requests() {
				t.Errorf("the thief got %s %s with %q", seen.Method, seen.Path, seen.Authorization)
			}
		})
	}
}

func TestPushFails(t *testing.T) {
	r := registry.New(t, registry.Options{Auth: registry.AuthBasic})
	for name, tc := range map[string]struct {
		reason  string
		config  image.Config
		ref     string
		fault   registry.Fault
		want    string
		unknown bool
	}{
		"Reference":   {"A reference that is none.", image.Config{}, "Not/A:Ref!", registry.Fault{}, "not an image reference", false},
		"Digest":      {"A digest comes of the content.", image.Config{}, r.Name("acme/p@sha256:" + strings.Repeat("0", 64)), registry.Fault{}, "pushed to a tag", false},
		"Credentials": {"Nobody may push.", image.Config{}, r.Name("acme/p:1"), registry.Fault{}, "check the credentials", true},
		"Down":        {"The registry is down.", image.Config{Keychain: r.Keychain()}, r.Name("acme/p:1"), registry.Fault{Method: http.MethodPost, Status: 503}, "status 503", true},
		"Refused":     {"The registry wants no such manifest.", image.Config{Keychain: r.Keychain()}, r.Name("acme/p:1"), registry.Fault{Method: http.MethodPut, Path: "/manifests/", Status: 400}, "status 400", true},
		"Nobody":      {"There is none.", image.Config{}, "127.0.0.1:1/acme/p:1", registry.Fault{}, "refused", true},
		"Offline":     {"It must not be asked.", image.Config{Offline: true}, r.Name("acme/p:1"), registry.Fault{}, "offline", true},
	} {
		t.Run(name, func(t *testing.T) {
			r.Reset()
			if tc.fault.Method != "" {
				r.Inject(tc.fault)
			}
			tc.config.Limits.Retries = 1
			// What the registry has already is not uploaded again.
			_, err := bundle.Push(background(t), reach(t, tc.config), tc.ref, archive(t, name), "")
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), registry.Password) {
				t.Errorf("%s\nPush() = %v, want %q", tc.reason, err, tc.want)
			}
			var failure *image.Error
			if errors.As(err, &failure) && failure.Undetermined != tc.unknown {
				t.Errorf("%s\nundetermined: %t", tc.reason, failure.Undetermined)
			}
		})
	}
	// What went on for a moment only does not matter.
	r.Reset()
	r.Inject(registry.Fault{Method: http.MethodPost, Status: 503, Times: 1})
	if _, err := bundle.Push(background(t), reach(t, image.Config{Keychain: r.Keychain()}), r.Name("acme/p:1"), archive(t, "once"), ""); err != nil {
		t.Error(err)
	}
}

// TestSignFails signs nothing that it did not see.
func TestSignFails(t *testing.T) {
	r, key := registry.New(t, registry.Options{}), keys[registry.ECDSAP256]()
	i := pushed(t, r, "acme/policies:1", archive(t, "no"))
	signing := loadKey(t, key)
	for name, tc := range map[string]struct {
		ref   string
		fault registry.Fault
		want  string
	}{
		"NoTag":    {r.Name("acme/policies:none"), registry.Fault{Path: "/never"}, "does not have the manifest none"},
		"Lies":     {i.Pinned(), registry.Fault{Path: "/manifests/" + i.Digest, Body: []byte("{}")}, "another content"},
		"Down":     {i.Pinned(), registry.Fault{Method: http.MethodPut, Status: 500}, "status 500"},
		"NotThere": {"127.0.0.1:1/acme/p:1", registry.Fault{Path: "/never"}, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			r.Reset()
			r.Inject(tc.fault)
			digest, err := bundle.Sign(background(t), reach(t, image.Config{Limits: image.Limits{Retries: 1}}), tc.ref, signing)
			if err == nil || !strings.Contains(err.Error(), tc.want) || digest != "" {
				t.Errorf("Sign() = %q, %v; want %q", digest, err, tc.want)
			}
		})
	}
	r.Reset()
	if _, err := fetcher(t, trust(key)).Fetch(background(t), i.Name); err == nil {
		t.Error("a signature was left behind")
	}
}
