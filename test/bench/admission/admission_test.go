package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
)

func made(t *testing.T, seed uint64, w workload, n int) [][]byte {
	t.Helper()
	reviews, err := newGenerator(seed).reviews(w, n)
	if err != nil {
		t.Fatal(err)
	}
	return reviews
}

// Reviews are what the figures are about: their size, their kinds, and that none
// comes twice.
func TestReviews(t *testing.T) {
	for _, w := range []workload{everyNew, repeating} {
		t.Run(string(w), func(t *testing.T) {
			reviews := made(t, 1, w, 2000)
			size, pods, seen := 0, 0, map[string]bool{}
			for _, raw := range reviews {
				var review admissionv1.AdmissionReview
				if err := json.Unmarshal(raw, &review); err != nil {
					t.Fatal(err)
				}
				size += len(raw)
				if review.Request.Kind.Kind == "Pod" {
					pods++
				}
				if seen[string(review.Request.Object.Raw)] {
					t.Fatal("an object comes twice")
				}
				seen[string(review.Request.Object.Raw)] = true
			}
			if mean := size / len(reviews); mean < 9<<10 || mean > 12<<10 {
				t.Errorf("a review has %d bytes on average, want about 10 kB", mean)
			}
			if pods < 800 || pods > 1200 {
				t.Errorf("%d of 2000 are Pods, want about half", pods)
			}
			if again := made(t, 1, w, 2000); !slices.EqualFunc(reviews, again, slices.Equal) {
				t.Error("the same seed makes other reviews")
			}
			if other := made(t, 2, w, 2); string(other[0]) == string(reviews[0]) {
				t.Error("another seed makes the same reviews")
			}
		})
	}
}

// Both servers word the same denial in their own way.
func TestReadVerdict(t *testing.T) {
	answer := func(allowed bool, code int, message string) []byte {
		raw, err := json.Marshal(object{"response": object{"allowed": allowed, "status": object{"code": code, "message": message}}})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	for name, tc := range map[string]struct {
		answer []byte
		want   verdict
	}{
		"allowed":    {answer(true, 200, ""), verdict{allowed: true}},
		"gitgate":    {answer(false, 403, "PolicyDenied: b [1]\nPolicyDenied: a"), verdict{reasons: "a\nb [1]"}},
		"Gatekeeper": {answer(false, 403, "[privileged] a\n[probes] b [1]"), verdict{reasons: "a\nb [1]"}},
		"floor":      {answer(false, 403, "b [1]\na"), verdict{reasons: "a\nb [1]"}},
		"brackets":   {answer(false, 403, "PolicyDenied: one of [a] is b"), verdict{reasons: "one of [a] is b"}},
		"pending":    {answer(false, 503, "NotReady: not yet"), verdict{late: true}},
		"timeout":    {answer(false, 403, "PolicyTimeout: too long"), verdict{late: true}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readVerdict(tc.answer)
			if err != nil || got != tc.want {
				t.Errorf("readVerdict = %+v, %v, want %+v", got, err, tc.want)
			}
		})
	}
	for _, bad := range []string{"", "{}", `{"response":{"allowed":false}}`} {
		if v, err := readVerdict([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, v)
		}
	}
}

// The table gives what the rounds gave, and says which goals are missed.
func TestReport(t *testing.T) {
	r := newReport(options{reviews: 2, rounds: 2})
	for _, round := range []struct {
		server  string
		seconds float64
	}{{gitgateName, 1}, {gatekeeperName, 30}, {gatekeeperName, 10}, {gitgateName, 1}} {
		r.record(round.server, everyNew, 64, sample{seconds: round.seconds, cpu: round.seconds, latencies: []time.Duration{time.Millisecond, time.Duration(round.seconds) * time.Second}})
	}
	r.finish()
	missed := r.missed()
	if len(r.Rows) != 4 || len(missed) != 0 {
		t.Errorf("rows %d, missed %q", len(r.Rows), missed)
	}
	if ratio, ok := r.Rows[0].ratio(); !ok || ratio != 20 {
		t.Errorf("the throughput is %v times as high, want the median of 30 and 10", ratio)
	}
	r.record(gitgateName, everyNew, 64, sample{seconds: 100, latencies: []time.Duration{time.Second}})
	r.record(gatekeeperName, everyNew, 64, sample{seconds: 100, latencies: []time.Duration{time.Second}})
	r.record(gitgateName, everyNew, 64, sample{seconds: 100, latencies: []time.Duration{time.Second}})
	r.record(gatekeeperName, everyNew, 64, sample{seconds: 100, latencies: []time.Duration{time.Second}})
	r.finish()
	if missed := r.missed(); len(missed) == 0 || !strings.Contains(r.markdown(), "**missed**") {
		t.Errorf("nothing is missed where gitgate is as slow as Gatekeeper: %q", missed)
	}
}

func TestRules(t *testing.T) {
	sources, err := ruleSources()
	if err != nil {
		t.Fatal(err)
	}
	names := ruleNames(sources)
	if len(names) != 10 {
		t.Errorf("%d rules, want 10: %q", len(names), names)
	}
	for rule := range parameters {
		if !slices.Contains(names, rule) {
			t.Errorf("parameters for %s, which is no rule", rule)
		}
	}
	for name, source := range sources {
		if strings.Contains(forGatekeeper(source), "input.object") {
			t.Errorf("%s reads input.object at Gatekeeper", name)
		}
	}
}
