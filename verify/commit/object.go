package commit

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// A header is one header of a raw object. Value holds its lines joined by \n,
// without the space that marks a continuation.
type header struct{ name, value string }

// An object is a commit or tag taken apart without loss: encode gives back the
// very bytes that were parsed.
type object struct {
	headers []header
	message []byte
}

// A commitObject is a commit in the one form that this package accepts.
type commitObject struct {
	object
	tree              plumbing.Hash
	parents           []plumbing.Hash
	author, committer Identity
	signature         string // empty when unsigned
	signatureHeader   string // gpgsig or gpgsig-sha256
}

// An Identity is an author, committer or tagger as the object names it. None of
// it is proven.
type Identity struct {
	Name, Email string
	When        time.Time
}

// encode is the inverse of parseObject.
func (o *object) encode(without string) []byte {
	var b bytes.Buffer
	for _, h := range o.headers {
		if h.name == without {
			continue
		}
		b.WriteString(h.name)
		for i, line := range strings.Split(h.value, "\n") {
			if i > 0 {
				b.WriteByte('\n')
			}
			b.WriteByte(' ')
			b.WriteString(line)
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	b.Write(o.message)
	return b.Bytes()
}

// parseObject splits raw into headers and message. It refuses NUL anywhere and
// CR in headers: Git's own tools stop at the one and disagree on the other.
func parseObject(raw []byte) (*object, *ObjectError) {
	if i := bytes.IndexByte(raw, 0); i >= 0 {
		return nil, malformed("NUL byte at offset %d", i)
	}
	o := new(object)
	start := 0 // of the header that is being read; its name is not cut off yet
	for at := 0; ; {
		n := bytes.IndexByte(raw[at:], '\n')
		if n < 0 {
			return nil, malformed("header without end")
		}
		line := raw[at : at+n]
		if bytes.IndexByte(line, '\r') >= 0 {
			return nil, malformed("carriage return in header %d", len(o.headers)+1)
		}
		if len(line) > 0 && line[0] == ' ' {
			if at == 0 {
				return nil, malformed("first line is a continuation")
			}
			at += n + 1
			continue
		}
		if at > 0 {
			if err := o.add(raw[start : at-1]); err != nil {
				return nil, err
			}
		}
		start, at = at, at+n+1
		if len(line) == 0 {
			o.message = raw[at:]
			return o, nil
		}
	}
}

// add takes one header with its continuation lines, without the last newline.
func (o *object) add(text []byte) *ObjectError {
	name, value, ok := strings.Cut(string(text), " ")
	if !ok || !validHeaderName(name) {
		return malformed("header %d is not of the form «name value»: %.40q", len(o.headers)+1, text)
	}
	if len(o.headers) == maxHeaders {
		return malformed("more than %d headers", maxHeaders)
	}
	o.headers = append(o.headers, header{name, strings.ReplaceAll(value, "\n ", "\n")})
	return nil
}

// maxHeaders bounds parents, merge tags and all else in one object.
const maxHeaders = 256

func validHeaderName(name string) bool {
	if name == "" || len(name) > 64 {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == ':', c == '.':
		default:
			return false
		}
	}
	return true
}

// parseCommit accepts tree, parent*, author, committer, then encoding?, then
// mergetag and headers of other tools, then at most one signature as the last
// header: the form and order in which Git writes commits. No header but parent
// and mergetag may appear twice.
func parseCommit(raw []byte) (*commitObject, *ObjectError) {
	o, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	c := &commitObject{object: *o}
	next := headerReader{headers: o.headers}
	if c.tree, err = next.hash("tree"); err != nil {
		return nil, err
	}
	for next.peek() == "parent" {
		p, err := next.hash("parent")
		if err != nil {
			return nil, err
		}
		c.parents = append(c.parents, p)
	}
	if c.author, err = next.identity("author"); err != nil {
		return nil, err
	}
	if c.committer, err = next.identity("committer"); err != nil {
		return nil, err
	}
	if err := c.trailer(next.headers); err != nil {
		return nil, err
	}
	return c, nil
}

// trailer judges what follows the committer.
func (c *commitObject) trailer(headers []header) *ObjectError {
	seen := map[string]bool{}
	for i, h := range headers {
		if c.signatureHeader != "" {
			if isSignatureHeader(h.name) {
				return malformed("second signature: %s after %s", h.name, c.signatureHeader)
			}
			return malformed("header %s after the signature", h.name)
		}
		switch {
		case h.name == "tree" || h.name == "parent" || h.name == "author" || h.name == "committer":
			return malformed("header %s twice or out of order", h.name)
		case seen[h.name] && h.name != "mergetag":
			return malformed("header %s twice", h.name)
		case h.name == "encoding" && i > 0:
			return malformed("header encoding out of order")
		case h.name == "encoding" && strings.Contains(h.value, "\n"):
			return malformed("header encoding has several lines")
		case isSignatureHeader(h.name):
			if strings.TrimSpace(h.value) == "" {
				return malformed("header %s is empty", h.name)
			}
			c.signatureHeader, c.signature = h.name, h.value
		}
		seen[h.name] = true
	}
	return nil
}

func isSignatureHeader(name string) bool { return strings.HasPrefix(strings.ToLower(name), "gpgsig") }

// payload returns the bytes that were signed: all but the signature header.
func (c *commitObject) payload() []byte { return c.encode(c.signatureHeader) }

// A headerReader takes headers off in their required order.
type headerReader struct{ headers []header }

func (r *headerReader) peek() string {
	if len(r.headers) == 0 {
		return ""
	}
	return r.headers[0].name
}

func (r *headerReader) take(name string) (string, *ObjectError) {
	if got := r.peek(); got != name {
		if got == "" {
			got = "the message"
		}
		return "", malformed("%s where header %s belongs", got, name)
	}
	v := r.headers[0].value
	if strings.Contains(v, "\n") {
		return "", malformed("header %s has several lines", name)
	}
	r.headers = r.headers[1:]
	return v, nil
}

func (r *headerReader) hash(name string) (plumbing.Hash, *ObjectError) {
	v, err := r.take(name)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if !isHash(v) {
		return plumbing.ZeroHash, malformed("header %s is not a SHA-1 hash in lower case: %.70q", name, v)
	}
	return plumbing.NewHash(v), nil
}

func (r *headerReader) identity(name string) (Identity, *ObjectError) {
	v, err := r.take(name)
	if err != nil {
		return Identity{}, err
	}
	id, ok := parseIdentity(v)
	if !ok {
		return Identity{}, malformed("header %s is not «name <email> seconds zone»: %.80q", name, v)
	}
	return id, nil
}

func isHash(s string) bool {
	if len(s) != 40 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// parseIdentity accepts exactly one pair of angle brackets: two readers that
// pick different ones would disagree on whose commit it is.
func parseIdentity(v string) (Identity, bool) {
	open, end := strings.IndexByte(v, '<'), strings.IndexByte(v, '>')
	if open < 0 || end < open || strings.Count(v, "<") != 1 || strings.Count(v, ">") != 1 {
		return Identity{}, false
	}
	if open > 0 && v[open-1] != ' ' {
		return Identity{}, false
	}
	seconds, zone, ok := strings.Cut(strings.TrimPrefix(v[end+1:], " "), " ")
	if !ok || !strings.HasPrefix(v[end+1:], " ") || len(seconds) > 12 || !digits(seconds) {
		return Identity{}, false
	}
	if len(zone) != 5 || (zone[0] != '+' && zone[0] != '-') || !digits(zone[1:]) {
		return Identity{}, false
	}
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return Identity{}, false
	}
	hours, _ := strconv.Atoi(zone[1:3])
	minutes, _ := strconv.Atoi(zone[3:])
	offset := hours*3600 + minutes*60
	if zone[0] == '-' {
		offset = -offset
	}
	return Identity{
		Name:  strings.TrimSuffix(v[:open], " "),
		Email: v[open+1 : end],
		When:  time.Unix(n, 0).In(time.FixedZone("", offset)),
	}, true
}

func digits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}
