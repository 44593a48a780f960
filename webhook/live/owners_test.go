package live_test

import (
	"context"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/webhook/live"
)

func eventually(t *testing.T, what string, ok func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !ok(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within a minute", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestOwners(t *testing.T) {
	c := cluster.New(t, cluster.Options{Nodes: 1})
	client, err := dynamic.NewForConfig(c.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	owners, err := live.New(client)
	if err != nil {
		t.Fatal(err)
	}
	gvk := func(group, kind string) schema.GroupVersionKind {
		return schema.GroupVersionKind{Group: group, Version: "v1", Kind: kind}
	}
	if _, ok := owners.Owner(gvk("", "Service"), "default", "kubernetes", ""); ok || owners.Synced() {
		t.Error("something is known before the start")
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := owners.Start(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	eventually(t, "sync", func(context.Context) bool { return owners.Synced() })

	labels, replicas := map[string]string{"app": "web"}, int32(1)
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{"a": "b"}}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "c", Image: "example.com/web:1"}},
		Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{
			VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{Spec: corev1.PersistentVolumeClaimSpec{
				AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
			}},
		}}}},
	}}
	apps := c.Client().AppsV1()
	d, err := apps.Deployments("default").Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Annotations: map[string]string{corev1.LastAppliedConfigAnnotation: "large", "kept": "yes"}},
		Spec:       appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var pod corev1.Pod
	eventually(t, "a Pod", func(ctx context.Context) bool {
		list, err := c.Client().CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		if err != nil || len(list.Items) == 0 {
			return false
		}
		pod = list.Items[0]
		return true
	})

	var got map[string]any
	eventually(t, "the Pod's own entry", func(context.Context) bool {
		var ok bool
		got, ok = owners.Owner(gvk("", "Pod"), "default", pod.Name, pod.UID)
		return ok
	})
	spec, _, _ := unstructured.NestedMap(got, "spec")
	if spec["containers"] != nil || spec["volumes"] == nil {
		t.Errorf("a Pod keeps %v, want its volumes and no containers", spec)
	}
	// Up the chain, by what each object says of its owner.
	ref := metav1.GetControllerOf(&pod)
	rs, ok := owners.Owner(gvk("apps", ref.Kind), "default", ref.Name, ref.UID)
	if !ok {
		t.Fatalf("no %s %s", ref.Kind, ref.Name)
	}
	ref = metav1.GetControllerOf(&unstructured.Unstructured{Object: rs})
	if ref == nil || ref.UID != d.UID {
		t.Fatalf("the ReplicaSet's owner is %v, want %s", ref, d.UID)
	}
	got, ok = owners.Owner(gvk("apps", "Deployment"), "default", "web", d.UID)
	if !ok {
		t.Fatal("no Deployment")
	}
	u := unstructured.Unstructured{Object: got}
	if u.GetAnnotations()["kept"] != "yes" || u.GetAnnotations()[corev1.LastAppliedConfigAnnotation] != "" || got["status"] != nil || u.GetManagedFields() != nil {
		t.Errorf("kept of the Deployment: %v", got)
	}
	image, _, _ := unstructured.NestedSlice(got, "spec", "template", "spec", "containers")
	if len(image) != 1 || u.GetKind() != "Deployment" || u.GetAPIVersion() != "apps/v1" {
		t.Errorf("the template is lost: %v", got)
	}
	for name, miss := range map[string]bool{
		"uid":       has(owners, gvk("apps", "Deployment"), "default", "web", "other"),
		"namespace": has(owners, gvk("apps", "Deployment"), "kube-system", "web", ""),
		"name":      has(owners, gvk("apps", "Deployment"), "default", "", ""),
		"kind":      has(owners, gvk("", "Secret"), "default", "web", ""),
	} {
		if miss {
			t.Errorf("another %s finds it", name)
		}
	}
	specs, err := owners.PodSpecs("default")
	if err != nil || len(specs) != 1 || specs[0].Containers[0].Image != "example.com/web:1" {
		t.Errorf("PodSpecs = %v, %v", specs, err)
	}
	if specs, err := owners.PodSpecs("kube-system"); err != nil || len(specs) != 0 {
		t.Errorf("PodSpecs of another namespace = %v, %v", specs, err)
	}
	if err := apps.Deployments("default").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Deployment being gone", func(context.Context) bool { return !has(owners, gvk("apps", "Deployment"), "default", "web", "") })
}

func has(o *live.Owners, gvk schema.GroupVersionKind, namespace, name string, uid string) bool {
	_, ok := o.Owner(gvk, namespace, name, types.UID(uid))
	return ok
}
