package main

import (
	"github.com/spf13/cobra"
)

func newPolicyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Write, test, try and ship Rego policies",
		Long: `What people who write policies need: judge manifests, a commit or a cluster by them,
test them, find mistakes in them, measure them, list what they say of themselves, and
ship them as signed bundles. policies/authoring.md tells how these go together.`,
		GroupID: "gates",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicyEvalCommand(), newPolicyTestCommand(), newPolicyLintCommand(), newPolicyBenchCommand(), newPolicyDocsCommand(), newPolicyExceptCommand(), newPolicyPreviewCommand(),
		newPolicyBuildCommand(), newPolicyPushCommand(), newPolicySignCommand(), newPolicyPullCommand())
	return cmd
}
