package commit_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/memory"
	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/verify/commit"
)

// A dag is a history of commits that are known by their number.
type dag struct {
	store   *memory.Storage
	hashes  []plumbing.Hash
	parents [][]int
}

// add appends a commit. The dates rise, for merge bases are found by them.
func (d *dag) add(t *testing.T, parents ...int) int {
	t.Helper()
	n := len(d.hashes)
	text := "tree " + plumbing.ComputeHash(plumbing.TreeObject, nil).String() + "\n"
	for _, p := range parents {
		text += "parent " + d.hashes[p].String() + "\n"
	}
	when := time.Date(2026, 1, 1, 0, n, 0, 0, time.UTC).Unix()
	text += fmt.Sprintf("author a <a@example.com> %d +0000\ncommitter a <a@example.com> %d +0000\n\n%d\n", when, when, n)
	o := d.store.NewEncodedObject()
	o.SetType(plumbing.CommitObject)
	w, err := o.Writer()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	h, err := d.store.SetEncodedObject(o)
	if err != nil {
		t.Fatal(err)
	}
	d.hashes, d.parents = append(d.hashes, h), append(d.parents, parents)
	return n
}

// ancestors are all that can be reached from n, and n.
func (d *dag) ancestors(n int) map[int]bool {
	out := map[int]bool{n: true}
	for _, p := range d.parents[n] {
		for a := range d.ancestors(p) {
			out[a] = true
		}
	}
	return out
}

// bases are the common ancestors from which no other common one descends.
func (d *dag) bases(a, b int) []int {
	ofA, ofB := d.ancestors(a), d.ancestors(b)
	var common, best []int
	for n := range ofA {
		if ofB[n] {
			common = append(common, n)
		}
	}
	for _, n := range common {
		if !slices.ContainsFunc(common, func(m int) bool { return m != n && d.ancestors(m)[n] }) {
			best = append(best, n)
		}
	}
	slices.Sort(best)
	return best
}

func (d *dag) merged(t *testing.T, a, b int) []int {
	t.Helper()
	hashes, err := commit.MergeBases(t.Context(), d.store, d.hashes[a], d.hashes[b])
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, h := range hashes {
		out = append(out, slices.Index(d.hashes, h))
	}
	slices.Sort(out)
	return out
}

func TestMergeBases(t *testing.T) {
	d := &dag{store: memory.NewStorage()}
	root := d.add(t)
	left, right := d.add(t, root), d.add(t, root)
	cross1, cross2 := d.add(t, left, right), d.add(t, right, left)
	other := d.add(t)
	joined := d.add(t, left, other)
	for name, tc := range map[string]struct {
		reason string
		a, b   int
		want   []int
	}{
		"Same":       {"A commit is its own base.", left, left, []int{left}},
		"Ahead":      {"Who is behind is the base.", cross1, left, []int{left}},
		"Behind":     {"The order does not matter.", left, cross1, []int{left}},
		"Fork":       {"Two branches left one commit.", left, right, []int{root}},
		"CrissCross": {"After a criss-cross there are two.", cross1, cross2, []int{left, right}},
		"Unrelated":  {"Histories may have nothing in common.", left, other, nil},
		"TwoRoots":   {"A second root is no hindrance.", joined, cross1, []int{left}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, d.merged(t, tc.a, tc.b)); diff != "" {
				t.Errorf("%s\n(-want +got)\n%s", tc.reason, diff)
			}
		})
	}
	if _, err := commit.MergeBases(t.Context(), d.store, d.hashes[left], plumbing.NewHash("1234")); err == nil {
		t.Error("a commit that is not there has a merge base")
	}
}

// TestMergeBasesRandom holds the walk against the definition.
func TestMergeBasesRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		d := &dag{store: memory.NewStorage()}
		d.add(t)
		for n := 1; n < 14; n++ {
			var parents []int
			for range 1 + r.IntN(2) {
				if p := max(0, n-1-r.IntN(4)); !slices.Contains(parents, p) && r.IntN(12) > 0 {
					parents = append(parents, p)
				}
			}
			d.add(t, parents...)
		}
		a, b := r.IntN(14), r.IntN(14)
		if diff := cmp.Diff(d.bases(a, b), d.merged(t, a, b)); diff != "" {
			t.Fatalf("of %d and %d in %v (-want +got)\n%s", a, b, d.parents, diff)
		}
	}
}
