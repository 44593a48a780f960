package secrets

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/getsops/sops/v3"
)

// A bound is a ciphertext and what SOPS binds it to: the keys on the way to it.
type bound struct {
	text           string
	additionalData string
}

// A leaf is a ciphertext at its place in a file.
type leaf struct {
	document int
	bound
}

// A plain is what a ciphertext hides.
type plain struct {
	// text holds strings and byte strings, so that they can be overwritten.
	text []byte
	// value holds values of the other types: bool, int64, float64, and string for
	// times. It is nil for text and comments.
	value   any
	comment bool
}

// A recorder decrypts for sops and remembers what became of each ciphertext.
type recorder struct {
	ctx    context.Context
	values map[bound]plain
	failed *bound
}

var _ sops.Cipher = (*recorder)(nil)

var errReadOnly = errors.New("nothing is encrypted here")

// Encrypt refuses.
func (*recorder) Encrypt(any, []byte, string) (string, error) { return "", errReadOnly }

// Decrypt decrypts one value, in the terms of sops: an empty string stands for
// itself, and the type in a ciphertext says what to make of the plaintext. That
// type is not authenticated.
func (r *recorder) Decrypt(ciphertext string, key []byte, additionalData string) (any, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	if ciphertext == "" {
		return "", nil
	}
	at := bound{ciphertext, additionalData}
	c, err := parseCiphertext(ciphertext)
	if err != nil {
		r.failed = &at
		return nil, err
	}
	text, err := c.open(key, additionalData)
	if err != nil {
		r.failed = &at
		return nil, err
	}
	v, forMAC, err := c.typed(text)
	if err != nil {
		clear(text)
		r.failed = &at
		return nil, errNotCiphertext // the other error quotes the plaintext
	}
	r.values[at] = v
	return forMAC, nil
}

// typed returns the plaintext, and the form of it over which sops makes the MAC.
func (c *sealed) typed(text []byte) (v plain, forMAC any, err error) {
	switch c.kind {
	case "str", "bytes":
		return plain{text: text}, text, nil
	case "comment":
		return plain{comment: true}, sops.Comment{}, nil
	case "int":
		var n int
		n, err = strconv.Atoi(string(text))
		v, forMAC = plain{value: int64(n)}, n
	case "float":
		var x float64
		x, err = strconv.ParseFloat(string(text), 64)
		v, forMAC = plain{value: x}, x
	case "bool":
		var b bool
		b, err = strconv.ParseBool(string(text))
		v, forMAC = plain{value: b}, b
	case "time":
		var t time.Time
		err = t.UnmarshalText(text)
		v, forMAC = plain{value: t.Format(time.RFC3339Nano)}, t
	default:
		err = errNotCiphertext
	}
	return v, forMAC, err
}

func (r *recorder) wipe() {
	for _, v := range r.values {
		clear(v.text)
	}
}
