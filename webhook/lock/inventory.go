package lock

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime/schema"
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
	// retired are the images of the releases before the current one, newest last: they
	// run until their Pods are replaced, which a rollout that is stuck puts off.
	retired []*images
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
			st.previous, st.retired = former, append(st.retired, former.images)
			st.retired = st.retired[max(0, len(st.retired)-maxRetired):]
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

// maxRetired bounds the releases whose images may still run.
const maxRetired = 16

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

// A snapshot is one state of the inventory. It does not change.
type snapshot struct {
	records    map[key]*record
	tombs      map[key]*release // with the release that buried it
	namespaces map[string]*scope
	kinds      map[schema.GroupKind]string // resource, of the kinds that Git has
	resources  map[schema.GroupResource]*release
	groups     map[string]*release
	identities map[string]*release // users whose word opens leaves
	accounts   map[string]bool     // the namespaces of those that are service accounts
	images     *images
	closers    []*release                      // releases with delegations, for whole objects
	coming     map[types.NamespacedName]string // revisions that are announced and not known
	top        *release                        // a release of the strictest mode; nil if there is none
}

func newSnapshot() *snapshot {
	return &snapshot{
		records: map[key]*record{}, tombs: map[key]*release{}, namespaces: map[string]*scope{},
		kinds: map[schema.GroupKind]string{}, resources: map[schema.GroupResource]*release{},
		groups: map[string]*release{}, identities: map[string]*release{}, coming: map[types.NamespacedName]string{}, accounts: map[string]bool{}, images: newImages(),
	}
}

// A record is what is known of one object.
type record struct {
	current  *entry  // nil if the release that is being applied drops it
	previous *entry  // nil if the current one is applied
	next     *record // the claim of another GitSync, which does not count
}

func (r *record) release() *release {
	if r.current != nil {
		return r.current.release
	}
	return r.previous.release
}

// A scope is what is known of one namespace.
type scope struct {
	closed  *release // of the strictest mode among those that close it
	managed *release // the same among those that have, or had, objects in it
	holds   *release // the same among those whose current revision has
}

// strictest returns whichever of the two has the stricter mode, a if they are
// alike.
func strictest(a, b *release) *release {
	if a == nil || b != nil && b.mode.rank() > a.mode.rank() {
		return b
	}
	return a
}

func (s *snapshot) namespace(name string) *scope {
	n := s.namespaces[name]
	if n == nil {
		n = &scope{}
		s.namespaces[name] = n
	}
	return n
}

// take adds what is known of a GitSync.
func (s *snapshot) take(st *syncState) {
	cur := st.current
	s.top = strictest(s.top, cur)
	for k := range st.tombs {
		s.tombs[k] = cur
	}
	s.enter(cur, func(r *record, e *entry) { r.current = e })
	if st.announced != "" && st.announced != cur.revision && (st.previous == nil || st.announced != st.previous.revision) {
		s.coming[cur.sync] = st.announced
	}
	if st.previous != nil {
		s.enter(st.previous, func(r *record, e *entry) { r.previous = e })
	}
	home := s.namespace(cur.sync.Namespace)
	home.managed, home.holds = strictest(home.managed, cur), strictest(home.holds, cur)
	for _, ns := range cur.namespaces {
		n := s.namespace(ns)
		n.closed = strictest(n.closed, cur)
	}
	s.protect(cur.writer, cur)
	for _, d := range cur.delegations {
		s.protect(d.Writer, cur)
	}
	if len(cur.delegations) > 0 {
		s.closers = append(s.closers, cur)
	}
	s.images.merge(cur.images)
	for _, set := range st.retired {
		s.images.merge(set)
	}
}

// protect notes a user whose word opens leaves.
func (s *snapshot) protect(user string, rel *release) {
	if user == "" || rel.confined && !strings.HasPrefix(user, "system:serviceaccount:"+rel.sync.Namespace+":") {
		return
	}
	s.identities[user] = strictest(s.identities[user], rel)
	if account, ok := strings.CutPrefix(user, "system:serviceaccount:"); ok {
		namespace, _, _ := strings.Cut(account, ":")
		s.accounts[namespace] = true
	}
}

// enter records the objects of a release.
func (s *snapshot) enter(rel *release, set func(*record, *entry)) {
	for k, e := range rel.entries {
		r := s.records[k]
		switch {
		case r == nil:
			r = &record{}
			s.records[k] = r
		case r.release().sync != rel.sync:
			r = r.claim(rel.sync)
		}
		set(r, e)
		s.kinds[e.kind.GroupKind()] = k.resource
		if k.namespace != "" {
			n := s.namespace(k.namespace)
			n.managed = strictest(n.managed, rel)
		}
		if r.current != nil {
			s.hold(k, rel)
		}
	}
}

// hold notes what the object cannot live without.
func (s *snapshot) hold(k key, rel *release) {
	gr := schema.GroupResource{Group: k.group, Resource: k.resource}
	s.resources[gr] = strictest(s.resources[gr], rel)
	s.groups[k.group] = strictest(s.groups[k.group], rel)
	if k.namespace != "" {
		n := s.namespace(k.namespace)
		n.holds = strictest(n.holds, rel)
	}
}

// claim returns the GitSync's own record beside those of others.
func (r *record) claim(sync types.NamespacedName) *record {
	for ; ; r = r.next {
		if r.next == nil {
			r.next = &record{}
			return r.next
		}
		if r.next.release().sync == sync {
			return r.next
		}
	}
}

func (s *images) merge(other *images) {
	if other == nil {
		return
	}
	maps.Copy(s.digests, other.digests)
	maps.Copy(s.tags, other.tags)
	maps.Copy(s.refs, other.refs)
}
