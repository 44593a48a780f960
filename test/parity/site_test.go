package parity

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// A site is what one commit is judged in: a repository and what judges it. The
// reconciler has it from the cluster, gitgate check from a file.
type site struct {
	*world
	t    *testing.T
	name string
	repo *gitrepo.Repo
	plan plan
	// base is the commit in force, and older the one before it, which has the same
	// manifests.
	base, older plumbing.Hash
	// timeouts says that rules are meant to take too long here. Elsewhere it is a
	// busy machine, and both doors are asked again.
	timeouts bool
}

// A plan is what judges at a site, before it is created.
type plan struct {
	trust *v1alpha1.TrustPolicy
	sync  *v1alpha1.GitSync
	// sets are PolicySets of the site's own, beside those that every site has.
	sets []*v1alpha1.PolicySet
	// known are PolicySets that the cluster has already.
	known []*v1alpha1.PolicySet
	// more is what else the cluster has that they refer to.
	more []client.Object
	// files are in force before the commit is made.
	files map[string]string
	// fresh leaves nothing in force: the first release is judged.
	fresh bool
}

// newSite makes a site. Unless the plan is fresh its files are applied.
func (w *world) newSite(t *testing.T, name string, edit func(*site, *plan)) *site {
	t.Helper()
	s := &site{world: w, t: t, name: name}
	p := plan{trust: w.trust(), sync: w.GitSync(), files: w.inForce()}
	p.trust.Name, p.sync.Name = name, name
	p.sync.Spec.Trust.Name, p.sync.Spec.TargetNamespace = name, name
	p.sync.Spec.Policies = []v1alpha1.LocalReference{{Name: lab.PolicyName}, {Name: houseRules().Name}}
	p.sync.Spec.Interval = &metav1.Duration{Duration: time.Hour} // attempts are asked for
	p.sync.Spec.RetryInterval = &metav1.Duration{Duration: 20 * time.Second}
	p.sync.Spec.URL = w.Git.URL(name + ".git")
	if edit != nil {
		edit(s, &p)
	}
	for _, set := range p.sets {
		p.sync.Spec.Policies = append(p.sync.Spec.Policies, v1alpha1.LocalReference{Name: set.Name})
	}
	s.plan = p
	s.createRepo()
	s.create()
	return s
}

func (s *site) createRepo() {
	s.t.Helper()
	dir, err := s.Git.CreateRepo(s.name + ".git")
	must(s.t, "the repository", err)
	s.repo, err = gitrepo.InitBare(dir)
	must(s.t, "the repository", err)
	s.repo.Clock = gitrepo.Ticking(time.Now().Add(-time.Hour).Truncate(time.Second))
	root := s.commit(gitrepo.Change{Message: "start of history", Files: map[string]string{"README.md": "# " + s.name + "\n"}})
	for i := range s.plan.trust.Spec.Repositories {
		if r := &s.plan.trust.Spec.Repositories[i]; r.Root == s.Root {
			r.URL, r.Root = s.Git.URL(s.name+".git"), root.String()
		}
	}
	s.base = root
	if !s.plan.fresh {
		s.older = s.commit(gitrepo.Change{Message: "first release", Files: s.plan.files})
		s.base = s.commit(gitrepo.Change{Message: "say more", Files: map[string]string{"README.md": "# The site " + s.name + "\n"}})
	}
}

// objects are what judges, in the order in which it has to be created.
func (s *site) objects() []client.Object {
	out := []client.Object{s.plan.trust}
	for _, set := range s.plan.sets {
		out = append(out, set)
	}
	return append(out, s.plan.sync)
}

// create brings into the cluster what judges, and waits until base is applied. For
// a fresh site the GitSync is left out.
func (s *site) create() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	must(s.t, "the namespace", s.EnsureNamespace(ctx, s.name))
	for _, o := range s.objects() {
		if o == client.Object(s.plan.sync) && s.plan.fresh {
			continue
		}
		must(s.t, "what judges", s.Client.Create(ctx, o.DeepCopyObject().(client.Object)))
	}
	if s.plan.fresh {
		return
	}
	if _, err := s.Await(ctx, s.key(), func(g *v1alpha1.GitSync) bool {
		return strings.HasSuffix(g.Status.LastAppliedRevision, s.base.String())
	}); err != nil {
		s.t.Fatalf("the first release is not applied: %v", err)
	}
}

func (s *site) key() client.ObjectKey { return client.ObjectKeyFromObject(s.plan.sync) }

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
	must(s.t, "the commit", err)
	return h
}

// A ruling is what a door says of a commit.
type ruling struct {
	Allowed      bool                             `json:"allowed"`
	Undetermined bool                             `json:"undetermined"`
	Revision     string                           `json:"revision"`
	Objects      int                              `json:"objects"`
	Findings     []json.RawMessage                `json:"findings"`
	Stages       []struct{ Stage, Status string } `json:"stages"`

	// changed says what the commit does with objects, as the check tells: create,
	// update or delete.
	changed map[string]string
}

