package audit

import (
	"crypto/sha256"
	"encoding/json"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// An objectID names an object.
type objectID struct {
	resource
	namespace, name string
}

// An entry is what is kept of an object.
type entry struct {
	target target
	uid    types.UID
	// contested means that another object of this name was seen, which was not seen to
	// go: which of them the API server has has to be asked.
	contested bool
	// refs are its ownerReferences, if it has any.
	refs []any
	// earlier means that it was there when we began to watch.
	earlier bool
	// proven is the digest of the content that was seen to follow from its owner.
	proven [sha256.Size]byte
	// owners are the UIDs of what explains it.
	owners []types.UID
	// judged is false until something was decided.
	judged bool
	// since is when it was first found unexplained; zero while it is explained.
	since time.Time
	// stray is what was told of it; nil if it is none.
	stray *Stray
}

// A book holds what is known of the objects in closed namespaces.
type book struct {
	entries  map[objectID]*entry
	strays   map[objectID]*entry
	open     map[objectID]bool // neither explained nor strays yet
	uids     map[types.UID]bool
	children map[types.UID]map[objectID]bool
	full     bool // something was left out
}

func newBook() *book {
	return &book{
		entries: map[objectID]*entry{}, strays: map[objectID]*entry{}, open: map[objectID]bool{},
		uids: map[types.UID]bool{}, children: map[types.UID]map[objectID]bool{},
	}
}

// each calls f with every entry. It may remove entries.
func (b *book) each(f func(objectID, *entry)) {
	for id, e := range b.entries {
		f(id, e)
	}
}

// entry returns the entry of an object, a new one if there is none, or nil if there is
// no room.
func (b *book) entry(id objectID, t target, uid types.UID, earlier bool) *entry {
	e := b.entries[id]
	if e == nil {
		if len(b.entries) >= maxObjects {
			b.full = true
			return nil
		}
		e = &entry{target: t, uid: uid, earlier: earlier}
		b.entries[id] = e
	}
	return e
}

// rest has the object rest upon owners, in the place of those it did.
func (b *book) rest(id objectID, e *entry, owners []types.UID) {
	for _, uid := range e.owners {
		delete(b.children[uid], id)
		if len(b.children[uid]) == 0 {
			delete(b.children, uid)
		}
	}
	e.owners = owners
	for _, uid := range owners {
		if b.children[uid] == nil {
			b.children[uid] = map[objectID]bool{}
		}
		b.children[uid][id] = true
	}
}

// remove forgets an object.
func (b *book) remove(id objectID, e *entry) {
	b.rest(id, e, nil)
	delete(b.entries, id)
	delete(b.strays, id)
	delete(b.open, id)
}

// digest is that of a part of an object.
func digest(part map[string]any) [sha256.Size]byte {
	raw, err := json.Marshal(part)
	if err != nil { // nothing is proven of what cannot be written
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(raw)
}

func metadataOf(object map[string]any) map[string]any {
	m, _ := object["metadata"].(map[string]any)
	return m
}

func text(m map[string]any, name string) string {
	s, _ := m[name].(string)
	return s
}

func uidOf(object map[string]any) types.UID { return types.UID(text(metadataOf(object), "uid")) }
