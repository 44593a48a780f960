package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/author"
	"gitgate.dev/gitgate/policy/report"
	"gitgate.dev/gitgate/policy/verdict"
)

// policyEval holds the flags of `gitgate policy eval`.
type policyEval struct {
	policySets
	commit            policyCommit
	live              policyLive
	operation, output string
	timeout           time.Duration
	explain           bool
}

func newPolicyEvalCommand() *cobra.Command {
	var o policyEval
	cmd := &cobra.Command{
		Use:   "eval [FILE|DIR|-]...",
		Short: "Judge manifests, a commit or a cluster by packs of the library and by your own policies",
		Long: `Judge objects by policies, with the same engine and the same verdict as in the
cluster. The objects are

  - those in files, in directories (*.yaml, *.yml, *.json) or on standard input;
  - with --commit, those of a revision of a repository, rendered as the reconciler
    does. They are judged against those of its first parent: what is new is created,
    what was there is updated, what is gone is deleted. input.commit is known, but
    nobody verifies who signed: its signers are those of --signer;
  - with --live, those of a cluster, as they are; each is judged as if it were
    created. Kinds that cannot be listed are undetermined.

Rules are called deny, violation or warn, with an optional _suffix, and are sets
of messages or of objects {msg, field}. policies/README.md describes the input. A
rule that reads what is not known here, such as input.userInfo, is undetermined.

--explain tells of each rule that spoke which expressions held, with what their
variables hold. Values of Secrets are masked.

Exit codes: 0 nothing denies, 1 something denies, 2 wrong use or a policy that
does not load, 3 undetermined.`,
		Example: `  # a directory against the Pod Security Standards
  gitgate policy eval deploy/ --pack pod-security-restricted

  # what kustomize renders, against your own rules with their parameters
  gitgate render deploy/ | gitgate policy eval - --policy rules/ --parameters rules/prod.yaml

  # would the policies let this object be deleted?
  gitgate policy eval web.yaml --policy rules/ --operation DELETE -o json

  # what would a new rule have said to the last commit, and why?
  gitgate policy eval --commit HEAD --path clusters/prod --policy rules/ --signer alice --explain

  # and to what runs?
  gitgate policy eval --live --kinds Pod,Deployment.apps --policy rules/`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.policySets.flags(cmd)
	o.commit.flags(cmd)
	o.live.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.operation, "operation", string(policy.Create), "CREATE, UPDATE or DELETE, of files")
	f.DurationVar(&o.timeout, "timeout", time.Second, "longest time for one object")
	f.StringVarP(&o.output, "output", "o", "text", "text, or json for one verdict on one line")
	f.BoolVar(&o.explain, "explain", false, "tell how rules come to what they say, on standard error")
	cmd.MarkFlagsMutuallyExclusive("commit", "live")
	cmd.MarkFlagsMutuallyExclusive("commit", "operation")
	cmd.MarkFlagsMutuallyExclusive("live", "operation")
	// These fail for flags that do not exist alone.
	_ = cmd.RegisterFlagCompletionFunc("operation", cobra.FixedCompletions([]string{"CREATE", "UPDATE", "DELETE"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// An objectSource hands objects on to be judged, and tells what is wrong with
// others. It fails where nothing can be judged, and stops when judge fails.
type objectSource func(ctx context.Context, judge func(policy.Input) error) (problems []verdict.Finding, err error)

func (o *policyEval) run(cmd *cobra.Command, args []string) error {
	if err := o.check(args); err != nil {
		return err
	}
	sets, err := o.policySets.read()
	if err != nil {
		return err
	}
	var files objectSource
	if len(args) > 0 { // they are read while the policies are compiled
		files = fileObjects(args, cmd.InOrStdin(), policy.Operation(o.operation))
	}
	options := policyOptions
	options.Timeout = o.timeout
	engine, err := policy.Load(cmd.Context(), sets, options)
	if err != nil {
		return fmt.Errorf("the policies do not load:\n%w", err)
	}
	revision, objects, err := o.source(files)
	if err != nil {
		return err
	}
	start := time.Now()
	judged, found, problems, err := o.judge(cmd, engine, objects)
	switch {
	case cmd.Context().Err() != nil:
		return errInterrupted
	case err != nil:
		return err
	case judged == 0 && len(problems) == 0:
		return errors.New("no objects found: nothing was judged")
	}
	b := verdict.NewBuilder(revision, verdict.StageRender, verdict.StagePolicy)
	b.Objects(judged)
	b.Stage(verdict.StageRender, start, problems...)
	b.Stage(verdict.StagePolicy, start, found...)
	return o.print(cmd.OutOrStdout(), b.Verdict())
}

// judge asks the rules about objects, side by side unless they are to explain
// themselves. It returns how many there were, and what was said of them in order.
func (o *policyEval) judge(cmd *cobra.Command, engine *policy.Engine, objects objectSource) (judged int, found, problems []verdict.Finding, err error) {
	ctx := cmd.Context()
	var said []*[]verdict.Finding
	var judging errgroup.Group // its goroutines never fail: a panic of a rule is a finding
	judging.SetLimit(runtime.GOMAXPROCS(0))
	now := time.Now()
	problems, err = objects(ctx, func(in policy.Input) error {
		in.Time = now
		slot := new([]verdict.Finding)
		said = append(said, slot)
		if o.explain {
			*slot = engine.Evaluate(ctx, in)
			return explainTo(ctx, cmd.ErrOrStderr(), engine, in, *slot)
		}
		judging.Go(func() error {
			*slot = engine.Evaluate(ctx, in)
			return nil
		})
		return ctx.Err()
	})
	_ = judging.Wait() // it has no error to tell
	for _, s := range said {
		found = append(found, *s...)
	}
	return len(said), found, problems, err
}

func (o *policyEval) check(args []string) error {
	elsewhere := o.commit.revision != "" || o.live.on
	switch {
	case len(args) == 0 && !elsewhere:
		return errors.New("name files or directories to judge, or - for standard input, or --commit or --live")
	case len(args) > 0 && elsewhere:
		return errors.New("files are judged without --commit and --live: leave one of them out")
	case !slices.Contains([]string{"text", "json"}, o.output):
		return fmt.Errorf("output %q is unknown: use text or json", o.output)
	case !slices.Contains([]policy.Operation{policy.Create, policy.Update, policy.Delete}, policy.Operation(o.operation)):
		return fmt.Errorf("operation %q is unknown: use CREATE, UPDATE or DELETE", o.operation)
	case o.timeout <= 0:
		return errors.New("the timeout must be more than 0")
	}
	return errors.Join(o.commit.check(), o.live.check())
}

// source says what is judged: its revision, if it has one, and the objects.
func (o *policyEval) source(files objectSource) (string, objectSource, error) {
	switch {
	case o.commit.revision != "":
		return o.commit.open()
	case o.live.on:
		objects, err := o.live.open()
		return "", objects, err
	}
	return "", files, nil
}

// fileObjects are the objects of files, which it begins to read at once.
func fileObjects(args []string, stdin io.Reader, operation policy.Operation) objectSource {
	var manifests []manifest
	var problems []verdict.Finding
	var err error
	read := make(chan struct{})
	go func() {
		defer close(read)
		manifests, problems, err = readManifests(args, stdin)
	}()
	return func(_ context.Context, judge func(policy.Input) error) ([]verdict.Finding, error) {
		if <-read; err != nil {
			return nil, err
		}
		for _, m := range manifests {
			in := policy.Input{Operation: operation, Object: m.json, File: m.file, Line: m.line}
			if in.Operation == policy.Delete {
				in.Object, in.OldObject = nil, m.json
			}
			if err := judge(in); err != nil {
				return nil, err
			}
		}
		return problems, nil
	}
}

// explainTo writes how the rules that spoke came to it.
func explainTo(ctx context.Context, w io.Writer, engine *policy.Engine, in policy.Input, said []verdict.Finding) error {
	var rules []string
	for _, f := range said {
		if !slices.Contains(rules, f.Policy) {
			rules = append(rules, f.Policy)
		}
	}
	if len(rules) == 0 {
		return nil
	}
	lines, err := author.Explain(ctx, engine, in, rules)
	if err != nil {
		return err
	}
	for _, rule := range rules {
		object := said[slices.IndexFunc(said, func(f verdict.Finding) bool { return f.Policy == rule })].Object
		fmt.Fprintf(w, "%s on %s:\n", report.Printable(rule), report.Printable(object))
		for _, line := range lines[rule] {
			fmt.Fprintf(w, "  %s\n", report.Printable(line))
		}
	}
	return nil
}

func (o *policyEval) print(w io.Writer, v verdict.Verdict) error {
	if err := o.write(w, v); err != nil {
		return err
	}
	switch {
	case v.Allowed():
		return nil
	case v.Undetermined():
		return undetermined()
	}
	return denied()
}

func (o *policyEval) write(w io.Writer, v verdict.Verdict) error {
	if o.output == "json" {
		return author.WriteJSON(w, v)
	}
	counts := map[verdict.Severity]int{}
	for _, f := range v.Findings {
		counts[f.Severity]++
		where := f.Where()
		if f.File != "" && f.Object != "" {
			where += ": " + f.Object
		}
		name := ""
		if f.Policy != "" {
			name = " [" + f.Policy + "]"
		}
		if _, err := fmt.Fprintln(w, report.Printable(fmt.Sprintf("%s: %s %s%s %s", where, f.Severity, f.Reason, name, f.Message))); err != nil {
			return err
		}
	}
	summary := fmt.Sprintf("%d objects", v.Objects)
	for _, s := range []verdict.Severity{verdict.Deny, verdict.Undetermined, verdict.Warn, verdict.Info} {
		if counts[s] > 0 {
			summary += fmt.Sprintf(", %d %s", counts[s], s)
		}
	}
	if v.Allowed() {
		summary = "allowed: " + summary
	} else {
		summary = "refused: " + summary
	}
	_, err := fmt.Fprintln(w, summary)
	return err
}
