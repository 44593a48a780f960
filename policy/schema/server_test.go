package schema_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"gitgate.dev/gitgate/test/testkit/cluster"
)

// A judge is a real API server that is asked what it thinks of objects.
type judge struct {
	cluster *cluster.Cluster
	client  dynamic.Interface
	mapper  meta.RESTMapper
}

// newJudge starts an API server that serves every version it knows.
func newJudge(t *testing.T) *judge {
	t.Helper()
	c := cluster.New(t, cluster.Options{APIServerArgs: []string{"--runtime-config=api/all=true"}})
	cfg := c.RESTConfig()
	cfg.WarningHandler = rest.NoWarnings{}
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	j := &judge{cluster: c, client: client}
	if err := j.learn(); err != nil {
		t.Fatal(err)
	}
	account := metav1.ObjectMeta{Name: "default", Namespace: "default"} // pods need it
	if _, err := c.Client().CoreV1().ServiceAccounts("default").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: account}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return j
}

// learn reads what the server serves.
func (j *judge) learn() error {
	groups, err := restmapper.GetAPIGroupResources(j.cluster.Client().Discovery())
	if err != nil {
		return err
	}
	j.mapper = restmapper.NewDiscoveryRESTMapper(groups)
	return nil
}

// create creates a CustomResourceDefinition and waits until it is served.
func (j *judge) create(t *testing.T, crd map[string]any) {
	t.Helper()
	u := unstructured.Unstructured{Object: runtime.DeepCopyJSON(crd)}
	crds := j.client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	if _, err := crds.Create(t.Context(), &u, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	group, _, _ := unstructured.NestedString(crd, "spec", "group")
	kind, _, _ := unstructured.NestedString(crd, "spec", "names", "kind")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(context.Context) (bool, error) {
		if err := j.learn(); err != nil {
			return false, err
		}
		_, err := j.mapper.RESTMapping(schema.GroupKind{Group: group, Kind: kind})
		return err == nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// ask applies an object as the reconciler does, as a dry run.
func (j *judge) ask(ctx context.Context, obj map[string]any) error {
	u := unstructured.Unstructured{Object: obj}
	gvk := u.GroupVersionKind()
	m, err := j.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return err
	}
	body, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	var r dynamic.ResourceInterface = j.client.Resource(m.Resource)
	if m.Scope.Name() == meta.RESTScopeNameNamespace {
		ns, _, _ := unstructured.NestedString(obj, "metadata", "namespace")
		r = j.client.Resource(m.Resource).Namespace(ns)
	}
	name, _, _ := unstructured.NestedString(obj, "metadata", "name")
	force := true
	_, err = r.Patch(ctx, name, types.ApplyPatchType, body, metav1.PatchOptions{
		DryRun: []string{metav1.DryRunAll}, Force: &force, FieldManager: "test", FieldValidation: metav1.FieldValidationStrict,
	})
	return err
}

// judged returns an error unless said is the server's word on the object.
func judged(said error) error {
	if said == nil || meta.IsNoMatchError(said) {
		return nil
	}
	if strings.Contains(said.Error(), "stream error") && strings.Contains(said.Error(), "INTERNAL_ERROR") {
		return nil // it panicked, as 1.37.1 does on a Job that loses its completions: nothing is accepted so
	}
	status, ok := said.(apierrors.APIStatus)
	if !ok {
		return fmt.Errorf("the server did not answer: %w", said)
	}
	switch status.Status().Code {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusForbidden, http.StatusNotFound, http.StatusConflict:
		return nil
	case http.StatusInternalServerError: // an object that cannot be read gets this, too
		if structural.MatchString(said.Error()) {
			return nil
		}
	}
	return fmt.Errorf("the server did not judge: %w", said)
}

// documents reads a file of many objects.
func documents(t testing.TB, name string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for _, doc := range strings.Split("\n"+file(t, name), "\n---\n") {
		out = append(out, object(t, doc))
	}
	return out
}

// every calls f for all of list, several at once.
func every[T any](list []T, f func(T)) {
	next := make(chan T)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for v := range next {
				f(v)
			}
		})
	}
	for _, v := range list {
		next <- v
	}
	close(next)
	wg.Wait()
}

func nameOf(obj map[string]any) string {
	u := unstructured.Unstructured{Object: obj}
	return fmt.Sprintf("%s %s %s", u.GetAPIVersion(), u.GetKind(), u.GetName())
}
