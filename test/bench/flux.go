package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

const fluxNamespace = "flux-system"

var (
	kustomizations  = schema.GroupVersionResource{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations"}
	gitRepositories = schema.GroupVersionResource{Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "gitrepositories"}
)

// A fluxDriver drives kustomize-controller and does the work of
// source-controller: it serves archives and names them in the status of
// GitRepositories.
type fluxDriver struct {
	client dynamic.Interface
	server *http.Server
	addr   string

	mu       sync.Mutex
	archives map[string][]byte // by path, the newest of each site
}

// newFlux starts kustomize-controller with the settings it is shipped with,
// except that it does not elect a leader.
func newFlux(w *world, binary string) (*tool, error) {
	d := &fluxDriver{client: w.client, archives: map[string][]byte{}}
	if err := d.listen(); err != nil {
		return nil, err
	}
	w.onClose(d.server.Close)
	kubeconfig := filepath.Join(w.dir, "flux.kubeconfig")
	if err := w.cluster.KubeconfigFor(kubeconfig, "flux"); err != nil {
		return nil, err
	}
	p, err := measure.Start(measure.Program{
		Name: "kustomize-controller", Path: binary, Log: filepath.Join(w.logs, "kustomize-controller.log"),
		Env:  []string{"KUBECONFIG=" + kubeconfig, "RUNTIME_NAMESPACE=" + fluxNamespace},
		Args: []string{"--watch-all-namespaces", "--log-level=info", "--log-encoding=json", "--metrics-addr=0", "--health-addr=0"},
	})
	if err != nil {
		return nil, err
	}
	return &tool{
		name: "Flux", user: "flux", namespace: fluxNamespace, client: w.client, procs: []*measure.Process{p},
		gvr: kustomizations, driver: d,
	}, nil
}

func (d *fluxDriver) listen() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.addr = ln.Addr().String()
	d.server = &http.Server{Handler: http.HandlerFunc(d.serve), ReadHeaderTimeout: time.Minute}
	go d.server.Serve(ln) // ends when the server is closed
	return nil
}

func (d *fluxDriver) serve(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	data, ok := d.archives[r.URL.Path]
	d.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(data) // a client that has gone away says so itself
}

// publish makes the archive of a revision. Its name is not that of a commit:
// nothing here reads Git.
func (d *fluxDriver) publish(ctx context.Context, s *site) (string, error) {
	data, err := archive(s.tree())
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	s.revision = "main@sha1:" + hex.EncodeToString(sum[:20])
	d.mu.Lock()
	d.archives[d.path(s)] = data
	d.mu.Unlock()
	repository := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
		"metadata": map[string]any{"name": s.name, "namespace": fluxNamespace},
		"spec":     map[string]any{"url": "https://git.invalid/" + s.name + ".git", "interval": "1h", "ref": map[string]any{"branch": "main"}},
	}}
	objects := d.client.Resource(gitRepositories).Namespace(fluxNamespace)
	list, err := objects.List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + s.name})
	if err != nil || len(list.Items) > 0 {
		return s.revision, err
	}
	if _, err := objects.Create(ctx, repository, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	return s.revision, d.announce(ctx, s)
}

func (d *fluxDriver) path(s *site) string {
	return "/gitrepository/" + fluxNamespace + "/" + s.name + "/latest.tar.gz"
}

// announce writes the status that source-controller would.
func (d *fluxDriver) announce(ctx context.Context, s *site) error {
	d.mu.Lock()
	data := d.archives[d.path(s)]
	d.mu.Unlock()
	now := time.Now().UTC().Format(time.RFC3339)
	status, err := json.Marshal(map[string]any{"status": map[string]any{
		"observedGeneration": 1,
		"artifact": map[string]any{
			"url": "http://" + d.addr + d.path(s), "path": d.path(s), "revision": s.revision, "size": len(data),
			"digest": fmt.Sprintf("sha256:%x", sha256.Sum256(data)), "lastUpdateTime": now,
		},
		"conditions": []any{map[string]any{
			"type": "Ready", "status": "True", "reason": "Succeeded", "observedGeneration": 1,
			"message": "stored artifact for revision '" + s.revision + "'", "lastTransitionTime": now,
		}},
	}})
	if err != nil {
		return err
	}
	_, err = d.client.Resource(gitRepositories).Namespace(fluxNamespace).
		Patch(ctx, s.name, types.MergePatchType, status, metav1.PatchOptions{}, "status")
	return err
}

func (d *fluxDriver) object(s *site, interval time.Duration) (*unstructured.Unstructured, error) {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
		"metadata": map[string]any{"name": s.name, "namespace": fluxNamespace},
		"spec": map[string]any{
			"interval": interval.String(), "timeout": patience.String(), "path": "./" + s.path(), "prune": true,
			"sourceRef": map[string]any{"kind": "GitRepository", "name": s.name},
		},
	}}, nil
}

// archive packs files as source-controller does: a tar of regular files without
// owners or times, compressed.
func archive(files map[string]string) ([]byte, error) {
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	tw := tar.NewWriter(gz)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		header := &tar.Header{Name: name, Mode: 0o600, Size: int64(len(files[name])), Typeflag: tar.TypeReg}
		if err := tw.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := tw.Write([]byte(files[name])); err != nil {
			return nil, err
		}
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	if err := gz.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
