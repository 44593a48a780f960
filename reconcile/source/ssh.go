package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/crypto/ssh"
)

// maxStderr bounds what is kept of the remote command's complaints.
const maxStderr = 4 << 10

// An sshRemote runs git-upload-pack on a host. Each session is a connection.
type sshRemote struct {
	peer
	url  URL
	auth Auth
}

func (r *sshRemote) close() {}

func (r *sshRemote) open(ctx context.Context) (_ session, err error) {
	address := r.url.address()
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, unavailable("%w", err)
	}
	s := &sshSession{peer: r.peer, conn: conn}
	// A deadline alone would not end the session when the caller gives up.
	s.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		if err != nil {
			s.close()
			err = s.explain(err)
		}
	}()
	// An unreachable peer must not keep the connection past the context.
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline.Add(time.Second)); err != nil {
			return nil, unavailable("%w", err)
		}
	}
	if err := s.handshake(address, r.auth, r.url.user); err != nil {
		return nil, err
	}
	return s, s.start(r.url.path)
}

// An sshSession is one run of git-upload-pack.
type sshSession struct {
	peer
	greeting
	conn   net.Conn
	stop   func() bool
	client *ssh.Client
	remote *ssh.Session // nil until the command runs
	stdin  io.WriteCloser
	stdout io.Reader
	stderr boundedBuffer
}

func (s *sshSession) handshake(address string, a Auth, user string) error {
	safe := ssh.SupportedAlgorithms()
	config := &ssh.ClientConfig{
		User:              user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(a.signer)},
		HostKeyCallback:   a.knownHosts.check,
		HostKeyAlgorithms: a.knownHosts.algorithms(address),
		ClientVersion:     "SSH-2.0-gitgate",
	}
	config.KeyExchanges, config.Ciphers, config.MACs = safe.KeyExchanges, safe.Ciphers, safe.MACs
	c, channels, requests, err := ssh.NewClientConn(s.conn, address, config)
	if err != nil {
		return sshProblem(err)
	}
	s.client = ssh.NewClient(c, channels, requests)
	return nil
}

func sshProblem(err error) error {
	var host *hostKeyError
	var negotiation *ssh.AlgorithmNegotiationError
	switch {
	case errors.As(err, &host):
		return unavailable("%w", host)
	case errors.As(err, &negotiation):
		return unavailable("no common SSH algorithm, or no key of a kind that known_hosts has: %w", negotiation)
	case strings.Contains(err.Error(), "unable to authenticate"):
		return unavailable("authentication failed: the server does not accept the key in the Secret's identity")
	}
	return unavailable("SSH: %w", err)
}

func (s *sshSession) start(path string) error {
	session, err := s.client.NewSession()
	if err != nil {
		return unavailable("SSH session: %w", err)
	}
	if s.stdin, err = session.StdinPipe(); err != nil {
		return unavailable("SSH session: %w", err)
	}
	if s.stdout, err = session.StdoutPipe(); err != nil {
		return unavailable("SSH session: %w", err)
	}
	session.Stderr = &s.stderr
	// A server that does not accept the variable speaks version 0.
	_ = session.Setenv("GIT_PROTOCOL", "version=2")
	if rest, ok := strings.CutPrefix(path, "/~"); ok {
		path = "~" + rest // as git does for ssh://host/~user/path
	}
	// ParseURL admits no quote, so this is one word to any shell.
	if err := session.Start(fmt.Sprintf("git-upload-pack '%s'", path)); err != nil {
		return unavailable("git-upload-pack: %w", err)
	}
	s.remote = session
	s.greeting, err = s.greet(s.stdout)
	return err
}

func (s *sshSession) list(_ context.Context, prefixes []string) ([]ref, error) {
	if s.version != 2 {
		return s.refs, nil
	}
	if _, err := s.stdin.Write(lsRefsRequest(s.greeting, prefixes)); err != nil {
		return nil, s.explain(err)
	}
	refs, err := s.readRefs(s.stdout)
	return refs, s.explain(err)
}

func (s *sshSession) fetch(_ context.Context, wants, haves []plumbing.Hash) (io.Reader, error) {
	if _, err := s.stdin.Write(fetchRequest(s.greeting, wants, haves)); err != nil {
		return nil, s.explain(err)
	}
	r, err := s.readPack(s.greeting, s.stdout)
	return r, s.explain(err)
}

// explain adds what the remote command said on its way out.
func (s *sshSession) explain(err error) error {
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if words := remoteText(s.lastWords()); words != "" {
		return unavailable("the server refuses: %q", words)
	}
	return err
}

// partingWait is how long a command that has closed its output may take to end: what
// it says goes another way and may come later.
const partingWait = 2 * time.Second

// lastWords returns what the remote command wrote to stderr by its end.
func (s *sshSession) lastWords() []byte {
	if s.remote == nil {
		return s.stderr.Bytes()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.remote.Wait() // that it failed is known
	}()
	select {
	case <-ended:
	case <-time.After(partingWait):
	}
	return s.stderr.Bytes()
}

func (s *sshSession) close() {
	if s.stdin != nil {
		// A flush says that nothing more is wanted; the server may be gone.
		// A server that does not read it is cut off with the context.
		_, _ = io.WriteString(s.stdin, flush)
	}
	s.stop()
	closeQuietly(s.conn)
	if s.client != nil {
		_ = s.client.Wait() // reports the closing
	}
}

// boundedBuffer keeps the first bytes written and swallows the rest.
type boundedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf.Write(p[:min(len(p), maxStderr-b.buf.Len())])
	return len(p), nil
}

// Bytes returns a copy of what was kept.
func (b *boundedBuffer) Bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.buf.Bytes())
}
