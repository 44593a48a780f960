package policy

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Groups of Gatekeeper's kinds, and the target of rules for Kubernetes.
const (
	templatesGroup   = "templates.gatekeeper.sh"
	constraintsGroup = "constraints.gatekeeper.sh"
	kubernetesTarget = "admission.k8s.gatekeeper.sh"
)

// Bounds of a set of Gatekeeper.
const (
	maxTemplates   = 500
	maxConstraints = 2000
	maxLibs        = 50
)

// A template is a ConstraintTemplate.
type template struct {
	kind   string
	file   string
	line   int
	source []regoText // first the one with the rule violation, then its libs
	v1     bool       // it is written in Rego v1
	// schema is the OpenAPI schema of the parameters; nil is none. With loose it says
	// nothing of what it does not name.
	schema map[string]any
	loose  bool
	// operations are those that the target lists, in capitals; none where it lists none.
	operations []string
	// deletionsNamed is set when parameters of a constraint name deletions.
	deletionsNamed bool
}

// A regoText is Rego in a YAML file.
type regoText struct {
	text string
	line int // of the file, before its first one
}

// A constraint is what a template is to judge and how.
type constraint struct {
	kind, name  string
	file        string
	line        int
	match       constraintMatch
	parameters  map[string]any
	enforcement Enforcement
}

// A gatekeeperReader collects templates and constraints.
type gatekeeperReader struct {
	set         string
	point       string // of enforcement
	bad         *problems
	file        string
	templates   map[string]*template
	constraints []*constraint
}

// readGatekeeper reads YAML files. Documents of groups that are not Gatekeeper's are
// left out: samples lie beside the templates.
func readGatekeeper(set, point string, files map[string]string, bad *problems) *gatekeeperReader {
	before := len(bad.list) + bad.more
	r := &gatekeeperReader{set: set, point: cmp.Or(point, admissionPoint), bad: bad, templates: map[string]*template{}}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if name := path.Base(file); name == "kustomization.yaml" || name == "kustomization.yml" {
			continue
		}
		r.file = file
		docs, err := readYAML(files[file])
		if err != nil {
			r.report(err)
			continue
		}
		for _, doc := range docs {
			if err := r.document(doc); err != nil {
				r.report(err)
			}
		}
	}
	for _, c := range r.constraints {
		if r.templates[c.kind] == nil {
			bad.add(Problem{Set: set, File: c.file, Line: c.line, Column: 1, Message: fmt.Sprintf("no ConstraintTemplate makes the kind %s: add it to the set", c.kind)})
		}
	}
	if len(r.constraints) == 0 && len(bad.list)+bad.more == before {
		bad.add(Problem{Set: set, Message: "no constraint in the files: such a set would let everything pass; add the constraints to the templates"})
	}
	return r
}

func (r *gatekeeperReader) report(err error) {
	p := Problem{Set: r.set, File: r.file, Message: err.Error()}
	var at *yamlError
	if errors.As(err, &at) && at.line > 0 {
		p.Line, p.Column = at.line, max(at.column, 1)
	}
	r.bad.add(p)
}

func (r *gatekeeperReader) document(doc yamlDocument) error {
	object, ok := doc.value.(map[string]any)
	if !ok {
		return yamlErrorf(doc.node, "the document is not an object")
	}
	apiVersion, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	if apiVersion == "" || kind == "" {
		return yamlErrorf(doc.node, "apiVersion or kind is missing or not a string")
	}
	group, version, _ := strings.Cut(apiVersion, "/")
	switch {
	case group == templatesGroup && kind == "ConstraintTemplate":
		if !slices.Contains([]string{"v1", "v1beta1", "v1alpha1"}, version) {
			return yamlErrorf(doc.node, "the version %q of ConstraintTemplate is unknown: use v1", version)
		}
		return r.template(doc.node, object, version == "v1")
	case group == constraintsGroup:
		return r.constraint(doc.node, object, kind)
	case group == "config.gatekeeper.sh", group == "syncset.gatekeeper.sh", group == "test.gatekeeper.sh":
		return nil // what Gatekeeper keeps in its cache, and suites of tests
	case strings.Contains(group, "gatekeeper"):
		return yamlErrorf(doc.node, "%s %s: only ConstraintTemplates and constraints are judged by", apiVersion, kind)
	}
	return nil
}

