package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/cmd/gitgate/internal/start"
)

// The exit codes of every command. They are API for scripts.
const (
	exitAllowed      = 0 // done, or everything judged may pass
	exitDenied       = 1 // something was judged and refused
	exitUsage        = 2 // wrong use, configuration or input
	exitUndetermined = 3 // something could not be decided
)

// An exitError ends the process with a code. With a nil error nothing more is
// printed: the command has said all there is to say.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// denied ends a command whose output already says what was refused.
func denied() error { return &exitError{code: exitDenied} }

// undetermined ends a command whose output already says what was undecided.
func undetermined() error { return &exitError{code: exitUndetermined} }

// run is main without the process: it returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	defer func() {
		if p := recover(); p != nil {
			// The value may quote what was being read: its type has to do.
			fmt.Fprintf(stderr, "gitgate: internal error (%T)\nThis is a bug in gitgate; nothing was allowed.\n", p)
			code = exitUndetermined
		}
	}()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitAllowed
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		exit = &exitError{code: exitUsage, err: err}
	}
	if exit.err != nil {
		fmt.Fprintf(stderr, "gitgate: %v\n", exit.err)
	}
	return exit.code
}

// serverGroup holds the commands that do not end by themselves.
const serverGroup = "server"

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "gitgate",
		Short: "Git is the only write path into the cluster",
		Long: `gitgate applies a commit only when its signatures, its images, its policies and
its secrets pass, and runs the very same gate on your machine and in CI.

Exit codes of every command: 0 allowed, 1 denied, 2 wrong use or configuration,
3 undetermined.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		PersistentPreRun: func(cmd *cobra.Command, _ []string) {
			start.Done()
			if cmd.GroupID != serverGroup {
				collectSeldom()
			}
		},
	}
	root.AddGroup(
		&cobra.Group{ID: "gates", Title: "Gates:"},
		&cobra.Group{ID: serverGroup, Title: "Server:"},
	)
	root.AddCommand(
		newCheckCommand(), newDiffCommand(), newExplainCommand(),
		newVerifyCommand(),
		newPolicyCommand(),
		newSecretsCommand(),
		newRenderCommand(),
		newServeCommand(), newWebhookCommand(),
		newDoctorCommand(),
		newBreakGlassCommand(),
		newVersionCommand(),
	)
	return root
}
