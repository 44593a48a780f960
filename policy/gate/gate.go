package gate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"sync"
	"time"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/verify/commit"
)

// ErrMissingStage means that a [Config] lacks a stage.
var ErrMissingStage = errors.New("gate: every stage is required")

// Config lists the stages of a [Gate]. Every stage is required: there is no
// shorter gate.
type Config struct {
	Commits  CommitVerifier
	Renderer Renderer
	Images   ImageVerifier
	Policies PolicyEvaluator
	Secrets  SecretKeeper
	Cluster  DryRunner

	// Extractors say where custom resources hold images.
	Extractors []Extractor
	// Protected are the objects that no revision may declare or delete.
	Protected []Protected
	// DeletionBudget is how many objects one revision may delete without a
	// signed approval, given the size of the inventory. Nil allows none.
	DeletionBudget func(inventory int) int
	// Timeout bounds one decision. Zero means two minutes.
	Timeout time.Duration
	// Parallel bounds how many objects and images are judged at once. Zero
	// means eight.
	Parallel int
	// Exceptions reports whether PolicyExceptions count in a file; nil honours none.
	// Whoever sets it has the commits verified so that only those who may except can
	// change such a file.
	Exceptions func(file string) bool
	// Now is the time of a decision: by which exceptions expire, and that rules see. Nil
	// means time.Now.
	Now func() time.Time
	// Thorough runs every stage, whatever the former ones found, so that a person
	// learns everything at once. Nothing else about the decision changes: what
	// refuses refuses, and the cluster is not asked about a refused revision.
	Thorough bool
	// Progress, when set, is called as each stage begins.
	Progress func(verdict.Stage)
}

// A Gate decides about the revisions of one source. It keeps what it found out
// about objects, so that a revision costs what it changes. It is safe for
// concurrent use, one decision at a time.
type Gate struct {
	cfg        Config
	extractors extractors

	mu   sync.Mutex
	memo *memo
}

// New returns a gate. It fails when a stage is missing or an extractor is wrong.
func New(c Config) (*Gate, error) {
	if c.Commits == nil || c.Renderer == nil || c.Images == nil || c.Policies == nil || c.Secrets == nil || c.Cluster == nil {
		return nil, ErrMissingStage
	}
	x, err := newExtractors(c.Extractors)
	if err != nil {
		return nil, err
	}
	if c.Timeout == 0 {
		c.Timeout = 2 * time.Minute
	}
	if c.Parallel <= 0 {
		c.Parallel = 8
	}
	if c.DeletionBudget == nil {
		c.DeletionBudget = func(int) int { return 0 }
	}
	return &Gate{cfg: c, extractors: x, memo: newMemo()}, nil
}

// A Request names the revision to judge.
type Request struct {
	// Revision names it for people, as in main@sha1:<hash>.
	Revision string
	// Commit is the range of commits to verify.
	Commit commit.Request
	// Previous holds the objects of the last applied release, as Git declared
	// them: rules see them as the old objects.
	Previous []Object
	// PreviousTree is the tree of the last applied commit, for a process that has
	// not rendered it yet. It is used only when Previous is nil.
	PreviousTree fs.FS
	// JudgedBefore says that the objects of the last applied release passed the
	// rules that are in force now, with the commit that brought them: those that
	// are as they were are not judged by the rules again.
	JudgedBefore bool
	// Unverified is what a thorough gate looks at when the commits are not verified.
	// With no head commit it is something that nobody committed yet, which Revision
	// names. The gate ignores it otherwise, and never releases anything of it.
	Unverified fs.FS
	// Inventory counts the objects that are applied now. [AsPrevious] is as many as
	// the last applied release declared.
	Inventory int
	// Elsewhere is what is declared, now as in the last applied release, and not in the
	// trees to look at.
	Elsewhere Elsewhere
}

// Elsewhere says of objects that are not looked at, because the caller knows that they
// are as they were, what matters of them. They count for the inventory, and nothing is
// released of what was not looked at whole. The zero value is none.
type Elsewhere struct {
	// Objects is how many there are.
	Objects int
	// Images are those that they run. They are proven like all others; that one is not
	// is a finding about no object.
	Images []string
}

// AsPrevious is the inventory where no cluster tells another one.
const AsPrevious = -1

