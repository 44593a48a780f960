package source_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/reconcile/source"
	"gitgate.dev/gitgate/test/testkit/gitserver"
)

func TestFetchWithEveryTransport(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		opts   gitserver.Options
		ssh    bool
		secret func(*gitserver.Server) map[string]string
		// atRest is what a fetch without news asks for.
		atRest []string
	}{
		"HTTP": {
			reason: "A public repository needs no Secret.",
			atRest: []string{"ls-refs"},
		},
		"HTTPSPassword": {
			reason: "The CA and the password come from the Secret.",
			opts:   gitserver.Options{TLS: true, Username: "bot", Password: "pw"},
			secret: func(s *gitserver.Server) map[string]string {
				return map[string]string{"username": "bot", "password": "pw", "ca.crt": string(s.CA())}
			},
			atRest: []string{"ls-refs"},
		},
		"HTTPSTokenCAFile": {
			reason: "caFile is the older name of ca.crt.",
			opts:   gitserver.Options{TLS: true, Token: "tk"},
			secret: func(s *gitserver.Server) map[string]string {
				return map[string]string{"bearerToken": "tk", "caFile": string(s.CA())}
			},
			atRest: []string{"ls-refs"},
		},
		"HTTPVersion0": {
			reason: "Some forges speak version 0 only.",
			opts:   gitserver.Options{ProtocolV0: true},
			atRest: []string{"info/refs"},
		},
		"SSH": {
			reason: "identity and known_hosts.",
			opts:   gitserver.Options{SSH: true}, ssh: true,
			atRest: []string{"ls-refs"},
		},
		"SSHVersion0": {
			reason: "An SSH server need not accept GIT_PROTOCOL.",
			opts:   gitserver.Options{SSH: true, ProtocolV0: true}, ssh: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := gitserver.New(t, tc.opts)
			up := newUpstream(t, s, "acme/shop.git")
			up.write("dir/file.yaml", "a: 1\n")
			first := up.push()
			o := source.Options{URL: s.URL("acme/shop.git")}
			if tc.ssh {
				o.URL = s.SSHURL("acme/shop.git")
				o.Auth = auth(t, o.URL, map[string]string{"identity": string(s.ClientKey()), "identity.pub": "x", "known_hosts": string(s.KnownHosts())})
			} else if tc.secret != nil {
				o.Auth = auth(t, o.URL, tc.secret(s))
			}
			r := open(t, openCache(t, t.TempDir()), o)

			res := fetch(t, r)
			if res.Head != first || !res.Changed {
				t.Errorf("%s\nhead %s changed %t, want %s and true", tc.reason, res.Head, res.Changed, first)
			}
			if n, files := walk(t, res); n != 1 || files["dir/file.yaml"] != "a: 1\n" {
				t.Errorf("%s\n%d commits, files %v", tc.reason, n, files)
			}
			s.ResetRequests()
			if res := fetch(t, r); res.Changed {
				t.Errorf("%s\nChanged without a change", tc.reason)
			}
			var asked []string
			requests := s.Requests()
			for _, q := range requests {
				asked = append(asked, q.Commands...)
			}
			if diff := cmp.Diff(tc.atRest, asked); diff != "" || len(requests) != 1 {
				t.Errorf("%s\n%d requests at rest (-want +got):\n%s", tc.reason, len(requests), diff)
			}
			second := up.push()
			if res = fetch(t, r); res.Head != second || !res.Changed {
				t.Errorf("%s\nhead %s changed %t, want %s and true", tc.reason, res.Head, res.Changed, second)
			}
			if n, files := walk(t, res); n != 2 || files["counter"] != "2" {
				t.Errorf("%s\n%d commits, files %v", tc.reason, n, files)
			}
		})
	}
}

