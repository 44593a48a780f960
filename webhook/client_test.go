package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/webhook"
	"gitgate.dev/gitgate/webhook/lock"
)

// A syncBuffer is a buffer that may be written and read at once.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) decisions(t *testing.T) []webhook.Decision {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []webhook.Decision
	for line := range strings.Lines(s.b.String()) {
		var d webhook.Decision
		must(t, json.Unmarshal([]byte(line), &d))
		out = append(out, d)
	}
	return out
}

// TestAnswers is what a client of the API server sees of each kind of answer.
func TestAnswers(t *testing.T) {
	t.Parallel()
	var out syncBuffer
	log := webhook.NewDecisionLog(&out)
	r := newRig(t, options{
		cluster: cluster.Options{AuditLevel: "Metadata"},
		webhook: func(c *webhook.Config) { c.Decisions = log },
	})
	r.start(log.Start)
	must(t, r.cluster.EnsureNamespace(t.Context(), "team-shop"))
	sync := types.NamespacedName{Namespace: "team-shop", Name: "shop"}
	const message = "ConfigMap default/x: data.k is \"a\" in Git (app/cm.yaml:4), not \"b\": change it in Git"
	answers := map[string]lock.Answer{
		"denied": {Reason: verdict.ContentMismatch, Message: message, Sync: sync, Revision: "main@sha1:abc", Mode: lock.Enforce, Matched: lock.MatchedManaged,
			Findings: []verdict.Finding{{Stage: verdict.StageAdmission, Reason: verdict.ContentMismatch, Severity: verdict.Deny, Message: "differs", Field: "data.k"}}},
		"zero": {},
		"audited": {Allowed: true, Mode: lock.Audit, Reason: verdict.ContentMismatch, Warnings: []string{"would be\nrefused: data.k"}, Sync: sync,
			Findings: []verdict.Finding{{Stage: verdict.StageAdmission, Reason: verdict.ContentMismatch, Severity: verdict.Deny, Message: "would be\nrefused: data.k"}}},
		"granted": {Allowed: true, Grant: "fix-42", Matched: lock.MatchedManaged},
	}
	r.decider.set(forConfigMaps(func(_ context.Context, req *admissionv1.AdmissionRequest) lock.Answer {
		if req.Name == "panic" {
			panic("with a secret")
		}
		return answers[req.Name]
	}))
	create := func(name string) error {
		_, err := r.alice.CoreV1().ConfigMaps("default").Create(t.Context(), configMap(name), metav1.CreateOptions{})
		return err
	}
	t.Run("Denied", func(t *testing.T) {
		err := create("denied")
		status := statusOf(t, err)
		if status.Code != http.StatusForbidden || status.Reason != "ContentMismatch" || !apierrors.IsForbidden(err) {
			t.Errorf("status %d %s, want 403 ContentMismatch that is Forbidden", status.Code, status.Reason)
		}
		if want := `admission webhook "lock.gitgate.dev" denied the request: ` + message; status.Message != want {
			t.Errorf("message = %s\nwant %s", status.Message, want)
		}
		if status.Details == nil || len(status.Details.Causes) != 1 || status.Details.Causes[0].Field != "data.k" {
			t.Errorf("details = %+v, want the field", status.Details)
		}
	})
	for _, name := range []string{"Zero", "Panic"} {
		t.Run(name, func(t *testing.T) {
			status := statusOf(t, create(strings.ToLower(name)))
			if status.Code != http.StatusForbidden || status.Reason != "Internal" || strings.Contains(status.Message, "secret") {
				t.Errorf("status = %+v, want 403 Internal, telling nothing", status)
			}
		})
	}
	t.Run("Audited", func(t *testing.T) {
		var warnings warningCollector
		c := r.cluster.ConfigFor(cluster.Alice)
		c.WarningHandler = &warnings
		_, err := clientFor(t, c).CoreV1().ConfigMaps("default").Create(t.Context(), configMap("audited"), metav1.CreateOptions{})
		must(t, err)
		if got := warnings.all(); len(got) != 1 || got[0] != "would be refused: data.k" {
			t.Errorf("warnings = %q", got)
		}
	})
	t.Run("Granted", func(t *testing.T) { must(t, create("granted")) })
	t.Run("Log", func(t *testing.T) {
		eventually(t, "the decisions on record", func(context.Context) bool { return len(out.decisions(t)) >= 5 })
		byName := map[string]webhook.Decision{}
		for _, d := range out.decisions(t) {
			byName[d.Name] = d
		}
		d := byName["denied"]
		if d.Door != "webhook" || d.User != cluster.Alice || d.Operation != "CREATE" || d.Resource != "configmaps" || d.Namespace != "default" ||
			d.Allowed || d.Reason != verdict.ContentMismatch || d.GitSync != "team-shop/shop" || d.Revision != "main@sha1:abc" || len(d.Findings) != 1 || d.UID == "" {
			t.Errorf("decision = %+v", d)
		}
		if !byName["audited"].Allowed || byName["granted"].Grant != "fix-42" || byName["panic"].Reason != verdict.Internal {
			t.Errorf("decisions = %+v", byName)
		}
	})
	t.Run("Events", func(t *testing.T) {
		for reason, tc := range map[string]struct{ namespace, regarding, note string }{
			"Denied":         {"team-shop", "GitSync", "alice: create configmaps default/denied: " + message},
			"WouldDeny":      {"team-shop", "GitSync", "alice: create configmaps default/audited: would be\nrefused: data.k"},
			"BreakGlassUsed": {system, "Namespace", "alice: create configmaps default/granted, by break-glass grant fix-42"},
		} {
			e := r.event(tc.namespace, reason)
			if e.Regarding.Kind != tc.regarding || e.Note != tc.note || e.Type != "Warning" || e.Action != "Create" {
				t.Errorf("%s: %+v\nwant note %q", reason, e, tc.note)
			}
		}
	})
	t.Run("Audit", func(t *testing.T) {
		eventually(t, "the annotations in the API server's audit log", func(context.Context) bool {
			events, err := r.cluster.AuditEvents()
			must(t, err)
			for _, e := range events {
				if e.Annotations["lock.gitgate.dev/grant"] == "fix-42" && e.Annotations["lock.gitgate.dev/matched"] == "managed" {
					return true
				}
			}
			return false
		})
	})
}

