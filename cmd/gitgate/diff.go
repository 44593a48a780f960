package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	gitdiff "github.com/go-git/go-git/v5/plumbing/format/diff"
	linediff "github.com/go-git/go-git/v5/utils/diff"
	"github.com/sergi/go-diff/diffmatchpatch"
	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/report"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/render"
	"gitgate.dev/gitgate/secrets"
)

// diffOptions are the flags of `gitgate diff`.
type diffOptions struct {
	checkOptions
	output  string
	context int
	exit    bool
	live    bool
	// dryRunAccount makes the dry runs of live; empty leaves them to the user.
	dryRunAccount string
}

func newDiffCommand() *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:   "diff -c CONFIG",
		Short: "Show what a branch changes in the objects that are applied",
		Long: `Diff renders base and head as the reconciler would and compares the objects: what
a change of a kustomization or of a base comes down to. Signatures, images and
policies are not looked at: see gitgate check, which takes the same flags.

With --live the head is compared with the objects in a cluster: what the API server
makes of each manifest, by a dry run of the reconciler's server-side apply under a
fresh name, is held to the live object. Shown is what the reconciler would write,
fields that others added included, and what it would delete by the inventory of the
GitSync; not what is left to others, as by spec.ignore. A tag counts as the digest
that runs. Nothing is written. Who may not read an object or make the dry run is
told so, and the comparison is undetermined.

Values of Secrets and ciphertext are masked; that a value changed is shown.

Exit codes: 0 compared, 1 with --exit-code if anything differs, 2 wrong use, 3 a
tree does not render, or something could not be compared.`,
		Example: `  # what does this branch change?
  gitgate diff -c gitgate/

  # and what I have not committed yet?
  gitgate diff -c gitgate/ --base HEAD --worktree

  # what would applying main change in the cluster now?
  gitgate diff --from-cluster --gitsync team-shop/shop --head origin/main --live

  # for scripts
  gitgate diff -c gitgate/ -o json | jq -r 'select(.action == "delete").object'`,
		GroupID: "gates",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.rangeOptions.flags(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "text", "text, or json with one object a line")
	f.IntVarP(&o.context, "unified", "U", 3, "lines of context")
	o.liveFlags(cmd)
	f.BoolVar(&o.exit, "exit-code", false, "exit with 1 if anything differs")
	return cmd
}

func (o *diffOptions) run(ctx context.Context, stdout, stderr io.Writer) error {
	if o.output != "text" && o.output != "json" {
		return fmt.Errorf("-o %s: use text or json", o.output)
	}
	if o.context < 0 {
		return fmt.Errorf("--unified %d: must not be less than 0", o.context)
	}
	quiet()
	repo, err := openGitRepository(o.repo)
	if err != nil {
		return err
	}
	config, syncs, err := o.configuration(ctx, repo)
	if err != nil {
		return err
	}
	if syncs, err = o.ofTarget(repo, syncs); err != nil {
		return err
	}
	live, err := o.liveCluster()
	if err != nil {
		return err
	}
	cache := render.NewCache(renderCacheBytes)
	var text bytes.Buffer // what cannot be compared at all prints nothing
	var bad []verdict.Finding
	differs := false
	for _, sync := range syncs {
		pairs, found, err := o.ofSync(ctx, repo, config, sync, live, cache)
		if err != nil {
			return fmt.Errorf("GitSync %s/%s: %w", sync.Namespace, sync.Name, err)
		}
		bad = append(bad, found...)
		for _, p := range pairs {
			differs = true
			if err := o.print(&text, p, terminalOptions(stdout).Color); err != nil {
				return err
			}
		}
	}
	if len(bad) > 0 && live == nil {
		text.Reset()
	}
	return o.finish(&text, bad, differs, stdout, stderr)
}

// ofSync compares for one GitSync: base and head, or the cluster and head.
func (o *diffOptions) ofSync(ctx context.Context, repo *gitRepository, config client.Reader, sync *v1alpha1.GitSync, live *liveCluster, cache *render.Cache) ([]pair, []verdict.Finding, error) {
	in, err := reconcile.Resolve(ctx, config, o.namespace, sync, nil)
	if err != nil {
		return nil, nil, reasoned(err)
	}
	r, err := o.open(ctx, repo, sync)
	if err != nil {
		return nil, nil, err
	}
	defer r.close()
	if r.unreadable != nil {
		return nil, nil, r.unreadable
	}
	if live != nil {
		pairs, bad := live.compare(ctx, r, renderer{renderOptionsFor(in, live.applier.Scope, cache)}, in)
		return pairs, bad, nil
	}
	pairs, bad := o.compare(ctx, r, renderer{renderOptionsFor(in, nil, cache)}, sync)
	return pairs, bad, nil
}

// A pair is an object that differs.
type pair struct {
	report.Change
	Before map[string]any `json:"before,omitempty"`
	After  map[string]any `json:"after,omitempty"`
}

// compare renders both ends of a range.
func (o *diffOptions) compare(ctx context.Context, r *checkedRange, renderer gate.Renderer, sync *v1alpha1.GitSync) ([]pair, []verdict.Finding) {
	local := &localStage{Renderer: renderer, prune: sync.PruneEnabled()}
	_, found := local.Render(ctx, r.files)
	if r.former != nil {
		_, more := local.Render(ctx, r.former)
		found = append(found, more...)
	}
	var bad []verdict.Finding
	for _, f := range found {
		if f.Severity.Blocks() && f.Reason != verdict.EmptyRelease {
			f.Stage = verdict.StageRender
			bad = append(bad, f)
		}
	}
	if len(bad) > 0 {
		return nil, bad
	}
	before, after := byID(local.previous), byID(local.head)
	var out []pair
	for _, c := range local.changes() {
		b, a := maskedPair(before[c.Object], after[c.Object])
		out = append(out, pair{c, b, a})
	}
	return out, nil
}