func TestFetchBringsOnlyWhatIsNew(t *testing.T) {
	s := gitserver.New(t, gitserver.Options{})
	up := newUpstream(t, s, "a.git")
	for i := range 1000 {
		up.write(fmt.Sprintf("d%02d/f%d.yaml", i%50, i), strings.Repeat(fmt.Sprintf("key%d: %d\n", i, i*7919), 30))
	}
	up.push()
	r := open(t, openCache(t, t.TempDir()), source.Options{URL: s.URL("a.git")})
	fetch(t, r)
	whole := s.Requests()[len(s.Requests())-1].Sent
	s.ResetRequests()
	up.push()
	fetch(t, r)
	if got := s.Count("fetch"); got != 1 {
		t.Fatalf("%d fetches, want 1", got)
	}
	requests := s.Requests()
	if got := requests[len(requests)-1].Sent; got > 4096 || got > whole/10 {
		t.Errorf("one changed file took %d bytes; the whole clone took %d", got, whole)
	}
}

func TestFetchOtherBranchesAreNotRead(t *testing.T) {
	s := gitserver.New(t, gitserver.Options{})
	up := newUpstream(t, s, "a.git")
	up.push()
	up.git("checkout", "-q", "-b", "wip")
	up.write("big", strings.Repeat("x", 1000))
	up.git("add", "-A")
	up.git("commit", "-q", "-m", "wip")
	up.git("push", "-q", up.bare, "wip", "HEAD:refs/replace/"+strings.Repeat("1", 40))
	wip := plumbing.NewHash(up.git("rev-parse", "HEAD"))
	res := fetch(t, open(t, openCache(t, t.TempDir()), source.Options{URL: s.URL("a.git")}))
	if res.Objects.HasEncodedObject(wip) == nil {
		t.Error("a commit of another branch, and of refs/replace, was fetched")
	}
}

func TestFetchForcePushedHistory(t *testing.T) {
	s := gitserver.New(t, gitserver.Options{})
	up := newUpstream(t, s, "a.git")
	for range 5 {
		up.push()
	}
	r := open(t, openCache(t, t.TempDir()), source.Options{URL: s.URL("a.git")})
	old := fetch(t, r)
	up.git("reset", "-q", "--hard", "HEAD~2")
	up.write("other", "x")
	head := up.push()
	res := fetch(t, r)
	if n, _ := walk(t, res); res.Head != head || n != 4 {
		t.Errorf("head %s with %d commits, want %s with 4", res.Head, n, head)
	}
	if n, _ := walk(t, old); n != 5 {
		t.Errorf("the earlier result has %d commits, want 5 still", n)
	}
}

// The server has dropped the commit that we had. It is told of older ones, and
// so need not send everything again.
func TestFetchForcePushedHistoryIsIncremental(t *testing.T) {
	s := gitserver.New(t, gitserver.Options{})
	up := newUpstream(t, s, "a.git")
	for i := range 300 {
		up.write(fmt.Sprint("f", i), gitserver.Hash("blob", fmt.Append(nil, i)))
	}
	for range 4 {
		up.push()
	}
	r := open(t, openCache(t, t.TempDir()), source.Options{URL: s.URL("a.git")})
	fetch(t, r)
	requests := s.Requests()
	whole := requests[len(requests)-1].Sent
	up.git("reset", "-q", "--hard", "HEAD~2")
	up.write("counter", "other")
	up.pushAll()
	up.git("--git-dir", up.bare, "reflog", "expire", "--expire=now", "--all")
	up.git("--git-dir", up.bare, "gc", "-q", "--prune=now")
	fetch(t, r)
	requests = s.Requests()
	if got := requests[len(requests)-1].Sent; got > whole*3/4 {
		t.Errorf("after a force push %d bytes were sent; the whole clone took %d", got, whole)
	}
}

