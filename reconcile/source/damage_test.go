package source_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"

	"gitgate.dev/gitgate/reconcile/source"
	"gitgate.dev/gitgate/test/testkit/gitserver"
)

// one returns the one file that matches a pattern in a clone.
func one(t *testing.T, cache, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cloneDir(t, cache), pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %v", pattern, files, err)
	}
	return files[0]
}

func edit(t *testing.T, file string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// Overwriting in place is what a failing disk does: the open file sees it.
	if err := os.WriteFile(file, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func flip(at func(n int) int) func([]byte) []byte {
	return func(b []byte) []byte { b[at(len(b))] ^= 0x40; return b }
}

func TestDamagedCloneIsReplaced(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		damage func(t *testing.T, cache string)
	}{
		"PackTruncated": {"A write that did not reach the disk.", func(t *testing.T, c string) {
			edit(t, one(t, c, "objects/pack/*.pack"), func(b []byte) []byte { return b[:len(b)/2] })
		}},
		"PackEmpty": {"A file without its data after a power failure.", func(t *testing.T, c string) {
			edit(t, one(t, c, "objects/pack/*.pack"), func([]byte) []byte { return nil })
		}},
		"PackBitFlip": {"A bit in an object.", func(t *testing.T, c string) {
			edit(t, one(t, c, "objects/pack/*.pack"), flip(func(n int) int { return n / 2 }))
		}},
		"PackTrailer": {"A bit in the checksum.", func(t *testing.T, c string) {
			edit(t, one(t, c, "objects/pack/*.pack"), flip(func(n int) int { return n - 1 }))
		}},
		"PackMissing": {"The index without its pack.", func(t *testing.T, c string) {
			if err := os.Remove(one(t, c, "objects/pack/*.pack")); err != nil {
				t.Fatal(err)
			}
		}},
		"IndexBitFlip": {"A bit in a name.", func(t *testing.T, c string) {
			edit(t, one(t, c, "objects/pack/*.idx"), flip(func(int) int { return 8 + 1024 + 3 }))
		}},
		"IndexTruncated": {"Half an index.", func(t *testing.T, c string) {
			edit(t, one(t, c, "objects/pack/*.idx"), func(b []byte) []byte { return b[:len(b)/2] })
		}},
		"IndexMissing": {"The pack without its index does not count.", func(t *testing.T, c string) {
			if err := os.Remove(one(t, c, "objects/pack/*.idx")); err != nil {
				t.Fatal(err)
			}
		}},
		"PackLost": {"A pack and its index are gone, without a trace among the packs.", func(t *testing.T, c string) {
			pack := one(t, c, "objects/pack/*.pack")
			for _, f := range []string{pack, strings.TrimSuffix(pack, "pack") + "idx"} {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
		}},
		"ManifestMissing": {"Packs that nothing lists do not count.", func(t *testing.T, c string) {
			if err := os.Remove(one(t, c, "objects/info/packs")); err != nil {
				t.Fatal(err)
			}
		}},
		"ManifestTruncated": {"Half a list.", func(t *testing.T, c string) {
			edit(t, one(t, c, "objects/info/packs"), func(b []byte) []byte { return b[:bytes.IndexByte(b, '\n')+1] })
		}},
		"ManifestGarbage": {"A list that climbs.", func(t *testing.T, c string) {
			edit(t, one(t, c, "objects/info/packs"), func([]byte) []byte { return []byte("P ../../../etc/passwd\n\n") })
		}},
		"RefGarbage": {"A reference that holds no hash.", func(t *testing.T, c string) {
			edit(t, one(t, c, "refs/gitgate/heads/*"), func([]byte) []byte { return []byte("../../etc/passwd\n") })
		}},
		"RefHuge": {"A reference without an end.", func(t *testing.T, c string) {
			edit(t, one(t, c, "refs/gitgate/heads/*"), func([]byte) []byte { return make([]byte, 1<<20) })
		}},
		"Alternates": {"Other stores are not consulted.", func(t *testing.T, c string) {
			if err := os.MkdirAll(filepath.Join(cloneDir(t, c), "objects/info"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(cloneDir(t, c), "objects/info/alternates"), []byte("/nonexistent\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		"Leftovers": {"What an interrupted fetch left is swept away.", func(t *testing.T, c string) {
			for _, f := range []string{"tmp/fetch-1", "objects/pack/pack-0000000000000000000000000000000000000000.pack"} {
				if err := os.WriteFile(filepath.Join(cloneDir(t, c), f), []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := gitserver.New(t, gitserver.Options{})
			up := newUpstream(t, s, "a.git")
			up.push()
			dir := t.TempDir()
			fetch(t, open(t, openCache(t, dir), source.Options{URL: s.URL("a.git")}))
			head := up.push()
			fetch(t, open(t, openCache(t, dir), source.Options{URL: s.URL("a.git")}))
			tc.damage(t, dir)

			r := open(t, openCache(t, dir), source.Options{URL: s.URL("a.git")})
			res := fetch(t, r)
			if n, files := walk(t, res); res.Head != head || n != 2 || files["counter"] != "2" {
				t.Errorf("%s\nhead %s, %d commits, files %v", tc.reason, res.Head, n, files)
			}
			s.ResetRequests()
			fetch(t, r)
			if got := s.Count("fetch"); got != 0 {
				t.Errorf("%s\nthe clone was replaced again without need", tc.reason)
			}
			for _, leftover := range []string{"tmp/*", "objects/pack/pack-00000000*"} {
				if files, _ := filepath.Glob(filepath.Join(cloneDir(t, dir), leftover)); len(files) > 0 {
					t.Errorf("%s\nleftovers %v", tc.reason, files)
				}
			}
			up.push()
			if n, _ := walk(t, fetch(t, r)); n != 3 {
				t.Errorf("%s\n%d commits after the next change, want 3", tc.reason, n)
			}
		})
	}
}

// A remote that rewrites its history again and again does not fill the disk.
func TestOutgrownCloneIsReplaced(t *testing.T) {
	s := gitserver.New(t, gitserver.Options{})
	up := newUpstream(t, s, "a.git")
	dir := t.TempDir()
	l := source.Limits{PackBytes: 16 << 10}
	r := open(t, openCache(t, dir), source.Options{URL: s.URL("a.git"), Limits: l})
	var old *source.Result
	for i := range 20 {
		up.git("checkout", "-q", "--orphan", fmt.Sprint("o", i))
		var text strings.Builder
		for j := range 100 {
			text.WriteString(gitserver.Hash("blob", fmt.Append(nil, i, j)))
		}
		up.write("noise", text.String())
		head := up.push()
		res := fetch(t, r)
		if n, files := walk(t, res); res.Head != head || n != 1 || files["noise"] != text.String() {
			t.Fatalf("fetch %d: head %s with %d commits", i, res.Head, n)
		}
		if i == 0 {
			old = res
		}
		size, packs := int64(0), 0
		for name, content := range snapshot(t, cloneDir(t, dir)) {
			if strings.HasSuffix(name, ".pack") {
				size += int64(len(content))
				packs++
			}
		}
		listed, err := os.ReadFile(one(t, dir, "objects/info/packs"))
		if err != nil || strings.Count(string(listed), "P ") != packs {
			t.Errorf("%d packs are on disk, %v; the manifest lists:\n%s", packs, err, listed)
		}
		if size > 3*l.PackBytes {
			t.Fatalf("after %d fetches the clone has %d bytes in %d packs", i+1, size, packs)
		}
	}
	if n, _ := walk(t, old); n != 1 {
		t.Error("the first result cannot be read any more")
	}
}

func TestDamageWhileOpen(t *testing.T) {
	s := gitserver.New(t, gitserver.Options{})
	up := newUpstream(t, s, "a.git")
	up.write("file", "some content that is long enough to be hit by one flipped bit in the middle of the pack")
	up.push()
	dir := t.TempDir()
	// The first fetch and the second use caches of their own, so that the
	// second has read nothing but the head yet.
	fetch(t, open(t, openCache(t, dir), source.Options{URL: s.URL("a.git")}))
	r := open(t, openCache(t, dir), source.Options{URL: s.URL("a.git")})
	res := fetch(t, r)
	pack := one(t, dir, "objects/pack/*.pack")
	edit(t, pack, func(b []byte) []byte {
		for i := 12; i < len(b); i++ {
			b[i] ^= 0x55
		}
		return b
	})
	head, err := object.GetCommit(res.Objects, res.Head) // read before, so in memory
	if err != nil {
		t.Fatal(err)
	}
	_, err = res.Objects.EncodedObject(plumbing.TreeObject, head.TreeHash)
	wantReason(t, err, source.HashMismatch)
	if _, err := r.Objects(t.Context()); err == nil {
		t.Error("the damaged clone is still served offline")
	}
	if n, _ := walk(t, fetch(t, r)); n != 1 {
		t.Errorf("%d commits after the clone was replaced", n)
	}
}

// An index that is whole but points at other objects: nothing but the hash of
// what is read can tell.
func TestForgedIndexIsNotServed(t *testing.T) {
	s := gitserver.New(t, gitserver.Options{})
	up := newUpstream(t, s, "a.git")
	for i := range 8 {
		up.write(fmt.Sprint("f", i), fmt.Sprint("content ", i))
	}
	up.push()
	dir := t.TempDir()
	fetch(t, open(t, openCache(t, dir), source.Options{URL: s.URL("a.git")}))
	edit(t, one(t, dir, "objects/pack/*.idx"), func(b []byte) []byte {
		n := int(binary.BigEndian.Uint32(b[8+255*4:]))
		offsets := b[8+256*4+n*24:][:4*n]
		rotated := append(bytes.Clone(offsets[4:]), offsets[:4]...)
		copy(offsets, rotated)
		sum := sha1.Sum(b[:len(b)-20])
		return append(b[:len(b)-20], sum[:]...)
	})
	r := open(t, openCache(t, dir), source.Options{URL: s.URL("a.git")})
	_, err := r.Fetch(t.Context())
	wantReason(t, err, source.HashMismatch)
	if n, files := walk(t, fetch(t, r)); n != 1 || files["f3"] != "content 3" {
		t.Errorf("after the clone was replaced: %d commits, files %v", n, files)
	}
}

func TestAppliedGarbage(t *testing.T) {
	dir := t.TempDir()
	r := open(t, openCache(t, dir), source.Options{URL: exampleHTTPS})
	if err := r.SetApplied("a", plumbing.NewHash("abababababababababababababababababababab")); err != nil {
		t.Fatal(err)
	}
	for _, garbage := range []string{"", "abab\n", "abababababababababababababababababababab", "ABABABABABABABABABABABABABABABABABABABAB\n"} {
		edit(t, one(t, dir, "refs/gitgate/applied/*"), func([]byte) []byte { return []byte(garbage) })
		h, err := r.Applied("a")
		wantReason(t, err, source.HashMismatch)
		if h != plumbing.ZeroHash {
			t.Errorf("Applied of %q = %s", garbage, h)
		}
	}
}

func TestObjectsIsReadOnly(t *testing.T) {
	s := gitserver.New(t, gitserver.Options{})
	up := newUpstream(t, s, "a.git")
	up.push()
	up.push()
	o := fetch(t, open(t, openCache(t, t.TempDir()), source.Options{URL: s.URL("a.git")})).Objects
	var _ storer.EncodedObjectStorer = o
	if _, err := o.SetEncodedObject(o.NewEncodedObject()); err == nil {
		t.Error("SetEncodedObject did not fail")
	}
	if err := o.AddAlternate("/"); err == nil {
		t.Error("AddAlternate did not fail")
	}
	missing := plumbing.NewHash("abababababababababababababababababababab")
	if _, err := o.EncodedObject(plumbing.AnyObject, missing); err != plumbing.ErrObjectNotFound {
		t.Errorf("a missing object: %v, want ErrObjectNotFound", err)
	}
	counts := map[plumbing.ObjectType]int{}
	for _, kind := range []plumbing.ObjectType{plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject, plumbing.AnyObject} {
		it, err := o.IterEncodedObjects(kind)
		if err != nil {
			t.Fatal(err)
		}
		if err := it.ForEach(func(e plumbing.EncodedObject) error {
			counts[kind]++
			if size, err := o.EncodedObjectSize(e.Hash()); err != nil || size != e.Size() {
				t.Errorf("size of %s = %d, %v; want %d", e.Hash(), size, err, e.Size())
			}
			if e.Type() == plumbing.CommitObject {
				if _, err := o.EncodedObject(plumbing.BlobObject, e.Hash()); err != plumbing.ErrObjectNotFound {
					t.Errorf("a commit asked for as a blob: %v", err)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if counts[plumbing.CommitObject] != 2 || counts[plumbing.TreeObject] != 2 || counts[plumbing.BlobObject] != 2 || counts[plumbing.TagObject] != 0 || counts[plumbing.AnyObject] != 6 {
		t.Errorf("objects by type: %v", counts)
	}
}
