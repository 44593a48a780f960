package breakglass

import (
	"errors"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/json"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// Resource is that of grants, in the group of gitgate's kinds.
const Resource = "breakglasses"

// Review says why a write of a grant itself must be refused, or nil. Whoever may
// write grants by RBAC may do no more than
//
//   - create one that counts now or soon, by its signatures and its name,
//   - revoke one,
//   - delete one that has expired, or could not count anyway,
//   - write metadata, on which nothing rests.
//
// A revoked grant thus stays until its signed expiry refuses it for good.
func (b *Book) Review(req *admissionv1.AdmissionRequest) error {
	if req == nil || req.Resource.Group != v1alpha1.GroupVersion.Group || req.Resource.Resource != Resource {
		return errors.New("not a break-glass grant")
	}
	if !b.synced.Load() {
		return ErrNotReady
	}
	var object, old v1alpha1.BreakGlass
	for _, d := range []struct {
		raw  []byte
		into *v1alpha1.BreakGlass
	}{{req.Object.Raw, &object}, {req.OldObject.Raw, &old}} {
		if len(d.raw) > 0 && json.Unmarshal(d.raw, d.into) != nil {
			return errors.New("the break-glass grant cannot be read")
		}
	}
	switch {
	case req.SubResource != "":
		return fmt.Errorf("a break-glass grant has no subresource %s to write", req.SubResource)
	case req.Operation == admissionv1.Create:
		return b.reviewCreate(&object)
	case req.Operation == admissionv1.Update:
		return reviewUpdate(&object, &old)
	case req.Operation == admissionv1.Delete:
		return b.reviewDelete(&old)
	}
	return fmt.Errorf("%s of a break-glass grant", req.Operation)
}

// ErrNotReady means that the Book does not know all grants yet. Asking again
// helps.
var ErrNotReady = errors.New("the break-glass grants of the cluster are not known yet")

func (b *Book) reviewCreate(g *v1alpha1.BreakGlass) error {
	switch s := b.Check(g); s.Phase {
	case Active, Pending:
		return nil
	case Refused:
		return fmt.Errorf("the break-glass grant does not count: %w", s.Err)
	case Expired:
		return fmt.Errorf("the break-glass grant expired at %s: request another", stamp(g.Spec.Grant.Expiry))
	default:
		return errors.New("a revoked break-glass grant cannot be created")
	}
}

func reviewUpdate(g, old *v1alpha1.BreakGlass) error {
	switch {
	case !equality.Semantic.DeepEqual(g.Spec.Grant, old.Spec.Grant) || !equality.Semantic.DeepEqual(g.Spec.Signatures, old.Spec.Signatures):
		return errors.New("a break-glass grant cannot be changed: request another")
	case old.Spec.Revoked && !g.Spec.Revoked:
		return errors.New("a revoked break-glass grant stays revoked: request another")
	}
	return nil
}

func (b *Book) reviewDelete(old *v1alpha1.BreakGlass) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.judge(old)
	_, ended := b.ended[string(e.payload)]
	end := old.Spec.Grant.Expiry.Add(ClockSkew)
	switch {
	case e.payload == nil || b.fits(old, e.payload) != nil:
		return nil // it can never count
	case !b.clock.now().Before(end):
		return nil
	case e.err != nil && !e.revoked && !ended:
		return nil // its signatures do not suffice: there is nothing to forget
	case e.revoked || ended:
		return fmt.Errorf("the break-glass grant was revoked, which must be remembered until %s", end.UTC().Format(time.RFC3339))
	}
	return fmt.Errorf("the break-glass grant counts until %s: revoke it instead (gitgate breakglass revoke %s)", stamp(old.Spec.Grant.Expiry), old.Name)
}
