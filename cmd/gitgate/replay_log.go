package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/webhook"
)

// A loggedDecision is a line of the decision log of any door.
type loggedDecision struct {
	webhook.Decision
	Findings []json.RawMessage `json:"findings"`
	// Verdict and Asked are the reconciler's.
	Verdict *loggedVerdict   `json:"verdict"`
	Signers []string         `json:"signers"`
	Asked   *reconcile.Asked `json:"asked"`
	// PolicySet is that of a line about rules.
	PolicySet string `json:"policySet"`

	line  int // where it stands last
	times int // how often it was made
	bad   string
}

// A loggedVerdict is a verdict as it was written. Its findings stay as they are.
type loggedVerdict struct {
	Allowed      bool              `json:"allowed"`
	Undetermined bool              `json:"undetermined"`
	Revision     string            `json:"revision"`
	Objects      int               `json:"objects"`
	Findings     []json.RawMessage `json:"findings"`
	Stages       []loggedStage     `json:"stages"`
}

type loggedStage struct {
	Stage  verdict.Stage  `json:"stage"`
	Status verdict.Status `json:"status"`
}

// A decisionLog is what a log holds, decisions that were made again and again once.
type decisionLog struct {
	decisions []*loggedDecision
	other     int
}

// readDecisions reads a log. Who asks the same again gets the same answer, so that a
// log repeats itself; of equal decisions the last stands for all.
func readDecisions(raw []byte) (*decisionLog, error) {
	log := &decisionLog{}
	seen := map[[sha256.Size]byte]*loggedDecision{}
	n := 0
	for line := range bytes.Lines(raw) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		d := &loggedDecision{line: n, times: 1}
		switch err := json.Unmarshal(line, d); {
		case err != nil:
			*d = loggedDecision{line: n, times: 1, bad: "the line is no decision: it is cut off, or something else writes into the log"}
		case d.Verdict == nil && d.Grant != "" && d.Operation == "":
			log.other++ // a change that a grant let pass: nothing was judged
			continue
		case d.Verdict == nil && d.PolicySet != "" && d.Operation == "":
			log.other++ // rules that came into force, or were refused
			continue
		case d.Verdict == nil && d.Door == auditDoor && d.PolicySet == "":
			log.other++ // a stray: nothing was judged by rules
			continue
		case d.Verdict == nil && (d.Operation == "" || d.Resource == ""):
			d.bad = "the line is no decision of gitgate's"
		}
		key, err := d.question()
		if err != nil {
			return nil, err
		}
		if before := seen[key]; before != nil {
			d.times += before.times
			*before = *d
			continue
		}
		seen[key] = d
		log.decisions = append(log.decisions, d)
	}
	if !slices.ContainsFunc(log.decisions, func(d *loggedDecision) bool { return d.bad == "" }) {
		return nil, errors.New("holds no decision: gitgate serve and gitgate webhook write them with --decision-log")
	}
	return log, nil
}

// question is the same for decisions that were asked and answered alike.
func (d *loggedDecision) question() ([sha256.Size]byte, error) {
	raw, err := json.Marshal(struct {
		Door, GitSync, PolicySet, Operation, APIVersion, Kind, Resource, Subresource, Namespace, Name string
		Allowed, Pending                                                                              bool
		Reason, Matched, Bad                                                                          string
		Object, OldObject                                                                             json.RawMessage
		Findings                                                                                      []json.RawMessage
		Verdict                                                                                       *loggedVerdict
		Asked                                                                                         *reconcile.Asked
	}{
		d.Door, d.GitSync, d.PolicySet, d.Operation, d.APIVersion, d.Kind, d.Resource, d.Subresource, d.Namespace, d.Name,
		d.Allowed, d.Pending, string(d.Reason), string(d.Matched), d.bad, d.Object, d.OldObject, d.Findings, d.Verdict, d.Asked,
	})
	return sha256.Sum256(raw), err
}

// what names a decision for people.
func (d *loggedDecision) what() string {
	switch {
	case d.bad != "":
		return "?"
	case d.Verdict != nil:
		return d.GitSync + " " + d.Verdict.Revision
	}
	id := writeID(d.request())
	if d.Subresource != "" {
		id += "/" + d.Subresource
	}
	return fmt.Sprintf("%s %s", d.Operation, id)
}

// then is what was answered.
func (d *loggedDecision) then() string {
	switch {
	case d.bad != "":
		return "?"
	case d.Verdict != nil:
		return answer(d.Verdict.Allowed, d.Verdict.Undetermined)
	}
	return answer(d.Allowed, d.Pending)
}

func answer(allowed, undetermined bool) string {
	switch {
	case allowed:
		return "allowed"
	case undetermined:
		return "undetermined"
	}
	return "denied"
}

// findingsOf decodes findings for what is asked of them.
func findingsOf(raw []json.RawMessage) ([]verdict.Finding, error) {
	out := make([]verdict.Finding, len(raw))
	for i, r := range raw {
		if err := json.Unmarshal(r, &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// difference returns what a has more of than b.
func difference(a, b []json.RawMessage) (out []json.RawMessage) {
	left := map[string]int{}
	for _, f := range b {
		left[string(f)]++
	}
	for _, f := range a {
		if left[string(f)]--; left[string(f)] < 0 {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(x, y json.RawMessage) int { return cmp.Compare(string(x), string(y)) })
	return out
}
