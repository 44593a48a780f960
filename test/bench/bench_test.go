package main

import (
	"bytes"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/test/bench/internal/measure"
	"gitgate.dev/gitgate/test/testkit/cluster"
)

// The floor and the counting of requests, on a real API server: what was sent is
// what is counted, once.
func TestRequestsAreCounted(t *testing.T) {
	c := cluster.New(t, cluster.Options{AuditLevel: "Metadata"})
	ctx := t.Context()
	s := newSite("counted", plain, 40)
	if err := c.EnsureNamespace(ctx, s.name); err != nil {
		t.Fatal(err)
	}
	objects, err := s.decode()
	if err != nil {
		t.Fatal(err)
	}
	log := &auditLog{path: c.AuditLog()}
	from := time.Now()
	if _, err := bareApply(ctx, c.ConfigFor("floor", "system:masters"), objects, false); err != nil {
		t.Fatal(err)
	}
	to := time.Now()
	events, err := log.between(ctx, "floor", from, to)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(count{Total: 40, Writes: 40}, countRequests(events)); diff != "" {
		t.Errorf("a bare apply of 40 objects (-want +got):\n%s", diff)
	}
	if got := outside(events, from, to); got <= 0 || got >= 1 {
		t.Errorf("outside = %g, want a share", got)
	}
	if events, err = log.between(ctx, "somebody else", from, to); err != nil || len(events) > 0 {
		t.Errorf("%d requests of a user who sent none, %v", len(events), err)
	}
}

func sent(verb, resource, sub, uri string) cluster.AuditEvent {
	var e cluster.AuditEvent
	e.Verb, e.RequestURI = verb, uri
	e.ObjectRef.Resource, e.ObjectRef.Subresource = resource, sub
	return e
}

func TestCountRequests(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		event  cluster.AuditEvent
		want   count
	}{
		"Write":  {"Server-side apply changes what is stored.", sent("patch", "configmaps", "", "/x?force=true"), count{Writes: 1}},
		"Status": {"So does a status.", sent("patch", "gitsyncs", "status", "/x"), count{Writes: 1, Status: 1}},
		"DryRun": {"A dry run changes nothing.", sent("patch", "configmaps", "", "/x?dryRun=All&force=true"), count{DryRuns: 1}},
		"Delete": {"A deletion is a write.", sent("delete", "configmaps", "", "/x"), count{Writes: 1}},
		"List":   {"A list costs the server most.", sent("list", "configmaps", "", "/x"), count{Lists: 1}},
		"Event":  {"Events are stored, but apart.", sent("create", "events", "", "/x"), count{Events: 1}},
		"Lease":  {"So are leases.", sent("update", "leases", "", "/x"), count{Leases: 1}},
		"Review": {"A review is created and never stored.", sent("create", "selfsubjectaccessreviews", "", "/x"), count{Other: 1}},
		"Schema": {"Discovery is of no resource.", sent("get", "", "", "/openapi/v3"), count{Other: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.want.Total = 1
			if diff := cmp.Diff(tc.want, countRequests([]cluster.AuditEvent{tc.event})); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestOutside(t *testing.T) {
	start := time.Now()
	at := func(from, to int) cluster.AuditEvent {
		return cluster.AuditEvent{Received: start.Add(time.Duration(from)), Finished: start.Add(time.Duration(to))}
	}
	for name, tc := range map[string]struct {
		reason string
		events []cluster.AuditEvent
		want   float64
	}{
		"None":        {"Without a request all time is outside.", nil, 1},
		"Apart":       {"Two requests leave the rest.", []cluster.AuditEvent{at(60, 80), at(10, 20)}, 0.7},
		"Overlapping": {"Parallel requests count once.", []cluster.AuditEvent{at(0, 50), at(10, 20), at(40, 60)}, 0.4},
		"Beyond":      {"What lies beyond the time does not count.", []cluster.AuditEvent{at(-20, 10), at(90, 200)}, 0.8},
	} {
		t.Run(name, func(t *testing.T) {
			if got := outside(tc.events, start, start.Add(100)); math.Abs(got-tc.want) > 1e-9 {
				t.Errorf("%s\noutside = %g, want %g", tc.reason, got, tc.want)
			}
		})
	}
}

func TestJudging(t *testing.T) {
	slow, quick := measure.Series{8, 10, 12}, measure.Series{2, 2, 3}
	for name, tc := range map[string]struct {
		reason string
		row    row
		met    bool
	}{
		"Faster":      {"8/2, 10/2 and 12/3 are 4 at the median.", row{Gitgate: quick, Flux: slow}.faster(4), true},
		"NotFaster":   {"Nor are they more.", row{Gitgate: quick, Flux: slow}.faster(4.1), false},
		"Below":       {"Less memory.", row{Gitgate: quick, Flux: slow}.below(), true},
		"NotBelow":    {"More memory.", row{Gitgate: slow, Flux: quick}.below(), false},
		"AtMost":      {"Of times the median counts.", row{Gitgate: quick}.atMost(2), true},
		"ExactAtMost": {"Of counts the worst does.", row{Gitgate: quick}.exact().atMost(2), false},
		"Within":      {"4 times the floor is not within 3.", row{Gitgate: slow, Floor: quick}.within(3), false},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.row.Met == nil || *tc.row.Met != tc.met {
				t.Errorf("%s\nmet = %v, want %t", tc.reason, tc.row.Met, tc.met)
			}
		})
	}
	if r := (row{Flux: slow}).faster(1); r.Met != nil {
		t.Error("a goal was judged although gitgate took no part")
	}
}

func TestReplaceIn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "BENCHMARKS.md")
	beginMarker, endMarker := measure.Markers("bench")
	text := "before\n" + beginMarker + "old\n" + endMarker + "after\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newReport(options{})
	r.add(row{Name: "First", Unit: "s", Gitgate: measure.Series{1, 3, 2}}.atMost(1))
	if err := r.table().Record(path, false); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := "before\n" + beginMarker + r.markdown() + endMarker + "after\n"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if want := "| First | 2 (1–3) s |  |  |  | ≤ 1 s | **missed** |\n"; !strings.Contains(string(got), want) {
		t.Errorf("no line %q in:\n%s", want, got)
	}
	if err := r.table().Record(path, true); err == nil || !strings.Contains(err.Error(), "goals missed: First") {
		t.Errorf("a missed goal is %v", err)
	}
	if err := os.WriteFile(path, []byte("no markers\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r.table().Record(path, false) == nil {
		t.Error("a file without markers was overwritten")
	}
}

