package main

import "github.com/spf13/cobra"

func newVerifyImageCommand() *cobra.Command {
	return &cobra.Command{Use: "image"}
}
