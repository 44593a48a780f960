package lock

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/desired"
)

// A release is a Release as the inventory keeps it.
type release struct {
	sync        types.NamespacedName
	revision    string
	mode        Mode
	namespaces  []string
	delegations []Delegation
	writer      string
	confined    bool
	refused     string // why no gate lets it pass any more
	secrets     []string
	entries     map[key]*entry
	images      *images // nil if no image was verified
}

// An entry is one object of a release. D is kept as JSON, which takes a fraction
// of what a decoded tree does; most requests are decided by its digest alone.
type entry struct {
	release *release
	kind    *desired.Kind
	d       []byte         // nil: cannot be told yet
	digest  desired.Digest // of D, apart from what mask leaves to others
	mask    *desired.Mask  // slots and ignored fields
	guard   *desired.Guard
	file    string
	line    int32
	pinned  bool            // D has images whose digest may be another that was verified
	force   bool            // its writer may replace it
	live    bool            // d is what was live, and nobody's word
	frozen  string          // why it stays as it is; d is nil then
	runs    map[string]bool // images of live that its Pods may run
	bounds  *bounds
}

// bounds are within what an autoscaler of the release may scale the object.
type bounds struct{ min, max int64 }

// A builder makes the entries of a release share what is equal.
type builder struct {
	release *release
	force   bool
	strings map[string]string
	kinds   map[desired.Kind]*desired.Kind
	guards  map[string]*desired.Guard
}

// build makes a release. The error joins what is wrong with single objects; these
// are kept without D, so that they are denied.
func build(r Release) (*release, error) {
	b := &builder{
		release: &release{
			sync: r.Sync, revision: r.Revision, mode: r.Mode, namespaces: slices.Clone(r.Namespaces),
			delegations: slices.Clone(r.Delegations), writer: r.Writer, confined: r.Confined, refused: r.Refused, secrets: slices.Clone(r.Secrets), entries: make(map[key]*entry, len(r.Objects)),
		},
		force: r.Force, strings: map[string]string{}, kinds: map[desired.Kind]*desired.Kind{}, guards: map[string]*desired.Guard{},
	}
	if b.release.mode != Audit {
		b.release.mode = Enforce
	}
	if r.Images != nil {
		b.release.images = newImages()
		b.release.images.add(r.Images)
	}
	scaled := b.autoscalers(r.Objects)
	var errs []error
	for i := range r.Objects {
		o := &r.Objects[i]
		e, err := b.entry(o, scaled[b.scaleKey(o)])
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %s/%s: %w", o.Kind.Kind, o.Namespace, o.Name, err))
		}
		b.release.entries[b.key(o)] = e
	}
	return b.release, errors.Join(errs...)
}

func (b *builder) share(s string) string {
	if t, ok := b.strings[s]; ok {
		return t
	}
	s = strings.Clone(s) // it may be part of a whole file
	b.strings[s] = s
	return s
}

func (b *builder) key(o *Object) key {
	return key{b.share(o.Resource.Group), b.share(o.Resource.Resource), b.share(o.Namespace), b.share(o.Name)}
}

func (b *builder) entry(o *Object, limit *bounds) (*entry, error) {
	kind := b.kinds[o.Kind]
	if kind == nil {
		k := o.Kind
		kind = &k
		b.kinds[k] = kind
	}
	e := &entry{release: b.release, kind: kind, file: b.share(o.File), line: int32(o.Line), bounds: limit}
	if o.Manifest == nil {
		return e, errors.New("no manifest")
	}
	manifest := o.Manifest
	if e.live, e.frozen = o.Live, o.Frozen; e.live {
		e.runs = map[string]bool{}
		for _, ref := range podImages(&o.Kind, o.Manifest.Object) {
			e.runs[ref] = true
		}
		if o.Autoscaled {
			manifest = withoutReplicas(manifest)
		}
	} else {
		e.force = b.force || text(o.Manifest.Object, "metadata", "annotations", "gitgate.dev/force") == "Enabled"
	}
	guard := o.Kind.NewGuard(manifest, desired.GuardOptions{
		Autoscaled: limit != nil, Ignore: o.Ignore, Declared: o.Declared, Delegated: b.rows(o),
	})
	sign := guard.Signature()
	if shared := b.guards[sign]; shared != nil {
		guard = shared
	}
	b.guards[sign] = guard
	e.guard = guard
	e.mask = o.Kind.NewMask(o.Manifest, desired.MaskOptions{Ignore: o.Ignore, Strict: true})
	if o.Desired == nil || e.frozen != "" {
		return e, nil
	}
	return e, b.desired(e, o)
}