func TestParseBenchmarks(t *testing.T) {
	out := "BenchmarkEvaluate/restricted-2   100   250000 ns/op  12.00 MB/s\n" +
		"BenchmarkEvaluate/restricted-2   100   350000 ns/op\n" +
		"BenchmarkBareOPA/parsed-input  100  200000.5 ns/op\nBenchmarkBareOPA/from-bytes-2  100  400000 ns/op\n"
	got, err := parseBenchmarks([]byte(out))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]measure.Series{
		"Evaluate/restricted": {250, 350}, "BareOPA/parsed-input": {200.0005}, "BareOPA/from-bytes": {400},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := parseBenchmarks([]byte("ok")); err == nil {
		t.Error("no benchmark ran, and nobody noticed")
	}
}

// Every layout has as many objects as it says, and a change reaches one of them.
func TestSites(t *testing.T) {
	for _, l := range []layout{kustomize, kustomizeFlat} {
		s := newSite("site", l, 40)
		if n, err := s.build(s.tree()); err != nil || n != s.objects() || n != 40 {
			t.Errorf("%s builds %d objects, want %d: %v", l, n, s.objects(), err)
		}
	}
	s := newSite("site", plain, 40)
	before := s.tree()
	s.change(3, 7)
	var changed []string
	for name, text := range s.tree() {
		if before[name] != text {
			changed = append(changed, name)
		}
	}
	if diff := cmp.Diff([]string{"manifests/app-0003.yaml"}, changed); diff != "" {
		t.Errorf("changed files (-want +got):\n%s", diff)
	}
}

func TestFlags(t *testing.T) {
	for name, args := range map[string][]string{
		"Phase": {"-only", "first,nothing"}, "Output": {"-o", "yaml"}, "Objects": {"-objects", "4"},
		"Without": {"-without", "both"}, "Argument": {"first"},
	} {
		t.Run(name, func(t *testing.T) {
			if o, err := parse(args, io.Discard); err == nil {
				t.Errorf("parse(%q) = %+v, want an error", args, o)
			}
		})
	}
	o, err := parse([]string{"-quick", "-only", "first,rest"}, &bytes.Buffer{})
	if err != nil || o.without != "flux" || o.rounds != 1 {
		t.Errorf("parse(-quick) = %+v, %v", o, err)
	}
}
