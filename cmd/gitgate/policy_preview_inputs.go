package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/webhook/lock"
)

// maxPreviewCommits bounds the commits that are judged.
const maxPreviewCommits = 1000

// A previewSource hands objects on to be judged, and tells what it could not look at.
type previewSource func(ctx context.Context, add func(context.Context, previewInput) error) ([]verdict.Finding, error)

// A previewInput is an object and where it was found.
type previewInput struct {
	policy.Input
	from    string // as in HEAD~2; empty is the cluster
	commit  string // its hash
	gitSync string // that is known to declare it
}

// sources opens what is to be judged.
func (o *policyPreview) sources(ctx context.Context, stdin io.Reader, sets *previewSets, p *previewer) (out []previewSource, err error) {
	if o.live.on {
		objects, err := o.live.open()
		if err != nil {
			return nil, err
		}
		if p.exceptions, err = o.liveExceptions(ctx, p.now); err != nil {
			return nil, err
		}
		out = append(out, func(ctx context.Context, add func(context.Context, previewInput) error) ([]verdict.Finding, error) {
			return objects(ctx, func(in policy.Input) error { return add(ctx, previewInput{Input: in}) })
		})
	}
	if o.commits != "" {
		repo, err := openGitRepository(o.commit.repo)
		if err != nil {
			return nil, err
		}
		name, list, err := commitsOf(repo, o.commits)
		if err != nil {
			return nil, fmt.Errorf("--commits %s: %w", o.commits, err)
		}
		out = append(out, func(ctx context.Context, add func(context.Context, previewInput) error) ([]verdict.Finding, error) {
			return o.judgeCommits(ctx, p, repo, name, list, add)
		})
	}
	if o.log != "" {
		raw, err := readVerdictFile(o.log, stdin)
		if err != nil {
			return nil, fmt.Errorf("--decision-log: %w", err)
		}
		log, err := readDecisions(raw)
		if err != nil {
			return nil, fmt.Errorf("--decision-log %s: %w", o.log, err)
		}
		l := &previewLog{options: o, preview: p, syncs: sets.syncs, log: log}
		out = append(out, l.judge)
	}
	return out, nil
}

// liveExceptions are the PolicyExceptions of a cluster. Where nobody knows the kind there
// are none.
func (o *policyPreview) liveExceptions(ctx context.Context, now time.Time) (*gate.Exceptions, error) {
	d := doctorOptions{kubeconfig: o.live.kubeconfig, context: o.live.context}
	config, err := d.restConfig()
	if err != nil {
		return nil, fmt.Errorf("--live: %w", err)
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("--live: %w", err)
	}
	var list []*gate.Exception
	options := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := objects.Resource(v1alpha1.GroupVersion.WithResource("policyexceptions")).List(ctx, options)
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			return nil, nil // what is not excepted is told as refused
		}
		if err != nil {
			return nil, fmt.Errorf("--live: listing the PolicyExceptions: %s", oneLine(err))
		}
		for i := range page.Items {
			if e, err := gate.ParseException(gate.Object{Unstructured: &page.Items[i]}, now); err == nil {
				list = append(list, e)
			}
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return gate.NewExceptions(list, now), nil
		}
	}
}

