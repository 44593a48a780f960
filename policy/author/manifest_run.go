package author

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"time"

	"github.com/open-policy-agent/opa/v1/cover"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/verdict"
)

// An Expectation describes findings. What it leaves out may be anything, but the
// reason: it is PolicyDenied unless it says another one.
type Expectation struct {
	// Policy is package.rule.
	Policy string `json:"policy"`
	// Msg is a regular expression that the message matches.
	Msg string `json:"msg"`
	// Field is the path of the field at fault.
	Field    string           `json:"field"`
	Severity verdict.Severity `json:"severity"`
	Reason   verdict.Reason   `json:"reason"`
	// Count is how many findings are described; 0 is one or more.
	Count int `json:"count"`
}

func (e Expectation) check() error {
	if _, err := regexp.Compile(e.Msg); err != nil {
		return fmt.Errorf("msg: %w", err)
	}
	switch {
	case e.Count < 0:
		return errors.New("count is less than 0")
	case e == (Expectation{Count: e.Count}):
		return errors.New("it describes nothing: name at least one of policy, msg, field, severity and reason")
	}
	return nil
}

func (e Expectation) describes(f verdict.Finding) bool {
	matched, err := regexp.MatchString(e.Msg, f.Message)
	return err == nil && matched &&
		(e.Policy == "" || e.Policy == ruleOf(f)) &&
		(e.Field == "" || e.Field == f.Field) &&
		(e.Severity == "" || e.Severity == f.Severity) &&
		cmp.Or(e.Reason, verdict.PolicyDenied) == f.Reason
}

// String is the expectation as it was written, in one line.
func (e Expectation) String() string {
	out := ""
	add := func(key, value string) {
		if value != "" {
			out += fmt.Sprintf(", %s %s", key, value)
		}
	}
	add("policy", e.Policy)
	add("msg", e.Msg)
	add("field", e.Field)
	add("severity", string(e.Severity))
	add("reason", string(e.Reason))
	return out[2:]
}

// compare says how findings differ from what is expected; nothing if they do not.
func compare(want Expected, got []verdict.Finding) []string {
	var out []string
	expected := make([]bool, len(got))
	for _, e := range want {
		n := 0
		for i, f := range got {
			if e.describes(f) {
				expected[i] = true
				n++
			}
		}
		switch {
		case n == 0:
			out = append(out, "expected and not found: "+e.String())
		case e.Count > 0 && n != e.Count:
			out = append(out, fmt.Sprintf("expected %d times and found %d times: %s", e.Count, n, e))
		}
	}
	for i, f := range got {
		if !expected[i] {
			text := fmt.Sprintf("found and not expected: %s %s [%s] %s", f.Severity, f.Reason, ruleOf(f), f.Message)
			if f.Field != "" {
				text += " (field " + f.Field + ")"
			}
			out = append(out, text)
		}
	}
	return out
}

// A manifestRun runs the cases of one manifest.
type manifestRun struct {
	source  Source
	dir     string
	test    *PolicyTest
	set     policy.Set
	engines map[string]*policy.Engine // by parameters
	o       Options
	reached *cover.Cover
}

func (s Source) runDocument(ctx context.Context, file string, doc document, o Options, reached *cover.Cover) ([]Result, error) {
	t, err := decodeTest(doc)
	if err != nil {
		return nil, err
	}
	r := manifestRun{source: s, dir: path.Dir(file), test: t, engines: map[string]*policy.Engine{}, o: o, reached: reached}
	if err := r.read(); err != nil {
		return nil, err
	}
	var out []Result
	for i := range t.Cases {
		c := &t.Cases[i]
		result := Result{Suite: t.Metadata.Name, Name: c.Name, File: s.show(file), Line: caseNode(doc.node, i).Line, Status: Passed}
		if o.Run != nil && !o.Run.MatchString(result.FullName()) {
			continue
		}
		start := time.Now()
		result.Message, err = r.run(ctx, c)
		result.Elapsed = time.Since(start)
		var le *policy.LoadError
		switch {
		case errors.As(err, &le):
			return nil, err
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			result.Status, result.Message = Errored, []string{err.Error()}
		case len(result.Message) > 0:
			result.Status = Failed
		}
		out = append(out, result)
	}
	return out, nil
}

// read reads the policies.
func (r *manifestRun) read() error {
	fsys, root := r.source.FS, "."
	if r.test.Pack != "" {
		if r.o.Pack == nil {
			return fmt.Errorf("there is no pack %q", r.test.Pack)
		}
		var err error
		if fsys, err = r.o.Pack(r.test.Pack); err != nil {
			return err
		}
	} else {
		var err error
		if root, err = within(r.dir, r.test.Policy); err != nil {
			return err
		}
		if info, err := fs.Stat(fsys, root); err != nil || !info.IsDir() {
			return fmt.Errorf("policy %s is not a directory", r.test.Policy)
		}
	}
	set, err := policy.ReadSetAs(r.test.Format, "policies", fsys, root)
	if err != nil {
		return r.source.shown(err)
	}
	switch set.RegoVersion = r.test.RegoVersion; {
	case r.test.Pack != "":
		set.RegoVersion = policy.RegoV1
	case set.Format != policy.FormatGatekeeper: // its templates say it themselves
		set.RegoVersion = cmp.Or(set.RegoVersion, r.source.RegoVersion)
	}
	r.set = set
	return nil
}

// engine loads the policies with the parameters of a case.
func (r *manifestRun) engine(ctx context.Context, c *Case) (*policy.Engine, error) {
	set := r.set
	if set.Parameters = r.test.Parameters; c.Parameters != nil {
		set.Parameters = c.Parameters
	}
	key, err := json.Marshal(set.Parameters)
	if err != nil {
		return nil, err
	}
	if e, ok := r.engines[string(key)]; ok {
		return e, nil
	}
	load := r.o.Load
	load.Timeout = r.o.Timeout
	e, err := policy.Load(ctx, []policy.Set{set}, load)
	if err != nil {
		return nil, r.source.shown(err)
	}
	r.engines[string(key)] = e
	return e, nil
}

// run judges a case and says how the findings differ from what it expects.
func (r *manifestRun) run(ctx context.Context, c *Case) ([]string, error) {
	in, err := c.input(r.source, r.dir)
	if err != nil {
		return nil, err
	}
	e, err := r.engine(ctx, c)
	if err != nil {
		return nil, err
	}
	if r.reached != nil && r.test.Pack == "" {
		reach(ctx, e, in, r.o.Timeout, r.reached)
	}
	return compare(*c.Expect, e.Evaluate(ctx, in)), nil
}

// reach notes what the rules reach in judging an object. What fails here is for
// the verdict to say.
func reach(ctx context.Context, e *policy.Engine, in policy.Input, timeout time.Duration, reached *cover.Cover) {
	p, err := e.Probe(in)
	if err != nil {
		return
	}
	ctx, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	for i := range p.Rules() {
		_ = p.Ask(ctx, i, reached)
	}
}
