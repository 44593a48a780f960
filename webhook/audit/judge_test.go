package audit

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook/lock"
)

// An explains explains objects by name.
type explains map[string]lock.Explanation

func (e explains) Explain(f lock.Found) lock.Explanation { return e[f.Name] }

func object(name string, uid types.UID) map[string]any {
	return map[string]any{"metadata": map[string]any{"name": name, "namespace": "shop", "uid": string(uid)}}
}

// judging is a session that watches nothing.
func judging(t *testing.T, e explains) (s *session, sets, pods target) {
	t.Helper()
	s = newSession(Config{Explainer: e, Metrics: NewMetrics(prometheus.NewRegistry())})
	t.Cleanup(s.end)
	s.closed = map[string][]types.NamespacedName{"shop": {{Namespace: "team", Name: "shop"}}}
	sets = target{resource{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}, "ReplicaSet"}, "shop", true}
	pods = target{resource{schema.GroupVersionResource{Version: "v1", Resource: "pods"}, "Pod"}, "shop", true}
	return s, sets, pods
}

// lasting has an object be unexplained for as long as it takes.
func (s *session) lasting(t target, o map[string]any, d time.Duration) {
	if e := s.book.entries[idOf(t, o)]; e != nil && !e.since.IsZero() {
		e.since = e.since.Add(-d)
	}
	s.see(t, o, false)
}

// TestStrayOwners proves that what derives from a stray is one, until the stray is
// explained.
func TestStrayOwners(t *testing.T) {
	known := explains{
		"set": {Reason: verdict.NotDerived, Why: "forged"},
		"pod": {Explained: true, Owners: []types.UID{"r1"}},
	}
	s, sets, pods := judging(t, known)
	set, pod := object("set", "r1"), object("pod", "p1")
	s.see(sets, set, false)
	s.see(pods, pod, false)
	if len(s.book.strays) != 0 {
		t.Errorf("%d strays at first sight: caches may have to catch up", len(s.book.strays))
	}
	s.lasting(sets, set, time.Minute)
	if len(s.book.strays) != 1 {
		t.Fatalf("%d strays, want the ReplicaSet", len(s.book.strays))
	}
	if id, _ := s.queue.Get(); id.name != "pod" {
		t.Errorf("%v is looked at, want the Pod that rests upon it", id)
	}
	s.see(pods, pod, false)
	s.lasting(pods, pod, time.Minute)
	if len(s.book.strays) != 2 {
		t.Errorf("%d strays, want the Pod of the forged ReplicaSet too", len(s.book.strays))
	}
	known["set"] = lock.Explanation{Explained: true}
	s.see(sets, set, false)
	s.see(pods, pod, false)
	if len(s.book.strays) != 0 || len(s.moved) != 4 {
		t.Errorf("%d strays after %d moves, want none: two found, two gone", len(s.book.strays), len(s.moved))
	}
}

// TestPatience proves how long is waited for what is not known yet.
func TestPatience(t *testing.T) {
	known := explains{"pod": {Pending: true, Reason: verdict.NotDerived, Why: "no owner"}}
	s, _, pods := judging(t, known)
	pod := object("pod", "p1")
	s.see(pods, pod, false)
	s.lasting(pods, pod, settleTime)
	if len(s.book.strays) != 0 || s.complete(types.NamespacedName{Namespace: "team", Name: "shop"}) {
		t.Error("an object whose owner may come is a stray at once, or counts as judged")
	}
	s.lasting(pods, pod, pendingTime)
	if len(s.book.strays) != 1 {
		t.Error("an object whose owner never came is no stray")
	}
	s.changed(pods, pod, true)
	if len(s.book.strays)+len(s.book.entries)+len(s.book.open)+len(s.book.uids)+len(s.book.children) != 0 {
		t.Errorf("something is left of an object that is gone: %+v", s.book)
	}
}
