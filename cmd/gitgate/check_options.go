package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// A rangeOptions holds the flags that say what is judged, and by what.
type rangeOptions struct {
	repo, base, head, path string
	workTree, staged       bool
	config                 []string
	fromCluster            bool
	kubeconfig, context    string
	namespace              string
	gitSyncs               []string
	loopbackHTTP           bool
}

func (o *rangeOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.repo, "repo", ".", "`DIR` of the repository, bare or with a work tree")
	f.StringVar(&o.base, "base", "", "`REV` that is in force; by default what the cluster applied last, or the branch at origin; zeros mean that nothing is")
	f.StringVar(&o.head, "head", "", "`REV` to judge; by default HEAD")
	f.BoolVar(&o.workTree, "worktree", false, "judge the files as they stand in the work tree, which nobody has signed")
	f.BoolVar(&o.staged, "staged", false, "judge what is staged for the next commit, which nobody has signed")
	f.StringVar(&o.path, "path", "", "`DIR` of the repository in place of the GitSync's spec.path")
	f.StringArrayVarP(&o.config, "config", "c", nil, "`FILE, DIR or REV:PATH` with GitSyncs, TrustPolicies and PolicySets; may be repeated")
	f.BoolVar(&o.fromCluster, "from-cluster", false, "read the configuration from a cluster")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "`FILE` to reach the cluster with; empty means as kubectl finds it")
	f.StringVar(&o.context, "context", "", "`NAME` of the context in the kubeconfig; empty means the current one")
	f.StringVar(&o.namespace, "namespace", "gitgate-system", "gitgate's own `NAMESPACE`")
	f.StringArrayVar(&o.gitSyncs, "gitsync", nil, "`NAMESPACE/NAME` of a GitSync to judge for; by default all of this repository; may be repeated")
	f.BoolVar(&o.loopbackHTTP, "insecure-loopback-registries", false, "allow plain HTTP to registries on this machine, for tests")
	cmd.MarkFlagsOneRequired("config", "from-cluster")
	cmd.MarkFlagsMutuallyExclusive("config", "from-cluster")
	cmd.MarkFlagsMutuallyExclusive("worktree", "staged", "head")
	// These fail for flags that do not exist alone.
	_ = f.MarkHidden("insecure-loopback-registries")
	for _, dir := range []string{"repo", "path"} {
		_ = cmd.MarkFlagDirname(dir)
	}
	_ = cmd.MarkFlagFilename("config", "yaml", "yml", "json")
	_ = cmd.MarkFlagFilename("kubeconfig")
	for _, rev := range []string{"base", "head"} {
		_ = cmd.RegisterFlagCompletionFunc(rev, func(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
			return completeRevision(o.repo, prefix)
		})
	}
}

// quiet keeps libraries from writing beside the report.
func quiet() {
	klog.SetLogger(logr.Discard())
	ctrl.SetLogger(logr.Discard())
}

// configuration returns where everything is read that judges, and the GitSyncs to
// judge for.
func (o *rangeOptions) configuration(ctx context.Context, repo *gitRepository) (client.Reader, []*v1alpha1.GitSync, error) {
	var reader client.Reader
	var all []*v1alpha1.GitSync
	if o.fromCluster {
		cluster, syncs, err := o.cluster(ctx)
		if err != nil {
			return nil, nil, err
		}
		reader, all = cluster, syncs
	} else {
		c, err := readConfiguration(ctx, repo, o.config)
		if err != nil {
			return nil, nil, err
		}
		reader, all = c, c.gitSyncs()
	}
	syncs, err := o.selected(repo, all)
	if err != nil {
		return nil, nil, err
	}
	for i, s := range syncs {
		syncs[i] = s.DeepCopy()
		if o.path != "" {
			syncs[i].Spec.Path = o.path
		}
	}
	return reader, syncs, nil
}

// cluster reads the GitSyncs of a cluster.
func (o *rangeOptions) cluster(ctx context.Context) (client.Reader, []*v1alpha1.GitSync, error) {
	d := doctorOptions{kubeconfig: o.kubeconfig, context: o.context}
	config, err := d.restConfig()
	if err != nil {
		return nil, nil, fmt.Errorf("--from-cluster: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		return nil, nil, err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, nil, fmt.Errorf("--from-cluster: %w", err)
	}
	var out []*v1alpha1.GitSync
	if len(o.gitSyncs) > 0 { // who may read one may not be allowed to list all
		for _, name := range o.gitSyncs {
			namespace, name, ok := strings.Cut(name, "/")
			if !ok {
				return nil, nil, fmt.Errorf("--gitsync %s: want NAMESPACE/NAME", namespace)
			}
			var s v1alpha1.GitSync
			if err := c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &s); err != nil {
				return nil, nil, fmt.Errorf("--from-cluster: %w", err)
			}
			out = append(out, &s)
		}
		return c, out, nil
	}
	var list v1alpha1.GitSyncList
	if err := c.List(ctx, &list); err != nil {
		return nil, nil, fmt.Errorf("--from-cluster: listing the GitSyncs: %w", err)
	}
	for i := range list.Items {
		out = append(out, &list.Items[i])
	}
	return c, out, nil
}

// selected picks the GitSyncs: those that were named; the only one; or those whose
// repository is a remote of this one.
func (o *rangeOptions) selected(repo *gitRepository, all []*v1alpha1.GitSync) ([]*v1alpha1.GitSync, error) {
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.Namespace + "/" + s.Name
	}
	var out []*v1alpha1.GitSync
	for _, name := range o.gitSyncs {
		i := slices.Index(names, name)
		if i < 0 {
			return nil, fmt.Errorf("--gitsync %s: there is none in the configuration%s", name, listed(names))
		}
		out = append(out, all[i])
	}
	switch {
	case len(out) > 0:
		return out, nil
	case len(all) == 0:
		return nil, errors.New("the configuration holds no GitSync: it says which path of which branch is applied, and whose word counts")
	case len(all) == 1:
		return all, nil
	}
	remotes, err := repo.remotes()
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if slices.ContainsFunc(remotes, func(url string) bool { return sameRepository(url, s.Spec.URL) }) {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no GitSync of the configuration is of a remote of this repository: choose with --gitsync%s", listed(names))
	}
	return out, nil
}

func listed(names []string) string {
	const most = 10
	if len(names) == 0 {
		return ""
	}
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" and %d more", len(names)-most)
	}
	return " (there are " + strings.Join(names[:min(len(names), most)], ", ") + more + ")"
}
