package render

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/policy/gate"
)

// inParts builds in parts, each of which comes from the cache if it is known. It
// reports false where that is not certain to give the same objects as one build,
// or where there is anything to report: the one build is then to tell what.
func (c *collector) inParts(ctx context.Context) (objects []gate.Object, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			objects, ok = nil, false // the one build will fail too, and says how
		}
	}()
	d := c.divide()
	if d == nil {
		return nil, false
	}
	parts := d.parts()
	if len(parts) < 2 || d.shared() > len(d.slots)/2 {
		return nil, false // one build is less work
	}
	made := make([]*unstructured.Unstructured, len(d.slots))
	environment := d.environment()
	var missing []part
	for _, p := range parts {
		p.key = cacheKey{kind: builtPart, hash: d.fingerprint(environment, p), limits: c.r.options.Limits}
		v, known := c.r.options.Cache.get(p.key)
		if !known {
			missing = append(missing, p)
			continue
		}
		for i, object := range v.([]*unstructured.Unstructured) {
			made[p.slots[i]] = object
		}
	}
	for batch := range d.batches(missing) {
		if ctx.Err() != nil || !d.build(batch, made) {
			return nil, false
		}
	}
	for i, object := range made {
		if object != nil {
			objects = append(objects, gate.Object{Unstructured: object, Source: d.slots[i].source()})
		}
	}
	return objects, true
}

// source returns the source of what a slot makes, as the tree has it now: it may
// have moved within its file since it was built.
func (s *slot) source() gate.Source {
	if s.manifest == nil {
		return s.kust.generated(s.item)
	}
	return source(s.file, *s.manifest, s.parsed)
}

// A part is a set of slots that none of another part has to do with.
type part struct {
	slots []int // ascending
	key   cacheKey
}

// share finds the slots that every part needs: those that a kustomization names, as
// it does all that it generates, or could refer to in a way that texts do not tell,
// and those with a name in common with one of them.
func (d *division) share() {
	u, _ := d.byName()
	shared := map[int]bool{}
	for i, s := range d.slots {
		if slices.ContainsFunc(s.names, d.mayBeAnyones) {
			shared[u.find(i)] = true
		}
	}
	for i := range d.slots {
		d.slots[i].shared = shared[u.find(i)]
	}
}

// shared counts the shared slots.
func (d *division) shared() int {
	n := 0
	for i := range d.slots {
		if d.slots[i].shared {
			n++
		}
	}
	return n
}

// byName unites slots that may have the same name, and finds one by each name.
func (d *division) byName() (union, map[string]int) {
	u := newUnion(len(d.slots))
	byName := make(map[string]int, len(d.slots))
	for i, s := range d.slots {
		for _, n := range s.names {
			if j, known := byName[n]; known {
				u.join(i, j)
			} else {
				byName[n] = i
			}
		}
	}
	return u, byName
}

// mayBeAnyones reports whether any object could come to refer to a name.
func (d *division) mayBeAnyones(name string) bool {
	switch {
	case d.words[name]:
		return true
	case d.images && strings.ContainsAny(name, ":@"):
		return true // composed of a name of an image and a tag
	case strings.Trim(name, "0123456789+-._eExXoO") == "", notText[strings.ToLower(name)]:
		return true // a value that is no text is written like it
	}
	// A reference to a generated object gets a hash, which could make it this name.
	// A hash has no dash.
	i := strings.LastIndexByte(name, '-')
	return i >= 0 && d.generated[name[:i]]
}

var notText = map[string]bool{"null": true, "true": true, "false": true, ".nan": true, ".inf": true, "+.inf": true, "-.inf": true}

// parts returns the parts in the order of their first slots.
func (d *division) parts() []part {
	u, byName := d.byName()
	first := -1 // shared slots are in one part
	for i, s := range d.slots {
		switch {
		case !s.shared:
		case first < 0:
			first = i
		default:
			u.join(first, i)
		}
	}
	for i, s := range d.slots {
		for _, w := range s.facts.words {
			// What refers to a shared slot will find it in any case.
			if j, known := byName[w]; known && (s.shared || !d.slots[j].shared) {
				u.join(i, j)
			}
		}
	}
	var out []part
	at := map[int]int{}
	for i := range d.slots {
		root := u.find(i)
		k, known := at[root]
		if !known {
			k = len(out)
			at[root] = k
			out = append(out, part{})
		}
		out[k].slots = append(out[k].slots, i)
	}
	return out
}

