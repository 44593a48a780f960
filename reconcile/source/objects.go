package source

import (
	"bytes"
	"io"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// Objects is read access to a clone as it was at one fetch. It implements
// go-git's storer.EncodedObjectStorer, is safe for concurrent use, and stays
// usable while later fetches add to the clone or replace it.
//
// Every object is hashed before it is handed out. One that does not have the
// name by which it was asked for is an [*Error] with the reason [HashMismatch],
// and makes the next fetch replace the clone.
type Objects struct {
	url     string
	packs   []*pack
	cache   *objectCache
	damaged *atomic.Bool
}

var _ storer.EncodedObjectStorer = (*Objects)(nil)

// find returns where an object is.
func (o *Objects) find(h plumbing.Hash) (*pack, uint32, bool) {
	for _, p := range o.packs {
		if at, ok := p.find(h); ok {
			return p, at, true
		}
	}
	return nil, 0, false
}

func (o *Objects) read(h plumbing.Hash) (stored, error) {
	p, at, ok := o.find(h)
	if !ok {
		return stored{}, plumbing.ErrObjectNotFound
	}
	object, err := p.read(at, o.cache)
	if err == nil && object.hashed {
		return object, nil
	}
	if err == nil && plumbing.ComputeHash(object.kind, object.data) != h {
		err = damaged("object %s", h)
	}
	if err != nil {
		// Whatever the cause, a clone that cannot be read is of no use.
		o.damaged.Store(true)
		return stored{}, wrap("read", o.url, nil, err)
	}
	object.hashed = true
	o.cache.put(cacheKey{p, at}, object)
	return object, nil
}

// EncodedObject returns an object of the given type, or
// plumbing.ErrObjectNotFound. Callers must not change its bytes.
func (o *Objects) EncodedObject(kind plumbing.ObjectType, h plumbing.Hash) (plumbing.EncodedObject, error) {
	object, err := o.read(h)
	if err != nil {
		return nil, err
	}
	if kind != plumbing.AnyObject && kind != object.kind {
		return nil, plumbing.ErrObjectNotFound
	}
	return &encodedObject{hash: h, stored: object}, nil
}

// HasEncodedObject returns nil if the clone has the object, else
// plumbing.ErrObjectNotFound.
func (o *Objects) HasEncodedObject(h plumbing.Hash) error {
	if _, _, ok := o.find(h); !ok {
		return plumbing.ErrObjectNotFound
	}
	return nil
}

// EncodedObjectSize returns the size of an object's content, in bytes.
func (o *Objects) EncodedObjectSize(h plumbing.Hash) (int64, error) {
	object, err := o.read(h)
	return int64(len(object.data)), err
}

// IterEncodedObjects iterates over the objects of a type, in no order that
// means anything.
func (o *Objects) IterEncodedObjects(kind plumbing.ObjectType) (storer.EncodedObjectIter, error) {
	var series []plumbing.Hash
	seen := map[plumbing.Hash]bool{}
	for _, p := range o.packs {
		for i := range p.len() {
			h := plumbing.Hash(p.index.name(i))
			if seen[h] {
				continue
			}
			seen[h] = true
			if kind != plumbing.AnyObject {
				k, err := p.kindOf(p.offsets[i])
				if err != nil {
					o.damaged.Store(true)
					return nil, wrap("read", o.url, nil, err)
				}
				if k != kind {
					continue
				}
			}
			series = append(series, h)
		}
	}
	return storer.NewEncodedObjectLookupIter(o, kind, series), nil
}

// NewEncodedObject returns an object that cannot be stored here.
func (o *Objects) NewEncodedObject() plumbing.EncodedObject { return &plumbing.MemoryObject{} }

// SetEncodedObject returns [ErrReadOnly].
func (o *Objects) SetEncodedObject(plumbing.EncodedObject) (plumbing.Hash, error) {
	return plumbing.ZeroHash, ErrReadOnly
}

// AddAlternate returns [ErrReadOnly].
func (o *Objects) AddAlternate(string) error { return ErrReadOnly }

// An encodedObject is one object for go-git. It cannot be changed.
type encodedObject struct {
	hash plumbing.Hash
	stored
}

func (e *encodedObject) Hash() plumbing.Hash         { return e.hash }
func (e *encodedObject) Type() plumbing.ObjectType   { return e.kind }
func (e *encodedObject) SetType(plumbing.ObjectType) {}
func (e *encodedObject) Size() int64                 { return int64(len(e.data)) }
func (e *encodedObject) SetSize(int64)               {}
func (e *encodedObject) Reader() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(e.data)), nil
}
func (e *encodedObject) Writer() (io.WriteCloser, error) { return nil, ErrReadOnly }