// TestPending shows that clients wait for what is pending by themselves.
func TestPending(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	var asked atomic.Int64
	r.decider.set(forConfigMaps(func(_ context.Context, req *admissionv1.AdmissionRequest) lock.Answer {
		if req.Name == "soon" && asked.Add(1) > 2 {
			return lock.Answer{Allowed: true}
		}
		return lock.Answer{Pending: true, Reason: verdict.RevisionPending, Message: "revision is not verified yet"}
	}))
	maps := r.alice.CoreV1().ConfigMaps("default")
	start := time.Now()
	if _, err := maps.Create(t.Context(), configMap("soon"), metav1.CreateOptions{}); err != nil {
		t.Fatalf("client-go gave up on what was pending: %v", err)
	}
	if n, took := asked.Load(), time.Since(start); n != 3 || took < 2*time.Second {
		t.Errorf("asked %d times within %s, want 3 times with a second between", n, took)
	}
	body, err := json.Marshal(configMap("never"))
	must(t, err)
	result := r.alice.CoreV1().RESTClient().Post().Namespace("default").Resource("configmaps").MaxRetries(0).
		SetHeader("Content-Type", "application/json").Body(body).Do(t.Context())
	status := statusOf(t, result.Error())
	if status.Code != http.StatusServiceUnavailable || status.Reason != "RevisionPending" || status.Details == nil || status.Details.RetryAfterSeconds != 1 {
		t.Errorf("status = %+v, want 503 RevisionPending to be asked again after a second", status)
	}
	if _, err := maps.Get(t.Context(), "never", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("what is pending was stored: %v", err)
	}
}

// TestPinnedVersion has the API server convert to the version of the desired
// state, whatever a client writes.
func TestPinnedVersion(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	var version atomic.Value
	r.decider.set(func(_ context.Context, req *admissionv1.AdmissionRequest) lock.Answer {
		if req.Resource.Resource == "horizontalpodautoscalers" {
			version.Store(req.Kind.Version + " " + req.Resource.Version + " for " + req.RequestKind.Version)
		}
		return lock.Answer{Allowed: true}
	})
	for _, v := range []string{"v1", "v2"} {
		body := `{"apiVersion":"autoscaling/` + v + `","kind":"HorizontalPodAutoscaler","metadata":{"name":"hpa-` + v + `"},` +
			`"spec":{"maxReplicas":3,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"web"}}}`
		err := r.alice.CoreV1().RESTClient().Post().AbsPath("/apis/autoscaling/"+v+"/namespaces/default/horizontalpodautoscalers").
			SetHeader("Content-Type", "application/json").Body([]byte(body)).Do(t.Context()).Error()
		must(t, err)
		if want := "v2 v2 for " + v; version.Load() != want {
			t.Errorf("the webhook was asked in %v, want %s", version.Load(), want)
		}
	}
}

func statusOf(t *testing.T, err error) metav1.Status {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	status, ok := err.(apierrors.APIStatus)
	if !ok {
		t.Fatalf("%v is not a status", err)
	}
	return status.Status()
}

type warningCollector struct {
	mu   sync.Mutex
	text []string
}

func (w *warningCollector) HandleWarningHeader(_ int, _ string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, text)
}

func (w *warningCollector) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text
}

var _ rest.WarningHandler = (*warningCollector)(nil)
