package webhook

import (
	"strings"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"

	"gitgate.dev/gitgate/webhook/lock"
)

const (
	// eventsPerMinute bounds the events of this process.
	eventsPerMinute = 120
	// sameEvent is for how long the same thing is told once.
	sameEvent = time.Minute
	// maxRemembered bounds what is remembered of what was told.
	maxRemembered = 4096
	// maxNote is what the events API allows.
	maxNote = 1000
)

// Events tells, at the GitSync whose word decided, who tried what: writes that
// pass in Audit mode only, denials, and used break-glass grants. The same is told
// once a minute, and no more than 120 things a minute in all; the decision log
// has every one.
type Events struct {
	recorder events.EventRecorder
	// system is where events go that are no GitSync's.
	system string
	now    func() time.Time

	mu     sync.Mutex
	told   map[string]time.Time
	window time.Time
	count  int
}

// NewEvents returns events that go through r; namespace is gitgate's own.
func NewEvents(r events.EventRecorder, namespace string) *Events {
	return &Events{recorder: r, system: namespace, now: time.Now, told: map[string]time.Time{}}
}

// decided tells of a decision, if it is worth it. A nil Events tells nothing.
func (e *Events) decided(req *admissionv1.AdmissionRequest, a lock.Answer) {
	if e == nil || a.Pending {
		return
	}
	var reason, eventType string
	switch {
	case a.Grant != "":
		reason, eventType = "BreakGlassUsed", corev1.EventTypeWarning
	case outcome(a) == "audited":
		reason, eventType = "WouldDeny", corev1.EventTypeWarning
	case !a.Allowed && a.Sync.Name != "":
		reason, eventType = "Denied", corev1.EventTypeWarning
	default:
		return
	}
	what := describe(req)
	if !e.due(strings.Join([]string{reason, req.UserInfo.Username, what, string(a.Reason)}, "\x00")) {
		return
	}
	note := req.UserInfo.Username + ": " + what
	switch {
	case a.Grant != "":
		note += ", by break-glass grant " + a.Grant
	case a.Message != "":
		note += ": " + a.Message
	case len(a.Findings) > 0:
		note += ": " + a.Findings[0].Message
	}
	e.recorder.Eventf(e.regarding(a), nil, eventType, reason, action(req), "%s", clip(note, maxNote))
}

func (e *Events) regarding(a lock.Answer) *corev1.ObjectReference {
	if a.Sync.Name == "" {
		return &corev1.ObjectReference{APIVersion: "v1", Kind: "Namespace", Name: e.system, Namespace: e.system}
	}
	return &corev1.ObjectReference{APIVersion: "gitgate.dev/v1alpha1", Kind: "GitSync", Namespace: a.Sync.Namespace, Name: a.Sync.Name}
}

// due reports whether key may be told now, and remembers that it was.
func (e *Events) due(key string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	if last, ok := e.told[key]; ok && now.Sub(last) < sameEvent {
		return false
	}
	if now.Sub(e.window) >= time.Minute {
		e.window, e.count = now, 0
	}
	if e.count >= eventsPerMinute {
		return false
	}
	e.count++
	if len(e.told) >= maxRemembered {
		clear(e.told)
	}
	e.told[key] = now
	return true
}

// describe says what was asked for, without content.
func describe(req *admissionv1.AdmissionRequest) string {
	resource := req.Resource.Resource
	if req.SubResource != "" {
		resource += "/" + req.SubResource
	}
	if req.Resource.Group != "" {
		resource += "." + req.Resource.Group
	}
	name := req.Name
	if req.Namespace != "" {
		name = req.Namespace + "/" + name
	}
	return strings.ToLower(string(req.Operation)) + " " + resource + " " + name
}

// action is what the events API calls what was done: UPDATE becomes Update.
func action(req *admissionv1.AdmissionRequest) string {
	op := string(req.Operation)
	return op[:1] + strings.ToLower(op[1:])
}

// clip bounds s to n bytes of valid UTF-8.
func clip(s string, n int) string {
	if len(s) <= n {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(s[:n], "")
}
