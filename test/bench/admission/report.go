package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
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

// A series holds the values of one quantity, round by round.
type series []float64

func (s series) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// per divides round by round: the machine was the same within a round.
func (s series) per(other series) series {
	out := make(series, min(len(s), len(other)))
	for i := range out {
		out[i] = s[i] / other[i]
	}
	return out
}

// format gives the median and the range.
func (s series) format() string {
	if len(s) == 0 {
		return ""
	}
	text := number(s.median())
	if low, high := number(slices.Min(s)), number(slices.Max(s)); low != high {
		text += fmt.Sprintf(" (%s–%s)", low, high)
	}
	return text
}

// number prints three significant digits.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// A row is one line of the table.
type row struct {
	Name   string            `json:"name"`
	Values map[string]series `json:"values"` // by server
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
		return a.per(b).median(), true
	}
	return b.per(a).median(), true
}

// A report is the table and what to know about it.
type report struct {
	Reviews   int     `json:"reviews"`
	Rounds    int     `json:"rounds"`
	CPUs      int     `json:"cpus"`
	Platform  string  `json:"platform"`
	Go        string  `json:"go"`
	LoadStart float64 `json:"loadBefore"`
	LoadEnd   float64 `json:"loadAfter"`
	Judged    int     `json:"judged"`
	Denied    int     `json:"denied"`
	// Late counts the reviews that a server failed to judge in time.
	Late map[string]int `json:"late"`
	Rows []*row         `json:"rows"`
}

func newReport(o options) *report {
	return &report{Reviews: o.reviews, Rounds: o.rounds, CPUs: runtime.NumCPU(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Go: runtime.Version(), LoadStart: loadAverage(), Late: map[string]int{}}
}

// goals by row.
var goals = map[string]float64{
	rowName(everyNew, 64, throughput):  15,
	rowName(everyNew, 64, slowest):     10,
	rowName(everyNew, 1, slowest):      10,
	rowName(repeating, 64, throughput): 25,
}

func rowName(w workload, concurrency int, q quantity) string {
	return fmt.Sprintf("%s, %d at once: %s", w, concurrency, q)
}

func (r *report) add(name, server string, more bool, value float64) {
	i := slices.IndexFunc(r.Rows, func(w *row) bool { return w.Name == name })
	if i < 0 {
		i = len(r.Rows)
		r.Rows = append(r.Rows, &row{Name: name, Values: map[string]series{}, More: more, Goal: goals[name]})
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

func (r *report) memory(server string, all, anon float64) {
	r.add(string(residentMB), server, false, all)
	r.add(string(anonymous), server, false, anon)
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
	r.LoadEnd = loadAverage()
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
			out = append(out, fmt.Sprintf("%s: %s×, want %s×", w.Name, number(ratio), number(w.Goal)))
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

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d CPUs, %s, %s; %d reviews and %d rounds; load average %.1f before and %.1f after. %d reviews were judged and %d denied,\n"+
		"by all servers alike and for the same reasons.\n\n",
		r.CPUs, r.Platform, r.Go, r.Reviews, r.Rounds, r.LoadStart, r.LoadEnd, r.Judged, r.Denied)
	for _, name := range slices.Sorted(maps.Keys(r.Late)) {
		fmt.Fprintf(&b, "%s could not judge %d of them in time; those count as slow and not as verdicts.\n\n", name, r.Late[name])
	}
	b.WriteString("| | gitgate | Gatekeeper | bare query | bare envelope | better than Gatekeeper | goal | |\n|---|---|---|---|---|---|---|---|\n")
	for _, w := range r.Rows {
		ratio, goal, met := "", "", ""
		if v, ok := w.ratio(); ok {
			ratio = number(v) + "×"
		}
		if w.Goal > 0 {
			goal = fmt.Sprintf("≥ %.0f×", w.Goal)
		}
		if w.Met != nil {
			met = map[bool]string{true: "met", false: "**missed**"}[*w.Met]
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join([]string{
			w.Name, w.Values[gitgateName].format(), w.Values[gatekeeperName].format(), w.Values[bareQuery].format(),
			w.Values[bareEnvelope].format(), ratio, goal, met,
		}, " | "))
	}
	return b.String()
}

const (
	beginMarker = "<!-- admission:begin -->\n"
	endMarker   = "<!-- admission:end -->\n"
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
