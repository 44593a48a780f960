package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/apply"
)

// Bounds of a preview: what waits to be judged, and what is told.
const (
	maxPreviewBatch    = 256
	maxPreviewBytes    = 16 << 20
	maxPreviewChanges  = 50_000
	maxPreviewProblems = 200
	maxPreviewGroups   = 10_000
	maxPreviewMessages = 5 // of one rule on one object
)

// What becomes of what a rule says of an object.
const (
	previewDenied       = "newly denied"
	previewUndetermined = "newly undetermined"
	previewAllowed      = "newly allowed"
	previewWarned       = "newly warned"
	previewCleared      = "not warned any more"
	previewExcepted     = "excepted"
	previewMessage      = "another message"
)

// previewOrder is the order in which differences are told.
var previewOrder = []string{previewDenied, previewUndetermined, previewExcepted, previewAllowed, previewWarned, previewCleared, previewMessage}

// A previewer judges objects by both sides.
type previewer struct {
	options       *policyPreview
	before, after *policy.Engine // nil without rules
	exceptions    *gate.Exceptions
	now           time.Time
	progress      progress

	batch  []previewInput
	bytes  int
	groups map[string]*previewCounts
	seen   map[[sha256.Size]byte]int // of a difference: where it stands in result.Changes
	result previewResult
	told   time.Time
}

// add queues an object. It is judged now, unless it is known when it was.
func (p *previewer) add(ctx context.Context, in previewInput) error {
	if in.Time.IsZero() {
		in.Time = p.now
	}
	p.batch = append(p.batch, in)
	p.bytes += len(in.Object) + len(in.OldObject)
	if len(p.batch) >= maxPreviewBatch || p.bytes >= maxPreviewBytes {
		return p.flush(ctx)
	}
	return ctx.Err()
}

// flush judges what is queued, side by side, and counts it in order.
func (p *previewer) flush(ctx context.Context) error {
	said := make([][2][]verdict.Finding, len(p.batch))
	var judging errgroup.Group // its goroutines never fail: a panic of a rule is a finding
	judging.SetLimit(runtime.GOMAXPROCS(0))
	for i, in := range p.batch {
		judging.Go(func() error {
			for side, engine := range []*policy.Engine{p.before, p.after} {
				if engine != nil {
					said[i][side] = engine.Evaluate(ctx, in.Input)
				}
			}
			return nil
		})
	}
	_ = judging.Wait() // it has no error to tell
	if err := ctx.Err(); err != nil {
		return err // what was judged then says nothing
	}
	for i, in := range p.batch {
		p.count(in, said[i][0], said[i][1])
	}
	p.batch, p.bytes = p.batch[:0], 0
	p.tell()
	return nil
}

// tell shows how far it is.
func (p *previewer) tell() {
	if now := time.Now(); p.progress.to != nil && now.Sub(p.told) > 200*time.Millisecond {
		p.told = now
		fmt.Fprintf(p.progress.to, "\r\x1b[Kjudged %d objects: %d newly denied …", p.result.Judged, p.result.Counts.Denied)
	}
}

// count compares what both sides say of an object.
func (p *previewer) count(in previewInput, before, after []verdict.Finding) {
	p.result.Judged++
	if len(before)+len(after) == 0 {
		p.result.Unchanged++
		return
	}
	about := p.about(in)
	told := [2][]verdict.Finding{p.exceptions.Apply(before, about.object), p.exceptions.Apply(after, about.object)}
	old, now := byRule(before, told[0]), byRule(after, told[1])
	var rules []string
	for rule := range old {
		rules = append(rules, rule)
	}
	for rule := range now {
		if old[rule] == nil {
			rules = append(rules, rule)
		}
	}
	slices.Sort(rules)
	refused := slices.ContainsFunc(told[0], func(f verdict.Finding) bool { return f.Severity.Blocks() })
	counted := map[string]bool{} // classes of this object, with the group
	for _, rule := range rules {
		change, ok := compareRule(old[rule], now[rule])
		if !ok {
			continue
		}
		change.Object, change.Rule, change.From, change.Commit, change.GitSync = about.id, rule, in.from, in.commit, about.gitSync
		change.Owner, change.Namespace, change.AlsoBefore = about.owner, about.namespace, refused && change.Change == previewDenied
		p.change(change, counted)
	}
	if len(counted) == 0 {
		p.result.Unchanged++
	}
}

// change adds a difference to the counts and the list, of equal ones the first.
func (p *previewer) change(c previewChange, counted map[string]bool) {
	c.group = map[string]string{"owner": c.Owner, "namespace": c.Namespace, "rule": c.Rule, "gitsync": cmp.Or(c.GitSync, "none")}[p.options.by]
	counted[""] = true
	key := sha256.Sum256([]byte(strings.Join(slices.Concat([]string{c.Change, c.Object, c.Rule, c.group}, c.Messages), "\x00")))
	if at, ok := p.seen[key]; ok {
		if at >= 0 {
			p.result.Changes[at].Times++
		}
		return
	}
	if len(p.result.Changes) >= maxPreviewChanges {
		p.result.Omitted++
		if len(p.seen) < 4*maxPreviewChanges {
			p.seen[key] = -1
		}
	} else {
		c.Times = 1
		p.seen[key] = len(p.result.Changes)
		p.result.Changes = append(p.result.Changes, c)
	}
	if class := c.Change + "\x00" + c.group; !counted[class] { // an object counts once
		counted[class] = true
		p.result.Counts.add(c.Change)
		p.group(c.group).add(c.Change)
	}
}

