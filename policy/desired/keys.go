package desired

import (
	"fmt"
	"strings"
)

// listKeys are the fields that tell items of a list apart, in the order in which
// they are tried. They serve to name a place and to find the other half of an
// item; since order counts anyway, nothing rests on them.
var listKeys = [][]string{
	{"name"}, {"containerPort", "protocol"}, {"port", "protocol"}, {"port"}, {"mountPath"}, {"devicePath"},
	{"type"}, {"uid"}, {"ip"}, {"key"}, {"topologyKey", "whenUnsatisfiable"},
}

// keyOf returns the fields that tell the items of both lists apart, or nil.
func keyOf(a, b []any) []string {
	if !allObjects(a) || !allObjects(b) || len(a)+len(b) == 0 {
		return nil
	}
	for _, key := range listKeys {
		if unique(key, a) && unique(key, b) {
			return key
		}
	}
	return nil
}

func allObjects(l []any) bool {
	for _, v := range l {
		if _, ok := v.(map[string]any); !ok {
			return false
		}
	}
	return true
}

func unique(key []string, l []any) bool {
	var seen map[string]bool
	for i, v := range l {
		m := v.(map[string]any)
		for _, k := range key {
			switch m[k].(type) {
			case string, int64, float64, int:
			default:
				return false
			}
		}
		if len(l) == 1 {
			return true
		}
		if i == 0 {
			seen = make(map[string]bool, len(l))
		}
		text := keyText(key, v)
		if seen[text] {
			return false
		}
		seen[text] = true
	}
	return true
}

// keyText renders the key of an item, as in name=app.
func keyText(key []string, item any) string {
	m, _ := item.(map[string]any)
	if len(key) == 1 {
		if s, ok := m[key[0]].(string); ok {
			return key[0] + "=" + s
		}
	}
	var b strings.Builder
	for i, k := range key {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s=%v", k, m[k])
	}
	return b.String()
}

// withoutTokens returns the list without the items that n leaves to others.
func withoutTokens(n *node, l []any) []any {
	if n == nil || len(n.tokens) == 0 {
		return l
	}
	out := make([]any, 0, len(l))
	for _, v := range l {
		if s, ok := v.(string); !ok || !contains(n.tokens, s) {
			out = append(out, v)
		}
	}
	return out
}

func contains(l []string, s string) bool {
	for _, v := range l {
		if v == s {
			return true
		}
	}
	return false
}
