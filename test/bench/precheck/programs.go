package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// A verdict is what a program denied: a message for each, which names the object.
type verdict []string

// A program is one way to judge manifests.
type program struct {
	measure.Command
	// read reads the verdict from what it printed; nil if it judges nothing.
	read func(data []byte) (verdict, error)
	// codes are the exit codes of a run that came to its end.
	codes []int
}

// Exit codes of gitgate and of conftest, where something is denied and where not.
var judgedCodes = []int{0, 1}

// gitgateCheck is `gitgate check` on a site.
func (b *bench) gitgateCheck(s *site, rules string, flags ...string) program {
	args := append([]string{"check", "--repo", s.repo, "-c", s.config[rules], "--offline", "-o", "json"}, flags...)
	return program{b.command("gitgate check", b.opts.gitgate, args...), readCheck, judgedCodes}
}

// conftestTest is `conftest test` on the files of a site.
func (b *bench) conftestTest(s *site, policy string) program {
	return program{
		b.command("conftest test", b.conftest, "test", "--policy", policy, "-o", "json", "--no-color", s.files), readConftest, judgedCodes,
	}
}

// policyEval is `gitgate policy eval` on the files of a site.
func (b *bench) policyEval(s *site, format, policy string) program {
	return program{
		b.command("gitgate policy eval", b.opts.gitgate, "policy", "eval", s.files, "--format", format, "--policy", policy, "-o", "json"), readEval, judgedCodes,
	}
}

// floor is this program as a floor.
func (b *bench) floor(name string, s *site, policy string) program {
	p := program{b.command(name, b.self, "floor", name, s.files, policy), nil, []int{0}}
	if name == bareQuery {
		p.read, p.codes = readFloor, judgedCodes
	}
	return p
}

func (b *bench) command(name, path string, args ...string) measure.Command {
	b.runs++
	return measure.Command{
		Name: name, Path: path, Args: args, Dir: b.dir, Stdout: filepath.Join(b.dir, "out", fmt.Sprintf("%d.json", b.runs)),
	}
}

// errBusy means that a rule ran out of time: none of these rules takes long, so
// other programs do.
var errBusy = errors.New("a rule ran out of time")

// run runs a program and returns what it cost and what it denied. On a machine that
// is too busy it has a few more tries.
func (b *bench) run(p program) (u measure.Usage, v verdict, err error) {
	for range 5 {
		if u, v, err = b.runOnce(p); !errors.Is(err, errBusy) {
			break
		}
		b.Say("%v; once more", err)
	}
	return u, v, err
}

func (b *bench) runOnce(p program) (measure.Usage, verdict, error) {
	u, err := p.Run(b.ctx, b.self, "launch")
	if err != nil {
		return u, nil, err
	}
	defer os.Remove(p.Stdout)
	defer os.Remove(p.Stdout + ".err")
	data, err := os.ReadFile(p.Stdout)
	if err != nil {
		return u, nil, err
	}
	if !slices.Contains(p.codes, u.Exit) {
		if bytes.Contains(data, []byte(`"reason":"PolicyTimeout"`)) {
			return u, nil, fmt.Errorf("%s: %w", p.Name, errBusy)
		}
		said, _ := os.ReadFile(p.Stdout + ".err")
		return u, nil, fmt.Errorf("%s: exit code %d: %s\n%.2000s", strings.Join(append([]string{p.Path}, p.Args...), " "), u.Exit, said, data)
	}
	if p.read == nil {
		return u, nil, nil
	}
	v, err := p.read(data)
	if err != nil {
		return u, nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	if len(v) > 0 != (u.Exit == 1) {
		return u, nil, fmt.Errorf("%s: exit code %d with %d denials", p.Name, u.Exit, len(v))
	}
	slices.Sort(v)
	return u, v, nil
}

// A finding is what both commands of gitgate print.
type finding struct{ Reason, Severity, Message string }

// denials are the messages of what the rules deny. Whatever else blocks means that
// the benchmark measures something else than it says.
func denials(findings []finding) (verdict, error) {
	v := verdict{}
	for _, f := range findings {
		switch {
		case f.Reason == "PolicyTimeout":
			return nil, errBusy
		case f.Reason == "PolicyDenied":
			v = append(v, f.Message)
		case f.Severity == "deny" || f.Severity == "undetermined":
			return nil, fmt.Errorf("%s: %s", f.Reason, f.Message)
		}
	}
	return v, nil
}

func readCheck(data []byte) (verdict, error) {
	var out struct {
		Items []struct {
			Verdict struct{ Findings []finding }
		}
	}
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, err
	}
	if len(out.Items) != 1 {
		return nil, fmt.Errorf("%d verdicts, want that of the one GitSync", len(out.Items))
	}
	return denials(out.Items[0].Verdict.Findings)
}

func readEval(data []byte) (verdict, error) {
	var out struct{ Findings []finding }
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, err
	}
	return denials(out.Findings)
}

func readConftest(data []byte) (verdict, error) {
	var files []struct {
		Failures []struct{ Msg string }
	}
	if err := json.Unmarshal(data, &files); err != nil {
		return nil, err
	}
	v := verdict{}
	for _, f := range files {
		for _, failure := range f.Failures {
			v = append(v, failure.Msg)
		}
	}
	return v, nil
}

func readFloor(data []byte) (v verdict, err error) { return v, json.Unmarshal(data, &v) }