// check runs gitgate check on the commit, from a file with the same objects as in
// the cluster.
func (s *site) check(head plumbing.Hash, more ...string) (ruling, string) {
	s.t.Helper()
	file := s.configuration()
	args := []string{"check", "--repo", s.repo.Dir, "-c", file, "--head", head.String(), "--keys", s.keys, "--insecure-loopback-registries", "-o", "json"}
	args = append(args, more...)
	if !s.plan.fresh {
		args = append(args, "--base", s.base.String())
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for {
		if r, stderr := s.run(ctx, args); !s.busy(r) || ctx.Err() != nil {
			return r, stderr
		}
	}
}

// configuration writes what judges into a file.
func (s *site) configuration() string {
	s.t.Helper()
	var config bytes.Buffer
	all := append(s.objects(), s.PolicySet(), houseRules())
	for _, set := range s.plan.known {
		all = append(all, set)
	}
	for _, o := range append(all, s.plan.more...) {
		raw, err := yaml.Marshal(o)
		must(s.t, "the configuration", err)
		version := v1alpha1.GroupVersion.String()
		if kind := kindOf(o); kind == "Secret" || kind == "ConfigMap" {
			version = "v1"
		}
		fmt.Fprintf(&config, "---\napiVersion: %s\nkind: %s\n%s", version, kindOf(o), raw)
	}
	file := filepath.Join(s.t.TempDir(), "gitgate.yaml")
	must(s.t, "the configuration", os.WriteFile(file, config.Bytes(), 0o600))
	return file
}

// busy reports whether rules took too long that are not meant to.
func (s *site) busy(r ruling) bool {
	return !s.timeouts && slices.Contains(distinct(s.t, r.Findings), verdict.PolicyTimeout)
}

// run runs gitgate.
func (s *site) run(ctx context.Context, args []string) (ruling, string) {
	s.t.Helper()
	cmd := exec.CommandContext(ctx, s.Gitgate, args...)
	cmd.Env = []string{"HOME=" + s.home, "PATH=" + os.Getenv("PATH")} // neither keys nor credentials
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() < 0 {
		s.t.Fatalf("gitgate check: %v", err)
	}
	return s.parse(cmd.ProcessState.ExitCode(), stdout.Bytes(), stderr.String())
}

// parse reads what the check printed. What it says on stderr is that the
// configuration cannot be used.
func (s *site) parse(code int, stdout []byte, stderr string) (ruling, string) {
	s.t.Helper()
	if code == 2 {
		return ruling{}, strings.TrimSuffix(stderr, "\n")
	}
	var list struct {
		Items   []struct{ Verdict ruling }
		Changes []struct{ Object, Action string }
	}
	if err := json.Unmarshal(stdout, &list); err != nil || len(list.Items) != 1 || stderr != "" {
		s.t.Fatalf("gitgate check: exit code %d, %v, stderr %q, stdout %q", code, err, stderr, stdout)
	}
	r := list.Items[0].Verdict
	want := 1
	switch {
	case r.Allowed:
		want = 0
	case r.Undetermined:
		want = 3
	}
	if code != want {
		s.t.Errorf("gitgate check: exit code %d, and the verdict says %d", code, want)
	}
	r.changed = map[string]string{}
	for _, c := range list.Changes {
		r.changed[c.Object] = c.Action
	}
	return r, ""
}

func kindOf(o client.Object) string {
	name := fmt.Sprintf("%T", o)
	return name[strings.LastIndexByte(name, '.')+1:]
}

// reconcile has the reconciler judge the tip of the branch, and returns its verdict
// from the decision log; there is none when it did not come to judge, and then the
// GitSync says why.
func (s *site) reconcile(head plumbing.Hash) (ruling, *v1alpha1.GitSync) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if s.plan.fresh {
		must(s.t, "the GitSync", s.Client.Create(ctx, s.plan.sync.DeepCopy()))
	}
	for {
		got := s.attempt(ctx)
		if r, busy := s.decided(head); !busy || ctx.Err() != nil {
			return r, got
		}
	}
}

// attempt asks the reconciler for an attempt and waits for its end.
func (s *site) attempt(ctx context.Context) *v1alpha1.GitSync {
	s.t.Helper()
	at := time.Now().Format(time.RFC3339Nano)
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RequestedAtAnnotation, at)
	must(s.t, "the request", s.Client.Patch(ctx, &v1alpha1.GitSync{ObjectMeta: metav1.ObjectMeta{Namespace: s.key().Namespace, Name: s.key().Name}},
		client.RawPatch("application/merge-patch+json", patch)))
	got, err := s.Await(ctx, s.key(), func(g *v1alpha1.GitSync) bool { return g.Status.LastHandledReconcileAt == at })
	must(s.t, "the reconciler", err)
	return got
}

// decided reads the verdict on a commit from the decision log. Whatever the
// reconciler was asked more than once it must have answered alike. When it was always
// too busy to, it has to be asked again.
func (s *site) decided(head plumbing.Hash) (r ruling, busy bool) {
	s.t.Helper()
	log, err := os.ReadFile(s.Server().Decisions)
	must(s.t, "the decision log", err)
	seen := false
	for line := range bytes.Lines(log) {
		if !bytes.Contains(line, []byte(head.String())) || !bytes.HasSuffix(line, []byte("\n")) {
			continue
		}
		var d struct {
			GitSync string
			Verdict ruling
		}
		must(s.t, "the decision log", json.Unmarshal(line, &d))
		if d.GitSync != s.key().String() || d.Verdict.Revision != lab.Branch+"@sha1:"+head.String() {
			continue
		}
		if s.busy(d.Verdict) {
			busy = true
			continue
		}
		if again := texts(d.Verdict.Findings); seen && again != texts(r.Findings) {
			s.t.Errorf("the reconciler said of one commit first\n%s\nand then\n%s", texts(r.Findings), again)
		}
		r, seen = d.Verdict, true
	}
	return r, busy && !seen
}

func texts(findings []json.RawMessage) string {
	var b strings.Builder
	for _, f := range findings {
		b.Write(f)
		b.WriteByte('\n')
	}
	return b.String()
}

// decoded reads a finding.
func decoded(t *testing.T, raw json.RawMessage) verdict.Finding {
	t.Helper()
	var f verdict.Finding
	must(t, "a finding", json.Unmarshal(raw, &f))
	return f
}
