package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy"
	policybundle "gitgate.dev/gitgate/policy/bundle"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// previewSets are the PolicySets of both sides that differ.
type previewSets struct {
	before, after []policy.Set
	changed       []previewSet
	same          int
	syncs         map[string]*v1alpha1.GitSync // that either side knows
}

// A previewSet says what becomes of a PolicySet.
type previewSet struct {
	Name   string `json:"name"`
	Change string `json:"change"` // changed, added or removed
}

// A sideOfSets are the PolicySets of one side, by name, and the GitSyncs beside them.
type sideOfSets struct {
	reader client.Reader
	sets   map[string]*v1alpha1.PolicySet
	syncs  []*v1alpha1.GitSync
}

// sets reads both sides and finds what differs.
func (o *policyPreview) sets(ctx context.Context) (*previewSets, error) {
	old, err := o.inForce(ctx)
	if err != nil {
		return nil, err
	}
	next := &sideOfSets{}
	if len(o.next) > 0 {
		if next, err = o.files(ctx, "--policy-sets", o.next); err != nil {
			return nil, err
		}
	}
	replaced, err := o.replacements(old, next)
	if err != nil {
		return nil, err
	}
	out := &previewSets{syncs: map[string]*v1alpha1.GitSync{}}
	for _, s := range slices.Concat(old.syncs, next.syncs) {
		out.syncs[s.Namespace+"/"+s.Name] = s
	}
	names := slices.Concat(o.remove, slices.Collect(maps.Keys(replaced)), slices.Collect(maps.Keys(next.sets)))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if err := o.compare(ctx, out, name, old, next, replaced); err != nil {
			return nil, err
		}
	}
	out.same = len(old.sets) - len(out.before)
	if len(out.changed) == 0 {
		return nil, errors.New("the new PolicySets are the same as those in force: there is nothing to compare")
	}
	return out, nil
}

// compare adds a PolicySet to what differs, if it does.
func (o *policyPreview) compare(ctx context.Context, out *previewSets, name string, old, next *sideOfSets, replaced map[string]policy.Set) error {
	before, err := old.set(ctx, name, o.system)
	if err != nil {
		return fmt.Errorf("in force: %w", err)
	}
	var after *policy.Set
	if set, ok := replaced[name]; ok {
		after = &set
	} else if after, err = next.set(ctx, name, o.system); err != nil {
		return err
	}
	if slices.Contains(o.remove, name) {
		if before == nil {
			return fmt.Errorf("--remove %s: there is no such PolicySet in force", name)
		}
		after = nil
	}
	change := "changed"
	switch {
	case before == nil:
		change = "added"
	case after == nil:
		change = "removed"
	case sameSet(before, after):
		return nil
	}
	if before != nil {
		out.before = append(out.before, *before)
	}
	if after != nil {
		out.after = append(out.after, *after)
	}
	out.changed = append(out.changed, previewSet{name, change})
	return nil
}

// sameSet reports whether two sets say the same of the same object.
func sameSet(a, b *policy.Set) bool {
	x, err := json.Marshal(a) // with the keys of maps in order
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && bytes.Equal(x, y)
}

// inForce reads the PolicySets in force.
func (o *policyPreview) inForce(ctx context.Context) (*sideOfSets, error) {
	if o.fromCluster {
		return o.cluster(ctx)
	}
	if len(o.old) == 0 {
		return &sideOfSets{}, nil
	}
	return o.files(ctx, "--old", o.old)
}

// files reads PolicySets from files.
func (o *policyPreview) files(ctx context.Context, flag string, paths []string) (*sideOfSets, error) {
	repo, err := openGitRepository(o.commit.repo)
	if err != nil {
		repo = nil // REV:PATH is then no file
	}
	c, err := readConfiguration(ctx, repo, paths)
	if err != nil {
		return nil, errors.New(strings.ReplaceAll(err.Error(), "-c ", flag+" "))
	}
	side := &sideOfSets{reader: c, sets: map[string]*v1alpha1.PolicySet{}, syncs: c.gitSyncs()}
	for _, key := range c.order {
		if s, ok := c.objects[key].object.(*v1alpha1.PolicySet); ok {
			side.sets[s.Name] = s
		}
	}
	if len(side.sets) == 0 && flag != "--old" {
		return nil, fmt.Errorf("%s %s: holds no PolicySet; rules without one are put into one with --policy-bundle NAME=PATH", flag, strings.Join(paths, " "))
	}
	return side, nil
}