func TestFetchRollbackTags(t *testing.T) {
	for name, v0 := range map[string]bool{"Version2": false, "Version0": true} {
		t.Run(name, func(t *testing.T) {
			s := gitserver.New(t, gitserver.Options{ProtocolV0: v0})
			up := newUpstream(t, s, "a.git")
			up.push()
			up.git("tag", "-a", "-m", "back to 1", "gitgate-rollback/one")
			up.git("tag", "gitgate-rollback/light")
			up.git("tag", "-a", "-m", "no rollback", "v1")
			up.push()
			up.git("push", "-q", up.bare, "--tags")
			r := open(t, openCache(t, t.TempDir()), source.Options{URL: s.URL("a.git")})
			res := fetch(t, r)
			if len(res.Tags) != 1 || res.Tags[0].Name != "one" {
				t.Fatalf("tags = %+v, want the annotated rollback tag alone", res.Tags)
			}
			tag := res.Tags[0]
			if got := plumbing.ComputeHash(plumbing.TagObject, tag.Object); got != tag.Hash {
				t.Errorf("the tag's bytes hash to %s, want %s", got, tag.Hash)
			}
			if !strings.Contains(string(tag.Object), "back to 1") {
				t.Errorf("tag object = %q", tag.Object)
			}
			up.git("tag", "-a", "-m", "later", "gitgate-rollback/two")
			up.git("push", "-q", up.bare, "--tags")
			if res := fetch(t, r); len(res.Tags) != 2 || res.Changed {
				t.Errorf("%d tags, changed %t; want 2 and an unchanged head", len(res.Tags), res.Changed)
			}
		})
	}
}

func TestFetchLeavesGitsOwnRepository(t *testing.T) {
	s := gitserver.New(t, gitserver.Options{})
	up := newUpstream(t, s, "a.git")
	dir := t.TempDir()
	r := open(t, openCache(t, dir), source.Options{URL: s.URL("a.git")})
	for range 40 { // enough for packs to be merged twice
		up.push()
		fetch(t, r)
	}
	out, err := exec.Command("git", "--git-dir", cloneDir(t, dir), "fsck", "--full", "--strict").CombinedOutput()
	if err != nil {
		t.Fatalf("git fsck: %v\n%s", err, out)
	}
	packs, err := filepath.Glob(filepath.Join(cloneDir(t, dir), "objects/pack/*.pack"))
	if err != nil || len(packs) > 17 {
		t.Errorf("%d packs after 40 fetches, %v", len(packs), err)
	}
	for _, p := range packs {
		if out, err := exec.Command("git", "verify-pack", p).CombinedOutput(); err != nil {
			t.Errorf("git verify-pack: %v\n%s", err, out)
		}
	}
	if n, _ := walk(t, fetch(t, r)); n != 40 {
		t.Errorf("%d commits, want 40", n)
	}
}

// A revert makes objects come twice: the server does not know that we have
// them. Merging must cope.
func TestFetchRevertsAndMergedPacks(t *testing.T) {
	s := gitserver.New(t, gitserver.Options{})
	up := newUpstream(t, s, "a.git")
	r := open(t, openCache(t, t.TempDir()), source.Options{URL: s.URL("a.git")})
	for i := range 50 {
		up.n = i
		up.write("flip", strings.Repeat(fmt.Sprint(i%2), 500))
		up.write("n", fmt.Sprint(i/2))
		up.pushAll()
		res := fetch(t, r)
		if n, files := walk(t, res); n != i+1 || files["flip"][0] != "01"[i%2] {
			t.Fatalf("after %d fetches: %d commits", i+1, n)
		}
	}
}