// commitsOf lists commits by first parents, newest first, and names the newest.
func commitsOf(repo *gitRepository, arg string) (name string, out []*object.Commit, err error) {
	var from, head plumbing.Hash
	most, notNumber := strconv.Atoi(arg)
	if notNumber == nil {
		if most < 1 || most > maxPreviewCommits {
			return "", nil, fmt.Errorf("want 1 to %d commits", maxPreviewCommits)
		}
		name = "HEAD"
		head, err = repo.resolve(name)
	} else {
		var r revisionRange
		if r, err = repo.parseRange(arg); err == nil && !r.ranged {
			err = errors.New("want a number of commits, or A..B")
		}
		_, name, _ = strings.Cut(arg, "..")
		name = orHead(name)
		head, from, most = r.to, r.from, maxPreviewCommits+1
	}
	if err != nil {
		return "", nil, err
	}
	for hash := head; hash != from && len(out) < most; {
		c, err := object.GetCommit(repo.objects, hash)
		if err != nil {
			return "", nil, fmt.Errorf("commit %s: %w", hash, err)
		}
		out = append(out, c)
		if len(c.ParentHashes) == 0 {
			break
		}
		hash = c.ParentHashes[0]
	}
	switch {
	case len(out) > maxPreviewCommits:
		return "", nil, fmt.Errorf("more than %d commits", maxPreviewCommits)
	case len(out) == 0:
		return "", nil, errors.New("there is no commit in it")
	}
	return name, out, nil
}

// judgeCommits judges what commits change, and all of the newest.
func (o *policyPreview) judgeCommits(ctx context.Context, p *previewer, repo *gitRepository, name string, list []*object.Commit, add func(context.Context, previewInput) error) (problems []verdict.Finding, err error) {
	for i, c := range list {
		from := name
		if i > 0 {
			from = fmt.Sprintf("%s~%d", name, i)
		}
		found, err := p.commit(ctx, &o.commit, repo, c, firstParent(repo, c), previewInput{from: from}, i == 0, add)
		if err != nil {
			return nil, err
		}
		problems = append(problems, unjudged(from, found)...)
	}
	return problems, nil
}

// firstParent is nil of a root, and of one whose parent is not there.
func firstParent(repo *gitRepository, c *object.Commit) *object.Commit {
	if len(c.ParentHashes) == 0 {
		return nil
	}
	parent, err := object.GetCommit(repo.objects, c.ParentHashes[0])
	if err != nil {
		return nil
	}
	return parent
}

// unjudged are the findings of a revision that keep objects from being judged.
func unjudged(from string, found []verdict.Finding) (out []verdict.Finding) {
	for _, f := range found {
		if f.Severity.Blocks() {
			f.Message = "could not be judged: " + f.Message
			if f.Where() == "" {
				f.Object = from
			}
			out = append(out, f)
		}
	}
	return out
}

