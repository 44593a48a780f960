package apply

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// scopeTimeout bounds the question what the API server serves.
const scopeTimeout = 10 * time.Second

// Scope reports whether objects of a kind live in a namespace, as the API server
// says, and whether it knows the kind at all. It asks at most once for all kinds.
func (a *Applier) Scope(gvk schema.GroupVersionKind) (namespaced, known bool) {
	ctx, cancel := context.WithTimeout(context.Background(), scopeTimeout)
	defer cancel()
	r, err := a.kinds.findAny(ctx, gvk)
	if err != nil {
		return false, false
	}
	return r.namespaced, true
}
