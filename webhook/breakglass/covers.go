package breakglass

import (
	"context"
	"sync"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// Covers reports whether a grant lets a request pass, and which. It makes no
// request and gives the same answer to one that comes again, as it does when
// several webhooks are asked; each is reported to [Config.Used] once.
func (b *Book) Covers(ctx context.Context, req *admissionv1.AdmissionRequest) (grant string, ok bool) {
	open := b.open.Load()
	if req == nil || open == nil || len(*open) == 0 || !b.synced.Load() {
		return "", false
	}
	now := b.clock.now()
	for _, e := range *open {
		g := &e.object.Spec.Grant
		if !matches(g, req) || e.state(now).Phase != Active || b.root(req) != "" {
			continue
		}
		if b.cfg.Used != nil && b.uses.first(req.UID) {
			b.cfg.Used(ctx, useOf(e, req))
		}
		return e.object.Name, true
	}
	return "", false
}

func useOf(e *entry, req *admissionv1.AdmissionRequest) Use {
	resource := v1alpha1.BreakGlassResource{Group: req.Resource.Group, Resource: req.Resource.Resource}
	if req.SubResource != "" {
		resource.Resource += "/" + req.SubResource
	}
	return Use{
		Grant: e.object.Name, Reason: e.object.Spec.Grant.Reason, Expiry: e.object.Spec.Grant.Expiry.Time,
		UID: req.UID, User: req.UserInfo.Username, Operation: string(req.Operation),
		Resource: ResourceText(resource), Namespace: scopeOf(req), Name: nameOf(req),
		DryRun: req.DryRun != nil && *req.DryRun,
	}
}

// uses remembers the last requests that were reported.
type uses struct {
	mu   sync.Mutex
	seen map[types.UID]bool
	ring []types.UID
	next int
}

const maxUses = 4096

// first reports whether the request is new. One without a UID always is.
func (u *uses) first(uid types.UID) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if uid == "" {
		return true
	}
	if u.seen[uid] {
		return false
	}
	if u.seen == nil {
		u.seen, u.ring = map[types.UID]bool{}, make([]types.UID, maxUses)
	}
	delete(u.seen, u.ring[u.next])
	u.ring[u.next] = uid
	u.next = (u.next + 1) % maxUses
	u.seen[uid] = true
	return true
}
