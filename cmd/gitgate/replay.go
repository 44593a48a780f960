package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/policy/report"
)

// replayHelp is the part of the help of `gitgate check` that is about --replay.
const replayHelp = `With --replay FILE the decisions of a decision log are made again, with the
configuration that is given. A decision of the reconciler is judged from this
repository, at the time of the decision and from the commit that was applied then;
what only an API server says is taken off. A decision of the webhook is judged where
rules made it and the log holds the object (gitgate webhook --log-objects), and so is
one of the audit of what is there already (--policy-reports); what the lock says, and
what is said of images, rests on the cluster and is not judged again.
The findings have to be the same, byte for byte: 1 means that one decision differs,
3 that one could not be made again, or that then or now something was undetermined.`

func (o *checkOptions) replayFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.replay, "replay", "", "`FILE` with a decision log, or - for standard input: make its decisions again and compare")
	for _, flag := range []string{"base", "head", "worktree", "staged", "all"} {
		cmd.MarkFlagsMutuallyExclusive("replay", flag) // the log says it
	}
	_ = cmd.MarkFlagFilename("replay", "json", "jsonl", "log") // it exists
}

// runReplay makes the decisions of a log again.
func (o *checkOptions) runReplay(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	if len(o.outputs) != 1 || o.outputs[0] != "text" && o.outputs[0] != "json" {
		return errors.New("-o: with --replay use text or json, once")
	}
	raw, err := readVerdictFile(o.replay, stdin)
	if err != nil {
		return fmt.Errorf("--replay: %w", err)
	}
	log, err := readDecisions(raw)
	if err != nil {
		return fmt.Errorf("--replay %s: %w", o.replay, err)
	}
	p, err := o.replayer(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	out := replayed{Kind: "Replay", Other: log.other}
	for _, d := range log.decisions {
		item, err := p.replay(ctx, d)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return &exitError{code: exitUndetermined, err: ctx.Err()}
		}
		out.add(item)
	}
	if o.outputs[0] == "json" {
		err = json.NewEncoder(stdout).Encode(out)
	} else {
		err = out.print(stdout)
	}
	switch {
	case err != nil:
		return &exitError{code: exitUndetermined, err: err}
	case out.Different > 0:
		return denied()
	case out.NotReplayed > 0:
		return undetermined()
	}
	return nil
}

// What became of a decision that was to be made again.
const (
	outcomeSame      = "same"
	outcomeDifferent = "different"
	outcomeUnknown   = "not replayed"
)

// A replayed is the outcome for a log.
type replayed struct {
	Kind        string         `json:"kind"`
	Same        int            `json:"same"`
	Different   int            `json:"different"`
	NotReplayed int            `json:"notReplayed"`
	Other       int            `json:"otherLines"` // which are no decisions
	Items       []replayedItem `json:"items"`
}

// A replayedItem is the outcome for one decision, however often it was made.
type replayedItem struct {
	Line    int       `json:"line"`
	Times   int       `json:"times"`
	Time    time.Time `json:"time"`
	Door    string    `json:"door"`
	What    string    `json:"what"`
	Outcome string    `json:"outcome"`
	// Why says why the decision could not be made again.
	Why string `json:"why,omitempty"`
	// Then and Now are the answers: allowed, denied or undetermined.
	Then string `json:"then"`
	Now  string `json:"now,omitempty"`
	// Gone are findings of then that are not made now, and New those of now.
	Gone []json.RawMessage `json:"gone,omitempty"`
	New  []json.RawMessage `json:"new,omitempty"`
	// Changed is what differs beside the findings.
	Changed []string `json:"changed,omitempty"`
}

func (r *replayed) add(item replayedItem) {
	r.Items = append(r.Items, item)
	switch item.Outcome {
	case outcomeSame:
		r.Same += item.Times
	case outcomeDifferent:
		r.Different += item.Times
	default:
		r.NotReplayed += item.Times
	}
}

// print writes a table of what is not the same, then the differences, then the sums.
func (r *replayed) print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	shown := false
	for _, i := range r.Items {
		if i.Outcome == outcomeSame {
			continue
		}
		if !shown {
			fmt.Fprintln(table, "LINE\tTIMES\tDOOR\tTHEN\tNOW\tOUTCOME\tDECISION")
			shown = true
		}
		now := i.Now
		if now == "" {
			now = "-"
		}
		fmt.Fprintf(table, "%d\t%d\t%s\t%s\t%s\t%s\t%s\n", i.Line, i.Times, report.Printable(i.Door), i.Then, now, i.Outcome, report.Printable(i.What))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, i := range r.Items {
		if i.Outcome == outcomeSame {
			continue
		}
		fmt.Fprintf(w, "\nline %d:", i.Line)
		if i.Why != "" {
			fmt.Fprintf(w, " %s", report.Printable(i.Why))
		}
		fmt.Fprintln(w)
		for _, c := range i.Changed {
			fmt.Fprintf(w, "  %s\n", report.Printable(c))
		}
		for _, f := range i.Gone {
			fmt.Fprintf(w, "  then: %s\n", report.Printable(string(f)))
		}
		for _, f := range i.New {
			fmt.Fprintf(w, "  now:  %s\n", report.Printable(string(f)))
		}
	}
	if shown {
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprintf(w, "%d decisions: %d the same, %d differ, %d not replayed\n",
		r.Same+r.Different+r.NotReplayed, r.Same, r.Different, r.NotReplayed)
	return err
}
