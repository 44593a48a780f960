package image_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/verify/image"
)

// elsewhere is the registry under another name: go-containerregistry refuses
// realms at loopback addresses by itself, and that is not what is tested here.
func elsewhere(r *registry.Registry) string {
	return strings.Replace(r.URL(), "127.0.0.1", "localhost", 1)
}

// seesNothing fails the test if a request to the registry carries anything secret.
func seesNothing(t *testing.T, thief *registry.Registry) {
	t.Helper()
	for _, r := range thief.Requests() {
		if r.Authorization != "" || strings.Contains(r.Query, "canary") {
			t.Errorf("%s %s?%s carries %q", r.Method, r.Path, r.Query, r.Authorization)
		}
	}
}

func TestCredentials(t *testing.T) {
	key := registry.MustKey(t, registry.ECDSAP256)
	for name, auth := range map[string]registry.Auth{"Basic": registry.AuthBasic, "Token": registry.AuthToken} {
		for _, tls := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/tls=%t", name, tls), func(t *testing.T) {
				reg := registry.New(t, registry.Options{Auth: auth, TLS: tls})
				img := reg.MustPushImage(t, "acme/app:1")
				must(t, reg.SignTag(img, key))
				c := config(key)
				c.CA = reg.CA()
				e := refuse(t, newVerifier(t, c), img.Name, image.RegistryUnavailable)
				if !strings.Contains(e.Message, "credentials") {
					t.Errorf("the message does not help: %s", e.Message)
				}
				c.Keychain = reg.Keychain()
				accept(t, newVerifier(t, c), img.Name)
			})
		}
	}
}

func TestTransportIsEncrypted(t *testing.T) {
	key := registry.MustKey(t, registry.ECDSAP256)
	plain := registry.New(t, registry.Options{Auth: registry.AuthBasic})
	c := config(key)
	c.LoopbackHTTP, c.Keychain = false, plain.Keychain()
	if e := refuse(t, newVerifier(t, c), plain.Name("acme/app:1"), image.RegistryUnavailable); !strings.Contains(e.Message, "plain HTTP") {
		t.Errorf("message: %s", e.Message)
	}
	seesNothing(t, plain)
	secure := registry.New(t, registry.Options{TLS: true})
	if e := refuse(t, newVerifier(t, c), secure.Name("acme/app:1"), image.RegistryUnavailable); !strings.Contains(e.Message, "unknown authority") {
		t.Errorf("message: %s", e.Message)
	}
}

