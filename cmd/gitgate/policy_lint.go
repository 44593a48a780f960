package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/author"
)

// policyLint holds the flags of `gitgate policy lint`.
type policyLint struct {
	policySources
	parameters, format, output, failOn string
	rules                              bool
}

func newPolicyLintCommand() *cobra.Command {
	var o policyLint
	cmd := &cobra.Command{
		Use:   "lint [DIR]...",
		Short: "Find mistakes in policies",
		Long: `Look for mistakes in the policies in directories, of the current one by default.
Each directory is a set of its own. What does not load is told as the cluster would,
types included; and then what loads and does not do what it seems to do, above all
rules that are undefined, and so silent, where a field is absent. --rules lists what
is looked for, why, and what to do.

A finding is silenced by a comment above the line, or at its end, with a reason:

  # gitgate:ignore RULE reason

Outputs are those of gitgate check: text, json, sarif, junit, github, gitlab, azure,
markdown and tap.

Exit codes: 0 nothing found, 1 something found (--fail-on), 2 wrong use.`,
		Example: `  # before committing
  gitgate policy lint rules/

  # in CI, with the parameters of production: are all of them read, and all set?
  gitgate policy lint rules/ --parameters prod.yaml -o sarif > lint.sarif`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.execute(cmd.Context(), args, cmd.OutOrStdout())
		},
	}
	o.policySources.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.parameters, "parameters", "", "YAML or JSON `FILE` with the parameters that the rules get")
	f.StringVar(&o.format, "format", string(policy.FormatGitgate), "input and rule names that the modules expect, as in a PolicySet")
	f.StringVarP(&o.output, "output", "o", "text", "format of the output")
	f.StringVar(&o.failOn, "fail-on", string(author.Warning), "the least that fails: error or warning")
	f.BoolVar(&o.rules, "rules", false, "explain what is looked for, and look for nothing")
	// These fail for flags that do not exist alone.
	_ = cmd.MarkFlagFilename("parameters", "yaml", "yml", "json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(author.LintFormats(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions([]string{"error", "warning"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *policyLint) execute(ctx context.Context, dirs []string, stdout io.Writer) error {
	if o.rules {
		return author.ExplainLintRules(stdout)
	}
	if err := checkOutput(o.output, author.LintFormats()); err != nil {
		return err
	}
	if !slices.Contains([]string{"error", "warning"}, o.failOn) {
		return fmt.Errorf("--fail-on %s: use error or warning", o.failOn)
	}
	options := author.LintOptions{Format: policy.Format(o.format), Load: policyOptions}
	if o.parameters != "" {
		var err error
		if options.Parameters, err = readParameters(o.parameters); err != nil {
			return err
		}
		options.ParametersFile = o.parameters
	}
	sources, closing, err := o.open(dirs)
	if err != nil {
		return err
	}
	defer closing()
	r, err := author.Lint(ctx, sources, options)
	if err != nil {
		return printable(err)
	}
	if err := r.Write(stdout, o.output, version, author.Style{Color: terminalOptions(stdout).Color}); err != nil {
		return err
	}
	if worst := r.Worst(); worst == author.Error || worst == author.Warning && o.failOn == "warning" {
		return denied()
	}
	return nil
}
