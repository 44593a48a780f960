// Package verdict is the answer that the three doors of gitgate share: what was
// judged, what was found, and whether it may pass.
//
// The zero [Verdict] denies. Only a verdict whose every required stage ran and
// which holds no finding of severity [Deny] or [Undetermined] allows.
//
// verdict depends on the standard library alone.
package verdict

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Severity says how hard a finding bites.
type Severity string

// The severities, worst first.
const (
	// Deny refuses.
	Deny Severity = "deny"
	// Undetermined means that the question could not be answered. It refuses too.
	Undetermined Severity = "undetermined"
	// Warn is shown and lets pass.
	Warn Severity = "warn"
	// Info explains and lets pass.
	Info Severity = "info"
)

func (s Severity) rank() int {
	switch s {
	case Warn:
		return 2
	case Info:
		return 3
	case Undetermined:
		return 1
	default: // an unknown severity is as bad as it gets
		return 0
	}
}

// Blocks reports whether a finding of this severity refuses. Every severity that
// is not known to be harmless blocks.
func (s Severity) Blocks() bool { return s != Warn && s != Info }

// A Finding is one thing that a stage has to say.
type Finding struct {
	Stage    Stage    `json:"stage"`
	Reason   Reason   `json:"reason"`
	Severity Severity `json:"severity"`
	// Message says what is wrong and what to do, in one line, without secrets.
	Message string `json:"message"`
	// Object is namespace/Kind.group/name of the object at fault, if any.
	Object string `json:"object,omitempty"`
	// File is the path in the repository and Line its 1-based line; 0 is unknown.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	// Field is the path of the field at fault, as in spec.containers[0].image.
	Field string `json:"field,omitempty"`
	// Policy names the rule that spoke: set/package.rule.
	Policy string `json:"policy,omitempty"`
	// Signer names the signer or key at fault.
	Signer string `json:"signer,omitempty"`
	// Image is the image reference at fault.
	Image string `json:"image,omitempty"`
	// Commit is the hash of the commit at fault, in hex.
	Commit string `json:"commit,omitempty"`
}

// Where returns file:line, file, object, or the short commit: the best place to
// point a reader at. It is empty when the finding has no place.
func (f Finding) Where() string {
	switch {
	case f.File != "" && f.Line > 0:
		return f.File + ":" + strconv.Itoa(f.Line)
	case f.File != "":
		return f.File
	case f.Object != "":
		return f.Object
	case f.Commit != "":
		return fmt.Sprintf("commit %.12s", f.Commit)
	}
	return ""
}

// String renders the finding as one line: severity, stage, reason, place, message.
func (f Finding) String() string {
	s := fmt.Sprintf("%s %s %s: ", f.Severity, f.Stage, f.Reason)
	if w := f.Where(); w != "" {
		s += w + ": "
	}
	return s + f.Message
}

func compareFindings(a, b Finding) int {
	order := Stages()
	return cmp.Or(
		cmp.Compare(a.Severity.rank(), b.Severity.rank()),
		cmp.Compare(slices.Index(order, a.Stage), slices.Index(order, b.Stage)),
		strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
		strings.Compare(a.Object, b.Object), strings.Compare(string(a.Reason), string(b.Reason)),
		strings.Compare(a.Field, b.Field), strings.Compare(a.Policy, b.Policy),
		strings.Compare(a.Commit, b.Commit), strings.Compare(a.Message, b.Message),
	)
}

// Sort orders findings worst first, then by stage, place and text, so that equal
// sets of findings always read the same.
func Sort(fs []Finding) { slices.SortStableFunc(fs, compareFindings) }

// A Status says what became of a stage.
type Status string

// The states of a stage.
const (
	Passed  Status = "passed"
	Failed  Status = "failed"
	Skipped Status = "skipped"
)

// A StageResult is the outcome of one stage and how long it took.
type StageResult struct {
	Stage   Stage         `json:"stage"`
	Status  Status        `json:"status"`
	Elapsed time.Duration `json:"-"`
}

// MarshalJSON writes the elapsed time as seconds.
func (r StageResult) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Stage   Stage   `json:"stage"`
		Status  Status  `json:"status"`
		Seconds float64 `json:"seconds"`
	}{r.Stage, r.Status, r.Elapsed.Round(time.Microsecond).Seconds()})
}

// A Verdict is the answer to: may this revision, or this object, pass? The zero
// value denies. Make one with a [Builder].
type Verdict struct {
	// Revision is what was judged, as in main@sha1:<hex>.
	Revision string
	// Objects counts the objects that were judged.
	Objects int
	// Findings are sorted worst first; see [Sort].
	Findings []Finding
	// Stages are the stages that were due, in order.
	Stages []StageResult

	reached bool // set only by Builder.Verdict when every due stage ran
}

// Allowed reports whether the verdict lets pass: every stage that was due ran,
// and nothing that was found blocks.
func (v Verdict) Allowed() bool {
	if !v.reached {
		return false
	}
	return !slices.ContainsFunc(v.Findings, func(f Finding) bool { return f.Severity.Blocks() })
}

// Undetermined reports whether the verdict denies only because something could
// not be decided: no finding denies, but one is undetermined or a stage did not
// run.
func (v Verdict) Undetermined() bool {
	if v.Allowed() {
		return false
	}
	return !slices.ContainsFunc(v.Findings, func(f Finding) bool {
		return f.Severity.Blocks() && f.Severity != Undetermined
	})
}

// Blocking returns the findings that refuse, worst first.
func (v Verdict) Blocking() []Finding {
	var out []Finding
	for _, f := range v.Findings {
		if f.Severity.Blocks() {
			out = append(out, f)
		}
	}
	return out
}

// Summary says the verdict in one line: the worst finding and how many more.
func (v Verdict) Summary() string {
	blocking := v.Blocking()
	switch {
	case v.Allowed():
		return fmt.Sprintf("allowed: %d objects", v.Objects)
	case len(blocking) == 0:
		return "undetermined: not every stage ran"
	case len(blocking) == 1:
		return blocking[0].String()
	}
	return fmt.Sprintf("%s (and %d more)", blocking[0], len(blocking)-1)
}

// MarshalJSON writes the verdict in the form that is API for scripts.
func (v Verdict) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Kind         string        `json:"kind"`
		Allowed      bool          `json:"allowed"`
		Undetermined bool          `json:"undetermined"`
		Revision     string        `json:"revision,omitempty"`
		Objects      int           `json:"objects"`
		Findings     []Finding     `json:"findings"`
		Stages       []StageResult `json:"stages"`
	}{"Verdict", v.Allowed(), v.Undetermined(), v.Revision, v.Objects,
		append([]Finding{}, v.Findings...), append([]StageResult{}, v.Stages...)})
}
