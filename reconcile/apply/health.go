package apply

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/policy/verdict"
)

// A healthState says how an object does.
type healthState int

const (
	unseen healthState = iota
	healthy
	progressing
	failed // for good: waiting does not help
	missing
)

// A health is the state of an object and the reason for it.
type health struct {
	state   healthState
	message string
}

// health tells how a live object does. A nil receiver knows the kinds that
// kstatus knows.
func (h *healthRules) health(obj map[string]any) health {
	if known, ok := h.evaluate(obj); ok {
		return known
	}
	if obj["kind"] == "Job" && obj["apiVersion"] == "batch/v1" {
		return jobHealth(obj)
	}
	result, err := status.Compute(&unstructured.Unstructured{Object: obj})
	if err != nil {
		return health{progressing, "its status cannot be read: " + err.Error()}
	}
	switch result.Status {
	case status.CurrentStatus:
		return health{state: healthy}
	case status.FailedStatus:
		return health{failed, result.Message}
	}
	return health{progressing, result.Message}
}

// jobHealth differs from kstatus, for which a Job that has started is current: what
// waits for a release waits for its migrations.
func jobHealth(obj map[string]any) health {
	h := health{progressing, "the Job has not finished"}
	if suspended, _ := lookup(obj, []string{"spec", "suspend"}); suspended == true {
		h = health{state: healthy}
	}
	conditions(obj, func(kind, status, text string) {
		switch {
		case status != "True":
		case kind == "Complete":
			h = health{state: healthy}
		case kind == "Failed", kind == "FailureTarget": // the latter comes before its Pods are gone
			h = health{failed, text}
		}
	})
	return h
}

// A bell tells waiters that some health changed.
type bell struct {
	mu sync.Mutex
	ch chan struct{}
}

func (b *bell) listen() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *bell) announce() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// waitPause bounds how often Wait looks at all objects while many change.
const waitPause = 20 * time.Millisecond

// Wait returns when every object of the plan is healthy, one has failed for good,
// or ctx is done. It returns a finding for each object that is not healthy. It
// makes no request, and needs Run.
func (a *Applier) Wait(ctx context.Context, p *Plan) []verdict.Finding {
	for {
		changed := a.health.listen()
		found, over := a.unhealthy(p)
		if len(found) == 0 || over {
			return sortFindings(found)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return sortFindings(found)
		}
		select {
		case <-time.After(waitPause):
		case <-ctx.Done():
		}
	}
}

// Health returns a finding for each object of an owner that is not healthy as far
// as is known, without waiting.
func (a *Applier) Health(o Owner) []verdict.Finding {
	var found []verdict.Finding
	for _, r := range a.store.of(o) {
		if f, _, ok := r.unhealthy(); ok {
			found = append(found, f)
		}
	}
	return sortFindings(found)
}

// reconsider gives an unchanged object the expressions of the plan, and if they are
// others than before looks at it by them.
func (a *Applier) reconsider(ctx context.Context, r *record, rules *healthRules) {
	r.mu.Lock()
	gvk := r.res.GroupVersionKind
	same := r.rules.source(gvk) == rules.source(gvk)
	r.rules = rules
	r.mu.Unlock()
	if !same {
		a.recheck(ctx, r)
	}
}

// unhealthy lists the objects of a plan that are not healthy. over means that
// waiting does not help.
func (a *Applier) unhealthy(p *Plan) (found []verdict.Finding, over bool) {
	for _, o := range p.Objects {
		if o.Unstructured == nil {
			continue
		}
		gvk := o.GroupVersionKind()
		k := key{group: gvk.Group, kind: gvk.Kind, namespace: o.GetNamespace(), name: o.GetName()}
		r := a.store.get(k)
		if r == nil && k.namespace == "" {
			k.namespace = p.namespace()
			r = a.store.get(k)
		}
		if r == nil || r.owner != p.Owner {
			f := newSubject(p, o).finding(verdict.HealthCheckFailed, "it was not applied")
			found, over = append(found, f), true
			continue
		}
		if f, final, ok := r.unhealthy(); ok {
			found, over = append(found, f), over || final
		}
	}
	return found, over
}

// unhealthy returns a finding if the object is not healthy, and whether that is
// final.
func (r *record) unhealthy() (f verdict.Finding, final, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.health.state == healthy {
		return verdict.Finding{}, false, false
	}
	s := subject{object: r.object, source: r.source, secret: r.secret(), as: r.identity}
	word := map[healthState]string{unseen: "not seen yet", progressing: "not ready", failed: "failed", missing: "missing"}[r.health.state]
	text := word
	if r.health.message != "" {
		text = fmt.Sprintf("%s: %s", word, r.health.message)
	}
	return s.finding(verdict.HealthCheckFailed, "%s", text), r.health.state == failed, true
}
