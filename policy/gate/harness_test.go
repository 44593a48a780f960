package gate_test

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/render"
	"gitgate.dev/gitgate/secrets"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/test/testkit/sopskit"
	"gitgate.dev/gitgate/verify/commit"
	"gitgate.dev/gitgate/verify/image"
)

// A site is a repository with a signer, a registry with a key, an age key and a
// gate over real verifiers of all of them. The cluster alone is a stand-in.
type site struct {
	t       *testing.T
	repo    *gitrepo.TestRepo
	alice   *gitrepo.OpenPGPKey
	age     *sopskit.Age
	images  *registry.Registry
	cosign  *registry.Key
	cluster *cluster
	secrets *keeper
	rego    string
	combine bool // rego is of conftest and judges all objects together
	budget  func(int) int
	// protected is what the gate protects.
	protected []gate.Protected
	thorough  bool
	// edit completes the configuration of the gate; nil changes nothing.
	edit func(*gate.Config)
	// more completes the request of admit; nil changes nothing.
	more func(*gate.Request)

	root, applied plumbing.Hash
	previous      []gate.Object
	gate          *gate.Gate
}

// cosignKey is one key for all sites: making one is slow on purpose.
var cosignKey = sync.OnceValues(func() (*registry.Key, error) { return registry.NewKey(registry.ECDSAP256) })

// quiet is a rule set that has nothing to say.
const quiet = "package quiet\nwarn contains \"never\" if input.object.kind == \"None\"\n"

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{
		t: t, repo: gitrepo.For(t), cluster: &cluster{}, rego: quiet,
		alice:  gitrepo.OpenPGP(t, gitrepo.OpenPGPOptions{Name: "Alice", Email: "alice@example.com"}),
		images: registry.New(t, registry.Options{}),
	}
	var err error
	if s.cosign, err = cosignKey(); err != nil {
		t.Fatal(err)
	}
	if s.age, err = sopskit.NewAge(); err != nil {
		t.Fatal(err)
	}
	keys, err := secrets.NewKeys(map[string][]byte{"main.agekey": s.age.PrivateKey()})
	if err != nil {
		t.Fatal(err)
	}
	s.secrets = &keeper{keys: keys}
	s.root = s.repo.Commit(gitrepo.Change{Files: map[string]string{"README": "shop"}})
	return s
}

