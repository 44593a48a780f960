package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// A comparison is a benchmark below BenchmarkPairs in package policies.
type comparison struct {
	name string
	time string // that a round of it takes, or how many turns
}

var comparisons = []comparison{{deployment, "3s"}, {othersNew, "3s"}, {othersKnown, "3s"}, {loading, "5x"}}

// The comparisons.
const (
	deployment  = "deployment"
	othersNew   = "others/new"
	othersKnown = "others/known"
	loading     = "load"
)

// measureRounds runs every comparison in every round.
func measureRounds(ctx context.Context, o options, tell measure.Teller, r *report) error {
	root, err := measure.Root()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gitgate-policies-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "policies.test")
	tell.Say("building the benchmarks")
	if _, err := measure.Output(ctx, root, nil, "go", "test", "-c", "-o", binary, "./policies"); err != nil {
		return err
	}
	if o.nice != 0 { // not before, for what runs beside us
		if err := measure.Hurry(o.nice); err != nil {
			return err
		}
	}
	for round := range o.rounds {
		tell.Say("round %d of %d", round+1, o.rounds)
		for _, c := range comparisons {
			pattern, limit := "^BenchmarkPairs$", c.time
			for step := range strings.SplitSeq(c.name, "/") {
				pattern += "/^" + step + "$"
			}
			if o.quick {
				limit = "1x"
			}
			out, err := measure.Output(ctx, filepath.Join(root, "policies"), nil, binary, "-test.run", "^$", "-test.bench", pattern, "-test.benchtime", limit)
			if err != nil {
				return err
			}
			if err := r.record(c.name, out); err != nil {
				return err
			}
		}
	}
	return nil
}

// resultLine is a result of a benchmark: its name, how often it ran, and its metrics.
var resultLine = regexp.MustCompile(`(?m)^BenchmarkPairs/(\S+?)(?:-\d+)?\s+\d+\s+(.*)$`)

// record takes in the metrics of one comparison.
func (r *report) record(name string, out []byte) error {
	m := resultLine.FindSubmatch(out)
	if m == nil || string(m[1]) != name {
		return fmt.Errorf("the benchmark %s has no result:\n%s", name, out)
	}
	fields := strings.Fields(string(m[2]))
	for i := 0; i+1 < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return fmt.Errorf("the benchmark %s: %w in %q", name, err, m[2])
		}
		key := name + " " + fields[i+1]
		r.metrics[key] = append(r.metrics[key], v)
	}
	return nil
}
