package source_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/reconcile/source"
	"gitgate.dev/gitgate/test/testkit/gitserver"
)

var (
	day = 24 * time.Hour
	// longAgo is when the tests begin; the clock of the machine does not matter.
	longAgo = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

// A pruneSite is a directory of clones with one repository fetched into it.
type pruneSite struct {
	t   *testing.T
	dir string
	url string
	up  *upstream
}

func newPruneSite(t *testing.T) *pruneSite {
	t.Helper()
	server := gitserver.New(t, gitserver.Options{})
	s := &pruneSite{t: t, dir: t.TempDir(), up: newUpstream(t, server, "app.git"), url: server.URL("app.git")}
	s.up.push()
	return s
}

// fetched opens the repository as a process would, and fetches.
func (s *pruneSite) fetched(c *source.Cache) *source.Repository {
	s.t.Helper()
	r := open(s.t, c, source.Options{URL: s.url})
	fetch(s.t, r)
	return r
}

// prune returns whether the clone was removed.
func (s *pruneSite) prune(c *source.Cache, now time.Time, keep ...string) bool {
	s.t.Helper()
	removed, err := c.Prune(keep, day, now)
	if err != nil {
		s.t.Fatal(err)
	}
	if there := s.entries(); (len(removed) == 0) != (len(there) == 1) {
		s.t.Fatalf("%q is removed, and there is %q", removed, there)
	}
	if len(removed) > 0 && removed[0] != s.url {
		s.t.Errorf("removed %q", removed)
	}
	return len(removed) > 0
}

func (s *pruneSite) entries() (names []string) {
	s.t.Helper()
	files, err := os.ReadDir(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range files {
		names = append(names, f.Name())
	}
	return names
}

func TestPruneRemovesWhatNobodyUses(t *testing.T) {
	s := newPruneSite(t)
	c := openCache(t, s.dir)
	s.fetched(c).Close()
	for i, now := range []time.Time{longAgo, longAgo.Add(time.Hour), longAgo.Add(day - time.Second)} {
		if s.prune(c, now) {
			t.Fatalf("prune %d removed it too early", i)
		}
	}
	if !s.prune(openCache(t, s.dir), longAgo.Add(day)) { // counted across a restart
		t.Fatal("not removed")
	}
	// It can be used again, by the cache that removed it and by one that knows it from before.
	for _, again := range []*source.Cache{openCache(t, s.dir), c} {
		r := s.fetched(again)
		r.Close()
	}
}

// Several GitSyncs share a clone: it stays for the last of them.
func TestPruneSparesWhatIsUsed(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		keep   func(s *pruneSite) []string
		use    func(s *pruneSite, c *source.Cache)
	}{
		"Referred": {"A GitSync refers to it, in another spelling.", func(s *pruneSite) []string { return []string{"https://elsewhere.example.com/x", s.url + "/", "://"} }, nil},
		"Open": {"One of two users is left.", nil, func(s *pruneSite, c *source.Cache) {
			a, b := open(s.t, c, source.Options{URL: s.url}), open(s.t, c, source.Options{URL: s.url})
			a.Close()
			a.Close() // counts once
			_ = b
		}},
		"Fetched": {"Another process has used it meanwhile.", nil, func(s *pruneSite, _ *source.Cache) {
			r := open(s.t, openCache(s.t, s.dir), source.Options{URL: s.url})
			if _, err := r.Objects(s.t.Context()); err != nil {
				s.t.Fatal(err)
			}
			r.Close()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newPruneSite(t)
			c := openCache(t, s.dir)
			s.fetched(c).Close()
			var keep []string
			if tc.keep != nil {
				keep = tc.keep(s)
			}
			if s.prune(c, longAgo, keep...) {
				t.Fatal("removed at once")
			}
			if tc.use != nil {
				tc.use(s, c)
			}
			if s.prune(c, longAgo.Add(2*day), keep...) {
				t.Fatalf("removed: %s", tc.reason)
			}
		})
	}
}

// A crash between moving away and removing leaves a rest, which the next run
// removes. What is not ours stays.
func TestPruneRemovesRests(t *testing.T) {
	s := newPruneSite(t)
	c := openCache(t, s.dir)
	s.fetched(c).Close()
	clone := s.entries()[0]
	rest := filepath.Join(s.dir, strings.TrimSuffix(clone, ".git")+".gone")
	for _, dir := range []string{rest, filepath.Join(s.dir, "lost+found"), filepath.Join(s.dir, "0123.git")} {
		if err := os.MkdirAll(filepath.Join(dir, "objects"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(s.dir, strings.Repeat("a", 32)+".git")); err != nil {
		t.Fatal(err)
	}
	for _, now := range []time.Time{longAgo, longAgo.Add(2 * day)} {
		if _, err := c.Prune(nil, day, now); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(rest); !os.IsNotExist(err) {
			t.Errorf("the rest is still there: %v", err)
		}
	}
	if got := s.entries(); len(got) != 3 || strings.Contains(strings.Join(got, " "), clone) {
		t.Errorf("left are %q", got)
	}
}

// Whoever opens a clone while it is being pruned either keeps it or gets a new one,
// and can fetch in any case.
func TestPruneWhileInUse(t *testing.T) {
	s := newPruneSite(t)
	c := openCache(t, s.dir)
	want := s.fetched(c)
	want.Close()
	var group sync.WaitGroup
	stop := make(chan struct{})
	group.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := c.Prune(nil, 0, longAgo); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 8 {
		for _, cache := range []*source.Cache{c, openCache(t, s.dir)} {
			r := open(t, cache, source.Options{URL: s.url})
			if cache == c {
				fetch(t, r)
				if err := r.SetApplied("a/b", plumbing.NewHash("1111111111111111111111111111111111111111")); err != nil {
					t.Fatal(err)
				}
				if h, err := r.Applied("a/b"); err != nil || h.IsZero() {
					t.Fatalf("Applied = %s, %v", h, err)
				}
			}
			r.Close()
		}
	}
	close(stop)
	group.Wait()
}
