package registry

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
)

// An Auth is the way in which a registry asks who is there.
type Auth int

// The ways of authentication.
const (
	// AuthNone lets everybody read.
	AuthNone Auth = iota
	// AuthBasic wants user name and password with each request.
	AuthBasic
	// AuthToken hands out bearer tokens at a realm, as most registries do.
	AuthToken
)

// The credentials of a registry that authenticates.
const (
	Username = "robot"
	Password = "registry-canary-password"
)

// Options say how a registry behaves. The zero value is a registry over plain
// HTTP that anybody may read and that knows the referrers API.
type Options struct {
	// TLS serves HTTPS with a certificate of its own; see [Registry.CA].
	TLS bool
	// Auth is asked of every request from the network.
	Auth Auth
	// Realm is the address of the token service; empty is the registry itself.
	Realm string
	// NoReferrers leaves out the referrers API, as older registries do.
	NoReferrers bool
}

// A Request is one request from the network that the registry saw.
type Request struct {
	Method, Path, Query string
	// Authorization is the header of that name, or empty.
	Authorization string
}

// A Registry is a running registry. Close it.
type Registry struct {
	options Options
	server  *httptest.Server
	content http.Handler

	mu       sync.Mutex
	requests []Request
	faults   []*injected
}

// Start runs a registry on a free loopback port.
func Start(options Options) *Registry {
	r := &Registry{
		options: options,
		content: ggcr.New(
			ggcr.Logger(log.New(io.Discard, "", 0)),
			ggcr.WithReferrersSupport(!options.NoReferrers),
		),
	}
	r.server = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if options.TLS {
		r.server.StartTLS()
	} else {
		r.server.Start()
	}
	return r
}

// New runs a registry until the test ends.
func New(tb testing.TB, options Options) *Registry {
	tb.Helper()
	r := Start(options)
	tb.Cleanup(r.Close)
	return r
}

// Close stops the registry and cuts what is still being answered.
func (r *Registry) Close() {
	r.server.CloseClientConnections()
	r.server.Close()
}

// Host is the address that stands before the repository in an image's name.
func (r *Registry) Host() string {
	u, err := url.Parse(r.server.URL)
	if err != nil {
		panic(err) // httptest made it
	}
	return u.Host
}

// URL is the registry's address with its scheme.
func (r *Registry) URL() string { return r.server.URL }

// Name is the full name of an image: "acme/app:1" becomes "127.0.0.1:…/acme/app:1".
func (r *Registry) Name(image string) string { return r.Host() + "/" + image }

// CA is the certificate, in PEM, that a client must trust; nil without TLS.
func (r *Registry) CA() []byte {
	if !r.options.TLS {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw})
}

// Keychain knows the registry's credentials and no others.
func (r *Registry) Keychain() authn.Keychain { return keychain(r.Host()) }

type keychain string

func (k keychain) Resolve(res authn.Resource) (authn.Authenticator, error) {
	if res.RegistryStr() != string(k) {
		return authn.Anonymous, nil
	}
	return &authn.Basic{Username: Username, Password: Password}, nil
}

// Requests lists the requests from the network since the start or the last
// [Registry.Reset], in the order in which they came.
func (r *Registry) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Request(nil), r.requests...)
}

// Count is the number of requests whose path contains part.
func (r *Registry) Count(part string) int {
	n := 0
	for _, req := range r.Requests() {
		if strings.Contains(req.Path, part) {
			n++
		}
	}
	return n
}

// Reset forgets the requests seen and takes all faults away.
func (r *Registry) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests, r.faults = nil, nil
}

// serve answers the network: note, fault, authenticate, answer.
func (r *Registry) serve(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, Request{
		Method: req.Method, Path: req.URL.Path, Query: req.URL.RawQuery,
		Authorization: req.Header.Get("Authorization"),
	})
	fault := r.faultFor(req)
	r.mu.Unlock()
	if fault != nil {
		fault.serve(w, req, r.authenticated)
		return
	}
	r.authenticated(w, req)
}

const tokenPath = "/token"

// bearer is the token that the registry's own realm hands out.
const bearer = "registry-canary-bearer"

func (r *Registry) authenticated(w http.ResponseWriter, req *http.Request) {
	user, password, _ := req.BasicAuth()
	known := user == Username && password == Password
	switch r.options.Auth {
	case AuthNone:
	case AuthBasic:
		if !known {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			refuse(w)
			return
		}
	case AuthToken:
		if req.URL.Path == tokenPath {
			if !known {
				refuse(w)
				return
			}
			fmt.Fprintf(w, `{"token": %q}`, bearer)
			return
		}
		if req.Header.Get("Authorization") != "Bearer "+bearer {
			realm := r.options.Realm
			if realm == "" {
				realm = r.server.URL + tokenPath
			}
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="registry"`, realm))
			refuse(w)
			return
		}
	}
	r.content.ServeHTTP(w, req)
}

func refuse(w http.ResponseWriter) {
	w.WriteHeader(http.StatusUnauthorized)
	io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}`)
}

// direct carries requests to the content past network, faults and credentials.
type direct struct{ content http.Handler }

func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil {
		req.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	d.content.ServeHTTP(w, req)
	resp := w.Result()
	resp.Request = req
	return resp, nil
}

// put writes to the content as an HTTP client would.
func (r *Registry) put(path, mediaType string, body []byte) error {
	req := httptest.NewRequest(http.MethodPut, path, bytes.NewReader(body))
	req.Header.Set("Content-Type", mediaType)
	w := httptest.NewRecorder()
	r.content.ServeHTTP(w, req)
	if w.Code/100 != 2 {
		return fmt.Errorf("put %s: status %d: %s", path, w.Code, w.Body)
	}
	return nil
}
