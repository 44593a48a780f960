package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/client-go/tools/events"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook/lock"
)

// TestEventsAreFew tells the same thing once a minute and not too much in all.
func TestEventsAreFew(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	recorder := events.NewFakeRecorder(10_000)
	e := NewEvents(recorder, "gitgate-system")
	e.now = func() time.Time { return now }
	denied := lock.Answer{Reason: verdict.NotInGit, Message: strings.Repeat("ä", maxNote)}
	denied.Sync.Namespace, denied.Sync.Name = "team-shop", "shop"
	tell := func(name string, a lock.Answer) int {
		before := len(recorder.Events)
		e.decided(&admissionv1.AdmissionRequest{Name: name, Operation: admissionv1.Create}, a)
		return len(recorder.Events) - before
	}
	if tell("a", denied) != 1 || tell("a", denied) != 0 {
		t.Error("the same denial is not told just once")
	}
	if tell("a", lock.Answer{Allowed: true}) != 0 || tell("a", lock.Answer{Pending: true, Reason: verdict.ImagePending}) != 0 || tell("x", lock.Answer{}) != 0 {
		t.Error("something is told that is nobody's concern")
	}
	told := 1
	for i := range 10_000 {
		told += tell(fmt.Sprint("flood-", i), denied)
	}
	if told != eventsPerMinute {
		t.Errorf("%d events within a minute, want %d", told, eventsPerMinute)
	}
	now = now.Add(time.Minute)
	if tell("a", denied) != 1 {
		t.Error("a minute later it is not told again")
	}
	for range told {
		if note := <-recorder.Events; len(note) > maxNote+64 {
			t.Fatalf("a note of %d bytes", len(note))
		}
	}
	var none *Events
	none.decided(&admissionv1.AdmissionRequest{}, denied) // must not panic
}

type brokenWriter struct{ broken bool }

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.broken {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

// TestDecisionLogNeverBlocks counts what it cannot take.
func TestDecisionLogNeverBlocks(t *testing.T) {
	var out bytes.Buffer
	l := NewDecisionLog(&out)
	for i := range maxQueued + 5 { // nobody writes yet
		if queued := l.add(Decision{UID: fmt.Sprint(i)}); queued != (i < maxQueued) {
			t.Fatalf("decision %d: queued %t", i, queued)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Start(ctx); err != nil { // what waits is written before it ends
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != maxQueued || !strings.Contains(lines[0], `"lost":5`) || strings.Contains(lines[1], "lost") {
		t.Errorf("%d lines, the first is %s", len(lines), lines[0])
	}
	w := &brokenWriter{broken: true}
	l = NewDecisionLog(w)
	l.write(Decision{})
	l.write(Decision{})
	if n := l.lost.Load(); n != 2 {
		t.Errorf("%d decisions lost to a full disk, want 2", n)
	}
	w.broken = false
	l.write(Decision{})
	if n := l.lost.Load(); n != 0 {
		t.Errorf("%d decisions still to be told of", n)
	}
	var none *DecisionLog
	if !none.add(Decision{}) {
		t.Error("no log loses decisions")
	}
}

// TestRecordedObjects: objects are held where rules decided, and never so many that
// they take the memory of the replica, nor such that the line cannot be written.
func TestRecordedObjects(t *testing.T) {
	const object = `{"data":{"k":"v"}}`
	for name, tc := range map[string]struct {
		reason  string
		matched lock.Matched
		op      admissionv1.Operation
		gives   string
		held    int64
		want    string
	}{
		"Rules":   {"Rules decided.", lock.MatchedOpen, admissionv1.Create, object, 0, object},
		"Lock":    {"The lock decides by what Git says.", lock.MatchedManaged, admissionv1.Create, object, 0, ""},
		"Connect": {"A connection has no object.", lock.MatchedOpen, admissionv1.Connect, object, 0, ""},
		"Large":   {"A large one is left out.", lock.MatchedOpen, admissionv1.Create, `{"k":"` + strings.Repeat("x", maxRecorded) + `"}`, 0, ""},
		"Invalid": {"What is no JSON would lose the whole line.", lock.MatchedOpen, admissionv1.Create, `{"k":`, 0, ""},
		"Full":    {"Too much waits already.", lock.MatchedOpen, admissionv1.Create, object, maxHeld, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			l := NewDecisionLog(&out)
			l.held.Store(tc.held)
			s := &Server{cfg: Config{Decisions: l, Objects: func(*admissionv1.AdmissionRequest) ([]byte, []byte) { return []byte(tc.gives), nil }}}
			d := Decision{UID: "1", Matched: tc.matched}
			s.objects(&admissionv1.AdmissionRequest{Operation: tc.op}, &d)
			l.add(d)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := l.Start(ctx); err != nil {
				t.Fatal(err)
			}
			line := out.String()
			if got := strings.Contains(line, `"object":`); got != (tc.want != "") || !strings.Contains(line, tc.want) || !strings.Contains(line, `"uid":"1"`) {
				t.Errorf("%s\n%.300s", tc.reason, line)
			}
			if n := l.held.Load(); n != tc.held {
				t.Errorf("%s\n%d bytes are held after all was written, want %d", tc.reason, n, tc.held)
			}
		})
	}
	s := &Server{cfg: Config{Decisions: NewDecisionLog(&bytes.Buffer{})}}
	d := Decision{Matched: lock.MatchedOpen}
	if s.objects(&admissionv1.AdmissionRequest{}, &d); d.Object != nil {
		t.Error("objects are held though nobody asked for it")
	}
}

// TestSpareDecisions: what can be found out again takes half of the queue and no more.
func TestSpareDecisions(t *testing.T) {
	l := NewDecisionLog(&bytes.Buffer{})
	for range 2 * maxQueued {
		l.AddSpare(Decision{})
	}
	if n := len(l.queue); n != maxQueued/2 {
		t.Errorf("%d wait, want %d", n, maxQueued/2)
	}
	if n := l.lost.Load(); n != 2*maxQueued-maxQueued/2 {
		t.Errorf("%d are told as lost", n)
	}
	if !l.add(Decision{}) {
		t.Error("a decision on a request finds no place")
	}
	l = NewDecisionLog(&bytes.Buffer{})
	l.AddSpare(Decision{Object: bytes.Repeat([]byte("1"), maxRecorded+1)})
	if d := <-l.queue; d.Object != nil {
		t.Error("an object that is too large is held")
	}
	var none *DecisionLog
	none.AddSpare(Decision{}) // must not panic
}
