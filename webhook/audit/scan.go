package audit

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/client-go/util/workqueue"
)

// A scan is one run of a Scanner.
type scan struct {
	cfg       ScanConfig
	ctx       context.Context
	watches   watches // of what is judged
	written   watches // of our own reports
	queue     workqueue.TypedDelayingInterface[objectID]
	removals  workqueue.TypedInterface[reportID]
	writes    flowcontrol.RateLimiter
	redefined chan struct{}
	wg        sync.WaitGroup

	kinds   []resource
	formats []format
	exempt  map[string]Exemption // that count

	mu       sync.Mutex
	sets     map[string]PolicySet
	subjects map[objectID]*subject
	counts   map[[2]string]int
	passes   map[string][]Result // shared by all objects that pass the same rules
	reports  map[reportID]writtenReport
	owners   map[reportID]objectID
	listed   map[target]bool
	unseen   map[target]string
	full     bool
}

// A subject is what is known of an object.
type subject struct {
	target  target
	uid     types.UID
	version string              // that was judged last
	results map[string][]Result // by PolicySet
}

func newScan(c ScanConfig) *scan {
	s := &scan{
		cfg: c, ctx: context.Background(), queue: workqueue.NewTypedDelayingQueue[objectID](), removals: workqueue.NewTyped[reportID](), redefined: make(chan struct{}, 1),
		writes: flowcontrol.NewTokenBucketRateLimiter(writesPerSecond, writesAtOnce), sets: map[string]PolicySet{},
		subjects: map[objectID]*subject{}, counts: map[[2]string]int{}, passes: map[string][]Result{},
		reports: map[reportID]writtenReport{}, owners: map[reportID]objectID{}, listed: map[target]bool{}, unseen: map[target]string{},
	}
	s.watches = watches{objects: c.Objects, metadata: c.Metadata, sink: s}
	s.written = watches{objects: c.Objects, metadata: c.Metadata, sink: (*reportSink)(s)}
	return s
}

func (s *scan) end() {
	s.queue.ShutDown()
	s.removals.ShutDown()
	s.watches.done()
	s.written.done()
	s.wg.Wait()
	s.cfg.Metrics.forget()
}

func (s *scan) watchDefinitions(ctx context.Context) {
	followDefinitions(ctx, s.cfg.Objects, s.cfg.Metadata, func() { signal(s.redefined) })
}

// settle brings what is watched and judged up to date with the PolicySets.
func (s *scan) settle(ctx context.Context, sets map[string]PolicySet, rediscover bool) {
	s.mu.Lock()
	s.ctx = ctx
	s.mu.Unlock()
	if rediscover && !s.discover(ctx) {
		time.AfterFunc(recheckTime, func() { signal(s.redefined) })
	}
	changed := s.adopt(sets)
	var targets []target
	for _, r := range s.kinds {
		for _, p := range sets {
			if p.matches(r) {
				targets = append(targets, target{resource: r, whole: true})
				break
			}
		}
	}
	again := s.again(targets, changed)
	ended := s.watches.follow(ctx, targets)
	s.mu.Lock()
	for _, t := range ended {
		delete(s.listed, t)
		delete(s.unseen, t)
		for id, j := range s.subjects {
			if j.target == t {
				s.forget(id, j)
			}
		}
	}
	s.tell()
	s.mu.Unlock()
	for t, names := range again {
		if err := s.rejudge(ctx, t, names); err != nil && ctx.Err() == nil {
			logr.FromContextOrDiscard(ctx).Info("What is there could not be judged by PolicySets that changed; it is tried again", "kind", t.String(), "reason", err.Error())
			time.AfterFunc(recheckTime, func() { s.retry(t, names) })
		}
	}
}

// retry has kinds judged again by sets.
func (s *scan) retry(t target, names []string) {
	s.mu.Lock()
	ctx := s.ctx
	s.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	if err := s.rejudge(ctx, t, names); err != nil && ctx.Err() == nil {
		time.AfterFunc(recheckTime, func() { s.retry(t, names) })
	}
}

// adopt takes the sets up, drops what those said that are gone, and returns the names
// of the others that changed.
func (s *scan) adopt(sets map[string]PolicySet) (changed []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.sets {
		if _, there := sets[name]; there {
			continue
		}
		for id, j := range s.subjects {
			s.replace(id, j, name, nil)
		}
	}
	for name, p := range sets {
		if old, there := s.sets[name]; !there || old.Version != p.Version || !slices.EqualFunc(old.Kinds, p.Kinds, sameKinds) {
			changed = append(changed, name)
			maps.DeleteFunc(s.passes, func(key string, _ []Result) bool { return strings.HasPrefix(key, name+"\x00") })
		}
	}
	s.sets = sets
	return changed
}

func sameKinds(a, b KindMatch) bool {
	return slices.Equal(a.Groups, b.Groups) && slices.Equal(a.Kinds, b.Kinds)
}

// again returns which of the kinds that are watched already, or were until now, have
// to be judged by which sets.
func (s *scan) again(targets []target, changed []string) map[target][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[target][]string{}
	for _, t := range targets {
		if !s.listed[t] {
			continue // all of it is about to come
		}
		for _, name := range changed {
			if s.sets[name].matches(t.resource) {
				out[t] = append(out[t], name)
				continue
			}
			for id, j := range s.subjects {
				if j.target == t {
					s.replace(id, j, name, nil)
				}
			}
		}
	}
	return out
}

