package source

import (
	"errors"
	"fmt"
	"io"
	"strconv"
)

// A packetKind tells the special packets of gitprotocol-v2(5) from data.
type packetKind int

const (
	dataPacket packetKind = iota
	flushPacket
	delimiterPacket
	responseEndPacket
)

// maxPacket is the largest pkt-line, its length included
// (gitprotocol-common(5)).
const maxPacket = 65520

// A packetReader reads pkt-lines. Its buffer is used again by each read.
type packetReader struct {
	r   io.Reader
	buf [maxPacket]byte
}

// next reads one packet. The end of the stream is an error: each message of the
// protocol ends with a special packet.
func (p *packetReader) next() (packetKind, []byte, error) {
	if _, err := io.ReadFull(p.r, p.buf[:4]); err != nil {
		return 0, nil, cutOff(err)
	}
	n, err := strconv.ParseUint(string(p.buf[:4]), 16, 16)
	if err != nil || n == 3 || n > maxPacket {
		return 0, nil, unavailable("the answer is not in Git's protocol")
	}
	if n < 4 {
		return [...]packetKind{flushPacket, delimiterPacket, responseEndPacket}[n], nil, nil
	}
	data := p.buf[4:n]
	if _, err := io.ReadFull(p.r, data); err != nil {
		return 0, nil, cutOff(err)
	}
	if len(data) >= 4 && string(data[:4]) == "ERR " {
		return 0, nil, unavailable("the server refuses: %q", remoteText(data[4:]))
	}
	return dataPacket, data, nil
}

// cutOff names the end of a stream for what it is.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return unavailable("the connection ended early: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// appendPacket appends a text line as a pkt-line.
func appendPacket(b []byte, format string, args ...any) []byte {
	line := fmt.Sprintf(format, args...) + "\n"
	return fmt.Appendf(b, "%04x%s", len(line)+4, line)
}

const (
	flush     = "0000"
	delimiter = "0001"
)

// A limitedReader fails once more than left bytes were read.
type limitedReader struct {
	r    io.Reader
	left int64
	what string
}

func (l *limitedReader) Read(p []byte) (int, error) {
	if l.left <= 0 {
		// One byte more tells a stream that ends at the limit from one
		// that does not.
		var one [1]byte
		n, err := l.r.Read(one[:])
		if n > 0 {
			return 0, limitExceeded("%s", l.what)
		}
		return 0, err
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

// A packReader yields the pack that a fetch answers with: band 1 of its
// side-band (gitprotocol-pack(5)).
type packReader struct {
	packets *packetReader
	pending []byte
	done    bool
}

func (s *packReader) Read(p []byte) (int, error) {
	for len(s.pending) == 0 {
		if s.done {
			return 0, io.EOF
		}
		kind, data, err := s.packets.next()
		switch {
		case err != nil:
			return 0, err
		case kind != dataPacket:
			s.done = true
		default:
			if err := s.accept(data); err != nil {
				return 0, err
			}
		}
	}
	n := copy(p, s.pending)
	s.pending = s.pending[n:]
	return n, nil
}

// accept takes the data of one side-band packet.
func (s *packReader) accept(data []byte) error {
	switch {
	case len(data) == 0:
		return unavailable("the answer is not in Git's protocol: empty side-band packet")
	case data[0] == 1:
		s.pending = data[1:]
	case data[0] == 3:
		return unavailable("the server failed: %q", remoteText(data[1:]))
	case data[0] != 2: // 2 is progress, for people
		return unavailable("the answer is not in Git's protocol: side-band %d", data[0])
	}
	return nil
}
