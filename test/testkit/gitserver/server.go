package gitserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// closeGrace is how long Close waits for handlers and their git processes.
const closeGrace = 10 * time.Second

// Options say what a [Server] serves and to whom. The zero value serves an empty
// temporary directory over plain HTTP to anybody, read-only.
type Options struct {
	// Root is the directory that holds the bare repositories. Empty means a
	// temporary one, removed by Close.
	Root string
	// TLS serves HTTPS with a certificate of a CA of its own, see [Server.CA].
	TLS bool
	// Username and Password, when set, are required of HTTP clients.
	Username, Password string
	// Token, when set, is the bearer token required of HTTP clients. With both
	// a password and a token either is enough.
	Token string
	// SSH serves the same repositories over SSH as well.
	SSH bool
	// AuthorizedKeys may log in over SSH, besides the key of [Server.ClientKey].
	AuthorizedKeys []ssh.PublicKey
	// AllowPush accepts pushes.
	AllowPush bool
	// ProtocolV0 ignores the client's wish for version 2 of the protocol.
	ProtocolV0 bool
	// Handler answers HTTP requests in git's place, behind authentication,
	// recorder and faults.
	Handler http.Handler
}

// A Server is a running Git server. Its methods are safe for concurrent use.
type Server struct {
	opts     Options
	git      string
	ownsRoot bool

	http     *http.Server
	httpAddr string
	ca       *authority

	ssh *sshServer

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	requests []*Request
	faults   []*Fault
}

// Start starts a server on free loopback ports.
func Start(o Options) (_ *Server, err error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("gitserver: git is needed: %w", err)
	}
	s := &Server{opts: o, git: git}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if o.Root == "" {
		if s.opts.Root, err = os.MkdirTemp("", "gitserver-"); err != nil {
			return nil, fmt.Errorf("gitserver: %w", err)
		}
		s.ownsRoot = true
	}
	if err := s.startHTTP(); err != nil {
		return nil, fmt.Errorf("gitserver: %w", err)
	}
	if o.SSH {
		if s.ssh, err = startSSH(s); err != nil {
			return nil, fmt.Errorf("gitserver: %w", err)
		}
	}
	return s, nil
}

// New starts a server for a test and closes it when the test ends.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Close cuts every connection, waits for the git processes behind them and
// removes the root if the server made it. It may be called more than once.
func (s *Server) Close() error {
	s.cancel()
	var errs []error
	if s.http != nil {
		errs = append(errs, s.http.Close())
	}
	if s.ssh != nil {
		errs = append(errs, s.ssh.close())
	}
	done := make(chan struct{})
	go func() { s.running.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(closeGrace):
		errs = append(errs, fmt.Errorf("gitserver: connections still open %s after closing", closeGrace))
	}
	if s.ownsRoot {
		errs = append(errs, os.RemoveAll(s.opts.Root))
	}
	return errors.Join(errs...)
}

// Root is the directory that holds the bare repositories.
func (s *Server) Root() string { return s.opts.Root }

// URL is the HTTP or HTTPS URL of a repository, without credentials.
func (s *Server) URL(repo string) string {
	scheme := "http"
	if s.opts.TLS {
		scheme = "https"
	}
	return scheme + "://" + s.httpAddr + "/" + repo
}

// CA is the PEM bundle that vouches for the server; nil without TLS.
func (s *Server) CA() []byte {
	if s.ca == nil {
		return nil
	}
	return s.ca.pem
}

// CreateRepo makes an empty bare repository whose HEAD is main and returns its
// directory. The name is a relative path such as "acme/shop.git".
func (s *Server) CreateRepo(name string) (string, error) {
	if !filepath.IsLocal(name) {
		return "", fmt.Errorf("gitserver: repository name %q leaves the root", name)
	}
	dir := filepath.Join(s.opts.Root, name)
	cmd := exec.CommandContext(s.ctx, s.git, "init", "--quiet", "--bare", "--initial-branch=main", dir)
	cmd.Env = s.gitEnv()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("gitserver: git init: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return dir, nil
}

// MustCreateRepo is CreateRepo for a test.
func (s *Server) MustCreateRepo(t testing.TB, name string) string {
	t.Helper()
	dir, err := s.CreateRepo(name)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// gitEnv keeps git away from the configuration of the machine and its user.
func (s *Server) gitEnv() []string {
	push := "false"
	if s.opts.AllowPush {
		push = "true"
	}
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + s.opts.Root,
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=" + os.DevNull,
		"GIT_CONFIG_COUNT=2",
		"GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		"GIT_CONFIG_KEY_1=http.receivepack", "GIT_CONFIG_VALUE_1=" + push,
	}
}

func listen() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }
