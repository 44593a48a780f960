package gitserver

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// A Script is a Git server that says what it is told, over smart HTTP: the
// advertisement and the pack of a hostile or broken server. Use it as
// [Options.Handler].
type Script struct {
	// V0 speaks version 0 of the protocol rather than 2.
	V0 bool
	// Capabilities replace the usual ones.
	Capabilities []string
	// Refs are advertised as they are.
	Refs []ScriptRef
	// Shallow lists commits that are declared to have no parents.
	Shallow []string
	// Pack is the answer to a fetch.
	Pack []byte
	// RawRefs and RawFetch write the answers to ls-refs and fetch in place of
	// Refs and Pack.
	RawRefs, RawFetch func(io.Writer)
}

// A ScriptRef is a line of an advertisement.
type ScriptRef struct {
	Name, Hash, Peeled string
}

// ServeHTTP answers a smart HTTP request.
func (s *Script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/info/refs"):
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		WritePackets(w, "# service=git-upload-pack\n", Flush)
		if s.V0 {
			s.advertiseV0(w)
			return
		}
		WritePackets(w, "version 2\n")
		for _, c := range s.capabilities("ls-refs=unborn", "fetch=shallow", "object-format=sha1") {
			WritePackets(w, c+"\n")
		}
		WritePackets(w, Flush)
	case strings.HasSuffix(r.URL.Path, "/git-upload-pack"):
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		if strings.Contains(string(body), "command=ls-refs") {
			s.lsRefs(w)
			return
		}
		s.fetch(w)
	default:
		http.NotFound(w, r)
	}
}

func (s *Script) capabilities(usual ...string) []string {
	if s.Capabilities != nil {
		return s.Capabilities
	}
	return usual
}

func (s *Script) lsRefs(w io.Writer) {
	if s.RawRefs != nil {
		s.RawRefs(w)
		return
	}
	for _, ref := range s.Refs {
		line := ref.Hash + " " + ref.Name
		if ref.Peeled != "" {
			line += " peeled:" + ref.Peeled
		}
		WritePackets(w, line+"\n")
	}
	WritePackets(w, Flush)
}

func (s *Script) advertiseV0(w io.Writer) {
	if s.RawRefs != nil {
		s.RawRefs(w)
		return
	}
	caps := "\x00" + strings.Join(s.capabilities("side-band-64k", "ofs-delta", "object-format=sha1"), " ")
	for _, ref := range s.Refs {
		WritePackets(w, ref.Hash+" "+ref.Name+caps+"\n")
		caps = ""
		if ref.Peeled != "" {
			WritePackets(w, ref.Peeled+" "+ref.Name+"^{}\n")
		}
	}
	for _, h := range s.Shallow {
		WritePackets(w, "shallow "+h+"\n")
	}
	WritePackets(w, Flush)
}

func (s *Script) fetch(w io.Writer) {
	if s.RawFetch != nil {
		s.RawFetch(w)
		return
	}
	switch {
	case s.V0:
		WritePackets(w, "NAK\n")
	case len(s.Shallow) > 0:
		WritePackets(w, "shallow-info\n")
		for _, h := range s.Shallow {
			WritePackets(w, "shallow "+h+"\n")
		}
		WritePackets(w, Delimiter, "packfile\n")
	default:
		WritePackets(w, "packfile\n")
	}
	WriteSideband(w, 1, s.Pack)
	WritePackets(w, Flush)
}

// The special packets, for [WritePackets].
const (
	Flush     = "\x000000"
	Delimiter = "\x000001"
)

// WritePackets writes pkt-lines (gitprotocol-common(5)). A failure to write is
// left to the connection to tell.
func WritePackets(w io.Writer, lines ...string) {
	for _, line := range lines {
		if line == Flush || line == Delimiter {
			_, _ = io.WriteString(w, line[1:])
			continue
		}
		_, _ = fmt.Fprintf(w, "%04x%s", len(line)+4, line)
	}
}

// WriteSideband writes data on a band, in packets of the largest size.
func WriteSideband(w io.Writer, band byte, data []byte) {
	for len(data) > 0 {
		n := min(len(data), 65515)
		WritePackets(w, string(band)+string(data[:n]))
		data = data[n:]
	}
}
