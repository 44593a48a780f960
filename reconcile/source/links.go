package source

import (
	"bytes"

	"github.com/go-git/go-git/v5/plumbing"
)

// addObject notes an object of the pack and what it names.
func (x *indexer) addObject(h plumbing.Hash, kind plumbing.ObjectType, data []byte) error {
	x.known[h] = struct{}{}
	delete(x.missing, h)
	var bad error
	links(kind, data, func(to plumbing.Hash) bool {
		if to == plumbing.ZeroHash {
			bad = malformed("%s %s is malformed", kind, h)
			return false
		}
		if _, ok := x.known[to]; ok {
			return true
		}
		if _, ok := x.missing[to]; ok || x.has(to) {
			return true
		}
		// No more can be missing than are still to come.
		if x.missing[to] = h; len(x.missing) > x.declared {
			bad = x.incomplete()
			return false
		}
		return true
	})
	return bad
}

// verifyClosed requires that every object which one of the pack names is in it
// or in the store. With that, to have a commit is to have its history.
func (x *indexer) verifyClosed() error {
	if len(x.missing) > 0 {
		return x.incomplete()
	}
	return nil
}

func (x *indexer) incomplete() error {
	for h, by := range x.missing {
		return problemf(IncompleteHistory, "the server left out object %s, which %s names", h, by)
	}
	return nil
}

// links calls yield for each object that an object needs: a commit's tree and
// parents, a tag's object, a tree's entries except submodules, whose commits
// live elsewhere. A malformed object yields the zero hash. It goes by what git
// itself follows; what else is wrong with a commit is for verify/commit to
// find.
func links(kind plumbing.ObjectType, data []byte, yield func(plumbing.Hash) bool) {
	switch kind {
	case plumbing.CommitObject:
		rest, ok := link(data, "tree ", yield)
		for more := ok; more && bytes.HasPrefix(rest, []byte("parent ")); {
			rest, more = link(rest, "parent ", yield)
		}
	case plumbing.TagObject:
		link(data, "object ", yield)
	case plumbing.TreeObject:
		treeLinks(data, yield)
	}
}

// link reads one header line that names an object.
func link(data []byte, key string, yield func(plumbing.Hash) bool) ([]byte, bool) {
	line, rest, ok := bytes.Cut(data, []byte{'\n'})
	value, has := bytes.CutPrefix(line, []byte(key))
	h, valid := parseHash(string(value))
	if !ok || !has || !valid {
		yield(plumbing.ZeroHash)
		return nil, false
	}
	return rest, yield(h)
}

func treeLinks(data []byte, yield func(plumbing.Hash) bool) {
	const size = len(plumbing.ZeroHash)
	for len(data) > 0 {
		nul := bytes.IndexByte(data, 0)
		space := bytes.IndexByte(data, ' ')
		if nul < 0 || space <= 0 || space > nul || len(data) < nul+1+size {
			yield(plumbing.ZeroHash)
			return
		}
		h := plumbing.Hash(data[nul+1 : nul+1+size])
		if submodule := string(data[:space]) == "160000"; !submodule && !yield(h) {
			return
		}
		data = data[nul+1+size:]
	}
}
