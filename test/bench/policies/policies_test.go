package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"gitgate.dev/gitgate/test/testkit/racing"
)

// Everything runs: the whole benchmark, once.
func TestQuick(t *testing.T) {
	racing.Skip(t)
	var out, progress bytes.Buffer
	if err := run(t.Context(), []string{"-quick"}, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	for _, want := range []string{" rules, of which ", " match a Deployment; 2", " modules; 1 rounds", "| All packs, one Deployment, nothing remembered | ", "| Loading | "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "NaN") || strings.Contains(out.String(), "–×") {
		t.Errorf("a figure is missing in\n%s", &out)
	}
}

// outputs are what the benchmarks would print.
func outputs(ratio, others, load string) map[string]string {
	line := func(name, metrics string) string {
		return "goos: linux\nBenchmarkPairs/" + name + "-2 \t 10\t  " + metrics + "\nPASS\n"
	}
	return map[string]string{
		deployment: line(deployment, "163.0 all-rules\t 2000 bare-ns\t 2500 bytes-ns\t 1.25 bytes/bare\t 1000 known-ns\t 0.5 known/bare\t 92.00 matching-rules\t 3000 new-ns\t "+ratio+" new/bare"),
		othersNew:  line(othersNew, "1000 alone-ns\t 1010 beside-ns\t "+others+" beside/alone"), othersKnown: line(othersKnown, "1000 alone-ns\t 1010 beside-ns\t 1.01 beside/alone"),
		loading: line(loading, "1.1e+09 gitgate-ns\t "+load+" gitgate/opa\t 200.0 modules\t 1e+09 opa-ns"),
	}
}

// The table gives the medians of the rounds, and a missed goal is in it and in what
// -check says.
func TestReport(t *testing.T) {
	r := newReport(options{rounds: 3})
	for _, ratio := range []string{"1.2", "1.9", "1.4"} {
		for name, out := range outputs(ratio, "1.031", "1.1") {
			if err := r.record(name, []byte(out)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.finish(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"163 rules, of which 92 match a Deployment; 200 modules; 3 rounds",
		"| All packs, one Deployment, nothing remembered | 3 µs | 2 µs, a bare prepared query of the rules that match | 1.40 (1.20–1.90)× | ≤ 1.50× | met |\n",
		"| All packs, one Deployment, nothing remembered, input from bytes | 3 µs | 2.50 µs, a bare prepared query of the rules that match | 1.20× |  |  |\n",
		"| 60 more rules for other kinds, nothing remembered | 1 µs | 1 µs, without them | 1.03× | ≤ 1.03× | **missed** |\n",
		"| Loading | 1100 ms | 1000 ms, OPA's parser and compiler | 1.10× | ≤ 1.20× | met |\n",
	} {
		if !strings.Contains(strings.ReplaceAll(r.markdown(), "1.01 µs", "1 µs"), want) {
			t.Errorf("no %q in\n%s", want, r.markdown())
		}
	}
	if got := r.missed(); len(got) != 1 || !strings.HasPrefix(got[0], "60 more rules for other kinds, nothing remembered: 1.03×") {
		t.Errorf("missed = %q", got)
	}
}

// A benchmark that did not run is an error, and no empty cell.
func TestIncomplete(t *testing.T) {
	r := newReport(options{rounds: 1})
	for name, out := range map[string]string{"load": "PASS\n", "others/new": outputs("1", "1", "1")[othersKnown], "deployment": "BenchmarkPairs/deployment-2 \t 1\t x new-ns\n"} {
		if err := r.record(name, []byte(out)); err == nil {
			t.Errorf("%s: %q is taken", name, out)
		}
	}
	if err := r.finish(); err == nil {
		t.Error("a report without figures is finished")
	}
}

func TestFlags(t *testing.T) {
	for name, args := range map[string][]string{"Output": {"-o", "yaml"}, "Rounds": {"-rounds", "0"}, "Argument": {"first"}} {
		t.Run(name, func(t *testing.T) {
			if o, err := parse(args, io.Discard); err == nil {
				t.Errorf("parse(%q) = %+v, want an error", args, o)
			}
		})
	}
	if o, err := parse([]string{"-quick"}, io.Discard); err != nil || o.rounds != 1 {
		t.Errorf("parse(-quick) = %+v, %v", o, err)
	}
}
