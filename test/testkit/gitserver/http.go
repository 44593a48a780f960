package gitserver

import (
	"bufio"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cgi"
	"strings"
	"time"
)

func (s *Server) startHTTP() error {
	ln, err := listen()
	if err != nil {
		return err
	}
	s.httpAddr = ln.Addr().String()
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0), // aborted handlers are what tests ask for
	}
	if s.opts.TLS {
		if s.ca, err = newAuthority(); err != nil {
			return errors.Join(err, ln.Close())
		}
		cert, err := s.ca.issue(net.ParseIP("127.0.0.1"))
		if err != nil {
			return errors.Join(err, ln.Close())
		}
		s.http.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	}
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		if s.opts.TLS {
			_ = s.http.ServeTLS(ln, "", "") // ends with ErrServerClosed
			return
		}
		_ = s.http.Serve(ln)
	}()
	return nil
}

// serveHTTP records, injects the fault that is due, authenticates and then lets
// git or the script answer.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	s.running.Add(1)
	defer s.running.Done()
	body := bufio.NewReader(r.Body)
	r.Body = struct {
		io.Reader
		io.Closer
	}{body, r.Body}

	req := &Request{
		Transport: "http", Method: r.Method, Path: r.URL.Path, Header: r.Header.Clone(),
		Commands: []string{commandOf(r, body)},
	}
	if user, _, ok := r.BasicAuth(); ok {
		req.User = user
	}
	s.record(req)
	fault := s.due(req.Commands[0])
	fw := &faultyWriter{ResponseWriter: w, ctx: r.Context(), fault: fault, sent: func(n int) { s.countSent(req, n) }}
	switch {
	case fault != nil && fault.Handler != nil:
		fault.Handler(fw, r)
	case fault != nil && fault.Redirect != "":
		http.Redirect(fw, r, fault.Redirect+r.URL.RequestURI(), http.StatusFound)
	case fault != nil && fault.Status != 0:
		if fault.RetryAfter != "" {
			fw.Header().Set("Retry-After", fault.RetryAfter)
		}
		http.Error(fw, http.StatusText(fault.Status), fault.Status)
	case !s.authenticated(r):
		fw.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(fw, "authentication required", http.StatusUnauthorized)
	case s.opts.Handler != nil:
		s.opts.Handler.ServeHTTP(fw, r)
	default:
		s.backend(r).ServeHTTP(fw, r)
	}
	if fw.cut {
		panic(http.ErrAbortHandler)
	}
}

func (s *Server) authenticated(r *http.Request) bool {
	same := func(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
	if s.opts.Password == "" && s.opts.Token == "" {
		return true
	}
	if s.opts.Password != "" {
		user, password, ok := r.BasicAuth()
		if ok && same(user, s.opts.Username) && same(password, s.opts.Password) {
			return true
		}
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && s.opts.Token != "" && same(token, s.opts.Token)
}

func (s *Server) backend(r *http.Request) http.Handler {
	env := append(s.gitEnv(), "GIT_PROJECT_ROOT="+s.opts.Root, "GIT_HTTP_EXPORT_ALL=1")
	if user, _, ok := r.BasicAuth(); ok {
		env = append(env, "REMOTE_USER="+user)
	}
	if v := r.Header.Get("Git-Protocol"); v != "" && !s.opts.ProtocolV0 {
		env = append(env, "GIT_PROTOCOL="+v)
	}
	r.Header.Del("Git-Protocol") // newer http-backends would read it themselves
	return &cgi.Handler{
		Path: s.git, Args: []string{"http-backend"}, Env: env,
		Dir: s.opts.Root, Stderr: io.Discard, Logger: log.New(io.Discard, "", 0),
	}
}

// commandOf names what a request asks for: "info/refs", a command of protocol
// version 2 such as "ls-refs" or "fetch", or the service's name.
func commandOf(r *http.Request, body *bufio.Reader) string {
	if strings.HasSuffix(r.URL.Path, "/info/refs") {
		return "info/refs"
	}
	if strings.HasSuffix(r.URL.Path, "/git-upload-pack") && r.Method == http.MethodPost {
		if head, err := body.Peek(4); err == nil {
			if line, err := body.Peek(packetLength(head)); err == nil {
				return commandOfPacket(line)
			}
		}
	}
	return r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
}
