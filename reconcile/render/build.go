package render

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	utiljson "k8s.io/apimachinery/pkg/util/json"
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

// A stage is what kustomize is given: the collected files, with a mark in every
// object that leads back to where it came from.
type stage struct {
	memory  *memory
	mark    string // annotation key, unknown to the authors of the tree
	sources []gate.Source
	bytes   int
}

// stage prepares the collected files.
func (c *collector) stage() (*stage, error) {
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	s := &stage{memory: newMemory(), mark: "source.gitgate.dev/" + hex.EncodeToString(nonce)}
	for name, in := range c.inputs {
		data := in.data
		if in.file != nil {
			var err error
			if data, err = s.objects(name, in.file); err != nil {
				return nil, err
			}
		}
		s.bytes += len(data)
		s.memory.put(name, data)
	}
	for _, kf := range c.kusts {
		kf.k.FixKustomization() // kustomize would do so too, and print warnings to stderr
		s.generators(kf)
		raw, err := json.Marshal(kf.k)
		if err != nil {
			return nil, err
		}
		s.bytes += len(raw)
		s.memory.put(kf.name, raw)
	}
	return s, nil
}

func (s *stage) source(src gate.Source) string {
	s.sources = append(s.sources, src)
	return strconv.Itoa(len(s.sources) - 1)
}

// objects writes marked copies of the objects of a file.
func (s *stage) objects(name string, file *parsedFile) ([]byte, error) {
	var out []byte
	for _, m := range file.manifests {
		top := maps.Clone(m.object.Object)
		metadata := maps.Clone(top["metadata"].(map[string]any))
		annotations, _ := metadata["annotations"].(map[string]any)
		if annotations = maps.Clone(annotations); annotations == nil {
			annotations = map[string]any{}
		}
		annotations[s.mark] = s.source(source(name, m, file))
		metadata["annotations"] = annotations
		top["metadata"] = metadata
		raw, err := json.Marshal(top)
		if err != nil {
			return nil, err
		}
		out = append(append(out, "\n---\n"...), raw...)
	}
	return out, nil
}

// generators marks what the generators of a kustomization will make.
func (s *stage) generators(kf *kustFile) {
	mark := func(field string, i int, args *types.GeneratorArgs) {
		line := lineOf(kf.node, fmt.Sprintf("%s[%d]", field, i), kf.node.Line)
		options := types.GeneratorOptions{}
		if args.Options != nil {
			options = *args.Options
		}
		options.Annotations = maps.Clone(options.Annotations)
		if options.Annotations == nil {
			options.Annotations = map[string]string{}
		}
		options.Annotations[s.mark] = s.source(gate.Source{File: kf.name, Line: line})
		args.Options = &options
	}
	for i := range kf.k.ConfigMapGenerator {
		mark("configMapGenerator", i, &kf.k.ConfigMapGenerator[i].GeneratorArgs)
	}
	for i := range kf.k.SecretGenerator {
		mark("secretGenerator", i, &kf.k.SecretGenerator[i].GeneratorArgs)
	}
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
	root := c.kusts[c.root]
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
		s, err := c.stage()
		if err != nil {
			p := deny(verdict.InvalidManifest, 0, "kustomization cannot be prepared: %v", err)
			res.problem = &p
			return
		}
		res.build, res.problem = s.kustomize(root, c.root, c.r.options)
		res.size = 1024 + 12*s.bytes
	}()
	select {
	case res := <-done:
		return res.build, res.size, res.problem
	case <-ctx.Done():
		p := interrupted(ctx.Err())
		return build{}, 0, &p
	}
}

// kustomize runs kustomize on the stage and takes the marks off what it made.
func (s *stage) kustomize(root *kustFile, dir string, o Options) (build, *problem) {
	options := krusty.MakeDefaultOptions()
	// The stage holds nothing that may not be loaded.
	options.LoadRestrictions = types.LoadRestrictionsNone
	made, err := krusty.MakeKustomizer(options).Run(s.memory, path.Join("/", dir))
	if err != nil {
		p := deny(verdict.InvalidManifest, 0, "kustomize: %s", safeMessage(err))
		return build{}, &p
	}
	if made.Size() > o.Limits.Objects {
		p := deny(verdict.LimitExceeded, 0, "more than %d objects", o.Limits.Objects)
		return build{}, &p
	}
	var b build
	found := newFindings(o.Limits.Findings)
	for _, res := range made.Resources() {
		raw, err := res.MarshalJSON()
		if err != nil {
			p := deny(verdict.InvalidManifest, 0, "kustomize made an object that has no JSON form")
			return build{}, &p
		}
		var top map[string]any
		if err := utiljson.Unmarshal(raw, &top); err != nil {
			p := deny(verdict.InvalidManifest, 0, "kustomize made an object that cannot be read")
			return build{}, &p
		}
		src := s.unmark(top, gate.Source{File: root.name, Line: root.node.Line})
		if nonce := path.Base(s.mark); strings.Contains(string(raw), nonce) && contains(top, nonce) {
			found.add(src.File, deny(verdict.InvalidManifest, src.Line, "a replacement copies all annotations of another object; copy single ones"))
			continue
		}
		if !judged(top, src, found) {
			continue
		}
		object, err := o.Cache.intern(top)
		if err != nil {
			p := deny(verdict.InvalidManifest, 0, "kustomize made an object that has no JSON form")
			return build{}, &p
		}
		b.objects = append(b.objects, gate.Object{Unstructured: object, Source: src})
	}
	b.findings = found.sorted()
	return b, nil
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

// unmark takes the mark off an object and returns the source that it stands for.
func (s *stage) unmark(top map[string]any, fallback gate.Source) gate.Source {
	metadata, _ := top["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	mark, ok := annotations[s.mark].(string)
	if !ok {
		return fallback // a patch replaced all annotations
	}
	delete(annotations, s.mark)
	if len(annotations) == 0 {
		delete(metadata, "annotations")
	}
	i, err := strconv.Atoi(mark)
	if err != nil || i < 0 || i >= len(s.sources) {
		return fallback
	}
	return s.sources[i]
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
