package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"gitgate.dev/gitgate/test/bench/internal/measure"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/gitserver"
)

const fluxNamespace = "flux-system"

var (
	kustomizations  = schema.GroupVersionResource{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations"}
	gitRepositories = schema.GroupVersionResource{Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "gitrepositories"}
)

// A fluxDriver drives source-controller and kustomize-controller. Its repositories
// hold commits that nobody signed: nothing here verifies any.
type fluxDriver struct {
	client dynamic.Interface
	git    *gitserver.Server
	repos  map[string]*gitrepo.Repo // by site
}

// newFlux starts both controllers with the settings they are shipped with, except that
// they do not elect a leader and tell no notification-controller.
func newFlux(w *world, p *peer) (*tool, error) {
	kubeconfig := filepath.Join(w.dir, "flux.kubeconfig")
	if err := w.cluster.KubeconfigFor(kubeconfig, "flux"); err != nil {
		return nil, err
	}
	t := &tool{
		name: "Flux", user: "flux", namespace: fluxNamespace, client: w.client, gvr: kustomizations,
		driver: &fluxDriver{client: w.client, git: w.git, repos: map[string]*gitrepo.Repo{}},
	}
	storage := filepath.Join(w.dir, "artifacts")
	if err := os.Mkdir(storage, 0o700); err != nil {
		return nil, err
	}
	artifacts, err := freeAddress()
	if err != nil {
		return nil, err
	}
	for name, program := range map[string]measure.Program{
		"source-controller": {Path: p.source, Args: []string{
			"--storage-path=" + storage, "--storage-addr=" + artifacts, "--storage-adv-addr=" + artifacts,
		}},
		"kustomize-controller": {Path: p.kustomize},
	} {
		program.Name, program.Log = name, filepath.Join(w.logs, name+".log")
		program.Env = []string{"KUBECONFIG=" + kubeconfig, "RUNTIME_NAMESPACE=" + fluxNamespace}
		program.Args = append(program.Args, "--watch-all-namespaces", "--log-level=info", "--log-encoding=json", "--metrics-addr=0", "--health-addr=0")
		process, err := measure.Start(program)
		if err != nil {
			t.stop()
			return nil, err
		}
		t.procs = append(t.procs, process)
	}
	return t, nil
}

// freeAddress returns an address that nobody listened to a moment ago: source-controller
// has to be told where its artifacts will be found.
func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

func (d *fluxDriver) repository(s *site) string { return "flux-" + s.name + ".git" }

func (d *fluxDriver) publish(_ context.Context, s *site) (string, error) {
	repo := d.repos[s.name]
	if repo == nil {
		dir, err := d.git.CreateRepo(d.repository(s))
		if err != nil {
			return "", err
		}
		if repo, err = gitrepo.InitBare(dir); err != nil {
			return "", err
		}
		d.repos[s.name] = repo
	}
	head, err := repo.Commit(gitrepo.Change{Files: s.tree(), Message: "Change " + s.name, Author: gitrepo.Person{Name: "Bench", Email: "bench@example.com"}})
	return "main@sha1:" + head.String(), err
}

func (d *fluxDriver) begin(ctx context.Context, s *site, interval time.Duration) error {
	source := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
		"metadata": map[string]any{"name": s.name, "namespace": fluxNamespace},
		"spec": map[string]any{
			"url": d.git.URL(d.repository(s)), "interval": interval.String(), "timeout": patience.String(), "ref": map[string]any{"branch": "main"},
		},
	}}
	kustomization := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
		"metadata": map[string]any{"name": s.name, "namespace": fluxNamespace},
		"spec": map[string]any{
			"interval": interval.String(), "timeout": patience.String(), "path": "./" + s.path(), "prune": true,
			"sourceRef": map[string]any{"kind": "GitRepository", "name": s.name},
		},
	}}
	_, first := d.client.Resource(gitRepositories).Namespace(fluxNamespace).Create(ctx, source, metav1.CreateOptions{})
	_, second := d.client.Resource(kustomizations).Namespace(fluxNamespace).Create(ctx, kustomization, metav1.CreateOptions{})
	return errors.Join(first, second)
}

func (d *fluxDriver) announce(ctx context.Context, s *site) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":%q}}}`, s.revision)
	return d.patchSource(ctx, s, patch)
}

func (d *fluxDriver) setInterval(ctx context.Context, s *site, interval time.Duration) error {
	return d.patchSource(ctx, s, `{"spec":{"interval":`+strconv.Quote(interval.String())+`}}`)
}

func (d *fluxDriver) patchSource(ctx context.Context, s *site, patch string) error {
	_, err := d.client.Resource(gitRepositories).Namespace(fluxNamespace).
		Patch(ctx, s.name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

func (d *fluxDriver) end(ctx context.Context, s *site) error {
	return d.client.Resource(gitRepositories).Namespace(fluxNamespace).Delete(ctx, s.name, metav1.DeleteOptions{})
}