// cluster reads the PolicySets of a cluster. Who may not list GitSyncs can do without.
func (o *policyPreview) cluster(ctx context.Context) (*sideOfSets, error) {
	d := doctorOptions{kubeconfig: o.live.kubeconfig, context: o.live.context}
	config, err := d.restConfig()
	if err != nil {
		return nil, fmt.Errorf("--from-cluster: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("--from-cluster: %w", err)
	}
	var list v1alpha1.PolicySetList
	if err := c.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("--from-cluster: listing the PolicySets: %s", oneLine(err))
	}
	side := &sideOfSets{reader: c, sets: map[string]*v1alpha1.PolicySet{}}
	for i := range list.Items {
		side.sets[list.Items[i].Name] = &list.Items[i]
	}
	var syncs v1alpha1.GitSyncList
	if err := c.List(ctx, &syncs); err == nil {
		for i := range syncs.Items {
			side.syncs = append(side.syncs, &syncs.Items[i])
		}
	}
	return side, nil
}

// set translates a PolicySet of the side; nil if there is none.
func (s *sideOfSets) set(ctx context.Context, name, system string) (*policy.Set, error) {
	set, ok := s.sets[name]
	if !ok {
		return nil, nil
	}
	in := reconcile.PolicyInput{Set: set}
	if set.Spec.Source.Remote() {
		if err := s.fetch(ctx, &in, system); err != nil {
			return nil, fmt.Errorf("%w: put its rules into it with --policy-bundle %s=PATH", err, name)
		}
	}
	if ref := set.Spec.Source.ConfigMapRef; ref != nil {
		var m corev1.ConfigMap
		if err := s.reader.Get(ctx, types.NamespacedName{Namespace: system, Name: ref.Name}, &m); err != nil {
			return nil, fmt.Errorf("PolicySet %s: ConfigMap %s/%s: %s", name, system, ref.Name, oneLine(err))
		}
		in.Modules = m.Data
	}
	out, err := policySet(in)
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// fetch gets the rules of a PolicySet that come from elsewhere, as a check does.
func (s *sideOfSets) fetch(ctx context.Context, in *reconcile.PolicyInput, system string) error {
	g := &gates{system: system, lastGood: map[string]goodSet{}}
	rules, closing, err := newCheckRules(s.reader, nil, g, false, nil)
	if err != nil {
		return err
	}
	defer closing()
	in.Remote, err = rules.Rules(ctx, in.Set, nil)
	return err
}

// replacements are PolicySets with the rules of directories and bundles.
func (o *policyPreview) replacements(old, next *sideOfSets) (map[string]policy.Set, error) {
	out := map[string]policy.Set{}
	for _, arg := range o.bundles {
		name, path, ok := strings.Cut(arg, "=")
		if !ok || name == "" || path == "" {
			return nil, fmt.Errorf("--policy-bundle %s: want NAME=PATH, with a directory or a bundle", arg)
		}
		set := cmp.Or(next.sets[name], old.sets[name])
		if set == nil {
			return nil, fmt.Errorf("--policy-bundle %s: there is no PolicySet %s%s", arg, name, listed(slices.Sorted(maps.Keys(old.sets))))
		}
		bare := set.DeepCopy()
		bare.Spec.Source = v1alpha1.PolicySource{}
		base, err := policySet(reconcile.PolicyInput{Set: bare})
		if err != nil {
			return nil, err
		}
		rules, err := readRules(name, path, base)
		if err != nil {
			return nil, fmt.Errorf("--policy-bundle %s: %w", arg, err)
		}
		base.Modules, base.Manifests, base.Data, base.Declared = rules.Modules, rules.Manifests, rules.Data, rules.Declared
		base.RegoVersion = cmp.Or(rules.RegoVersion, base.RegoVersion)
		out[name] = base
	}
	return out, nil
}

// readRules reads the rules of a directory or a bundle.
func readRules(name, path string, as policy.Set) (policy.Set, error) {
	info, err := os.Stat(path)
	if err != nil {
		return policy.Set{}, err
	}
	if info.IsDir() {
		return policy.ReadSetAs(as.Format, name, os.DirFS(path), ".")
	}
	raw, err := readBounded(path, maxBundleFile)
	if err != nil {
		return policy.Set{}, err
	}
	b, err := policybundle.Read(raw, policybundle.Limits{})
	if err != nil {
		return policy.Set{}, fmt.Errorf("%s: %w", path, err)
	}
	return b.Set(name, policybundle.Dialect{Format: as.Format, RegoVersion: as.RegoVersion})
}