// commit judges what a commit makes of another one, under the exceptions that it
// declares. Unless whole, what it leaves as it was is not judged.
func (p *previewer) commit(ctx context.Context, of *policyCommit, repo *gitRepository, head, base *object.Commit, about previewInput, whole bool, add func(context.Context, previewInput) error) ([]verdict.Finding, error) {
	if err := p.flush(ctx); err != nil { // what is before has other exceptions
		return nil, err
	}
	var inputs []policy.Input
	var list []*gate.Exception
	problems, err := of.between(ctx, repo, head, base, func(in policy.Input) error {
		if e := exceptionOf(in, p.now); e != nil {
			list = append(list, e)
		}
		if whole || in.Operation != policy.Update || string(in.Object) != string(in.OldObject) {
			inputs = append(inputs, in)
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	p.exceptions, about.commit = gate.NewExceptions(list, p.now), head.Hash.String()
	for _, in := range inputs {
		in.Time = about.Time
		about.Input = in
		if err := add(ctx, about); err != nil {
			return nil, err
		}
	}
	return problems, p.flush(ctx)
}

// exceptionOf is the exception that an input declares; nil if it declares none.
func exceptionOf(in policy.Input, now time.Time) *gate.Exception {
	if in.Object == nil || !strings.Contains(in.ObjectID, "PolicyException.") {
		return nil
	}
	u := &unstructured.Unstructured{}
	if json.Unmarshal(in.Object, &u.Object) != nil || !gate.IsException(u) {
		return nil
	}
	e, err := gate.ParseException(gate.Object{Unstructured: u}, now)
	if err != nil {
		return nil // it excepts nothing
	}
	return e
}

// A previewLog judges what a decision log holds.
type previewLog struct {
	options *policyPreview
	preview *previewer
	syncs   map[string]*v1alpha1.GitSync
	log     *decisionLog

	repo     *gitRepository
	problems []verdict.Finding
}

func (l *previewLog) judge(ctx context.Context, add func(context.Context, previewInput) error) ([]verdict.Finding, error) {
	seen := map[string]bool{}
	for _, d := range l.log.decisions {
		var err error
		switch {
		case d.bad != "":
			l.unknown(d, d.bad)
		case d.Verdict != nil:
			if key := d.GitSync + " " + d.Verdict.Revision; !seen[key] { // each once
				seen[key] = true
				err = l.revision(ctx, d, add)
			}
		default:
			err = l.write(ctx, d, add)
		}
		if err != nil {
			return nil, err
		}
	}
	return l.problems, nil
}

// unknown notes a decision that cannot be looked at.
func (l *previewLog) unknown(_ *loggedDecision, why string) {
	l.problems = append(l.problems, verdict.Finding{Object: "the decision log", Message: why})
}

// write judges a write that rules judged.
func (l *previewLog) write(ctx context.Context, d *loggedDecision, add func(context.Context, previewInput) error) error {
	switch {
	case d.Matched != lock.MatchedOpen || d.Operation == string(admissionv1.Connect):
		return nil // not rules decided
	case d.Object == nil && d.OldObject == nil:
		l.unknown(d, "writes without their objects, which gitgate webhook logs with --log-objects if they are not too large")
		return nil
	}
	req := d.request()
	asked := gate.PolicyInput{
		Time:      d.Time,
		Operation: d.Operation, ID: writeID(req), Object: d.Object, OldObject: d.OldObject,
		User:          &gate.User{Username: d.User, Groups: d.Groups},
		ClusterScoped: req.Namespace == "" || req.Kind.Kind == "Namespace" && req.Kind.Group == "",
	}
	if d.Door == auditDoor { // nobody asked
		asked.Operation, asked.User = gate.OperationCreate, nil
	}
	in := ruleInput(asked)
	return add(ctx, previewInput{Input: in, from: fmt.Sprintf("line %d of the log", d.line), gitSync: d.GitSync})
}

// revision judges a revision of the reconciler.
func (l *previewLog) revision(ctx context.Context, d *loggedDecision, add func(context.Context, previewInput) error) error {
	of := l.options.commit
	of.signers = d.Signers
	if sync := l.syncs[d.GitSync]; sync != nil {
		of.path = sync.Spec.Path
	} else if of.path == "" {
		l.unknown(d, fmt.Sprintf("the path of GitSync %s is not known: give the GitSync beside the PolicySets, or --path", d.GitSync))
		return nil
	}
	if l.repo == nil {
		repo, err := openGitRepository(of.repo)
		if err != nil {
			l.unknown(d, fmt.Sprintf("revisions, without their repository: %s", oneLine(err)))
			return nil
		}
		l.repo = repo
	}
	hash := reconcile.RevisionHash(d.Verdict.Revision)
	head, err := object.GetCommit(l.repo.objects, hash)
	if err != nil {
		l.unknown(d, fmt.Sprintf("revision %.80q is not in this repository: fetch it", d.Verdict.Revision))
		return nil
	}
	base := firstParent(l.repo, head)
	if d.Asked != nil && len(d.Asked.Base) > 0 && plumbing.IsHash(d.Asked.Base[0]) {
		if c, err := object.GetCommit(l.repo.objects, plumbing.NewHash(d.Asked.Base[0])); err == nil {
			base = c
		}
	}
	from := fmt.Sprintf("commit %.12s", hash)
	found, err := l.preview.commit(ctx, &of, l.repo, head, base, previewInput{Input: policy.Input{Time: d.Time}, from: from, gitSync: d.GitSync}, false, add)
	l.problems = append(l.problems, unjudged(from, found)...)
	return err
}
