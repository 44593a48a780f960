package apply

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
)

// A Want is what one object of a plan ought to be. It holds no plaintext: the
// values of Secrets are sealed by [Applier.Sealer]. It is immutable.
type Want struct {
	Kind            desired.Kind
	Resource        schema.GroupVersionResource
	Namespace, Name string
	Source          gate.Source
	// Manifest is what is applied, owner labels included.
	Manifest *unstructured.Unstructured
	// Desired is what the API server makes of it, normalised. It is nil while
	// that cannot be known, as before the object's namespace or definition exists.
	Desired map[string]any
	// Declared are the paths of the manifest.
	Declared *fieldpath.Set
	// Ignore are the paths that the plan leaves to others.
	Ignore [][]string

	// Live means that Manifest and Desired are what was live when [Applier.HoldLive] or
	// [Applier.Hold] looked, and no word of Git's.
	Live bool
	// Frozen is why an object is to stay as it is: what it ought to be is not known,
	// and will not be by itself. Retry says that another attempt may tell.
	Frozen string
	Retry  bool
	// Autoscaled means, where Live is set, that the revision leaves the replicas to an
	// autoscaler.
	Autoscaled bool
}

// wants remembers the Wants of one plan for the next, by object and manifest.
type wants struct {
	mu sync.Mutex
	by map[Owner]map[key]knownWant
}

type knownWant struct {
	hash [sha256.Size]byte
	kind resource
	want Want
}

func (w *wants) get(o Owner, it *item) (Want, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	known, ok := w.by[o][it.key]
	return known.want, ok && known.hash == it.hash && known.kind == *it.res && known.want.Desired != nil
}

func (w *wants) replace(o Owner, all map[key]knownWant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by == nil {
		w.by = map[Owner]map[key]knownWant{}
	}
	w.by[o] = all
	if len(all) == 0 {
		delete(w.by, o)
	}
}

// ForgetWants drops what [Applier.Desire] remembers of an owner.
func (a *Applier) ForgetWants(o Owner) {
	a.wants.replace(o, nil)
	a.forms.drop(o)
}

// Sealer returns what the values of Secrets are sealed with, in every [Want].
func (a *Applier) Sealer() *desired.Sealer { return a.sealer }

// Desire finds out what every object of the plan ought to be, by dry runs under
// fresh names as the plan's identity. Nothing is written, and the objects that
// are there are not looked at. An object that the server refuses even so is a
// finding that blocks; one that it cannot judge yet is a Want without Desired.
func (a *Applier) Desire(ctx context.Context, p *Plan) ([]Want, []verdict.Finding) {
	prep, found := a.prepare(ctx, p)
	if blocks(found) {
		return nil, sortFindings(found)
	}
	out := make([]Want, len(prep.items))
	position := make(map[*item]int, len(prep.items))
	for i, it := range prep.items {
		position[it] = i
	}
	found = append(found, each(ctx, a.cfg.Workers, prep.items, func(ctx context.Context, it *item) []verdict.Finding {
		w, err := a.desire(ctx, p, prep, it)
		out[position[it]] = w
		if err != nil {
			return []verdict.Finding{it.rejected(err)}
		}
		return nil
	})...)
	if ctx.Err() != nil {
		found = append(found, undetermined(planFinding(verdict.NotReady, "the dry run was interrupted: %v", context.Cause(ctx))))
	}
	if blocks(found) {
		return nil, sortFindings(found)
	}
	kept := make(map[key]knownWant, len(prep.items))
	for i, it := range prep.items {
		kept[it.key] = knownWant{it.hash, *it.res, out[i]}
	}
	a.wants.replace(p.Owner, kept)
	return out, sortFindings(found)
}

func (a *Applier) desire(ctx context.Context, p *Plan, prep *prepared, it *item) (Want, error) {
	if known, ok := a.wants.get(p.Owner, it); ok {
		known.Source = it.source
		return known, nil
	}
	w := Want{
		Kind: it.res.Kind, Resource: it.res.gvr(), Namespace: it.key.namespace, Name: it.key.name,
		Source: it.source, Manifest: it.g, Ignore: it.ignore,
	}
	var err error
	if w.Declared, err = a.schemas.Declared(it.g); err != nil && !errors.Is(err, desired.ErrNoSchema) {
		return w, apierrors.NewBadRequest(fmt.Sprintf("the fields of the manifest cannot be told: %v", err))
	}
	if it.deferred && !it.secret {
		return w, nil
	}
	it.d = nil
	if err := a.learn(ctx, prep, it); err != nil {
		if prep.mayWait(it, err) {
			return w, nil
		}
		return w, err
	}
	w.Desired = it.d
	if it.secret {
		w.Desired = a.sealer.Seal(it.d)
		w.Manifest = &unstructured.Unstructured{Object: a.sealer.Seal(it.g.Object)}
	}
	return w, nil
}
