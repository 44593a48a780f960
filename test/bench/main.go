package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// An options holds the flags.
type options struct {
	gitgate string
	objects int
	rounds  int
	drifts  int
	rest    time.Duration
	quick   bool
	without string
	only    string
	output  string
	write   string
	check   bool
	timeout time.Duration
	logs    string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// parse reads the flags and fills in what -quick implies.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.gitgate, "gitgate", "bin/gitgate", "`file` of the gitgate to measure")
	f.IntVar(&o.objects, "objects", 1000, "objects of a site")
	f.IntVar(&o.rounds, "rounds", 5, "rounds of each comparison")
	f.IntVar(&o.drifts, "drifts", 30, "manual edits to be corrected by gitgate")
	f.DurationVar(&o.rest, "rest", 2*time.Minute, "how long to watch an idle cluster")
	f.BoolVar(&o.quick, "quick", false, "see that everything runs, in a minute and without Flux; the figures mean little")
	f.StringVar(&o.without, "without", "", "leave one of the programs out: gitgate or flux")
	f.StringVar(&o.only, "only", "", "run just these, comma-separated: "+strings.Join(phaseNames(), ", "))
	f.StringVar(&o.output, "o", "text", "text or json")
	f.StringVar(&o.write, "write", "", "replace the table in this Markdown `file`, between the bench markers")
	f.BoolVar(&o.check, "check", false, "fail when a goal is missed")
	f.DurationVar(&o.timeout, "timeout", time.Hour, "give up after this long")
	f.StringVar(&o.logs, "logs", "", "keep the logs of the programs in this `directory`")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.quick {
		o.objects, o.rounds, o.drifts, o.rest, o.without = 40, 1, 5, 10*time.Second, "flux"
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.objects < 40 || o.rounds < 1 || o.drifts < 1:
		return o, errors.New("want at least 40 -objects, 1 of -rounds and 1 of -drifts")
	case o.without != "" && o.without != "gitgate" && o.without != "flux":
		return o, fmt.Errorf("-without %q: want gitgate or flux", o.without)
	case o.output != "text" && o.output != "json":
		return o, fmt.Errorf("-o %q: want text or json", o.output)
	}
	for name := range strings.SplitSeq(o.only, ",") {
		if name != "" && !slices.Contains(phaseNames(), name) {
			return o, fmt.Errorf("-only %q: want some of %s", name, strings.Join(phaseNames(), ", "))
		}
	}
	var err error
	o.gitgate, err = filepath.Abs(o.gitgate)
	return o, err
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if _, err := os.Stat(o.gitgate); err != nil && o.without != "gitgate" {
		return fmt.Errorf("-gitgate: %w (make build makes it)", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("not done within -timeout %s", o.timeout))
	defer cancel()
	b, err := newBench(ctx, o, stderr)
	if err != nil {
		return err
	}
	err = b.runPhases(ctx)
	if closeErr := b.close(); err == nil {
		err = closeErr
	}
	b.report.Finish()
	if len(b.report.Rows) > 0 {
		if printErr := b.report.print(stdout, o.output); err == nil {
			err = printErr
		}
	}
	if err != nil {
		return err // never put half a table into a document
	}
	return b.report.table().Record(o.write, o.check)
}
