package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/policy/report"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
)

func newExplainCommand() *cobra.Command {
	var output string
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain [REASON|FILE|-]",
		Short: "Explain a reason, or a verdict stage by stage",
		Long: `Explain tells what a reason means, which attack or outage it prevents, and how to
mend what was found. Without an argument it lists all reasons.

Given a file, or - for standard input, it walks through verdicts: what gitgate
check -o json and gitgate verify print, and the decision logs of the reconciler
and of the webhook, with one decision a line. For each it shows the stages that
ran, what each of them found and by which rule, and what to do about it.

With --trace the revision of each verdict is judged again, with the configuration
that -c names, and for each object that rules spoke of it is shown how they came to
it: the expressions that held, what their variables were, and which other rules they
read. Rules never see the values of Secrets, and neither does the trace.

Exit codes: 0 explained, 2 no such reason, or no verdict, 3 no trace could be made.`,
		Example: `  gitgate explain ImageUnsigned

  # why was this pull request refused?
  gitgate check -c gitgate/ -o json | gitgate explain -

  # and by which expressions of which rule?
  gitgate check -c gitgate/ -o json | gitgate explain - --trace -c gitgate/

  # the last refusal of the cluster
  grep '"allowed":false' decisions.json | tail -1 | gitgate explain -`,
		GroupID: "gates",
		Args:    cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, r := range report.Reasons() {
				names = append(names, string(r))
			}
			return names, cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return fmt.Errorf("-o %s: use text or json", output)
			}
			if err := o.traceable(); err != nil {
				return err
			}
			e := explainer{out: bufio.NewWriter(cmd.OutOrStdout()), json: output == "json", trace: o.trace, again: o.check}
			if err := e.explain(cmd.Context(), args, cmd.InOrStdin()); err != nil {
				return err
			}
			return e.out.Flush()
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, or json for reasons")
	o.traceFlags(cmd)
	return cmd
}

// An explainer writes explanations. bufio remembers the first error.
type explainer struct {
	out  *bufio.Writer
	json bool
	// trace has rules traced, which are asked by again.
	trace bool
	again checkOptions
}

// explainOptions are the flags of gitgate explain that are about tracing.
type explainOptions struct {
	trace bool
	check checkOptions
}

func (e *explainer) explain(ctx context.Context, args []string, stdin io.Reader) error {
	if len(args) == 0 {
		return e.all()
	}
	reasons := report.Reasons()
	i := slices.IndexFunc(reasons, func(r verdict.Reason) bool { return strings.EqualFold(string(r), args[0]) })
	if i >= 0 {
		x, _ := report.Explain(reasons[i])
		return e.reason(x)
	}
	raw, err := readVerdictFile(args[0], stdin)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is neither a reason nor a file: gitgate explain lists the reasons", args[0])
	}
	if err != nil {
		return err
	}
	return e.verdicts(ctx, args[0], raw)
}

// maxVerdictBytes bounds a file of verdicts.
const maxVerdictBytes = 256 << 20

func readVerdictFile(name string, stdin io.Reader) ([]byte, error) {
	if name != "-" {
		return readBounded(name, maxVerdictBytes)
	}
	raw, err := io.ReadAll(io.LimitReader(stdin, maxVerdictBytes+1))
	if err == nil && len(raw) > maxVerdictBytes {
		err = fmt.Errorf("standard input holds more than %d MiB", maxVerdictBytes>>20)
	}
	return raw, err
}

func (e *explainer) all() error {
	if e.json {
		list := []report.Explanation{}
		for _, r := range report.Reasons() {
			x, _ := report.Explain(r)
			list = append(list, x)
		}
		return json.NewEncoder(e.out).Encode(list)
	}
	var stage verdict.Stage
	for _, r := range report.Reasons() {
		x, _ := report.Explain(r)
		if len(x.Stages) > 0 && x.Stages[0] != stage {
			stage = x.Stages[0]
			fmt.Fprintf(e.out, "%s\n", stage)
		}
		fmt.Fprintf(e.out, "  %-22s %s\n", x.Reason, x.Title)
	}
	return nil
}

func (e *explainer) reason(x report.Explanation) error {
	if e.json {
		return json.NewEncoder(e.out).Encode(x)
	}
	stages := make([]string, len(x.Stages))
	for i, s := range x.Stages {
		stages[i] = string(s)
	}
	fmt.Fprintf(e.out, "%s: %s\nStage: %s\n\n%s\n\nWhy: %s\n\nWhat to do: %s\n", x.Reason, x.Title, strings.Join(stages, ", "), x.Meaning, x.Why, x.Fix)
	return nil
}

