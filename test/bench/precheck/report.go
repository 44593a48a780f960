package main

import (
	"fmt"
	"strings"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// A row is one figure of the table.
type row struct {
	Name      string         `json:"name"`
	Unit      string         `json:"unit"`
	Gitgate   measure.Series `json:"gitgate"`
	Conftest  measure.Series `json:"conftest,omitempty"`
	Gator     measure.Series `json:"gator,omitempty"` // in the place of conftest
	Floor     measure.Series `json:"floor,omitempty"`
	FloorName string         `json:"floorName,omitempty"`
	// Ratio is the peer's value over gitgate's, or gitgate's over the floor's where
	// there is no peer: the median over the rounds.
	Ratio float64 `json:"ratio,omitempty"`
	Goal  string  `json:"goal,omitempty"`
	Met   *bool   `json:"met,omitempty"`
}

// peer is what gitgate is compared with.
func (r row) peer() measure.Series {
	if len(r.Gator) > 0 {
		return r.Gator
	}
	return r.Conftest
}

// peerCell is the cell of the peer.
func (r row) peerCell() string {
	if len(r.Gator) > 0 {
		return r.Gator.Format(r.Unit) + ", gator"
	}
	return r.Conftest.Format(r.Unit)
}

// compare fills in the ratio.
func (r row) compare() row {
	switch {
	case len(r.Gitgate) == 0:
	case len(r.peer()) > 0:
		r.Ratio = r.peer().Per(r.Gitgate).Median()
	case len(r.Floor) > 0:
		r.Ratio = r.Gitgate.Per(r.Floor).Median()
	}
	return r
}

// faster asks for the peer's value to be at least goal times gitgate's.
func (r row) faster(goal float64) row {
	r.Goal = "≥ " + measure.Number(goal) + "× less"
	if len(r.peer()) > 0 && len(r.Gitgate) > 0 {
		r.judge(r.peer().Per(r.Gitgate).Median() >= goal)
	}
	return r
}

// within asks for gitgate's value to be at most goal times the floor's.
func (r row) within(goal float64) row {
	r.Goal = "≤ " + measure.Number(goal) + "×"
	if len(r.Floor) > 0 && len(r.Gitgate) > 0 {
		r.judge(r.Gitgate.Per(r.Floor).Median() <= goal)
	}
	return r
}

// atMost asks for the median to be at most goal.
func (r row) atMost(goal float64) row {
	r.Goal = "≤ " + measure.Number(goal) + " " + r.Unit
	r.judge(r.Gitgate.Median() <= goal)
	return r
}

func (r *row) judge(met bool) { r.Met = &met }

// ratio is the ratio in words.
func (r row) ratio() string {
	switch {
	case r.Ratio == 0:
		return ""
	case len(r.peer()) > 0 && r.Ratio >= 1:
		return measure.Number(r.Ratio) + "× less"
	case len(r.peer()) > 0:
		return measure.Number(1/r.Ratio) + "× more"
	}
	return measure.Number(r.Ratio) + "× the floor"
}

// A report is the table and what to know about it.
type report struct {
	measure.Machine
	Objects   int   `json:"objects"`
	Files     int   `json:"files"`
	Bytes     int   `json:"bytes"`
	Documents int   `json:"documents"` // of which the objects are copies
	Rules     int   `json:"rules"`
	Denied    int   `json:"denied"`
	Rounds    int   `json:"rounds"`
	Quick     bool  `json:"quick,omitempty"`
	Rows      []row `json:"rows"`
}

// finish makes the report.
func (b *bench) finish() *report {
	b.machine.Finish()
	r := &report{
		Machine: b.machine, Objects: b.large.objects, Files: (b.large.objects + objectsPerFile - 1) / objectsPerFile, Bytes: b.large.bytes,
		Documents: b.documents, Rules: b.rules, Rounds: b.opts.rounds, Quick: b.opts.quick,
	}
	steps := map[string]*step{}
	for _, s := range b.steps {
		steps[s.name] = s
	}
	r.Denied = steps[cold].denied
	for _, w := range b.rows(steps) {
		if w = w.compare(); r.Quick {
			w.Goal, w.Met = "", nil
		}
		r.Rows = append(r.Rows, w)
	}
	return r
}

// A quantity of a run.
type quantity struct {
	name, unit string
	of         func(measure.Usage) float64
}

var (
	wall      = quantity{"", "s", func(u measure.Usage) float64 { return u.Seconds }}
	millis    = quantity{"", "ms", func(u measure.Usage) float64 { return u.Seconds * 1000 }}
	processor = quantity{": processor time", "s", func(u measure.Usage) float64 { return u.CPU }}
	peak      = quantity{": peak resident memory", "MiB", func(u measure.Usage) float64 { return u.Peak }}
	anonymous = quantity{": of it not pages of files", "MiB", func(u measure.Usage) float64 { return u.Anonymous }}
)

// series takes a quantity of a program in every round.
func (s *step) series(c column, q quantity) measure.Series {
	var out measure.Series
	for _, u := range s.usages[c] {
		out = append(out, q.of(u))
	}
	return out
}

// row compares gitgate with conftest in one step.
func (s *step) row(name string, q quantity) row {
	return row{Name: name + q.name, Unit: q.unit, Gitgate: s.series(gitgateColumn, q), Conftest: s.series(conftestColumn, q)}
}

// against puts a floor in the place of conftest.
func (r row) against(name string, floor measure.Series) row {
	r.Conftest, r.Floor, r.FloorName = nil, floor, name
	return r
}

// rows are the table.
func (b *bench) rows(steps map[string]*step) []row {
	whole := fmt.Sprintf("Cold, %d objects", b.large.objects)
	c, w := steps[cold], steps[warm]
	var rows []row
	for _, q := range []quantity{wall, processor, peak, anonymous} {
		rows = append(rows, c.row(whole, q))
	}
	rows[0], rows[2] = rows[0].faster(4.5), rows[2].faster(1)
	for _, floor := range []struct {
		column column
		name   string
		of     []quantity
	}{{queryColumn, bareQuery, []quantity{wall, processor, peak}}, {hashColumn, bareHash, []quantity{wall}}} {
		for _, q := range floor.of {
			rows = append(rows, c.row(whole+", beside a "+floor.name, q).against(floor.name, c.series(floor.column, q)))
		}
	}

	changed := fmt.Sprintf("Warm, one file of %d objects changed", b.large.objects)
	for _, q := range []quantity{wall, processor, peak} {
		r := w.row(changed, q)
		r.Conftest = c.series(conftestColumn, q) // it knows no base and no cache
		rows = append(rows, r)
	}
	rows[len(rows)-3] = rows[len(rows)-3].faster(40)
	few := fmt.Sprintf("of %d objects", b.small.objects)
	rows = append(rows, w.row(changed+", against "+few, wall).against(few, w.series(otherColumn, wall)).within(1.5),
		w.row(changed+", against "+few, processor).against(few, w.series(otherColumn, processor)))

	rows = append(rows, steps[start].row("Start to the first verdict, one file and one rule", millis).atMost(150),
		steps[startEval].row("Start to the first verdict, `policy eval`", millis))
	on := fmt.Sprintf("%d objects", b.middle.objects)
	rows = append(rows, steps[eval].row("`policy eval`, "+on, wall).faster(4))
	for _, q := range []quantity{processor, peak} {
		rows = append(rows, steps[eval].row("`policy eval`, "+on, q))
	}
	for _, of := range []struct{ step, name string }{{evalTemplates, ", a template each, beside gator"}, {eval, ", beside gator with all in one template"}} {
		for _, q := range []quantity{wall, processor, peak} {
			r := steps[of.step].row("`policy eval`, "+on+of.name, q)
			r.Conftest, r.Gator = nil, steps[of.step].series(gatorColumn, q)
			rows = append(rows, r)
		}
	}
	rows[len(rows)-6] = rows[len(rows)-6].faster(8)
	return append(rows, steps[manyNames].row("Cold, "+on+", "+manyNames, wall), steps[manyNames].row("Cold, "+on+", "+manyNames, processor))
}

// missed names the goals that were missed.
func (r *report) missed() []string {
	var out []string
	for _, w := range r.Rows {
		if w.Met != nil && !*w.Met {
			out = append(out, fmt.Sprintf("%s: %s, %s, want %s", w.Name, w.Gitgate.Format(w.Unit), w.ratio(), w.Goal))
		}
	}
	return out
}

// markdown is the table.
func (r *report) markdown() string {
	var b strings.Builder
	b.WriteString(r.Describe(fmt.Sprintf("%d objects in %d files, %.1f MB, copies of %d manifests; %d rules; %d rounds",
		r.Objects, r.Files, float64(r.Bytes)/1e6, r.Documents, r.Rules, r.Rounds)))
	fmt.Fprintf(&b, " %d objects of the\nlarge repository were denied, by all programs for the same reasons.\n\n", r.Denied)
	b.WriteString("| | gitgate | conftest | floor | ratio | goal | |\n|---|---|---|---|---|---|---|\n")
	for _, w := range r.Rows {
		floor := w.Floor.Format(w.Unit)
		if floor != "" {
			floor += ", " + w.FloorName
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join([]string{
			w.Name, w.Gitgate.Format(w.Unit), w.peerCell(), floor, w.ratio(), w.Goal, measure.Verdict(w.Goal, w.Met),
		}, " | "))
	}
	return b.String()
}
