package source

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

const (
	dialTimeout  = 15 * time.Second
	idleTimeout  = 90 * time.Second
	maxRedirects = 3
	// maxRetryAfter bounds how long a server may keep us away.
	maxRetryAfter = time.Hour
)

// An httpRemote speaks smart HTTP (gitprotocol-http(5)) with one repository. It
// has a connection pool of its own, so that nothing is shared between
// credentials.
type httpRemote struct {
	peer
	url    URL
	auth   Auth
	client *http.Client

	mu sync.Mutex
	// known is the greeting of a version 2 server. It is kept, so that later
	// listings take one request, and dropped when anything fails.
	known *httpGreeting
}

type httpGreeting struct {
	greeting
	base string // the repository's URL after redirects
}

func newHTTPRemote(u URL, a Auth, l Limits) *httpRemote {
	dialer := &net.Dialer{Timeout: dialTimeout}
	r := &httpRemote{peer: peer{l}, url: u, auth: a}
	r.client = &http.Client{
		CheckRedirect: checkRedirect,
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: a.roots},
			TLSHandshakeTimeout:    dialTimeout,
			MaxResponseHeaderBytes: 64 << 10,
			IdleConnTimeout:        idleTimeout,
			MaxIdleConnsPerHost:    1,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true, // packs are compressed, and limits count what is read
		},
	}
	return r
}

// errRedirect is why a redirect is not followed.
type errRedirect string

func (e errRedirect) Error() string { return "redirect refused: " + string(e) }

// checkRedirect follows a redirect of the discovery only, to the same scheme,
// host and port only: credentials and trust are bound to those
// (CVE-2026-41506).
func checkRedirect(req *http.Request, via []*http.Request) error {
	origin := via[0].URL
	switch {
	case req.Method != http.MethodGet || via[0].Method != http.MethodGet:
		return errRedirect("only the discovery of references may be redirected")
	case len(via) > maxRedirects:
		return errRedirect("too many redirects")
	case req.URL.User != nil:
		return errRedirect("it holds credentials")
	case req.URL.Scheme != origin.Scheme || !strings.EqualFold(req.URL.Host, origin.Host):
		return errRedirect("it leads to another host, port or scheme; if that is the repository's new place, change the URL")
	}
	return nil
}

func (r *httpRemote) open(ctx context.Context) (session, error) {
	r.mu.Lock()
	known := r.known
	r.mu.Unlock()
	if known == nil {
		var err error
		if known, err = r.discover(ctx); err != nil {
			return nil, err
		}
		if known.version == 2 {
			r.mu.Lock()
			r.known = known
			r.mu.Unlock()
		}
	}
	return &httpSession{remote: r, httpGreeting: *known}, nil
}

func (r *httpRemote) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = nil
}

func (r *httpRemote) close() { r.client.CloseIdleConnections() }

const (
	discoveryPath  = "/info/refs"
	discoveryQuery = "service=git-upload-pack"
	servicePath    = "/git-upload-pack"
)

func (r *httpRemote) discover(ctx context.Context) (*httpGreeting, error) {
	res, err := r.do(ctx, http.MethodGet, r.url.String()+discoveryPath+"?"+discoveryQuery, nil, "application/x-git-upload-pack-advertisement")
	if err != nil {
		return nil, err
	}
	defer closeQuietly(res.Body)
	final := *res.Request.URL
	base, ok := strings.CutSuffix(final.Path, discoveryPath)
	if !ok || final.RawQuery != discoveryQuery {
		return nil, unavailable("%w", errRedirect("it does not lead to a Git repository"))
	}
	final.Path, final.RawPath, final.RawQuery = base, "", ""
	g, err := r.greet(res.Body)
	if err != nil {
		return nil, err
	}
	return &httpGreeting{g, final.String()}, nil
}

func (r *httpRemote) do(ctx context.Context, method, target string, body []byte, want string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, unavailable("request: malformed URL")
	}
	req.Header.Set("User-Agent", agent)
	req.Header.Set("Git-Protocol", "version=2")
	req.Header.Set("Accept", want)
	// An empty list is not sent. It tells net/http that the request may be
	// repeated when an idle connection turns out to be dead: all of ours may.
	req.Header["Idempotency-Key"] = nil
	if body != nil {
		req.Header.Set("Content-Type", "application/x-git-upload-pack-request")
	}
	r.auth.apply(req)
	res, err := r.client.Do(req)
	if err != nil {
		// url.Error repeats the URL, which after a redirect is the server's.
		if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, unavailable("%w", err)
	}
	if err := checkResponse(res, want); err != nil {
		closeQuietly(res.Body)
		return nil, err
	}
	return res, nil
}

func checkResponse(res *http.Response, want string) error {
	var err error
	switch code := res.StatusCode; {
	case code == http.StatusOK:
		if got := res.Header.Get("Content-Type"); got != want {
			return unavailable("the server does not speak Git's smart HTTP: content type %q", remoteText([]byte(got)))
		}
		return nil
	case code == http.StatusUnauthorized:
		err = errors.New("authentication failed (HTTP 401): check the Secret's username and password, or bearerToken")
	case code == http.StatusForbidden:
		err = errors.New("access denied (HTTP 403): the credentials may not read this repository")
	case code == http.StatusNotFound:
		err = errors.New("repository not found (HTTP 404): check the URL, and whether the credentials may see it")
	case code >= 300 && code < 400:
		err = errRedirect(fmt.Sprintf("HTTP %d without a usable target", code))
	default:
		err = fmt.Errorf("the server answered HTTP %d", code)
	}
	return &problem{reason: SourceUnavailable, err: err, retryAfter: retryAfter(res)}
}

// retryAfter reads the header of that name when it counts seconds (RFC 9110
// section 10.2.3).
func retryAfter(res *http.Response) time.Duration {
	s, err := strconv.ParseUint(res.Header.Get("Retry-After"), 10, 31)
	if err != nil {
		return 0
	}
	return min(time.Duration(s)*time.Second, maxRetryAfter)
}

// An httpSession is a listing and the fetch that may follow from it.
type httpSession struct {
	remote *httpRemote
	httpGreeting
	body io.ReadCloser
}

func (s *httpSession) list(ctx context.Context, prefixes []string) ([]ref, error) {
	if s.version != 2 {
		return s.refs, nil
	}
	res, err := s.post(ctx, lsRefsRequest(s.greeting, prefixes))
	if err != nil {
		return nil, err
	}
	defer closeQuietly(res.Body)
	refs, err := s.remote.readRefs(res.Body)
	if err != nil {
		s.remote.forget()
	}
	return refs, err
}

func (s *httpSession) fetch(ctx context.Context, wants, haves []plumbing.Hash) (io.Reader, error) {
	res, err := s.post(ctx, fetchRequest(s.greeting, wants, haves))
	if err != nil {
		return nil, err
	}
	s.body = res.Body
	return s.remote.readPack(s.greeting, res.Body)
}

func (s *httpSession) post(ctx context.Context, request []byte) (*http.Response, error) {
	res, err := s.remote.do(ctx, http.MethodPost, s.base+servicePath, request, "application/x-git-upload-pack-result")
	if err != nil {
		s.remote.forget()
	}
	return res, err
}

func (s *httpSession) close() {
	if s.body != nil {
		closeQuietly(s.body)
	}
}

// closeQuietly closes what was only read: there is nothing left to lose.
func closeQuietly(c io.Closer) { _ = c.Close() }
