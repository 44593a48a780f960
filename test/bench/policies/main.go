package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// An options holds the flags.
type options struct {
	rounds  int
	quick   bool
	output  string
	write   string
	check   bool
	timeout time.Duration
	nice    int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "policies:", err)
		os.Exit(1)
	}
}

// parse reads the flags and fills in what -quick implies.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("policies", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.rounds, "rounds", 5, "rounds of each comparison")
	f.BoolVar(&o.quick, "quick", false, "see that everything runs, in seconds; the figures mean little")
	f.StringVar(&o.output, "o", "text", "text or json")
	f.StringVar(&o.write, "write", "", "replace the table in this Markdown `file`, between the policies markers")
	f.BoolVar(&o.check, "check", false, "fail when a goal is missed")
	f.DurationVar(&o.timeout, "timeout", time.Hour, "give up after this long")
	f.IntVar(&o.nice, "nice", 0, "priority, as root, where other programs run too")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.quick {
		o.rounds = 1
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.rounds < 1:
		return o, errors.New("want at least 1 of -rounds")
	case o.output != "text" && o.output != "json":
		return o, fmt.Errorf("-o %q: want text or json", o.output)
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("not done within -timeout %s", o.timeout))
	defer cancel()
	r := newReport(o)
	if err := measureRounds(ctx, o, measure.Teller{Out: stderr, Prefix: "policies"}, r); err != nil {
		return errors.Join(context.Cause(ctx), err) // never print half a table
	}
	if err := r.finish(); err != nil {
		return err
	}
	return measure.Table{Benchmark: "policies", Report: r, Markdown: r.markdown(), Missed: r.missed()}.Publish(stdout, o.output, o.write, o.check)
}
