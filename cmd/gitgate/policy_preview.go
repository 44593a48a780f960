package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
)

// policyPreview holds the flags of `gitgate policy preview`.
type policyPreview struct {
	next, old, bundles, remove []string
	fromCluster                bool
	system                     string

	live    policyLive
	commit  policyCommit
	commits string
	log     string

	by, output string
	ownerKeys  []string
	limit      int
	messages   bool
	timeout    time.Duration
}

func newPolicyPreviewCommand() *cobra.Command {
	var o policyPreview
	cmd := &cobra.Command{
		Use:   "preview",
		Short: "Tell what new rules would newly refuse or let pass, and whose it is",
		Long: `Judge the same objects by the rules in force and by new ones, with the engine of the
cluster, and tell what differs: what would newly be denied, allowed, warned of or
undetermined, counted by owner and then one by one.

The rules in force are PolicySets in files (--old) or in a cluster (--from-cluster);
without either there are none. Rules in Git or in a registry are fetched and verified
as in the cluster. The new ones are the PolicySets in --policy-sets, or
the rules of a directory or a bundle that --policy-bundle puts into a PolicySet. A PolicySet
that is not named stays as it is, and one that stays as it is is not judged. Each of
the others judges everything, whether or not it has admission and whoever refers to it.

The objects are

  - with --live, those of a cluster, as if they were created now;
  - with --commits, what the last N commits of a repository, or those of A..B, change,
    and all that the newest of them declares;
  - with --decision-log, what a log of decisions holds: revisions of the reconciler, of
    GitSyncs that the cluster or the files of the PolicySets have, and writes of the
    webhook (gitgate webhook --log-objects).

PolicyExceptions count as they stand in the cluster or in the commit; nobody verifies
here who signed them. What they except is told apart. An owner is the value of a label
or annotation (--owner-key) of the object or its Namespace; else the GitSync that
manages it; else its namespace.

Exit codes: 0 nothing newly fails, 1 something does, 2 wrong use or a policy that does
not load, 3 something is newly undetermined or could not be looked at.`,
		Example: `  # what would the pull request's rules refuse of what runs now?
  gitgate policy preview --policy-sets policies/ --from-cluster --live

  # and what of the last 50 commits, by the label team?
  gitgate policy preview --policy-sets policies/ --old origin/main:policies --commits 50 --path clusters/prod --owner-key team

  # the next version of a bundle against last week's admissions, as a comment
  gitgate policy preview --policy-bundle house-rules=bundle.tar.gz --from-cluster --decision-log week.log -o markdown`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.flags(cmd)
	return cmd
}

func (o *policyPreview) flags(cmd *cobra.Command) {
	o.live.flags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&o.next, "policy-sets", nil, "`PATH` of new PolicySets: a file, a directory or REV:PATH; may be repeated")
	f.StringArrayVar(&o.old, "old", nil, "`PATH` of the PolicySets in force: a file, a directory or REV:PATH; may be repeated")
	f.BoolVar(&o.fromCluster, "from-cluster", false, "read the PolicySets in force from a cluster")
	f.StringArrayVar(&o.bundles, "policy-bundle", nil, "`NAME=PATH`: put the rules of a directory or a bundle (.tar.gz) into a PolicySet; may be repeated")
	f.StringArrayVar(&o.remove, "remove", nil, "`NAME` of a PolicySet that is to go; may be repeated")
	f.StringVar(&o.system, "system-namespace", "gitgate-system", "gitgate's own namespace, where the ConfigMaps of PolicySets are")
	f.StringVar(&o.commits, "commits", "", "judge commits of --repo: the last `N` of HEAD, or A..B, by first parents")
	f.StringVar(&o.commit.repo, "repo", ".", "`DIR` of the repository, bare or with a work tree")
	f.StringVar(&o.commit.path, "path", "", "`DIR` of the repository that commits are rendered from; by default all of it, or what the GitSync says")
	f.StringArrayVar(&o.commit.signers, "signer", nil, "`NAME` that input.commit.signers holds for --commits; may be repeated")
	f.StringVar(&o.log, "decision-log", "", "`FILE` with a decision log, or - for standard input")
	f.StringVar(&o.by, "by", "owner", "count by owner, namespace, rule or gitsync")
	f.StringArrayVar(&o.ownerKeys, "owner-key", nil, "label or annotation `KEY` that names the owner; may be repeated, the first that is there counts")
	f.IntVar(&o.limit, "limit", 200, "show this many differences; 0 is all. JSON has all of them")
	f.BoolVar(&o.messages, "messages", false, "also show where only what a rule says differs")
	f.DurationVar(&o.timeout, "timeout", time.Second, "longest time for one object")
	f.StringVarP(&o.output, "output", "o", "text", "text, json or markdown")
	cmd.MarkFlagsMutuallyExclusive("old", "from-cluster")
	// These fail for flags that do not exist alone.
	_ = cmd.MarkFlagDirname("repo")
	_ = cmd.MarkFlagFilename("decision-log", "json", "jsonl", "log")
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.FixedCompletions(previewGroups, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(previewOutputs, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("commits", func(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		return completeRevision(o.commit.repo, prefix)
	})
}

var (
	previewGroups  = []string{"owner", "namespace", "rule", "gitsync"}
	previewOutputs = []string{"text", "json", "markdown"}
)

func (o *policyPreview) check() error {
	switch {
	case len(o.next)+len(o.bundles)+len(o.remove) == 0:
		return errors.New("name the new rules with --policy-sets or --policy-bundle, or what is to go with --remove")
	case !o.live.on && o.commits == "" && o.log == "":
		return errors.New("say what is to be judged: --live, --commits or --decision-log")
	case !slices.Contains(previewGroups, o.by):
		return fmt.Errorf("--by %s: use owner, namespace, rule or gitsync", o.by)
	case o.timeout <= 0:
		return errors.New("the timeout must be more than 0")
	case o.limit < 0:
		return errors.New("the limit must not be less than 0")
	case !o.live.on && (o.live.namespace != "" || len(o.live.kinds) > 0):
		return errors.New("--namespace and --kinds are of --live: give it too")
	case !o.live.on && !o.fromCluster && o.live.kubeconfig+o.live.context != "":
		return errors.New("--kubeconfig and --context are of --live and --from-cluster: give one of them too")
	}
	return checkOutput(o.output, previewOutputs)
}

func (o *policyPreview) run(cmd *cobra.Command) error {
	if err := o.check(); err != nil {
		return err
	}
	ctx := cmd.Context()
	quiet()
	sets, err := o.sets(ctx)
	var withheld *reconcile.WithheldError
	if errors.As(err, &withheld) { // whoever has them did not answer, or is not believed
		return &exitError{code: exitUndetermined, err: printable(err)}
	}
	if err != nil {
		return printable(err)
	}
	p, err := o.judges(ctx, sets)
	if err != nil {
		return printable(err)
	}
	p.progress = progressTo(cmd.ErrOrStderr())
	defer p.progress.end()
	sources, err := o.sources(ctx, cmd.InOrStdin(), sets, p)
	if err != nil {
		return printable(err)
	}
	for _, source := range sources {
		problems, err := source(ctx, p.add)
		if err == nil {
			err = p.flush(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return errInterrupted
		case err != nil:
			return printable(err)
		}
		p.exceptions = nil
		for _, f := range problems {
			p.problem(f)
		}
	}
	p.progress.end()
	if p.result.Judged == 0 && len(p.result.Problems) == 0 {
		return errors.New("no objects found: nothing was judged")
	}
	if err := p.finish().write(cmd.OutOrStdout(), o); err != nil {
		return &exitError{code: exitUndetermined, err: err}
	}
	switch r := p.result; {
	case r.Counts.Denied > 0:
		return denied()
	case r.Counts.Undetermined > 0 || len(r.Problems) > 0:
		return undetermined()
	}
	return nil
}

// judges makes the two engines of the sets that differ. What does not compile is an
// error.
func (o *policyPreview) judges(ctx context.Context, sets *previewSets) (*previewer, error) {
	options := policyOptions
	options.Timeout = o.timeout
	p := &previewer{options: o, now: time.Now(), groups: map[string]*previewCounts{}, seen: map[[32]byte]int{}}
	p.result.Kind, p.result.By, p.result.Sets, p.result.SameSets = "PolicyPreview", o.by, sets.changed, sets.same
	for _, side := range []struct {
		what string
		sets []policy.Set
		into **policy.Engine
	}{{"the rules in force do not load", sets.before, &p.before}, {"the new rules do not load", sets.after, &p.after}} {
		if len(side.sets) == 0 {
			continue // policy.Load would have it judge nothing, and refuse
		}
		engine, err := policy.Load(ctx, side.sets, options)
		if err != nil {
			return nil, fmt.Errorf("%s:\n%w", side.what, err)
		}
		*side.into = engine
	}
	return p, nil
}

// problem notes what could not be looked at, the same once.
func (p *previewer) problem(f verdict.Finding) {
	line := f.Message
	if w := f.Where(); w != "" {
		line = w + ": " + line
	}
	for i := range p.result.Problems {
		if p.result.Problems[i].Message == line {
			p.result.Problems[i].Times++
			return
		}
	}
	if len(p.result.Problems) < maxPreviewProblems {
		p.result.Problems = append(p.result.Problems, previewProblem{Message: line, Times: 1})
	}
}
