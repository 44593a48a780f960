package policy

import (
	"cmp"

	"github.com/open-policy-agent/opa/v1/ast"
)

// RuleInfo is what a rule that speaks says of itself in its METADATA. What it does not
// say is empty.
type RuleInfo struct {
	Title string
	// Severity is custom.severity: critical, high, medium, low or info; empty for any
	// other word.
	Severity string
	// Category is custom.category of the rule or of its package, or else the title of the
	// package.
	Category string
}

// Rules describes the rules that speak by the name that findings have for them:
// set/package.rule. Rules of Gatekeeper's templates have no METADATA and are left out.
func (c *Compiled) Rules() map[string]RuleInfo {
	out := map[string]RuleInfo{}
	for _, s := range c.sets {
		for _, e := range s.entries {
			if s.format != FormatGatekeeper {
				out[s.policyName(e)] = e.info
			}
		}
	}
	return out
}

// describe completes what is known of a rule by those that make it: the first word on
// anything counts, and that of a rule before that of its package.
func (i *RuleInfo) describe(rules []*ast.Rule) {
	for _, r := range rules {
		for _, a := range r.Annotations {
			i.Title = cmp.Or(i.Title, a.Title)
			i.Severity = cmp.Or(i.Severity, knownSeverity(a))
			i.Category = cmp.Or(i.Category, custom(a, "category"))
		}
	}
	for _, r := range rules {
		for _, a := range r.Module.Annotations {
			if a.Scope == "package" || a.Scope == "subpackages" {
				i.Severity = cmp.Or(i.Severity, knownSeverity(a))
				i.Category = cmp.Or(i.Category, custom(a, "category"), a.Title)
			}
		}
	}
}

func custom(a *ast.Annotations, name string) string {
	s, _ := a.Custom[name].(string)
	return s
}

func knownSeverity(a *ast.Annotations) string {
	switch s := custom(a, "severity"); s {
	case "critical", "high", "medium", "low", "info":
		return s
	}
	return ""
}
