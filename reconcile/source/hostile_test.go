package source_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"

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

func TestAttack_G17_HostileReferences(t *testing.T) {
	h := newHistory(t)
	good := gitserver.ScriptRef{Name: "refs/heads/main", Hash: h.head}
	many := func(n int) []gitserver.ScriptRef {
		refs := []gitserver.ScriptRef{good}
		for i := range n {
			refs = append(refs, gitserver.ScriptRef{Name: fmt.Sprintf("refs/heads/b%d", i), Hash: h.head})
		}
		return refs
	}
	endless := func(w io.Writer) {
		for range 1 << 16 {
			gitserver.WritePackets(w, h.head+" refs/heads/"+strings.Repeat("n", 2000)+"\n")
		}
	}
	for name, tc := range map[string]struct {
		reason string
		refs   []gitserver.ScriptRef
		raw    func(io.Writer)
		want   source.Reason
	}{
		"DotDot":   {"A name that climbs (CVE-2026-71557).", []gitserver.ScriptRef{good, {Name: "refs/heads/../../config", Hash: h.head}}, nil, source.MalformedObject},
		"Absolute": {"A name that is a path.", []gitserver.ScriptRef{good, {Name: "/etc/passwd", Hash: h.head}}, nil, source.MalformedObject},
		"Tag":      {"A rollback tag that climbs.", []gitserver.ScriptRef{good, {Name: "refs/tags/gitgate-rollback/../../../config", Hash: h.head, Peeled: h.head}}, nil, source.MalformedObject},
		"Control":  {"A name with a control character.", []gitserver.ScriptRef{good, {Name: "refs/heads/a\x1b[2J", Hash: h.head}}, nil, source.MalformedObject},
		"BadHash":  {"A hash that is none.", []gitserver.ScriptRef{{Name: "refs/heads/main", Hash: "../../../../../../../../../../etc/passwd"}}, nil, source.MalformedObject},
		"Zero":     {"The zero hash is no commit.", []gitserver.ScriptRef{{Name: "refs/heads/main", Hash: strings.Repeat("0", 40)}}, nil, source.SourceUnavailable},
		"Count":    {"More references than allowed.", many(limits.Refs), nil, source.LimitExceeded},
		"Endless":  {"A list that does not end.", nil, endless, source.LimitExceeded},
		"Garbage":  {"Not the protocol.", nil, func(w io.Writer) { _, _ = io.WriteString(w, "<html>") }, source.SourceUnavailable},
		"Short":    {"The list is cut off.", nil, func(w io.Writer) { gitserver.WritePackets(w, h.head+" refs/heads/main\n") }, source.SourceUnavailable},
		"Refused":  {"ERR tells why.", nil, func(w io.Writer) { gitserver.WritePackets(w, "ERR go away\n") }, source.SourceUnavailable},
		"ManyTags": {"More rollback tags than allowed.", func() []gitserver.ScriptRef {
			refs := []gitserver.ScriptRef{good}
			for i := range limits.Tags + 1 {
				refs = append(refs, gitserver.ScriptRef{Name: fmt.Sprint("refs/tags/gitgate-rollback/", i), Hash: h.head, Peeled: h.head})
			}
			return refs
		}(), nil, source.LimitExceeded},
		"TagIsNoTag":  {"A commit advertised as an annotated tag.", []gitserver.ScriptRef{good, {Name: "refs/tags/gitgate-rollback/x", Hash: h.head, Peeled: h.head}}, nil, source.MalformedObject},
		"HeadIsABlob": {"The branch is at a file.", []gitserver.ScriptRef{{Name: "refs/heads/main", Hash: gitserver.Hash("blob", h.blob.Data)}}, nil, source.MalformedObject},
		"NoBranch":    {"The branch is missing.", []gitserver.ScriptRef{{Name: "refs/heads/main2", Hash: h.head}}, nil, source.SourceUnavailable},
	} {
		for _, v0 := range []bool{false, true} {
			t.Run(fmt.Sprintf("G17/%s/v0=%t", name, v0), func(t *testing.T) {
				script := gitserver.Script{V0: v0, Refs: tc.refs, RawRefs: tc.raw, Pack: h.pack()}
				s := gitserver.New(t, gitserver.Options{Handler: &script})
				root := t.TempDir()
				r := open(t, openCache(t, filepath.Join(root, "cache")), source.Options{URL: s.URL("a.git"), Limits: limits})
				_, err := r.Fetch(t.Context())
				if err == nil {
					t.Fatalf("%s\nthe references were accepted", tc.reason)
				}
				wantReason(t, err, tc.want)
				if strings.ContainsAny(err.Error(), "\x1b\n") {
					t.Errorf("the error repeats control characters: %q", err)
				}
				entries, err := os.ReadDir(root)
				if err != nil || len(entries) != 1 {
					t.Errorf("beside the cache there is %v, %v", entries, err)
				}
				script.Refs, script.RawRefs = []gitserver.ScriptRef{good}, nil
				if res := fetch(t, r); res.Head.String() != h.head {
					t.Errorf("head after the attack = %s", res.Head)
				}
			})
		}
	}
}

