package commit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// objects reads objects and hashes again what it read, so that neither a
// damaged nor a lying store can pass one object for another. go-git's storage
// is not safe for concurrent use: reads are serialised here.
type objects struct {
	mu     sync.Mutex
	store  storer.EncodedObjectStorer
	limits Limits

	trees  map[plumbing.Hash][]entry // parsed, guarded by mu
	parsed int                       // entries in trees
}

func newObjects(s storer.EncodedObjectStorer, l Limits) *objects {
	return &objects{store: s, limits: l, trees: map[plumbing.Hash][]entry{}}
}

// read returns the raw bytes of an object of type kind and at most limit bytes.
func (o *objects) read(kind plumbing.ObjectType, h plumbing.Hash, limit int64) ([]byte, *ObjectError) {
	raw, err := o.fetch(h, kind, limit)
	if err != nil {
		err.Object = h.String()
		return nil, err
	}
	// ComputeHash uses the collision-detecting SHA-1 that go-git registers.
	if got := plumbing.ComputeHash(kind, raw); got != h {
		return nil, &ObjectError{Reason: HashMismatch, Object: h.String(),
			Message: fmt.Sprintf("the bytes under this name hash to %s: the repository is damaged or forged", got)}
	}
	return raw, nil
}

func (o *objects) fetch(h plumbing.Hash, kind plumbing.ObjectType, limit int64) (raw []byte, fault *ObjectError) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer func() {
		if p := recover(); p != nil { // a damaged pack must not end the process
			raw, fault = nil, &ObjectError{Reason: MalformedObject, Message: fmt.Sprintf("unreadable object: %v", p)}
		}
	}()
	tooLarge := func(n int64) *ObjectError {
		return &ObjectError{Reason: LimitExceeded, Err: ErrTooLarge,
			Message: fmt.Sprintf("%s of %d bytes, more than the %d allowed", kind, n, limit)}
	}
	// The size that a store states costs little to ask and spares the reading. A
	// store that cannot tell, as for alternates, is asked for the object itself.
	if n, err := o.store.EncodedObjectSize(h); err == nil && n > limit {
		return nil, tooLarge(n)
	}
	obj, err := o.store.EncodedObject(plumbing.AnyObject, h)
	switch {
	case errors.Is(err, plumbing.ErrObjectNotFound):
		return nil, &ObjectError{Reason: IncompleteHistory, Err: err,
			Message: "the object is missing: fetch the whole history (is the clone shallow?)"}
	case err != nil:
		return nil, unreadable(err)
	case obj.Type() != kind:
		return nil, malformed("a %s where a %s belongs", obj.Type(), kind)
	}
	r, err := obj.Reader()
	if err != nil {
		return nil, unreadable(err)
	}
	defer r.Close() // nothing was written
	var b bytes.Buffer
	b.Grow(int(max(0, min(obj.Size(), limit, believedSize))) + bytes.MinRead)
	_, err = b.ReadFrom(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, unreadable(err)
	case int64(b.Len()) > limit:
		return nil, tooLarge(obj.Size())
	}
	return b.Bytes(), nil
}

// believedSize is the most that is allocated because a store says how large an object is.
const believedSize = 1 << 20

func unreadable(err error) *ObjectError {
	return &ObjectError{Reason: SourceUnavailable, Undetermined: true, Err: err,
		Message: fmt.Sprintf("the object store cannot be read: %v", err)}
}

func (o *objects) commit(h plumbing.Hash) (*commitObject, *ObjectError) {
	raw, err := o.read(plumbing.CommitObject, h, o.limits.CommitBytes)
	if err != nil {
		return nil, err
	}
	c, err := parseCommit(raw)
	if err != nil {
		err.Object = h.String()
		return nil, err
	}
	return c, nil
}

// maxParsedEntries bounds the parsed trees that are kept: consecutive commits
// share most of theirs.
const maxParsedEntries = 500_000

// emptyTree is the hash of the tree without entries. Git knows it without having
// it, so repositories may lack the object.
var emptyTree = plumbing.ComputeHash(plumbing.TreeObject, nil)

// tree returns the entries of a tree object. They must not be changed.
func (o *objects) tree(h plumbing.Hash) ([]entry, *ObjectError) {
	if h == emptyTree {
		return nil, nil
	}
	o.mu.Lock()
	entries, ok := o.trees[h]
	o.mu.Unlock()
	if ok {
		return entries, nil
	}
	raw, err := o.read(plumbing.TreeObject, h, o.limits.TreeBytes)
	if err != nil {
		return nil, err
	}
	if entries, err = parseTree(raw); err != nil {
		err.Object = h.String()
		return nil, err
	}
	o.mu.Lock()
	if o.parsed += len(entries) + 1; o.parsed > maxParsedEntries {
		clear(o.trees)
		o.parsed = len(entries) + 1
	}
	o.trees[h] = entries
	o.mu.Unlock()
	return entries, nil
}

// stopped turns the end of a context into a problem that may go away.
func stopped(ctx context.Context, h plumbing.Hash) *ObjectError {
	return &ObjectError{Reason: SourceUnavailable, Object: h.String(), Undetermined: true,
		Err: context.Cause(ctx), Message: fmt.Sprintf("verification stopped: %v", context.Cause(ctx))}
}
