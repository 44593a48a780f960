package source_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/reconcile/source"
	"gitgate.dev/gitgate/test/testkit/gitserver"
)

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