var admitStages = []verdict.Stage{
	verdict.StageCommit, verdict.StageRender, verdict.StageImage,
	verdict.StagePolicy, verdict.StageSecret, verdict.StageApply,
}

// Admit runs every stage on a revision. The release is nil unless the verdict
// allows. It never fails: not to be able to decide is a verdict that denies. A
// stage that found a reason to deny does not keep the later ones from running
// where they still can, so that one attempt tells as much as possible; a tree
// whose commits are not verified is not even read.
func (g *Gate) Admit(ctx context.Context, req Request) (rel *Release, v verdict.Verdict) {
	g.mu.Lock()
	defer g.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeout)
	defer cancel()
	a := &admission{gate: g, req: req, now: g.now(), out: verdict.NewBuilder(req.Revision, admitStages...)}
	defer func() {
		if p := recover(); p != nil {
			rel, v = nil, a.crashed(p)
		}
	}()
	return a.run(ctx)
}

// An admission is one run of the gate.
type admission struct {
	gate  *Gate
	req   Request
	out   *verdict.Builder
	stage verdict.Stage
	start time.Time
	now   time.Time // of the decision

	tree    fs.FS
	proven  *commit.Tree // tree, if its commits are verified
	objects []Object     // as rendered, images pinned in place after the image stage
	judged  []*judged
	changed []string // paths that the commits change
	rules   PolicyEvaluator
	dropped []Object // what would be deleted, also if only to be made anew

	exceptions  *Exceptions
	notExcepted []verdict.Finding // of exceptions that do not count
}

// now is the time of a decision.
func (g *Gate) now() time.Time {
	if g.cfg.Now != nil {
		return g.cfg.Now()
	}
	return time.Now()
}

func (a *admission) begin(s verdict.Stage) {
	a.stage, a.start = s, time.Now()
	if a.gate.cfg.Progress != nil {
		a.gate.cfg.Progress(s)
	}
}

func (a *admission) end(fs ...verdict.Finding) bool {
	if a.stage == verdict.StagePolicy {
		fs = a.withExceptions(fs)
	}
	return a.out.Stage(a.stage, a.start, a.completed(fs)...)
}

func (a *admission) completed(fs []verdict.Finding) []verdict.Finding {
	fs = bounded(fs)
	a.locate(fs)
	return fs
}

// maxFindings bounds the findings of one stage. A verdict is logged and shown.
const maxFindings = 1000

// bounded cuts findings, the worst of which stay, so that what blocks still does.
func bounded(fs []verdict.Finding) []verdict.Finding {
	if len(fs) <= maxFindings {
		return fs
	}
	verdict.Sort(fs)
	return append(fs[:maxFindings:maxFindings], verdict.Finding{
		Reason: verdict.LimitExceeded, Severity: fs[maxFindings].Severity,
		Message: fmt.Sprintf("%d more findings are not shown: correct those that are", len(fs)-maxFindings),
	})
}

func blocks(fs []verdict.Finding) bool {
	return slices.ContainsFunc(fs, func(f verdict.Finding) bool { return f.Severity.Blocks() })
}

// maxLocated bounds the findings whose field is looked up in its file.
const maxLocated = 200

// locate moves findings from the line of their object to that of their field.
func (a *admission) locate(fs []verdict.Finding) {
	if a.tree == nil {
		return
	}
	for i, f := range fs[:min(len(fs), maxLocated)] {
		if f.Field == "" || f.File == "" {
			continue
		}
		j := slices.IndexFunc(a.objects, func(o Object) bool { return o.Source.File == f.File && o.Source.Line == f.Line })
		if j >= 0 {
			fs[i].Line = a.gate.cfg.Renderer.Line(a.tree, a.objects[j].Source, f.Field)
		}
	}
}

// crashed turns a panic into a denial. The stack goes nowhere near a user: it
// may show what a secret held.
func (a *admission) crashed(p any) verdict.Verdict {
	a.gate.memo = newMemo()
	a.end(verdict.Finding{
		Reason: verdict.Internal, Severity: verdict.Undetermined,
		Message: fmt.Sprintf("the %s stage failed with an internal error (%s): this is a bug in gitgate, please report it", a.stage, panicSite(p)),
	})
	return a.out.Verdict()
}

