package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/test/testkit/gitserver"
)

var (
	namespaces  = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	accounts    = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	services    = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	crds        = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	bindings    = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"}
)

// siteKinds are the kinds of a site's objects.
var siteKinds = []schema.GroupVersionResource{deployments, services, configMaps, accounts}

// A world is what the programs run in: one control plane without controllers,
// so that nobody else touches an object, and one Git server.
type world struct {
	dir, logs string
	cluster   *cluster.Cluster
	git       *gitserver.Server
	client    dynamic.Interface // as an administrator
	audit     *auditLog
	closers   []func() error // run backwards
}

func newWorld(ctx context.Context, logs string, progress io.Writer) (_ *world, err error) {
	w := &world{}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.dir, err = os.MkdirTemp("", "gitgate-bench-"); err != nil {
		return nil, err
	}
	w.onClose(func() error { return os.RemoveAll(w.dir) })
	if w.logs = w.dir; logs != "" {
		if w.logs, err = filepath.Abs(logs); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(w.logs, 0o700); err != nil {
			return nil, err
		}
	}
	if w.git, err = gitserver.Start(gitserver.Options{}); err != nil {
		return nil, err
	}
	w.onClose(w.git.Close)
	fmt.Fprintln(progress, "bench: starting a control plane")
	if w.cluster, err = cluster.Start(ctx, cluster.Options{AuditLevel: "Metadata", Progress: progress}); err != nil {
		return nil, err
	}
	w.onClose(w.cluster.Stop)
	w.audit = &auditLog{path: w.cluster.AuditLog()}
	w.client, err = dynamic.NewForConfig(w.cluster.RESTConfig())
	return w, err
}

func (w *world) onClose(f func() error) { w.closers = append(w.closers, f) }

// close takes everything down; it may be called on half a world.
func (w *world) close() error {
	var errs []error
	for _, f := range slices.Backward(w.closers) {
		errs = append(errs, f())
	}
	w.closers = nil
	return errors.Join(errs...)
}

func (w *world) namespace(ctx context.Context, name string) error {
	_, err := w.client.Resource(namespaces).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name},
	}}, metav1.CreateOptions{})
	return err
}

// admit lets a user do everything, by RBAC like any controller.
func (w *world) admit(ctx context.Context, user string) error {
	_, err := w.client.Resource(bindings).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
		"metadata": map[string]any{"name": "bench:" + user},
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
		"subjects": []any{map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}},
	}}, metav1.CreateOptions{})
	return err
}

// install creates the CRDs of a directory and waits until they are served.
func (w *world) install(ctx context.Context, dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(paths) == 0 {
		return errors.Join(err, fmt.Errorf("no CRD in %s", dir))
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(data, &u.Object); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if _, err := w.client.Resource(crds).Create(ctx, u, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		err = await(ctx, w.client.Resource(crds), u.GetName(), "the CRD "+u.GetName(), func(u *unstructured.Unstructured) (bool, error) {
			status, _ := condition(u, "Established")
			return status == "True", nil
		})
		if err != nil {
			return err
		}
	}
	// Established says that the server will serve it, in a moment.
	return sleep(ctx, time.Second)
}

// empty deletes all objects of a site's namespace.
func (w *world) empty(ctx context.Context, s *site) error {
	for _, kind := range siteKinds {
		objects := w.client.Resource(kind).Namespace(s.name)
		if err := objects.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
