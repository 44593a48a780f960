package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/outline"
	"gitgate.dev/gitgate/reconcile/render"
)

// cacheKeyVariable names the environment variable that seals what is kept between
// runs, for directories that others can write too.
const cacheKeyVariable = "GITGATE_CACHE_KEY"

// outlineStore is where outlines are kept between runs.
func outlineStore(dir string) outline.Store {
	if dir == "" {
		return outline.Store{}
	}
	return outline.Store{Dir: filepath.Join(dir, "outlines"), Key: []byte(os.Getenv(cacheKeyVariable))}
}

// A sketch is what is known of the trees of one check without reading them whole.
type sketch struct {
	store        outline.Store
	dir          string
	moved        bool
	former, head outline.Tree // nil where there is none
	depends      []string     // what the outlines depend on, but for the tree
}

// sketch finds out whether outlines can be used at all. What is not committed has no
// hashes, and who asks for everything gets it.
func (c *checker) sketch(in reconcile.Inputs, r *checkedRange) (*sketch, error) {
	s := &sketch{store: c.outlines, dir: filepath.ToSlash(filepath.Clean("./" + in.Sync.Spec.Path)), moved: in.Sync.Spec.TargetNamespace != ""}
	s.former, _ = r.former.(outline.Tree)
	s.head, _ = r.files.(outline.Tree)
	if s.store.Dir == "" || s.head == nil || !fs.ValidPath(s.dir) {
		return nil, nil
	}
	depends, err := json.Marshal([]any{
		buildIdentity(), c.gates.system, in.Sync.Namespace, in.Sync.Spec, in.Trust.Spec, c.given,
	})
	if err != nil {
		return nil, err
	}
	s.depends = []string{string(depends)}
	return s, nil
}

// buildIdentity changes with the program: what one build has found out need not hold
// for another.
func buildIdentity() string {
	if version != unreleased && !strings.HasSuffix(version, "-dirty") {
		return version
	}
	if revision := builtFrom(); revision != "" {
		return revision
	}
	path, err := os.Executable()
	if err != nil {
		return version
	}
	info, err := os.Stat(path)
	if err != nil {
		return version
	}
	return fmt.Sprint(version, info.Size(), info.ModTime().UnixNano())
}

// builtFrom is the commit that the program was built from; empty if it is not known or
// not all of it.
func builtFrom() string {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	settings := map[string]string{}
	for _, s := range build.Settings {
		settings[s.Key] = s.Value
	}
	if settings["vcs.modified"] != "false" {
		return ""
	}
	return settings["vcs.revision"]
}

// admit runs the gate: on what differs, where the rest is known and does not matter,
// or else on everything.
func (c *checker) admit(ctx context.Context, g *gate.Gate, req gate.Request, local *localStage, s *sketch) verdict.Verdict {
	if s != nil && s.former != nil && req.JudgedBefore && !g.ReadsNeighbours() {
		if v, ok := s.admit(ctx, g, req, local); ok {
			return v
		}
		local.head, local.previous, local.calls, local.narrow = nil, nil, 0, nil
	}
	_, v := g.Admit(ctx, req)
	if s != nil {
		s.keep(g, local, v)
	}
	return v
}

// admit judges a view of the head. It returns false where only a look at everything
// can tell.
func (s *sketch) admit(ctx context.Context, g *gate.Gate, req gate.Request, local *localStage) (verdict.Verdict, bool) {
	none := verdict.Verdict{}
	name, ok := outline.NameOf(s.former, s.dir, s.depends...)
	if !ok {
		return none, false
	}
	known := s.store.Load(name)
	if known == nil {
		return none, false
	}
	before := outline.NewView(known, s.former, s.head)
	former, found := local.Renderer.Render(ctx, before)
	if slices.ContainsFunc(found, wantsAll) || slices.ContainsFunc(former, isException) || known.Objects() > render.MaxObjects/2 {
		return none, false
	}
	var now *outline.View
	local.narrow = func(fsys fs.FS) fs.FS {
		tree, ok := fsys.(outline.Tree)
		if !ok {
			return fsys
		}
		now = outline.NewView(known, tree, s.former)
		return now
	}
	local.previous, req.Previous = former, former
	req.Elsewhere = gate.Elsewhere{Objects: known.Objects() - len(former), Images: known.Images()}
	_, v := g.Admit(ctx, req)
	if now == nil || now.Whole() || before.Whole() || !passed(v, verdict.StageRender) || known.Clash(former, local.head) ||
		slices.ContainsFunc(v.Findings, wantsAll) {
		return none, false
	}
	if name, ok := outline.NameOf(s.head, s.dir, s.depends...); ok && !s.store.Has(name) {
		s.store.Save(name, known.Then(former, s.about(g, local.head, v)))
	}
	return v, true
}

// wantsAll reports whether a look at everything would tell more: which objects run an
// image, and what else is wrong where a render fails.
func wantsAll(f verdict.Finding) bool {
	return f.Stage == verdict.StageImage || f.Stage == verdict.StageRender && f.Severity.Blocks()
}

// isException tells of what may concern objects that did not change: with exceptions
// the gate asks the rules about all. A new one is a clash.
func isException(o gate.Object) bool { return gate.IsException(o.Unstructured) }

func (s *sketch) about(g *gate.Gate, objects []gate.Object, v verdict.Verdict) outline.About {
	a := outline.About{Dir: s.dir, Moved: s.moved, Objects: objects, Images: g.References}
	for _, f := range v.Findings {
		// Rules are not asked again about what does not differ.
		if f.File != "" && f.Stage != verdict.StagePolicy {
			a.Remarkable = append(a.Remarkable, f.File)
		}
	}
	return a
}

// maxRemarks is how many remarks there may be; a tree with more is better looked at
// whole. It is less than renderers report.
const maxRemarks = 90

// keep takes the outlines of trees that were looked at whole.
func (s *sketch) keep(g *gate.Gate, local *localStage, v verdict.Verdict) {
	head := s.about(g, local.head, v)
	if !passed(v, verdict.StageRender) || len(head.Remarkable) > maxRemarks {
		return
	}
	s.save(s.head, head)
	if s.former == nil || len(local.previous) == 0 {
		return
	}
	former := head
	former.Objects = local.previous
	for _, o := range local.previous {
		// Nobody has said what there is to say about a file that is another one now.
		if !s.same(o.Source.File) {
			former.Remarkable = append(former.Remarkable, o.Source.File)
		}
	}
	s.save(s.former, former)
}

func (s *sketch) same(file string) bool {
	a, errA := s.former.BlobHash(file)
	b, errB := s.head.BlobHash(file)
	return errA == nil && errB == nil && a == b
}

// save keeps the outline of a tree. That there is none costs time and nothing else.
func (s *sketch) save(tree outline.Tree, about outline.About) {
	name, ok := outline.NameOf(tree, s.dir, s.depends...)
	if !ok {
		return
	}
	if o, err := outline.Of(tree, about); err == nil {
		s.store.Save(name, o)
	}
}