// environment identifies all that the parts have in common: what kustomize is told
// to do, and which shared objects there are.
func (d *division) environment() []byte {
	h := sha256.New()
	for _, dir := range d.dirs {
		kf := d.c.kusts[dir]
		k := kf.fixed()
		// Files may come and go: the objects in them are part of the parts.
		k.Resources = slices.DeleteFunc(k.Resources, func(entry string) bool { return d.c.kusts[path.Join(dir, entry)] == nil })
		raw, err := json.Marshal(k)
		if err != nil {
			panic(err) // it was read from JSON; inParts recovers
		}
		fmt.Fprintf(h, "%q %q %s\n", dir, kf.name, raw)
	}
	for _, name := range slices.Sorted(maps.Keys(d.c.inputs)) {
		if in := d.c.inputs[name]; in.file == nil && in.kind != refKustomization {
			fmt.Fprintf(h, "%q %d %q\n", name, in.kind, in.hash)
		}
	}
	for i := range d.slots {
		if s := &d.slots[i]; s.shared {
			d.identify(h, s)
		}
	}
	return h.Sum(nil)
}

// identify writes what others can see of a shared slot.
func (d *division) identify(h hash.Hash, s *slot) {
	fmt.Fprintf(h, "%q %d", s.file, s.item)
	if s.manifest != nil {
		o := s.manifest.object
		fmt.Fprintf(h, " %q %q %q %q", o.GetAPIVersion(), o.GetKind(), o.GetNamespace(), o.GetName())
	}
	if d.deletes {
		fmt.Fprintf(h, " %x", s.facts.hash) // whether it is deleted depends on it
	}
	io.WriteString(h, "\n") // a hash does not fail
}

// fingerprint identifies all that the result of a part depends on.
func (d *division) fingerprint(environment []byte, p part) string {
	h := sha256.New()
	h.Write(environment)
	for _, i := range p.slots {
		s := &d.slots[i]
		fmt.Fprintf(h, "%q %d %x\n", s.file, s.item, s.facts.hash)
	}
	return string(h.Sum(nil))
}

// batchSize is how many objects kustomize is given at once. Fewer would cost more
// for starting it, more would cost more for comparing them with each other.
const batchSize = 64

// batches groups parts to be built at once.
func (d *division) batches(parts []part) func(yield func([]part) bool) {
	// Shared slots are built with each batch, so there must not be many more.
	limit := d.c.batch * (1 + d.shared()/batchSize)
	return func(yield func([]part) bool) {
		for len(parts) > 0 {
			n, size := 0, 0
			for n < len(parts) && (n == 0 || size+len(parts[n].slots) <= limit) {
				size += len(parts[n].slots)
				n++
			}
			if !yield(parts[:n]) {
				return
			}
			parts = parts[n:]
		}
	}
}

// build builds parts and keeps each. It reports false where something is to be
// told, or is not as expected.
func (d *division) build(parts []part, made []*unstructured.Unstructured) bool {
	s, err := d.c.stage(d.selection(parts))
	if err != nil {
		return false
	}
	objects, found, p := s.kustomize(d.c.kusts[d.c.root], d.c.root, d.c.r.options)
	if p != nil || len(found) > 0 {
		return false
	}
	built := make(map[int]*unstructured.Unstructured, len(objects))
	last := -1
	for _, o := range objects {
		i, known := d.index[o.position]
		if !known || i <= last {
			return false // a mark was lost, or the order is not that of the tree
		}
		built[i], last = o.Unstructured, i
	}
	for _, p := range parts {
		out := make([]*unstructured.Unstructured, len(p.slots))
		size := 512
		for k, i := range p.slots {
			out[k], made[i] = built[i], built[i]
			size += 12 * d.slots[i].facts.size
		}
		d.c.r.options.Cache.put(p.key, out, size)
	}
	return true
}

// selection selects parts and what every part needs.
func (d *division) selection(parts []part) *selection {
	out := &selection{positions: map[position]bool{}, names: map[string]bool{}}
	add := func(s *slot) {
		out.positions[s.position] = true
		out.names[s.file] = true
		for _, dir := range s.dirs {
			out.names[dir] = true
		}
	}
	for _, p := range parts {
		for _, i := range p.slots {
			add(&d.slots[i])
		}
	}
	for i := range d.slots {
		if d.slots[i].shared {
			add(&d.slots[i])
		}
	}
	return out
}

// A union is a set of disjoint sets of numbers.
type union []int

func newUnion(n int) union {
	u := make(union, n)
	for i := range u {
		u[i] = i
	}
	return u
}

func (u union) find(i int) int {
	for u[i] != i {
		u[i] = u[u[i]]
		i = u[i]
	}
	return i
}

// join keeps the lower root, so that the result does not depend on the order.
func (u union) join(i, j int) {
	i, j = u.find(i), u.find(j)
	u[max(i, j)] = min(i, j)
}
