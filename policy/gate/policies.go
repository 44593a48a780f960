package gate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/verify/image"
)

// The operations that rules see.
const (
	OperationCreate = "CREATE"
	OperationUpdate = "UPDATE"
	OperationDelete = "DELETE"
)

// policies judges every object. What is as it was in the last release was judged
// with the commit that brought it; so was everything when the rules read nothing
// but the object.
func (a *admission) policies(ctx context.Context) bool {
	a.begin(verdict.StagePolicy)
	if err := a.readChanged(); err != nil {
		return a.end(verdict.Finding{
			Reason: verdict.SourceUnavailable, Severity: verdict.Undetermined,
			Message: fmt.Sprintf("the changed paths cannot be read: %v", err),
		})
	}
	together, err := a.meetNeighbours()
	if err != nil {
		return a.end(verdict.Finding{
			Reason: verdict.PolicyError, Severity: verdict.Deny,
			Message: fmt.Sprintf("the rules cannot be shown the other objects: %v", err),
		})
	}
	previous := make(map[string]*unstructured.Unstructured, len(a.req.Previous))
	for _, o := range a.req.Previous {
		previous[o.key()] = o.Unstructured
	}
	var mu sync.Mutex
	var findings []verdict.Finding
	var group errgroup.Group // its goroutines never fail
	group.SetLimit(a.gate.cfg.Parallel)
	for i, j := range a.judged {
		object := a.objects[i]
		old := previous[object.key()]
		if together == nil && a.req.JudgedBefore && old == j.rendered.Unstructured {
			continue
		}
		if together == nil && j.policyJudged && (old == object.Unstructured || !a.gate.cfg.Policies.ReadsContext()) {
			mu.Lock()
			findings = append(findings, j.policy...)
			mu.Unlock()
			continue
		}
		group.Go(func() error {
			j.policy = a.judge(ctx, j, object, old)
			// What could not be decided is asked again; what rests on an object
			// whose images are not proven is not the final object.
			j.policyJudged = j.pinned != nil && !slices.ContainsFunc(j.policy, func(f verdict.Finding) bool {
				return f.Severity == verdict.Undetermined || f.Reason == verdict.PolicyTimeout
			})
			mu.Lock()
			defer mu.Unlock()
			findings = append(findings, j.policy...)
			return nil
		})
	}
	_ = group.Wait() // the goroutines report through findings
	if together != nil {
		findings = append(findings, together.Together(ctx)...)
	}
	return a.end(findings...)
}

// ReadsNeighbours reports whether a rule may look at other objects than the one that it
// judges. Then nothing can be said of a part of a release.
func (g *Gate) ReadsNeighbours() bool {
	among, ok := g.cfg.Policies.(NeighbourEvaluator)
	return ok && among.ReadsNeighbours()
}

// meetNeighbours hands the objects of the release to rules that look at others than
// the one that they judge; it returns nil when there are none. What such rules said of
// an object before they say again, for its neighbours may have changed.
func (a *admission) meetNeighbours() (TogetherEvaluator, error) {
	a.rules = a.gate.cfg.Policies
	among, ok := a.rules.(NeighbourEvaluator)
	if !ok || !among.ReadsNeighbours() {
		return nil, nil
	}
	objects := make([]PolicyInput, len(a.objects))
	for i, o := range a.objects {
		raw, err := a.policyJSON(o.Unstructured)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.ID(), err)
		}
		objects[i] = PolicyInput{Operation: OperationCreate, Object: raw, ID: o.ID(), Source: o.Source,
			Namespace: o.GetNamespace(), ClusterScoped: o.GetNamespace() == ""}
	}
	together, err := among.Among(objects)
	if err != nil {
		return nil, err
	}
	a.rules = together
	return together, nil
}

// readChanged lists the changed paths for rules that may ask for them.
func (a *admission) readChanged() (err error) {
	if a.proven != nil && a.gate.cfg.Policies.ReadsContext() {
		a.changed, err = a.proven.Changed()
	}
	return err
}

func (a *admission) judge(ctx context.Context, j *judged, object Object, old *unstructured.Unstructured) []verdict.Finding {
	in := PolicyInput{Operation: OperationCreate}
	if j.pinned != nil {
		in.Images = append([]image.Evidence{}, j.evidence...)
	}
	if old != nil {
		in.Operation = OperationUpdate
	}
	return a.evaluate(ctx, object, in, object.Unstructured, old)
}

func (a *admission) judgeDeletion(ctx context.Context, object Object) []verdict.Finding {
	return a.evaluate(ctx, object, PolicyInput{Operation: OperationDelete}, nil, object.Unstructured)
}

// evaluate completes the input and asks the rules. A panic is a finding.
func (a *admission) evaluate(ctx context.Context, at Object, in PolicyInput, object, old *unstructured.Unstructured) (fs []verdict.Finding) {
	fail := func(what string) []verdict.Finding {
		return []verdict.Finding{at.finding(verdict.Finding{
			Stage: verdict.StagePolicy, Reason: verdict.PolicyError, Severity: verdict.Deny,
			Message: "the object could not be judged: " + what,
		})}
	}
	defer func() {
		if p := recover(); p != nil {
			fs = fail(fmt.Sprintf("internal error (%s)", panicSite(p)))
		}
	}()
	var err error
	if in.Object, err = a.policyJSON(object); err != nil {
		return fail(err.Error())
	}
	if old != nil && old == object {
		in.OldObject = in.Object
	} else if in.OldObject, err = a.policyJSON(old); err != nil {
		return fail(err.Error())
	}
	in.ID, in.Source, in.Namespace, in.ClusterScoped = at.ID(), at.Source, at.GetNamespace(), at.GetNamespace() == ""
	in.Commit, in.Paths, in.Time = a.commit(), a.changed, a.now
	rules := a.rules
	if rules == nil { // nothing was judged before
		rules = a.gate.cfg.Policies
	}
	return rules.Evaluate(ctx, in)
}

// policyJSON is the object as rules see it: structure, never secret values.
func (a *admission) policyJSON(u *unstructured.Unstructured) ([]byte, error) {
	if u == nil {
		return nil, nil
	}
	content := u.Object
	if _, sops := content["sops"]; sops || isSecret(u) {
		content = a.gate.cfg.Secrets.Masked(content)
	}
	return json.Marshal(content)
}
