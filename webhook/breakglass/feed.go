package breakglass

import (
	"context"
	"errors"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// Feed keeps the Book up to date with the cluster by the informers of a cache. It
// returns once the Book knows all TrustPolicies and grants, and has said so by
// [Book.SetSynced], or when ctx is done. The cache must be running, or be started
// meanwhile.
func (b *Book) Feed(ctx context.Context, informers cache.Informers) error {
	trusts, err := watch(ctx, informers, &v1alpha1.TrustPolicy{},
		func(p *v1alpha1.TrustPolicy) { _ = b.SetTrust(p) }, // State tells why
		func(name string) { b.DropTrust(name) })
	if err != nil {
		return err
	}
	grants, err := watch(ctx, informers, &v1alpha1.BreakGlass{},
		func(g *v1alpha1.BreakGlass) { _ = b.Set(g) },
		func(name string) { b.Drop(name) })
	if err != nil {
		return err
	}
	if !toolscache.WaitForCacheSync(ctx.Done(), trusts, grants) {
		return errors.Join(errors.New("break-glass grants are not synced"), ctx.Err())
	}
	b.SetSynced(true)
	return nil
}

// object is a pointer to one of our kinds.
type object interface {
	*v1alpha1.TrustPolicy | *v1alpha1.BreakGlass
	client.Object
}

func watch[T object](ctx context.Context, informers cache.Informers, kind T, set func(T), drop func(string)) (toolscache.InformerSynced, error) {
	informer, err := informers.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, err
	}
	added := func(o any) {
		if v, ok := o.(T); ok {
			set(v)
		}
	}
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    added,
		UpdateFunc: func(_, o any) { added(o) },
		DeleteFunc: func(o any) {
			if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			if v, ok := o.(T); ok {
				drop(v.GetName())
			}
		},
	})
	if err != nil {
		return nil, err
	}
	return registration.HasSynced, nil
}
