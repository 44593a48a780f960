package verdict

import (
	"slices"
	"time"
)

// A Builder collects findings stage by stage and mints the [Verdict]. It is for
// one goroutine.
type Builder struct {
	revision string
	objects  int
	due      []Stage
	findings []Finding
	results  []StageResult
}

// NewBuilder starts a verdict over a revision for which the due stages must run.
// With no due stage the verdict can never allow.
func NewBuilder(revision string, due ...Stage) *Builder {
	return &Builder{revision: revision, due: slices.Clone(due)}
}

// Objects records how many objects were judged.
func (b *Builder) Objects(n int) { b.objects = n }

// Add records findings of stages, without saying that any of them ran to its end.
// One without a severity is completed to [Deny].
func (b *Builder) Add(findings ...Finding) {
	for _, f := range findings {
		if f.Severity == "" {
			f.Severity = Deny
		}
		b.findings = append(b.findings, f)
	}
}

// Stage records that a stage ran since start, with what it found. It reports
// whether the stage passed, which is whether nothing that it found blocks. A
// finding without a stage or severity is completed to this stage and [Deny].
func (b *Builder) Stage(s Stage, start time.Time, findings ...Finding) bool {
	status := Passed
	for _, f := range findings {
		if f.Stage == "" {
			f.Stage = s
		}
		if b.Add(f); b.findings[len(b.findings)-1].Severity.Blocks() {
			status = Failed
		}
	}
	b.results = append(b.results, StageResult{Stage: s, Status: status, Elapsed: time.Since(start)})
	return status == Passed
}

// Verdict mints the verdict. Due stages that did not run are listed as skipped
// and keep it from allowing.
func (b *Builder) Verdict() Verdict {
	v := Verdict{Revision: b.revision, Objects: b.objects, Findings: slices.Clone(b.findings)}
	v.reached = len(b.due) > 0
	v.Stages = slices.Clone(b.results)
	for _, s := range b.due {
		if !slices.ContainsFunc(b.results, func(r StageResult) bool { return r.Stage == s }) {
			v.reached = false
			v.Stages = append(v.Stages, StageResult{Stage: s, Status: Skipped})
		}
	}
	Sort(v.Findings)
	return v
}
