package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/bench/internal/measure"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/gitserver"
)

const (
	gitgateNamespace = "gitgate-system"
	policySet        = "restricted"
)

// A gitgateDriver drives gitgate serve, with every gate in place: each commit is
// signed, images must match a rule, and the restricted Pod Security Standard
// judges every object.
type gitgateDriver struct {
	client dynamic.Interface
	git    *gitserver.Server
	key    *gitrepo.SSHKey
	repos  map[string]*gitrepo.Repo // by site
}

// newGitgate starts gitgate serve. Its CRDs are there already.
func newGitgate(ctx context.Context, w *world, binary string) (*tool, error) {
	if err := putPolicySet(ctx, w.client); err != nil {
		return nil, err
	}
	key, err := gitrepo.NewSSH("Bench", "bench@example.com", gitrepo.SSHEd25519)
	if err != nil {
		return nil, err
	}
	kubeconfig := filepath.Join(w.dir, "gitgate.kubeconfig")
	if err := w.cluster.KubeconfigFor(kubeconfig, "gitgate"); err != nil {
		return nil, err
	}
	p, err := startGitgate(w, binary)
	if err != nil {
		return nil, err
	}
	return &tool{
		name: "gitgate", user: "gitgate", namespace: gitgateNamespace, client: w.client, procs: []*measure.Process{p},
		gvr:    v1alpha1.GroupVersion.WithResource("gitsyncs"),
		driver: &gitgateDriver{client: w.client, git: w.git, key: key, repos: map[string]*gitrepo.Repo{}},
	}, nil
}

// startGitgate starts gitgate serve with the kubeconfig that is there already.
func startGitgate(w *world, binary string, flags ...string) (*measure.Process, error) {
	return measure.Start(measure.Program{Name: "gitgate", Path: binary, Log: filepath.Join(w.logs, "gitgate.log"), Args: append([]string{
		"serve", "--kubeconfig", filepath.Join(w.dir, "gitgate.kubeconfig"), "--namespace", gitgateNamespace,
		"--data-dir", filepath.Join(w.dir, "gitgate"),
		"--metrics-bind-address", "0", "--health-probe-bind-address", "0", "--leader-elect=false",
		"--decision-log", filepath.Join(w.logs, "decisions.jsonl"), "--allow-loopback-http"}, flags...)})
}

// putPolicySet creates the policies of every site.
func putPolicySet(ctx context.Context, client dynamic.Interface) error {
	u, err := toUnstructured(&v1alpha1.PolicySet{
		ObjectMeta: metav1.ObjectMeta{Name: policySet},
		Spec:       v1alpha1.PolicySetSpec{Source: v1alpha1.PolicySource{Library: []string{"pod-security-restricted"}}},
	}, v1alpha1.GroupVersion.WithKind("PolicySet"))
	if err != nil {
		return err
	}
	return put(ctx, client.Resource(v1alpha1.GroupVersion.WithResource("policysets")), u)
}

func (d *gitgateDriver) publish(ctx context.Context, s *site) (string, error) {
	repo, err := d.repo(ctx, s)
	if err != nil {
		return "", err
	}
	head, err := repo.Commit(gitrepo.Change{
		Files: s.tree(), Message: "Change " + s.name, Author: d.key.Person(), Sign: d.key,
	})
	return "main@sha1:" + head.String(), err
}

// repo makes the repository of a site on first use, and the trust in it.
func (d *gitgateDriver) repo(ctx context.Context, s *site) (*gitrepo.Repo, error) {
	if r := d.repos[s.name]; r != nil {
		return r, nil
	}
	dir, err := d.git.CreateRepo(s.name + ".git")
	if err != nil {
		return nil, err
	}
	r, err := gitrepo.InitBare(dir)
	if err != nil {
		return nil, err
	}
	root, err := r.Commit(gitrepo.Change{Files: map[string]string{"README.md": s.name + "\n"}, Author: d.key.Person()})
	if err != nil {
		return nil, err
	}
	trust, err := toUnstructured(&v1alpha1.TrustPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: s.name},
		Spec: v1alpha1.TrustPolicySpec{
			Repositories: []v1alpha1.TrustedRepository{{URL: d.url(s), Refs: []string{"main"}, Root: root.String()}},
			Namespaces:   []string{gitgateNamespace},
			Commits: v1alpha1.CommitTrust{Signers: []v1alpha1.CommitSigner{
				{Name: "bench", SSH: &v1alpha1.SSHSigner{AllowedSigners: d.key.AllowedSigner()}},
			}},
			Images: v1alpha1.ImageTrust{
				Digest: "Required",
				Rules:  []v1alpha1.ImageRule{{Match: []string{"registry.k8s.io/**"}, Static: "Allow"}},
			},
		},
	}, v1alpha1.GroupVersion.WithKind("TrustPolicy"))
	if err != nil {
		return nil, err
	}
	if err := put(ctx, d.client.Resource(v1alpha1.GroupVersion.WithResource("trustpolicies")), trust); err != nil {
		return nil, err
	}
	d.repos[s.name] = r
	return r, nil
}

func (d *gitgateDriver) url(s *site) string { return d.git.URL(s.name + ".git") }

func (d *gitgateDriver) announce(ctx context.Context, s *site) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RequestedAtAnnotation, s.revision)
	_, err := d.client.Resource(v1alpha1.GroupVersion.WithResource("gitsyncs")).Namespace(gitgateNamespace).
		Patch(ctx, s.name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

func (d *gitgateDriver) begin(ctx context.Context, s *site, interval time.Duration) error {
	object, err := toUnstructured(&v1alpha1.GitSync{
		ObjectMeta: metav1.ObjectMeta{Name: s.name, Namespace: gitgateNamespace},
		Spec: v1alpha1.GitSyncSpec{
			URL: d.url(s), Ref: v1alpha1.GitRef{Branch: "main"}, Path: s.path(),
			Interval: &metav1.Duration{Duration: interval}, Timeout: &metav1.Duration{Duration: patience},
			Trust: v1alpha1.LocalReference{Name: s.name}, Policies: []v1alpha1.LocalReference{{Name: policySet}},
		},
	}, v1alpha1.GroupVersion.WithKind("GitSync"))
	if err != nil {
		return err
	}
	_, err = d.client.Resource(v1alpha1.GroupVersion.WithResource("gitsyncs")).Namespace(gitgateNamespace).Create(ctx, object, metav1.CreateOptions{})
	return err
}

func (d *gitgateDriver) setInterval(context.Context, *site, time.Duration) error { return nil }

func (d *gitgateDriver) end(context.Context, *site) error { return nil }