// A decided is any of the forms in which verdicts are written: a verdict, a list of
// them, and a line of a decision log.
type decided struct {
	Kind     string
	Name     string
	GitSync  string
	Door     string
	Revision string
	Allowed  *bool
	Objects  int
	Findings []verdict.Finding
	Stages   []stageRun
	Reason   verdict.Reason // of the webhook
	Message  string
	User     string
	Verdict  *decided
	Asked    *reconcile.Asked
	Items    []decided
}

type stageRun struct {
	Stage   verdict.Stage
	Status  verdict.Status
	Seconds float64
}

// verdicts explains every verdict in raw, one JSON document after the other.
func (e *explainer) verdicts(ctx context.Context, name string, raw []byte) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	count := 0
	for {
		var v decided
		switch err := d.Decode(&v); {
		case errors.Is(err, io.EOF) && count > 0:
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%s holds no verdict", name)
		case err != nil:
			return fmt.Errorf("%s holds something else than verdicts in JSON, near byte %d", name, d.InputOffset())
		}
		n, err := e.decision(ctx, v)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("%s: the document that ends at byte %d is no verdict: gitgate check -o json writes one", name, d.InputOffset())
		}
		count += n
	}
}

// decision explains a decision and returns how many verdicts were in it.
func (e *explainer) decision(ctx context.Context, v decided) (int, error) {
	switch {
	case len(v.Items) > 0:
		n := 0
		for _, item := range v.Items {
			more, err := e.decision(ctx, item)
			if n += more; err != nil {
				return n, err
			}
		}
		return n, nil
	case v.Verdict != nil:
		inner := *v.Verdict
		inner.Name, inner.Door, inner.Asked = v.Name, v.Door, v.Asked
		if inner.Name == "" {
			inner.Name = v.GitSync
		}
		return e.decision(ctx, inner)
	case v.Allowed == nil:
		return 0, nil
	}
	if v.Name == "" {
		v.Name = v.GitSync
	}
	e.walk(v)
	if e.trace {
		return 1, e.traced(ctx, v)
	}
	return 1, nil
}

// walk shows the way of a verdict through the stages.
func (e *explainer) walk(v decided) {
	word := "refused"
	if *v.Allowed {
		word = "allowed"
	}
	what := strings.TrimSpace(report.Printable(v.Name + " " + v.Revision))
	fmt.Fprintf(e.out, "%s: %s", word, what)
	if v.Door != "" {
		fmt.Fprintf(e.out, " (%s)", report.Printable(v.Door))
	}
	if v.User != "" {
		fmt.Fprintf(e.out, ", asked by %s", report.Printable(v.User))
	}
	fmt.Fprintln(e.out)
	told := map[verdict.Reason]bool{}
	rest := v.Findings
	for _, s := range v.Stages {
		fmt.Fprintf(e.out, "\n%-9s %s in %.3f s\n", s.Stage, s.Status, s.Seconds)
		var others []verdict.Finding
		for _, f := range rest {
			if f.Stage == s.Stage {
				e.finding(f, told)
			} else {
				others = append(others, f)
			}
		}
		rest = others
	}
	for _, f := range rest {
		e.finding(f, told)
	}
	if len(v.Findings) == 0 && v.Reason != "" {
		e.finding(verdict.Finding{Severity: verdict.Deny, Reason: v.Reason, Message: v.Message}, told)
	}
	fmt.Fprintln(e.out)
}

// finding shows one finding, and at the first of a reason what that means.
func (e *explainer) finding(f verdict.Finding, told map[verdict.Reason]bool) {
	fmt.Fprintf(e.out, "  %s %s", f.Severity, report.Printable(string(f.Reason)))
	if w := f.Where(); w != "" {
		fmt.Fprintf(e.out, " at %s", report.Printable(w))
	}
	if f.Policy != "" {
		fmt.Fprintf(e.out, " by rule %s", report.Printable(f.Policy))
	}
	fmt.Fprintf(e.out, "\n    %s\n", report.Printable(f.Message))
	x, ok := report.Explain(f.Reason)
	if !ok || told[f.Reason] {
		return
	}
	told[f.Reason] = true
	fmt.Fprintf(e.out, "    means: %s\n", strings.ReplaceAll(x.Meaning, "\n", "\n           "))
	fmt.Fprintf(e.out, "    next:  %s\n", x.Next)
}
