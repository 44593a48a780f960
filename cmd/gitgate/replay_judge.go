package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/render"
	"gitgate.dev/gitgate/verify/commit"
	"gitgate.dev/gitgate/webhook/audit"
)

// A replayer makes decisions again.
type replayer struct {
	repo   *gitRepository
	config client.Reader
	syncs  map[string]*v1alpha1.GitSync
	system string
	gates  *gates
	judge  *admissionJudge // nil until an admission is to be judged
	// audits are the PolicySets of the same, each by itself.
	audits []audit.PolicySet
	rules  *checkRules
	close  func()
}

func (o *checkOptions) replayer(ctx context.Context) (*replayer, error) {
	quiet()
	repo, err := openGitRepository(o.repo)
	if err != nil {
		return nil, err
	}
	if shallow, err := repo.refs.Shallow(); err != nil || len(shallow) > 0 {
		return nil, errors.Join(err, fmt.Errorf("%s is a shallow clone: decisions rest on the history, get it with git fetch --unshallow", o.repo))
	}
	config, syncs, err := o.configuration(ctx, repo)
	if err != nil {
		return nil, err
	}
	keys, err := checkKeys(o.keys)
	if err != nil {
		return nil, err
	}
	given, err := readSchemas(ctx, repo, o.schemas)
	if err != nil {
		return nil, err
	}
	own, err := ownDefinitions()
	if err != nil {
		return nil, err
	}
	p := &replayer{repo: repo, config: config, system: o.namespace, syncs: map[string]*v1alpha1.GitSync{}}
	for _, s := range syncs {
		p.syncs[s.Namespace+"/"+s.Name] = s
	}
	p.gates = &gates{
		renders: render.NewCache(renderCacheBytes), system: o.namespace, loopbackHTTP: o.loopbackHTTP,
		scope:      newSchemaStage(slices.Concat(own, given)).scope,
		imageCache: imageCacheDir(o.cacheDir), lastGood: map[string]goodSet{},
		pre: &precheck{keys: keys, offline: o.offline},
	}
	if p.rules, p.close, err = newCheckRules(config, repo, p.gates, o.offline, o.policyBundles); err != nil {
		return nil, err
	}
	return p, nil
}

// replay makes a decision again. An error is one of the configuration.
func (p *replayer) replay(ctx context.Context, d *loggedDecision) (replayedItem, error) {
	item := replayedItem{
		Line: d.line, Times: d.times, Time: d.Time, Door: d.Door, What: d.what(), Then: d.then(), Outcome: outcomeUnknown,
	}
	var err error
	switch {
	case d.bad != "":
		item.Why = d.bad
	case d.Verdict != nil:
		err = p.revision(ctx, d, &item)
	case d.Door == auditDoor:
		err = p.audited(ctx, d, &item)
	default:
		err = p.admission(ctx, d, &item)
	}
	return item, err
}

// revision judges a revision as the reconciler did.
func (p *replayer) revision(ctx context.Context, d *loggedDecision, item *replayedItem) error {
	sync := p.syncs[d.GitSync]
	if sync == nil {
		item.Why = "the configuration has no GitSync " + d.GitSync + " of this repository"
		return nil
	}
	req, why := p.request(d)
	if why != "" {
		item.Why = why
		return nil
	}
	p.rules.of(req.Commit.Base, req.Commit.Head)
	in, err := reconcile.Resolve(ctx, p.config, p.system, sync, p.rules)
	if err != nil {
		return fmt.Errorf("GitSync %s: %w", d.GitSync, reasoned(err))
	}
	for _, set := range in.Policies {
		if set.Withheld != nil {
			item.Why = set.Withheld.Error()
			return nil
		}
	}
	p.gates.now = func() time.Time { return d.Time }
	g, err := p.gates.Gate(ctx, in, &localStage{prune: sync.PruneEnabled(), replayed: true})
	if err != nil {
		return fmt.Errorf("GitSync %s: %w", d.GitSync, reasoned(err))
	}
	_, v := g.Admit(ctx, req)
	now, err := logged(v)
	if err != nil {
		return err
	}
	return item.compareVerdicts(d.Verdict, now)
}

