package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/report"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/outline"
	"gitgate.dev/gitgate/reconcile/render"
	"gitgate.dev/gitgate/verify/commit"
)

// checkOptions are the flags of `gitgate check`.
type checkOptions struct {
	rangeOptions
	keys    []string
	schemas []string
	offline bool
	// policyBundles are NAME=DIR and NAME=FILE.tar.gz.
	policyBundles []string
	cacheDir      string
	all           bool
	outputs       []string
	failOn        string
	replay        string
	trace         *ruleTrace // set by gitgate explain
}

func newCheckCommand() *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:   "check -c CONFIG",
		Short: "Judge a branch as the cluster will once it is merged",
		Long: `Check runs the gate of the reconciler on commits that are not merged yet: who
signed them, what they render to, the images, the policies, the secrets, and what
would be deleted. All stages run, whatever the former ones found.

The configuration is what judges in the cluster, in the same YAML: GitSyncs,
TrustPolicies, PolicySets, and the ConfigMaps and Secrets that they refer to, in
files and directories, or as REV:PATH in the repository, or read from a cluster.
Take it from where the branch to judge cannot change it.

Base is what is in force: --base, or what the cluster applied last, or the branch
of the GitSync at the remote origin. Of several GitSyncs those judge that follow the
branch which --base names, or into which CI says that a pull request goes; without
either all do. The commits that head adds to it are judged,
and the objects that differ; with --all every object. Without base all is judged
from the commit that the TrustPolicy pins.

What cannot be decided is said, and undetermined: encrypted files without keys
(--keys, SOPS_AGE_KEY_FILE or SOPS_AGE_KEY), registries and rules from elsewhere
with --offline, a kind whose schema is not known, a work tree that nobody has signed.

Rules that PolicySets have from Git or a registry are fetched and verified here, with
the credentials of the configuration, or else with those of docker for registries;
--policy-bundle tries others. Those of the judged branch itself count as of base.

` + replayHelp + `

Outputs are given as FORMAT or FORMAT=FILE and may be repeated. Formats are
` + strings.Join(report.Formats(), ", ") + `.

Exit codes: 0 allowed, 1 denied, 2 wrong use or configuration, 3 undetermined.`,
		Example: `  # what would the cluster say to this branch?
  gitgate check -c gitgate/

  # in CI: configuration of the protected branch, and a report for code scanning
  gitgate check -c origin/main:gitgate --base origin/main -o text -o sarif=gitgate.sarif

  # before committing
  gitgate check -c gitgate/ --worktree --offline --fail-on deny

  # with the configuration that is in force
  gitgate check --from-cluster --gitsync team-shop/shop

  # would a change of the rules have decided otherwise?
  gitgate check -c gitgate/ --replay decisions.json`,
		GroupID: "gates",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.replay != "" {
				return o.runReplay(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
			}
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.rangeOptions.flags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&o.keys, "keys", nil, "`FILE` with age identities or armored OpenPGP private keys, to decrypt and check integrity; may be repeated")
	f.StringArrayVar(&o.schemas, "schemas", nil, "`FILE, DIR or REV:PATH` with CustomResourceDefinitions that the cluster has; may be repeated")
	f.BoolVar(&o.offline, "offline", false, "ask no registry: images that the cache does not prove are undetermined")
	f.StringArrayVar(&o.policyBundles, "policy-bundle", nil, "`NAME=DIR or NAME=FILE.tar.gz` with rules in the place of those that the PolicySet NAME has from Git or a registry; may be repeated")
	f.StringVar(&o.cacheDir, "cache-dir", "", "`DIR` to keep between runs: signatures of images, which are verified again, and what files declare that do not differ; $"+cacheKeyVariable+" seals it")
	f.BoolVar(&o.all, "all", false, "judge every object by the policies, not only those that differ from base")
	f.StringArrayVarP(&o.outputs, "output", "o", []string{"text"}, "`FORMAT[=FILE]`; may be repeated")
	f.StringVar(&o.failOn, "fail-on", string(verdict.Undetermined), "the least that fails: deny, undetermined or warn")
	o.replayFlags(cmd)
	_ = cmd.MarkFlagFilename("keys", "agekey", "txt", "asc") // these fail for flags that do not exist alone
	_ = cmd.MarkFlagDirname("cache-dir")
	_ = cmd.MarkFlagFilename("schemas", "yaml", "yml", "json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(report.Formats(), cobra.ShellCompDirectiveDefault))
	_ = cmd.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions([]string{"deny", "undetermined", "warn"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *checkOptions) run(ctx context.Context, stdout, stderr io.Writer) error {
	if !slices.Contains([]string{"deny", "undetermined", "warn"}, o.failOn) {
		return fmt.Errorf("--fail-on %s: use deny, undetermined or warn", o.failOn)
	}
	outputs, err := openOutputs(o.outputs, stdout)
	if err != nil {
		return err
	}
	defer outputs.discard()
	judged, err := o.judge(ctx, stderr)
	if err != nil {
		return err
	}
	defer judged.close()
	if err := outputs.write(judged.report); err != nil {
		return err
	}
	return o.exit(judged.report)
}

// exit turns the report into an exit code.
func (o *checkOptions) exit(r report.Report) error {
	warned := slices.ContainsFunc(r.Verdicts, func(n report.Named) bool {
		return slices.ContainsFunc(n.Verdict.Findings, func(f verdict.Finding) bool { return f.Severity == verdict.Warn })
	})
	switch {
	case !r.Allowed() && !r.Undetermined(), warned && o.failOn == string(verdict.Warn):
		return denied()
	case !r.Allowed() && o.failOn != string(verdict.Deny):
		return undetermined()
	}
	return nil
}

// A checked is the outcome of a check.
type checked struct {
	report report.Report
	close  func()
}

// judge runs the gate of every GitSync.
func (o *checkOptions) judge(ctx context.Context, stderr io.Writer) (*checked, error) {
	quiet()
	repo, err := openGitRepository(o.repo)
	if err != nil {
		return nil, err
	}
	config, syncs, err := o.configuration(ctx, repo)
	if err != nil {
		return nil, err
	}
	if syncs, err = o.ofTarget(repo, syncs); err != nil {
		return nil, err
	}
	keys, err := checkKeys(o.keys)
	if err != nil {
		return nil, err
	}
	schemas, err := ownDefinitions()
	if err != nil {
		return nil, err
	}
	given, err := readSchemas(ctx, repo, o.schemas)
	if err != nil {
		return nil, err
	}
	schemas = slices.Concat(schemas, given)
	c := &checker{
		options: o, repo: repo, config: config, schemas: schemas, given: given, progress: progressTo(stderr), outlines: outlineStore(o.cacheDir),
		only: len(syncs) == 1,
		gates: &gates{
			renders: render.NewCache(renderCacheBytes), system: o.namespace, loopbackHTTP: o.loopbackHTTP,
			imageCache: imageCacheDir(o.cacheDir), lastGood: map[string]goodSet{}, trace: o.trace,
			pre: &precheck{keys: keys, offline: o.offline},
		},
	}
	rules, done, err := newCheckRules(config, repo, c.gates, o.offline, o.policyBundles)
	if err != nil {
		return nil, err
	}
	defer done()
	c.rules = rules
	out := &checked{report: report.Report{Version: version}, close: func() {}}
	for _, sync := range syncs {
		if err := c.check(ctx, sync, out); err != nil {
			return nil, fmt.Errorf("GitSync %s/%s: %w", sync.Namespace, sync.Name, err)
		}
	}
	if err := rules.unused(); err != nil {
		out.close()
		return nil, err
	}
	return out, nil
}

// A checker runs gates on one repository.
type checker struct {
	options  *checkOptions
	repo     *gitRepository
	config   client.Reader
	schemas  []map[string]any
	given    []map[string]any // of these, those that are not our own
	gates    *gates
	progress progress
	outlines outline.Store
	rules    *checkRules
	only     bool // there is one GitSync
}

// check judges the repository for one GitSync.
func (c *checker) check(ctx context.Context, sync *v1alpha1.GitSync, out *checked) error {
	name := sync.Namespace + "/" + sync.Name
	r, err := c.options.open(ctx, c.repo, sync)
	if err != nil {
		return err
	}
	former := out.close
	out.close = func() { former(); r.close() }
	if r.former == nil && c.only {
		c.gates.renders = nil // nothing is rendered twice
	}
	c.rules.of(r.base, r.head)
	in, err := reconcile.Resolve(ctx, c.config, c.gates.system, sync, c.rules)
	if err != nil {
		return reasoned(err)
	}
	withheld := c.rules.without(&in)
	schemas := newSchemaStage(c.schemas)
	c.gates.scope = schemas.scope
	local := &localStage{prune: sync.PruneEnabled(), progress: c.progress.of(name), rendered: c.repo.objects.forget}
	g, err := c.gates.Gate(ctx, in, local)
	if err != nil {
		return reasoned(err)
	}
	req := gate.Request{
		Revision: r.revision(sync.Spec.Ref.Branch), Unverified: r.files,
		PreviousTree: r.former, JudgedBefore: !c.options.all, Inventory: gate.AsPrevious,
		Commit: commit.Request{Objects: c.repo.objects, Head: r.head, Base: r.base},
	}
	known, err := c.sketch(in, r)
	if err != nil {
		return err
	}
	v := c.admit(ctx, g, req, local, known)
	c.progress.end()
	v = extended(v, withheld...)
	if r.note != "" {
		v = extended(v, verdict.Finding{Stage: verdict.StageCommit, Reason: verdict.NonFastForward, Severity: verdict.Info, Message: r.note})
	}
	if r.files != nil {
		v = extended(v, recipients(r.files, local.head)...)
	}
	if passed(v, verdict.StageRender) {
		changes := local.changes()
		schemas.define(local.previous)
		schemas.define(local.head)
		v = extended(v, schemas.judge(ctx, c.options.judged(local.head, changes), func(src gate.Source, field string) int {
			return local.Line(r.files, src, field)
		})...)
		out.report.Changes = append(out.report.Changes, changes...)
	}
	out.report.Verdicts = append(out.report.Verdicts, report.Named{Name: name, Verdict: v})
	out.report.Files = r.files
	return nil
}

// judged returns the objects that differ from those in force, or all.
func (o *checkOptions) judged(objects []gate.Object, changes []report.Change) []gate.Object {
	if o.all {
		return objects
	}
	differs := make(map[string]bool, len(changes))
	for _, c := range changes {
		differs[c.Object] = true
	}
	return slices.DeleteFunc(slices.Clone(objects), func(o gate.Object) bool { return !differs[o.ID()] })
}

// passed reports whether a stage passed.
func passed(v verdict.Verdict, s verdict.Stage) bool {
	return slices.ContainsFunc(v.Stages, func(r verdict.StageResult) bool { return r.Stage == s && r.Status == verdict.Passed })
}

// reasoned puts the reason before an error of the configuration.
func reasoned(err error) error {
	var known *reconcile.InputError
	if errors.As(err, &known) {
		return fmt.Errorf("%s: %s", known.Reason, strings.ReplaceAll(known.Error(), "\n", "; "))
	}
	return err
}

// extended adds to a verdict what stages found that only run before the merge.
func extended(v verdict.Verdict, found ...verdict.Finding) verdict.Verdict {
	v.Findings = append(slices.Clone(v.Findings), found...)
	v.Stages = slices.Clone(v.Stages)
	for i, s := range v.Stages {
		if slices.ContainsFunc(found, func(f verdict.Finding) bool { return f.Stage == s.Stage && f.Severity.Blocks() }) {
			v.Stages[i].Status = verdict.Failed
		}
	}
	verdict.Sort(v.Findings)
	return v
}

// A progress tells a person at a terminal what takes so long. The zero value tells
// nobody.
type progress struct{ to io.Writer }

func progressTo(w io.Writer) progress {
	if f, ok := w.(interface{ Fd() uintptr }); ok && term.IsTerminal(int(f.Fd())) {
		return progress{to: w}
	}
	return progress{}
}

func (p progress) of(name string) func(verdict.Stage) {
	if p.to == nil {
		return nil
	}
	return func(s verdict.Stage) { fmt.Fprintf(p.to, "\r\x1b[Kchecking %s: %s …", report.Printable(name), s) }
}

func (p progress) end() {
	if p.to != nil {
		fmt.Fprint(p.to, "\r\x1b[K")
	}
}
