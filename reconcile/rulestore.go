package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/source"
)

// A RuleStoreConfig configures a [RuleStore]. Every field is mandatory.
type RuleStoreConfig struct {
	// Client reads our own kinds from the cache, Direct Secrets and ConfigMaps without
	// one.
	Client, Direct client.Reader
	Gates          GateBuilder
	// Sources opens repositories, Bundles fetches from registries.
	Sources *Sources
	Bundles BundleSource
	// Dir is a directory for bundles.
	Dir string
	// Lenient goes without credentials that only a cluster has.
	Lenient bool
	// SystemNamespace is gitgate's own.
	SystemNamespace string
}

// A RuleStore holds the rules of PolicySets that come from Git or a registry, as they
// are in force in this process. A version comes into force when it is verified and
// loads; the former one stays until then. What was in force is on disk, and verified
// again before it counts: after a start, and whenever the trust changes. It is safe
// for concurrent use.
type RuleStore struct {
	RuleStoreConfig

	mu       sync.Mutex
	sets     map[string]*heldRules
	watchers []chan event.TypedGenericEvent[*v1alpha1.PolicySet]
}

// NewRuleStore returns a RuleStore.
func NewRuleStore(c RuleStoreConfig) *RuleStore {
	return &RuleStore{RuleStoreConfig: c, sets: map[string]*heldRules{}}
}

// heldRules is what is known of one set.
type heldRules struct {
	mu sync.Mutex // never held while a remote is asked

	fingerprint string // of the source and of what it is trusted by
	rules       *RemoteRules
	since       time.Time
	why         *WithheldError          // that there are no rules
	record      *source.Repository      // the clone, never asked
	recordOf    string                  // what record was opened for
	versions    map[string]*RemoteRules // see [RuleStore.before]

	// The fields below belong to Follow, which runs once at a time.

	repo     *source.Repository
	access   string
	refused  refusal
	failures int
}

// A refusal is the newest version and why it is not in force.
type refusal struct {
	question string // what was asked, not to judge it again
	reason   verdict.Reason
	message  string
	final    bool // asking again would give the same
}

func (s *RuleStore) held(name string) *heldRules {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.sets[name]
	if h == nil {
		h = &heldRules{}
		s.sets[name] = h
	}
	return h
}

// Forget drops what is known of a set that is gone, or has no remote source any more.
// What is on disk stays as long as other clones that nobody uses.
func (s *RuleStore) Forget(name string) {
	s.mu.Lock()
	h := s.sets[name]
	delete(s.sets, name)
	s.mu.Unlock()
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range []*source.Repository{h.repo, h.record} {
		if r != nil {
			r.Close()
		}
	}
	h.repo, h.record = nil, nil
}

// Changes tells of sets whose rules in force are others now. A receiver that is slow
// misses some of several changes in a row, never the last.
func (s *RuleStore) Changes() <-chan event.TypedGenericEvent[*v1alpha1.PolicySet] {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := make(chan event.TypedGenericEvent[*v1alpha1.PolicySet], 1)
	s.watchers = append(s.watchers, c)
	return c
}

// changed tells the watchers. Each of them looks at everything, so one event that
// waits is as good as many.
func (s *RuleStore) changed(set *v1alpha1.PolicySet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.watchers {
		select {
		case c <- event.TypedGenericEvent[*v1alpha1.PolicySet]{Object: set}:
		default:
		}
	}
}

// Rules implements [RuleSource]. It asks no remote: what is in force is in memory, or
// on disk and verified now. By [RuleStore.before] a GitSync is judged by the rules that
// were in its own repository before.
func (s *RuleStore) Rules(ctx context.Context, set *v1alpha1.PolicySet, sync *v1alpha1.GitSync) (*RemoteRules, error) {
	if s == nil {
		return nil, withheld(set, verdict.SourceUnavailable, "nothing is fetched here")
	}
	h := s.held(set.Name)
	h.mu.Lock()
	defer h.mu.Unlock()
	in, err := s.refresh(ctx, set, h)
	if err != nil {
		return nil, err
	}
	if h.rules == nil {
		return nil, h.why
	}
	return s.before(ctx, set, sync, in, h)
}

