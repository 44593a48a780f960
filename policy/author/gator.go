package author

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/verdict"
)

// suiteGroup is the group of Gatekeeper's suites.
const suiteGroup = "test.gatekeeper.sh/"

// A suite is a set of tests of constraints, as gator verify reads it: see
// https://open-policy-agent.github.io/gatekeeper/website/docs/gator.
type suite struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   map[string]any `json:"metadata"`
	Skip       bool           `json:"skip"`
	Tests      []suiteTest    `json:"tests"`
}

// A suiteTest is a template and a constraint, and cases of both.
type suiteTest struct {
	Name       string      `json:"name"`
	Template   string      `json:"template"`
	Constraint string      `json:"constraint"`
	Expansion  string      `json:"expansion"`
	Cases      []suiteCase `json:"cases"`
	// Invalid tests are those of which the constraint must be refused.
	Invalid bool `json:"invalid"`
	Skip    bool `json:"skip"`
}

// A suiteCase is an object, or an AdmissionReview, and what must be so of it.
type suiteCase struct {
	Name       string           `json:"name"`
	Object     string           `json:"object"`
	Inventory  []string         `json:"inventory"`
	Assertions []suiteAssertion `json:"assertions"`
	Skip       bool             `json:"skip"`
}

// A suiteAssertion counts violations: yes, no, or how many have a message that
// matches.
type suiteAssertion struct {
	Violations json.RawMessage `json:"violations"`
	Message    *string         `json:"message"`
}

// holds says why an assertion does not hold of the messages, or nothing.
func (a suiteAssertion) holds(messages []string) (string, error) {
	n := len(messages)
	of := "violations"
	if a.Message != nil {
		pattern, err := regexp.Compile(*a.Message)
		if err != nil {
			return "", fmt.Errorf("message: %w", err)
		}
		n = 0
		for _, m := range messages {
			if pattern.MatchString(m) {
				n++
			}
		}
		of = fmt.Sprintf("violations whose message matches %q", *a.Message)
	}
	want := -1
	switch raw := strings.Trim(string(a.Violations), `"`); raw {
	case "", "yes", "null":
		if n > 0 {
			return "", nil
		}
		return fmt.Sprintf("got no %s, want at least one", of), nil
	case "no":
		want = 0
	default:
		if err := json.Unmarshal(a.Violations, &want); err != nil || want < 0 {
			return "", fmt.Errorf("violations is yes, no or a number, not %s", raw)
		}
	}
	if n == want {
		return "", nil
	}
	return fmt.Sprintf("got %d %s, want %d", n, of, want), nil
}