// kindName is what the kind of a constraint may be called.
var kindName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,62}$`)

func (r *gatekeeperReader) template(n *yaml.Node, object map[string]any, v1 bool) error {
	kind, _ := dig(object, "spec", "crd", "spec", "names", "kind").(string)
	if !kindName.MatchString(kind) {
		return yamlErrorf(n, "spec.crd.spec.names.kind %q is no name of a kind", clip(kind, 64))
	}
	if r.templates[kind] != nil {
		return yamlErrorf(n, "two templates make the kind %s: remove one", kind)
	}
	if len(r.templates) >= maxTemplates {
		return yamlErrorf(n, "more than %d templates", maxTemplates)
	}
	t := &template{kind: kind, file: r.file, line: n.Line}
	schema, _ := dig(object, "spec", "crd", "spec", "validation", "openAPIV3Schema").(map[string]any)
	t.schema, t.loose = schema, !v1
	if legacy, ok := dig(object, "spec", "crd", "spec", "validation", "legacySchema").(bool); ok {
		t.loose = legacy
	}
	targets := field(n, "spec", "targets")
	if targets == nil || targets.Kind != yaml.SequenceNode || len(targets.Content) != 1 {
		return yamlErrorf(n, "spec.targets must be a list of one target")
	}
	if err := t.target(targets.Content[0]); err != nil {
		return err
	}
	r.templates[kind] = t
	return nil
}

// target reads the Rego of a target. As in Gatekeeper the field rego goes before code.
func (t *template) target(n *yaml.Node) error {
	if name := field(n, "target"); name == nil || name.Value != kubernetesTarget {
		return yamlErrorf(n, "the target must be %s", kubernetesTarget)
	}
	if operations := field(n, "operations"); operations != nil {
		for _, o := range operations.Content {
			t.operations = append(t.operations, strings.ToUpper(o.Value))
		}
	}
	source := n
	if rego := field(n, "rego"); rego == nil || rego.Value == "" {
		var other []string
		source = nil
		if code := field(n, "code"); code != nil && code.Kind == yaml.SequenceNode {
			for _, c := range code.Content {
				engine := field(c, "engine")
				switch {
				case engine == nil:
				case engine.Value == "Rego" && source == nil:
					source = field(c, "source")
				default:
					other = append(other, engine.Value)
				}
			}
		}
		switch {
		case source == nil && len(other) > 0:
			return yamlErrorf(n, "the template %s is written for %s alone, which is not Rego: write it in Rego, or as a ValidatingAdmissionPolicy", t.kind, strings.Join(other, " and "))
		case source == nil:
			return yamlErrorf(n, "the template %s has no Rego", t.kind)
		}
	}
	rego := field(source, "rego")
	if rego == nil || rego.ShortTag() != "!!str" {
		return yamlErrorf(source, "the template %s has no Rego", t.kind)
	}
	if version := field(source, "version"); version != nil && source != n {
		if t.v1 = version.Value == "v1"; !t.v1 && version.Value != "v0" && version.Value != "" {
			return yamlErrorf(version, "Rego version %q is unknown: use v0 or v1", version.Value)
		}
	}
	t.source = append(t.source, textOf(rego))
	libs := field(source, "libs")
	if libs == nil {
		return nil
	}
	if libs.Kind != yaml.SequenceNode || len(libs.Content) > maxLibs {
		return yamlErrorf(libs, "libs must be a list of at most %d texts", maxLibs)
	}
	for _, lib := range libs.Content {
		if lib.Kind != yaml.ScalarNode || lib.ShortTag() != "!!str" {
			return yamlErrorf(lib, "a lib must be a text")
		}
		t.source = append(t.source, textOf(lib))
	}
	return nil
}

func textOf(n *yaml.Node) regoText {
	before := n.Line - 1
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		before = n.Line
	}
	return regoText{n.Value, before}
}

func (r *gatekeeperReader) constraint(n *yaml.Node, object map[string]any, kind string) error {
	name, _ := dig(object, "metadata", "name").(string)
	if name == "" || len(name) > 253 || strings.ContainsFunc(name, func(c rune) bool { return c < '!' || c == '/' || c > '~' }) {
		return yamlErrorf(n, "metadata.name of the constraint is missing, or no name")
	}
	if slices.ContainsFunc(r.constraints, func(c *constraint) bool { return c.kind == kind && c.name == name }) {
		return yamlErrorf(n, "two constraints are called %s/%s: remove one", kind, name)
	}
	if len(r.constraints) >= maxConstraints {
		return yamlErrorf(n, "more than %d constraints", maxConstraints)
	}
	c := &constraint{kind: kind, name: name, file: r.file, line: n.Line, parameters: map[string]any{}}
	spec, ok := object["spec"].(map[string]any)
	if !ok && object["spec"] != nil {
		return yamlErrorf(n, "spec is not an object")
	}
	for _, key := range slices.Sorted(maps.Keys(spec)) {
		if !slices.Contains([]string{"match", "parameters", "enforcementAction", "scopedEnforcementActions"}, key) {
			return yamlErrorf(fieldOr(n, "spec", key), "%s", noField("spec", key, []string{"match", "parameters", "enforcementAction", "scopedEnforcementActions"}))
		}
	}
	var err error
	var elsewhere bool
	if c.enforcement, elsewhere, err = r.enforcement(spec); err != nil {
		return yamlErrorf(fieldOr(n, "spec"), "%s", err)
	}
	if c.match, err = readMatch(spec["match"]); err != nil {
		return yamlErrorf(fieldOr(n, "spec", "match"), "spec.match: %s", err)
	}
	c.match.never = elsewhere
	if p := spec["parameters"]; p != nil {
		if c.parameters, ok = p.(map[string]any); !ok {
			return yamlErrorf(fieldOr(n, "spec", "parameters"), "spec.parameters is not an object")
		}
	}
	r.constraints = append(r.constraints, c)
	return nil
}

// fieldOr returns the node of a field, or the nearest above it.
func fieldOr(n *yaml.Node, keys ...string) *yaml.Node {
	for ; len(keys) > 0; keys = keys[:len(keys)-1] {
		if at := field(n, keys...); at != nil {
			return at
		}
	}
	return n
}

// admissionPoint is where Gatekeeper's webhook enforces.
const admissionPoint = "validation.gatekeeper.sh"

// enforcement says how hard a constraint bites, and whether it does not at all at the
// point at which it is to. At Gatekeeper's webhook what is scoped for others is audited.
func (r *gatekeeperReader) enforcement(spec map[string]any) (e Enforcement, elsewhere bool, err error) {
	actions := map[string]Enforcement{"": Deny, "deny": Deny, "warn": Warn, "dryrun": Audit}
	action, ok := spec["enforcementAction"].(string)
	if !ok && spec["enforcementAction"] != nil {
		return "", false, errors.New("enforcementAction is not a string")
	}
	if action != "scoped" {
		if e, ok = actions[action]; !ok {
			return "", false, fmt.Errorf("enforcementAction %q is unknown: use deny, warn, dryrun or scoped", clip(action, 64))
		}
		return e, false, nil
	}
	list, ok := spec["scopedEnforcementActions"].([]any)
	if !ok {
		return "", false, errors.New("enforcementAction scoped wants scopedEnforcementActions")
	}
	hardest, here := Audit, false
	for _, item := range list {
		name, _ := dig(item, "action").(string)
		e, ok := actions[name]
		points, _ := dig(item, "enforcementPoints").([]any)
		if !ok || name == "" || len(points) == 0 {
			return "", false, fmt.Errorf("in scopedEnforcementActions, action %q with %d enforcementPoints: use deny, warn or dryrun, and name the points", clip(name, 64), len(points))
		}
		for _, p := range points {
			if point, _ := dig(p, "name").(string); point != "*" && point != r.point {
				continue
			}
			if here = true; order(e) < order(hardest) {
				hardest = e
			}
		}
	}
	return hardest, !here && r.point != admissionPoint, nil
}

// order sorts enforcements, the hardest first.
func order(e Enforcement) int { return slices.Index([]Enforcement{Deny, Warn, Audit}, e) }

// dig returns the value at a path of objects, nil if there is none.
func dig(v any, keys ...string) any {
	for _, key := range keys {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}
