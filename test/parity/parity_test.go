package parity

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// A trial is one commit and what has to be said of it.
type trial struct {
	reason string
	// plan changes what judges; nil leaves it as it is everywhere.
	plan func(*site, *plan)
	// before are commits between what is in force and the commit.
	before []gitrepo.Change
	// change is the commit. history makes it where a change cannot say it.
	change  gitrepo.Change
	history func(*site) plumbing.Hash
	// want are the reasons of all that gitgate check finds, each once, in their
	// order; none for a commit without fault.
	want []verdict.Reason
	// all has the check judge every object.
	all bool
	// server are the reasons that only the API server gives.
	server []verdict.Reason
	// says is part of the text of a finding.
	says string
}

// answers are what the doors said of one trial.
type answers struct{ check, reconciler ruling }

func reasons(r ...verdict.Reason) []verdict.Reason { return r }

// corpus is every commit, by group and name.
func (w *world) corpus() map[string]map[string]trial {
	return map[string]map[string]trial{
		"commit": w.commitTrials(), "render": w.renderTrials(), "image": w.imageTrials(),
		"policy": w.policyTrials(), "secret": w.secretTrials(), "apply": w.applyTrials(),
	}
}

// merged joins trials; a name that stands twice is a mistake.
func merged(groups ...map[string]trial) map[string]trial {
	out := map[string]trial{}
	for _, g := range groups {
		for name, tr := range g {
			if _, twice := out[name]; twice {
				panic("two trials are called " + name)
			}
			out[name] = tr
		}
	}
	return out
}

// leastTrials is how many commits the corpus must have.
const leastTrials = 100

func TestParity(t *testing.T) {
	w := begin(t)
	n := 0
	for group, trials := range w.corpus() {
		n += len(trials)
		t.Run(group, func(t *testing.T) {
			for name, tr := range trials {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					w.try(t, tr)
				})
			}
		})
	}
	if n < leastTrials {
		t.Errorf("the corpus has %d commits, want %d", n, leastTrials)
	}
}

// try has both doors judge a commit and compares what they say.
func (w *world) try(t *testing.T, tr trial) {
	name := strings.ToLower(strings.TrimPrefix(strings.ReplaceAll(t.Name(), "/", "-"), "TestParity-"))
	s := w.newSite(t, name, tr.plan)
	s.timeouts = slices.Contains(tr.want, verdict.PolicyTimeout)
	for _, c := range tr.before {
		s.commit(c)
	}
	var head plumbing.Hash
	if tr.history != nil {
		head = tr.history(s)
	} else {
		head = s.commit(tr.change)
	}
	var args []string
	if tr.all {
		args = append(args, "--all")
	}
	check, stderr := s.check(head, args...)
	reconciler, sync := s.reconcile(head)
	w.mu.Lock()
	w.ran[t.Name()] = answers{check, reconciler}
	w.mu.Unlock()
	if stderr != "" {
		t.Fatalf("%s\ngitgate check judged nothing: %s", tr.reason, stderr)
	}
	if reconciler.Revision == "" {
		t.Fatalf("%s\nthe reconciler judged nothing: %+v", tr.reason, sync.Status.Conditions)
	}
	tr.judge(t, check, reconciler)
	s.replays()
}

func (tr trial) judge(t *testing.T, check, reconciler ruling) {
	t.Helper()
	if diff := cmp.Diff(tr.want, distinct(t, check.Findings)); diff != "" {
		t.Errorf("%s\nwhat the check finds (-want +got)\n%s\n%s", tr.reason, diff, texts(check.Findings))
	}
	if !strings.Contains(texts(check.Findings), tr.says) {
		t.Errorf("%s\nnothing says %q:\n%s", tr.reason, tr.says, texts(check.Findings))
	}
	want, got := texts(common(t, check, reconciler)), texts(tr.shared(t, check, reconciler))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s\nthe doors differ (-check +reconciler)\n%s", tr.reason, diff)
	}
	if diff := cmp.Diff(tr.server, ofServerOnly(t, check, reconciler)); diff != "" {
		t.Errorf("%s\nwhat only the API server refuses (-want +got)\n%s\n%s", tr.reason, diff, texts(reconciler.Findings))
	}
	if check.Revision != reconciler.Revision || check.Objects != reconciler.Objects && slices.Contains(reconciler.ran(), verdict.StageRender) {
		t.Errorf("%s\nthe check judged %d objects of %s, the reconciler %d of %s", tr.reason, check.Objects, check.Revision, reconciler.Objects, reconciler.Revision)
	}
	if check.Allowed && !reconciler.Allowed && tr.server == nil {
		t.Errorf("%s\nthe check allows what the reconciler refuses", tr.reason)
	}
	if reconciler.Allowed && !check.Allowed && !slices.ContainsFunc(tr.want, func(r verdict.Reason) bool { return checkOnly[r] != "" }) {
		t.Errorf("%s\nthe reconciler allows what the check refuses", tr.reason)
	}
}

// ofServerOnly lists the reasons that the API server gives for objects of which the
// check found nothing. What the check finds against a schema the server has to
// refuse too, if it is asked.
func ofServerOnly(t *testing.T, check, reconciler ruling) (out []verdict.Reason) {
	t.Helper()
	refused, known := map[string]bool{}, map[string]bool{}
	for _, raw := range check.Findings {
		if f := decoded(t, raw); ofServer(f) {
			known[f.Object] = true
		}
	}
	for _, raw := range reconciler.Findings {
		f := decoded(t, raw)
		if !ofServer(f) {
			continue
		}
		refused[f.Object] = true
		if !known[f.Object] && !slices.Contains(out, f.Reason) {
			out = append(out, f.Reason)
		}
	}
	if slices.Contains(reconciler.ran(), verdict.StageApply) && !slices.ContainsFunc(reconciler.Findings, func(raw json.RawMessage) bool { return !ofServer(decoded(t, raw)) }) {
		for object := range known {
			if !refused[object] {
				t.Errorf("the check finds fault with the schema of %s, and the API server takes it:\n%s", object, texts(check.Findings))
			}
		}
	}
	return out
}

// distinct lists the reasons of findings, without that no API server was asked.
func distinct(t *testing.T, findings []json.RawMessage) (out []verdict.Reason) {
	t.Helper()
	seen := map[verdict.Reason]bool{verdict.DryRunSkipped: true}
	for _, raw := range findings {
		seen[decoded(t, raw).Reason] = true
	}
	delete(seen, verdict.DryRunSkipped)
	return slices.Sorted(maps.Keys(seen))
}
