package main_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/gitserver"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// patience bounds one attempt of gitgate, on a machine that is busy.
const patience = 2 * time.Minute

// A site is what one test attacks: a repository, the namespace that it is applied
// to, and the GitSync and TrustPolicy between them. Each has its own name, by
// which everything that belongs to it is known.
type site struct {
	*installation
	t    *testing.T
	name string
	repo *gitrepo.Repo
	root plumbing.Hash
	good plumbing.Hash // the commit that is live
	sync client.ObjectKey
	n    int // of good commits
}

// A setup is a site that is being planned.
type setup struct {
	trust *v1alpha1.TrustPolicy
	sync  *v1alpha1.GitSync
	// policy is a PolicySet of the site's own, used beside the restricted pack;
	// nil for none.
	policy map[string]string
	// server is where the repository is; the lab's own by default.
	server *gitserver.Server
	// files go into the first release, beside those of every site.
	files map[string]string
}

// newSite makes a site, with a first good release. The name must be no part of
// another site's name.
func newSite(t *testing.T, name string, changes ...func(*site, *setup)) *site {
	t.Helper()
	in, err := shared()
	if err != nil {
		t.Fatalf("no installation to attack: %v", err)
	}
	s := &site{installation: in, t: t, name: name, sync: client.ObjectKey{Namespace: lab.SystemNamespace, Name: name}}
	p := &setup{trust: in.TrustPolicy(), sync: in.GitSync(), files: map[string]string{}, server: in.Git}
	p.trust.Name, p.sync.Name = name, name
	p.sync.Spec.Trust.Name, p.sync.Spec.TargetNamespace = name, name
	p.sync.Spec.Interval = &metav1.Duration{Duration: time.Hour} // attempts are asked for
	for _, change := range changes {
		change(s, p)
	}
	s.createRepo(p)
	s.create(p)
	s.accept(gitrepo.Change{Files: p.files})
	return s
}

func (s *site) createRepo(p *setup) {
	s.t.Helper()
	dir := p.server.MustCreateRepo(s.t, s.name+".git")
	var err error
	if s.repo, err = gitrepo.InitBare(dir); err != nil {
		s.t.Fatal(err)
	}
	s.root = s.commit(gitrepo.Change{Message: "start of history", Files: map[string]string{
		"README.md": "# " + s.name + "\n", "deploy/web.yaml": lab.Deployment("web", s.web.Name, 1),
	}})
	url := p.server.URL(s.name + ".git")
	if p.sync.Spec.URL == s.URL() {
		p.sync.Spec.URL = url
	}
	for i := range p.trust.Spec.Repositories {
		if r := &p.trust.Spec.Repositories[i]; r.URL == s.URL() {
			r.URL, r.Root = url, s.root.String()
		}
	}
}

