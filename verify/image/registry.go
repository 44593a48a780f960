package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// errNotFound is a registry's 404.
var errNotFound = errors.New("not found")

// A statusError is any other answer that is no success.
type statusError struct{ status int }

func (e *statusError) Error() string { return fmt.Sprintf("status %d", e.status) }

// A network opens registries as the configuration says.
type network struct {
	base     http.RoundTripper
	keychain authn.Keychain
	tokens   map[string][]string
	loopback bool
	offline  bool
	limits   Limits
}

// knownTokenHosts are the token services of public registries that live on
// another host than the registry.
var knownTokenHosts = map[string][]string{
	name.DefaultRegistry:  {"auth.docker.io"},
	"registry.gitlab.com": {"gitlab.com"},
}

func newNetwork(c Config, limits Limits) (*network, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(c.CA) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(c.CA) {
			return nil, errors.New("ca: no certificate in it")
		}
		config.RootCAs = pool
	}
	n := &network{
		base: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        config,
			TLSHandshakeTimeout:    limits.Timeout,
			MaxIdleConnsPerHost:    limits.Parallel,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true, // a compressed answer would hide its size
		},
		keychain: c.Keychain,
		tokens:   make(map[string][]string),
		loopback: c.LoopbackHTTP,
		offline:  c.Offline,
		limits:   limits,
	}
	for registry, hosts := range knownTokenHosts {
		n.tokens[registry] = hosts
	}
	for registry, hosts := range c.TokenHosts {
		host, err := normaliseHost(registry)
		if err != nil {
			return nil, fmt.Errorf("tokenHosts: %s: %w", quote(registry), err)
		}
		if host == dockerHub {
			host = name.DefaultRegistry
		}
		for _, h := range hosts {
			if _, err := normaliseHost(h); err != nil {
				return nil, fmt.Errorf("tokenHosts: %s: %s: %w", quote(registry), quote(h), err)
			}
		}
		n.tokens[host] = append(append([]string(nil), n.tokens[host]...), hosts...)
	}
	return n, nil
}

// A client reads one repository within the budget of its context. It is for one
// goroutine.
type client struct {
	http   *http.Client
	base   string // https://registry/v2/repository
	limits Limits
	listed map[string][]v1.Descriptor // the referrers that were listed, by digest
}

// way is how to a repository: with which credentials, and past which guard.
func (n *network) way(ctx context.Context, r reference) (name.Repository, authn.Authenticator, *guard, error) {
	if n.offline {
		return name.Repository{}, nil, nil, &refusedError{what: "the registry is not asked in an offline run"}
	}
	repository, err := r.repository()
	if err != nil {
		return repository, nil, nil, &refusedError{what: err.Error()}
	}
	auth := authn.Anonymous
	if n.keychain != nil {
		if auth, err = authn.Resolve(ctx, n.keychain, repository); err != nil {
			// The helper's own words may hold a secret.
			return repository, nil, nil, &refusedError{what: "the credentials for the registry cannot be read"}
		}
	}
	host := repository.RegistryStr()
	return repository, auth, &guard{
		base: n.base, home: host, tokens: n.tokens[host],
		anonymous: auth == authn.Anonymous, plainHTTP: n.loopback, limits: n.limits,
	}, nil
}

// open makes the handshake with the repository's registry.
func (n *network) open(ctx context.Context, r reference) (*client, error) {
	repository, auth, outermost, err := n.way(ctx, r)
	if err != nil {
		return nil, err
	}
	host := repository.RegistryStr()
	scope := repository.Scope(transport.PullScope)
	trip, err := transport.NewWithContext(ctx, repository.Registry, auth, outermost, []string{scope})
	if err != nil {
		return nil, err
	}
	return &client{
		http: &http.Client{
			Transport: trip,
			CheckRedirect: func(_ *http.Request, via []*http.Request) error {
				if len(via) > n.limits.Redirects {
					return &limitError{fmt.Sprintf("more than %d redirects", n.limits.Redirects)}
				}
				return nil
			},
		},
		// The handshake found out whether it is HTTP and its transport changes
		// the scheme accordingly.
		base:   "https://" + host + "/v2/" + repository.RepositoryStr(),
		limits: n.limits,
	}, nil
}

// An answer is a successful response.
type answer struct {
	body   []byte
	header http.Header
}

// get reads a resource of at most limit bytes. A connection that is cut is
// tried again.
func (c *client) get(ctx context.Context, address string, accept []string, limit int64) (*answer, error) {
	for attempt := 0; ; attempt++ {
		a, err := c.try(ctx, address, accept, limit)
		if err == nil || attempt >= c.limits.Retries || !errors.Is(err, io.ErrUnexpectedEOF) {
			return a, err
		}
		if !backOff(ctx, attempt, "") {
			return nil, err
		}
	}
}

func (c *client) try(ctx context.Context, address string, accept []string, limit int64) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if len(accept) > 0 {
		req.Header.Set("Accept", strings.Join(accept, ","))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return nil, errNotFound
	case resp.StatusCode != http.StatusOK:
		return nil, &statusError{resp.StatusCode}
	case resp.ContentLength > limit:
		return nil, &limitError{fmt.Sprintf("%d bytes where %d are allowed", resp.ContentLength, limit)}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > limit {
		return nil, &limitError{fmt.Sprintf("more than %d bytes in one piece", limit)}
	}
	return &answer{body, resp.Header}, nil
}

