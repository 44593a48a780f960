package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// conftest is the peer; its version is in the go.mod file of its module.
var conftest = measure.Peer{
	Name: "conftest", Module: "test/bench/precheck/conftest", Package: "github.com/open-policy-agent/conftest", Binary: "conftest",
}

// A bench is one run.
type bench struct {
	measure.Teller
	ctx      context.Context
	opts     options
	machine  measure.Machine
	dir      string
	self     string
	conftest string // empty if it is left out
	gator    string // likewise
	runs     int

	large, middle, small, single *site
	documents                    int
	rules                        int

	steps []*step
}

// The names of rules, as sites have them.
const (
	sameName = "rules"  // all forty are called deny
	ownNames = "named"  // each has a name of its own
	oneRule  = "single" // one rule
)

// newBench writes all that is judged. The caller closes it, also after an error.
func newBench(ctx context.Context, o options, progress io.Writer) (*bench, error) {
	b := &bench{Teller: measure.Teller{Out: progress, Prefix: "precheck"}, ctx: ctx, opts: o, machine: measure.ThisMachine()}
	var err error
	if b.self, err = os.Executable(); err != nil {
		return b, err
	}
	if !o.without {
		if b.conftest, err = conftest.Build(ctx, b.Teller); err != nil {
			return b, fmt.Errorf("building conftest: %w", err)
		}
	}
	if !o.noGator {
		if b.gator, err = gator.Build(ctx, b.Teller); err != nil {
			return b, fmt.Errorf("building gator: %w", err)
		}
	}
	if b.dir, err = os.MkdirTemp("", "gitgate-precheck-"); err != nil {
		return b, err
	}
	if err := os.Mkdir(filepath.Join(b.dir, "out"), 0o755); err != nil {
		return b, err
	}
	if err := b.writeSites(); err != nil {
		return b, err
	}
	if b.conftest != "" {
		if err := b.shareBundle(); err != nil {
			return b, fmt.Errorf("conftest and a bundle of gitgate's: %w", err)
		}
	}
	if o.nice != 0 {
		return b, measure.Hurry(o.nice)
	}
	return b, nil
}

func (b *bench) close() {
	if b.dir != "" {
		os.RemoveAll(b.dir)
	}
}

// writeSites writes the repositories, the files and the rules.
func (b *bench) writeSites() error {
	b.Say("writing manifests")
	docs, err := readDocuments(b.ctx)
	if err != nil {
		return err
	}
	b.documents = len(docs)
	all, err := allRules()
	if err != nil {
		return err
	}
	b.rules = all.count()
	rules := map[string]ruleSet{sameName: all, ownNames: all.named(), oneRule: {"one.rego": firstRule}}
	for name, set := range rules {
		if err := set.write(b.rulesDir(name)); err != nil {
			return err
		}
	}
	templates, err := all.templates()
	if err != nil {
		return err
	}
	if err := errors.Join(templates.write(b.templatesDir(manyTemplates)), all.oneTemplate().write(b.templatesDir(oneTemplate))); err != nil {
		return err
	}
	for _, s := range []struct {
		site    **site
		objects int
	}{{&b.large, b.opts.objects}, {&b.middle, b.opts.objects / 10}, {&b.small, b.opts.objects / 100}, {&b.single, 1}} {
		dir := filepath.Join(b.dir, fmt.Sprintf("site-%d", s.objects))
		if *s.site, err = newSite(b.ctx, dir, docs, s.objects, rules); err != nil {
			return err
		}
	}
	return nil
}

// rulesDir is the directory of rules as conftest and gitgate take them.
func (b *bench) rulesDir(name string) string { return filepath.Join(b.dir, "policy", name) }

// A step is a comparison: programs that judge the same and must agree.
type step struct {
	name string
	// programs by column. What judges nothing need not agree.
	programs map[column]func() (program, error)
	usages   map[column][]measure.Usage
	denied   int
}

// order lists a step's programs, in turn forwards and backwards.
func (s *step) order(round int) []column {
	var out []column
	for _, c := range []column{gitgateColumn, conftestColumn, gatorColumn, queryColumn, hashColumn, otherColumn} {
		if s.programs[c] != nil {
			out = append(out, c)
		}
	}
	if round%2 == 1 {
		slices.Reverse(out)
	}
	return out
}

// runAll measures round by round. The first is not recorded: files come into the
// cache of the kernel.
func (b *bench) runAll() error {
	steps, err := b.plan()
	if err != nil {
		return err
	}
	b.steps = steps
	for round := -1; round < b.opts.rounds; round++ {
		if round < 0 {
			b.Say("warming up")
		} else {
			b.Say("round %d of %d", round+1, b.opts.rounds)
		}
		for _, s := range b.steps {
			if round < 0 && s.name == manyNames {
				continue // it would take longer than all else
			}
			if err := b.round(s, round); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return nil
}

// round runs each program of a step once, and has them agree.
func (b *bench) round(s *step, round int) error {
	var want verdict
	var from string
	for _, c := range s.order(round) {
		p, err := s.programs[c]()
		if err != nil {
			return err
		}
		u, got, err := b.run(p)
		if err != nil {
			return err
		}
		if round >= 0 {
			s.usages[c] = append(s.usages[c], u)
		}
		if got == nil {
			continue
		}
		if want != nil && !slices.Equal(got, want) {
			return disagreement(p.Name, got, from, want)
		}
		want, from, s.denied = got, p.Name, len(got)
	}
	if want == nil {
		return errors.New("nobody judged")
	}
	return nil
}

// disagreement names the first denial that only one of two programs has.
func disagreement(a string, got verdict, b string, want verdict) error {
	for _, m := range got {
		if !slices.Contains(want, m) {
			return fmt.Errorf("%s denies %q, and %s does not", a, m, b)
		}
	}
	for _, m := range want {
		if !slices.Contains(got, m) {
			return fmt.Errorf("%s denies %q, and %s does not", b, m, a)
		}
	}
	return fmt.Errorf("%s denies %d times and %s %d times, with the same messages", a, len(got), b, len(want))
}
