package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// A row is one figure of the table.
type row struct {
	Name      string         `json:"name"`
	Unit      string         `json:"unit,omitempty"`
	Gitgate   measure.Series `json:"gitgate"`
	Flux      measure.Series `json:"flux,omitempty"`
	Floor     measure.Series `json:"floor,omitempty"`
	FloorName string         `json:"floorName,omitempty"`
	// Ratio compares gitgate with Flux, or with the floor, in words.
	Ratio string `json:"ratio,omitempty"`
	Goal  string `json:"goal,omitempty"`
	// Met tells whether the goal was; nil without one, or when that is not known.
	Met *bool `json:"met,omitempty"`

	deterministic bool // does not depend on the machine: judged with -quick too
}

// exact marks a row that counts, so that it is judged on a busy machine too.
func (r row) exact() row { r.deterministic = true; return r }

// judge says what is asked of gitgate, if it took part.
func (r row) judge(goal string, met bool) row {
	if len(r.Gitgate) == 0 {
		return r
	}
	r.Goal, r.Met = goal, &met
	return r
}

// ratio says how many times as much Flux needs, or gitgate.
func (r row) ratio() row {
	if len(r.Flux) == 0 || len(r.Gitgate) == 0 || r.Gitgate.Median() == 0 || r.Flux.Median() == 0 {
		return r
	}
	if v := r.Flux.Per(r.Gitgate).Median(); v >= 1 {
		r.Ratio = measure.Number(v) + "× less than Flux"
	} else {
		r.Ratio = measure.Number(1/v) + "× more than Flux"
	}
	return r
}

// ratioToFloor says how many times the floor gitgate needs.
func (r row) ratioToFloor() row {
	r.Ratio = measure.Number(r.Gitgate.Per(r.Floor).Median()) + "× the floor"
	return r
}

// faster asks for Flux's time to be at least goal times gitgate's.
func (r row) faster(goal float64) row {
	if len(r.Flux) == 0 || len(r.Gitgate) == 0 {
		return r
	}
	r = r.ratio()
	return r.judge(fmt.Sprintf("≥ %s× faster than Flux", measure.Number(goal)), r.Flux.Per(r.Gitgate).Median() >= goal)
}

// within asks for gitgate to need at most goal times the floor.
func (r row) within(goal float64) row {
	r = r.ratioToFloor()
	return r.judge(fmt.Sprintf("≤ %s× the floor", measure.Number(goal)), r.Gitgate.Per(r.Floor).Median() <= goal)
}

// below asks for gitgate to need less than both controllers of Flux together.
func (r row) below() row {
	if len(r.Flux) == 0 || len(r.Gitgate) == 0 {
		return r
	}
	return r.ratio().judge("below Flux's two controllers", r.Gitgate.Median() < r.Flux.Median())
}

// atMost asks for every value of a counting row to be at most goal, and for the
// median of any other.
func (r row) atMost(goal float64) row {
	worst := r.Gitgate.Median()
	if r.deterministic && len(r.Gitgate) > 0 {
		worst = slices.Max(r.Gitgate)
	}
	return r.judge(strings.TrimSpace("≤ "+measure.Number(goal)+" "+r.Unit), worst <= goal)
}

// medianAtMost is atMost with a ratio, for times.
func (r row) medianAtMost(goal float64) row {
	r = r.judge("≤ "+measure.Number(goal)+" "+r.Unit+" at the median", r.Gitgate.Median() <= goal)
	if len(r.Flux) > 0 && len(r.Gitgate) > 0 {
		r.Ratio = measure.Number(r.Flux.Median()/r.Gitgate.Median()) + "× less than Flux"
	}
	return r
}

// A report is the table and what to know about it.
type report struct {
	measure.Machine
	Objects int   `json:"objects"`
	Rounds  int   `json:"rounds"`
	Quick   bool  `json:"quick,omitempty"`
	Rows    []row `json:"rows"`
}

func newReport(o options) *report {
	return &report{Machine: measure.ThisMachine(), Objects: o.objects, Rounds: o.rounds, Quick: o.quick}
}

// add appends a row. With -quick only counts are judged.
func (r *report) add(w row) {
	if r.Quick && !w.deterministic {
		w.Goal, w.Met = "", nil
	}
	r.Rows = append(r.Rows, w)
}

// missed names the goals that were missed.
func (r *report) missed() []string {
	var out []string
	for _, w := range r.Rows {
		if w.Met != nil && !*w.Met {
			out = append(out, w.Name+": "+w.Gitgate.Format(w.Unit)+", want "+w.Goal)
		}
	}
	return out
}

func (r *report) print(out io.Writer, format string) error {
	return measure.Print(out, format, r, r.markdown())
}

// markdown is the table.
func (r *report) markdown() string {
	var b strings.Builder
	b.WriteString(r.Describe(fmt.Sprintf("%d objects, %d rounds", r.Objects, r.Rounds)) + "\n\n")
	b.WriteString("| | gitgate | Flux | floor | ratio | goal | |\n|---|---|---|---|---|---|---|\n")
	for _, w := range r.Rows {
		floor := w.Floor.Format(w.Unit)
		if w.FloorName != "" {
			floor += ", " + w.FloorName
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join([]string{
			w.Name, w.Gitgate.Format(w.Unit), w.Flux.Format(w.Unit), floor, w.Ratio, w.Goal, measure.Verdict(w.Goal, w.Met),
		}, " | "))
	}
	return b.String()
}

// table is what is printed and recorded.
func (r *report) table() measure.Table {
	return measure.Table{Benchmark: "bench", Report: r, Markdown: r.markdown(), Missed: r.missed()}
}
