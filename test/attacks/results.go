package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
)

// An event is a line of go test -json, see go doc test2json.
type event struct {
	Action     string
	Package    string
	ImportPath string // of a package that does not build
	Test       string
	Elapsed    float64
	Output     string
}

// maxOutput bounds what is kept of the output of one test, in bytes.
const maxOutput = 64 << 10

// results collects what became of the tests.
type results struct {
	rows   []row
	tests  []testFunc
	action map[string]string // pass, fail or skip, by package and test
	output map[string][]byte
	broken []string // packages that failed as a whole
}

func newResults(rows []row, tests []testFunc) *results {
	return &results{rows: rows, tests: tests, action: map[string]string{}, output: map[string][]byte{}}
}

// key names a test; a package alone where test is empty.
func key(pkg, test string) string { return pkg + " " + test }

// runTests runs the tests and tells of each as it ends.
func runTests(ctx context.Context, dir string, tests []testFunc, r *results, progress io.Writer) error {
	if len(tests) == 0 {
		return nil
	}
	args := append([]string{"test", "-json", "-count=1", "-timeout=20m", "-run", pattern(tests)}, packages(tests)...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Stderr = progress
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.take(line, progress)
		}
		if err != nil {
			break // the command has ended
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err // otherwise the tests say what is wrong
	}
	if len(r.broken) > 0 {
		return fmt.Errorf("failed outside of any test: %s", strings.Join(r.broken, ", "))
	}
	return ctx.Err()
}

// take reads one line of go test.
func (r *results) take(line []byte, progress io.Writer) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil || e.Action == "" {
		fmt.Fprintf(progress, "%s", line) // what is no event is for people
		return
	}
	k := key(e.Package, e.Test)
	switch e.Action {
	case "output":
		if text := r.output[k]; len(text) < maxOutput {
			r.output[k] = append(text, e.Output...)
		}
	case "build-output":
		fmt.Fprint(progress, e.Output)
	case "build-fail":
		r.broken = append(r.broken, e.ImportPath)
	case "pass", "fail", "skip":
		r.action[k] = e.Action
		r.tell(e, progress)
	}
}

// tell prints the end of a test that counts as one line, and of one that failed
// what it said.
func (r *results) tell(e event, progress io.Writer) {
	switch {
	case e.Test == "" && e.Action == "fail" && !r.failedIn(e.Package):
		r.broken = append(r.broken, e.Package)
		fmt.Fprintf(progress, "FAIL  %s\n%s", e.Package, r.output[key(e.Package, "")])
	case e.Test == "":
	case e.Action == "fail":
		fmt.Fprintf(progress, "FAIL  %-28s %s (%.1fs)\n%s", short(e.Package), e.Test, e.Elapsed, r.output[key(e.Package, e.Test)])
	case !strings.Contains(e.Test, "/"):
		fmt.Fprintf(progress, "%-5s %-28s %s (%.1fs)\n", e.Action, short(e.Package), e.Test, e.Elapsed)
	}
	delete(r.output, key(e.Package, e.Test))
}

// short is the package without the name of the module.
func short(pkg string) string {
	_, rest, _ := strings.Cut(pkg, "/")
	_, rest, _ = strings.Cut(rest, "/")
	return rest
}

// failedIn reports whether a test of the package failed.
func (r *results) failedIn(pkg string) bool {
	for k, action := range r.action {
		if action == "fail" && strings.HasPrefix(k, pkg+" ") && k != key(pkg, "") {
			return true
		}
	}
	return false
}

// An outcome is what became of one row.
type outcome struct {
	ID       string   `json:"id"`
	Attack   string   `json:"attack"`
	Verdicts []string `json:"verdicts"`
	Tests    int      `json:"tests"`
	Packages []string `json:"packages"`
	Passed   bool     `json:"passed"`
	// Problems say why it did not pass.
	Problems []string `json:"problems,omitempty"`
}

// report says what became of each row.
func (r *results) report() []outcome {
	out := make([]outcome, 0, len(r.rows))
	for _, row := range r.rows {
		o := outcome{ID: row.ID, Attack: row.Attack}
		for _, v := range row.Verdicts {
			o.Verdicts = append(o.Verdicts, string(v))
		}
		r.judge(&o)
		o.Passed = len(o.Problems) == 0
		out = append(out, o)
	}
	return out
}

func (r *results) judge(o *outcome) {
	for _, t := range r.tests {
		if !slices.Contains(t.IDs, o.ID) {
			continue
		}
		passed := 0
		for _, name := range r.leaves(t, o.ID) {
			switch r.action[key(t.Package, name)] {
			case "pass":
				passed++
			case "fail":
				o.Problems = append(o.Problems, "failed: "+short(t.Package)+" "+name)
			}
		}
		o.Tests += passed
		if r.action[key(t.Package, t.Name)] == "fail" && len(o.Problems) == 0 {
			o.Problems = append(o.Problems, "failed: "+short(t.Package)+" "+t.Name)
		}
		if passed == 0 && len(o.Problems) == 0 {
			o.Problems = append(o.Problems, "did not run: "+short(t.Package)+" "+t.Name)
		}
		if !slices.Contains(o.Packages, t.Package) {
			o.Packages = append(o.Packages, t.Package)
		}
	}
	if len(o.Packages) == 0 {
		o.Problems = append(o.Problems, "no test")
	}
}

// leaves lists the tests below a function that carry the id and have no subtests
// of their own.
func (r *results) leaves(t testFunc, id string) (out []string) {
	prefix := key(t.Package, t.Name)
	for k := range r.action {
		if k != prefix && !strings.HasPrefix(k, prefix+"/") {
			continue
		}
		name := strings.TrimPrefix(k, t.Package+" ")
		if slices.Contains(idsIn(name), id) && !r.hasSubtests(k) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func (r *results) hasSubtests(k string) bool {
	for other := range r.action {
		if strings.HasPrefix(other, k+"/") {
			return true
		}
	}
	return false
}
