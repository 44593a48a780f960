package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// benchmarkLine is a result of go test -bench with sub-benchmarks.
var benchmarkLine = regexp.MustCompile(`(?m)^Benchmark(\w+)/([\w-]+?)(?:-\d+)?\s+\d+\s+([\d.]+) ns/op`)

// measurePolicy runs the benchmarks of package policy: one Deployment against
// the restricted Pod Security Standard.
func (b *bench) measurePolicy(ctx context.Context) error {
	root, err := measure.Root()
	if err != nil {
		return err
	}
	count, benchtime := strconv.Itoa(b.opts.rounds), "1s"
	if b.opts.quick {
		benchtime = "50x"
	}
	stop := b.Keep("policy: running the benchmarks of package policy")
	defer stop()
	out, err := measure.Output(ctx, root, nil, "go", "test", "-run", "^$", "-bench", "^(BenchmarkEvaluate|BenchmarkBareOPA)$/^(restricted|parsed-input|from-bytes)$",
		"-count", count, "-benchtime", benchtime, "./policy")
	if err != nil {
		return err
	}
	results, err := parseBenchmarks(out)
	if err != nil {
		return err
	}
	r := row{Name: "One Deployment judged, from bytes to findings", Unit: "µs", Gitgate: results["Evaluate/restricted"]}
	r.Floor, r.FloorName = results["BareOPA/parsed-input"], "bare prepared OPA query on parsed input"
	b.report.add(r.within(2))
	r.Floor, r.FloorName = results["BareOPA/from-bytes"], "bare prepared OPA query from bytes"
	b.report.add(r.ratioToFloor())
	return nil
}

// parseBenchmarks returns microseconds by benchmark.
func parseBenchmarks(out []byte) (map[string]measure.Series, error) {
	results := map[string]measure.Series{}
	for _, m := range benchmarkLine.FindAllStringSubmatch(string(out), -1) {
		ns, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			return nil, err
		}
		results[m[1]+"/"+m[2]] = append(results[m[1]+"/"+m[2]], ns/1e3)
	}
	var errs []error
	for _, name := range []string{"Evaluate/restricted", "BareOPA/parsed-input", "BareOPA/from-bytes"} {
		if len(results[name]) == 0 {
			errs = append(errs, fmt.Errorf("go test did not run Benchmark%s", name))
		}
	}
	return results, errors.Join(errs...)
}
