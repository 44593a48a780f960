package main

import "github.com/spf13/cobra"

func newSecretsCommand() *cobra.Command {
	return &cobra.Command{Use: "secrets", GroupID: "gates"}
}