// rejudge reads all objects of a kind, page by page, and judges them by some sets.
func (s *scan) rejudge(ctx context.Context, t target, names []string) error {
	options := metav1.ListOptions{Limit: listPage}
	for {
		list, err := s.cfg.Objects.Resource(t.gvr).List(ctx, options)
		if err != nil {
			return err
		}
		s.mu.Lock()
		for i := range list.Items {
			s.see(t, list.Items[i].Object, names)
		}
		s.tell()
		s.mu.Unlock()
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}

// replaced implements [sink].
func (s *scan) replaced(t target, objects []map[string]any) {
	there := make(map[objectID]bool, len(objects))
	for _, o := range objects {
		there[idOf(t, o)] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, j := range s.subjects {
		if j.target == t && !there[id] {
			s.forget(id, j)
		}
	}
	for _, o := range objects {
		s.see(t, o, nil)
	}
	s.listed[t] = true
	delete(s.unseen, t)
	s.sweep()
	s.tell()
}

// changed implements [sink].
func (s *scan) changed(t target, object map[string]any, gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := idOf(t, object)
	switch j := s.subjects[id]; {
	case !gone:
		s.see(t, object, nil)
	case j != nil && j.uid == uidOf(object):
		s.forget(id, j)
	}
	s.tell()
}

// failed implements [sink].
func (s *scan) failed(t target, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.miss(t, err)
}

// miss notes that a kind cannot be looked at. The caller holds the mutex.
func (s *scan) miss(t target, err error) {
	why := unseenReason(err)
	if s.unseen[t] != why {
		logr.FromContextOrDiscard(s.ctx).Info("A kind cannot be looked at", "kind", t.String(), "reason", why)
	}
	s.unseen[t] = why
	s.tell()
}

// see judges an object by the sets of these names, or by all. The caller holds the
// mutex.
func (s *scan) see(t target, object map[string]any, names []string) {
	id, uid := idOf(t, object), uidOf(object)
	j := s.subjects[id]
	if j != nil && j.uid != uid {
		s.forget(id, j)
		j, names = nil, nil
	}
	if j == nil {
		if s.full = len(s.subjects) >= maxSubjects; s.full {
			return
		}
		j = &subject{target: t, uid: uid, results: map[string][]Result{}} // nobody had anything to say of it
	}
	version := text(metadataOf(object), "resourceVersion")
	if names != nil && j.version != "" && j.version != version {
		return // what is newer was judged by all sets, or is about to be
	}
	j.version = version
	about := Subject{Kind: t.gvk(), Resource: t.gvr.GroupResource(), Namespace: id.namespace, Name: id.name}
	var err error
	if about.Raw, err = rawOf(object); err != nil {
		return // it came as JSON
	}
	for name, p := range s.sets {
		if names != nil && !slices.Contains(names, name) || !p.matches(t.resource) {
			continue
		}
		said := p.Judge(s.ctx, about)
		if s.ctx.Err() != nil {
			return
		}
		results := s.results(p, said)
		if s.cfg.Judged != nil && !slices.Equal(j.results[name], results) && (speaks(results) || speaks(j.results[name])) {
			s.cfg.Judged(name, uid, about, said)
		}
		s.replace(id, j, name, results)
	}
}

// speaks reports whether results hold more than passes.
func speaks(results []Result) bool {
	return slices.ContainsFunc(results, func(r Result) bool { return r.Result != resultPass })
}

// rawOf is an object as JSON, without what no rule should read.
func rawOf(object map[string]any) ([]byte, error) {
	meta := metadataOf(object)
	if managed, there := meta["managedFields"]; there {
		delete(meta, "managedFields")
		defer func() { meta["managedFields"] = managed }()
	}
	return json.Marshal(object)
}

// replace puts the results of one set in the place of those before. The caller holds
// the mutex.
func (s *scan) replace(id objectID, j *subject, set string, results []Result) {
	before := j.results[set]
	if slices.Equal(before, results) {
		return
	}
	s.count(set, before, -1)
	s.count(set, results, 1)
	if len(results) == 0 {
		delete(j.results, set)
	} else {
		j.results[set] = results
	}
	if len(j.results) > 0 {
		s.subjects[id] = j
		s.owners[baseOf(id, j.uid)] = id
	} else {
		delete(s.subjects, id)
		delete(s.owners, baseOf(id, j.uid))
		s.drop(id, j.uid)
	}
	s.queue.AddAfter(id, gather)
}

// forget drops an object. The caller holds the mutex.
func (s *scan) forget(id objectID, j *subject) {
	for set, results := range j.results {
		s.count(set, results, -1)
	}
	delete(s.subjects, id)
	delete(s.owners, baseOf(id, j.uid))
	s.drop(id, j.uid)
	s.queue.AddAfter(id, gather)
}

func (s *scan) count(set string, results []Result, by int) {
	for _, r := range results {
		s.counts[[2]string{set, r.Result}] += by
	}
}

// tell sets the metrics. The caller holds the mutex.
func (s *scan) tell() {
	s.cfg.Metrics.set(s.counts, len(s.subjects), len(s.unseen), s.full)
	for k, n := range s.counts {
		if n == 0 {
			delete(s.counts, k)
		}
	}
}

// results are what one set has to say of an object: what was found, and which rules
// found nothing. The caller holds the mutex.
func (s *scan) results(set PolicySet, said Judgement) []Result {
	if len(said.Rules)+len(said.Findings)+len(said.Excepted) == 0 {
		return nil
	}
	if len(said.Findings)+len(said.Excepted) == 0 {
		key := set.Name + "\x00" + strings.Join(said.Rules, "\x00")
		if s.passes[key] == nil {
			s.passes[key] = resultsOf(set, said)
		}
		return s.passes[key]
	}
	return resultsOf(set, said)
}
