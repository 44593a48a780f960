package image

//lint:file-ignore SA1019 the check is minimal and still the one that cosign makes

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/sigstore/sigstore/pkg/cryptoutils/goodkey"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

// A rule is a compiled [Rule].
type rule struct {
	label       string // rules[0]
	globs       []glob
	static      Action
	authorities []*authority
	// attestations are what it asks for beside a signature.
	attestations []asked
}

// match returns the text of the glob that matches, or false.
func (r *rule) match(repository string) (string, bool) {
	for _, g := range r.globs {
		if g.match(repository) {
			return g.text, true
		}
	}
	return "", false
}

// An authority is a compiled [Authority].
type authority struct {
	name        string
	fingerprint string
	key         anyVerifier
}

// compileRules reports everything that is wrong with the rules at once.
func compileRules(rules []Rule) ([]*rule, error) {
	var compiled []*rule
	var problems []error
	for i, in := range rules {
		out := &rule{label: fmt.Sprintf("rules[%d]", i), static: in.Static}
		fail := func(format string, args ...any) {
			problems = append(problems, fmt.Errorf(out.label+format, args...))
		}
		if len(in.Match) == 0 {
			fail(".match: empty: say which repositories the rule is for")
		}
		for j, text := range in.Match {
			g, err := compileGlob(text)
			if err != nil {
				fail(".match[%d]: %s: %w", j, quote(text), err)
			}
			out.globs = append(out.globs, g)
		}
		switch {
		case in.Static != "" && in.Static != Allow && in.Static != Deny:
			fail(".static: %s: want Allow or Deny", quote(string(in.Static)))
		case in.Static == "" && len(in.Authorities) == 0:
			fail(": neither authorities nor static: say whose signature counts")
		case in.Static != "" && len(in.Authorities) > 0:
			fail(": both authorities and static: choose one")
		}
		for j, a := range in.Authorities {
			authority, err := compileAuthority(a, j, out.authorities)
			if err != nil {
				fail(".authorities[%d]%w", j, err)
				continue
			}
			out.authorities = append(out.authorities, authority)
		}
		if err := compileAttestations(in, out); err != nil {
			fail("%w", err)
		}
		compiled = append(compiled, out)
	}
	return compiled, errors.Join(problems...)
}

func compileAuthority(in Authority, index int, others []*authority) (*authority, error) {
	out := &authority{name: in.Name}
	if out.name == "" {
		out.name = fmt.Sprintf("authority-%d", index)
	}
	for _, o := range others {
		if o.name == out.name {
			return nil, fmt.Errorf(".name: %s stands twice in the rule", quote(out.name))
		}
	}
	switch {
	case in.Keyless != nil:
		return nil, errors.New(".keyless: not supported by this version: use a key")
	case in.Key == nil:
		return nil, errors.New(".key: missing")
	}
	public, der, err := parseKey(in.Key.Data)
	if err != nil {
		return nil, fmt.Errorf(".key.data: %w", err)
	}
	out.fingerprint = fmt.Sprintf("sha256:%x", sha256.Sum256(der))
	out.key, err = loadVerifiers(public, in.Key.HashAlgorithm)
	if err != nil {
		return nil, fmt.Errorf(".key.hashAlgorithm: %w", err)
	}
	return out, nil
}

// maxKey bounds the PEM text of a key, in bytes.
const maxKey = 64 << 10

// parseKey reads exactly one public key. Its errors never repeat the input,
// for somebody may have pasted a private key.
func parseKey(text string) (crypto.PublicKey, []byte, error) {
	if len(text) > maxKey {
		return nil, nil, errors.New("larger than 64 KiB")
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil {
		return nil, nil, errors.New("not PEM: paste the whole of cosign.pub")
	}
	if block.Type != "PUBLIC KEY" {
		return nil, nil, errors.New("the PEM block is not a PUBLIC KEY: paste cosign.pub, never a private key")
	}
	if strings.TrimSpace(string(rest)) != "" {
		return nil, nil, errors.New("more than one PEM block: give each key an authority of its own")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, nil, errors.New("the key cannot be parsed")
	}
	if err := goodkey.ValidatePubKey(public); err != nil {
		return nil, nil, fmt.Errorf("the key is too weak or of an unknown kind: %w", err)
	}
	return public, block.Bytes, nil
}

var hashes = map[string]crypto.Hash{"sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512}

// loadVerifiers lists the schemes in which the key may have signed. Ed25519 and
// its prehashed variant have separate domains (RFC 8032, section 5.1), so
// taking both gives nothing away; cosign has used either.
func loadVerifiers(public crypto.PublicKey, algorithm string) (anyVerifier, error) {
	var use []crypto.Hash
	if algorithm != "" {
		h, ok := hashes[strings.ToLower(algorithm)]
		if !ok {
			return nil, fmt.Errorf("%s: want sha256, sha384 or sha512", quote(algorithm))
		}
		use = []crypto.Hash{h}
	} else {
		use = defaultHashes(public)
	}
	var all anyVerifier
	for _, h := range use {
		v, err := signature.LoadVerifierWithOpts(public, options.WithHash(h))
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	if _, ok := all[0].(*signature.ED25519Verifier); ok {
		v, err := signature.LoadVerifierWithOpts(public, options.WithED25519ph())
		if err != nil {
			return nil, err
		}
		all = anyVerifier{all[0], v}
	}
	return all, nil
}

// defaultHashes is sha256, which cosign used for every key, and the hash of the
// curve's or modulus' strength, which it uses now.
func defaultHashes(public crypto.PublicKey) []crypto.Hash {
	use := []crypto.Hash{crypto.SHA256}
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P384():
			use = append(use, crypto.SHA384)
		case elliptic.P521():
			use = append(use, crypto.SHA512)
		}
	case *rsa.PublicKey:
		// PKCS #1 v1.5 with SHA-256 at every size.
	}
	return use
}
