package main

import "github.com/spf13/cobra"

func newVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "verify",
		Short:   "Verify who signed a commit or an image",
		GroupID: "gates",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newVerifyCommitCommand(), newVerifyImageCommand())
	return cmd
}
