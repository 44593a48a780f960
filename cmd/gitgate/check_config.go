package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kjson "sigs.k8s.io/json"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/render"
	"gitgate.dev/gitgate/verify/commit"
)

// A configuration holds what judges, as it would stand in the cluster. It reads
// like one: it implements [client.Reader].
type configuration struct {
	objects map[configKey]configured
	order   []configKey
}

type configKey struct {
	schema.GroupKind
	client.ObjectKey
}

type configured struct {
	object client.Object
	place  string // file:line
}

// configKinds are the kinds that a configuration reads. Others that stand beside
// them, as a Kustomization does, are left alone.
var configKinds = map[schema.GroupVersionKind]func() client.Object{
	v1alpha1.GroupVersion.WithKind("GitSync"):     func() client.Object { return &v1alpha1.GitSync{} },
	v1alpha1.GroupVersion.WithKind("TrustPolicy"): func() client.Object { return &v1alpha1.TrustPolicy{} },
	v1alpha1.GroupVersion.WithKind("PolicySet"):   func() client.Object { return &v1alpha1.PolicySet{} },
	corev1.SchemeGroupVersion.WithKind("ConfigMap"): func() client.Object {
		return &corev1.ConfigMap{}
	},
	corev1.SchemeGroupVersion.WithKind("Secret"): func() client.Object { return &corev1.Secret{} },
}

// clusterScoped are those of configKinds that live in no namespace.
var clusterScoped = []string{"TrustPolicy", "PolicySet"}

// readConfiguration reads files and directories, which may be kustomizations, and
// REV:PATH from the repository as git show does. What is wrong with one of them is
// an error of one line each.
func readConfiguration(ctx context.Context, repo *gitRepository, args []string) (*configuration, error) {
	c := &configuration{objects: map[configKey]configured{}}
	var manifests []manifest
	var bad []error
	for _, arg := range args {
		read, problems, err := readConfig(ctx, repo, arg)
		if err != nil {
			return nil, fmt.Errorf("-c %s: %w", arg, err)
		}
		for _, p := range problems {
			bad = append(bad, fmt.Errorf("-c %s: %s: %s", arg, p.Where(), p.Message))
		}
		manifests = append(manifests, read...)
	}
	misfit, err := misfits(ctx, manifests)
	if err != nil {
		return nil, err
	}
	for i, m := range manifests {
		if err := c.add(m, misfit[i]); err != nil {
			bad = append(bad, fmt.Errorf("%s:%d: %w", m.file, m.line, err))
		}
	}
	return c, errors.Join(bad...)
}

func readConfig(ctx context.Context, repo *gitRepository, arg string) ([]manifest, []verdict.Finding, error) {
	info, err := os.Stat(arg)
	rev, at, inGit := strings.Cut(arg, ":")
	switch {
	case err == nil && !info.IsDir():
		return readManifests([]string{arg}, nil)
	case err == nil:
		var o renderOptions
		tree, err := o.openDirectory(arg)
		if err != nil {
			return nil, nil, err
		}
		defer tree.close()
		return renderConfig(ctx, tree.files, tree.path, arg+":")
	case !inGit || repo == nil:
		return nil, nil, err
	}
	hash, err := repo.resolve(rev)
	if err != nil {
		return nil, nil, err
	}
	tree, err := commit.Unverified(repo.objects, hash)
	if err != nil {
		return nil, nil, err
	}
	at = path.Clean(at)
	if info, err := fs.Stat(tree, at); err != nil {
		return nil, nil, err
	} else if info.IsDir() {
		return renderConfig(ctx, tree, at, rev+":")
	}
	raw, err := fs.ReadFile(tree, at)
	if err != nil {
		return nil, nil, err
	}
	r := newManifestReader()
	r.read(arg, raw)
	return r.all()
}

// renderConfig reads a directory as the reconciler would that applies it.
func renderConfig(ctx context.Context, files fs.FS, dir, prefix string) ([]manifest, []verdict.Finding, error) {
	objects, found := render.Render(ctx, files, render.Options{Path: dir})
	var manifests []manifest
	for _, o := range objects {
		raw, err := o.MarshalJSON()
		if err != nil {
			return nil, nil, err
		}
		manifests = append(manifests, manifest{file: prefix + o.Source.File, line: o.Source.Line, json: raw})
	}
	return manifests, slices.DeleteFunc(found, func(f verdict.Finding) bool { return !f.Severity.Blocks() }), nil
}

