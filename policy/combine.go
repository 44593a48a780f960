package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"gitgate.dev/gitgate/policy/verdict"
)

// Bounds of what is judged together: objects, their bytes, and how much longer than
// one object they may take.
const (
	maxTogether      = 20_000
	maxTogetherBytes = 64 << 20
	togetherTime     = 10
)

// Combines reports whether a set judges objects together.
func (e *Engine) Combines() bool {
	return slices.ContainsFunc(e.sets, func(s *set) bool { return s.combine })
}

// EvaluateTogether judges objects by the sets that judge all of them together: each of
// these sets is asked once about those that it selects, and not at all if there are
// none. [Engine.Evaluate] has to be asked about each object as well, with Together
// set. Of the inputs the objects, their files and the first inventory count. The
// findings name no object. It never returns an error, as Evaluate.
func (e *Engine) EvaluateTogether(ctx context.Context, ins []Input) []verdict.Finding {
	if e.loaded && !e.Combines() {
		return nil
	}
	place := verdict.Finding{Stage: verdict.StagePolicy}
	return e.supervise(ctx, place, togetherTime*e.opts.Timeout, func(r *run) { r.together(ins) })
}

// together asks the sets that combine.
func (r *run) together(ins []Input) {
	subjects, err := r.subjects(ins)
	if err != nil {
		r.out = append(r.out, failure(r.place, verdict.PolicyError, "the objects cannot be judged together: "+err.Error()))
		return
	}
	r.unknown = allParts
	var inventory *Inventory
	if len(ins) > 0 && ins[0].Inventory != nil {
		inventory, r.unknown = ins[0].Inventory, r.unknown&^PartInventory
	}
	for _, set := range r.engine.sets {
		if !set.combine {
			continue
		}
		r.set.Store(set)
		items, n, err := r.combined(set, subjects)
		switch {
		case err != nil:
			r.out = append(r.out, failure(r.place, verdict.PolicyError, "the objects cannot be judged together: "+err.Error()))
		case n > 0:
			if inventory != nil {
				items = append(items, [2]*ast.Term{ast.InternedTerm(inventoryKey), inventory.term()})
			}
			r.evaluateSet(set, set.plans[""], items)
		}
	}
}

// subjects reads the headers of what is not deleted.
func (r *run) subjects(ins []Input) ([]*subject, error) {
	if len(ins) > maxTogether {
		return nil, errors.New(tooMany("objects", len(ins), maxTogether))
	}
	bytes := 0
	var out []*subject
	for _, in := range ins {
		if bytes += len(in.Object); bytes > maxTogetherBytes {
			return nil, errors.New(tooMany("bytes", bytes, maxTogetherBytes))
		}
		if in.Operation == Delete {
			continue
		}
		s, err := newSubject(in, r.engine.opts, r.engine.intern)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", clip(in.ObjectID, 300), err)
		}
		out = append(out, s)
	}
	return out, nil
}

// combined is the input of a set that combines, [{path, contents}], and of how many
// objects.
func (r *run) combined(set *set, subjects []*subject) (items [][2]*ast.Term, n int, err error) {
	keep := set.reads.key("object").element().key("contents")
	if keep == nil {
		keep = &readPaths{}
	}
	var list []*ast.Term
	for _, s := range subjects {
		if err := r.ctx.Err(); err != nil {
			return nil, 0, errors.New("the time was up before they were read")
		}
		if yes, _ := set.selects(s); !yes {
			continue
		}
		d := decoder{src: s.object, intern: r.engine.intern, secret: s.anySecret()}
		t, err := d.decodeObject(keep)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", s.ObjectID, err)
		}
		list = append(list, objectTerm("path", ast.StringTerm(s.File), "contents", t))
	}
	return [][2]*ast.Term{{ast.InternedTerm("object"), ast.ArrayTerm(list...)}}, len(list), nil
}

// alone says that a set that combines was not shown the other objects.
func (r *run) alone(set *set) {
	c := collector{run: r, set: set}
	c.unknownPart(nil, "the set judges all objects together, and here is only one of them")
	r.out = append(r.out, c.findings...)
}
