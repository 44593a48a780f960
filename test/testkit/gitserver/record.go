package gitserver

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// A Request is one HTTP request, or one SSH session, as the server saw it.
type Request struct {
	// Transport is "http" or "ssh".
	Transport string
	// Method is the HTTP method, or the command of an SSH session.
	Method string
	// Path is the URL's path, or the repository of an SSH session.
	Path string
	// User is the name that the client gave, whether or not it was let in.
	User string
	// Header is the HTTP request's header; nil for SSH.
	Header http.Header
	// Commands is what was asked for, in order: "info/refs", "ls-refs",
	// "fetch" (either protocol version), "git-receive-pack". An HTTP request
	// has one, an SSH session any number.
	Commands []string
	// Sent counts the bytes of the answer's body.
	Sent int64
}

// Requests returns what was asked of the server so far, in order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Request, len(s.requests))
	for i, r := range s.requests {
		out[i] = *r
		out[i].Commands = slices.Clone(r.Commands)
	}
	return out
}

// Count returns how often a command was asked for since the last reset.
func (s *Server) Count(command string) int {
	n := 0
	for _, r := range s.Requests() {
		for _, c := range r.Commands {
			if c == command {
				n++
			}
		}
	}
	return n
}

// ResetRequests forgets the requests recorded so far.
func (s *Server) ResetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

func (s *Server) record(r *Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
}

func (s *Server) countSent(r *Request, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Sent += int64(n)
}

func (s *Server) addCommand(r *Request, command string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Commands = append(r.Commands, command)
}

// packetLength reads the length of a pkt-line from its first four bytes; 0 for
// the special packets and for what is no pkt-line.
func packetLength(head []byte) int {
	n, err := strconv.ParseUint(string(head), 16, 16)
	if err != nil || n < 4 {
		return 0
	}
	return int(n)
}

// commandOfPacket names the command that a client's pkt-line starts; "" if it
// starts none.
func commandOfPacket(line []byte) string {
	if len(line) < 4 {
		return ""
	}
	text := strings.TrimSuffix(string(line[4:]), "\n")
	if command, ok := strings.CutPrefix(text, "command="); ok {
		return command
	}
	if strings.HasPrefix(text, "want ") {
		return "fetch"
	}
	return ""
}

// A sniffer recognises commands in the pkt-lines that a client writes. It gives
// up at the first byte that is no pkt-line, such as a pushed pack.
type sniffer struct {
	found   func(command string)
	pending []byte
	wants   bool
	stopped bool
}

func (s *sniffer) Write(p []byte) (int, error) {
	if s.stopped {
		return len(p), nil
	}
	s.pending = append(s.pending, p...)
	for len(s.pending) >= 4 {
		if _, err := strconv.ParseUint(string(s.pending[:4]), 16, 16); err != nil {
			s.stopped = true
			break
		}
		n := max(packetLength(s.pending[:4]), 4)
		if len(s.pending) < n {
			break
		}
		want := strings.HasPrefix(string(s.pending[4:n]), "want ")
		if c := commandOfPacket(s.pending[:n]); c != "" && !(want && s.wants) {
			s.found(c)
			s.wants = true // the wants of one request, in either version, are one fetch
		}
		s.pending = s.pending[n:]
	}
	return len(p), nil
}
