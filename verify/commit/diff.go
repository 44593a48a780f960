package commit

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// changed lists the paths in which a commit differs from any of its parents,
// sorted. A commit without parents changes all that it holds.
func (v *Verifier) changed(ctx context.Context, objs *objects, rec *record) ([]string, *ObjectError) {
	var befores []plumbing.Hash
	for _, p := range rec.parents {
		tree, err := v.treeOf(objs, p)
		if err != nil {
			return nil, err
		}
		befores = append(befores, tree)
	}
	return changedSince(ctx, objs, befores, rec.tree)
}

// treeOf returns the tree of a commit.
func (v *Verifier) treeOf(objs *objects, h plumbing.Hash) (plumbing.Hash, *ObjectError) {
	if rec := v.memo.get(h); rec != nil {
		return rec.tree, nil
	}
	c, err := objs.commit(h)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return c.tree, nil
}

// changedSince lists the paths in which a tree differs from any of the others;
// from the empty tree if there are none.
func changedSince(ctx context.Context, objs *objects, befores []plumbing.Hash, tree plumbing.Hash) ([]string, *ObjectError) {
	d := differ{ctx: ctx, objs: objs, paths: map[string]bool{}}
	if len(befores) == 0 {
		befores = []plumbing.Hash{plumbing.ZeroHash}
	}
	for _, before := range befores {
		if err := d.trees(before, tree, "", 0); err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(d.paths)), nil
}

// A differ gathers the paths of files, links and submodules that differ between
// two trees in content or mode. Equal subtrees are not read.
type differ struct {
	ctx   context.Context
	objs  *objects
	paths map[string]bool
}

// trees compares two trees; the zero hash is the empty one.
func (d *differ) trees(a, b plumbing.Hash, dir string, depth int) *ObjectError {
	if a == b {
		return nil
	}
	if d.ctx.Err() != nil {
		return stopped(d.ctx, b)
	}
	if depth > d.objs.limits.Depth {
		return &ObjectError{Reason: LimitExceeded, Object: b.String(), Path: dir,
			Message: fmt.Sprintf("directories nest deeper than %d", d.objs.limits.Depth)}
	}
	before, err := d.read(a, dir)
	if err != nil {
		return err
	}
	after, err := d.read(b, dir)
	if err != nil {
		return err
	}
	// Entries are found by name: a file that becomes a directory sorts elsewhere.
	old := make(map[string]entry, len(before))
	for _, e := range before {
		old[e.name] = e
	}
	for _, e := range after {
		was := old[e.name]
		delete(old, e.name)
		if err := d.entries(was, e, dir+e.name, depth); err != nil {
			return err
		}
	}
	for _, was := range old {
		if err := d.entries(was, entry{}, dir+was.name, depth); err != nil {
			return err
		}
	}
	return nil
}

// entries compares what is at one path; the zero entry is nothing.
func (d *differ) entries(a, b entry, path string, depth int) *ObjectError {
	if a.mode == b.mode && a.hash == b.hash {
		return nil
	}
	var dirA, dirB plumbing.Hash
	if a.mode == filemode.Dir {
		dirA = a.hash
	}
	if b.mode == filemode.Dir {
		dirB = b.hash
	}
	if a.mode != filemode.Dir && a.mode != filemode.Empty || b.mode != filemode.Dir && b.mode != filemode.Empty {
		if d.paths[path] = true; len(d.paths) > d.objs.limits.Paths {
			return &ObjectError{Reason: LimitExceeded, Object: b.hash.String(), Path: path,
				Message: fmt.Sprintf("more than %d paths change", d.objs.limits.Paths)}
		}
	}
	return d.trees(dirA, dirB, path+"/", depth+1)
}

func (d *differ) read(h plumbing.Hash, dir string) ([]entry, *ObjectError) {
	if h.IsZero() {
		return nil, nil
	}
	entries, err := d.objs.tree(h)
	if err != nil && err.Path == "" {
		err.Path = dir
	}
	return entries, err
}
