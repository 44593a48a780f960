package render

import (
	"context"
	"path"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
)

// A build is the result of one kustomization.
type build struct {
	objects  []gate.Object
	findings []verdict.Finding
}

// build renders the kustomization of a directory, which is in a file there.
func (r *renderer) build(dir, file string) {
	c := newCollector(r, dir)
	w, p := c.directory(dir, false)
	switch {
	case p != nil:
		r.findings.add(file, *p)
		return
	case r.findings.blocked:
		return // kustomize never sees what was refused
	}
	if r.builds += w.builds; r.builds > r.options.Limits.Builds {
		r.findings.add(file, deny(verdict.LimitExceeded, 0, "more than %d kustomizations are included, repetitions counted", r.options.Limits.Builds))
		return
	}
	if w.objects > r.options.Limits.Objects {
		r.findings.add(file, deny(verdict.LimitExceeded, 0, "more than %d objects are included, repetitions counted", r.options.Limits.Objects))
		return
	}
	if c.listsOnly() {
		r.listed(c, dir)
		return
	}
	key := cacheKey{kind: builtKustomization, hash: c.fingerprint(), limits: r.options.Limits}
	var b build
	if v, ok := r.options.Cache.get(key); ok {
		b = v.(build)
	} else {
		var size int
		var p *problem
		if b, size, p = c.run(r.ctx); p != nil {
			r.findings.add(file, *p)
			return
		}
		r.options.Cache.put(key, b, size)
	}
	for _, f := range b.findings {
		r.findings.addFinding(f)
	}
	r.add(b.objects...)
}

// kustomize keeps its schema in a package variable: builds take turns.
var turn = make(chan struct{}, 1)

// run builds in a goroutine of its own, since kustomize knows no context. One that
// outlives its context keeps its turn until it ends.
func (c *collector) run(ctx context.Context) (build, int, *problem) {
	type result struct {
		build   build
		size    int
		problem *problem
	}
	done := make(chan result, 1)
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		p := interrupted(ctx.Err())
		return build{}, 0, &p
	}
	go func() {
		var res result
		defer func() {
			if p := recover(); p != nil {
				bug := panicProblem(p)
				res = result{problem: &bug}
			}
			<-turn
			done <- res
		}()
		res.build, res.size, res.problem = c.make(ctx)
	}()
	select {
	case res := <-done:
		return res.build, res.size, res.problem
	case <-ctx.Done():
		p := interrupted(ctx.Err())
		return build{}, 0, &p
	}
}

// make builds, in parts where that is known to be the same.
func (c *collector) make(ctx context.Context) (build, int, *problem) {
	if objects, ok := c.inParts(ctx); ok {
		return build{objects: objects}, 1024 + 256*len(objects), nil // the objects are accounted for with their parts
	}
	if err := ctx.Err(); err != nil {
		p := interrupted(err)
		return build{}, 0, &p
	}
	s, err := c.stage(nil)
	if err != nil {
		p := deny(verdict.InvalidManifest, 0, "kustomization cannot be prepared: %v", err)
		return build{}, 0, &p
	}
	made, found, p := s.kustomize(c.kusts[c.root], c.root, c.r.options)
	if p != nil {
		return build{}, 0, p
	}
	b := build{findings: found}
	for _, m := range made {
		b.objects = append(b.objects, m.Object)
	}
	return b, 1024 + 12*s.bytes, nil
}

// A madeObject is an object that kustomize made. Its position is the zero value where
// its mark was lost.
type madeObject struct {
	gate.Object
	position position
}

// kustomize runs kustomize on the stage and takes the marks off what it made.
func (s *stage) kustomize(root *kustFile, dir string, o Options) ([]madeObject, []verdict.Finding, *problem) {
	options := krusty.MakeDefaultOptions()
	// The stage holds nothing that may not be loaded.
	options.LoadRestrictions = types.LoadRestrictionsNone
	made, err := krusty.MakeKustomizer(options).Run(s.memory, path.Join("/", dir))
	if err != nil {
		p := deny(verdict.InvalidManifest, 0, "kustomize: %s", safeMessage(err))
		return nil, nil, &p
	}
	if made.Size() > o.Limits.Objects {
		p := deny(verdict.LimitExceeded, 0, "more than %d objects", o.Limits.Objects)
		return nil, nil, &p
	}
	nonce := path.Base(s.mark)
	var out []madeObject
	found := newFindings(o.Limits.Findings)
	for _, res := range made.Resources() {
		top, err := builtValue(res)
		if err != nil {
			p := deny(verdict.InvalidManifest, 0, "kustomize made an object that has no JSON form")
			return nil, nil, &p
		}
		at, src := s.unmark(top, gate.Source{File: root.name, Line: root.node.Line})
		if contains(top, nonce) {
			found.add(src.File, deny(verdict.InvalidManifest, src.Line, "a replacement copies all annotations of another object; copy single ones"))
			continue
		}
		if !judged(top, src, found) {
			continue
		}
		object, err := o.Cache.intern(top)
		if err != nil {
			p := deny(verdict.InvalidManifest, 0, "kustomize made an object that has no JSON form")
			return nil, nil, &p
		}
		out = append(out, madeObject{gate.Object{Unstructured: object, Source: src}, at})
	}
	return out, found.sorted(), nil
}

// judged judges an object once more, for patches may have broken it. It reports
// whether the object can be used.
func judged(top map[string]any, src gate.Source, found *findings) bool {
	check := objectCheck{line: src.Line}
	check.judge(top)
	found.add(src.File, check.problems...)
	delete(top, "status") // a warning says so
	return !slices.ContainsFunc(check.problems, func(p problem) bool { return p.severity.Blocks() })
}

// unmark takes the mark off an object and returns the position and the source that it
// stands for.
func (s *stage) unmark(top map[string]any, fallback gate.Source) (position, gate.Source) {
	metadata, _ := top["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	mark, ok := annotations[s.mark].(string)
	if !ok {
		return position{}, fallback // a patch replaced all annotations
	}
	delete(annotations, s.mark)
	if len(annotations) == 0 {
		delete(metadata, "annotations")
	}
	i, err := strconv.Atoi(mark)
	if err != nil || i < 0 || i >= len(s.sources) {
		return position{}, fallback
	}
	return s.positions[i], s.sources[i]
}

// contains reports whether a text is part of any key or string of a value.
func contains(v any, text string) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, text)
	case []any:
		for _, e := range v {
			if contains(e, text) {
				return true
			}
		}
	case map[string]any:
		for k, e := range v {
			if strings.Contains(k, text) || contains(e, text) {
				return true
			}
		}
	}
	return false
}

// safeMessage shortens an error of kustomize to what holds no content of the tree:
// kustomize quotes patches and generator configurations, which may hold secrets.
// All of them are JSON here, or follow a line break or a backtick.
func safeMessage(err error) string {
	msg := err.Error()
	if i := strings.IndexAny(msg, "\n`{"); i >= 0 {
		msg = msg[:i] + "…"
	}
	return msg
}