func TestAttack_G17_HostileFetchAnswer(t *testing.T) {
	h := newHistory(t)
	for name, tc := range map[string]struct {
		reason string
		answer func(io.Writer)
		want   source.Reason
	}{
		"EndlessProgress": {"Progress counts against the limit too.", func(w io.Writer) {
			gitserver.WritePackets(w, "packfile\n")
			gitserver.WriteSideband(w, 2, make([]byte, 8<<20))
		}, source.LimitExceeded},
		"EndlessPack": {"A pack that does not end.", func(w io.Writer) {
			gitserver.WritePackets(w, "packfile\n")
			gitserver.WriteSideband(w, 1, append(h.pack()[:12:12], make([]byte, 8<<20)...))
		}, source.MalformedObject},
		"UnknownBand": {"There is no band 4.", func(w io.Writer) {
			gitserver.WritePackets(w, "packfile\n")
			gitserver.WriteSideband(w, 4, []byte("x"))
		}, source.SourceUnavailable},
		"EmptyPacket": {"A packet without its band.", func(w io.Writer) {
			gitserver.WritePackets(w, "packfile\n", "")
		}, source.SourceUnavailable},
		"Failure": {"The server gives up in the middle.", func(w io.Writer) {
			gitserver.WritePackets(w, "packfile\n")
			gitserver.WriteSideband(w, 1, h.pack()[:30])
			gitserver.WriteSideband(w, 3, []byte("out of memory"))
		}, source.SourceUnavailable},
		"NoPack":       {"Nothing.", func(w io.Writer) { gitserver.WritePackets(w, gitserver.Flush) }, source.SourceUnavailable},
		"Acknowledged": {"A negotiation that nobody asked for.", func(w io.Writer) { gitserver.WritePackets(w, "acknowledgments\n", "NAK\n", gitserver.Flush) }, source.SourceUnavailable},
		"PackURIs":     {"Packs from elsewhere were not asked for.", func(w io.Writer) { gitserver.WritePackets(w, "packfile-uris\n") }, source.SourceUnavailable},
		"Garbage":      {"Not the protocol.", func(w io.Writer) { _, _ = io.WriteString(w, "zzzz") }, source.SourceUnavailable},
		"Length3":      {"A length that no packet has.", func(w io.Writer) { _, _ = io.WriteString(w, "0003") }, source.SourceUnavailable},
	} {
		t.Run("G17/"+name, func(t *testing.T) {
			script := h.script(h.pack())
			script.RawFetch = tc.answer
			s := gitserver.New(t, gitserver.Options{Handler: &script})
			r := open(t, openCache(t, t.TempDir()), source.Options{URL: s.URL("a.git"), Limits: limits})
			_, err := r.Fetch(t.Context())
			if err == nil {
				t.Fatalf("%s\nthe answer was accepted", tc.reason)
			}
			wantReason(t, err, tc.want)
			script.RawFetch = nil
			fetch(t, r)
		})
	}
}

func TestAttack_G15_ShallowServer(t *testing.T) {
	h := newHistory(t)
	for _, v0 := range []bool{false, true} {
		t.Run(fmt.Sprintf("G15/Declared/v0=%t", v0), func(t *testing.T) {
			script := h.script(h.pack())
			script.V0, script.Shallow = v0, []string{h.head}
			s := gitserver.New(t, gitserver.Options{Handler: &script})
			_, err := open(t, openCache(t, t.TempDir()), source.Options{URL: s.URL("a.git")}).Fetch(t.Context())
			wantReason(t, err, source.IncompleteHistory)
		})
	}
	t.Run("G15/Silent", func(t *testing.T) {
		child := h.commit
		child.Data = bytes.Replace(child.Data, []byte("\nauthor"), []byte("\nparent "+strings.Repeat("ab", 20)+"\nauthor"), 1)
		script := gitserver.Script{
			Refs: []gitserver.ScriptRef{{Name: "refs/heads/main", Hash: gitserver.Hash("commit", child.Data)}},
			Pack: gitserver.BuildPack(child, h.tree, h.blob),
		}
		s := gitserver.New(t, gitserver.Options{Handler: &script})
		_, err := open(t, openCache(t, t.TempDir()), source.Options{URL: s.URL("a.git")}).Fetch(t.Context())
		wantReason(t, err, source.IncompleteHistory)
	})
	t.Run("G15/RealServer", func(t *testing.T) {
		s := gitserver.New(t, gitserver.Options{})
		up := newUpstream(t, s, "a.git")
		for range 3 {
			up.push()
		}
		up.git("clone", "-q", "--bare", "--depth=1", "file://"+up.bare, filepath.Join(s.Root(), "shallow.git"))
		_, err := open(t, openCache(t, t.TempDir()), source.Options{URL: s.URL("shallow.git")}).Fetch(t.Context())
		wantReason(t, err, source.IncompleteHistory)
	})
}