func byID(objects []gate.Object) map[string]map[string]any {
	out := make(map[string]map[string]any, len(objects))
	for _, o := range objects {
		out[o.ID()] = o.Object
	}
	return out
}

// The masks of values that differ.
const (
	maskBefore = secrets.Mask + " (before)"
	maskAfter  = secrets.Mask + " (after)"
)

// maskedPair masks both sides, and marks masked values that differ.
func maskedPair(before, after map[string]any) (maskedBefore, maskedAfter map[string]any) {
	if before == nil || after == nil {
		if before != nil {
			return secrets.Masked(before), nil
		}
		return nil, secrets.Masked(after)
	}
	b, a := secrets.Masked(before), secrets.Masked(after)
	markChanged(folded(before), folded(after), b, a)
	return b, a
}

// folded has the stringData of a Secret under data, as the masked object has. A
// value there is no base64, which matters to nobody who only compares.
func folded(o map[string]any) map[string]any {
	text, ok := o["stringData"].(map[string]any)
	if !ok || o["kind"] != "Secret" {
		return o
	}
	data := map[string]any{}
	if old, ok := o["data"].(map[string]any); ok {
		maps.Copy(data, old)
	}
	maps.Copy(data, text)
	out := maps.Clone(o)
	out["data"] = data
	return out
}

// markChanged walks four trees at once: two objects, and their masked copies, which
// it changes and returns.
func markChanged(before, after, maskedB, maskedA any) (any, any) {
	if maskedB == any(secrets.Mask) && maskedA == any(secrets.Mask) {
		if reflect.DeepEqual(before, after) {
			return maskedB, maskedA
		}
		return maskBefore, maskAfter
	}
	switch b := maskedB.(type) {
	case map[string]any:
		a, ok := maskedA.(map[string]any)
		was, ok2 := before.(map[string]any)
		is, ok3 := after.(map[string]any)
		if ok && ok2 && ok3 {
			for k := range b {
				if _, both := a[k]; both {
					b[k], a[k] = markChanged(was[k], is[k], b[k], a[k])
				}
			}
		}
	case []any:
		a, ok := maskedA.([]any)
		was, ok2 := before.([]any)
		is, ok3 := after.([]any)
		if ok && ok2 && ok3 {
			for i := range min(len(b), len(a), len(was), len(is)) {
				b[i], a[i] = markChanged(was[i], is[i], b[i], a[i])
			}
		}
	}
	return maskedB, maskedA
}

func (o *diffOptions) print(w io.Writer, p pair, color bool) error {
	if o.output == "json" {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		return e.Encode(p)
	}
	before, err := shownYAML(p.Before)
	if err != nil {
		return fmt.Errorf("%s: %w", p.Object, err)
	}
	after, err := shownYAML(p.After)
	if err != nil {
		return fmt.Errorf("%s: %w", p.Object, err)
	}
	encoder := gitdiff.NewUnifiedEncoder(w, o.context)
	if color {
		encoder.SetColor(gitdiff.NewColorConfig())
	}
	return encoder.Encode(objectPatch{p.Object, before, after})
}

// shownYAML is an object as text in which nothing steers a terminal.
func shownYAML(o map[string]any) (string, error) {
	if o == nil {
		return "", nil
	}
	raw, err := yaml.Marshal(o)
	if err != nil {
		return "", err
	}
	lines := strings.Split(string(raw), "\n")
	for i, l := range lines {
		lines[i] = report.Printable(l)
	}
	return strings.Join(lines, "\n"), nil
}

// An objectPatch is the difference of one object, as go-git's encoder wants it.
type objectPatch struct{ object, before, after string }

var (
	_ gitdiff.Patch     = objectPatch{}
	_ gitdiff.FilePatch = objectPatch{}
)

func (p objectPatch) FilePatches() []gitdiff.FilePatch { return []gitdiff.FilePatch{p} }
func (objectPatch) Message() string                    { return "" }
func (objectPatch) IsBinary() bool                     { return false }

func (p objectPatch) Files() (from, to gitdiff.File) {
	if p.before != "" {
		from = objectText{p.object, p.before}
	}
	if p.after != "" {
		to = objectText{p.object, p.after}
	}
	return from, to
}

// diffTime bounds the search for the shortest difference of one object. What was
// found until then is right, only longer.
const diffTime = time.Second

func (p objectPatch) Chunks() []gitdiff.Chunk {
	var out []gitdiff.Chunk
	for _, d := range linediff.DoWithTimeout(p.before, p.after, diffTime) {
		out = append(out, textChunk{d})
	}
	return out
}

type objectText struct{ object, text string }

func (t objectText) Hash() plumbing.Hash {
	return plumbing.ComputeHash(plumbing.BlobObject, []byte(t.text))
}
func (objectText) Mode() filemode.FileMode { return filemode.Regular }
func (t objectText) Path() string          { return report.Printable(t.object) }

type textChunk struct{ diff diffmatchpatch.Diff }

func (c textChunk) Content() string { return c.diff.Text }

func (c textChunk) Type() gitdiff.Operation {
	switch c.diff.Type {
	case diffmatchpatch.DiffInsert:
		return gitdiff.Add
	case diffmatchpatch.DiffDelete:
		return gitdiff.Delete
	}
	return gitdiff.Equal
}
