// Command attacks runs every test that carries the id of a row of the threat
// catalogue, wherever in the tree it is, and prints what became of each row. It
// fails when a test fails, when one did not run, and when a row has none.
//
// The end-to-end variants are the tests of this package itself: they attack a
// whole installation, see shared_test.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// Exit codes, as those of gitgate itself.
const (
	exitPassed = iota
	exitFailed
	exitUsage
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "attacks:", err)
	}
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	flags := flag.NewFlagSet("attacks", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("only", "", "run just these rows, as in G3,G7")
	output := flags.String("o", "text", "text, or json with one object a line")
	if err := flags.Parse(args); err != nil {
		return exitUsage, err
	}
	if *output != "text" && *output != "json" {
		return exitUsage, fmt.Errorf("-o %q: want text or json", *output)
	}
	rows, err := selectRows(*only)
	if err != nil {
		return exitUsage, err
	}
	root, module, err := findModule(ctx)
	if err != nil {
		return exitFailed, err
	}
	tests, err := discover(root, module, rows)
	if err != nil {
		return exitFailed, err
	}
	results := newResults(rows, tests)
	problem := runTests(ctx, root, tests, results, stderr)
	report := results.report()
	if *output == "json" {
		err = printJSON(stdout, report)
	} else {
		err = printTable(stdout, report)
	}
	err = errors.Join(problem, err)
	for _, r := range report {
		if !r.Passed {
			return exitFailed, err
		}
	}
	if err != nil {
		return exitFailed, err
	}
	return exitPassed, nil
}

// findModule returns the directory and the name of the module that the working
// directory is in.
func findModule(ctx context.Context) (root, module string, err error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}\n{{.Path}}").Output()
	if err != nil {
		return "", "", fmt.Errorf("go list -m: %w", err)
	}
	root, module, ok := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if !ok || !filepath.IsAbs(root) {
		return "", "", fmt.Errorf("go list -m printed %q", out)
	}
	return root, module, nil
}