// request is what the gate was asked, or why it cannot be asked again.
func (p *replayer) request(d *loggedDecision) (req gate.Request, why string) {
	if d.Asked == nil {
		return req, "the log does not say what was in force: an older gitgate wrote it"
	}
	head := reconcile.RevisionHash(d.Verdict.Revision)
	if head.IsZero() {
		return req, "the revision names no commit"
	}
	req = gate.Request{
		Revision: d.Verdict.Revision, Inventory: d.Asked.Inventory,
		Commit: commit.Request{Objects: p.repo.objects, Head: head},
	}
	if len(d.Asked.Base) == 0 && d.Asked.Inventory > 0 {
		return req, "the reconciler did not know then which commit was in force, only which objects were applied"
	}
	for _, list := range []struct {
		from []string
		to   *[]plumbing.Hash
	}{{[]string{head.String()}, new([]plumbing.Hash)}, {d.Asked.Base, &req.Commit.Base}, {d.Asked.Ancestors, &req.Commit.Ancestors}} {
		for _, text := range list.from {
			hash := plumbing.NewHash(text)
			if !plumbing.IsHash(text) || p.repo.objects.HasEncodedObject(hash) != nil {
				return req, fmt.Sprintf("commit %.40q is not in this repository: fetch it", text)
			}
			*list.to = append(*list.to, hash)
		}
	}
	for _, text := range d.Asked.Tags {
		raw, err := p.tag(text)
		if err != nil {
			return req, fmt.Sprintf("the tag %.40q is not in this repository: fetch the tags", text)
		}
		req.Commit.Tags = append(req.Commit.Tags, raw)
	}
	if len(req.Commit.Base) > 0 {
		var err error
		if req.PreviousTree, err = commit.Unverified(p.repo.objects, req.Commit.Base[0]); err != nil {
			return req, fmt.Sprintf("the commit that was in force cannot be read: %v", err)
		}
	}
	return req, ""
}

// maxTag bounds a tag, as the fetching of them does.
const maxTag = 1 << 20

func (p *replayer) tag(text string) ([]byte, error) {
	object, err := p.repo.objects.EncodedObject(plumbing.TagObject, plumbing.NewHash(text))
	if err != nil {
		return nil, err
	}
	if object.Size() > maxTag {
		return nil, errors.New("too large")
	}
	reader, err := object.Reader()
	if err != nil {
		return nil, err
	}
	defer reader.Close() // nothing was written
	return io.ReadAll(io.LimitReader(reader, maxTag))
}

// logged is a verdict as a decision log holds it.
func logged(v verdict.Verdict) (*loggedVerdict, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out loggedVerdict
	return &out, json.Unmarshal(raw, &out)
}

// compareVerdicts says what a revision is said of now that was not said then. What
// the apply stage says is the API server's and left out.
func (i *replayedItem) compareVerdicts(then, now *loggedVerdict) error {
	before, err := withoutStage(then.Findings, verdict.StageApply)
	if err != nil {
		i.Why = "the findings of the decision cannot be read"
		return nil
	}
	after, err := withoutStage(now.Findings, verdict.StageApply)
	if err != nil {
		return err
	}
	i.Now = answer(now.Allowed, now.Undetermined)
	if then.Objects != now.Objects {
		i.Changed = append(i.Changed, fmt.Sprintf("objects: %d then, %d now", then.Objects, now.Objects))
	}
	if a, b := stageText(then.Stages), stageText(now.Stages); a != b {
		i.Changed = append(i.Changed, fmt.Sprintf("stages: %s then, %s now", a, b))
	}
	i.compare(before, after)
	return nil
}

// compare sets the outcome. What was undetermined, then or now, is no difference in
// judgement: it says that something could not be reached.
func (i *replayedItem) compare(then, now []json.RawMessage) {
	i.Gone, i.New = difference(then, now), difference(now, then)
	switch {
	case len(i.Gone)+len(i.New)+len(i.Changed) == 0:
		i.Outcome = outcomeSame
	case undecided(i.Gone):
		i.Why = "it was undetermined then"
	case undecided(i.New):
		i.Why = "it cannot be determined here"
	default:
		i.Outcome = outcomeDifferent
	}
}

func undecided(raw []json.RawMessage) bool {
	fs, err := findingsOf(raw)
	return err != nil || slices.ContainsFunc(fs, func(f verdict.Finding) bool {
		return f.Severity == verdict.Undetermined || f.Reason == verdict.PolicyTimeout
	})
}

func withoutStage(raw []json.RawMessage, stage verdict.Stage) (out []json.RawMessage, err error) {
	fs, err := findingsOf(raw)
	if err != nil {
		return nil, err
	}
	for i, f := range fs {
		if f.Stage != stage {
			out = append(out, raw[i])
		}
	}
	return out, nil
}

// stageText is how far a verdict came, but for the apply stage.
func stageText(stages []loggedStage) string {
	var out []string
	for _, s := range stages {
		if s.Stage != verdict.StageApply {
			out = append(out, fmt.Sprintf("%s %s", s.Stage, s.Status))
		}
	}
	return strings.Join(out, ", ")
}
