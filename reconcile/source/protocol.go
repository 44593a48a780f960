package source

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// agent is how gitgate introduces itself. Some forges answer only who looks
// like git.
const agent = "git/gitgate"

// tagPrefix is where signed rollbacks live; no other tag is read.
const tagPrefix = "refs/tags/gitgate-rollback/"

// A ref is a line of an advertisement.
type ref struct {
	name string
	hash plumbing.Hash
	// annotated says that an object of type tag is behind the name.
	annotated bool
}

// A greeting is what a server says first: what it can do and, in version 0, all
// its references.
type greeting struct {
	version      int
	capabilities map[string]string
	refs         []ref
}

// A peer speaks the protocol over one exchange of streams, under limits.
type peer struct {
	limits Limits
}

// greet reads a server's first message (gitprotocol-v2(5), Capability
// Advertisement; gitprotocol-pack(5), Reference Discovery).
func (p peer) greet(r io.Reader) (greeting, error) {
	packets := &packetReader{r: p.limitRefs(r)}
	kind, line, err := packets.next()
	if err != nil {
		return greeting{}, err
	}
	if bytes.HasPrefix(line, []byte("# service=")) { // smart HTTP; a flush follows
		if kind, _, err = packets.next(); err == nil && kind == flushPacket {
			kind, line, err = packets.next()
		}
		if err != nil {
			return greeting{}, err
		}
	}
	if kind == dataPacket && text(line) == "version 2" {
		return p.greetV2(packets)
	}
	if kind == dataPacket && text(line) == "version 1" {
		if kind, line, err = packets.next(); err != nil {
			return greeting{}, err
		}
	}
	return p.greetV0(packets, kind, line)
}

func (p peer) limitRefs(r io.Reader) io.Reader {
	return &limitedReader{r: r, left: int64(p.limits.Refs) * refBytes, what: "the list of references is too long"}
}

func text(line []byte) string { return strings.TrimSuffix(string(line), "\n") }

func (p peer) greetV2(packets *packetReader) (greeting, error) {
	g := greeting{version: 2, capabilities: map[string]string{}}
	for {
		kind, line, err := packets.next()
		if err != nil {
			return greeting{}, err
		}
		if kind != dataPacket {
			break
		}
		if len(g.capabilities) >= 256 {
			return greeting{}, limitExceeded("more than 256 capabilities")
		}
		name, value, _ := strings.Cut(text(line), "=")
		g.capabilities[name] = value
	}
	for _, command := range []string{"ls-refs", "fetch"} {
		if _, ok := g.capabilities[command]; !ok {
			return greeting{}, unavailable("the server lacks the command %s", command)
		}
	}
	return g, g.checkFormat()
}

// checkFormat refuses repositories whose objects have other than SHA-1 names.
func (g greeting) checkFormat() error {
	if f, ok := g.capabilities["object-format"]; ok && f != "sha1" {
		return unavailable("object format %q is not supported, only sha1 is", remoteText([]byte(f)))
	}
	return nil
}

func (p peer) greetV0(packets *packetReader, kind packetKind, line []byte) (greeting, error) {
	g := greeting{capabilities: map[string]string{}}
	for first := true; ; first = false {
		if kind != dataPacket {
			break
		}
		if first {
			var caps []byte
			line, caps, _ = bytes.Cut(line, []byte{0})
			for _, c := range strings.Fields(text(caps)) {
				name, value, _ := strings.Cut(c, "=")
				g.capabilities[name] = value
			}
		}
		if strings.HasPrefix(string(line), "shallow ") {
			return greeting{}, problemf(IncompleteHistory, "the server's repository is shallow")
		}
		if err := p.addRefV0(&g, text(line)); err != nil {
			return greeting{}, err
		}
		var err error
		if kind, line, err = packets.next(); err != nil {
			return greeting{}, err
		}
	}
	if _, ok := g.capabilities["side-band-64k"]; !ok {
		return greeting{}, unavailable("the server lacks the capability side-band-64k")
	}
	return g, g.checkFormat()
}

func (p peer) addRefV0(g *greeting, line string) error {
	name := line[min(len(line), 41):]
	if peeled, ok := strings.CutSuffix(name, "^{}"); ok {
		if peeled == "capabilities" { // an empty repository's placeholder
			return nil
		}
		if n := len(g.refs); n > 0 && g.refs[n-1].name == peeled {
			g.refs[n-1].annotated = true
		}
		return nil
	}
	r, err := parseRef(line)
	if err != nil {
		return err
	}
	return p.addRef(&g.refs, r)
}

// parseRef reads "<hash> <name>". A name that git would refuse is refused here,
// although none is ever used as a path (CVE-2026-71557).
func parseRef(line string) (ref, error) {
	hash, name, ok := strings.Cut(line, " ")
	h, isHash := parseHash(hash)
	if !ok || !isHash {
		return ref{}, malformed("the server lists a reference without a valid hash")
	}
	if name != "HEAD" && plumbing.ReferenceName(name).Validate() != nil {
		return ref{}, malformed("the server lists the invalid reference name %q", remoteText([]byte(name)))
	}
	return ref{name: name, hash: h}, nil
}

