package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// gator is Gatekeeper's own tool; its version is in the go.mod file of its module.
var gator = measure.Peer{
	Name: "gator", Module: "test/bench/precheck/gator", Package: "github.com/open-policy-agent/gatekeeper/v3/cmd/gator", Binary: "gator",
}

// gatorTest is `gator test` on the files of a site.
func (b *bench) gatorTest(s *site, templates string) program {
	return program{b.command("gator test", b.gator, "test", "-f", s.files, "-f", templates, "-o", "json"), readGator, judgedCodes}
}

// The forms in which rules are in ConstraintTemplates.
const (
	manyTemplates = "templates" // one for each rule, as people write them
	oneTemplate   = "template"  // all rules in one, which is what gator is fastest with
)

func (b *bench) templatesDir(form string) string { return filepath.Join(b.dir, "policy", form) }

func readGator(data []byte) (verdict, error) {
	var results []struct{ Msg string }
	if err := json.Unmarshal(data, &results); err != nil {
		return nil, err
	}
	v := verdict{}
	for _, r := range results {
		v = append(v, r.Msg)
	}
	return v, nil
}

var (
	packageLine = regexp.MustCompile(`(?m)^package main\n`)
	denyHead    = regexp.MustCompile(`(?m)^deny contains (.*) if \{$`)
	bareInput   = regexp.MustCompile(`\binput\.`)
	kindGuard   = regexp.MustCompile(`(?m)^\tinput\.kind (?:== "(\w+)"|in \{(.*)\}|in workloads)$`)
)

// forGatekeeper is the very same text with Gatekeeper's place of the object and the
// name and the results that it wants of rules.
func forGatekeeper(source string) string {
	return bareInput.ReplaceAllString(denyHead.ReplaceAllString(source, `violation contains {"msg": $1} if {`), "input.review.object.")
}

// oneTemplate has all rules in one ConstraintTemplate, and the one constraint that
// asks for them everywhere.
func (r ruleSet) oneTemplate() ruleSet {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(r)) {
		text.WriteString(packageLine.ReplaceAllString(r[name], ""))
	}
	return ruleSet{"rules.yaml": templateAndConstraint("Rules", text.String(), nil)}
}

// templates has a ConstraintTemplate for each rule, with the helpers that it may
// call, and a constraint for the kinds that the rule is for.
func (r ruleSet) templates() (ruleSet, error) {
	var helpers strings.Builder
	var rules []string
	for _, name := range slices.Sorted(maps.Keys(r)) {
		for block := range strings.SplitSeq(packageLine.ReplaceAllString(r[name], ""), "\n\n") {
			if denyRule.MatchString(block) {
				rules = append(rules, block)
				continue
			}
			helpers.WriteString(block + "\n\n")
		}
	}
	out := ruleSet{}
	for i, rule := range rules {
		kinds, err := kindsOf(rule)
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("Rule%d", i+1)
		out[name+".yaml"] = templateAndConstraint(name, helpers.String()+rule+"\n", kinds)
	}
	return out, nil
}

// workloadKinds are workloads in the rules.
var workloadKinds = []string{"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"}

// kindsOf reads the guard that a rule begins with.
func kindsOf(rule string) ([]string, error) {
	m := kindGuard.FindStringSubmatch(rule)
	switch {
	case m == nil:
		return nil, fmt.Errorf("a rule that names no kinds: %s", rule)
	case m[1] != "":
		return []string{m[1]}, nil
	case m[2] != "":
		var kinds []string
		return kinds, json.Unmarshal([]byte("["+m[2]+"]"), &kinds)
	}
	return workloadKinds, nil
}

// templateAndConstraint is the YAML of both.
func templateAndConstraint(kind, rules string, kinds []string) string {
	name, match := strings.ToLower(kind), "{}"
	if kinds != nil {
		match = fmt.Sprintf("{match: {kinds: [{apiGroups: [\"*\"], kinds: [%s]}]}}", strings.Join(kinds, ", "))
	}
	rego := strings.ReplaceAll("package "+name+"\n\n"+forGatekeeper(rules), "\n", "\n          ")
	return fmt.Sprintf(`apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: %s}
spec:
  crd: {spec: {names: {kind: %s}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    code:
    - engine: Rego
      source:
        version: v1
        rego: |
          %s
---
apiVersion: constraints.gatekeeper.sh/v1beta1
kind: %s
metadata: {name: %s}
spec: %s
`, name, kind, rego, kind, name, match)
}
