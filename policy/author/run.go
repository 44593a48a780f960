package author

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/cover"

	"gitgate.dev/gitgate/policy"
)

// A Status is what became of a test.
type Status string

// The outcomes.
const (
	Passed Status = "pass"
	// Failed means that what was asserted is not so.
	Failed Status = "fail"
	// Errored means that the test could not be run to its end.
	Errored Status = "error"
	// Skipped is a test called todo_test_…, or one that its suite skips.
	Skipped Status = "skip"
)

// A Result is the outcome of one test.
type Result struct {
	// Suite is the package of a Rego test, or the name of a manifest.
	Suite string `json:"suite"`
	Name  string `json:"name"`
	// File is where the test stands, Line its 1-based line; 0 is unknown.
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Status Status `json:"status"`
	// Message says why the test did not pass, in lines.
	Message []string `json:"message,omitempty"`
	// Output is what the test printed.
	Output  string        `json:"output,omitempty"`
	Elapsed time.Duration `json:"-"`
}

// FullName is what [Options.Run] is held against.
func (r Result) FullName() string { return r.Suite + "." + r.Name }

// A Report is the outcome of a run.
type Report struct {
	Tests []Result
	// Coverage is nil unless it was asked for.
	Coverage *Coverage
}

// Passed reports whether a test passed, and none failed.
func (r Report) Passed() bool {
	n := r.count()
	return n[Passed] > 0 && n[Failed]+n[Errored] == 0
}

func (r Report) count() map[Status]int {
	n := map[Status]int{}
	for _, t := range r.Tests {
		n[t.Status]++
	}
	return n
}

// Options say how tests are run.
type Options struct {
	// Run selects tests by their names; nil selects all.
	Run *regexp.Regexp
	// Timeout bounds one test; 5 s when zero.
	Timeout time.Duration
	// Coverage asks for the lines that tests reach. Each test then takes longer.
	Coverage bool
	// Pack finds the packs that manifests name; nil means that there are none.
	Pack func(name string) (fs.FS, error)
	// Load is how the policies of manifests are loaded; its Timeout is not used.
	Load policy.Options
}

// ErrNoTests means that nothing was tested, which must not look like success.
var ErrNoTests = errors.New("no tests found")

// Run runs the tests of the sources, each on its own: those of *_test.rego files,
// the manifests of kind PolicyTest, and the suites of Gatekeeper. It fails where something cannot be read or
// does not compile, and with [ErrNoTests]. Tests that fail are in the report.
func Run(ctx context.Context, sources []Source, o Options) (Report, error) {
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	var r Report
	covers := newCoverages(o.Coverage)
	for _, s := range sources {
		results, err := runSource(ctx, s, o, covers)
		if err != nil {
			return Report{}, err
		}
		r.Tests = append(r.Tests, results...)
	}
	slices.SortStableFunc(r.Tests, func(a, b Result) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), strings.Compare(a.Name, b.Name))
	})
	if n := r.count(); len(r.Tests)-n[Skipped] == 0 {
		return Report{}, noTests(sources, o, n[Skipped])
	}
	r.Coverage = covers.report()
	return r, nil
}

func noTests(sources []Source, o Options, skipped int) error {
	var where []string
	for _, s := range sources {
		where = append(where, s.show(s.root()))
	}
	in := strings.Join(where, ", ")
	switch {
	case skipped > 0:
		return fmt.Errorf("%w that run in %s: all %d are skipped", ErrNoTests, in, skipped)
	case o.Run != nil:
		return fmt.Errorf("%w in %s whose name matches %q", ErrNoTests, in, o.Run)
	}
	return fmt.Errorf("%w in %s: rules named test_… in files named *_test.rego are tests, and YAML of kind PolicyTest or Suite", ErrNoTests, in)
}

func runSource(ctx context.Context, s Source, o Options, covers *coverages) ([]Result, error) {
	if info, err := fs.Stat(s.FS, s.root()); err != nil {
		return nil, fmt.Errorf("%s: %w", s.show(s.root()), cause(err))
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s: not a directory", s.show(s.root()))
	}
	t, err := s.load(testCapabilities())
	if err != nil {
		return nil, err
	}
	var reached *cover.Cover
	if covers != nil {
		reached = cover.New()
		covers.add(t, reached)
	}
	results, err := t.runRego(ctx, o, reached)
	if err != nil {
		return nil, err
	}
	manifests, err := s.runManifests(ctx, o, reached)
	return append(results, manifests...), err
}