// panicSite names the kind of a panic without its text, which may quote input.
func panicSite(p any) string {
	if _, ok := p.(runtime.Error); ok {
		return "runtime error"
	}
	return fmt.Sprintf("%T", p)
}

func (a *admission) run(ctx context.Context) (*Release, verdict.Verdict) {
	ok := a.verify(ctx)
	if a.tree == nil {
		return nil, a.out.Verdict()
	}
	rendered := a.render(ctx)
	if ok = ok && rendered; !ok && !a.gate.cfg.Thorough {
		return nil, a.out.Verdict()
	}
	imagesOK := a.images(ctx)
	policyOK := a.policies(ctx)
	plain, secretsOK := a.secrets(ctx)
	if !ok || !imagesOK || !policyOK || !secretsOK {
		if rendered && a.gate.cfg.Thorough {
			a.stage = verdict.StagePolicy // of which the deletions are a part
			a.out.Add(a.completed(a.deletions(ctx))...)
		}
		return nil, a.out.Verdict()
	}
	c := &Candidate{
		revision: a.req.Revision, commit: a.proven.Commit(),
		objects: plain, declared: a.objects, images: a.evidence(),
	}
	a.begin(verdict.StageApply)
	findings := a.deletions(ctx)
	if !blocks(findings) {
		findings = append(findings, a.gate.cfg.Cluster.DryRun(ctx, c)...)
	}
	if !blocks(findings) {
		findings = append(findings, a.deletions(ctx)...) // now those too that are to be made anew
	}
	a.end(findings...)
	v := a.out.Verdict()
	if !v.Allowed() || a.req.Elsewhere.Objects > 0 {
		return nil, v
	}
	return &Release{candidate: *c}, v
}

// verify proves the commits. Whatever else may be looked at, a stage that refuses
// leaves the revision refused.
func (a *admission) verify(ctx context.Context) bool {
	a.begin(verdict.StageCommit)
	if a.gate.cfg.Thorough {
		a.tree = a.req.Unverified
		if a.req.Commit.Head.IsZero() && a.tree != nil {
			return a.end(verdict.Finding{
				Reason: verdict.UnsignedCommit, Severity: verdict.Undetermined,
				Message: "the " + a.req.Revision + " is not committed: what is said of it counts once somebody has signed it",
			})
		}
	}
	tree, findings := VerifyCommits(ctx, a.gate.cfg.Commits, a.req.Commit)
	if a.end(findings...) && tree != nil {
		a.tree, a.proven = tree, tree
		return true
	}
	return false
}

// commit is what is known of the head commit: nothing if it is not verified.
func (a *admission) commit() commit.Info {
	if a.proven == nil {
		return commit.Info{}
	}
	return a.proven.Commit()
}

func (a *admission) render(ctx context.Context) bool {
	a.begin(verdict.StageRender)
	objects, findings := a.gate.cfg.Renderer.Render(ctx, a.tree)
	if len(objects) == 0 && !blocks(findings) {
		findings = append(findings, verdict.Finding{
			Reason: verdict.EmptyRelease, Severity: verdict.Deny,
			Message: "the path holds no object: applying it would delete everything; check spec.path, or delete the GitSync to remove what it applied",
		})
	}
	findings = append(findings, a.trespasses(objects, "declare")...)
	findings = append(findings, a.renderPrevious(ctx)...)
	a.objects = slices.Clone(objects)
	a.readExceptions()
	a.out.Objects(len(objects) + a.req.Elsewhere.Objects)
	a.judged = a.gate.memo.next(objects)
	return a.end(findings...)
}

// renderPrevious makes up for objects of the last release that the caller does not
// have. That they do not render any more is nobody's fault, as when spec.path is
// another one now; not to know whether they do is, for rules would take every
// object for a new one.
func (a *admission) renderPrevious(ctx context.Context) []verdict.Finding {
	if a.req.Previous != nil || a.req.PreviousTree == nil {
		return nil
	}
	objects, findings := a.gate.cfg.Renderer.Render(ctx, a.req.PreviousTree)
	a.req.Previous = objects
	return slices.DeleteFunc(findings, func(f verdict.Finding) bool { return f.Severity != verdict.Undetermined })
}
