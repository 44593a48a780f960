package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/reconcile"
)

// A goodSet is a PolicySet that compiled. A set that was deleted and made anew is
// another one, for which the old rules do not speak.
type goodSet struct {
	uid types.UID
	set *policy.Compiled
}

// CheckPolicy implements [reconcile.GateBuilder].
func (g *gates) CheckPolicy(ctx context.Context, in reconcile.PolicyInput) error {
	_, err := g.compiled.get(ctx, in)
	return err
}

// engine makes an engine of the sets. One that does not compile is replaced by its
// last version that did; without one it is an error, which denies. Each caller has
// an engine of its own, lest objects of one GitSync that rules choke on stop those
// of another; the compiled rules are shared.
func (g *gates) engine(ctx context.Context, in []reconcile.PolicyInput) (*policy.Engine, error) {
	var sets []*policy.Compiled
	var bad []error
	for _, p := range in {
		if p.Withheld != nil { // what was in force is not to be any more
			bad = append(bad, p.Withheld)
			continue
		}
		set, err := g.compiled.get(ctx, p)
		if err = g.lastVersion(p, &set, err); err != nil {
			bad = append(bad, err)
			continue
		}
		sets = append(sets, set)
	}
	if len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	return policy.Join(sets, policyOptions)
}

// lastVersion remembers a set that compiled, and puts the last one that did in the
// place of one that did not.
func (g *gates) lastVersion(p reconcile.PolicyInput, set **policy.Compiled, err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		g.lastGood[p.Set.Name] = goodSet{p.Set.UID, *set}
		return nil
	}
	old, ok := g.lastGood[p.Set.Name]
	if !ok || old.uid != p.Set.UID {
		return err
	}
	*set = old.set
	return nil
}

// maxCompilations bounds what is kept of sets. A set that is in use somewhere and
// not kept any more is compiled again for the next who needs it.
const maxCompilations = 256

// compilations keeps compiled sets by their content. The zero value is empty.
type compilations struct {
	mu     sync.Mutex
	byHash map[[sha256.Size]byte]*compilation
	clock  uint64
}

// A compilation is the outcome for one content, which never changes.
type compilation struct {
	used uint64 // when, by the clock of compilations

	mu   sync.Mutex // held while compiling
	done bool
	set  *policy.Compiled
	err  error
}

// get compiles a set unless that was done before, whatever the outcome was. Sets
// of different content do not wait for each other.
func (c *compilations) get(ctx context.Context, in reconcile.PolicyInput) (*policy.Compiled, error) {
	set, err := policySet(in)
	if err != nil {
		return nil, err
	}
	content, err := json.Marshal(set) // with the keys of maps in order
	if err != nil {
		return policy.Compile(ctx, set, policyOptions)
	}
	entry := c.entry(sha256.Sum256(content))
	entry.mu.Lock()
	defer entry.mu.Unlock()
	if entry.done {
		return entry.set, entry.err
	}
	out, err := policy.Compile(ctx, set, policyOptions)
	if ctx.Err() != nil {
		return out, err // says nothing about the set
	}
	entry.set, entry.err, entry.done = out, err, true
	return out, err
}

// entry finds or makes the place of a content, and forgets what was used least
// recently if there are too many.
func (c *compilations) entry(hash [sha256.Size]byte) *compilation {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byHash == nil {
		c.byHash = map[[sha256.Size]byte]*compilation{}
	}
	e := c.byHash[hash]
	if e == nil {
		if len(c.byHash) >= maxCompilations {
			c.forgetOldest()
		}
		e = &compilation{}
		c.byHash[hash] = e
	}
	c.clock++
	e.used = c.clock
	return e
}

func (c *compilations) forgetOldest() {
	var oldest [sha256.Size]byte
	least := c.clock + 1
	for hash, e := range c.byHash {
		if e.used < least {
			oldest, least = hash, e.used
		}
	}
	delete(c.byHash, oldest)
}