// withoutReplicas returns a manifest that leaves the replicas out.
func withoutReplicas(u *unstructured.Unstructured) *unstructured.Unstructured {
	spec, ok := u.Object["spec"].(map[string]any)
	if !ok {
		return u
	}
	out, spec := maps.Clone(u.Object), maps.Clone(spec)
	delete(spec, "replicas")
	out["spec"] = spec
	return &unstructured.Unstructured{Object: out}
}

// desired keeps D.
func (b *builder) desired(e *entry, o *Object) error {
	raw, err := json.Marshal(o.Desired)
	if err != nil {
		return fmt.Errorf("the desired state cannot be written as JSON: %w", err)
	}
	d, err := decode(raw)
	if err != nil {
		return err
	}
	if b.release.images != nil && !e.live {
		for _, ref := range podImages(&o.Kind, d) {
			if !b.release.images.runs(ref) {
				b.release.images.refs[ref] = true
			}
		}
		if e.pinned = b.release.images.canonicalise(d); e.pinned {
			if raw, err = json.Marshal(d); err != nil {
				return err
			}
		}
	}
	e.d, e.digest = raw, e.mask.Digest(d)
	return nil
}

// rows returns the delegations of leaves that concern the object.
func (b *builder) rows(o *Object) []desired.Leaf {
	var rows []desired.Leaf
	for _, d := range b.release.delegations {
		if len(d.Paths) == 0 || d.Writer == "" || !d.Target.selects(o.Kind.GroupKind(), o.Namespace, o.Name) {
			continue
		}
		for _, path := range d.Paths {
			if len(path) > 0 && !protectedPath(path) {
				rows = append(rows, d.row(path))
			}
		}
	}
	return rows
}

// row is the delegation of one path.
func (d Delegation) row(path []string) desired.Leaf {
	return desired.Leaf{Path: path, Writers: []string{d.Writer}, Exact: true, Subresource: desired.AnySubresource}
}

// protectedPath reports whether nobody may be given a path: whoever could write
// it could make the object another one, or nobody's.
func protectedPath(path []string) bool {
	switch path[0] {
	case "apiVersion", "kind":
		return true
	case "metadata":
		return len(path) == 1 || path[1] == "name" || path[1] == "namespace" || path[1] == "ownerReferences" ||
			path[1] == "labels" && (len(path) == 2 || strings.HasPrefix(path[2], "gitgate.dev/"))
	}
	return false
}

// A scaleKey names what an autoscaler scales.
type scaleKey struct{ group, kind, namespace, name string }

func (b *builder) scaleKey(o *Object) scaleKey {
	return scaleKey{o.Kind.Group, o.Kind.Kind, o.Namespace, o.Name}
}

// autoscalers tells within which bounds the release's autoscalers may scale what.
func (b *builder) autoscalers(objects []Object) map[scaleKey]*bounds {
	out := map[scaleKey]*bounds{}
	for i := range objects {
		o := &objects[i]
		if o.Kind.Group != "autoscaling" || o.Kind.Kind != "HorizontalPodAutoscaler" || o.Manifest == nil || o.Frozen != "" {
			continue
		}
		spec := object(o.Manifest.Object, "spec")
		ref := object(spec, "scaleTargetRef")
		group, _, found := strings.Cut(text(ref, "apiVersion"), "/")
		if !found {
			group = ""
		}
		limit := &bounds{min: 1}
		if v, ok := spec["minReplicas"].(int64); ok {
			limit.min = v
		}
		limit.max, _ = spec["maxReplicas"].(int64)
		out[scaleKey{group, text(ref, "kind"), o.Namespace, text(ref, "name")}] = limit
	}
	return out
}
