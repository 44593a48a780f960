package lock

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/types"
)

// An Inventory holds what verified commits say of the cluster's objects. It is
// safe for concurrent use: readers see one consistent state and never wait. Until
// [Inventory.SetSynced] it is not complete, and nothing can be decided by it.
type Inventory struct {
	synced atomic.Bool
	state  atomic.Pointer[snapshot]

	unknown atomic.Pointer[Unknown]

	mu    sync.Mutex // held by writers
	syncs map[types.NamespacedName]*syncState
	order []types.NamespacedName // first come, first served where two claim an object
}

// A syncState is what is known of one GitSync.
type syncState struct {
	current  *release
	previous *release // nil once the current one is applied
	// retired are the images of the releases before the current one: they run until
	// their Pods are replaced, which a rollout that is stuck puts off.
	retired *images
	// refs are what the cluster's own admission made of images in those releases, newest
	// last: no evidence speaks of them.
	refs []map[string]bool
	// announced is the revision that the reconciler says is coming.
	announced string
	// tombs are the objects that an earlier release had and the current one has
	// not.
	tombs map[key]bool
}

// A key names an object in the cluster, whatever version it is written in.
type key struct{ group, resource, namespace, name string }

// NewInventory returns an empty inventory that is not synced.
func NewInventory() *Inventory {
	i := &Inventory{syncs: map[types.NamespacedName]*syncState{}}
	i.state.Store(newSnapshot())
	return i
}

// SetSynced says whether every release that ought to be known is.
func (i *Inventory) SetSynced(synced bool) { i.synced.Store(synced) }

// Unknown is what may be held by releases that this process could not verify yet.
// What is asked of it is pending: neither Git's word on it nor its absence is known.
type Unknown struct {
	// Namespaces are closed ones.
	Namespaces map[string]bool
	// Objects are single ones; their version does not matter.
	Objects map[UnknownObject]bool
}

// UnknownObject names an object.
type UnknownObject struct{ Group, Kind, Namespace, Name string }

// SetUnknown replaces what is not known. The zero Unknown is nothing.
func (i *Inventory) SetUnknown(u Unknown) {
	if len(u.Namespaces)+len(u.Objects) == 0 {
		i.unknown.Store(nil)
		return
	}
	i.unknown.Store(&u)
}

// unknown reports whether nothing can be said about the object of the request.
func (r *review) unknown() bool {
	u := r.lock.cfg.Inventory.unknown.Load()
	return u != nil && (u.Namespaces[r.key.namespace] ||
		u.Objects[UnknownObject{r.req.Kind.Group, r.req.Kind.Kind, r.key.namespace, r.key.name}])
}

// Synced reports what [Inventory.SetSynced] was told last.
func (i *Inventory) Synced() bool { return i.synced.Load() }

// Accept takes a verified release over in place of the GitSync's former one. What
// the former one says stays acceptable until Accept is told that the new one is
// applied. A release whose mode is Off is dropped. The error says which objects
// cannot be kept and why; they are then denied.
func (i *Inventory) Accept(r Release) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if r.Mode == Off {
		i.drop(r.Sync)
		return nil
	}
	built, err := build(r)
	st := i.syncs[r.Sync]
	if st == nil {
		st = &syncState{tombs: map[key]bool{}}
		i.syncs[r.Sync] = st
		i.order = append(i.order, r.Sync)
	}
	if former := st.current; former != nil {
		if former.revision != r.Revision {
			st.previous = former
			st.keepRefs(former, built)
		}
		st.bury(former, built)
	}
	st.current = built
	if r.Applied {
		st.previous = nil
	}
	i.publish()
	return err
}

// keepRefs keeps the references of a release that no evidence covers and the next one
// has not.
func (st *syncState) keepRefs(former, next *release) {
	if former.images == nil || next.images != nil && maps.Equal(former.images.refs, next.images.refs) {
		return
	}
	st.refs = append(st.refs, former.images.refs)
	st.refs = st.refs[max(0, len(st.refs)-maxRefs):]
}

// bury keeps the names of what former had and next has not.
func (st *syncState) bury(former, next *release) {
	for k := range former.entries {
		st.tombs[k] = true
	}
	if len(st.tombs) > maxTombs { // names of long ago that nobody will ask for
		clear(st.tombs)
	}
	for k := range next.entries {
		delete(st.tombs, k)
	}
}

// maxRefs bounds the releases whose references are kept.
const maxRefs = 16

// maxTombs bounds the tombstones of a GitSync.
const maxTombs = 50_000

// Applied says that the revision is in the cluster: what the previous one says is
// no longer acceptable. It does nothing if another revision is current.
func (i *Inventory) Applied(sync types.NamespacedName, revision string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if st := i.syncs[sync]; st != nil && st.current.revision == revision && st.previous != nil {
		st.previous = nil
		i.publish()
	}
}

// Retire says which images of earlier releases may still run, in place of what it said
// before: all of them verified by the rules in force now. Those of the release that is
// being replaced count besides, until Applied. Only Pods are judged by them, and by their
// digests alone. It does nothing for a GitSync that is not known.
func (i *Inventory) Retire(sync types.NamespacedName, retired []VerifiedImage) {
	i.mu.Lock()
	defer i.mu.Unlock()
	st := i.syncs[sync]
	if st == nil {
		return
	}
	st.retired = newImages()
	st.retired.add(retired)
	i.publish()
}

// Announce says which revision the reconciler is about to apply. It is believed in
// one thing only: where that revision is not known, this replica may be behind, and
// what it refuses to whoever applies may pass later.
func (i *Inventory) Announce(sync types.NamespacedName, revision string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if st := i.syncs[sync]; st != nil && st.announced != revision {
		st.announced = revision
		i.publish()
	}
}

// behind returns the revision for which a user who applies has to wait, if a
// release is behind it.
func (s *snapshot) behind(rel *release, user string) string {
	if rel == nil || user != rel.writer {
		return ""
	}
	return s.coming[rel.sync]
}

// Drop forgets a GitSync.
func (i *Inventory) Drop(sync types.NamespacedName) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.drop(sync)
}

func (i *Inventory) drop(sync types.NamespacedName) {
	if i.syncs[sync] == nil {
		return
	}
	delete(i.syncs, sync)
	i.order = slices.DeleteFunc(i.order, func(n types.NamespacedName) bool { return n == sync })
	i.publish()
}

// publish makes the state that readers see from now on.
func (i *Inventory) publish() {
	s := newSnapshot()
	for _, name := range i.order {
		s.take(i.syncs[name])
	}
	i.state.Store(s)
}

// A Conflict is an object that two GitSyncs claim. The first keeps it.
type Conflict struct {
	Object        string
	Holder, Other types.NamespacedName
}

// String says the conflict in one line.
func (c Conflict) String() string {
	return fmt.Sprintf("%s belongs to GitSync %s, and GitSync %s claims it too: remove it from one of them", c.Object, c.Holder, c.Other)
}

// Conflicts lists the objects that more than one GitSync claims.
func (i *Inventory) Conflicts() []Conflict {
	s := i.state.Load()
	var out []Conflict
	for k, r := range s.records {
		for other := r.next; other != nil; other = other.next {
			out = append(out, Conflict{Object: k.String(), Holder: r.release().sync, Other: other.release().sync})
		}
	}
	slices.SortFunc(out, func(a, b Conflict) int { return strings.Compare(a.String(), b.String()) })
	return out
}

// Size returns the number of objects held.
func (i *Inventory) Size() int { return len(i.state.Load().records) }
