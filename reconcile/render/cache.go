package render

import (
	"container/list"
	"crypto/sha256"
	"encoding/json"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A Cache keeps parsed files by the hash of their content, and built kustomizations
// and parts of them by the hash of everything they depend on, so that a new revision
// costs what changed in it. It drops what was used longest ago. A Cache is safe for
// concurrent use and may be shared by repositories; the zero value is not usable,
// see [NewCache].
type Cache struct {
	mu      sync.Mutex
	max     int
	size    int
	entries map[cacheKey]*list.Element
	recent  *list.List // front is the most recent
}

type cacheKey struct {
	kind   entryKind
	hash   string
	limits Limits // what is refused depends on them
	// object is what an adapted object was made from. The entry holds on to it, so
	// that the address cannot come to mean another object.
	object *unstructured.Unstructured
}

// An entryKind keeps apart what is derived from the same bytes.
type entryKind uint8

const (
	parsedManifest entryKind = iota
	parsedBuild
	builtKustomization
	builtObject
	adaptedObject
	builtPart
)

type cacheEntry struct {
	key   cacheKey
	value any
	size  int
}

// NewCache returns a cache that holds about so many bytes. Parsed objects take a
// multiple of their file's size, which is accounted for roughly.
func NewCache(maxBytes int) *Cache {
	return &Cache{max: maxBytes, entries: map[cacheKey]*list.Element{}, recent: list.New()}
}

// get returns a cached value. A nil cache holds nothing.
func (c *Cache) get(k cacheKey) (any, bool) {
	if c == nil {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[k]
	if !ok {
		return nil, false
	}
	c.recent.MoveToFront(e)
	return e.Value.(*cacheEntry).value, true
}

// put keeps a value of about so many bytes. It must not be changed any more.
func (c *Cache) put(k cacheKey, value any, size int) {
	if c == nil || size > c.max {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[k]; ok {
		c.drop(e)
	}
	c.entries[k] = c.recent.PushFront(&cacheEntry{key: k, value: value, size: size})
	c.size += size
	for c.size > c.max {
		c.drop(c.recent.Back())
	}
}

func (c *Cache) drop(e *list.Element) {
	entry := c.recent.Remove(e).(*cacheEntry)
	delete(c.entries, entry.key)
	c.size -= entry.size
}

// intern returns the object for its JSON form, the same for the same form as long
// as it is cached: later stages know by the pointer what they have judged before.
func (c *Cache) intern(top map[string]any) (*unstructured.Unstructured, error) {
	if c == nil {
		return &unstructured.Unstructured{Object: top}, nil
	}
	raw, err := json.Marshal(top)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	key := cacheKey{kind: builtObject, hash: string(sum[:])}
	if v, ok := c.get(key); ok {
		return v.(*unstructured.Unstructured), nil
	}
	u := &unstructured.Unstructured{Object: top}
	c.put(key, u, 512+8*len(raw))
	return u, nil
}

// adapted returns what adapt makes of an object, the same each time that change,
// which says what adapt does, is the same.
func (c *Cache) adapted(u *unstructured.Unstructured, change string, adapt func() *unstructured.Unstructured) *unstructured.Unstructured {
	key := cacheKey{kind: adaptedObject, object: u, hash: change}
	if v, ok := c.get(key); ok {
		return v.(*unstructured.Unstructured)
	}
	out := adapt()
	c.put(key, out, 1024)
	return out
}
