package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/report"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
)

// maxTraced bounds the objects of one verdict whose rules are traced.
const maxTraced = 20

// A ruleTrace takes down how rules come to what they say of some objects. The nil
// trace takes down nothing. It is safe for concurrent use.
type ruleTrace struct {
	objects []string
	rules   []string

	mu   sync.Mutex
	text map[string]*bytes.Buffer // by object
	err  error
}

// newRuleTrace takes the objects and the rules from findings.
func newRuleTrace(found []verdict.Finding) (t *ruleTrace, left int) {
	t = &ruleTrace{text: map[string]*bytes.Buffer{}}
	seen := map[string]bool{}
	for _, f := range found {
		if f.Policy == "" || f.Object == "" {
			continue
		}
		if !slices.Contains(t.rules, f.Policy) {
			t.rules = append(t.rules, f.Policy)
		}
		if seen[f.Object] {
			continue
		}
		seen[f.Object] = true
		if len(t.objects) == maxTraced {
			left++
			continue
		}
		t.objects = append(t.objects, f.Object)
	}
	return t, left
}

// heard returns what the rules said, and takes down how they came to it. The rules are
// asked once more, for a trace is too slow for everyday.
func (t *ruleTrace) heard(ctx context.Context, engine *policy.Engine, in policy.Input, said []verdict.Finding) []verdict.Finding {
	if t == nil || !slices.Contains(t.objects, in.ObjectID) {
		return said
	}
	spoke := slices.DeleteFunc(slices.Clone(said), func(f verdict.Finding) bool { return !slices.Contains(t.rules, f.Policy) })
	var text bytes.Buffer
	err := explainTo(ctx, &text, engine, in, spoke)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = errors.Join(t.err, err)
	t.text[in.ObjectID] = &text
	return said
}

// write writes what was taken down, object by object.
func (t *ruleTrace) write(w io.Writer, left int) {
	for _, object := range t.objects {
		text := t.text[object]
		if text == nil || text.Len() == 0 {
			fmt.Fprintf(w, "trace of %s: the rules say nothing of it now: the configuration or the base is another one\n", report.Printable(object))
			continue
		}
		fmt.Fprintf(w, "trace of %s\n", report.Printable(object))
		for line := range strings.Lines(text.String()) {
			fmt.Fprintf(w, "  %s", line)
		}
	}
	if left > 0 {
		fmt.Fprintf(w, "%d more objects are not traced\n", left)
	}
	fmt.Fprintln(w)
}

// traceFlags are the flags of check that say what to judge again, and by what.
func (e *explainOptions) traceFlags(cmd *cobra.Command) {
	f, o := cmd.Flags(), &e.check
	f.BoolVar(&e.trace, "trace", false, "trace the rules that spoke, by judging the revision of the verdict again")
	f.StringVar(&o.repo, "repo", ".", "`DIR` of the repository, with --trace")
	f.StringVar(&o.base, "base", "", "`REV` that was in force, with --trace; by default what the decision log says, or as in gitgate check")
	f.StringArrayVarP(&o.config, "config", "c", nil, "`FILE, DIR or REV:PATH` with GitSyncs, TrustPolicies and PolicySets, with --trace; may be repeated")
	f.BoolVar(&o.fromCluster, "from-cluster", false, "read the configuration from a cluster, with --trace")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "`FILE` to reach the cluster with; empty means as kubectl finds it")
	f.StringVar(&o.rangeOptions.context, "context", "", "`NAME` of the context in the kubeconfig; empty means the current one")
	f.StringVar(&o.namespace, "namespace", "gitgate-system", "gitgate's own `NAMESPACE`")
	f.BoolVar(&o.offline, "offline", false, "ask no registry, with --trace: rules then see images without evidence")
	cmd.MarkFlagsMutuallyExclusive("config", "from-cluster")
	_ = cmd.MarkFlagDirname("repo") // these fail for flags that do not exist alone
	_ = cmd.MarkFlagFilename("config", "yaml", "yml", "json")
	_ = cmd.MarkFlagFilename("kubeconfig")
}

// traceable fails where --trace lacks what it needs.
func (e *explainOptions) traceable() error {
	if e.trace && len(e.check.config) == 0 && !e.check.fromCluster {
		return errors.New("--trace judges again: say by what, with -c or --from-cluster")
	}
	return nil
}

// traced judges the revision of a verdict again and writes how the rules came to what
// they said in it.
func (e *explainer) traced(ctx context.Context, v decided) error {
	t, left := newRuleTrace(v.Findings)
	if len(t.objects) == 0 {
		return nil // no rule spoke
	}
	head := reconcile.RevisionHash(v.Revision)
	if head.IsZero() {
		fmt.Fprintf(e.out, "no trace: %q names no commit that can be judged again\n\n", report.Printable(v.Revision))
		return nil
	}
	o := e.again
	o.head, o.all, o.trace = head.String(), true, t
	if v.Name != "" {
		o.gitSyncs = []string{v.Name}
	}
	if o.base == "" && v.Asked != nil && len(v.Asked.Base) > 0 {
		o.base = v.Asked.Base[0]
	}
	judged, err := o.judge(ctx, io.Discard)
	if err != nil {
		return fmt.Errorf("--trace: %w", err)
	}
	judged.close()
	if t.err != nil {
		return &exitError{code: exitUndetermined, err: fmt.Errorf("--trace: %w", t.err)}
	}
	t.write(e.out, left)
	return nil
}
