package audit

import (
	"context"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
)

const (
	// gather is how long changes are gathered before they are told.
	gather = 300 * time.Millisecond
	// rediscoverAfter is when the kinds are discovered again after a definition changed:
	// at once it is not served yet.
	rediscoverAfter = 2 * time.Second
	// quietReport is how long the first report waits for the last object to be judged.
	quietReport = pendingTime + 5*time.Second
	reportRetry = 5 * time.Second
)

// report tells what is found until ctx is done. The first report waits until all was
// looked at, so that a restart does not look as if strays came and went.
func (s *session) report(ctx context.Context) {
	s.clearStale(ctx)
	started := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(gather):
		}
		s.tellMoves()
		if !s.tellReports(ctx, time.Since(started) > quietReport) {
			time.AfterFunc(reportRetry, func() { signal(s.wake) })
		}
	}
}

// clearStale has GitSyncs reported that close nothing any more, since a time when
// nobody watched.
func (s *session) clearStale(ctx context.Context) {
	if s.cfg.Stale == nil {
		return
	}
	stale, err := s.cfg.Stale(ctx)
	if err != nil {
		logr.FromContextOrDiscard(ctx).Error(err, "GitSyncs that close nothing any more may still tell of strays")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touch(stale)
}

// tellMoves tells of strays found and gone.
func (s *session) tellMoves() {
	s.mu.Lock()
	moved := s.moved
	s.moved = nil
	closed := s.closed
	s.mu.Unlock()
	for _, m := range moved {
		for _, sync := range closed[m.stray.Namespace] {
			if m.found {
				s.cfg.Metrics.found(sync)
				s.cfg.Reporter.Found(sync, m.stray)
			} else {
				s.cfg.Reporter.Gone(sync, m.stray)
			}
		}
	}
}

// tellReports reports the GitSyncs about which something changed, and returns false if
// some are left. Until everything was looked at it reports nothing, unless late.
func (s *session) tellReports(ctx context.Context, late bool) bool {
	s.mu.Lock()
	var reports []Report
	waits := false
	for sync := range s.dirty {
		if !late && !s.complete(sync) {
			waits = true
			continue
		}
		delete(s.dirty, sync)
		reports = append(reports, s.compose(sync))
	}
	s.mu.Unlock()
	ok := !waits
	for _, r := range reports {
		if !r.Closes {
			s.cfg.Metrics.drop(r.Sync)
		} else {
			s.cfg.Metrics.set(r)
		}
		if err := s.cfg.Reporter.Report(ctx, r); err != nil && ctx.Err() == nil {
			logr.FromContextOrDiscard(ctx).Info("The status could not be told of strays", "gitsync", r.Sync.String(), "reason", err.Error())
			s.mu.Lock()
			s.dirty[r.Sync] = true
			s.mu.Unlock()
			ok = false
		}
	}
	return ok
}

// complete reports whether every kind in the namespaces of a GitSync was listed or
// cannot be, and every object judged. The caller holds the mutex.
func (s *session) complete(sync types.NamespacedName) bool {
	for namespace, syncs := range s.closed {
		if !slices.Contains(syncs, sync) {
			continue
		}
		for id := range s.book.open {
			if id.namespace == namespace {
				return false
			}
		}
		for _, t := range s.watches.targets() {
			if (t.namespace == "" || t.namespace == namespace) && !s.listed[t] && s.unseen[t] == "" {
				return false
			}
		}
	}
	return true
}

// compose makes the report on a GitSync. The caller holds the mutex.
func (s *session) compose(sync types.NamespacedName) Report {
	r := Report{Sync: sync}
	for namespace, syncs := range s.closed {
		if !slices.Contains(syncs, sync) {
			continue
		}
		r.Closes = true
		for id, e := range s.book.strays {
			if id.namespace == namespace {
				r.Strays = append(r.Strays, *e.stray)
			}
		}
		for t, why := range s.unseen {
			if t.namespace == "" || t.namespace == namespace {
				r.Unseen = append(r.Unseen, t.unseen(why))
			}
		}
	}
	if s.book.full {
		r.Unseen = append(r.Unseen, "there are too many objects to look at all of them")
	}
	slices.SortFunc(r.Strays, compareStrays)
	slices.Sort(r.Unseen)
	r.Unseen = slices.Compact(r.Unseen)
	return r
}

// watchDefinitions has the kinds discovered anew when a definition of kinds changes.
func (s *session) watchDefinitions(ctx context.Context) {
	followDefinitions(ctx, s.cfg.Objects, s.cfg.Metadata, s.redefine)
}

// followDefinitions calls changed when a definition of kinds changes, until ctx is done.
func followDefinitions(ctx context.Context, objects dynamic.Interface, meta metadata.Interface, changed func()) {
	w := watches{objects: objects, metadata: meta, sink: definitionSink(changed)}
	var targets []target
	for _, gvr := range definitions {
		targets = append(targets, target{resource: resource{gvr: gvr}})
	}
	w.follow(ctx, targets)
	w.done()
}

// A definitionSink is called when a definition of kinds changes.
type definitionSink func()

func (d definitionSink) replaced(target, []map[string]any) { d() }
func (d definitionSink) failed(target, error)              {}
func (d definitionSink) changed(target, map[string]any, bool) {
	d()
	time.AfterFunc(rediscoverAfter, d)
}
