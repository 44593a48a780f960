package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/report"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/apply"
	"gitgate.dev/gitgate/secrets"
)

// A liveCluster is what diff --live compares with.
type liveCluster struct {
	applier *apply.Applier
	objects client.Reader
	keys    *secrets.Keys
}

func (o *diffOptions) liveFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.live, "live", false, "compare with the live objects of the cluster that --kubeconfig and --context lead to")
	f.StringArrayVar(&o.keys, "keys", nil, "`FILE` with age identities or armored OpenPGP private keys, to compare encrypted Secrets with --live; may be repeated")
	f.StringVar(&o.dryRunAccount, "dry-run-service-account", "", "with --live, `ServiceAccount` of gitgate's namespace to make the dry runs as, where the webhook refuses yours")
	_ = cmd.MarkFlagFilename("keys", "agekey", "txt", "asc") // it exists
}

// liveCluster returns what to compare with, and nil without --live.
func (o *diffOptions) liveCluster() (*liveCluster, error) {
	if !o.live {
		return nil, nil
	}
	d := doctorOptions{kubeconfig: o.kubeconfig, context: o.rangeOptions.context}
	config, err := d.restConfig()
	if err != nil {
		return nil, fmt.Errorf("--live: %w", err)
	}
	var dryRunner apply.Identity
	if o.dryRunAccount != "" {
		if dryRunner, err = apply.ServiceAccount(o.namespace, o.dryRunAccount); err != nil {
			return nil, fmt.Errorf("--dry-run-service-account: %w", err)
		}
	}
	out := &liveCluster{}
	if out.applier, err = apply.New(apply.Config{REST: config, DryRunner: dryRunner, ResyncPerMinute: -1}); err != nil {
		return nil, fmt.Errorf("--live: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if out.objects, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return nil, fmt.Errorf("--live: %w", err)
	}
	out.keys, err = checkKeys(o.keys)
	return out, err
}

// compare holds the live objects to what applying the head would make of them.
// Nothing is written.
func (l *liveCluster) compare(ctx context.Context, r *checkedRange, renderer gate.Renderer, in reconcile.Inputs) ([]pair, []verdict.Finding) {
	objects, found := renderer.Render(ctx, r.files)
	if bad := blockingFindings(found, verdict.StageRender); len(bad) > 0 {
		return nil, bad
	}
	in, bad := l.status(ctx, in)
	plan := reconcile.PlanOf(in, r.revision(in.Sync.Spec.Ref.Branch))
	plan.Identity = apply.Ourselves()
	closed := map[string]bool{} // what is in force or not cannot be told of these
	for _, o := range objects {
		opened, why := l.opened(ctx, o, in)
		if why != nil {
			bad, closed[o.ID()] = append(bad, *why), true
			continue
		}
		plan.Objects = append(plan.Objects, opened)
	}
	if len(plan.Objects) == 0 {
		return nil, append(bad, verdict.Finding{Stage: verdict.StageRender, Reason: verdict.EmptyRelease, Severity: verdict.Deny, Message: "there is no object to compare"})
	}
	compared, found := l.applier.Compare(ctx, plan)
	bad = append(bad, blockingFindings(found, verdict.StageApply)...)
	var out []pair
	for _, c := range compared {
		if p, differs := livePair(c, in.Trust.Spec.Images.Digest); differs {
			out = append(out, p)
		}
	}
	pruned, why := l.pruned(ctx, plan, closed)
	return append(out, pruned...), append(bad, why...)
}

func blockingFindings(found []verdict.Finding, stage verdict.Stage) (out []verdict.Finding) {
	for _, f := range found {
		if f.Severity.Blocks() {
			f.Stage = stage
			out = append(out, f)
		}
	}
	return out
}

// status takes the inventory from the GitSync in the cluster, wherever its spec is
// from. One that is not there has applied nothing.
func (l *liveCluster) status(ctx context.Context, in reconcile.Inputs) (reconcile.Inputs, []verdict.Finding) {
	var live v1alpha1.GitSync
	in.Sync = in.Sync.DeepCopy()
	err := l.objects.Get(ctx, client.ObjectKeyFromObject(in.Sync), &live)
	switch {
	case err == nil:
		in.Sync.Status = live.Status
	case apierrors.IsNotFound(err):
		in.Sync.Status = v1alpha1.GitSyncStatus{}
	default:
		in.Sync.Spec.Prune = new(bool)
		return in, []verdict.Finding{{
			Stage: verdict.StageApply, Reason: verdict.NotReady, Severity: verdict.Undetermined,
			Message: fmt.Sprintf("the GitSync cannot be read in the cluster, so what would be deleted is not known: %v", err),
		}}
	}
	return in, nil
}

// opened is an object as it would be applied. Its values never leave the process but
// to the API server, masked.
func (l *liveCluster) opened(ctx context.Context, o gate.Object, in reconcile.Inputs) (gate.Object, *verdict.Finding) {
	closed := func(message string) *verdict.Finding {
		return &verdict.Finding{
			Stage: verdict.StageSecret, Reason: verdict.SecretUndecryptable, Severity: verdict.Undetermined,
			Object: o.ID(), File: o.Source.File, Line: o.Source.Line, Message: message,
		}
	}
	if o.Source.Encrypted == nil {
		return o, nil
	}
	if l.keys == nil {
		return o, closed("the file is encrypted and cannot be compared: give --keys")
	}
	opened, err := secretKeeper{l.keys}.Open(ctx, o.Source.File, o.Source.Encrypted)
	if err == nil {
		defer opened.Close()
		var content map[string]any
		if content, err = opened.Apply(o.Source.Document, o.Object); err == nil {
			o.Unstructured, o.Source.Encrypted = &unstructured.Unstructured{Object: content}, nil
			return o, nil
		}
	}
	message := "the file cannot be decrypted" // an unknown error may quote plaintext
	var known *gate.SecretError
	if errors.As(err, &known) {
		message = known.Message
	}
	return o, closed(message)
}

// livePair shows a comparison, if anything differs.
func livePair(c apply.Comparison, digest string) (pair, bool) {
	p := pair{Change: report.Change{Object: c.Object, Action: report.Create, File: c.Source.File, Line: c.Source.Line}}
	if c.Live == nil {
		_, p.After = maskedPair(nil, c.Result)
		return p, true
	}
	if digest != "Required" {
		c.Result, _ = keepDigests(c.Live, c.Result).(map[string]any)
	}
	if c.Same || reflect.DeepEqual(c.Live, c.Result) {
		return p, false
	}
	p.Action = report.Update
	p.Before, p.After = maskedPair(c.Live, c.Result)
	return p, true
}

// keepDigests puts the digest that runs into the place of a tag that it was resolved
// from: which one the tag stands for now is for the gate to find out.
func keepDigests(live, result any) any {
	switch r := result.(type) {
	case string:
		l, ok := live.(string)
		if ok && strings.HasPrefix(l, r+"@sha256:") && !strings.Contains(r, "@") {
			return l
		}
	case map[string]any:
		l, ok := live.(map[string]any)
		if !ok {
			return r
		}
		out := make(map[string]any, len(r))
		for k, v := range r {
			out[k] = keepDigests(l[k], v)
		}
		return out
	case []any:
		l, ok := live.([]any)
		if !ok {
			return r
		}
		out := make([]any, len(r))
		for i, v := range r {
			if out[i] = v; i < len(l) {
				out[i] = keepDigests(l[i], v)
			}
		}
		return out
	}
	return result
}

// pruned are the objects that would be deleted.
func (l *liveCluster) pruned(ctx context.Context, plan *apply.Plan, closed map[string]bool) ([]pair, []verdict.Finding) {
	deletions, err := l.applier.Deletions(ctx, plan)
	var refusal *gate.Refusal
	switch {
	case errors.As(err, &refusal):
		return nil, blockingFindings(refusal.Findings, verdict.StageApply)
	case err != nil:
		return nil, []verdict.Finding{{
			Stage: verdict.StageApply, Reason: verdict.NotReady, Severity: verdict.Undetermined,
			Message: fmt.Sprintf("what would be deleted is not known: %v", err),
		}}
	}
	var out []pair
	for _, d := range deletions {
		id := gate.ObjectID(d.Object)
		if closed[id] {
			continue // the head declares it
		}
		before, _ := maskedPair(d.Object.Object, nil)
		out = append(out, pair{Change: report.Change{Object: id, Action: report.Delete}, Before: before})
	}
	return out, nil
}

// finish prints what was compared, and after it what could not be.
func (o *diffOptions) finish(text *bytes.Buffer, bad []verdict.Finding, differs bool, stdout, stderr io.Writer) error {
	if _, err := stdout.Write(text.Bytes()); err != nil {
		return &exitError{code: exitUndetermined, err: err}
	}
	for _, f := range bad {
		fmt.Fprintln(stderr, report.Printable(f.String()))
	}
	switch {
	case len(bad) > 0:
		return undetermined()
	case differs && o.exit:
		return denied()
	}
	return nil
}