// refresh brings what is in force up to date with the source and its trust, which may
// have taken it out of force. The caller holds the lock.
func (s *RuleStore) refresh(ctx context.Context, set *v1alpha1.PolicySet, h *heldRules) (Inputs, error) {
	in, fingerprint, err := s.resolve(ctx, set)
	if spec, ok := asSpecError(err); ok {
		s.put(set, h, "", nil, withheld(set, spec.reason, "%s", spec.msg))
		return in, h.why
	}
	if err != nil || h.fingerprint == fingerprint {
		return in, err
	}
	rules, err := s.recall(ctx, set, in, h)
	if ctx.Err() != nil {
		return in, ctx.Err()
	}
	var why *WithheldError
	if rules == nil {
		why = asWithheld(set, err)
	}
	s.put(set, h, fingerprint, rules, why)
	return in, nil
}

// put notes what is in force, and tells of it if it differs.
func (s *RuleStore) put(set *v1alpha1.PolicySet, h *heldRules, fingerprint string, rules *RemoteRules, why *WithheldError) {
	former := h.rules
	h.fingerprint, h.rules, h.why, h.versions = fingerprint, rules, why, nil
	if former.revision() != rules.revision() {
		h.since = time.Now()
	}
	if former.digest() != rules.digest() {
		s.changed(set)
	}
}

func (r *RemoteRules) revision() string {
	if r == nil {
		return ""
	}
	return r.Revision
}

func (r *RemoteRules) digest() string {
	if r == nil {
		return ""
	}
	return r.Digest
}

// resolve reads who is trusted with a source, and returns a fingerprint of both.
func (s *RuleStore) resolve(ctx context.Context, set *v1alpha1.PolicySet) (Inputs, string, error) {
	in := Inputs{KeyObjects: map[string]map[string][]byte{}}
	r := resolver{cached: s.Client, direct: s.Direct, system: s.SystemNamespace}
	from := set.Spec.Source.DeepCopy()
	from.Library, from.Inline, from.ConfigMapRef = nil, nil, nil
	if from.Git != nil {
		from.Git.Interval, from.Git.SecretRef = nil, nil
	}
	if from.OCI != nil {
		from.OCI.Interval, from.OCI.SecretRef = nil, nil
	}
	text, err := json.Marshal(from)
	if err != nil {
		return in, "", err
	}
	r.note("PolicySet", set, string(text))
	if g := from.Git; g != nil {
		if err := r.trustPolicy(ctx, &in, "spec.source.git.trust", g.Trust.Name); err != nil {
			return in, "", err
		}
		if err := r.trusted(ctx, &in, "spec.source.git", g.URL, g.Ref.Branch); err != nil {
			return in, "", err
		}
	}
	return in, strings.Join(r.versions, "\n"), nil
}

// recall verifies again what was in force, from disk.
func (s *RuleStore) recall(ctx context.Context, set *v1alpha1.PolicySet, in Inputs, h *heldRules) (*RemoteRules, error) {
	if set.Spec.Source.Git != nil {
		return s.recallGit(ctx, set, in, h)
	}
	return s.recallOCI(ctx, set)
}

func withheld(set *v1alpha1.PolicySet, reason verdict.Reason, format string, args ...any) *WithheldError {
	return &WithheldError{Set: set.Name, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// asWithheld makes of an error why a set has no rules.
func asWithheld(set *v1alpha1.PolicySet, err error) *WithheldError {
	reason, message := reasonOf(err)
	return withheld(set, reason, "%s", message)
}

// ruleOwner names a set in the record beside a clone, as no GitSync is named.
func ruleOwner(name string) string { return "PolicySet:" + name }
