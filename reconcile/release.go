package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/apply"
	"gitgate.dev/gitgate/reconcile/source"
)

// A clusterStage is the last stage of the gate of one GitSync. The plan of the
// attempt is handed to it before the gate runs.
type clusterStage struct {
	applier *apply.Applier
	plan    *apply.Plan
	// await waits for those who hold writes to what Git says.
	await func(ctx context.Context, revision string) error
}

// DryRun implements [gate.DryRunner].
func (c *clusterStage) DryRun(ctx context.Context, candidate *gate.Candidate) []verdict.Finding {
	if err := c.await(ctx, candidate.Revision()); err != nil {
		return []verdict.Finding{{Reason: verdict.NotReady, Severity: verdict.Undetermined,
			Message: fmt.Sprintf("the replicas of the webhook could not be waited for: %v", err)}}
	}
	c.plan.Objects = candidate.Objects()
	return c.applier.DryRun(ctx, c.plan)
}

// Deletions implements [gate.DryRunner].
func (c *clusterStage) Deletions(ctx context.Context, keep []gate.Object) ([]gate.Object, error) {
	plan := *c.plan
	plan.Objects = keep
	deletions, err := c.applier.Deletions(ctx, &plan)
	if err != nil {
		return nil, err
	}
	out := make([]gate.Object, len(deletions))
	for i, d := range deletions {
		out[i] = gate.Object{Unstructured: d.Object}
	}
	return out, nil
}

// plan is everything about the coming release but its objects.
func (a *attempt) plan(in Inputs, revision string) (*apply.Plan, error) {
	identity := apply.Ourselves()
	if name := a.sync.Spec.ServiceAccountName; name != "" {
		var err error
		if identity, err = apply.ServiceAccount(a.sync.Namespace, name); err != nil {
			return nil, specErrorf(verdict.ScopeViolation, "spec.serviceAccountName: %v", err)
		}
	} else if in.Confine != "" {
		return nil, specErrorf(verdict.ScopeViolation, "spec.serviceAccountName is required outside of gitgate's own namespace")
	}
	p := PlanOf(in, revision)
	p.Identity, p.Record = identity, a.recordInventory
	return p, nil
}

// PlanOf is everything about the application of a revision but its objects, as whom
// it is made and where it is recorded.
func PlanOf(in Inputs, revision string) *apply.Plan {
	sync := in.Sync
	p := &apply.Plan{
		Owner: apply.Owner{Namespace: sync.Namespace, Name: sync.Name}, Revision: revision,
		Confine: in.Confine, Namespace: sync.Spec.TargetNamespace,
		Previous: inventory(sync), Prune: sync.PruneEnabled(), Force: sync.Spec.Force,
	}
	for _, i := range sync.Spec.Ignore {
		rule := apply.IgnoreRule{Paths: i.Paths}
		if t := i.Target; t != nil {
			rule.Target = apply.Selector{Group: t.Group, Kind: t.Kind, Namespace: t.Namespace, Name: t.Name, LabelSelector: t.LabelSelector}
		}
		p.Ignore = append(p.Ignore, rule)
	}
	p.Ignore = append(p.Ignore, delegated(sync)...)
	for _, h := range sync.Spec.HealthCheckExprs {
		p.Health = append(p.Health, apply.HealthExpr(h))
	}
	return p
}

// delegated are the fields that the lock leaves to one writer, who is not the
// reconciler: it would be refused to put them back.
func delegated(sync *v1alpha1.GitSync) []apply.IgnoreRule {
	if sync.LockMode() == v1alpha1.ModeOff {
		return nil
	}
	var out []apply.IgnoreRule
	for _, d := range sync.Spec.Lock.Delegations {
		rule := apply.IgnoreRule{Paths: d.Paths, Undeclared: true}
		if t := d.Target; t != nil {
			rule.Target = apply.Selector{Group: t.Group, Kind: t.Kind, Namespace: t.Namespace, Name: t.Name}
		}
		out = append(out, rule)
	}
	return out
}

