package main

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/render"
	"gitgate.dev/gitgate/secrets"
	"gitgate.dev/gitgate/verify/image"
)

// gates makes gates for the server. It implements [reconcile.GateBuilder].
type gates struct {
	renders *render.Cache
	scope   render.ScopeFunc
	system  string // gitgate's own namespace
	// loopbackHTTP allows plain HTTP to registries on this machine.
	loopbackHTTP bool
	// imageCache is the directory for signatures; empty keeps none.
	imageCache string
	// recallTags lets tags stand for what they stood for while a registry is down.
	recallTags bool
	// pre makes the gates of a check before the merge; nil makes those of the cluster.
	pre *precheck
	// now is the time of a decision that is made again; nil is the present.
	now func() time.Time
	// trace takes down how rules come to what they say; nil takes down nothing.
	trace *ruleTrace
	// compiled are the rules of PolicySets, for all GitSyncs that use them.
	compiled compilations

	// predicates are what attestations state, for all gates.
	predicates     *image.Predicates
	predicatesOnce sync.Once

	mu sync.Mutex
	// lastGood is the newest version of each PolicySet that compiled, by name: a
	// broken change of rules leaves the former ones in force.
	lastGood map[string]goodSet
}

// Gate implements [reconcile.GateBuilder]. Errors are of [reconcile.InputError].
func (g *gates) Gate(ctx context.Context, in reconcile.Inputs, cluster gate.DryRunner) (*gate.Gate, error) {
	commitVerifier, honours, err := g.commits(in)
	if err != nil {
		return nil, err
	}
	images := imageConfig(in.Trust.Spec.Images)
	images.LoopbackHTTP, images.CacheDir, images.RecallTags = g.loopbackHTTP, g.imageCache, g.recallTags
	images.Predicates = g.keptPredicates()
	if images.Keychain, err = pullKeychain(in.PullSecrets); err != nil {
		return nil, unusable(verdict.TrustInvalid, err)
	}
	if g.pre != nil {
		g.pre.images(&images, in)
	}
	imageVerifier, err := image.NewVerifier(images)
	if err != nil {
		return nil, unusable(verdict.TrustInvalid, err)
	}
	engine, err := g.engine(ctx, in.Policies)
	if err != nil {
		return nil, unusable(verdict.PolicyError, err)
	}
	keeper := secretKeeper{}
	if in.DecryptionKeys != nil {
		if keeper.keys, err = secrets.NewKeys(in.DecryptionKeys); err != nil {
			return nil, unusable(verdict.SecretUndecryptable, err)
		}
	}
	spec := in.Sync.Spec
	config := gate.Config{
		Commits:  commitVerifier,
		Renderer: renderer{renderOptionsFor(in, g.scope, g.renders)},
		Images:   imageVerifier, Policies: evaluator{engine: engine, trace: g.trace}, Secrets: keeper, Cluster: cluster,
		Extractors:     extractors(in.Trust.Spec.Images),
		Protected:      protected(in, g.system),
		DeletionBudget: deletionBudget(spec.DeletionBudget),
		Timeout:        in.Sync.TimeoutOrDefault(),
		Exceptions:     honours, Now: g.now,
	}
	if local, ok := cluster.(*localStage); ok {
		g.pre.adapt(&config, in, local)
	}
	made, err := gate.New(config)
	if err != nil { // the extractors, for no stage is missing
		return nil, unusable(verdict.TrustInvalid, err)
	}
	return made, nil
}

func unusable(r verdict.Reason, err error) error { return &reconcile.InputError{Reason: r, Err: err} }

// renderOptionsFor says how the tree of a GitSync is rendered.
func renderOptionsFor(in reconcile.Inputs, scope render.ScopeFunc, cache *render.Cache) render.Options {
	spec := in.Sync.Spec
	return render.Options{
		Path: spec.Path, TargetNamespace: spec.TargetNamespace, RestrictNamespace: in.Confine,
		DefaultNamespace: in.Sync.Namespace, Scope: scope, Cache: cache,
	}
}

// renderer adapts package render to the gate.
type renderer struct{ options render.Options }

