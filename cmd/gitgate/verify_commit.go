package main

import "github.com/spf13/cobra"

func newVerifyCommitCommand() *cobra.Command {
	return &cobra.Command{Use: "commit"}
}
