package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/schema"
	"gitgate.dev/gitgate/policy/verdict"
)

func newPolicyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "policy",
		Short:   "Write, test and try Rego policies",
		GroupID: "gates",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicyEvalCommand(), newPolicyTestCommand(), newPolicyLintCommand(), newPolicyDocsCommand())
	return cmd
}

// policyEval holds the flags of `gitgate policy eval`.
type policyEval struct {
	packs, dirs                                []string
	parameters, operation, output, regoVersion string
	timeout                                    time.Duration
}

func newPolicyEvalCommand() *cobra.Command {
	var o policyEval
	cmd := &cobra.Command{
		Use:   "eval [FILE|DIR|-]...",
		Short: "Judge manifests by packs of the library and by your own policies",
		Long: `Judge the objects in files, in directories (*.yaml, *.yml, *.json) or on standard
input by policies, with the same engine and the same verdict as in the cluster.

Rules are called deny, violation or warn, with an optional _suffix, and are sets
of messages or of objects {msg, field}. policies/README.md describes the input.

Exit codes: 0 nothing denies, 1 something denies, 2 wrong use or a policy that
does not load, 3 undetermined.`,
		Example: `  # a directory against the Pod Security Standards
  gitgate policy eval deploy/ --pack pod-security-restricted

  # what kustomize renders, against your own rules with their parameters
  gitgate render deploy/ | gitgate policy eval - --policy rules/ --parameters rules/prod.yaml

  # would the policies let this object be deleted?
  gitgate policy eval web.yaml --policy rules/ --operation DELETE -o json`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.packs, "pack", nil, "pack of the library: "+strings.Join(policies.Packs(), ", "))
	f.StringArrayVarP(&o.dirs, "policy", "p", nil, "directory with *.rego and data.json; each is a set of its own")
	f.StringVar(&o.parameters, "parameters", "", "YAML or JSON file that becomes input.parameters")
	f.StringVar(&o.operation, "operation", string(policy.Create), "CREATE, UPDATE or DELETE")
	f.StringVar(&o.regoVersion, "rego-version", string(policy.RegoV1), "dialect of the --policy directories: v1 or v0")
	f.DurationVar(&o.timeout, "timeout", time.Second, "longest time for one object")
	f.StringVarP(&o.output, "output", "o", "text", "text, or json for one verdict on one line")
	return cmd
}

func (o *policyEval) run(cmd *cobra.Command, args []string) error {
	if err := o.check(args); err != nil {
		return err
	}
	sets, err := o.sets()
	if err != nil {
		return err
	}
	engine, err := policy.Load(cmd.Context(), sets, policy.Options{Timeout: o.timeout, Fields: schema.Fields})
	if err != nil {
		return fmt.Errorf("the policies do not load:\n%w", err)
	}
	manifests, problems, err := readManifests(args, cmd.InOrStdin())
	if err != nil {
		return err
	}
	if len(manifests) == 0 && len(problems) == 0 {
		return errors.New("no objects found: nothing was judged")
	}
	b := verdict.NewBuilder("", verdict.StageRender, verdict.StagePolicy)
	b.Objects(len(manifests))
	b.Stage(verdict.StageRender, time.Now(), problems...)
	start := time.Now()
	var found []verdict.Finding
	for _, m := range manifests {
		in := policy.Input{Operation: policy.Operation(o.operation), Object: m.json, File: m.file, Line: m.line}
		if in.Operation == policy.Delete {
			in.Object, in.OldObject = nil, m.json
		}
		found = append(found, engine.Evaluate(cmd.Context(), in)...)
	}
	b.Stage(verdict.StagePolicy, start, found...)
	return o.print(cmd.OutOrStdout(), b.Verdict())
}

func (o *policyEval) check(args []string) error {
	switch {
	case len(args) == 0:
		return errors.New("name files or directories to judge, or - for standard input")
	case len(o.packs)+len(o.dirs) == 0:
		return errors.New("name policies with --pack or --policy: without any, everything would pass")
	case !slices.Contains([]string{"text", "json"}, o.output):
		return fmt.Errorf("output %q is unknown: use text or json", o.output)
	case !slices.Contains([]policy.Operation{policy.Create, policy.Update, policy.Delete}, policy.Operation(o.operation)):
		return fmt.Errorf("operation %q is unknown: use CREATE, UPDATE or DELETE", o.operation)
	case o.timeout <= 0:
		return errors.New("the timeout must be more than 0")
	}
	return nil
}

// sets reads the packs and directories, each once.
func (o *policyEval) sets() ([]policy.Set, error) {
	var sets []policy.Set
	for _, name := range slices.Compact(slices.Sorted(slices.Values(o.packs))) {
		fsys, err := policies.Pack(name)
		if err != nil {
			return nil, err
		}
		set, err := policy.ReadSet(name, fsys, ".")
		if err != nil {
			return nil, err
		}
		sets = append(sets, set)
	}
	for _, dir := range slices.Compact(slices.Sorted(slices.Values(o.dirs))) {
		if info, err := os.Stat(dir); err != nil {
			return nil, err
		} else if !info.IsDir() {
			return nil, fmt.Errorf("--policy %s: not a directory", dir)
		}
		set, err := policy.ReadSet(setName(dir), os.DirFS(dir), ".")
		if err != nil {
			return nil, err
		}
		set.RegoVersion = policy.RegoVersion(o.regoVersion)
		sets = append(sets, set)
	}
	if o.parameters == "" {
		return sets, nil
	}
	parameters, err := readParameters(o.parameters)
	if err != nil {
		return nil, err
	}
	for i := range sets {
		sets[i].Parameters = parameters
	}
	return sets, nil
}

// setName makes the name of a set from a directory: what a name may not hold
// becomes a colon or an underscore.
func setName(dir string) string {
	name := strings.Trim(strings.ReplaceAll(dir, "/", ":"), ":")
	name = strings.Map(func(r rune) rune {
		if r < '!' || r > '~' {
			return '_'
		}
		return r
	}, name)
	if name == "" {
		return ":"
	}
	return name
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
		return json.NewEncoder(w).Encode(v)
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
		if _, err := fmt.Fprintf(w, "%s: %s %s%s %s\n", where, f.Severity, f.Reason, name, f.Message); err != nil {
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