func (s *site) create(p *setup) {
	s.t.Helper()
	ctx := s.t.Context()
	s.must(s.EnsureNamespace(ctx, s.name))
	if p.sync.Namespace != lab.SystemNamespace {
		s.must(s.EnsureNamespace(ctx, p.sync.Namespace))
	}
	if p.policy != nil {
		set := &v1alpha1.PolicySet{ObjectMeta: metav1.ObjectMeta{Name: s.name}}
		set.Spec.Source.Inline = p.policy
		s.must(s.Client.Create(ctx, set))
		s.judgedPolicySet(set)
		p.sync.Spec.Policies = append(p.sync.Spec.Policies, v1alpha1.LocalReference{Name: s.name})
	}
	s.must(s.Client.Create(ctx, p.trust))
	s.sync = client.ObjectKeyFromObject(p.sync)
	s.must(s.Client.Create(ctx, p.sync))
	// The process reads the TrustPolicy from a cache, which may lag behind.
	for lab.Ready(s.attempt()).Reason == string(verdict.RepositoryNotTrusted) {
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// run runs a subtest on the site, and takes back what it leaves on the branch.
func (s *site) run(name string, attack func(*site)) {
	s.t.Helper()
	s.t.Run(name, func(t *testing.T) {
		sub := *s
		sub.t = t
		defer func() {
			s.good, s.n = sub.good, sub.n
			sub.tip(sub.good)
		}()
		attack(&sub)
	})
}

// commit commits as Alice, signed, unless the change says otherwise.
func (s *site) commit(c gitrepo.Change) plumbing.Hash {
	s.t.Helper()
	if c.Author == (gitrepo.Person{}) {
		c.Author = s.Alice.Person()
		if c.Sign == nil {
			c.Sign = s.Alice
		}
	}
	h, err := s.repo.Commit(c)
	s.must(err)
	return h
}

// tip moves the branch.
func (s *site) tip(h plumbing.Hash) {
	s.t.Helper()
	s.must(s.repo.SetRef("refs/heads/"+lab.Branch, h))
}

// attempt asks gitgate for an attempt and returns what came out.
func (s *site) attempt() *v1alpha1.GitSync {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	at := time.Now().Format(time.RFC3339Nano)
	sync := &v1alpha1.GitSync{ObjectMeta: metav1.ObjectMeta{Namespace: s.sync.Namespace, Name: s.sync.Name}}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RequestedAtAnnotation, at)
	s.must(s.Client.Patch(ctx, sync, client.RawPatch("application/merge-patch+json", patch)))
	got, err := s.Await(ctx, s.sync, func(g *v1alpha1.GitSync) bool { return g.Status.LastHandledReconcileAt == at })
	if err != nil {
		s.t.Fatalf("%v\ngitgate's log ends:\n%s", err, s.server.LogTail(4<<10))
	}
	return got
}

// accept commits something good on top of the last good commit, with a new value
// in the ConfigMap marker, and fails unless it goes live.
func (s *site) accept(c gitrepo.Change) {
	s.t.Helper()
	if c.Files == nil {
		c.Files = map[string]string{}
	}
	s.n++
	value := fmt.Sprintf("release %d", s.n)
	c.Files["deploy/marker.yaml"] = lab.ConfigMap("marker", "value", value)
	s.goesLive(s.commit(c))
	var marker corev1.ConfigMap
	s.must(s.Client.Get(s.t.Context(), client.ObjectKey{Namespace: s.name, Name: "marker"}, &marker))
	if marker.Data["value"] != value {
		s.t.Fatalf("the marker is %q, want %q", marker.Data["value"], value)
	}
}

// goesLive fails unless the commit, which is the tip, is applied.
func (s *site) goesLive(h plumbing.Hash) {
	s.t.Helper()
	got := s.attempt()
	if ready := lab.Ready(got); ready.Status != metav1.ConditionTrue || got.Status.LastAppliedRevision != revision(h) {
		s.t.Fatalf("the good commit %.12s is not live: %s (%s): %s", h, ready.Status, ready.Reason, ready.Message)
	}
	s.good = h
}

func revision(h plumbing.Hash) string { return lab.Branch + "@sha1:" + h.String() }

// A refusal is the verdict that an attack must end in.
type refusal struct {
	reason verdict.Reason
	file   string // where the cause is, if it is in a file
	line   int    // zero for any
	commit plumbing.Hash
	says   string // part of the message
	source bool   // refused before a verdict, while the repository was read
}

// refused lets gitgate judge the tip of the branch. It fails unless the tip is
// quarantined as want says, nothing in the cluster changed, and the next good
// commit goes live.
func (s *site) refused(want refusal) *v1alpha1.GitSync {
	s.t.Helper()
	before := s.state()
	head := s.repo.Ref("refs/heads/" + lab.Branch)
	got := s.attempt()
	s.quarantined(got, head, want)
	s.unchanged(before)
	s.tip(s.good)
	s.accept(gitrepo.Change{Message: "go on"})
	return got
}

// denied commits a change and requires that it is refused.
func (s *site) denied(want refusal, c gitrepo.Change) *v1alpha1.GitSync {
	s.t.Helper()
	s.commit(c)
	return s.refused(want)
}

func (s *site) quarantined(got *v1alpha1.GitSync, head plumbing.Hash, want refusal) {
	s.t.Helper()
	ready := lab.Ready(got)
	if ready.Status != metav1.ConditionFalse || ready.Reason != string(want.reason) {
		s.t.Fatalf("Ready is %s (%s), want False (%s): %s\n%s", ready.Status, ready.Reason, want.reason, ready.Message, findings(got))
	}
	if got.Status.LastAppliedRevision != revision(s.good) {
		s.t.Errorf("the last applied revision is %s, want %.12s", got.Status.LastAppliedRevision, s.good)
	}
	if strings.ContainsAny(ready.Message, "\n\r\x00\x1b") {
		s.t.Errorf("the message is not one clean line: %q", ready.Message)
	}
	s.t.Logf("%s: %s", ready.Reason, ready.Message)
	if want.source {
		if !strings.Contains(ready.Message, want.says) {
			s.t.Errorf("the message does not say %q", want.says)
		}
		if v := got.Status.LastVerdict; v != nil && v.Allowed {
			s.t.Errorf("the status still shows a verdict that allows: %+v", v)
		}
		return
	}
	if got.Status.LastAttemptedRevision != revision(head) || got.Status.LastVerdict == nil || got.Status.LastVerdict.Allowed {
		s.t.Fatalf("no verdict that denies %.12s in the status: %+v", head, got.Status.LastVerdict)
	}
	s.found(got, want)
	s.logged(head, want.reason)
}

// found requires a finding of the reason at the place.
func (s *site) found(got *v1alpha1.GitSync, want refusal) {
	s.t.Helper()
	for _, f := range got.Status.LastVerdict.Findings {
		if f.Reason == string(want.reason) && (f.Severity == "deny" || f.Severity == "undetermined") &&
			f.File == want.file && (want.line == 0 || f.Line == want.line) && strings.Contains(f.Message, want.says) &&
			(want.commit.IsZero() || f.Commit == want.commit.String()) {
			return
		}
	}
	s.t.Errorf("no finding %s at %s:%d (commit %.12s) that says %q among:\n%s", want.reason, want.file, want.line, want.commit, want.says, findings(got))
}

func findings(g *v1alpha1.GitSync) string {
	if g.Status.LastVerdict == nil {
		return "no verdict"
	}
	var b strings.Builder
	for _, f := range g.Status.LastVerdict.Findings {
		fmt.Fprintf(&b, "%s %s %s:%d %s commit %.12s: %s\n", f.Severity, f.Reason, f.File, f.Line, f.Field, f.Commit, f.Message)
	}
	return b.String()
}

// logged requires an entry of the decision log that denies the commit.
func (s *site) logged(head plumbing.Hash, reason verdict.Reason) {
	s.t.Helper()
	log, err := os.ReadFile(s.server.Decisions)
	s.must(err)
	for line := range strings.Lines(string(log)) {
		if !strings.Contains(line, head.String()) {
			continue
		}
		var d struct {
			GitSync string `json:"gitSync"`
			Verdict struct {
				Allowed  bool `json:"allowed"`
				Findings []struct {
					Reason string `json:"reason"`
				} `json:"findings"`
			} `json:"verdict"`
		}
		s.must(json.Unmarshal([]byte(line), &d))
		if d.GitSync != s.sync.String() || d.Verdict.Allowed {
			continue
		}
		for _, f := range d.Verdict.Findings {
			if f.Reason == string(reason) {
				return
			}
		}
	}
	s.t.Errorf("the decision log does not deny %.12s for %s", head, reason)
}

// unchanged requires that etcd holds what it held before, and that gitgate lives.
func (s *site) unchanged(before map[string]string) {
	s.t.Helper()
	if diff := cmp.Diff(before, s.state()); diff != "" {
		s.t.Errorf("the attack changed what etcd holds (-before +after):\n%s", diff)
	}
	s.alive()
}

// alive requires that the process that was started first is still the one.
func (s *site) alive() {
	s.t.Helper()
	if !s.server.Alive() || s.server.PID() != s.pid {
		s.t.Fatalf("gitgate did not survive; its log ends:\n%s", s.server.LogTail(4<<10))
	}
}

// state is what etcd holds for the site, apart from GitSyncs, whose status tells
// of the attack, and events: digests of the stored bytes by key. Whatever an attack would create,
// in whatever namespace, has the name of the site in its key.
func (s *site) state() map[string]string {
	s.t.Helper()
	out := map[string]string{}
	for _, key := range s.keys() {
		value, err := s.Cluster.EtcdGet(s.t.Context(), key)
		s.must(err)
		sum := sha256.Sum256(value)
		out[key] = hex.EncodeToString(sum[:8])
	}
	if len(out) < 2 {
		s.t.Fatalf("etcd holds nothing of %s: the comparison would mean nothing", s.name)
	}
	return out
}

func (s *site) keys() (mine []string) {
	s.t.Helper()
	keys, err := s.Cluster.EtcdKeys(s.t.Context(), "/registry/")
	s.must(err)
	for _, key := range keys {
		if strings.Contains(key, s.name) && !strings.HasPrefix(key, "/registry/gitgate.dev/gitsyncs/") && !strings.HasPrefix(key, "/registry/events/") {
			mine = append(mine, key)
		}
	}
	return mine
}