// A pack with deltas by hash, out of order, is unusual but right.
func TestFetchUnusualPack(t *testing.T) {
	h := newHistory(t)
	size := uint64(len(h.blob.Data))
	second := append(bytes.Clone(h.blob.Data), "second\n"...)
	third := append(bytes.Clone(second), "third\n"...)
	pack := gitserver.BuildPack(
		gitserver.PackEntry{Type: gitserver.RefDelta, BaseHash: gitserver.Hash("blob", second), Data: gitserver.Delta(size+7, size+13, gitserver.CopyFromBase(0, uint32(size)+7), gitserver.Insert([]byte("third\n")))},
		gitserver.PackEntry{Type: gitserver.RefDelta, BaseHash: gitserver.Hash("blob", h.blob.Data), Data: gitserver.Delta(size, size+7, gitserver.CopyFromBase(0, uint32(size)), gitserver.Insert([]byte("second\n")))},
		h.commit, h.tree, h.blob, h.blob,
	)
	script := h.script(pack)
	s := gitserver.New(t, gitserver.Options{Handler: &script})
	res := fetch(t, open(t, openCache(t, t.TempDir()), source.Options{URL: s.URL("a.git")}))
	for _, want := range [][]byte{h.blob.Data, second, third} {
		o, err := res.Objects.EncodedObject(plumbing.BlobObject, plumbing.NewHash(gitserver.Hash("blob", want)))
		if err != nil {
			t.Fatal(err)
		}
		rd, err := o.Reader()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(rd)
		if diff := cmp.Diff(string(want), string(got)); diff != "" || err != nil {
			t.Errorf("%v %s", err, diff)
		}
	}
}

func TestAttack_G17_SlowServer(t *testing.T) {
	for _, command := range []string{"info/refs", "ls-refs", "fetch"} {
		t.Run("G17/Slow/"+command, func(t *testing.T) {
			s := gitserver.New(t, gitserver.Options{})
			up := newUpstream(t, s, "a.git")
			head := up.push()
			dir := t.TempDir()
			r := open(t, openCache(t, dir), source.Options{URL: s.URL("a.git"), Timeout: 500 * time.Millisecond})
			s.Inject(gitserver.Fault{On: command, Trickle: 100 * time.Millisecond})
			start := time.Now()
			_, err := r.Fetch(t.Context())
			wantReason(t, err, source.SourceUnavailable)
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("a timeout of 500 ms took %s", d)
			}
			if !strings.Contains(fmt.Sprint(err), "timeout of 500ms") {
				t.Errorf("err = %v, want it to name the timeout", err)
			}
			s.Heal()
			again := open(t, openCache(t, dir), source.Options{URL: s.URL("a.git")})
			if res := fetch(t, again); res.Head != head {
				t.Errorf("head = %s, want %s", res.Head, head)
			}
			for f := range snapshot(t, dir) {
				if strings.Contains(f, "/tmp/") {
					t.Errorf("the timeout left %s", f)
				}
			}
		})
	}
}

func TestAttack_G17_CutConnectionLeavesTheStoreUnchanged(t *testing.T) {
	s := gitserver.New(t, gitserver.Options{SSH: true})
	up := newUpstream(t, s, "a.git")
	up.push()
	for name, url := range map[string]string{"HTTP": s.URL("a.git"), "SSH": s.SSHURL("a.git")} {
		t.Run("G17/Cut/"+name, func(t *testing.T) {
			dir := t.TempDir()
			o := source.Options{URL: url}
			if name == "SSH" {
				o.Auth = auth(t, url, map[string]string{"identity": string(s.ClientKey()), "known_hosts": string(s.KnownHosts())})
			}
			r := open(t, openCache(t, dir), o)
			fetch(t, r)
			before := snapshot(t, dir)
			for i := range 40 { // the change is incompressible
				up.write(fmt.Sprint(name, i), gitserver.Hash("blob", fmt.Append(nil, name, i)))
			}
			head := up.push()
			for _, n := range []int64{1, 100, 300, 1000} {
				fault := gitserver.Fault{CutAfter: n}
				if name == "HTTP" {
					fault.On = "fetch"
				}
				s.Inject(fault)
				_, err := r.Fetch(t.Context())
				s.Heal()
				if err == nil {
					t.Fatalf("cut after %d bytes: no error", n)
				}
				if diff := cmp.Diff(before, snapshot(t, dir)); diff != "" {
					t.Errorf("cut after %d bytes changed the store (-before +after):\n%s", n, diff)
				}
			}
			if res := fetch(t, r); res.Head != head {
				t.Errorf("head = %s, want %s", res.Head, head)
			}
		})
	}
}
