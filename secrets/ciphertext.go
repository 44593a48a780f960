package secrets

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// ciphertextPrefix starts every value that SOPS encrypted, and everything that
// claims to be one.
const ciphertextPrefix = "ENC[AES256_GCM,"

// The value format of SOPS, anchored at both ends: sops itself ignores what
// follows the bracket.
var ciphertextForm = regexp.MustCompile(
	`\AENC\[AES256_GCM,data:([A-Za-z0-9+/=]+),iv:([A-Za-z0-9+/=]+),tag:([A-Za-z0-9+/=]+),type:(str|int|float|bytes|bool|time|comment)\]\z`)

var errNotCiphertext = errors.New("not a ciphertext of SOPS")

// A sealed is the parsed form of a ciphertext.
type sealed struct {
	data, iv, tag []byte
	kind          string
}

func parseCiphertext(s string) (*sealed, error) {
	m := ciphertextForm.FindStringSubmatch(s)
	if m == nil {
		return nil, errNotCiphertext
	}
	c := &sealed{kind: m[4]}
	for i, dst := range []*[]byte{&c.data, &c.iv, &c.tag} {
		b, err := base64.StdEncoding.Strict().DecodeString(m[i+1])
		if err != nil {
			return nil, errNotCiphertext
		}
		*dst = b
	}
	if len(c.tag) != aes.BlockSize || len(c.iv) < 12 || len(c.iv) > 32 {
		return nil, errNotCiphertext
	}
	return c, nil
}

func isCiphertext(s string) bool {
	if !strings.HasPrefix(s, ciphertextPrefix) {
		return false
	}
	_, err := parseCiphertext(s)
	return err == nil
}

// open authenticates and decrypts under a data key and the additional data that
// SOPS binds a value to.
func (c *sealed) open(key []byte, additionalData string) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCMWithNonceSize(block, len(c.iv))
	if err != nil {
		return nil, err
	}
	return gcm.Open(nil, c.iv, slices.Concat(c.data, c.tag), []byte(additionalData))
}

// walkLeaves calls visit for every string below v with its path. A path is only
// valid during the call.
func walkLeaves(v any, at []any, visit func(at []any, text string)) {
	switch v := v.(type) {
	case string:
		visit(at, v)
	case []any:
		for i, item := range v {
			walkLeaves(item, append(at, i), visit)
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			walkLeaves(v[k], append(at, k), visit)
		}
	}
}

// additionalData is what SOPS binds the value at a path to: the keys that lead
// to it. Indices are left out, as SOPS does.
func additionalData(at []any) string {
	var b strings.Builder
	for _, step := range at {
		if key, ok := step.(string); ok {
			b.WriteString(key + ":")
		}
	}
	return b.String()
}
