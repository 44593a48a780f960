package source_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"gitgate.dev/gitgate/reconcile/source"
	"gitgate.dev/gitgate/test/testkit/gitserver"
)

// history is the smallest repository: a commit, its tree and one file.
type history struct {
	blob, tree, commit gitserver.PackEntry
	head               string
}

func newHistory(t testing.TB) history {
	t.Helper()
	blob := []byte("kind: ConfigMap\n")
	raw, err := hex.DecodeString(gitserver.Hash("blob", blob))
	if err != nil {
		t.Fatal(err)
	}
	tree := append([]byte("100644 a.yaml\x00"), raw...)
	commit := fmt.Appendf(nil, "tree %s\nauthor a <a@example.com> 1 +0000\ncommitter a <a@example.com> 1 +0000\n\nm\n", gitserver.Hash("tree", tree))
	return history{
		gitserver.PackEntry{Type: gitserver.Blob, Data: blob},
		gitserver.PackEntry{Type: gitserver.Tree, Data: tree},
		gitserver.PackEntry{Type: gitserver.Commit, Data: commit},
		gitserver.Hash("commit", commit),
	}
}

func (h history) pack(extra ...gitserver.PackEntry) []byte {
	return gitserver.BuildPack(append([]gitserver.PackEntry{h.commit, h.tree, h.blob}, extra...)...)
}

// script serves a pack under a head.
func (h history) script(pack []byte) gitserver.Script {
	return gitserver.Script{Refs: []gitserver.ScriptRef{{Name: "refs/heads/main", Hash: h.head}}, Pack: pack}
}

// zeros is a zlib stream of n zero bytes, about a thousandth of that.
func zeros(n int) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = io.CopyN(w, zeroReader{}, int64(n)) // a bytes.Buffer cannot fail
	_ = w.Close()
	return b.Bytes()
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// limits are small, so that bombs can be small. heapCap is what a fetch may
// allocate in all under them.
var limits = source.Limits{
	PackBytes: 2 << 20, Objects: 500, ObjectBytes: 1 << 20, InflatedBytes: 16 << 20, DeltaDepth: 20, Refs: 1000, Tags: 4,
}

const heapCap = 96 << 20

