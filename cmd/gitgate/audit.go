package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/webhook"
	"gitgate.dev/gitgate/webhook/audit"
	"gitgate.dev/gitgate/webhook/lock"
)

const (
	// auditManager owns what is told of strays in the status of GitSyncs.
	auditManager = "gitgate-audit"
	// Bounds of what a status tells.
	maxStrayObjects = 10
	maxUnseenKinds  = 20
	maxStrayText    = 512 // bytes
	// maxStrayEvents bounds the events on one GitSync in a minute; the decision log has
	// every stray.
	maxStrayEvents = 120
)

// audit makes what looks for strays in closed namespaces, in one of the replicas.
func (w *webhookParts) audit(config *rest.Config, content *lock.Lock) (*audit.Leader, error) {
	kinds, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	w.auditor, err = audit.New(audit.Config{
		Discovery: kinds, Objects: objects, Metadata: meta, Explainer: content, Closed: w.inventory.Closed, Ready: w.ready,
		Held: func(gr schema.GroupResource, namespace, name string) (time.Time, bool) {
			_, until, held := w.book.Held(gr, namespace, name, false)
			return until, held
		},
		Stale: func(ctx context.Context) ([]types.NamespacedName, error) { return staleStrays(ctx, w.mgr.GetClient()) },
		Reporter: &strayReporter{
			client: w.mgr.GetClient(), decisions: w.decisions, told: map[types.NamespacedName]string{},
			events: strayEvents{recorder: w.mgr.GetEventRecorder("gitgate-audit"), count: map[types.NamespacedName]int{}},
		},
		Metrics: audit.NewMetrics(metrics.Registry),
	})
	if err != nil {
		return nil, err
	}
	// The name of a replica may be that of another process on this host.
	identity := fmt.Sprintf("%s_%s", w.options.replicaName(), strconv.FormatInt(time.Now().UnixNano(), 36))
	run := w.auditor.Run
	if w.options.policyReports {
		if w.scanner, err = newScanner(config, w.auditLog()); err != nil {
			return nil, err
		}
		w.images.exceptions.changed = func() { w.scanner.SetExceptions(w.images.exceptions.exemptions()) }
		run = both(w.auditor.Run, w.scanner.Run)
	}
	return &audit.Leader{Client: w.kube.CoordinationV1(), Namespace: w.options.namespace, Identity: identity, Run: run}, nil
}

// both runs two until the context ends. When one fails, so does the other.
func both(runs ...func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		for _, run := range runs {
			group.Go(func() error { return run(ctx) })
		}
		return group.Wait()
	}
}

// scanWith has what is there judged by the sets that judge at admission.
func (w *webhookParts) scanWith(ctx context.Context, sets []reconcile.PolicyInput) error {
	if w.scanner == nil {
		return nil
	}
	judges, err := w.gates.auditSets(ctx, sets, &w.images.exceptions)
	if err == nil {
		w.scanner.SetPolicies(judges)
	}
	return err
}

// staleStrays are the GitSyncs whose status tells of strays although they close nothing.
func staleStrays(ctx context.Context, c client.Reader) ([]types.NamespacedName, error) {
	var all v1alpha1.GitSyncList
	if err := c.List(ctx, &all); err != nil {
		return nil, err
	}
	var out []types.NamespacedName
	for i := range all.Items {
		s := &all.Items[i]
		told := s.Status.Lock != nil && s.Status.Lock.Strays != nil
		if told && (s.LockMode() == v1alpha1.ModeOff || len(s.Spec.Lock.Namespaces) == 0) {
			out = append(out, client.ObjectKeyFromObject(s))
		}
	}
	return out, nil
}

// A strayReporter tells of strays in the decision log, in events and in the status of
// GitSyncs. It implements [audit.Reporter].
type strayReporter struct {
	client    client.Client
	decisions *webhook.DecisionLog
	events    strayEvents
	told      map[types.NamespacedName]string // what the status was told last
}

// Found implements [audit.Reporter].
func (r *strayReporter) Found(sync types.NamespacedName, s audit.Stray) {
	r.decisions.Add(strayDecision(sync, s, "FOUND"))
	r.events.tell(sync, s, "StrayFound", corev1.EventTypeWarning, fmt.Sprintf("%s: %s: put it into Git, delegate it, or delete it by a break-glass grant", s, s.Why))
}

// Gone implements [audit.Reporter].
func (r *strayReporter) Gone(sync types.NamespacedName, s audit.Stray) {
	d := strayDecision(sync, s, "GONE")
	d.Allowed, d.Reason, d.Message = true, "", ""
	r.decisions.Add(d)
	r.events.tell(sync, s, "StrayGone", corev1.EventTypeNormal, fmt.Sprintf("%s was deleted, or Git explains it now", s))
}

