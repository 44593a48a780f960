package author

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"gitgate.dev/gitgate/policy"
)

// A RuleBench is what asking one rule costs.
type RuleBench struct {
	// Rule is set/package.rule.
	Rule string `json:"rule"`
	// Objects is how many of the objects the rule is asked about: rules of other kinds
	// are not asked at all. The figures are of one object of these, on average, but for
	// Worst, which is of the object that takes longest. Of each object the least time of
	// all rounds counts: what other programs took of the processor is not the rule's.
	Objects  int     `json:"objects"`
	Nanos    float64 `json:"nanoseconds"`
	Bytes    float64 `json:"bytes"`
	Allocs   float64 `json:"allocations"`
	Worst    float64 `json:"worstNanoseconds"`
	WorstAt  string  `json:"worstAt,omitempty"`
	Failures int     `json:"failures,omitempty"`
	// Share is the part of all time that the rules take together, from 0 to 1.
	Share float64 `json:"share"`
}

// A BenchReport is what rules cost on given objects.
type BenchReport struct {
	Objects int `json:"objects"`
	// Rules are the rules, worst first: by the time for all objects together.
	Rules []RuleBench `json:"rules"`
	// NotAsked are the rules that are asked about none of the objects.
	NotAsked []string `json:"notAsked,omitempty"`
	// Decode is what it takes to read an object into the form that rules see, and
	// Verdict what the whole engine takes for one, decoding included; on average, in
	// nanoseconds. The engine is fresh, and remembers from one object to the next, as
	// it does in the cluster.
	Decode  float64 `json:"decodeNanoseconds"`
	Verdict float64 `json:"verdictNanoseconds"`
}

// BenchOptions say how long is measured.
type BenchOptions struct {
	// Time is spent on each rule; 200 ms when zero. Rounds are how often each rule is
	// asked about each object, in place of Time; 0 is as often as Time allows.
	Time   time.Duration
	Rounds int
	// Load is how the policies are loaded.
	Load policy.Options
}

// Bench measures rules on objects. Each rule is asked by a query of its own, as the
// engine prepares it, on input that is decoded already, over and over, one after
// the other, and without what an engine remembers. So a rule is charged with all
// that it calls: helpers that several rules share, which the engine evaluates once
// for all of them, count for each. [BenchReport.Verdict] is what an object costs
// all in all.
func Bench(ctx context.Context, sets []policy.Set, objects []policy.Input, o BenchOptions) (BenchReport, error) {
	if len(objects) == 0 {
		return BenchReport{}, errors.New("no objects: nothing to measure on")
	}
	o.Time = cmp.Or(o.Time, 200*time.Millisecond)
	e, err := policy.Load(ctx, sets, o.Load)
	if err != nil {
		return BenchReport{}, err
	}
	b := bencher{options: o, asked: map[string][]asking{}}
	for _, in := range objects {
		p, err := e.Probe(in)
		if err != nil {
			return BenchReport{}, fmt.Errorf("%s:%d: %w", in.File, in.Line, err)
		}
		for i, rule := range p.Rules() {
			b.asked[rule] = append(b.asked[rule], asking{p, i, fmt.Sprintf("%s:%d", in.File, in.Line)})
		}
	}
	r := BenchReport{Objects: len(objects)}
	for rule := range b.asked {
		bench, err := b.rule(ctx, rule)
		if err != nil {
			return BenchReport{}, err
		}
		r.Rules = append(r.Rules, bench)
	}
	r.rank()
	r.NotAsked = notAsked(sets, b.asked)
	return r, r.whole(ctx, e, sets, objects, o)
}

// notAsked lists the rules that speak and were not asked about any object.
func notAsked(sets []policy.Set, asked map[string][]asking) []string {
	var out []string
	for _, s := range sets {
		for _, name := range speakers(s) {
			if full := s.Name + "/" + name; asked[full] == nil && !slices.Contains(out, full) {
				out = append(out, full)
			}
		}
	}
	slices.Sort(out)
	return out
}

// speakers lists the rules of a set that speak.
func speakers(s policy.Set) []string {
	var out []string
	for file, src := range s.Modules {
		if isTest(file) {
			continue
		}
		m, err := Source{RegoVersion: s.RegoVersion}.parse(file, src, policy.Capabilities())
		if err != nil || m == nil {
			continue
		}
		for _, rule := range m.Rules {
			if speaks(rule) {
				out = append(out, fullName(rule))
			}
		}
	}
	return out
}

// An asking is a rule and an object.
type asking struct {
	probe *policy.Probe
	index int
	at    string
}

type bencher struct {
	options BenchOptions
	asked   map[string][]asking
}

// maxAsking bounds one question: a rule that takes longer than an object may take
// is a failure, and not asked again.
const maxAsking = 5 * time.Second