func TestFetchSharesTheClone(t *testing.T) {
	s := gitserver.New(t, gitserver.Options{})
	up := newUpstream(t, s, "a.git")
	for range 3 {
		up.push()
	}
	dir := t.TempDir()
	cache := openCache(t, dir)
	var users []*source.Repository
	for range 4 {
		users = append(users, open(t, cache, source.Options{URL: s.URL("a.git")}))
	}
	// Another process is another cache on the same directory.
	other := openCache(t, dir)
	for range 4 {
		users = append(users, open(t, other, source.Options{URL: s.URL("a.git")}))
	}
	for round := range 5 {
		s.ResetRequests()
		var wg sync.WaitGroup
		for _, u := range users {
			wg.Add(1)
			go func() {
				defer wg.Done()
				res, err := u.Fetch(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				owner := fmt.Sprintf("team/%p", u)
				if err := u.SetApplied(owner, res.Head); err != nil {
					t.Error(err)
				}
				if got, err := u.Applied(owner); err != nil || got != res.Head {
					t.Errorf("applied = %s, %v; want %s", got, err, res.Head)
				}
				if n, _ := walk(t, res); n != 3+round || !res.Changed {
					t.Errorf("%d commits, changed %t; want %d and true", n, res.Changed, 3+round)
				}
			}()
		}
		wg.Wait()
		if got := s.Count("fetch"); got != 1 {
			t.Errorf("round %d: eight users fetched %d times, want 1", round, got)
		}
		up.push()
	}
	cloneDir(t, dir)
}

func TestFetchAfterRestart(t *testing.T) {
	s := gitserver.New(t, gitserver.Options{})
	up := newUpstream(t, s, "a.git")
	head := up.push()
	dir := t.TempDir()
	fetch(t, open(t, openCache(t, dir), source.Options{URL: s.URL("a.git")}))
	s.ResetRequests()
	r := open(t, openCache(t, dir), source.Options{URL: s.URL("a.git")})
	if res := fetch(t, r); res.Head != head || !res.Changed {
		t.Errorf("head %s changed %t, want %s and true", res.Head, res.Changed, head)
	}
	if got := s.Count("fetch"); got != 0 {
		t.Errorf("a restart fetched again, %d times", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	offline := open(t, openCache(t, dir), source.Options{URL: s.URL("a.git")})
	o, err := offline.Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.EncodedObject(plumbing.CommitObject, head); err != nil {
		t.Errorf("the clone cannot be read while the remote is away: %v", err)
	}
}

func TestApplied(t *testing.T) {
	dir := t.TempDir()
	o := source.Options{URL: "https://git.example.com/a.git"}
	r := open(t, openCache(t, dir), o)
	want := plumbing.NewHash(strings.Repeat("ab", 20))
	if got, err := r.Applied("team/a"); err != nil || got != plumbing.ZeroHash {
		t.Errorf("before anything was applied: %s, %v", got, err)
	}
	for _, owner := range []string{"team/a", "../../../../escape"} {
		if err := r.SetApplied(owner, want); err != nil {
			t.Fatal(err)
		}
	}
	again := open(t, openCache(t, dir), o)
	if got, err := again.Applied("team/a"); err != nil || got != want {
		t.Errorf("after a restart: %s, %v; want %s", got, err, want)
	}
	if got, err := again.Applied("team/b"); err != nil || got != plumbing.ZeroHash {
		t.Errorf("another owner's: %s, %v", got, err)
	}
	if err := again.SetApplied("team/a", plumbing.ZeroHash); err != nil {
		t.Fatal(err)
	}
	if got, err := again.Applied("team/a"); err != nil || got != plumbing.ZeroHash {
		t.Errorf("after forgetting: %s, %v", got, err)
	}
	for name := range snapshot(t, dir) {
		if strings.Contains(name, "escape") {
			t.Errorf("an owner's name became the file %s", name)
		}
	}
}

func TestFetchHonoursTheCallersContext(t *testing.T) {
	s := gitserver.New(t, gitserver.Options{})
	up := newUpstream(t, s, "a.git")
	up.push()
	r := open(t, openCache(t, t.TempDir()), source.Options{URL: s.URL("a.git")})
	s.Inject(gitserver.Fault{Trickle: 50 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Fetch(ctx)
	wantReason(t, err, source.SourceUnavailable)
	if !strings.Contains(fmt.Sprint(err), "canceled") {
		t.Errorf("err = %v, want it to say that it was cancelled", err)
	}
}
