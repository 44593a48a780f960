package report

import (
	"fmt"
	"net/url"
	"strings"

	"gitgate.dev/gitgate/policy/verdict"
)

const (
	sarifSchema = "https://raw.githubusercontent.com/oasis-tcs/sarif-spec/master/Schemata/sarif-schema-2.1.0.json"
	homepage    = "https://gitgate.dev"
	// sarifRoot is the name that SARIF's readers know for the root of the repository.
	sarifRoot = "%SRCROOT%"
)

// writeSARIF writes the Static Analysis Results Interchange Format, version 2.1.0
// of OASIS, in one run: GitHub refuses several runs of one tool and category. The
// category is gitgate, or gitgate/namespace/name when one GitSync was judged.
//
// GitHub's limits are kept: at most 25,000 results, worst first as it shows but
// 5,000, and 10 MB compressed. What is left out, and what could not be decided, is
// in the notifications of the invocation.
func writeSARIF(o *output, r Report) {
	entries, left := r.worst(maxListed)
	run := sarifRun{
		Tool:        sarifTool{sarifDriver{Name: "gitgate", Version: shown(r.Version, maxName), InformationURI: homepage}},
		Automation:  sarifID{"gitgate/"},
		Invocations: []sarifInvocation{r.sarifInvocation(left)},
		BaseIDs:     map[string]sarifBase{sarifRoot: {sarifText{"the root of the repository"}}},
		ColumnKind:  "unicodeCodePoints",
		Results:     []sarifResult{},
		PropertyBag: map[string]any{"outcome": outcomeOf(r)},
		ruleIndexes: map[verdict.Reason]int{},
	}
	if len(r.Verdicts) == 1 && r.Verdicts[0].Name != "" {
		run.Automation.ID += shown(r.Verdicts[0].Name, maxName) + "/"
	}
	judgements := r.judgements()
	for _, e := range entries {
		run.add(e, judgements[e.of].Name)
	}
	o.json(sarifLog{Schema: sarifSchema, Version: "2.1.0", Runs: []sarifRun{run}})
}

// sarifInvocation says what could not be decided and what is left out.
func (r Report) sarifInvocation(left counts) sarifInvocation {
	out := sarifInvocation{Successful: true, Notifications: []sarifNotification{}}
	for _, n := range r.judgements() {
		lines := undecided(n.Verdict)
		if len(r.Verdicts) == 0 {
			lines = []string{"nothing was judged"}
		}
		for _, text := range lines {
			out.Successful = false
			out.Notifications = append(out.Notifications, sarifNotification{"error", sarifText{n.title() + ": " + text}})
		}
	}
	if left.total() > 0 {
		out.Notifications = append(out.Notifications,
			sarifNotification{"warning", sarifText{"left out, as code scanning takes no more: " + left.String()}})
	}
	return out
}

// sarifLevel maps severities to SARIF's levels.
func sarifLevel(s verdict.Severity) string {
	return [...]string{"error", "error", "warning", "note"}[level(s)]
}

func (run *sarifRun) add(e entry, sync string) {
	index, ok := run.ruleIndexes[e.Reason]
	if !ok {
		index = len(run.Tool.Driver.Rules)
		run.ruleIndexes[e.Reason] = index
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, newSARIFRule(e.Reason))
	}
	message := shown(e.Message, maxMessage)
	if message == "" {
		message = run.Tool.Driver.Rules[index].ID // a message must not be empty
	}
	place := sarifPhysical{Artifact: sarifArtifact{sarifURI(location(e.Finding)), sarifRoot}}
	if e.Line > 0 {
		place.Region = &sarifRegion{e.Line}
	}
	where := sarifLocation{Physical: place}
	if e.Object != "" {
		where.Logical = []sarifLogical{{shown(e.Object, maxName), "resource"}}
	}
	properties := map[string]any{}
	for key, value := range map[string]string{
		"severity": string(e.Severity), "stage": string(e.Stage), "gitsync": sync, "field": e.Field,
		"policy": e.Policy, "image": e.Image, "signer": e.Signer, "commit": e.Commit,
	} {
		if value != "" {
			properties[key] = shown(value, maxName)
		}
	}
	run.Results = append(run.Results, sarifResult{
		RuleID: run.Tool.Driver.Rules[index].ID, RuleIndex: index, Level: sarifLevel(e.Severity),
		// Square brackets followed by round ones are a link in SARIF's messages.
		Message:   sarifText{strings.ReplaceAll(message, "](", "] (")},
		Locations: []sarifLocation{where},
		// GitHub tells alerts apart by the second name only.
		Fingerprints: map[string]string{"gitgate/v1": e.fingerprint, "primaryLocationLineHash": e.fingerprint[:32] + ":1"},
		PropertyBag:  properties,
	})
}

// sarifURI is a path as a relative reference of RFC 3986.
func sarifURI(path string) string { return (&url.URL{Path: path}).String() }

// newSARIFRule describes a reason. What the catalogue does not know is described
// by its name.
func newSARIFRule(reason verdict.Reason) sarifRule {
	id := shown(string(reason), maxName)
	rule := sarifRule{ID: id, Name: id, Short: sarifText{id}, Full: sarifText{id}, Default: sarifDefault{"error"}}
	e, ok := Explain(reason)
	if !ok {
		return rule
	}
	rule.Short, rule.Full = sarifText{e.Title}, sarifText{e.Meaning}
	text := fmt.Sprintf("%s\n\nWhy: %s\n\nFix: %s", e.Meaning, e.Why, e.Fix)
	rule.Help = &sarifHelp{text, fmt.Sprintf("%s\n\n**Why:** %s\n\n**Fix:** %s\n", e.Meaning, e.Why, e.Fix)}
	tags := []string{}
	for _, s := range e.Stages {
		tags = append(tags, string(s))
	}
	rule.PropertyBag = map[string]any{"tags": tags}
	return rule
}
