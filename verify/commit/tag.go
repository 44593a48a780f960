package commit

import (
	"bytes"

	"github.com/go-git/go-git/v5/plumbing"
)

// A tagObject is an annotated tag in the one form that this package accepts.
type tagObject struct {
	object
	target    plumbing.Hash
	kind      string
	name      string
	tagger    Identity
	signature string // empty when unsigned
	signed    []byte // the bytes that were signed
}

// parseTag accepts object, type, tag, tagger and at most one signature, which
// Git puts at the end of a tag's message rather than into a header.
func parseTag(raw []byte) (*tagObject, *ObjectError) {
	o, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	t := &tagObject{object: *o}
	next := headerReader{headers: o.headers}
	if t.target, err = next.hash("object"); err != nil {
		return nil, err
	}
	if t.kind, err = next.take("type"); err != nil {
		return nil, err
	}
	if t.name, err = next.take("tag"); err != nil {
		return nil, err
	}
	if t.tagger, err = next.identity("tagger"); err != nil {
		return nil, err
	}
	if name := next.peek(); name != "" {
		return nil, malformed("unexpected header %s in a tag", name)
	}
	return t, t.cutSignature(raw)
}

// cutSignature finds the one signature at the end of the message. Git takes the
// last that begins a line; with two of them the first would be part of what the
// second signs, so more than one is refused.
func (t *tagObject) cutSignature(raw []byte) *ObjectError {
	start := -1
	for at := len(raw) - len(t.message); at < len(raw); {
		if signatureKind(string(raw[at:])) != kindUnknown {
			if start >= 0 {
				return malformed("tag with two signatures")
			}
			start = at
		}
		end := bytes.IndexByte(raw[at:], '\n')
		if end < 0 {
			break
		}
		at += end + 1
	}
	t.signed = raw
	if start >= 0 {
		t.signature, t.signed = string(raw[start:]), raw[:start]
	}
	return nil
}

// body returns the message without the signature.
func (t *tagObject) body() []byte {
	return t.message[:len(t.message)-len(t.signature)]
}
