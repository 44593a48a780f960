package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// A column is a program of a comparison, as the table and the JSON call it.
type column string

const (
	gitgateColumn  column = "gitgate"
	conftestColumn column = "conftest"
	gatorColumn    column = "gator"
	queryColumn    column = "bareQuery"
	hashColumn     column = "bareHash"
	// otherColumn is gitgate again, on what it is held against.
	otherColumn column = "gitgateOnFew"
)

// The comparisons.
const (
	cold      = "cold"
	warm      = "one file changed"
	scale     = "scale"
	start     = "start"
	startEval = "start of policy eval"
	eval      = "policy eval"
	// evalTemplates is the same with a ConstraintTemplate and a constraint for each rule.
	evalTemplates = "policy eval of templates"
	manyNames     = "each rule with a name of its own"
)

// The formats in which gitgate takes the rules.
const (
	conftestFormat   = "Conftest"
	gatekeeperFormat = "Gatekeeper"
)

// firstRule is what the start is measured with.
const firstRule = `package main

deny contains sprintf("%s %s: no label", [input.kind, input.metadata.name]) if not input.metadata.labels.nobody
`

// plan lists the comparisons.
func (b *bench) plan() ([]*step, error) {
	fixed := func(p program) func() (program, error) { return func() (program, error) { return p, nil } }
	all := []string{"--head", "main", "--all"}
	steps := []*step{
		{name: cold, programs: map[column]func() (program, error){
			gitgateColumn: fixed(b.gitgateCheck(b.large, sameName, all...)), conftestColumn: fixed(b.conftestTest(b.large, b.rulesDir(sameName))),
			queryColumn: fixed(b.floor(bareQuery, b.large, b.rulesDir(sameName))), hashColumn: fixed(b.floor(bareHash, b.large, b.rulesDir(sameName))),
		}},
		{name: eval, programs: map[column]func() (program, error){
			gitgateColumn:  fixed(b.policyEval(b.middle, conftestFormat, b.rulesDir(sameName))),
			conftestColumn: fixed(b.conftestTest(b.middle, b.rulesDir(sameName))),
			gatorColumn:    fixed(b.gatorTest(b.middle, b.templatesDir(oneTemplate))),
		}},
		{name: evalTemplates, programs: map[column]func() (program, error){
			gitgateColumn: fixed(b.policyEval(b.middle, gatekeeperFormat, b.templatesDir(manyTemplates))),
			gatorColumn:   fixed(b.gatorTest(b.middle, b.templatesDir(manyTemplates))),
		}},
		{name: manyNames, programs: map[column]func() (program, error){
			gitgateColumn:  fixed(b.gitgateCheck(b.middle, ownNames, all...)),
			conftestColumn: fixed(b.conftestTest(b.middle, b.rulesDir(ownNames))),
		}},
		{name: start, programs: map[column]func() (program, error){
			gitgateColumn:  fixed(b.gitgateCheck(b.single, oneRule, all...)),
			conftestColumn: fixed(b.conftestTest(b.single, b.rulesDir(oneRule))),
		}},
		{name: startEval, programs: map[column]func() (program, error){
			gitgateColumn: fixed(b.policyEval(b.single, conftestFormat, b.rulesDir(oneRule))),
		}},
	}
	few, err := b.warm(b.small)
	if err != nil {
		return nil, err
	}
	many, err := b.warm(b.large)
	if err != nil {
		return nil, err
	}
	steps = append(steps, &step{name: warm, programs: map[column]func() (program, error){gitgateColumn: many, otherColumn: few}})
	for _, s := range steps {
		s.usages = map[column][]measure.Usage{}
		if b.conftest == "" {
			delete(s.programs, conftestColumn)
		}
		if b.gator == "" {
			delete(s.programs, gatorColumn)
		}
	}
	return steps, nil
}

// warm has gitgate judge main into a cache, and returns how to judge the change
// with what that run left there. What the cache gives must be what is found
// without it.
func (b *bench) warm(s *site) (func() (program, error), error) {
	filled := filepath.Join(b.dir, fmt.Sprintf("cache-of-main-%d", s.objects))
	if _, _, err := b.run(b.gitgateCheck(s, sameName, "--head", "main", "--cache-dir", filled)); err != nil {
		return nil, err
	}
	flags := []string{"--base", "main", "--head", "change"}
	_, want, err := b.run(b.gitgateCheck(s, sameName, flags...))
	if err != nil {
		return nil, err
	}
	if len(want) != 1 {
		return nil, fmt.Errorf("the change is denied for %q, want the one reason", want)
	}
	cache := filepath.Join(b.dir, fmt.Sprintf("cache-%d", s.objects))
	return func() (program, error) {
		if err := os.RemoveAll(cache); err != nil {
			return program{}, err
		}
		if _, err := os.Stat(filled); err == nil { // a gitgate may have nothing to keep
			if _, err := measure.Output(b.ctx, b.dir, nil, "cp", "-a", filled, cache); err != nil {
				return program{}, err
			}
		}
		return b.gitgateCheck(s, sameName, append(slices.Clip(flags), "--cache-dir", cache)...), nil
	}, nil
}
