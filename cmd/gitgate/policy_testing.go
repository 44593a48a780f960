package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policy/author"
)

// policyTest holds the flags of `gitgate policy test`.
type policyTest struct {
	policySources
	coverage, verbose, watch bool
	threshold                float64
	output, run              string
	data                     []string
	timeout                  time.Duration
}

func newPolicyTestCommand() *cobra.Command {
	var o policyTest
	cmd := &cobra.Command{
		Use:   "test [DIR]...",
		Short: "Run the tests of policies",
		Long: `Run the tests of the policies in directories, of the current one by default. Each
directory is a set of its own. Tests are

  - rules named test_… in files named *_test.rego, as opa test runs them. Built-ins
    that reach the network fail. Rules named todo_test_… are skipped. parse_config,
    parse_config_file and parse_combined_config_files read YAML and JSON as those of
    conftest;
  - YAML of apiVersion test.gitgate.dev/v1alpha1 and kind PolicyTest: objects, what is
    known about the change, and the findings that are expected. The engine of the
    cluster judges them;
  - YAML of apiVersion test.gatekeeper.sh/v1alpha1 and kind Suite, as gator verify runs
    it: a template, a constraint, objects, expansions and assertions.

A test that asserts nothing fails: one that only assigns, prints or states
constants, or that reads no rule of a policy. It is an error if no test is found.
--coverage counts the lines of policies that tests of all kinds reach.

Exit codes: 0 all pass, 1 a test failed or --threshold was missed, 2 wrong use, or
something does not compile, or no test was found.`,
		Example: `  # what is in rules/, and again with each change
  gitgate policy test rules/ --watch

  # in CI: every line that matters is tested, and the forge shows what failed
  gitgate policy test rules/ --threshold 90 -o junit > tests.xml

  # a library in the older dialect, one test of it
  gitgate policy test vendor/rules --rego-version v0 --run 'test_privileged$' --verbose`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.execute(cmd.Context(), args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.policySources.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.coverage, "coverage", false, "show which lines of policies no test reaches")
	f.Float64Var(&o.threshold, "threshold", 0, "fail below this `PERCENT` of coverage; 0 asks for none")
	f.StringVarP(&o.output, "output", "o", "text", "text, json or junit")
	f.StringVarP(&o.run, "run", "r", "", "run only tests whose name matches this `REGEX`: data.package.test_name, or manifest.case")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show tests that pass, and what tests print")
	f.DurationVar(&o.timeout, "timeout", 5*time.Second, "longest time for one test")
	f.StringArrayVarP(&o.data, "data", "d", nil, dataUsage)
	f.BoolVarP(&o.watch, "watch", "w", false, "run again whenever a file changes")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(author.Formats(), cobra.ShellCompDirectiveNoFileComp)) // fails for flags that do not exist alone
	return cmd
}

func (o *policyTest) execute(ctx context.Context, dirs []string, stdout, stderr io.Writer) error {
	options, err := o.options()
	if err != nil {
		return err
	}
	if !o.watch {
		return o.once(ctx, dirs, options, stdout)
	}
	if len(dirs) == 0 && len(o.packs) == 0 {
		dirs = []string{"."}
	}
	if len(dirs) == 0 {
		return errors.New("--watch: packs do not change: name a directory")
	}
	return author.Watch(ctx, dirs, func() {
		if err := o.once(ctx, dirs, options, stdout); err != nil {
			var exit *exitError
			if !errors.As(err, &exit) || exit.err != nil {
				fmt.Fprintf(stderr, "gitgate: %v\n", err)
			}
		}
		fmt.Fprintln(stderr, "waiting for changes; Ctrl-C ends")
	})
}

func (o *policyTest) options() (author.Options, error) {
	out := author.Options{Timeout: o.timeout, Coverage: o.coverage || o.threshold > 0, Pack: policies.Pack, Load: policyOptions}
	if err := checkOutput(o.output, author.Formats()); err != nil {
		return out, err
	}
	switch {
	case o.threshold < 0 || o.threshold > 100:
		return out, fmt.Errorf("--threshold %v: want a percentage from 0 to 100", o.threshold)
	case o.timeout <= 0:
		return out, errors.New("--timeout must be more than 0")
	}
	if o.run != "" {
		var err error
		if out.Run, err = regexp.Compile(o.run); err != nil {
			return out, fmt.Errorf("--run: %w", err)
		}
	}
	return out, nil
}

// once runs the tests and says how they ended.
func (o *policyTest) once(ctx context.Context, dirs []string, options author.Options, stdout io.Writer) error {
	sources, closing, err := o.open(dirs)
	if err != nil {
		return err
	}
	defer closing()
	data, err := readData(o.data)
	if err != nil {
		return err
	}
	for i := range sources {
		sources[i].Data = data
	}
	r, err := author.Run(ctx, sources, options)
	if ctx.Err() != nil {
		return errInterrupted
	}
	if err != nil {
		return printable(err)
	}
	if err := r.Write(stdout, o.output, author.Style{Color: terminalOptions(stdout).Color, Verbose: o.verbose}); err != nil {
		return err
	}
	switch {
	case !r.Passed():
		return denied()
	case r.Coverage != nil && r.Coverage.Percent < o.threshold:
		return &exitError{code: exitDenied, err: fmt.Errorf("coverage is %.1f %%, less than the threshold of %v %%", r.Coverage.Percent, o.threshold)}
	}
	return nil
}