func inventory(sync *v1alpha1.GitSync) apply.Inventory {
	if sync.Status.Inventory == nil {
		return nil
	}
	out := make(apply.Inventory, 0, sync.Status.Inventory.Len())
	for e := range sync.Status.Inventory.Objects() {
		out = append(out, apply.Entry{ID: e.ID, V: e.Version})
	}
	slices.SortFunc(out, func(a, b apply.Entry) int { return strings.Compare(a.ID, b.ID) }) // as all else has it
	return out
}

func (a *attempt) setInventory(inv apply.Inventory) {
	objects := make([]v1alpha1.InventoryEntry, len(inv))
	for i, e := range inv {
		objects[i] = v1alpha1.InventoryEntry{ID: e.ID, Version: e.V}
	}
	a.sync.Status.Inventory = v1alpha1.NewInventory(objects)
}

// recordInventory puts on record what may exist from now on, before the first
// write: a process that dies after it orphans nothing.
func (a *attempt) recordInventory(ctx context.Context, inv apply.Inventory) error {
	a.setInventory(inv)
	setConditions(a.sync, condition{v1alpha1.ConditionReconciling, metav1.ConditionTrue, v1alpha1.ReasonProgressing, "applying " + a.sync.Status.LastAttemptedRevision})
	return a.patchStatus(ctx) // also when the GitSync is gone: then nothing may be written
}

// apply writes an admitted release. The cluster lock keeps drift corrections to
// the former release away from it.
func (a *attempt) apply(ctx context.Context, release *gate.Release, got *source.Result, fingerprint string) outcome {
	s := a.session
	s.stopHealth()
	ctx, cancel := context.WithTimeout(ctx, a.sync.TimeoutOrDefault())
	defer cancel()

	s.applied = plumbing.ZeroHash // until it is applied as a whole, nothing is
	applied := release.Applied()
	result, findings := a.write(ctx, release, applied)
	a.setInventory(result.Inventory)
	if blocking := blocking(findings); len(blocking) > 0 {
		return failed(string(blocking[0].Reason), "revision %s could not be applied as a whole: %s", release.Revision(), summary(blocking))
	}
	if err := s.repo.SetApplied(s.owner.String(), got.Head); err != nil {
		return failed(v1alpha1.ReasonReconciliationFailed, "revision %s is applied but could not be remembered: %v", release.Revision(), err)
	}
	s.applied, s.appliedW, s.declared = got.Head, fingerprint, applied.Declared()
	s.excepted = exceptionsOf(s.declared, a.started)
	info := release.Commit()
	a.sync.Status.LastAppliedRevision = release.Revision()
	record(a.sync, v1alpha1.Snapshot{
		Revision: release.Revision(), Objects: len(applied.Declared()),
		Author: info.Author.String(), Signer: strings.Join(info.Signers, ", "),
	}, time.Now())
	a.log(ctx).Info("Revision applied", "revision", release.Revision(), "written", len(result.Outcomes), "unchanged", result.Unchanged, "seconds", result.Elapsed.Seconds())
	if !a.sync.Spec.Wait {
		removeConditions(a.sync, v1alpha1.ConditionHealthy)
		return a.succeeded()
	}
	a.watchHealth(applied)
	return a.awaiting()
}

// write applies just what the gate let pass, and has drift corrected to it.
func (a *attempt) write(ctx context.Context, release *gate.Release, applied *gate.Applied) (apply.Result, []verdict.Finding) {
	s := a.session
	s.cluster.Lock()
	defer s.cluster.Unlock()
	plan := s.stage.plan
	plan.Objects = release.Objects()
	g := s.gate
	s.live = &liveRelease{reopen: func(ctx context.Context, want func(gate.Object) bool) ([]gate.Object, []verdict.Finding) {
		return g.Reopen(ctx, applied, want)
	}}
	return a.Applier.Apply(ctx, plan)
}

func blocking(findings []verdict.Finding) []verdict.Finding {
	var out []verdict.Finding
	for _, f := range findings {
		if f.Severity.Blocks() {
			out = append(out, f)
		}
	}
	verdict.Sort(out)
	return out
}

func summary(findings []verdict.Finding) string {
	if len(findings) == 1 {
		return findings[0].String()
	}
	return fmt.Sprintf("%s (and %d more)", findings[0], len(findings)-1)
}
