package source

import (
	"container/list"
	"sync"
)

const (
	// cacheBytes bounds the objects that a clone keeps inflated.
	cacheBytes = 24 << 20
	// cacheObject is the largest object that is kept.
	cacheObject = 1 << 20
)

type cacheKey struct {
	pack   *pack
	offset uint32
}

type cacheItem struct {
	key    cacheKey
	object stored
}

// An objectCache keeps the objects that were read last: the same trees and
// commits are read for every revision. It is safe for concurrent use.
type objectCache struct {
	mu    sync.Mutex
	items map[cacheKey]*list.Element
	order list.List // most recent first
	size  int
}

func newObjectCache() *objectCache { return &objectCache{items: map[cacheKey]*list.Element{}} }

func (c *objectCache) get(k cacheKey) (stored, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[k]
	if !ok {
		return stored{}, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cacheItem).object, true
}

// put keeps an object, or replaces it.
func (c *objectCache) put(k cacheKey, o stored) {
	if len(o.data) > cacheObject {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[k]; ok {
		e.Value.(*cacheItem).object = o
		return
	}
	c.items[k] = c.order.PushFront(&cacheItem{k, o})
	for c.size += len(o.data); c.size > cacheBytes; {
		oldest := c.order.Remove(c.order.Back()).(*cacheItem)
		delete(c.items, oldest.key)
		c.size -= len(oldest.object.data)
	}
}

// dropPacks forgets the objects of packs that are gone.
func (c *objectCache) dropPacks(gone map[*pack]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.order.Front(); e != nil; {
		next := e.Next()
		if item := e.Value.(*cacheItem); gone[item.key.pack] {
			c.order.Remove(e)
			delete(c.items, item.key)
			c.size -= len(item.object.data)
		}
		e = next
	}
}
