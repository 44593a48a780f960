package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// lockPoll is how often a lock that another process holds is tried again.
const lockPoll = 25 * time.Millisecond

// A clone is the store of one repository. It is a bare repository that git can
// read, but it is written by this package alone, under a lock that other
// processes respect.
//
//	objects/pack/            packs, each of which stands alone
//	objects/info/packs       which of them count
//	refs/gitgate/heads/      what was fetched last, by hash of the branch
//	refs/gitgate/applied/    what was applied last, by hash of the owner
//	gitgate.earlier/         what was in force before that, likewise
//	gitgate.lock, tmp/       the lock, and what is being written under it
//	gitgate.unused           since when nobody refers to it, see [Cache.Prune]
type clone struct {
	url, dir string
	cache    *objectCache
	damaged  atomic.Bool
	// writer holds one token, the right to change the store.
	writer chan struct{}

	mu     sync.RWMutex
	loaded bool
	packs  []*pack // replaced, never changed
}

func newClone(url, dir string) *clone {
	return &clone{url: url, dir: dir, cache: newObjectCache(), writer: make(chan struct{}, 1)}
}

func (c *clone) packDir() string { return filepath.Join(c.dir, "objects", "pack") }
func (c *clone) tempDir() string { return filepath.Join(c.dir, "tmp") }

// lock takes the right to change the store, among goroutines and processes, and
// brings the view of it up to date.
func (c *clone) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case c.writer <- struct{}{}:
	case <-ctx.Done():
		return nil, unavailable("the clone is busy: %w", context.Cause(ctx))
	}
	release := func() { <-c.writer }
	defer func() {
		if err != nil {
			release()
		}
	}()
	file, err := c.flock(ctx)
	if err != nil {
		return nil, err
	}
	unlock = func() { closeQuietly(file); release() }
	if err := c.refresh(); err != nil {
		closeQuietly(file)
		return nil, err
	}
	return unlock, nil
}

// flock locks the directory against other processes. One that was removed while we
// waited, as unused, is made anew.
func (c *clone) flock(ctx context.Context) (*os.File, error) {
	for {
		file, err := c.tryFlock(ctx)
		if !errors.Is(err, os.ErrNotExist) || ctx.Err() != nil {
			return file, err
		}
	}
}

// tryFlock fails with [os.ErrNotExist] when the directory is removed meanwhile.
func (c *clone) tryFlock(ctx context.Context) (_ *os.File, err error) {
	if err := c.layout(); err != nil {
		return nil, err
	}
	path := filepath.Join(c.dir, lockFile)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeQuietly(file)
		}
	}()
	if err := waitLock(ctx, file); err != nil {
		return nil, err
	}
	ours, err := file.Stat()
	if err != nil {
		return nil, err
	}
	there, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !os.SameFile(ours, there) {
		return nil, os.ErrNotExist // what we locked is not here any more
	}
	return file, removeFile(filepath.Join(c.dir, unusedFile))
}

func waitLock(ctx context.Context, file *os.File) error {
	for {
		ok, err := tryLock(file)
		if err != nil {
			return fmt.Errorf("lock the clone: %w", err)
		}
		if ok {
			return nil
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return unavailable("another process holds the clone: %w", context.Cause(ctx))
		}
	}
}

// layout makes the directories and the files that make git see a repository.
func (c *clone) layout() error {
	for _, d := range []string{c.packDir(), filepath.Dir(c.manifestFile()), c.tempDir(), c.refDir(headRefs), c.refDir(appliedRefs)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	for name, content := range map[string]string{
		"HEAD":        "ref: refs/heads/main\n",
		"config":      "[core]\n\trepositoryformatversion = 0\n\tbare = true\n[gc]\n\tauto = 0\n",
		"description": c.url + "\n",
	} {
		file := filepath.Join(c.dir, name)
		if _, err := os.Stat(file); err == nil {
			continue
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// refresh opens packs that are new, closes those that are gone and sweeps away
// what an interrupted writer left. The lock must be held. What cannot be read
// leaves the store damaged.
func (c *clone) refresh() error {
	names, err := c.readManifest()
	if err != nil {
		c.damaged.Store(true)
	}
	if err := c.sweep(names); err != nil {
		return err
	}
	old := map[string]*pack{}
	for _, p := range c.view() {
		old[p.name] = p
	}
	var packs []*pack
	for _, name := range names {
		p, ok := old[name]
		if !ok {
			if p, err = openPack(c.packDir(), name, true); err != nil {
				c.damaged.Store(true)
				continue
			}
		}
		packs = append(packs, p)
	}
	if _, err := c.listRefs(headRefs); err != nil {
		c.damaged.Store(true)
	}
	c.install(packs)
	return nil
}

// view returns the packs as they are now.
func (c *clone) view() []*pack {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.packs
}

// install replaces the packs.
func (c *clone) install(packs []*pack) {
	keep := map[*pack]bool{}
	for _, p := range packs {
		keep[p] = true
	}
	c.mu.Lock()
	gone := map[*pack]bool{}
	for _, p := range c.packs {
		if !keep[p] {
			gone[p] = true
		}
	}
	c.packs, c.loaded = packs, true
	c.mu.Unlock()
	if len(gone) > 0 {
		c.cache.dropPacks(gone)
	}
}

// load opens the store on first use.
func (c *clone) load(ctx context.Context) error {
	c.mu.RLock()
	loaded := c.loaded
	c.mu.RUnlock()
	if loaded {
		return nil
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	unlock()
	return nil
}

// objects is read access to the packs as they are now.
func (c *clone) objects() *Objects {
	return &Objects{url: c.url, packs: c.view(), cache: c.cache, damaged: &c.damaged}
}

// hasAll reports whether the store is sound and has the objects, and with them,
// since it is closed, all that they need.
func (c *clone) hasAll(hashes []plumbing.Hash) bool {
	return !c.damaged.Load() && len(c.lacking(hashes)) == 0
}

func (c *clone) lacking(hashes []plumbing.Hash) []plumbing.Hash {
	o := c.objects()
	var out []plumbing.Hash
	for _, h := range hashes {
		if o.HasEncodedObject(h) != nil {
			out = append(out, h)
		}
	}
	return out
}
