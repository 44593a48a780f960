package author

import (
	"fmt"
	"io"
)

// A Severity says how bad a finding of lint is.
type Severity string

// The severities.
const (
	// Error is what does not work, or does not do what it seems to do.
	Error Severity = "error"
	// Warning is what is likely to become one, or to trouble who reads it.
	Warning Severity = "warning"
)

// A LintRule is one thing that lint looks for.
type LintRule struct {
	Name     string
	Severity Severity
	// Title says what it looks for, Why what comes of it and Fix what to do.
	Title, Why, Fix string
}

// The rules of lint. Their names are API: comments silence them by name.
var (
	lintCompile = LintRule{"compile", Error, "the policies do not load",
		"A set that does not load is refused, and the one that was in force before stays.",
		"Mend what the message says. This rule cannot be silenced."}
	lintUndefinedNot = LintRule{"undefined-not", Warning, "`not` before a call or comparison of a value that may be absent",
		"Rego looks the value up before it negates. Where it is absent the whole expression is undefined, and the rule is silent.",
		"Give the condition a name and negate that: `good if startswith(input.object.spec.x, \"a\")`, `not good`."}
	lintUndefinedInequality = LintRule{"undefined-inequality", Warning, "`!=` with a value that may be absent",
		"Where the value is absent the comparison is undefined, not true, and the rule is silent.",
		"Negate the equality instead, as in `not input.object.spec.x == true`, or look the value up by object.get with a default."}
	lintCompleteRule = LintRule{"complete-rule", Error, "a rule that speaks and is no set",
		"deny, violation and warn are sets of messages. Another value is a PolicyError on each object, and no value is PolicyUndefined.",
		"Write `deny contains msg if { … }`."}
	lintNoMessage = LintRule{"no-message", Error, "a result without a message",
		"A result is a string, or an object with msg. Anything else is a PolicyError.",
		"Add msg: what is wrong, with the value at fault, and what to do."}
	lintSilentRule = LintRule{"silent-rule", Error, "a rule that looks as if it spoke",
		"Only rules named deny, violation or warn, with or without _suffix, are asked.",
		"Rename the rule, as in deny_no_team."}
	lintNeverHolds = LintRule{"never-holds", Error, "a body that cannot hold",
		"The rule never speaks, whatever the object.",
		"Remove the contradiction; alternatives are rules of the same name, or `in {…}`."}
	lintUnreachable = LintRule{"unreachable", Warning, "a rule or function that no rule that speaks reads",
		"It does nothing; perhaps the one who was to read it reads another one.",
		"Use it, or remove it."}
	lintUntested = LintRule{"untested", Warning, "a rule that no test reads",
		"Nobody knows whether it denies what it should, and nothing but that.",
		"Write a test that it denies and one that it does not; see gitgate policy test."}
	lintMetadata = LintRule{"missing-metadata", Warning, "METADATA that is missing or incomplete",
		"Who is denied wants to know why and what to do; the catalogue is made from it.",
		"Give the rule a METADATA comment with title, description, custom.severity (critical, high, medium or low) and custom.remediation."}
	lintRuleName = LintRule{"rule-name", Warning, "a name that is not in snake_case",
		"Names of rules are shown in findings and named in exceptions; one way of writing them is enough.",
		"Write it in lower case with underscores."}
	lintDeprecated = LintRule{"deprecated-builtin", Warning, "a built-in that is deprecated",
		"It goes away with a later Rego.",
		"Use what its documentation names in its place."}
	lintPrint = LintRule{"print", Warning, "print in a policy",
		"It is erased when the policy is loaded, and shows nothing but in tests.",
		"Remove it, or move it to the test."}
	lintUnusedParameter = LintRule{"unused-parameter", Warning, "a parameter that no rule reads",
		"Who sets it believes that it does something.",
		"Correct its name, or remove it."}
	lintMissingParameter = LintRule{"missing-parameter", Error, "a parameter that a rule reads and nobody sets",
		"A rule that reads it is undefined, and silent.",
		"Set it, or look it up by object.get(input.parameters, …, default)."}
	lintIgnore = LintRule{"ignore", Error, "a comment gitgate:ignore that is not right",
		"What is silenced has a reason, and a comment that silences nothing hides what comes later.",
		"Write `# gitgate:ignore RULE reason` above the line or at its end; remove what silences nothing. This rule cannot be silenced."}
)

// LintRules lists what lint looks for.
func LintRules() []LintRule {
	return []LintRule{
		lintCompile, lintUndefinedNot, lintUndefinedInequality, lintCompleteRule, lintNoMessage, lintSilentRule,
		lintNeverHolds, lintUnreachable, lintUntested, lintMetadata, lintRuleName, lintDeprecated, lintPrint,
		lintUnusedParameter, lintMissingParameter, lintIgnore,
	}
}

// ExplainLintRules writes what each rule looks for, why, and what to do.
func ExplainLintRules(w io.Writer) error {
	for i, r := range LintRules() {
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(w, "%s (%s): %s\n  why: %s\n  fix: %s\n", r.Name, r.Severity, r.Title, r.Why, r.Fix); err != nil {
			return err
		}
	}
	return nil
}