func (r renderer) Render(ctx context.Context, fsys fs.FS) ([]gate.Object, []verdict.Finding) {
	return render.Render(ctx, fsys, r.options)
}

func (renderer) Line(fsys fs.FS, src gate.Source, field string) int {
	return render.FieldLine(fsys, src, field)
}

// evaluator adapts package policy to the gate.
type evaluator struct {
	engine     *policy.Engine
	trace      *ruleTrace
	neighbours *neighbours // nil where they are not known
}

func (e evaluator) ReadsContext() bool { return e.engine.ReadsContext() }

func (e evaluator) Evaluate(ctx context.Context, in gate.PolicyInput) []verdict.Finding {
	out := e.neighbours.input(in)
	return e.trace.heard(ctx, e.engine, out, e.engine.Evaluate(ctx, out))
}

// ruleInput is what a door of ours knows, and what it knows that there is none of.
func ruleInput(in gate.PolicyInput) policy.Input {
	out := policy.Input{
		Time: in.Time, Operation: policy.Operation(in.Operation), Object: in.Object, OldObject: in.OldObject,
		ObjectID: in.ID, File: in.Source.File, Line: in.Source.Line,
	}
	if in.ClusterScoped {
		out.None = policy.PartNamespace
	}
	if in.User != nil {
		out.User = &policy.UserInfo{Username: in.User.Username, UID: in.User.UID, Groups: in.User.Groups, Extra: in.User.Extra}
	}
	if in.Images != nil {
		out.Images = make([]policy.Image, len(in.Images))
	}
	for i, m := range in.Images {
		out.Images[i] = policy.Image{Ref: m.Reference(), Digest: m.Digest(), Attestations: attestationsOf(m)}
		for _, grant := range m.Grants() {
			if grant.Authority != "" {
				out.Images[i].Authorities = append(out.Images[i].Authorities, grant.Authority)
			}
		}
	}
	if in.Commit.Hash != "" {
		out.Commit = &policy.Commit{
			SHA: in.Commit.Hash, Author: in.Commit.Author.String(), Message: in.Commit.Message,
			Signers: in.Commit.Signers, Paths: in.Paths,
		}
	}
	return out
}

// secretKeeper adapts package secrets to the gate. Without keys it opens nothing.
type secretKeeper struct{ keys *secrets.Keys }

func (k secretKeeper) Open(ctx context.Context, file string, raw []byte) (gate.OpenedSecret, error) {
	if k.keys == nil {
		return nil, &gate.SecretError{
			Reason:  verdict.SecretUndecryptable,
			Message: "the file is encrypted and there is no key: set spec.decryption",
		}
	}
	opened, err := secrets.Open(ctx, file, raw, k.keys)
	if err != nil {
		return nil, secretError(err)
	}
	return openedSecret{opened}, nil
}

func (secretKeeper) Check(o gate.Object) error {
	return secretError(secrets.CheckObject(o.Source.File, o.Object, o.Source.Encrypted != nil))
}

func (secretKeeper) Masked(o map[string]any) map[string]any { return secrets.Masked(o) }

type openedSecret struct{ *secrets.Opened }

func (o openedSecret) Apply(document int, object map[string]any) (map[string]any, error) {
	out, err := o.Opened.Apply(document, object)
	if err != nil {
		return nil, secretError(err)
	}
	return out, nil
}

// secretError keeps the text of errors that package secrets wrote for users, and
// of no others.
func secretError(err error) error {
	var known *secrets.Error
	if !errors.As(err, &known) {
		return err
	}
	return &gate.SecretError{Reason: verdict.Reason(known.Reason), Field: known.Field, Message: known.Message}
}

// deletionBudget turns a number or a share of the inventory, rounded up, into a
// budget. The default is a quarter.
func deletionBudget(v *intstr.IntOrString) func(int) int {
	if v == nil {
		v = &intstr.IntOrString{Type: intstr.String, StrVal: "25%"}
	}
	return func(inventory int) int {
		n, err := intstr.GetScaledValueFromIntOrPercent(v, inventory, true)
		if err != nil {
			return 0
		}
		return n
	}
}
