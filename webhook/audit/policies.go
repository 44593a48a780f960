package audit

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"

	"gitgate.dev/gitgate/policy/verdict"
)

const (
	// listPage is how many objects are read at once when a PolicySet changed.
	listPage = 200
	// writesPerSecond bounds the reports that are written.
	writesPerSecond = 20
	writesAtOnce    = 50
	writeRetry      = 5 * time.Second
	// maxSubjects bounds the objects whose results are kept.
	maxSubjects = 200_000
)

// A PolicySet is what judges objects that are there.
type PolicySet struct {
	Name string
	// Version is equal for as long as the set says the same of the same object. It must
	// be comparable.
	Version any
	// Kinds are those that it may have something to say about. None is any.
	Kinds []KindMatch
	// Rules describes rules by the names that findings have for them. What is not in it
	// is reported without.
	Rules map[string]Description
	// Judge judges an object, which it must not keep.
	Judge func(context.Context, Subject) Judgement
}

// A Description is what reports say of a rule beside its name.
type Description struct {
	// Severity is critical, high, medium, low, info or empty.
	Severity string
	Category string
}

// A Judgement is what a set has to say of an object.
type Judgement struct {
	// Rules are those that were asked, none if the set does not select the object.
	Rules    []string
	Findings []verdict.Finding
	// Excepted are the findings that exceptions let pass; they are not in Findings.
	Excepted []ExceptedFinding
}

// An ExceptedFinding is one that an exception lets pass.
type ExceptedFinding struct {
	verdict.Finding
	// Exception is namespace/name of the PolicyException; Owner and Why are its own words.
	Exception, Owner, Why string
	Expires               time.Time
}

// A KindMatch holds for kinds of groups; "*" is any.
type KindMatch struct{ Groups, Kinds []string }

func (m KindMatch) matches(r resource) bool {
	oneOf := func(list []string, s string) bool {
		return len(list) == 0 || slices.Contains(list, "*") || slices.Contains(list, s)
	}
	return oneOf(m.Groups, r.gvr.Group) && oneOf(m.Kinds, r.kind)
}

func (p PolicySet) matches(r resource) bool {
	return len(p.Kinds) == 0 || slices.ContainsFunc(p.Kinds, func(m KindMatch) bool { return m.matches(r) })
}

// A Subject is an object that is judged.
type Subject struct {
	Kind            schema.GroupVersionKind
	Resource        schema.GroupResource
	Namespace, Name string
	// Raw is the object as JSON, without managedFields.
	Raw []byte
}

// A ScanConfig configures a [Scanner]. Every field is mandatory but Judged.
type ScanConfig struct {
	// Judged is told what a set has to say of an object when that differs from what it
	// said before, unless the object passes now and did so before. It must not block.
	Judged func(set string, uid types.UID, s Subject, said Judgement)

	Discovery discovery.DiscoveryInterfaceWithContext
	Objects   dynamic.Interface
	Metadata  metadata.Interface
	Metrics   *ScanMetrics
}

// A Scanner judges by PolicySets what is in the cluster already, and writes what
// comes of it as reports, while [Scanner.Run] runs. An object is judged when it is
// seen and when it changes, and when a PolicySet changes that has something to say
// about its kind, or an exception that may be about it.
type Scanner struct {
	cfg ScanConfig

	mu     sync.Mutex
	sets   map[string]PolicySet
	exempt map[string]Exemption
	known  bool
	kick   chan struct{}
}

// NewScanner returns a Scanner that judges nothing before [Scanner.SetPolicies].
func NewScanner(c ScanConfig) (*Scanner, error) {
	if c.Discovery == nil || c.Objects == nil || c.Metadata == nil || c.Metrics == nil {
		return nil, errors.New("audit: every field of ScanConfig but Judged is mandatory")
	}
	return &Scanner{cfg: c, kick: make(chan struct{}, 1)}, nil
}

// SetPolicies says what judges from now on.
func (s *Scanner) SetPolicies(sets []PolicySet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sets, s.known = make(map[string]PolicySet, len(sets)), true
	for _, p := range sets {
		s.sets[p.Name] = p
	}
	signal(s.kick)
}

func (s *Scanner) policies() (map[string]PolicySet, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sets, s.known
}

// Run judges until ctx is done. It may be called again then.
func (s *Scanner) Run(ctx context.Context) error {
	for {
		if _, known := s.policies(); known {
			break
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.kick:
		}
	}
	n := newScan(s.cfg)
	defer n.end()
	n.watches.wg.Go(func() { n.watchDefinitions(ctx) })
	for range workers {
		n.wg.Go(func() { n.work(ctx) })
	}
	n.wg.Go(func() { n.clear(ctx) })
	rediscover := true
	for {
		sets, _ := s.policies()
		now := time.Now()
		counting, next := s.exceptions(now)
		n.settle(ctx, sets, rediscover)
		n.except(ctx, counting)
		select {
		case <-ctx.Done():
			return nil
		case <-untilNext(now, next):
			rediscover = false
		case <-s.kick:
			rediscover = false
		case <-n.redefined:
			rediscover = true
		}
	}
}
