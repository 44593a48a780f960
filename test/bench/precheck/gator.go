package main

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// gator is Gatekeeper's own tool; its version is in the go.mod file of its module.
var gator = measure.Peer{
	Name: "gator", Module: "test/bench/precheck/gator", Package: "github.com/open-policy-agent/gatekeeper/v3/cmd/gator", Binary: "gator",
}

// gatorTest is `gator test` on the files of a site.
func (b *bench) gatorTest(s *site) program {
	return program{b.command("gator test", b.gator, "test", "-f", s.files, "-f", b.gatorRules(), "-o", "json"), readGator, judgedCodes}
}

func (b *bench) gatorRules() string { return filepath.Join(b.dir, "policy", "gator") }

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
)

// forGator is the very same text as one module of Gatekeeper: one package, rules
// that are called violation and give an object, and its place of the object.
func (r ruleSet) forGator() string {
	var text strings.Builder
	text.WriteString("package rules\n")
	for _, name := range slices.Sorted(maps.Keys(r)) {
		source := packageLine.ReplaceAllString(r[name], "")
		source = denyHead.ReplaceAllString(source, `violation contains {"msg": $1} if {`)
		text.WriteString(bareInput.ReplaceAllString(source, "input.review.object."))
	}
	return text.String()
}

// writeForGator writes the rules as a ConstraintTemplate, and the one constraint
// that asks for them everywhere.
func (r ruleSet) writeForGator(dir string) error {
	for name, o := range map[string]object{
		"template.yaml": {
			"apiVersion": "templates.gatekeeper.sh/v1", "kind": "ConstraintTemplate", "metadata": object{"name": "rules"},
			"spec": object{
				"crd": object{"spec": object{"names": object{"kind": "Rules"}}},
				"targets": list{object{"target": "admission.k8s.gatekeeper.sh", "code": list{
					object{"engine": "Rego", "source": object{"version": "v1", "rego": r.forGator()}},
				}}},
			},
		},
		"constraint.yaml": {"apiVersion": "constraints.gatekeeper.sh/v1beta1", "kind": "Rules", "metadata": object{"name": "rules"}},
	} {
		data, err := yaml.Marshal(o)
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(dir, name), string(data)); err != nil {
			return err
		}
	}
	return nil
}