// THREATS I11: neither a realm nor a redirect takes credentials elsewhere.
func TestAttack_I11_CredentialsStayHome(t *testing.T) {
	key := registry.MustKey(t, registry.ECDSAP256)
	const home, thiefRealm = registry.AuthToken, "realm"
	identity := authn.FromConfig(authn.AuthConfig{IdentityToken: "canary-identity-token"})
	ready := authn.FromConfig(authn.AuthConfig{RegistryToken: "canary-registry-token"})
	for name, tc := range map[string]struct {
		auth  registry.Auth
		realm string // "realm": at the thief
		fault func(thief *registry.Registry) registry.Fault
		login authn.Authenticator // nil: the registry's own
	}{
		"Realm":         {auth: home, realm: thiefRealm},
		"RealmIdentity": {auth: home, realm: thiefRealm, login: identity},
		"BasicAsked": {auth: registry.AuthBasic, fault: func(thief *registry.Registry) registry.Fault {
			return registry.Fault{Path: "/v2/", Challenge: fmt.Sprintf(`Bearer realm="%s/token",service="x"`, elsewhere(thief))}
		}},
		"HandshakeRedirect": {auth: registry.AuthBasic, fault: func(thief *registry.Registry) registry.Fault {
			return registry.Fault{Path: "/v2/", Redirect: elsewhere(thief)}
		}},
		"ManifestRedirect": {auth: registry.AuthBasic, fault: func(thief *registry.Registry) registry.Fault {
			return registry.Fault{Path: "/manifests/", Redirect: elsewhere(thief)}
		}},
		"ManifestRedirectToken": {auth: home, fault: func(thief *registry.Registry) registry.Fault {
			return registry.Fault{Path: "/manifests/", Redirect: elsewhere(thief)}
		}},
		"ReadyTokenRedirect": {auth: registry.AuthNone, login: ready, fault: func(thief *registry.Registry) registry.Fault {
			return registry.Fault{Path: "/manifests/", Redirect: elsewhere(thief)}
		}},
		"TokenRedirect": {auth: home, fault: func(thief *registry.Registry) registry.Fault {
			return registry.Fault{Path: "/token", Redirect: elsewhere(thief)}
		}},
		"TokenRedirectIdentity": {auth: home, login: identity, fault: func(thief *registry.Registry) registry.Fault {
			return registry.Fault{Path: "/token", Redirect: elsewhere(thief)}
		}},
		"BlobRedirect": {auth: registry.AuthBasic, fault: func(thief *registry.Registry) registry.Fault {
			return registry.Fault{Path: "/blobs/", Redirect: elsewhere(thief) + "/mirror"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			// The thief answers as a token service would, or asks for a login.
			thief := registry.New(t, registry.Options{Auth: registry.AuthToken})
			thief.Inject(registry.Fault{Path: "/mirror", Challenge: `Basic realm="x"`})
			o := registry.Options{Auth: tc.auth}
			if tc.realm != "" {
				o.Realm = elsewhere(thief) + "/token"
			}
			reg := registry.New(t, o)
			img := reg.MustPushImage(t, "acme/app:1")
			must(t, reg.SignTag(img, key))
			if tc.fault != nil {
				reg.Inject(tc.fault(thief))
			}
			c := config(key)
			c.Keychain = login{reg.Host(), tc.login}
			e := refuse(t, newVerifier(t, c), img.Name, image.RegistryUnavailable)
			if strings.Contains(e.Error(), "canary") {
				t.Errorf("the error holds a secret: %v", e)
			}
			seesNothing(t, thief)
		})
	}
}

// login logs in to one host, by default with the registry's own credentials.
type login struct {
	host string
	with authn.Authenticator
}

func (l login) Resolve(r authn.Resource) (authn.Authenticator, error) {
	if r.RegistryStr() != l.host {
		return authn.Anonymous, nil
	}
	if l.with != nil {
		return l.with, nil
	}
	return &authn.Basic{Username: registry.Username, Password: registry.Password}, nil
}

// THREATS I11: a token service on another host works once it is listed, and
// blobs may live elsewhere as long as nothing secret goes along.
func TestAttack_I11_LegitimateDetours(t *testing.T) {
	key := registry.MustKey(t, registry.ECDSAP256)
	auth := registry.New(t, registry.Options{Auth: registry.AuthToken})
	reg := registry.New(t, registry.Options{Auth: registry.AuthToken, Realm: elsewhere(auth) + "/token"})
	img := reg.MustPushImage(t, "acme/app:1")
	must(t, reg.SignTag(img, key))
	c := config(key)
	c.Keychain = reg.Keychain()
	e := refuse(t, newVerifier(t, c), img.Name, image.RegistryUnavailable)
	if !strings.Contains(e.Message, "localhost:") || !strings.Contains(e.Message, "token hosts") {
		t.Errorf("the message does not help: %s", e.Message)
	}
	c.TokenHosts = map[string][]string{reg.Host(): {strings.TrimPrefix(elsewhere(auth), "http://")}}
	accept(t, newVerifier(t, c), img.Name)

	mirror := registry.New(t, registry.Options{})
	source := registry.New(t, registry.Options{Auth: registry.AuthBasic})
	img = source.MustPushImage(t, "acme/app:1")
	must(t, source.SignTag(img, key))
	source.Inject(registry.Fault{Path: "/blobs/", Redirect: mirror.URL()})
	mirror.Inject(registry.Fault{Path: "/blobs/", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		doc, err := registry.Payload(img)
		if err != nil {
			panic(err)
		}
		w.Write(doc)
	})})
	c = config(key)
	c.Keychain = source.Keychain()
	accept(t, newVerifier(t, c), img.Name)
	if len(mirror.Requests()) == 0 {
		t.Error("the mirror was not asked")
	}
	seesNothing(t, mirror)
}
