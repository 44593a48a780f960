package apply

import (
	"context"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
)

// A Comparison is one object of a plan beside the live one. Both are normalised, and
// in the clear: whoever shows Secrets masks them.
type Comparison struct {
	// Object is the object of the plan, as [gate.Object.ID] names it.
	Object string
	Source gate.Source
	// Live is nil if there is no such object.
	Live map[string]any
	// Result is what the live object becomes: what Git says, beside what is left to
	// others. What a new object becomes is its manifest while the server cannot know.
	Result map[string]any
	// Same means that nothing would be written.
	Same bool
}

// Compare tells what applying the plan would make of the live objects, without
// writing anything: what the API server makes of each manifest, by a dry run under a
// fresh name, is held to the live object as after an apply. An object that cannot be
// read or judged is a finding that blocks and has no Comparison.
func (a *Applier) Compare(ctx context.Context, p *Plan) ([]Comparison, []verdict.Finding) {
	prep, found := a.prepare(ctx, p)
	if blocks(found) {
		return nil, sortFindings(found)
	}
	results := make([]*Comparison, len(prep.items))
	position := make(map[*item]int, len(prep.items))
	for i, it := range prep.items {
		position[it] = i
	}
	found = append(found, each(ctx, a.cfg.Workers, prep.items, func(ctx context.Context, it *item) []verdict.Finding {
		c, found := a.compare(ctx, prep, it)
		results[position[it]] = c
		return found
	})...)
	if ctx.Err() != nil {
		found = append(found, undetermined(planFinding(verdict.NotReady, "the comparison was interrupted: %v", context.Cause(ctx))))
	}
	var out []Comparison
	for _, c := range results {
		if c != nil {
			out = append(out, *c)
		}
	}
	return out, sortFindings(found)
}

func (a *Applier) compare(ctx context.Context, prep *prepared, it *item) (*Comparison, []verdict.Finding) {
	out := &Comparison{Object: it.object, Source: it.source}
	if it.deferred && !it.secret { // its kind or namespace comes with the same plan
		out.Result = it.res.Normalise(it.g.Object)
		return out, nil
	}
	if err := a.readLive(ctx, it); err != nil {
		return nil, []verdict.Finding{undetermined(it.finding(verdict.DryRunRejected, "the live object cannot be read: %v", err))}
	}
	if it.live != nil {
		if o := ownerOf(it.live); !mayTake(it, o) {
			return nil, []verdict.Finding{it.conflict(o)}
		}
	}
	if err := a.learn(ctx, prep, it); err != nil {
		if prep.mayWait(it, err) {
			out.Result = it.res.Normalise(it.g.Object)
			return out, nil
		}
		return nil, []verdict.Finding{it.rejected(err)}
	}
	if it.live == nil {
		out.Result = it.d
		return out, nil
	}
	out.Live = it.res.Normalise(it.live)
	uid, _ := metaString(it.live, "uid")
	patch := it.mask.Patch(it.d, out.Live, uid)
	out.Same = patch == nil
	out.Result, _ = merged(out.Live, patch).(map[string]any)
	return out, nil
}

// merged applies a merge patch (RFC 7396) without changing what it is applied to.
func merged(to, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	old, _ := to.(map[string]any)
	out := make(map[string]any, len(old)+len(p))
	for k, v := range old {
		out[k] = v
	}
	for k, v := range p {
		if v == nil {
			delete(out, k)
			continue
		}
		out[k] = merged(out[k], v)
	}
	return out
}