func decodeSuite(doc document) (*suite, error) {
	raw, err := json.Marshal(doc.value)
	if err != nil {
		return nil, invalid(doc.node, "the document has no JSON form: %v", err)
	}
	var s suite
	if err := strict(raw, &s); err != nil {
		return nil, invalid(doc.node, "%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if s.APIVersion != suiteGroup+"v1alpha1" || s.Kind != "Suite" {
		return nil, invalid(doc.node, "%s %s is unknown: use apiVersion %sv1alpha1 and kind Suite", s.APIVersion, s.Kind, suiteGroup)
	}
	if len(s.Tests) == 0 && !s.Skip {
		return nil, invalid(doc.node, "the suite has no tests")
	}
	return &s, nil
}

// runSuite runs the cases of a suite.
func (s Source) runSuite(ctx context.Context, file string, doc document, o Options) ([]Result, error) {
	suite, err := decodeSuite(doc)
	if err != nil {
		return nil, err
	}
	name, _ := suite.Metadata["name"].(string)
	if name == "" {
		name = s.show(file)
	}
	var out []Result
	for i, t := range suite.Tests {
		line := doc.node.Line
		if nodes := items(doc.node, "tests"); i < len(nodes) {
			line = nodes[i].Line
		}
		r := suiteRun{source: s, dir: path.Dir(file), test: t, o: o,
			result: Result{Suite: name, File: s.show(file), Line: line}, skip: suite.Skip || t.Skip}
		results, err := r.run(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, results...)
	}
	return out, nil
}

// A suiteRun runs one test of a suite.
type suiteRun struct {
	source Source
	dir    string
	test   suiteTest
	o      Options
	result Result // what all results have in common
	skip   bool
	engine *policy.Engine
	// expansions are those of the test, sorted by name.
	expansions []expansion
}

// gatorPoint is where gator enforces constraints.
const gatorPoint = "gator.gatekeeper.sh"

func (r *suiteRun) run(ctx context.Context) ([]Result, error) {
	var out []Result
	add := func(name string, skip bool, check func() ([]string, error)) {
		result := r.result
		result.Name, result.Status = name, Passed
		if r.o.Run != nil && !r.o.Run.MatchString(result.FullName()) {
			return
		}
		start := time.Now()
		var err error
		if skip {
			result.Status = Skipped
		} else if result.Message, err = check(); err != nil {
			result.Status, result.Message = Errored, []string{err.Error()}
		} else if len(result.Message) > 0 {
			result.Status = Failed
		}
		result.Elapsed = time.Since(start)
		out = append(out, result)
	}
	loading := r.load(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if r.test.Invalid || len(r.test.Cases) == 0 {
		add(r.test.Name, r.skip, func() ([]string, error) { return r.loads(loading) })
		return out, nil
	}
	for _, c := range r.test.Cases {
		add(r.test.Name+"/"+c.Name, r.skip || c.Skip, func() ([]string, error) {
			if loading != nil {
				return nil, loading
			}
			return r.check(ctx, c)
		})
	}
	return out, ctx.Err()
}

// loads judges a test that has no cases.
func (r *suiteRun) loads(loading error) ([]string, error) {
	var le *policy.LoadError
	switch {
	case !r.test.Invalid && loading == nil:
		return []string{"the test has no cases: it asserts nothing but that template and constraint load"}, nil
	case !r.test.Invalid || loading != nil && !errors.As(loading, &le):
		return nil, loading
	case loading == nil:
		return []string{"the constraint is accepted, and should be refused"}, nil
	}
	return nil, nil
}

// load makes an engine of the template and the constraint.
func (r *suiteRun) load(ctx context.Context) error {
	if r.skip {
		return nil
	}
	if err := r.loadExpansions(); err != nil {
		return err
	}
	set := policy.Set{Name: "policies", Format: policy.FormatGatekeeper, Manifests: map[string]string{}}
	for what, name := range map[string]string{"template": r.test.Template, "constraint": r.test.Constraint} {
		if name == "" {
			return fmt.Errorf("%s is missing", what)
		}
		file, err := within(r.dir, name)
		if err != nil {
			return err
		}
		raw, err := r.source.read(file)
		if err != nil {
			return err
		}
		set.Manifests[r.source.show(file)] = string(raw)
	}
	options := r.o.Load
	options.Timeout, options.EnforcementPoint = r.o.Timeout, gatorPoint
	var err error
	r.engine, err = policy.Load(ctx, []policy.Set{set}, options)
	return err
}

// check judges one case.
func (r *suiteRun) check(ctx context.Context, c suiteCase) ([]string, error) {
	if c.Object == "" {
		return nil, errors.New("object is missing")
	}
	if len(c.Assertions) == 0 {
		return nil, errors.New("the case has no assertions")
	}
	in, err := r.input(c)
	if err != nil {
		return nil, err
	}
	messages, err := r.violations(ctx, in, "")
	if err != nil {
		return nil, err
	}
	implied, err := r.implied(ctx, in)
	if err != nil {
		return nil, err
	}
	messages = append(messages, implied...)
	var wrong []string
	for _, a := range c.Assertions {
		why, err := a.holds(messages)
		if err != nil {
			return nil, err
		}
		if why != "" {
			wrong = append(wrong, why)
		}
	}
	if len(wrong) > 0 {
		for _, m := range messages {
			wrong = append(wrong, "violation: "+m)
		}
	}
	return wrong, nil
}

// violations are the messages about one object, each with something before it.
func (r *suiteRun) violations(ctx context.Context, in policy.Input, before string) ([]string, error) {
	var messages []string
	for _, f := range r.engine.Evaluate(ctx, in) {
		if f.Reason != verdict.PolicyDenied {
			return nil, fmt.Errorf("%s: %s", f.Reason, f.Message)
		}
		messages = append(messages, before+f.Message)
	}
	return messages, nil
}
