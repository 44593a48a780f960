package author

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/cover"
)

// A Coverage says which lines of policies tests reach. Files of tests do not count.
type Coverage struct {
	// Percent of all lines that can be reached; 100 where there is none.
	Percent float64        `json:"percent"`
	Files   []FileCoverage `json:"files"`
}

// A FileCoverage is the coverage of one module.
type FileCoverage struct {
	File    string  `json:"file"`
	Percent float64 `json:"percent"`
	Covered int     `json:"covered"`
	Lines   int     `json:"lines"`
	// Uncovered are the lines that no test reaches.
	Uncovered []Lines `json:"uncovered,omitempty"`
}

// Lines are the lines from First to Last, 1-based.
type Lines struct {
	First int `json:"first"`
	Last  int `json:"last"`
}

// String is 7 or 7-9.
func (l Lines) String() string {
	if l.First == l.Last {
		return fmt.Sprint(l.First)
	}
	return fmt.Sprintf("%d-%d", l.First, l.Last)
}

// coverages are what the tests of all sources reach; nil where nobody asks.
type coverages struct {
	trees []*tree
	tests []*cover.Cover
}

func newCoverages(wanted bool) *coverages {
	if !wanted {
		return nil
	}
	return &coverages{}
}

func (c *coverages) add(t *tree, reached *cover.Cover) {
	c.trees, c.tests = append(c.trees, t), append(c.tests, reached)
}

func (c *coverages) report() *Coverage {
	if c == nil {
		return nil
	}
	out := &Coverage{Percent: 100, Files: []FileCoverage{}}
	covered, lines := 0, 0
	for i, t := range c.trees {
		modules := t.policies()
		report := c.tests[i].Report(modules)
		for file := range modules {
			f := fileCoverage(t.source.show(file), report.Files[file])
			covered, lines = covered+f.Covered, lines+f.Lines
			out.Files = append(out.Files, f)
		}
	}
	out.Percent = percent(covered, lines)
	slices.SortFunc(out.Files, func(a, b FileCoverage) int { return strings.Compare(a.File, b.File) })
	return out
}

func percent(n, of int) float64 {
	if of == 0 {
		return 100
	}
	return 100 * float64(n) / float64(of)
}

// fileCoverage counts lines. One of which a part is reached and a part is not
// counts as not covered.
func fileCoverage(name string, r *cover.FileReport) FileCoverage {
	rows := map[int]bool{}
	for _, at := range r.Covered {
		for row := at.Start.Row; row <= at.End.Row; row++ {
			rows[row] = true
		}
	}
	for _, at := range r.NotCovered {
		for row := at.Start.Row; row <= at.End.Row; row++ {
			rows[row] = false
		}
	}
	out := FileCoverage{File: name, Lines: len(rows)}
	var missed []int
	for row, ok := range rows {
		if ok {
			out.Covered++
		} else {
			missed = append(missed, row)
		}
	}
	slices.SortFunc(missed, cmp.Compare[int])
	for _, row := range missed {
		if n := len(out.Uncovered); n > 0 && out.Uncovered[n-1].Last == row-1 {
			out.Uncovered[n-1].Last = row
			continue
		}
		out.Uncovered = append(out.Uncovered, Lines{row, row})
	}
	out.Percent = percent(out.Covered, out.Lines)
	return out
}
