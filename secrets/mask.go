package secrets

import "strings"

// Mask is what [Masked] puts in the place of a secret value.
const Mask = "***"

// lastApplied is where kubectl keeps a whole copy of an object.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// Masked returns a copy of a rendered object that is fit for policies, diffs and
// logs: each value of a Secret, and each ciphertext wherever it stands, is
// replaced by [Mask]; keys and structure stay. The stringData of a Secret is
// folded into its data, as the API server does, and the metadata of SOPS, which
// is never applied, is left out. The object itself is not changed.
func Masked(object map[string]any) map[string]any {
	out := make(map[string]any, len(object))
	for k, v := range object {
		if k == metadataKey && isMetadata(v) {
			continue
		}
		out[k] = maskCiphertext(v)
	}
	if items, ok := object["items"].([]any); ok {
		out["items"] = maskItems(items)
	}
	if isSecret(object) {
		maskSecret(out)
	}
	return out
}

func maskItems(items []any) []any {
	masked := make([]any, 0, len(items))
	for _, item := range items {
		if object, ok := item.(map[string]any); ok {
			masked = append(masked, Masked(object))
			continue
		}
		masked = append(masked, maskCiphertext(item))
	}
	return masked
}

// isMetadata tells the metadata of SOPS from a field that is merely called sops.
func isMetadata(v any) bool {
	m, ok := v.(map[string]any)
	return ok && m["mac"] != nil && m["lastmodified"] != nil
}

func maskCiphertext(v any) any {
	switch v := v.(type) {
	case string:
		if strings.Contains(v, ciphertextPrefix) {
			return Mask
		}
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = maskCiphertext(item)
		}
		return list
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, item := range v {
			m[k] = maskCiphertext(item)
		}
		return m
	}
	return v
}

func maskSecret(secret map[string]any) {
	data := map[string]any{}
	present := false
	for _, field := range secretFields {
		v, ok := secret[field]
		present = present || ok && v != nil
		delete(secret, field)
		values, isMap := v.(map[string]any)
		if v != nil && !isMap {
			secret["data"] = Mask // invalid, and still nobody's business
			return
		}
		for k := range values {
			data[k] = Mask
		}
	}
	if present {
		secret["data"] = data
	}
	metadata, _ := secret["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	if _, ok := annotations[lastApplied]; ok {
		annotations[lastApplied] = Mask
	}
}