func TestAttack_G17_HostilePack(t *testing.T) {
	h := newHistory(t)
	size := uint64(len(h.blob.Data))
	good := h.pack()
	deltas := func(n int) []gitserver.PackEntry {
		var out []gitserver.PackEntry
		for i := range n {
			out = append(out, gitserver.PackEntry{
				Type: gitserver.OffsetDelta, Base: 2 + i,
				Data: gitserver.Delta(size+uint64(i), size+uint64(i)+1, gitserver.CopyFromBase(0, uint32(size)+uint32(i)), gitserver.Insert([]byte{'x'})),
			})
		}
		return out
	}
	// Each copy instruction is 7 bytes and makes 64 KiB.
	var copies [][]byte
	for range 17 {
		copies = append(copies, gitserver.CopyFromBase(0, 65535))
	}
	filler := gitserver.PackEntry{Type: gitserver.Blob, Data: bytes.Repeat([]byte("f"), 65536)}

	for name, tc := range map[string]struct {
		reason string
		pack   []byte
		want   source.Reason
	}{
		"ZlibBomb": {
			"One object of a small compressed size inflates beyond the limit.",
			h.pack(gitserver.PackEntry{Type: gitserver.Blob, Size: 64 << 20, Deflated: zeros(64 << 20)}), source.LimitExceeded,
		},
		"ZlibBombDeclaredSmall": {
			"The declared size lies low (CVE-2025-21614).",
			h.pack(gitserver.PackEntry{Type: gitserver.Blob, Size: 10, Deflated: zeros(64 << 20)}), source.MalformedObject,
		},
		"DeclaredHuge": {
			"The declared size lies high: nothing may be allocated for it (CVE-2026-33762).",
			h.pack(gitserver.PackEntry{Type: gitserver.Blob, Size: 1 << 40, Data: []byte("x")}), source.LimitExceeded,
		},
		"DeclaredLonger": {
			"An object shorter than declared.",
			h.pack(gitserver.PackEntry{Type: gitserver.Blob, Size: 1000, Data: []byte("x")}), source.MalformedObject,
		},
		"SizeOverflow": {
			"A size of more than 64 bits.",
			gitserver.SumPack(append([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x01"), bytes.Repeat([]byte{0xbf}, 20)...)), source.MalformedObject,
		},
		"ManyBombs": {
			"Each object is within its limit, all together are not.",
			h.pack(repeat(gitserver.PackEntry{Type: gitserver.Blob, Size: 1 << 20, Deflated: zeros(1 << 20)}, 20)...), source.LimitExceeded,
		},
		"ObjectCount": {
			"The header promises more objects than allowed; no memory may be reserved for them.",
			gitserver.SumPack(binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), 0xffffffff)), source.LimitExceeded,
		},
		"ObjectCountTrue": {
			"A pack that really has more objects than allowed.",
			h.pack(repeat(gitserver.PackEntry{Type: gitserver.Blob, Data: []byte("x")}, limits.Objects)...), source.LimitExceeded,
		},
		"TooLarge": {
			"The pack is larger than PackBytes on the wire.",
			h.pack(repeat(gitserver.PackEntry{Type: gitserver.Blob, Size: 1 << 20, Deflated: noise(1 << 20)}, 3)...), source.LimitExceeded,
		},
		"DeltaBomb": {
			"A delta of 130 bytes makes more than ObjectBytes.",
			h.pack(filler, gitserver.PackEntry{Type: gitserver.OffsetDelta, Base: 3, Data: gitserver.Delta(65536, 17*65535, copies...)}), source.LimitExceeded,
		},
		"DeltaTargetHuge": {
			"A delta declares a result of 2^60 bytes.",
			h.pack(gitserver.PackEntry{Type: gitserver.OffsetDelta, Base: 2, Data: gitserver.Delta(size, 1<<60, gitserver.CopyFromBase(0, uint32(size)))}), source.LimitExceeded,
		},
		"DeltaDepth": {
			"A chain of deltas deeper than allowed.",
			h.pack(deltas(21)...), source.LimitExceeded,
		},
		"DeltaWrongBase": {
			"A delta for a base of another size.",
			h.pack(gitserver.PackEntry{Type: gitserver.OffsetDelta, Base: 2, Data: gitserver.Delta(size+1, 1, gitserver.CopyFromBase(0, 1))}), source.MalformedObject,
		},
		"DeltaCopyOutside": {
			"A copy instruction beyond the base's end (CVE-2023-49568).",
			h.pack(gitserver.PackEntry{Type: gitserver.OffsetDelta, Base: 2, Data: gitserver.Delta(size, 100, gitserver.CopyFromBase(uint32(size), 100))}), source.MalformedObject,
		},
		"DeltaEmpty": {
			"A delta without its header.",
			h.pack(gitserver.PackEntry{Type: gitserver.OffsetDelta, Base: 2, Deflated: gitserver.Deflate(nil)}), source.MalformedObject,
		},
		"DeltaOffsetOutside": {
			"A delta's base lies before the pack.",
			h.pack(gitserver.PackEntry{Type: gitserver.OffsetDelta, Distance: 1 << 30, Data: gitserver.Delta(1, 1, gitserver.Insert([]byte("x")))}), source.MalformedObject,
		},
		"DeltaOffsetBetween": {
			"A delta's base is in the middle of an entry.",
			h.pack(gitserver.PackEntry{Type: gitserver.OffsetDelta, Distance: 3, Data: gitserver.Delta(1, 1, gitserver.Insert([]byte("x")))}), source.MalformedObject,
		},
		"DeltaMissingBase": {
			"A thin pack, which nobody asked for.",
			h.pack(gitserver.PackEntry{Type: gitserver.RefDelta, BaseHash: strings.Repeat("ab", 20), Data: gitserver.Delta(1, 1, gitserver.Insert([]byte("x")))}), source.MalformedObject,
		},
		"DeltaCircle": {
			"A delta upon its own result can never be resolved.",
			h.pack(gitserver.PackEntry{Type: gitserver.RefDelta, BaseHash: gitserver.Hash("blob", []byte("self")), Data: gitserver.Delta(4, 4, gitserver.Insert([]byte("self")))}), source.MalformedObject,
		},
		"UnknownType": {
			"Type 5 is reserved.",
			h.pack(gitserver.PackEntry{Type: 5, Data: []byte("x")}), source.MalformedObject,
		},
		"NotZlib": {
			"Compressed data that is none.",
			h.pack(gitserver.PackEntry{Type: gitserver.Blob, Size: 4, Deflated: []byte("none of it is zlib")}), source.MalformedObject,
		},
		"Checksum": {
			"The trailer does not fit.",
			append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1), source.MalformedObject,
		},
		"Truncated": {
			"The pack ends early although the protocol ends well.",
			good[:len(good)-25], source.MalformedObject,
		},
		"Trailing": {
			"Data after the trailer.",
			append(bytes.Clone(good), 'x'), source.MalformedObject,
		},
		"NoPack": {
			"No pack at all.",
			[]byte("JUNK" + strings.Repeat("\x00", 40)), source.MalformedObject,
		},
		"Empty": {
			"A pack without objects does not bring the head.",
			gitserver.BuildPack(), source.IncompleteHistory,
		},
		"MissingBlob": {
			"The tree's file is held back.",
			gitserver.BuildPack(h.commit, h.tree), source.IncompleteHistory,
		},
		"MissingTree": {
			"The commit's tree is held back.",
			gitserver.BuildPack(h.commit, h.blob), source.IncompleteHistory,
		},
		"MalformedTree": {
			"A tree that does not parse.",
			h.pack(gitserver.PackEntry{Type: gitserver.Tree, Data: []byte("100644 no-nul")}), source.MalformedObject,
		},
		"MalformedCommit": {
			"A commit without a tree.",
			h.pack(gitserver.PackEntry{Type: gitserver.Commit, Data: []byte("author nobody\n")}), source.MalformedObject,
		},
		"TreeOfNothing": {
			"A tree that names more objects than the pack can have.",
			h.pack(gitserver.PackEntry{Type: gitserver.Tree, Data: manyEntries(20000)}), source.IncompleteHistory,
		},
	} {
		t.Run("G17/"+name, func(t *testing.T) {
			script := h.script(tc.pack)
			s := gitserver.New(t, gitserver.Options{Handler: &script})
			root := t.TempDir()
			r := open(t, openCache(t, filepath.Join(root, "cache")), source.Options{URL: s.URL("a.git"), Limits: limits})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := r.Fetch(t.Context())
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Fatalf("%s\nthe pack was accepted", tc.reason)
			}
			wantReason(t, err, tc.want)
			if got := after.TotalAlloc - before.TotalAlloc; got > heapCap {
				t.Errorf("%s\nthe fetch allocated %d MiB", tc.reason, got>>20)
			}
			for f := range snapshot(t, root) {
				if strings.Contains(f, "objects/pack/") || strings.Contains(f, "/tmp/") || strings.Contains(f, "refs/") {
					t.Errorf("%s\nthe refused pack left %s", tc.reason, f)
				}
			}
			// The next good answer goes through.
			script.Pack = good
			if res := fetch(t, r); res.Head.String() != h.head {
				t.Errorf("head after the attack = %s", res.Head)
			}
		})
	}
}

func repeat(e gitserver.PackEntry, n int) []gitserver.PackEntry {
	var out []gitserver.PackEntry
	for range n {
		out = append(out, e)
	}
	return out
}

// noise is a zlib stream that does not compress: stored blocks of a counter.
func noise(n int) []byte {
	data := make([]byte, n)
	state := uint32(1)
	for i := range data {
		state = state*1664525 + 1013904223
		data[i] = byte(state >> 24)
	}
	return gitserver.Deflate(data)
}

// manyEntries is a tree that names n different objects.
func manyEntries(n int) []byte {
	var b []byte
	for i := range n {
		b = append(fmt.Appendf(b, "100644 f%d\x00", i), make([]byte, 20)...)
		binary.BigEndian.PutUint32(b[len(b)-20:], uint32(i+1))
	}
	return b
}
