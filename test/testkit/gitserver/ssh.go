package gitserver

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// handshakeTimeout bounds an SSH handshake.
const handshakeTimeout = 30 * time.Second

type sshServer struct {
	server    *Server
	listener  net.Listener
	config    *ssh.ServerConfig
	host      ssh.PublicKey
	clientKey []byte

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func startSSH(s *Server) (*sshServer, error) {
	_, hostKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	host, err := ssh.NewSignerFromKey(hostKey)
	if err != nil {
		return nil, err
	}
	clientPub, clientKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	client, err := ssh.NewPublicKey(clientPub)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(clientKey, "gitserver client")
	if err != nil {
		return nil, err
	}
	allowed := append(slices.Clone(s.opts.AuthorizedKeys), client)
	srv := &sshServer{server: s, host: host.PublicKey(), clientKey: pem.EncodeToMemory(block), conns: map[net.Conn]struct{}{}}
	srv.config = &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			for _, k := range allowed {
				if string(k.Marshal()) == string(key.Marshal()) {
					return nil, nil
				}
			}
			return nil, errors.New("key is not authorised")
		},
	}
	srv.config.AddHostKey(host)
	if srv.listener, err = listen(); err != nil {
		return nil, err
	}
	s.running.Add(1)
	go srv.accept()
	return srv, nil
}

// SSHURL is the SSH URL of a repository; empty without SSH.
func (s *Server) SSHURL(repo string) string {
	if s.ssh == nil {
		return ""
	}
	return "ssh://git@" + s.ssh.listener.Addr().String() + "/" + repo
}

// KnownHosts is the known_hosts line of the server's host key; nil without SSH.
func (s *Server) KnownHosts() []byte {
	if s.ssh == nil {
		return nil
	}
	return []byte(knownhosts.Line([]string{s.ssh.listener.Addr().String()}, s.ssh.host) + "\n")
}

// ClientKey is an unencrypted OpenSSH private key that may log in; nil without
// SSH.
func (s *Server) ClientKey() []byte {
	if s.ssh == nil {
		return nil
	}
	return s.ssh.clientKey
}

func (s *sshServer) accept() {
	defer s.server.running.Done()
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return // closed
		}
		s.mu.Lock()
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		s.server.running.Add(1)
		go func() {
			defer s.server.running.Done()
			s.serve(conn)
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		}()
	}
}

func (s *sshServer) close() error {
	err := s.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close() // already closed by the client, perhaps
	}
	return err
}

func (s *sshServer) serve(conn net.Conn) {
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(handshakeTimeout)) != nil {
		return
	}
	sc, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil || conn.SetDeadline(time.Time{}) != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	var sessions sync.WaitGroup
	defer sessions.Wait()
	for nc := range channels {
		if nc.ChannelType() != "session" {
			_ = nc.Reject(ssh.UnknownChannelType, "only sessions") // the connection is gone otherwise
			continue
		}
		ch, reqs, err := nc.Accept()
		if err != nil {
			return
		}
		sessions.Add(1)
		go func() {
			defer sessions.Done()
			s.session(conn, sc.User(), ch, reqs)
		}()
	}
}

// session runs the one command that a client asks for.
func (s *sshServer) session(conn net.Conn, user string, ch ssh.Channel, reqs <-chan *ssh.Request) {
	defer ch.Close()
	var protocol string
	for req := range reqs {
		switch req.Type {
		case "env":
			var kv struct{ Name, Value string }
			ok := ssh.Unmarshal(req.Payload, &kv) == nil && kv.Name == "GIT_PROTOCOL" && !s.server.opts.ProtocolV0
			if ok {
				protocol = kv.Value
			}
			_ = req.Reply(ok, nil)
		case "exec":
			var cmd struct{ Line string }
			if err := ssh.Unmarshal(req.Payload, &cmd); err != nil {
				_ = req.Reply(false, nil)
				return
			}
			_ = req.Reply(true, nil)
			go ssh.DiscardRequests(reqs)
			status, err := s.run(conn, user, protocol, cmd.Line, ch)
			if err != nil {
				_, _ = fmt.Fprintln(ch.Stderr(), err)
			}
			_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
			return
		default:
			_ = req.Reply(false, nil)
		}
	}
}

func (s *sshServer) run(conn net.Conn, user, protocol, line string, ch ssh.Channel) (uint32, error) {
	service, repo, ok := strings.Cut(line, " ")
	repo = strings.Trim(repo, "'")
	req := &Request{Transport: "ssh", Method: service, Path: repo, User: user}
	s.server.record(req)
	local := strings.TrimPrefix(repo, "/")
	switch {
	case !ok || !filepath.IsLocal(local):
		return 128, errors.New("no such repository")
	case service == "git-receive-pack" && !s.server.opts.AllowPush:
		return 128, errors.New("pushing is not allowed")
	case service != "git-upload-pack" && service != "git-receive-pack":
		return 127, errors.New("command not allowed")
	}
	dir := filepath.Join(s.server.opts.Root, local)
	if _, err := os.Stat(dir); err != nil {
		return 128, errors.New("no such repository")
	}
	if service == "git-receive-pack" {
		s.server.addCommand(req, service)
	}
	fault := s.server.due("")
	cmd := exec.CommandContext(s.server.ctx, s.server.git, strings.TrimPrefix(service, "git-"), dir)
	cmd.Env = append(s.server.gitEnv(), "GIT_PROTOCOL="+protocol)
	cmd.Stdin = io.TeeReader(ch, &sniffer{found: func(c string) { s.server.addCommand(req, c) }})
	cmd.Stdout = &faultyChannel{server: s.server, conn: conn, ch: ch, fault: fault, req: req}
	cmd.Stderr = ch.Stderr()
	cmd.WaitDelay = time.Second // the client may keep its end of stdin open
	var exit *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exit) {
		return uint32(max(exit.ExitCode(), 1)), nil
	} else if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return 1, nil
	}
	return 0, nil
}

// faultyChannel applies a fault to an SSH session's output.
type faultyChannel struct {
	server *Server
	conn   net.Conn
	ch     io.Writer
	fault  *Fault
	req    *Request
	total  int64
}

func (c *faultyChannel) Write(p []byte) (int, error) {
	ctx, stop := context.WithCancel(c.server.ctx)
	defer stop()
	n, err := throttle(ctx, c.fault, c.total, p, c.ch.Write)
	c.total += int64(n)
	c.server.countSent(c.req, n)
	if errors.Is(err, errCut) {
		_ = c.conn.Close() // that is the fault
	}
	return n, err
}
