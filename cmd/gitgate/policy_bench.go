package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/author"
)

// policyBench holds the flags of `gitgate policy bench`.
type policyBench struct {
	policySets
	operation, output string
	time              time.Duration
	rounds            int
}

func newPolicyBenchCommand() *cobra.Command {
	var o policyBench
	cmd := &cobra.Command{
		Use:   "bench FILE|DIR|-...",
		Short: "Measure what each rule costs, worst first",
		Long: `Ask each rule about the objects in files, directories or on standard input, over and
over, and print what one question takes: time, bytes and allocations, on average
over the objects that the rule is asked about, and the time for the object that
takes longest. Of each object the least time of all rounds counts. Rules are sorted
by their share of the time for all objects.

What is measured is the rule's own query, as the engine prepares it, on input that
is decoded already, one rule after the other and without remembered answers. Helpers
that several rules call count for each of them, though the engine evaluates them
once for all; so the sum of the rules is more than a verdict takes. The last line
tells what decoding takes, and what a whole verdict takes of an engine that starts
with these objects. Figures depend on the machine and on what else it does: compare
those of one run.

Exit codes: 0 measured, 2 wrong use or a policy that does not load.`,
		Example: `  # which of my rules is slow?
  gitgate policy bench deploy/ --policy rules/

  # for a script: the rules that take more than a millisecond
  gitgate policy bench deploy/ --pack workloads -o json | jq '.rules[] | select(.nanoseconds > 1e6).rule'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.execute(cmd.Context(), args, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	o.policySets.flags(cmd)
	f := cmd.Flags()
	f.DurationVar(&o.time, "time", 200*time.Millisecond, "how long each rule is asked")
	f.IntVarP(&o.rounds, "rounds", "n", 0, "`TIMES` that each rule is asked about each object, in place of --time")
	f.StringVar(&o.operation, "operation", string(policy.Create), "CREATE, UPDATE or DELETE")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	cmd.MarkFlagsMutuallyExclusive("time", "rounds")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)) // fails for flags that do not exist alone
	return cmd
}

func (o *policyBench) execute(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	if err := checkOutput(o.output, []string{"text", "json"}); err != nil {
		return err
	}
	switch {
	case len(args) == 0:
		return errors.New("name files or directories with objects, or - for standard input")
	case o.time <= 0:
		return errors.New("--time must be more than 0")
	case o.rounds < 0:
		return errors.New("--rounds must not be less than 0")
	}
	sets, err := o.policySets.read()
	if err != nil {
		return err
	}
	var objects []policy.Input
	problems, err := fileObjects(args, stdin, policy.Operation(o.operation))(ctx, func(in policy.Input) error {
		objects = append(objects, in)
		return nil
	})
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		return fmt.Errorf("%s: %s", problems[0].Where(), problems[0].Message)
	}
	r, err := author.Bench(ctx, sets, objects, author.BenchOptions{Time: o.time, Rounds: o.rounds, Load: policyOptions})
	if ctx.Err() != nil {
		return errInterrupted
	}
	if err != nil {
		return printable(err)
	}
	return r.Write(stdout, o.output)
}