// strayDecision is a stray in the decision log. Nobody asked: there is no user.
func strayDecision(sync types.NamespacedName, s audit.Stray, operation string) webhook.Decision {
	return webhook.Decision{
		Time: time.Now().UTC(), Door: auditDoor, GitSync: sync.String(), UID: string(s.UID), Operation: operation,
		APIVersion: s.Kind.GroupVersion().String(), Kind: s.Kind.Kind, Resource: s.Resource.String(), Namespace: s.Namespace, Name: s.Name,
		Reason: s.Reason, Message: s.Why, Matched: lock.MatchedClosed,
		Findings: []verdict.Finding{{Stage: verdict.StageAdmission, Reason: s.Reason, Severity: verdict.Warn, Object: s.String(), Message: s.Why}},
	}
}

// Report implements [audit.Reporter]: it writes the status when it differs.
func (r *strayReporter) Report(ctx context.Context, report audit.Report) error {
	strays := map[string]any{}
	if report.Closes {
		strays = strayStatus(report)
	}
	u := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"name": report.Sync.Name, "namespace": report.Sync.Namespace},
	}}
	if report.Closes {
		u.Object["status"] = map[string]any{"lock": map[string]any{"strays": strays}}
	}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("GitSync"))
	var there v1alpha1.GitSync
	switch err := r.client.Get(ctx, report.Sync, &there); {
	case apierrors.IsNotFound(err): // an apply would make it
		delete(r.told, report.Sync)
		return nil
	case err != nil:
		return err
	}
	// Another replica may have written since we did, and what is cached be from before.
	told := fmt.Sprint(strays)
	if r.told[report.Sync] == told && tells(&there, report) {
		return nil
	}
	u.SetUID(there.UID) // not another one of that name
	if err := r.client.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(auditManager), client.ForceOwnership); err != nil {
		return client.IgnoreNotFound(err)
	}
	if r.told[report.Sync] = told; !report.Closes {
		delete(r.told, report.Sync)
	}
	return nil
}

// tells reports whether the status tells what a report says.
func tells(sync *v1alpha1.GitSync, report audit.Report) bool {
	var is *v1alpha1.StrayStatus
	if sync.Status.Lock != nil {
		is = sync.Status.Lock.Strays
	}
	if is == nil || !report.Closes {
		return is == nil && !report.Closes
	}
	var want v1alpha1.StrayStatus
	err := runtime.DefaultUnstructuredConverter.FromUnstructured(strayStatus(report), &want)
	return err == nil && equality.Semantic.DeepEqual(is, &want)
}

// strayStatus is a report as the status has it.
func strayStatus(report audit.Report) map[string]any {
	out := map[string]any{"total": int64(len(report.Strays))}
	var objects, unseen []any
	for _, s := range report.Strays[:min(len(report.Strays), maxStrayObjects)] {
		objects = append(objects, map[string]any{
			"object": plain(s.String()), "reason": string(s.Reason), "message": plain(s.Why),
		})
	}
	for i, kind := range report.Unseen {
		if i == maxUnseenKinds {
			unseen = append(unseen, fmt.Sprintf("and %d more", len(report.Unseen)-i))
			break
		}
		unseen = append(unseen, plain(kind))
	}
	if objects != nil {
		out["objects"] = objects
	}
	if unseen != nil {
		out["unseen"] = unseen
	}
	return out
}

// strayEvents tells on GitSyncs, up to a number a minute.
type strayEvents struct {
	recorder events.EventRecorder
	window   time.Time
	count    map[types.NamespacedName]int
}

func (e *strayEvents) tell(sync types.NamespacedName, s audit.Stray, reason, eventType, note string) {
	if now := time.Now(); now.Sub(e.window) >= time.Minute {
		e.window = now
		clear(e.count)
	}
	if e.count[sync]++; e.count[sync] > maxStrayEvents {
		return
	}
	on := &corev1.ObjectReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "GitSync", Namespace: sync.Namespace, Name: sync.Name}
	// With the same related object, or none, one would be taken for a repetition of another.
	related := &corev1.ObjectReference{
		APIVersion: s.Kind.GroupVersion().String(), Kind: s.Kind.Kind, Namespace: plain(s.Namespace), Name: plain(s.Name), UID: types.UID(plain(string(s.UID))),
	}
	e.recorder.Eventf(on, related, eventType, reason, "Audit", "%s", plain(note))
}

// plain bounds a text that may hold a name of whoever writes into etcd, where nobody
// looks at names.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) <= maxStrayText {
		return s
	}
	return strings.ToValidUTF8(s[:maxStrayText-len("…")], "") + "…"
}