func (b *bencher) rule(ctx context.Context, rule string) (RuleBench, error) {
	askings := b.asked[rule]
	out := RuleBench{Rule: rule, Objects: len(askings)}
	best := make([]time.Duration, len(askings)) // of each object: the least that it took
	for i, a := range askings {                 // once to warm up, and to find out what fails
		best[i] = math.MaxInt64
		one, stop := context.WithTimeout(ctx, maxAsking)
		err := a.probe.Ask(one, a.index)
		late := one.Err() != nil
		stop()
		switch {
		case ctx.Err() != nil:
			return out, ctx.Err()
		case late:
			return out, fmt.Errorf("%s takes longer than %s on %s: not measured", rule, maxAsking, a.at)
		case err != nil:
			out.Failures++
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var spent time.Duration
	n := 0
	for round := 0; b.more(round, spent) && ctx.Err() == nil; round++ {
		for i, a := range askings {
			start := time.Now()
			_ = a.probe.Ask(ctx, a.index) // that it fails is counted above
			took := time.Since(start)
			spent, best[i] = spent+took, min(best[i], took)
			n++
		}
	}
	runtime.ReadMemStats(&after)
	if ctx.Err() != nil {
		return out, ctx.Err()
	}
	out.Bytes = float64(after.TotalAlloc-before.TotalAlloc) / float64(n)
	out.Allocs = float64(after.Mallocs-before.Mallocs) / float64(n)
	for i, took := range best {
		t := float64(took.Nanoseconds())
		out.Nanos += t / float64(len(best))
		if t > out.Worst {
			out.Worst, out.WorstAt = t, askings[i].at
		}
	}
	return out, nil
}

// more reports whether to go on measuring.
func (b *bencher) more(round int, spent time.Duration) bool {
	if b.options.Rounds > 0 {
		return round < b.options.Rounds
	}
	return spent < b.options.Time
}

// rank sorts the rules and gives each its share.
func (r *BenchReport) rank() {
	total := 0.0
	for _, b := range r.Rules {
		total += b.Nanos * float64(b.Objects)
	}
	for i, b := range r.Rules {
		if total > 0 {
			r.Rules[i].Share = b.Nanos * float64(b.Objects) / total
		}
	}
	slices.SortFunc(r.Rules, func(a, b RuleBench) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), strings.Compare(a.Rule, b.Rule))
	})
}

// wholePasses is how often all objects are judged; the least time counts.
const wholePasses = 5

// whole measures decoding, and verdicts of engines that remember nothing.
func (r *BenchReport) whole(ctx context.Context, e *policy.Engine, sets []policy.Set, objects []policy.Input, o BenchOptions) error {
	compiled := make([]*policy.Compiled, len(sets))
	for i, set := range sets {
		var err error
		if compiled[i], err = policy.Compile(ctx, set, o.Load); err != nil {
			return err
		}
	}
	decode, judge := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
	for range wholePasses {
		start := time.Now()
		for _, in := range objects {
			if _, err := e.Probe(in); err != nil {
				return err
			}
		}
		decode = min(decode, time.Since(start))
		fresh, err := policy.Join(compiled, o.Load)
		if err != nil {
			return err
		}
		start = time.Now()
		for _, in := range objects {
			fresh.Evaluate(ctx, in)
		}
		judge = min(judge, time.Since(start))
	}
	r.Decode = float64(decode.Nanoseconds()) / float64(len(objects))
	r.Verdict = float64(judge.Nanoseconds()) / float64(len(objects))
	return ctx.Err()
}

// Write writes the report as text or json.
func (r BenchReport) Write(w io.Writer, format string) error {
	if format == "json" {
		return WriteJSON(w, struct {
			Kind string `json:"kind"`
			BenchReport
		}{"PolicyBenchReport", r})
	}
	buffer := bufio.NewWriter(w)
	out := tabwriter.NewWriter(buffer, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "time/object\tworst\tB/object\tallocs/object\tobjects\tshare\t  rule")
	for _, b := range r.Rules {
		failed := ""
		if b.Failures > 0 {
			failed = fmt.Sprintf(" (fails on %s)", counted(b.Failures, "object"))
		}
		fmt.Fprintf(out, "%s\t%s\t%.0f\t%.0f\t%d\t%.1f %%\t  %s%s\n", took(b.Nanos), took(b.Worst), b.Bytes, b.Allocs, b.Objects, 100*b.Share, shown(b.Rule), failed)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for _, rule := range r.NotAsked {
		fmt.Fprintf(buffer, "not asked about any of the objects: %s\n", shown(rule))
	}
	fmt.Fprintf(buffer, "%s: decoding %s, a whole verdict %s for each\n", counted(r.Objects, "object"), took(r.Decode), took(r.Verdict))
	return buffer.Flush()
}

// took is a time for people.
func took(nanos float64) string {
	d := time.Duration(nanos)
	switch {
	case d < 10*time.Microsecond:
		return d.Round(10 * time.Nanosecond).String()
	case d < 10*time.Millisecond:
		return d.Round(100 * time.Nanosecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}
