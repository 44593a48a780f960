package main

import (
	"fmt"
	"strings"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// A row is one figure of the table.
type row struct {
	Name    string         `json:"name"`
	Unit    string         `json:"unit"`
	Gitgate measure.Series `json:"gitgate"`
	Beside  measure.Series `json:"beside"`
	What    string         `json:"what"` // stands beside
	Ratios  measure.Series `json:"ratios"`
	Goal    float64        `json:"goal,omitempty"` // the ratio at most
	Met     *bool          `json:"met,omitempty"`
}

// A report is the table and what to know about it.
type report struct {
	measure.Machine
	Rules    int   `json:"rules"`
	Matching int   `json:"matching"` // of the rules, the kind
	Modules  int   `json:"modules"`
	Rounds   int   `json:"rounds"`
	Quick    bool  `json:"quick,omitempty"`
	Rows     []row `json:"rows"`

	metrics map[string]measure.Series // by comparison and unit
}

func newReport(o options) *report {
	return &report{Machine: measure.ThisMachine(), Rounds: o.rounds, Quick: o.quick, metrics: map[string]measure.Series{}}
}

// The parts of a row: where it comes from, and how its values are to be read.
type source struct {
	name, comparison string
	ours, theirs     string // contenders
	what             string
	unit             string
	perUnit          float64 // nanoseconds, or 1 of a count
	goal             float64
}

const (
	bareQuery = "a bare prepared query of the rules that match"
	without   = "without them"
)

var sources = []source{
	{"All packs, one Deployment, nothing remembered", deployment, "new", "bare", bareQuery, "µs", 1e3, 1.5},
	{"All packs, one Deployment, asked before", deployment, "known", "bare", bareQuery, "µs", 1e3, 0},
	{"All packs, one Deployment, nothing remembered, input from bytes", deployment, "new", "bytes", bareQuery, "µs", 1e3, 0},
	{"60 more rules for other kinds, nothing remembered", othersNew, "beside", "alone", without, "µs", 1e3, 1.03},
	{"60 more rules for other kinds, asked before", othersKnown, "beside", "alone", without, "µs", 1e3, 1.03},
	{"Loading", loading, "gitgate", "opa", "OPA's parser and compiler", "ms", 1e6, 1.2},
}

// finish makes the rows.
func (r *report) finish() error {
	r.Finish()
	for _, s := range sources {
		w := row{Name: s.name, Unit: s.unit, What: s.what, Goal: s.goal}
		for _, v := range r.metrics[s.comparison+" "+s.ours+"-ns"] {
			w.Gitgate = append(w.Gitgate, v/s.perUnit)
		}
		for _, v := range r.metrics[s.comparison+" "+s.theirs+"-ns"] {
			w.Beside = append(w.Beside, v/s.perUnit)
		}
		// Of turns, unless the benchmark holds them against something else.
		if w.Ratios = r.metrics[s.comparison+" "+s.ours+"/"+s.theirs]; len(w.Ratios) == 0 {
			w.Ratios = w.Gitgate.Per(w.Beside)
		}
		if len(w.Gitgate) != r.Rounds || len(w.Beside) != r.Rounds || len(w.Ratios) != r.Rounds {
			return fmt.Errorf("%s: %d and %d figures of %d rounds", s.name, len(w.Gitgate), len(w.Beside), r.Rounds)
		}
		if w.Goal > 0 && !r.Quick {
			met := w.Ratios.Median() <= w.Goal
			w.Met = &met
		}
		r.Rows = append(r.Rows, w)
	}
	r.Rules = int(r.metrics[deployment+" all-rules"].Median())
	r.Matching = int(r.metrics[deployment+" matching-rules"].Median())
	r.Modules = int(r.metrics[loading+" modules"].Median())
	return nil
}

// missed names the goals that were missed.
func (r *report) missed() []string {
	var out []string
	for _, w := range r.Rows {
		if w.Met != nil && !*w.Met {
			out = append(out, fmt.Sprintf("%s: %s×, want ≤ %s×", w.Name, measure.Number(w.Ratios.Median()), measure.Number(w.Goal)))
		}
	}
	return out
}

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n| | gitgate | beside it | ratio | goal | |\n|---|---|---|---|---|---|\n",
		r.Describe(fmt.Sprintf("%d rules, of which %d match a Deployment; %d modules; %d rounds", r.Rules, r.Matching, r.Modules, r.Rounds)))
	for _, w := range r.Rows {
		goal := ""
		if w.Goal > 0 && !r.Quick {
			goal = "≤ " + measure.Number(w.Goal) + "×"
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join([]string{
			w.Name, w.Gitgate.Format(w.Unit), w.Beside.Format(w.Unit) + ", " + w.What, w.Ratios.Format("") + "×", goal, measure.Verdict(goal, w.Met),
		}, " | "))
	}
	return b.String()
}