// add takes an object of configKinds. Fields that are not known may be conditions
// that would not be enforced, so they are errors; misfit is what its schema says.
func (c *configuration) add(m manifest, misfit error) error {
	var kind metav1.TypeMeta
	if err := kjson.UnmarshalCaseSensitivePreserveInts(m.json, &kind); err != nil {
		return err
	}
	gvk := kind.GroupVersionKind()
	empty, ok := configKinds[gvk]
	if !ok {
		if gvk.Group == v1alpha1.GroupVersion.Group && gvk.Kind != "BreakGlass" && gvk.Kind != "PolicyException" {
			return fmt.Errorf("%s %s is not known: this gitgate reads %s", gvk.GroupVersion(), gvk.Kind, v1alpha1.GroupVersion)
		}
		return nil
	}
	o := empty()
	strict, err := kjson.UnmarshalStrict(m.json, o)
	if err = errors.Join(err, errors.Join(strict...)); err != nil {
		if gvk.Kind == "Secret" {
			return errors.New("the Secret does not fit its type; what is wrong is not shown, for it may quote values")
		}
		return fmt.Errorf("%s %s: %s", gvk.Kind, o.GetName(), strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if misfit != nil {
		return fmt.Errorf("%s %s: %s", gvk.Kind, o.GetName(), strings.ReplaceAll(misfit.Error(), "\n", "; "))
	}
	if slices.Contains(clusterScoped, gvk.Kind) {
		o.SetNamespace("")
	} else if o.GetNamespace() == "" {
		return fmt.Errorf("%s %s: metadata.namespace is missing: nothing else here says where it would live", gvk.Kind, o.GetName())
	}
	if s, ok := o.(*corev1.Secret); ok {
		foldSecret(s)
	}
	key := configKey{gvk.GroupKind(), client.ObjectKeyFromObject(o)}
	place := fmt.Sprintf("%s:%d", m.file, m.line)
	if before, ok := c.objects[key]; ok {
		if reflect.DeepEqual(before.object, o) {
			return nil // named twice, as a directory and a file of it
		}
		return fmt.Errorf("%s %s is also in %s, and differs", gvk.Kind, key.ObjectKey, before.place)
	}
	c.objects[key] = configured{o, place}
	c.order = append(c.order, key)
	return nil
}

// foldSecret moves stringData into data, as the API server does.
func foldSecret(s *corev1.Secret) {
	for k, v := range s.StringData {
		if s.Data == nil {
			s.Data = map[string][]byte{}
		}
		s.Data[k] = []byte(v)
	}
	s.StringData = nil
}

// gitSyncs lists the GitSyncs in the order in which they were read.
func (c *configuration) gitSyncs() []*v1alpha1.GitSync {
	var out []*v1alpha1.GitSync
	for _, key := range c.order {
		if s, ok := c.objects[key].object.(*v1alpha1.GitSync); ok {
			out = append(out, s)
		}
	}
	return out
}

// Get implements [client.Reader].
func (c *configuration) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	switch out := into.(type) {
	case *v1alpha1.TrustPolicy:
		return read(c, v1alpha1.GroupVersion.WithKind("TrustPolicy"), key, out)
	case *v1alpha1.PolicySet:
		return read(c, v1alpha1.GroupVersion.WithKind("PolicySet"), key, out)
	case *v1alpha1.GitSync:
		return read(c, v1alpha1.GroupVersion.WithKind("GitSync"), key, out)
	case *corev1.ConfigMap:
		return read(c, corev1.SchemeGroupVersion.WithKind("ConfigMap"), key, out)
	case *corev1.Secret:
		return read(c, corev1.SchemeGroupVersion.WithKind("Secret"), key, out)
	}
	return fmt.Errorf("a configuration holds no %T", into)
}

// List implements [client.Reader]. Nothing that resolves a GitSync lists.
func (c *configuration) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("a configuration cannot be listed")
}

func read[T any](c *configuration, gvk schema.GroupVersionKind, key client.ObjectKey, into *T) error {
	found, ok := c.objects[configKey{gvk.GroupKind(), key}]
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Group: gvk.Group, Resource: gvk.Kind}, key.String())
	}
	held, ok := any(found.object).(*T)
	if !ok {
		return fmt.Errorf("%s: %s is a %T", verdict.Internal, key, found.object)
	}
	*into = *held
	return nil
}
