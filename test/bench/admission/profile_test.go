package main

import (
	"encoding/json"
	"syscall"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policy"
)

// processorTime is what this process has used; a busy machine does not change it
// much.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRules judges the objects of the reviews by all rules, without the
// transport: it is for profiling.
func BenchmarkRules(b *testing.B) {
	sources, err := ruleSources()
	if err != nil {
		b.Fatal(err)
	}
	modules := map[string]string{}
	for name, source := range sources {
		modules[name+".rego"] = source
	}
	set := policy.Set{Name: "rules", Modules: modules, Parameters: allParameters()}
	for _, w := range []workload{everyNew, repeating} {
		b.Run(string(w), func(b *testing.B) { benchmarkSet(b, set, w) })
	}
}

// BenchmarkTemplates does the same with the templates that Gatekeeper ships.
func BenchmarkTemplates(b *testing.B) {
	dir, err := gatekeeperDir(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	files, _, err := theirRules(dir)
	if err != nil {
		b.Fatal(err)
	}
	set := policy.Set{Name: "rules", Format: policy.FormatGatekeeper, Manifests: files}
	b.Run("all", func(b *testing.B) { benchmarkSet(b, set, podsNew) })
}

func benchmarkSet(b *testing.B, set policy.Set, w workload) {
	reviews, err := newGenerator(1).reviews(w, 3000)
	if err != nil {
		b.Fatal(err)
	}
	objects := make([][]byte, len(reviews))
	for i, raw := range reviews {
		var review admissionv1.AdmissionReview
		if err := json.Unmarshal(raw, &review); err != nil {
			b.Fatal(err)
		}
		objects[i] = review.Request.Object.Raw
	}
	b.ReportAllocs()
	var e *policy.Engine
	before := processorTime(b)
	for i := 0; b.Loop(); i++ {
		if i%len(objects) == 0 { // none is judged twice by one engine
			b.StopTimer()
			if e, err = policy.Load(b.Context(), []policy.Set{set}, policy.Options{}); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		e.Evaluate(b.Context(), policy.Input{Object: objects[i%len(objects)]})
	}
	b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
}
