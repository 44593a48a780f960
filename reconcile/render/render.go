package render

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
)

// Render returns the objects that the tree declares under o.Path, in a stable
// order, and everything that is wrong with them. Objects are returned only if no
// finding blocks; warnings may come with objects.
//
// A directory with a kustomization file is built as kustomize does. Any other is
// walked as Flux does: every .yaml, .yml and .json file below it is read, except
// under names that start with a dot, and a directory with a kustomization file of
// its own is built and not walked. Plain objects come in the order of their paths.
//
// The objects share memory with each other, with o.Cache and with later renders: treat
// them as read-only and DeepCopy what is to change. An object that carries SOPS
// metadata keeps its sops field and has the raw file in Source.Encrypted.
//
// Render ends when ctx does, with an undetermined finding. A kustomize build that
// is still running then ends on its own, within the limits, and its result is lost.
func Render(ctx context.Context, fsys fs.FS, o Options) (objects []gate.Object, found []verdict.Finding) {
	o.Limits = o.Limits.withDefaults()
	r := &renderer{
		ctx: ctx, options: o, reader: newReader(fsys, o.Limits), findings: newFindings(o.Limits.Findings),
		early: map[string]chan blob{}, turns: newTurns(), shared: newSharer(),
	}
	defer r.parsing.Wait()
	defer func() {
		if p := recover(); p != nil {
			r.findings.add(o.Path, panicProblem(p))
			objects, found = nil, r.findings.sorted()
		}
	}()
	r.run()
	if r.findings.blocked {
		return nil, r.findings.sorted()
	}
	return r.objects, r.findings.sorted()
}

// panicProblem reports a bug of ours or of a library as what it means to the user.
// It names the place in the code, and no value, which may be secret.
func panicProblem(p any) problem {
	where := "unknown place"
	stack := strings.Split(string(debug.Stack()), "\n")
	if i := slices.IndexFunc(stack, func(l string) bool { return strings.HasPrefix(l, "panic(") }); i >= 0 && i+2 < len(stack) {
		where, _, _ = strings.Cut(stack[i+2], "(")
	}
	return deny(verdict.InvalidManifest, 0, "rendering failed on this input with an internal error (%T in %s); please report it", p, where)
}

// A renderer is one call of Render.
type renderer struct {
	ctx      context.Context
	options  Options
	reader   *reader
	findings *findings
	objects  []gate.Object
	builds   int

	early   map[string]chan blob // files that were started before their turn
	parsing sync.WaitGroup
	turns   chan struct{}
	shared  *sharer
}

func (r *renderer) run() {
	root, ok := cleanPath("./" + strings.TrimLeft(r.options.Path, "/"))
	if !ok {
		r.findings.add("", deny(verdict.PathEscape, 0, "path %q leaves the repository", r.options.Path))
		return
	}
	if p := r.reader.directory(root); p != nil {
		r.findings.add(root, *p)
		return
	}
	r.tree(root)
	if r.findings.blocked {
		return // a partial tree would only show errors that follow from the first ones
	}
	r.namespaces()
	r.duplicates()
	if len(r.objects) == 0 {
		r.findings.add(root, deny(verdict.EmptyRelease, 0, "path %q declares no object; applying it would delete everything", root))
	}
}

// stop reports whether the call must end, and says so once.
func (r *renderer) stop() bool {
	if err := r.ctx.Err(); err != nil {
		r.findings.add("", interrupted(err))
		return true
	}
	return false
}

// add takes over an object unless there are too many.
func (r *renderer) add(objects ...gate.Object) bool {
	r.objects = append(r.objects, objects...)
	if len(r.objects) > r.options.Limits.Objects {
		r.findings.add("", deny(verdict.LimitExceeded, 0, "more than %d objects; split the path", r.options.Limits.Objects))
		return false
	}
	return true
}

// tree renders a directory as what it is. It reports whether to go on.
func (r *renderer) tree(dir string) bool {
	switch kustomizations, p := r.kustomizationsIn(dir); {
	case p != nil:
		r.findings.add(dir, *p)
		return true
	case len(kustomizations) > 0:
		r.build(dir, kustomizations[0])
		return !r.stop()
	}
	return r.walk(dir)
}

// walk reads a directory without a kustomization file.
func (r *renderer) walk(dir string) bool {
	entries, p := r.reader.readDir(dir)
	if p != nil {
		r.findings.add(dir, *p)
		return p.reason != verdict.LimitExceeded
	}
	files := candidates(dir, entries)
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		files = r.ahead(files)
		if r.stop() || !r.entry(name, e.Type()) {
			return false
		}
	}
	return true
}

// entry renders one entry of a directory. It reports whether to go on.
func (r *renderer) entry(name string, mode fs.FileMode) bool {
	if err := kindError(mode); err != nil {
		r.findings.add(name, *readProblem(name, err))
		return true
	}
	switch {
	case mode.IsDir():
		return r.tree(name)
	case !IsManifest(name):
		return true
	}
	file, _, p := r.manifests(name)
	if p != nil {
		r.findings.add(name, *p)
		return p.reason != verdict.LimitExceeded
	}
	return r.declared(name, file)
}

// leftOut tells that an object is not for the cluster.
func leftOut(m manifest) problem {
	return problem{
		reason: verdict.InvalidManifest, severity: verdict.Info, line: m.line, object: gate.ObjectID(m.object),
		message: "left out: annotation " + localConfig + " says that it is not for the cluster",
	}
}

func source(name string, m manifest, file *parsedFile) gate.Source {
	s := gate.Source{File: name, Line: m.line, Document: m.document}
	if m.encrypted {
		s.Encrypted = file.raw
	}
	return s
}

// IsManifest reports whether a file of this name declares objects. Names that start
// with a dot are left out before.
func IsManifest(name string) bool {
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// duplicates refuses an object that is declared twice: which one would win is not
// for the order of files to say.
func (r *renderer) duplicates() {
	first := make(map[string]gate.Source, len(r.objects))
	for _, o := range r.objects {
		gvk := o.GroupVersionKind()
		// Another version of a group names the same object.
		key := gvk.Group + "/" + gvk.Kind + "/" + o.GetNamespace() + "/" + o.GetName()
		before, twice := first[key]
		if !twice {
			first[key] = o.Source
			continue
		}
		p := deny(verdict.AmbiguousManifest, o.Source.Line, "%s is already declared at %s; keep one", o.ID(), place(before))
		p.object = o.ID()
		r.findings.add(o.Source.File, p)
	}
}

func place(s gate.Source) string {
	if s.Line > 0 {
		return fmt.Sprintf("%s:%d", s.File, s.Line)
	}
	return s.File
}
