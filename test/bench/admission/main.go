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
)

// An options holds the flags.
type options struct {
	gitgate string
	reviews int
	rounds  int
	quick   bool
	without bool
	output  string
	write   string
	check   bool
	timeout time.Duration
	logs    string
	nice    int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		err = serveFloor(ctx, os.Args[2:])
	} else {
		err = run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "admission:", err)
		os.Exit(1)
	}
}

// parse reads the flags and fills in what -quick implies.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("admission", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.gitgate, "gitgate", "bin/gitgate", "`file` of the gitgate to measure")
	f.IntVar(&o.reviews, "reviews", 2000, "reviews of a measurement with 64 at once; half as many one by one")
	f.IntVar(&o.rounds, "rounds", 5, "rounds of each comparison")
	f.BoolVar(&o.quick, "quick", false, "see that everything runs, in seconds and without Gatekeeper; the figures mean little")
	f.BoolVar(&o.without, "without-gatekeeper", false, "leave Gatekeeper out")
	f.StringVar(&o.output, "o", "text", "text or json")
	f.StringVar(&o.write, "write", "", "replace the table in this Markdown `file`, between the admission markers")
	f.BoolVar(&o.check, "check", false, "fail when a goal is missed")
	f.DurationVar(&o.timeout, "timeout", time.Hour, "give up after this long")
	f.StringVar(&o.logs, "logs", "", "keep the logs of the servers in this `directory`")
	f.IntVar(&o.nice, "nice", 0, "priority of servers and load, as root, where other programs run too")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.quick {
		o.reviews, o.rounds, o.without = 200, 1, true
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.reviews < 100 || o.rounds < 1:
		return o, errors.New("want at least 100 -reviews and 1 of -rounds")
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
	site, err := newSite(ctx, o, stderr)
	if err != nil {
		return err
	}
	r := newReport(o)
	for _, scenario := range scenarios {
		if scenario.needsPeer && o.without {
			continue
		}
		if err := runScenario(ctx, o, site, scenario, r); err != nil {
			return err // never print half a table
		}
	}
	r.finish()
	return r.table().Publish(stdout, o.output, o.write, o.check)
}

// runScenario starts the servers of a scenario, measures them and ends them.
func runScenario(ctx context.Context, o options, site *site, s scenario, r *report) error {
	b, err := newBench(ctx, o, site, s, r)
	defer b.close()
	if err != nil {
		return err
	}
	return b.run(ctx)
}
