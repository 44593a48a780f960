package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
)

// A row is one figure of the table.
type row struct {
	Name      string `json:"name"`
	Unit      string `json:"unit,omitempty"`
	Gitgate   series `json:"gitgate"`
	Flux      series `json:"flux,omitempty"`
	Floor     series `json:"floor,omitempty"`
	FloorName string `json:"floorName,omitempty"`
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
	if len(r.Flux) == 0 || len(r.Gitgate) == 0 || r.Gitgate.median() == 0 || r.Flux.median() == 0 {
		return r
	}
	if v := r.Flux.per(r.Gitgate).median(); v >= 1 {
		r.Ratio = number(v) + "× less than Flux"
	} else {
		r.Ratio = number(1/v) + "× more than Flux"
	}
	return r
}

// ratioToFloor says how many times the floor gitgate needs.
func (r row) ratioToFloor() row {
	r.Ratio = number(r.Gitgate.per(r.Floor).median()) + "× the floor"
	return r
}

// faster asks for Flux's time to be at least goal times gitgate's.
func (r row) faster(goal float64) row {
	if len(r.Flux) == 0 || len(r.Gitgate) == 0 {
		return r
	}
	r = r.ratio()
	return r.judge(fmt.Sprintf("≥ %s× faster than Flux", number(goal)), r.Flux.per(r.Gitgate).median() >= goal)
}

// within asks for gitgate to need at most goal times the floor.
func (r row) within(goal float64) row {
	r = r.ratioToFloor()
	return r.judge(fmt.Sprintf("≤ %s× the floor", number(goal)), r.Gitgate.per(r.Floor).median() <= goal)
}

// below asks for gitgate to need less than both controllers of Flux. Only one of
// them is measured: who needs less than it needs less than both, and of who does
// not nothing is known.
func (r row) below() row {
	if len(r.Flux) == 0 || len(r.Gitgate) == 0 {
		return r
	}
	r = r.ratio().judge("below Flux's two controllers", true)
	if r.Gitgate.median() >= r.Flux.median() {
		r.Met = nil
	}
	return r
}

// atMost asks for every value of a counting row to be at most goal, and for the
// median of any other.
func (r row) atMost(goal float64) row {
	worst := r.Gitgate.median()
	if r.deterministic && len(r.Gitgate) > 0 {
		worst = slices.Max(r.Gitgate)
	}
	return r.judge(strings.TrimSpace("≤ "+number(goal)+" "+r.Unit), worst <= goal)
}

// medianAtMost is atMost with a ratio, for times.
func (r row) medianAtMost(goal float64) row {
	r = r.judge("≤ "+number(goal)+" "+r.Unit+" at the median", r.Gitgate.median() <= goal)
	if len(r.Flux) > 0 && len(r.Gitgate) > 0 {
		r.Ratio = number(r.Flux.median()/r.Gitgate.median()) + "× less than Flux"
	}
	return r
}

// A report is the table and what to know about it.
type report struct {
	Objects   int     `json:"objects"`
	Rounds    int     `json:"rounds"`
	Quick     bool    `json:"quick,omitempty"`
	CPUs      int     `json:"cpus"`
	Platform  string  `json:"platform"`
	Go        string  `json:"go"`
	LoadStart float64 `json:"loadBefore"` // of the minute before
	LoadEnd   float64 `json:"loadAfter"`
	Rows      []row   `json:"rows"`
}

func newReport(o options) *report {
	return &report{
		Objects: o.objects, Rounds: o.rounds, Quick: o.quick, CPUs: runtime.NumCPU(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), LoadStart: loadAverage(),
	}
}

// add appends a row. With -quick only counts are judged.
func (r *report) add(w row) {
	if r.Quick && !w.deterministic {
		w.Goal, w.Met = "", nil
	}
	r.Rows = append(r.Rows, w)
}

func (r *report) finish() { r.LoadEnd = loadAverage() }

// missed names the goals that were missed.
func (r *report) missed() []string {
	var out []string
	for _, w := range r.Rows {
		if w.Met != nil && !*w.Met {
			out = append(out, w.Name+": "+w.Gitgate.format(w.Unit)+", want "+w.Goal)
		}
	}
	return out
}

func (r *report) print(out io.Writer, format string) error {
	if format == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	_, err := io.WriteString(out, r.markdown())
	return err
}

// markdown is the table.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d CPUs, %s, %s; %d objects, %d rounds; load average %.1f before and %.1f after.\n\n",
		r.CPUs, r.Platform, r.Go, r.Objects, r.Rounds, r.LoadStart, r.LoadEnd)
	b.WriteString("| | gitgate | Flux (kustomize-controller alone) | floor | ratio | goal | |\n|---|---|---|---|---|---|---|\n")
	for _, w := range r.Rows {
		floor := w.Floor.format(w.Unit)
		if w.FloorName != "" {
			floor += ", " + w.FloorName
		}
		met := ""
		switch {
		case w.Goal == "":
		case w.Met == nil:
			met = "not known"
		case *w.Met:
			met = "met"
		default:
			met = "**missed**"
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join([]string{
			w.Name, w.Gitgate.format(w.Unit), w.Flux.format(w.Unit), floor, w.Ratio, w.Goal, met,
		}, " | "))
	}
	return b.String()
}

const (
	beginMarker = "<!-- bench:begin -->\n"
	endMarker   = "<!-- bench:end -->\n"
)

// replaceIn puts the table between the markers of a Markdown file.
func (r *report) replaceIn(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, begun := strings.Cut(string(data), beginMarker)
	_, foot, ended := strings.Cut(rest, endMarker)
	if !begun || !ended {
		return fmt.Errorf("%s has no lines %q and %q", path, strings.TrimSpace(beginMarker), strings.TrimSpace(endMarker))
	}
	return os.WriteFile(path, []byte(head+beginMarker+r.markdown()+endMarker+foot), 0o644)
}