// parseHash is strict where plumbing.NewHash takes anything.
func parseHash(s string) (plumbing.Hash, bool) {
	h := plumbing.NewHash(s)
	return h, len(s) == 40 && h.String() == s
}

func (p peer) addRef(refs *[]ref, r ref) error {
	if len(*refs) >= p.limits.Refs {
		return limitExceeded("the server lists more than %d references", p.limits.Refs)
	}
	*refs = append(*refs, r)
	return nil
}

// lsRefsRequest asks for the references under the prefixes (gitprotocol-v2(5),
// ls-refs).
func lsRefsRequest(g greeting, prefixes []string) []byte {
	b := commandV2(g, "ls-refs")
	b = appendPacket(b, "peel")
	for _, prefix := range prefixes {
		b = appendPacket(b, "ref-prefix %s", prefix)
	}
	return append(b, flush...)
}

func commandV2(g greeting, command string) []byte {
	b := appendPacket(nil, "command=%s", command)
	if _, ok := g.capabilities["agent"]; ok {
		b = appendPacket(b, "agent=%s", agent)
	}
	if _, ok := g.capabilities["object-format"]; ok {
		b = appendPacket(b, "object-format=sha1")
	}
	return append(b, delimiter...)
}

// readRefs reads the answer to lsRefsRequest.
func (p peer) readRefs(r io.Reader) ([]ref, error) {
	packets := &packetReader{r: p.limitRefs(r)}
	var refs []ref
	for {
		kind, line, err := packets.next()
		if err != nil {
			return nil, err
		}
		if kind != dataPacket {
			return refs, nil
		}
		fields := strings.Split(text(line), " ")
		if len(fields) < 2 {
			return nil, malformed("the server lists a reference without a name")
		}
		if fields[0] == "unborn" {
			continue
		}
		parsed, err := parseRef(fields[0] + " " + fields[1])
		if err != nil {
			return nil, err
		}
		parsed.annotated = slices.ContainsFunc(fields[2:], func(f string) bool { return strings.HasPrefix(f, "peeled:") })
		if err := p.addRef(&refs, parsed); err != nil {
			return nil, err
		}
	}
}

// fetchRequest asks for the wants and all that they lead to, except for what
// the haves lead to. It says "done" at once: the haves are few and known
// beforehand, so there is nothing to negotiate. Thin packs are not asked for:
// each pack of the store stands alone.
func fetchRequest(g greeting, wants, haves []plumbing.Hash) []byte {
	var b []byte
	if g.version == 2 {
		b = appendPacket(commandV2(g, "fetch"), "ofs-delta")
		b = appendPacket(b, "no-progress")
	}
	for i, h := range wants {
		line := "want " + h.String()
		if i == 0 && g.version != 2 {
			line += capabilitiesV0(g)
		}
		b = appendPacket(b, "%s", line)
	}
	if g.version != 2 {
		b = append(b, flush...)
	}
	for _, h := range haves {
		b = appendPacket(b, "have %s", h)
	}
	b = appendPacket(b, "done")
	if g.version == 2 {
		b = append(b, flush...)
	}
	return b
}

func capabilitiesV0(g greeting) string {
	s := " side-band-64k"
	for _, c := range []string{"multi_ack_detailed", "ofs-delta", "no-progress"} {
		if _, ok := g.capabilities[c]; ok {
			s += " " + c
		}
	}
	if _, ok := g.capabilities["agent"]; ok {
		s += " agent=" + agent
	}
	return s
}

// readPack reads the answer to fetchRequest up to the pack and returns a reader
// of the pack.
func (p peer) readPack(g greeting, r io.Reader) (io.Reader, error) {
	// Packet headers and progress come on top of the pack.
	wire := p.limits.PackBytes + p.limits.PackBytes/64 + 1<<20
	packets := &packetReader{r: &limitedReader{r: r, left: wire, what: fmt.Sprintf("the pack is larger than %d bytes", p.limits.PackBytes)}}
	for {
		kind, line, err := packets.next()
		if err != nil {
			return nil, err
		}
		if kind != dataPacket {
			return nil, unavailable("the server sent no pack")
		}
		switch word, _, _ := strings.Cut(text(line), " "); {
		case g.version == 2 && word == "packfile":
			return &packReader{packets: packets}, nil
		case word == "shallow", word == "shallow-info":
			return nil, problemf(IncompleteHistory, "the server's repository is shallow")
		case g.version != 2 && (word == "NAK" || word == "ACK"):
		case g.version != 2 && len(line) > 0 && line[0] >= 1 && line[0] <= 3:
			first := &packReader{packets: packets}
			return first, first.accept(line)
		default:
			return nil, unavailable("the answer is not in Git's protocol: %q", remoteText(line))
		}
	}
}
