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
	"syscall"
	"time"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// An options holds the flags.
type options struct {
	gitgate string
	objects int
	rounds  int
	quick   bool
	without bool // conftest
	noGator bool
	output  string
	write   string
	check   bool
	timeout time.Duration
	nice    int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	denied, err := dispatch(ctx, os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "precheck:", err)
		os.Exit(3)
	case denied:
		os.Exit(1)
	}
}

// dispatch runs the benchmark, or one of the programs that it starts.
func dispatch(ctx context.Context, args []string) (denied bool, err error) {
	switch {
	case len(args) > 0 && args[0] == "launch":
		return false, measure.Launch(os.Stdin, os.Stdout)
	case len(args) > 0 && args[0] == "floor":
		return runFloor(ctx, args[1:], os.Stdout)
	}
	return false, run(ctx, args, os.Stdout, os.Stderr)
}

// parse reads the flags and fills in what -quick implies.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("precheck", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.gitgate, "gitgate", "bin/gitgate", "`file` of the gitgate to measure")
	f.IntVar(&o.objects, "objects", 10_000, "objects of the large repository; the others have a tenth and a hundredth")
	f.IntVar(&o.rounds, "rounds", 5, "rounds of each comparison")
	f.BoolVar(&o.quick, "quick", false, "see that everything runs, in seconds and without peers; the figures mean little")
	f.BoolVar(&o.without, "without-conftest", false, "leave conftest out")
	f.BoolVar(&o.noGator, "without-gator", false, "leave gator out")
	f.StringVar(&o.output, "o", "text", "text or json")
	f.StringVar(&o.write, "write", "", "replace the table in this Markdown `file`, between the precheck markers")
	f.BoolVar(&o.check, "check", false, "fail when a goal is missed")
	f.DurationVar(&o.timeout, "timeout", time.Hour, "give up after this long")
	f.IntVar(&o.nice, "nice", 0, "priority of the programs, as root, where other programs run too")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.quick {
		o.objects, o.rounds, o.without, o.noGator = 500, 1, true, true
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.objects < 500 || o.rounds < 1:
		return o, errors.New("want at least 500 -objects and 1 of -rounds")
	case o.output != "text" && o.output != "json":
		return o, fmt.Errorf("-o %q: want text or json", o.output)
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
	if _, err := os.Stat(o.gitgate); err != nil {
		return fmt.Errorf("-gitgate: %w (make build makes it)", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("not done within -timeout %s", o.timeout))
	defer cancel()
	b, err := newBench(ctx, o, stderr)
	defer b.close()
	if err != nil {
		return err
	}
	if err := b.runAll(); err != nil {
		return err // never print half a table
	}
	r := b.finish()
	return measure.Table{Benchmark: "precheck", Report: r, Markdown: r.markdown(), Missed: r.missed()}.Publish(stdout, o.output, o.write, o.check)
}