var manifestTypes = []string{
	string(types.OCIImageIndex), string(types.DockerManifestList),
	string(types.OCIManifestSchema1), string(types.DockerManifestSchema2),
}

// errMalformed is a registry that breaks the distribution specification.
var errMalformed = errors.New("malformed answer")

// resolve looks a tag up, once, and hashes what the registry gives: what it
// says about its digest counts only as a reason to stop.
func (c *client) resolve(ctx context.Context, tag string) (string, error) {
	a, err := c.get(ctx, c.base+"/manifests/"+tag, manifestTypes, c.limits.ManifestBytes)
	if err != nil {
		return "", err
	}
	mediaType, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil || !contains(manifestTypes, mediaType) {
		return "", fmt.Errorf("%w: the tag is neither an image nor an index", errMalformed)
	}
	digest := digestOf(a.body)
	if said := a.header.Get("Docker-Content-Digest"); said != "" && said != digest {
		return "", fmt.Errorf("%w: the manifest hashes to %s, but the registry calls it %s", errMalformed, digest, quote(said))
	}
	return digest, nil
}

// manifest reads a manifest by tag, or by digest, which must be its hash.
func (c *client) manifest(ctx context.Context, ref string) (*v1.Manifest, error) {
	a, err := c.get(ctx, c.base+"/manifests/"+ref, manifestTypes, c.limits.ManifestBytes)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(ref, "sha256:") && digestOf(a.body) != ref {
		return nil, fmt.Errorf("%w: the manifest %s has another content", errMalformed, ref)
	}
	m, err := v1.ParseManifest(bytes.NewReader(a.body))
	if err != nil {
		return nil, fmt.Errorf("%w: the manifest %s cannot be parsed", errMalformed, ref)
	}
	return m, nil
}

// blob reads a blob, which must hash to its digest.
func (c *client) blob(ctx context.Context, h v1.Hash, limit int64) ([]byte, error) {
	a, err := c.get(ctx, c.base+"/blobs/"+h.String(), nil, limit)
	if err != nil {
		return nil, err
	}
	if digestOf(a.body) != h.String() {
		return nil, fmt.Errorf("%w: the blob %s has another content", errMalformed, h)
	}
	return a.body, nil
}

// referrers lists what refers to a digest, by the referrers API or, where the
// registry has none, by the tag that stands in for it (OCI distribution
// specification 1.1, "Listing Referrers" and "Referrers Tag Schema").
func (c *client) referrers(ctx context.Context, digest string) ([]v1.Descriptor, error) {
	if all, ok := c.listed[digest]; ok {
		return all, nil
	}
	all, err := c.listReferrers(ctx, digest)
	if err == nil {
		c.listed = map[string][]v1.Descriptor{digest: all}
	}
	return all, err
}

func (c *client) listReferrers(ctx context.Context, digest string) ([]v1.Descriptor, error) {
	var all []v1.Descriptor
	page := c.base + "/referrers/" + digest
	for n := 0; page != ""; n++ {
		if n > c.limits.Signatures {
			return nil, &limitError{fmt.Sprintf("more than %d pages of referrers", n)}
		}
		a, err := c.get(ctx, page, []string{string(types.OCIImageIndex)}, c.limits.ManifestBytes)
		if n == 0 && (noReferrersAPI(err) || err == nil && !isIndex(a)) {
			a, err = c.get(ctx, c.base+"/manifests/"+strings.Replace(digest, ":", "-", 1),
				[]string{string(types.OCIImageIndex)}, c.limits.ManifestBytes)
			if errors.Is(err, errNotFound) {
				return nil, nil
			}
		}
		if err != nil {
			return nil, err
		}
		index, err := v1.ParseIndexManifest(bytes.NewReader(a.body))
		if err != nil {
			return nil, fmt.Errorf("%w: the list of referrers cannot be parsed", errMalformed)
		}
		all = append(all, index.Manifests...)
		if page, err = nextPage(page, a.header.Get("Link")); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// noReferrersAPI are the answers of registries that do not know the API.
func noReferrersAPI(err error) bool {
	var status *statusError
	if errors.As(err, &status) {
		switch status.status {
		case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented:
			return true
		}
	}
	return errors.Is(err, errNotFound)
}

func isIndex(a *answer) bool {
	mediaType, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	return err == nil && mediaType == string(types.OCIImageIndex)
}

// nextPage reads a Link header (RFC 8288) with rel="next". It stays with the
// registry.
func nextPage(page, link string) (string, error) {
	if link == "" {
		return "", nil
	}
	target, params, found := strings.Cut(link, ">")
	if !found || !strings.HasPrefix(target, "<") || !strings.Contains(params, "next") {
		return "", nil
	}
	base, err := url.Parse(page)
	if err != nil {
		return "", err
	}
	next, err := base.Parse(target[1:])
	if err != nil || next.Host != base.Host {
		return "", fmt.Errorf("%w: the list of referrers goes on at another host", errMalformed)
	}
	next.Scheme = base.Scheme
	return next.String(), nil
}

func digestOf(raw []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(raw)) }

func contains(all []string, s string) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}