// open makes the gate from what the site holds by now.
func (s *site) open() *gate.Gate {
	s.t.Helper()
	commits, err := commit.NewVerifier(commit.Config{
		Signers:               []commit.SignerConfig{{Name: "alice", OpenPGP: s.alice.Public()}},
		AuthorMustMatchSigner: true, Root: s.root.String(),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	images, err := image.NewVerifier(image.Config{LoopbackHTTP: true, Rules: []image.Rule{{
		Match:       []string{"**"},
		Authorities: []image.Authority{{Name: "release", Key: &image.Key{Data: s.cosign.Public}}},
	}}})
	if err != nil {
		s.t.Fatal(err)
	}
	// A minute is a deadline that a busy machine does not miss.
	set := policy.Set{Name: "acme", Modules: map[string]string{"acme.rego": s.rego}}
	if s.combine {
		set.Format, set.Combine = policy.FormatConftest, true
	}
	engine, err := policy.Load(s.t.Context(), []policy.Set{set}, policy.Options{Timeout: time.Minute})
	if err != nil {
		s.t.Fatal(err)
	}
	config := gate.Config{
		Commits: commits, Renderer: renderer{render.Options{Path: "app", Cache: render.NewCache(16 << 20)}},
		Images: images, Policies: evaluator{engine: engine}, Secrets: s.secrets, Cluster: s.cluster, DeletionBudget: s.budget,
		Protected: s.protected, Thorough: s.thorough,
	}
	if s.edit != nil {
		s.edit(&config)
	}
	g, err := gate.New(config)
	if err != nil {
		s.t.Fatal(err)
	}
	return g
}

// push commits files as Alice.
func (s *site) push(message string, files map[string]string, deleted ...string) plumbing.Hash {
	s.t.Helper()
	return s.repo.Commit(gitrepo.Change{Message: message, Files: files, Delete: deleted, Author: s.alice.Person(), Sign: s.alice})
}

// admit judges a head by one gate and, if it passes, takes it for applied.
func (s *site) admit(head plumbing.Hash) (*gate.Release, verdict.Verdict) {
	s.t.Helper()
	if s.gate == nil {
		s.gate = s.open()
	}
	req := gate.Request{
		Revision: "main@sha1:" + head.String(), Previous: s.previous, Inventory: len(s.previous), Commit: s.request(head),
	}
	if s.more != nil {
		s.more(&req)
	}
	release, v := s.gate.Admit(s.t.Context(), req)
	if (release != nil) != v.Allowed() {
		s.t.Fatalf("release %v does not fit the verdict: %s", release != nil, v.Summary())
	}
	if release != nil {
		s.applied, s.previous = head, release.Declared()
	}
	return release, v
}

// request is the range from what is applied to a head.
func (s *site) request(head plumbing.Hash) commit.Request {
	req := commit.Request{Head: head, Objects: s.repo.Objects()}
	if !s.applied.IsZero() {
		req.Base = []plumbing.Hash{s.applied}
	}
	return req
}

func (s *site) allowed(head plumbing.Hash) *gate.Release {
	s.t.Helper()
	release, v := s.admit(head)
	if release == nil {
		s.t.Fatalf("denied: %s", v.Summary())
	}
	return release
}

// denied wants just these reasons.
func (s *site) denied(head plumbing.Hash, want ...verdict.Reason) verdict.Verdict {
	s.t.Helper()
	release, v := s.admit(head)
	if release != nil {
		s.t.Fatalf("allowed, want %v", want)
	}
	var got []verdict.Reason
	for _, f := range v.Blocking() {
		got = append(got, f.Reason)
	}
	if len(got) != len(want) {
		s.t.Fatalf("reasons %v, want %v\n%v", got, want, v.Blocking())
	}
	for i := range got {
		if got[i] != want[i] {
			s.t.Fatalf("reasons %v, want %v\n%v", got, want, v.Blocking())
		}
	}
	return v
}

// encrypt is what sops makes of a manifest.
func (s *site) encrypt(name, manifest string, regex string) string {
	s.t.Helper()
	o := sopskit.For(s.age)
	o.EncryptedRegex = regex
	raw, err := sopskit.Encrypt(name, []byte(manifest), o)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(raw)
}

// A cluster stands in for the API server: it deletes what it is told that it would
// and refuses what it is told to.
type cluster struct {
	live      []gate.Object // what the inventory has
	recreate  []gate.Object // what the dry run finds that must be made anew
	deletions error
	dryRun    func(*gate.Candidate) []verdict.Finding

	asked  int // about deletions
	judged bool
	seen   []gate.Object
}

func (c *cluster) Deletions(_ context.Context, keep []gate.Object) ([]gate.Object, error) {
	c.asked++
	kept := map[string]bool{}
	for _, o := range keep {
		kept[o.ID()] = true
	}
	var out []gate.Object
	for _, o := range c.live {
		if !kept[o.ID()] {
			out = append(out, o)
		}
	}
	if c.judged {
		out = append(out, c.recreate...)
	}
	return out, c.deletions
}

func (c *cluster) DryRun(_ context.Context, candidate *gate.Candidate) []verdict.Finding {
	c.judged, c.seen = true, candidate.Objects()
	if c.dryRun != nil {
		return c.dryRun(candidate)
	}
	return nil
}

type renderer struct{ options render.Options }

func (r renderer) Render(ctx context.Context, fsys fs.FS) ([]gate.Object, []verdict.Finding) {
	return render.Render(ctx, fsys, r.options)
}

func (renderer) Line(fsys fs.FS, src gate.Source, field string) int {
	return render.FieldLine(fsys, src, field)
}

type evaluator struct {
	engine    *policy.Engine
	inventory *policy.Inventory
	all       []policy.Input
}

func (e evaluator) ReadsNeighbours() bool { return e.engine.ReadsNeighbours() }

func (e evaluator) Among(objects []gate.PolicyInput) (gate.TogetherEvaluator, error) {
	raw := make([][]byte, len(objects))
	for i, in := range objects {
		raw[i] = in.Object
		e.all = append(e.all, policy.Input{Object: in.Object, ObjectID: in.ID, File: in.Source.File})
	}
	var err error
	e.inventory, err = policy.NewInventory(raw)
	return e, err
}

func (e evaluator) Together(ctx context.Context) []verdict.Finding {
	return e.engine.EvaluateTogether(ctx, e.all)
}

func (e evaluator) ReadsContext() bool { return e.engine.ReadsContext() }

func (e evaluator) Evaluate(ctx context.Context, in gate.PolicyInput) []verdict.Finding {
	return e.engine.Evaluate(ctx, policy.Input{
		Time: in.Time, Images: imagesOf(in.Images), Operation: policy.Operation(in.Operation), Object: in.Object, OldObject: in.OldObject,
		ObjectID: in.ID, File: in.Source.File, Line: in.Source.Line, Inventory: e.inventory, Together: e.all != nil,
		Commit: &policy.Commit{SHA: in.Commit.Hash, Message: in.Commit.Message, Paths: in.Paths},
	})
}

// A keeper opens files with the site's key, unless it is told to fail.
type keeper struct {
	keys *secrets.Keys
	fail func(file string) error
}

func (k *keeper) Open(ctx context.Context, file string, raw []byte) (gate.OpenedSecret, error) {
	if k.fail != nil {
		if err := k.fail(file); err != nil {
			return nil, err
		}
	}
	opened, err := secrets.Open(ctx, file, raw, k.keys)
	if err != nil {
		return nil, translated(err)
	}
	return openedFile{opened}, nil
}

func (*keeper) Check(o gate.Object) error {
	return translated(secrets.CheckObject(o.Source.File, o.Object, o.Source.Encrypted != nil))
}

func (*keeper) Masked(o map[string]any) map[string]any { return secrets.Masked(o) }

type openedFile struct{ *secrets.Opened }

func (o openedFile) Apply(document int, object map[string]any) (map[string]any, error) {
	out, err := o.Opened.Apply(document, object)
	if err != nil {
		return nil, translated(err)
	}
	return out, nil
}

func translated(err error) error {
	var known *secrets.Error
	if !errors.As(err, &known) {
		return err
	}
	return &gate.SecretError{Reason: verdict.Reason(known.Reason), Field: known.Field, Message: known.Message}
}

// imagesOf is what rules see of images.
func imagesOf(all []image.Evidence) []policy.Image {
	if all == nil {
		return nil
	}
	out := make([]policy.Image, len(all))
	for i, e := range all {
		out[i] = policy.Image{Ref: e.Reference(), Digest: e.Digest(), Attestations: []policy.Attestation{}}
		for _, a := range e.Attestations() {
			out[i].Attestations = append(out[i].Attestations, policy.Attestation{Name: a.Name, Digest: a.Digest, Predicate: a.Predicate})
		}
	}
	return out
}
