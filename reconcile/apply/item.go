package apply

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
)

// An item is one object of a plan on its way to the cluster.
type item struct {
	subject
	*form
	from *unstructured.Unstructured // what the form is made of

	rec      *record        // what is known from before
	live     map[string]any // the live object, where it had to be read
	exists   bool           // as far as known
	known    bool           // the manifest is the one that was applied last
	d        map[string]any // what it ought to be, normalised
	deferred bool           // cannot be judged before an earlier stage is applied
	skip     bool           // needs no write
	recreate bool           // can only be changed by making it anew
	adopted  bool           // live already equals d although nothing was on record
}

// A prepared is what DryRun leaves for Apply.
type prepared struct {
	items  []*item
	byKey  map[key]*item
	coming map[schema.GroupVersionKind]*definition // what the release itself defines
	scaled map[key]bool                            // what autoscalers of the release scale
	wanted Inventory                               // of items
	client *client                                 // as the plan's identity
	rules  *healthRules
}

func newSubject(p *Plan, o gate.Object) subject {
	s := subject{source: o.Source, as: p.Identity}
	s.source.Encrypted = nil // ciphertext is no business of findings
	if o.Unstructured != nil {
		s.object = o.ID()
		gvk := o.GroupVersionKind()
		s.secret = groupKind{gvk.Group, gvk.Kind} == kindSecret
	}
	return s
}

// stamp sets namespace and owner. g is a copy down to its metadata.
func stamp(g *unstructured.Unstructured, o Owner, namespace string) {
	meta := g.Object["metadata"].(map[string]any)
	old, _ := meta["labels"].(map[string]any)
	labels := make(map[string]any, len(old)+2)
	maps.Copy(labels, old)
	labels[OwnerNameLabel], labels[OwnerNamespaceLabel] = o.Name, o.Namespace
	meta["labels"] = labels
	if namespace != "" {
		meta["namespace"] = namespace
	} else {
		delete(meta, "namespace")
	}
}

// protectedPointers may not be ignored: whoever could write them could make the
// object another one, or nobody's.
var protectedPointers = []string{"apiVersion", "kind", "metadata/name", "metadata/namespace",
	"metadata/labels/" + OwnerNameLabel, "metadata/labels/" + OwnerNamespaceLabel,
	"metadata/ownerReferences", "metadata/deletionTimestamp"}

// ignored returns the paths that the plan ignores in an object, and those at which
// it ignores what the manifest leaves out.
func (p *Plan) ignored(g *unstructured.Unstructured) (ignore, undeclared [][]string, err error) {
	for i, rule := range p.Ignore {
		ok, err := rule.Target.selects(g)
		if err != nil {
			return nil, nil, fmt.Errorf("ignore rule %d: %w", i, err)
		}
		if !ok {
			continue
		}
		for _, pointer := range rule.Paths {
			segments, err := desired.ParsePointer(pointer)
			if err != nil {
				return nil, nil, fmt.Errorf("ignore rule %d: %w", i, err)
			}
			joined := strings.Join(segments, "/")
			switch {
			case rule.Undeclared:
				if joined != "metadata" && !slices.ContainsFunc(protectedPointers, func(p string) bool { return strings.HasPrefix(joined+"/", p+"/") }) {
					undeclared = append(undeclared, segments)
				}
			case slices.ContainsFunc(protectedPointers, func(p string) bool {
				return strings.HasPrefix(p+"/", joined+"/") || strings.HasPrefix(joined, p+"/")
			}):
				return nil, nil, fmt.Errorf("ignore rule %d: %s may not be ignored", i, pointer)
			default:
				ignore = append(ignore, segments)
			}
		}
	}
	return sorted(ignore), sorted(undeclared), nil
}

func sorted(paths [][]string) [][]string {
	slices.SortFunc(paths, slices.Compare[[]string])
	return slices.CompactFunc(paths, slices.Equal[[]string])
}

// selects reports whether the selector selects the object.
func (s Selector) selects(g *unstructured.Unstructured) (bool, error) {
	gvk := g.GroupVersionKind()
	for _, f := range [][2]string{{s.Group, gvk.Group}, {s.Version, gvk.Version}, {s.Kind, gvk.Kind},
		{s.Namespace, g.GetNamespace()}, {s.Name, g.GetName()}} {
		if f[0] != "" && f[0] != f[1] {
			return false, nil
		}
	}
	for i, selector := range []string{s.LabelSelector, s.AnnotationSelector} {
		if selector == "" {
			continue
		}
		parsed, err := labels.Parse(selector)
		if err != nil {
			return false, fmt.Errorf("selector %.60q: %w", selector, err)
		}
		set := g.GetLabels()
		if i == 1 {
			set = g.GetAnnotations()
		}
		if !parsed.Matches(labels.Set(set)) {
			return false, nil
		}
	}
	return true, nil
}

// autoscaled lists the objects that autoscalers of the release scale.
func (prep *prepared) autoscaled(p *Plan) map[key]bool {
	out := map[key]bool{}
	for _, it := range prep.items {
		if it.gk() != kindAutoscaler {
			continue
		}
		version, _, _ := unstructured.NestedString(it.from.Object, "spec", "scaleTargetRef", "apiVersion")
		kind, _, _ := unstructured.NestedString(it.from.Object, "spec", "scaleTargetRef", "kind")
		name, _, _ := unstructured.NestedString(it.from.Object, "spec", "scaleTargetRef", "name")
		group, _, found := strings.Cut(version, "/")
		if !found {
			group = ""
		}
		namespace := it.from.GetNamespace()
		if namespace == "" {
			namespace = p.namespace()
		}
		out[key{group: group, kind: kind, namespace: namespace, name: name}] = true
	}
	return out
}

func (p *Plan) namespace() string {
	if p.Namespace != "" {
		return p.Namespace
	}
	return p.Owner.Namespace
}

// each runs fn for every item, several at once, and gathers what they find.
func each[T any](ctx context.Context, workers int, items []T, fn func(context.Context, T) []verdict.Finding) []verdict.Finding {
	var (
		next  atomic.Int64
		mu    sync.Mutex
		found []verdict.Finding
		wg    sync.WaitGroup
	)
	for range min(workers, len(items)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(items) {
					return
				}
				if fs := guarded(ctx, items[i], fn); len(fs) > 0 {
					mu.Lock()
					found = append(found, fs...)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return found
}

// guarded turns a panic over one item into a finding that denies. Its text is not
// told: it may quote an object.
func guarded[T any](ctx context.Context, item T, fn func(context.Context, T) []verdict.Finding) (fs []verdict.Finding) {
	defer func() {
		if p := recover(); p != nil {
			fs = []verdict.Finding{undetermined(planFinding(verdict.Internal, "internal error (%T): this is a bug in gitgate, please report it", p))}
		}
	}()
	return fn(ctx, item)
}

// freshName returns a DNS label that nobody has used or can guess.
func freshName() string {
	var raw [10]byte
	_, _ = rand.Read(raw[:]) // never fails, see crypto/rand
	return "gitgate-" + hex.EncodeToString(raw[:])
}
