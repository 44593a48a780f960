package lock

import (
	"maps"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

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
	closers    []*release                        // releases with delegations, for whole objects
	coming     map[types.NamespacedName]string   // revisions that are announced and not known
	top        *release                          // a release of the strictest mode; nil if there is none
	closing    map[string][]types.NamespacedName // who closes a namespace
	refers     map[key]bool                      // what the GitSyncs are, and what their specs name
}

func newSnapshot() *snapshot {
	return &snapshot{
		records: map[key]*record{}, tombs: map[key]*release{}, namespaces: map[string]*scope{},
		kinds: map[schema.GroupKind]string{}, resources: map[schema.GroupResource]*release{},
		groups: map[string]*release{}, identities: map[string]*release{}, coming: map[types.NamespacedName]string{}, accounts: map[string]bool{}, images: newImages(),
		closing: map[string][]types.NamespacedName{}, refers: map[key]bool{},
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
		s.closing[ns] = append(s.closing[ns], cur.sync)
	}
	s.refers[key{ownGroup, "gitsyncs", cur.sync.Namespace, cur.sync.Name}] = true
	for _, name := range cur.secrets {
		s.refers[key{"", "secrets", cur.sync.Namespace, name}] = true
	}
	s.protect(cur.writer, cur)
	for _, d := range cur.delegations {
		s.protect(d.Writer, cur)
	}
	if len(cur.delegations) > 0 {
		s.closers = append(s.closers, cur)
	}
	s.images.merge(cur.images)
	if st.previous != nil {
		s.images.merge(st.previous.images)
	}
	s.images.merge(st.retired)
	for _, refs := range st.refs {
		maps.Copy(s.images.refs, refs)
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
