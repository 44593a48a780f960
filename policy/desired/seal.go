package desired

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"maps"
)

// A Sealer replaces the values of Secrets by keyed digests, so that they can be
// compared but neither read nor guessed. The key lives and dies with the Sealer;
// the zero value is not usable.
type Sealer struct{ key [32]byte }

// NewSealer returns a Sealer with a random key.
func NewSealer() *Sealer {
	var s Sealer
	_, _ = rand.Read(s.key[:]) // never fails, see crypto/rand
	return &s
}

// Seal returns the Secret, normalised, with digests in place of its values. The
// copy of the manifest that kubectl apply leaves in an annotation is replaced
// too. The argument is not changed.
func (s *Sealer) Seal(secret map[string]any) map[string]any {
	out := maps.Clone(secret)
	for _, field := range []string{"data", "stringData"} {
		if m, ok := out[field].(map[string]any); ok {
			out[field] = s.values(field, m)
		}
	}
	if meta, ok := out["metadata"].(map[string]any); ok {
		if a, ok := meta["annotations"].(map[string]any); ok && a[lastApplied] != nil {
			meta, a = maps.Clone(meta), maps.Clone(a)
			a[lastApplied] = s.digest(lastApplied, a[lastApplied])
			meta["annotations"], out["metadata"] = a, meta
		}
	}
	return out
}

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

func (s *Sealer) values(field string, m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = s.digest(field+"\x00"+k, v)
	}
	return out
}

// digest is bound to the place, so that equal values of two keys do not show.
func (s *Sealer) digest(place string, v any) string {
	text, _ := v.(string)
	h := hmac.New(sha256.New, s.key[:])
	h.Write([]byte(place + "\x00" + text))
	return "sealed:" + hex.EncodeToString(h.Sum(nil))
}
