package image

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// THREATS I11: where a request for a registry may go, and with what.
func TestAttack_I11_Guard(t *testing.T) {
	const secret = "Basic Y2FuYXJ5"
	for name, tc := range map[string]struct {
		home, url, method, authorization string
		anonymous, plain                 bool
		tokens                           []string
		want                             string // part of the refusal; empty is permitted
	}{
		"Home":               {home: "ghcr.io", url: "https://ghcr.io/v2/", authorization: secret},
		"HomePort":           {home: "ghcr.io", url: "https://ghcr.io:443/v2/", authorization: secret},
		"HomeUpper":          {home: "ghcr.io", url: "https://GHCR.io/v2/", authorization: secret},
		"OtherPort":          {home: "ghcr.io", url: "https://ghcr.io:8443/v2/", authorization: secret, want: "credentials"},
		"Subdomain":          {home: "ghcr.io", url: "https://evil.ghcr.io/", authorization: secret, want: "credentials"},
		"Suffix":             {home: "ghcr.io", url: "https://ghcr.io.evil.com/", authorization: secret, want: "credentials"},
		"Content":            {home: "ghcr.io", url: "https://cdn.example.com/x"},
		"Hub":                {home: "index.docker.io", url: "https://auth.docker.io/token", authorization: secret, tokens: knownTokenHosts["index.docker.io"]},
		"HubPost":            {home: "index.docker.io", url: "https://auth.docker.io/token", method: "POST", tokens: knownTokenHosts["index.docker.io"]},
		"HubElsewhere":       {home: "index.docker.io", url: "https://auth.docker.io.evil.com/token", authorization: secret, tokens: knownTokenHosts["index.docker.io"], want: "credentials"},
		"Anonymous":          {home: "registry.k8s.io", url: "https://pkg.dev/v2/", authorization: "Bearer anonymous", anonymous: true},
		"Post":               {home: "ghcr.io", url: "https://evil.com/token", method: "POST", want: "POST"},
		"PostAnonymous":      {home: "ghcr.io", url: "https://evil.com/token", method: "POST", anonymous: true, want: "POST"},
		"Plain":              {home: "ghcr.io", url: "http://ghcr.io/v2/", authorization: secret, want: "plain HTTP"},
		"PlainPrivate":       {home: "10.0.0.1", url: "http://10.0.0.1/v2/", plain: true, want: "plain HTTP"},
		"PlainLoopback":      {home: "127.0.0.1:5000", url: "http://127.0.0.1:5000/v2/", plain: true, authorization: secret},
		"PlainNotAllowed":    {home: "127.0.0.1:5000", url: "http://127.0.0.1:5000/v2/", want: "plain HTTP"},
		"PlainLocalhostName": {home: "localhost.evil.com", url: "http://localhost.evil.com/v2/", plain: true, want: "plain HTTP"},
		"Metadata":           {home: "ghcr.io", url: "https://169.254.169.254/latest", want: "internal address"},
		"MetadataSix":        {home: "ghcr.io", url: "https://[fe80::1]/latest", want: "internal address"},
		"Loopback":           {home: "ghcr.io", url: "https://127.0.0.1:6443/", want: "internal address"},
		"Mapped":             {home: "ghcr.io", url: "https://[::ffff:127.0.0.1]:6443/", want: "internal address"},
		"Localhost":          {home: "ghcr.io", url: "https://localhost:6443/", want: "internal address"},
		"Private":            {home: "ghcr.io", url: "https://10.96.0.1/", want: "internal address"},
		"PrivateHome":        {home: "10.0.0.1", url: "https://10.0.0.1/v2/", authorization: secret},
		"Unspecified":        {home: "ghcr.io", url: "https://0.0.0.0/", want: "internal address"},
		"File":               {home: "ghcr.io", url: "file:///etc/passwd", want: "plain HTTP"},
	} {
		t.Run(name, func(t *testing.T) {
			method := tc.method
			if method == "" {
				method = http.MethodGet
			}
			req, err := http.NewRequest(method, tc.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			if tc.authorization != "" {
				req.Header.Set("Authorization", tc.authorization)
			}
			g := &guard{home: tc.home, tokens: tc.tokens, anonymous: tc.anonymous, plainHTTP: tc.plain}
			err = g.permit(req)
			if tc.want == "" && err != nil {
				t.Fatalf("refused: %v", err)
			}
			if tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Fatalf("error %v, want %q", err, tc.want)
			}
		})
	}
}

// A request that no budget covers does not leave, whoever makes it.
func TestGuardNeedsBudget(t *testing.T) {
	g := &guard{home: "ghcr.io", base: http.DefaultTransport}
	_, err := g.RoundTrip(httptest.NewRequest(http.MethodGet, "https://ghcr.io/v2/", nil))
	var refused *refusedError
	if !errors.As(err, &refused) {
		t.Fatalf("error %v, want a refusal", err)
	}
}
