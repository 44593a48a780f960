package source

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

// What is remembered as missing is bounded by what the pack says it holds, not
// by what its trees name.
func TestMissingObjectsAreBounded(t *testing.T) {
	var tree []byte
	for i := range 20000 {
		tree = append(fmt.Appendf(tree, "100644 f%d\x00", i), make([]byte, 20)...)
		binary.BigEndian.PutUint32(tree[len(tree)-20:], uint32(i+1))
	}
	x := &indexer{
		declared: 3, has: func(plumbing.Hash) bool { return false },
		known: map[plumbing.Hash]struct{}{}, missing: map[plumbing.Hash]plumbing.Hash{},
	}
	err := x.addObject(plumbing.NewHash("ab"), plumbing.TreeObject, tree)
	var p *problem
	if !errors.As(err, &p) || p.reason != IncompleteHistory || len(x.missing) > 4 {
		t.Errorf("%d objects are remembered as missing, err = %v", len(x.missing), err)
	}
}

func TestLinks(t *testing.T) {
	const a, b, c = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "cccccccccccccccccccccccccccccccccccccccc"
	const zero = "0000000000000000000000000000000000000000"
	raw := func(h string) string { x := plumbing.NewHash(h); return string(x[:]) }
	for name, tc := range map[string]struct {
		reason string
		kind   plumbing.ObjectType
		data   string
		want   []string
	}{
		"Commit":       {"The tree and each parent.", plumbing.CommitObject, "tree " + a + "\nparent " + b + "\nparent " + c + "\nauthor x\n\nparent " + a + "\n", []string{a, b, c}},
		"Root":         {"No parent.", plumbing.CommitObject, "tree " + a + "\nauthor x\n\n", []string{a}},
		"TwoTrees":     {"git follows the first; verify/commit refuses it (G3).", plumbing.CommitObject, "tree " + a + "\ntree " + b + "\n", []string{a}},
		"NoTree":       {"Malformed.", plumbing.CommitObject, "parent " + a + "\n", []string{zero}},
		"UpperCase":    {"Hashes are lower case.", plumbing.CommitObject, "tree AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n", []string{zero}},
		"BadParent":    {"Malformed.", plumbing.CommitObject, "tree " + a + "\nparent x\n", []string{a, zero}},
		"Tag":          {"Its object.", plumbing.TagObject, "object " + a + "\ntype commit\n", []string{a}},
		"Tree":         {"Its entries, submodules aside.", plumbing.TreeObject, "100644 a\x00" + raw(a) + "160000 sub\x00" + raw(b) + "40000 dir\x00" + raw(c), []string{a, c}},
		"TreeCut":      {"Malformed.", plumbing.TreeObject, "100644 a\x00" + raw(a)[:19], []string{zero}},
		"TreeNoSpace":  {"Malformed.", plumbing.TreeObject, "100644\x00" + raw(a), []string{zero}},
		"TreeNoMode":   {"Malformed.", plumbing.TreeObject, " a\x00" + raw(a), []string{zero}},
		"Blob":         {"Nothing.", plumbing.BlobObject, "tree " + a + "\n", nil},
		"EmptyTree":    {"Nothing.", plumbing.TreeObject, "", nil},
		"EmptyCommit":  {"Malformed.", plumbing.CommitObject, "", []string{zero}},
		"ZeroInATree":  {"No object has that name.", plumbing.TreeObject, "100644 a\x00" + raw(zero), []string{zero}},
		"NewlineInTag": {"Malformed.", plumbing.TagObject, "object " + a, []string{zero}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			links(tc.kind, []byte(tc.data), func(h plumbing.Hash) bool { got = append(got, h.String()); return true })
			if fmt.Sprint(got) != fmt.Sprint(tc.want) {
				t.Errorf("%s\nlinks = %v, want %v", tc.reason, got, tc.want)
			}
		})
	}
}

func TestRemoteText(t *testing.T) {
	long := make([]byte, 1<<20)
	for i := range long {
		long[i] = 'x'
	}
	for in, max := range map[string]int{"a\x1b[2Jb\nc\xff": 20, string(long): maxRemoteText + 3} {
		got := remoteText([]byte(in))
		if len(got) > max {
			t.Errorf("remoteText kept %d bytes", len(got))
		}
		for _, r := range got {
			if r < ' ' {
				t.Errorf("remoteText kept the control character %q", r)
			}
		}
	}
}