func (p *previewer) group(name string) *previewCounts {
	g := p.groups[name]
	if g == nil {
		if len(p.groups) >= maxPreviewGroups {
			name = "others"
		}
		if g = p.groups[name]; g == nil {
			g = &previewCounts{}
			p.groups[name] = g
		}
	}
	return g
}

// A ruleSaid is what a rule says of an object: the worst of it, and all its messages.
type ruleSaid struct {
	severity verdict.Severity
	written  verdict.Severity // without exceptions
	first    verdict.Finding
	messages []string
}

// byRule sorts what was said by rules; told is the same after exceptions.
func byRule(found, told []verdict.Finding) map[string]*ruleSaid {
	out := map[string]*ruleSaid{}
	for i, f := range told {
		s := out[f.Policy]
		if s == nil {
			s = &ruleSaid{severity: verdict.Info, written: verdict.Info, first: f}
			out[f.Policy] = s
		}
		if severityRank(f.Severity) > severityRank(s.severity) {
			s.severity, s.first = f.Severity, f
		}
		if severityRank(found[i].Severity) > severityRank(s.written) {
			s.written = found[i].Severity
		}
		text := f.Message
		if f.Field != "" && !strings.Contains(f.Message, f.Field) {
			text = f.Field + ": " + text
		}
		s.messages = append(s.messages, text)
	}
	for _, s := range out {
		slices.Sort(s.messages)
	}
	return out
}

// severityRank orders severities by how much they stand in the way.
func severityRank(s verdict.Severity) int {
	return slices.Index([]verdict.Severity{verdict.Info, verdict.Warn, verdict.Undetermined, verdict.Deny}, s) + 1
}

// compareRule says what becomes of what a rule says; nil is a rule that says nothing.
func compareRule(old, now *ruleSaid) (previewChange, bool) {
	var a, b, written int
	var was, is verdict.Severity
	if old != nil {
		a, was = severityRank(old.severity), old.severity
	}
	if now != nil {
		b, is, written = severityRank(now.severity), now.severity, severityRank(now.written)
	}
	deny, undecided, warn := severityRank(verdict.Deny), severityRank(verdict.Undetermined), severityRank(verdict.Warn)
	c := previewChange{Was: string(was), Is: string(is)}
	shown := now
	switch {
	case b == deny && a < deny:
		c.Change = previewDenied
	case b == undecided && a != undecided:
		c.Change = previewUndetermined
	case written == deny && b < warn && (old == nil || severityRank(old.written) < deny):
		c.Change = previewExcepted
	case b <= warn && a >= undecided:
		c.Change, shown = previewAllowed, old
	case b == warn && a < warn:
		c.Change = previewWarned
	case b < warn && a == warn:
		c.Change, shown = previewCleared, old
	case a == b && b >= warn && !slices.Equal(old.messages, now.messages):
		c.Change = previewMessage
	default:
		return c, false
	}
	c.File, c.Line = shown.first.File, shown.first.Line
	c.Messages = slices.Compact(slices.Clone(shown.messages))
	if more := len(c.Messages) - maxPreviewMessages; more > 0 {
		c.Messages = append(c.Messages[:maxPreviewMessages], fmt.Sprintf("and %d more", more))
	}
	return c, true
}

// A previewSubject is whose an object is.
type previewSubject struct {
	object                        *unstructured.Unstructured
	id, owner, namespace, gitSync string
}

// about says whose an object is.
func (p *previewer) about(in previewInput) previewSubject {
	raw := in.Object
	if raw == nil {
		raw = in.OldObject
	}
	u := &unstructured.Unstructured{}
	if json.Unmarshal(raw, &u.Object) != nil || u.Object == nil {
		u.Object = map[string]any{}
	}
	s := previewSubject{object: u, id: cmp.Or(in.ObjectID, gate.Object{Unstructured: u}.ID()), namespace: cmp.Or(u.GetNamespace(), "none"), gitSync: in.gitSync}
	if s.gitSync == "" && u.GetLabels()[apply.OwnerNameLabel] != "" {
		s.gitSync = u.GetLabels()[apply.OwnerNamespaceLabel] + "/" + u.GetLabels()[apply.OwnerNameLabel]
	}
	s.owner = "cluster"
	switch {
	case s.gitSync != "":
		s.owner = "GitSync " + s.gitSync
	case u.GetNamespace() != "":
		s.owner = "namespace " + u.GetNamespace()
	}
	var ns unstructured.Unstructured
	if len(in.Namespace) > 0 && len(p.options.ownerKeys) > 0 && json.Unmarshal(in.Namespace, &ns.Object) != nil {
		ns.Object = nil
	}
	for _, key := range p.options.ownerKeys {
		for _, o := range []*unstructured.Unstructured{u, &ns} {
			if o.Object == nil {
				continue
			}
			if owner := cmp.Or(o.GetLabels()[key], o.GetAnnotations()[key]); owner != "" {
				s.owner = owner
				return s
			}
		}
	}
	return s
}
