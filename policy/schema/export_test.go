package schema

import "k8s.io/apimachinery/pkg/runtime/schema"

// Kinds lists the built-in kinds.
func Kinds() (out []schema.GroupVersionKind) {
	for gvk := range catalogue().exact {
		out = append(out, gvk)
	}
	return out
}
