package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// The names of servers, as reports have them.
const (
	gitgateName    = "gitgate"
	gatekeeperName = "Gatekeeper"
)

// A quantity is what is measured in a run of requests.
type quantity string

const (
	throughput quantity = "requests a second"
	median     quantity = "p50, ms"
	slowest    quantity = "p99, ms"
	processor  quantity = "processor time, ms a request"
	residentMB quantity = "resident memory, MiB"
	anonymous  quantity = "resident memory without the pages of the program, MiB"
)

// A row is one line of the table.
type row struct {
	Name   string                    `json:"name"`
	Values map[string]measure.Series `json:"values"` // by server
	// More tells that a higher value is better.
	More bool    `json:"more,omitempty"`
	Goal float64 `json:"goal,omitempty"` // a ratio between gitgate and Gatekeeper
	Met  *bool   `json:"met,omitempty"`
}

// ratio is how many times as good gitgate is as Gatekeeper, and false if one of
// them was left out.
func (r *row) ratio() (float64, bool) {
	a, b := r.Values[gitgateName], r.Values[gatekeeperName]
	if len(a) == 0 || len(b) == 0 {
		return 0, false
	}
	if r.More {
		return a.Per(b).Median(), true
	}
	return b.Per(a).Median(), true
}

// A report is the table and what to know about it.
type report struct {
	measure.Machine
	Reviews int `json:"reviews"`
	Rounds  int `json:"rounds"`
	Judged  int `json:"judged"`
	Denied  int `json:"denied"`
	// Late counts the reviews that a server failed to judge in time.
	Late map[string]int `json:"late"`
	Rows []*row         `json:"rows"`
}

func newReport(o options) *report {
	return &report{Machine: measure.ThisMachine(), Reviews: o.reviews, Rounds: o.rounds, Late: map[string]int{}}
}

// goals by row.
var goals = map[string]float64{
	rowName(everyNew, 64, throughput):  15,
	rowName(everyNew, 64, slowest):     10,
	rowName(everyNew, 1, slowest):      10,
	rowName(repeating, 64, throughput): 25,
	rowName(podsNew, 64, throughput):   8,
}

func rowName(w workload, concurrency int, q quantity) string {
	return fmt.Sprintf("%s, %d at once: %s", w, concurrency, q)
}

func (r *report) add(name, server string, more bool, value float64) {
	i := slices.IndexFunc(r.Rows, func(w *row) bool { return w.Name == name })
	if i < 0 {
		i = len(r.Rows)
		r.Rows = append(r.Rows, &row{Name: name, Values: map[string]measure.Series{}, More: more, Goal: goals[name]})
	}
	r.Rows[i].Values[server] = append(r.Rows[i].Values[server], value)
}

// record takes in one run of requests.
func (r *report) record(server string, w workload, concurrency int, s sample) {
	r.add(rowName(w, concurrency, throughput), server, true, s.throughput())
	r.add(rowName(w, concurrency, median), server, false, s.quantile(0.5))
	r.add(rowName(w, concurrency, slowest), server, false, s.quantile(0.99))
	r.add(rowName(w, concurrency, processor), server, false, s.cpu*1000/float64(len(s.latencies)))
}

func (r *report) memory(scenario, server string, all, anon float64) {
	r.add(scenario+": "+string(residentMB), server, false, all)
	r.add(scenario+": "+string(anonymous), server, false, anon)
}

// count adds up what was denied.
func (r *report) count(verdicts []verdict) {
	r.Judged += len(verdicts)
	for _, v := range verdicts {
		if !v.allowed {
			r.Denied++
		}
	}
}

func (r *report) finish() {
	r.Finish()
	for _, w := range r.Rows {
		if ratio, ok := w.ratio(); ok && w.Goal > 0 {
			met := ratio >= w.Goal
			w.Met = &met
		}
	}
}

// missed names the goals that were missed.
func (r *report) missed() []string {
	var out []string
	for _, w := range r.Rows {
		if w.Met != nil && !*w.Met {
			ratio, _ := w.ratio()
			out = append(out, fmt.Sprintf("%s: %s×, want %s×", w.Name, measure.Number(ratio), measure.Number(w.Goal)))
		}
	}
	return out
}

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d reviews were judged and %d denied,\nby all servers alike and for the same reasons.\n\n",
		r.Describe(fmt.Sprintf("%d reviews and %d rounds", r.Reviews, r.Rounds)), r.Judged, r.Denied)
	for _, name := range slices.Sorted(maps.Keys(r.Late)) {
		fmt.Fprintf(&b, "%s could not judge %d of them in time; those count as slow and not as verdicts.\n\n", name, r.Late[name])
	}
	b.WriteString("| | gitgate | Gatekeeper | bare query | bare envelope | better than Gatekeeper | goal | |\n|---|---|---|---|---|---|---|---|\n")
	for _, w := range r.Rows {
		ratio, goal, met := "", "", ""
		if v, ok := w.ratio(); ok {
			ratio = measure.Number(v) + "×"
		}
		if w.Goal > 0 {
			goal = fmt.Sprintf("≥ %.0f×", w.Goal)
		}
		if w.Met != nil {
			met = measure.Verdict(goal, w.Met)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join([]string{
			w.Name, w.Values[gitgateName].Format(""), w.Values[gatekeeperName].Format(""), w.Values[bareQuery].Format(""),
			w.Values[bareEnvelope].Format(""), ratio, goal, met,
		}, " | "))
	}
	return b.String()
}

// table is what is printed and recorded.
func (r *report) table() measure.Table {
	return measure.Table{Benchmark: "admission", Report: r, Markdown: r.markdown(), Missed: r.missed()}
}
