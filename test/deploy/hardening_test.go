package deploy

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func convert[T any](t *testing.T, o *unstructured.Unstructured) *T {
	t.Helper()
	var out T
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.Object, &out, true); err != nil {
		t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
	}
	return &out
}

func deployments(t *testing.T) []*appsv1.Deployment {
	t.Helper()
	var out []*appsv1.Deployment
	for _, o := range only(build(t, "base"), "Deployment") {
		out = append(out, convert[appsv1.Deployment](t, o))
	}
	if len(out) != 2 {
		t.Fatalf("%d Deployments, want the reconciler and the webhook", len(out))
	}
	return out
}

var pinned = regexp.MustCompile(`^ghcr\.io/gitgate-dev/gitgate@sha256:[0-9a-f]{64}$`)

// weaknesses lists what is not as THREATS.md asks of a Pod.
func weaknesses(spec corev1.PodSpec) []string {
	var out []string
	check := func(ok bool, what string) {
		if !ok {
			out = append(out, what)
		}
	}
	pod := spec.SecurityContext
	check(pod != nil && pod.RunAsNonRoot != nil && *pod.RunAsNonRoot, "runAsNonRoot")
	check(pod != nil && pod.SeccompProfile != nil && pod.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault, "seccomp")
	check(!spec.HostNetwork && !spec.HostPID && !spec.HostIPC, "host namespaces")
	check(spec.PriorityClassName == "gitgate", "priority")
	check(spec.Affinity != nil && spec.Affinity.PodAntiAffinity != nil, "anti-affinity")
	for _, v := range spec.Volumes {
		check(v.HostPath == nil, "hostPath")
		check(v.EmptyDir == nil || v.EmptyDir.SizeLimit != nil, "unbounded emptyDir")
	}
	for _, c := range spec.Containers {
		s := c.SecurityContext
		check(s != nil && s.ReadOnlyRootFilesystem != nil && *s.ReadOnlyRootFilesystem, "read-only root")
		check(s != nil && s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation, "privilege escalation")
		check(s != nil && s.Capabilities != nil && slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) && len(s.Capabilities.Add) == 0, "capabilities")
		check(pinned.MatchString(c.Image), "image by digest")
		check(c.LivenessProbe != nil && c.ReadinessProbe != nil, "probes")
		check(!c.Resources.Limits.Memory().IsZero() && memoryLimit(c) > 0 &&
			memoryLimit(c) <= c.Resources.Limits.Memory().Value()*95/100, "GOMEMLIMIT below the memory limit")
		for _, e := range c.Env {
			check(e.ValueFrom == nil || e.ValueFrom.SecretKeyRef == nil, "secrets in the environment")
		}
	}
	return out
}

// memoryLimit is GOMEMLIMIT in bytes; 0 if it is not set in MiB.
func memoryLimit(c corev1.Container) int64 {
	for _, e := range c.Env {
		if n, ok := strings.CutSuffix(e.Value, "MiB"); ok && e.Name == "GOMEMLIMIT" {
			mib, _ := strconv.ParseInt(n, 10, 64)
			return mib << 20
		}
	}
	return 0
}

// TestPodsAreHardened proves the rows of THREATS.md, section D, about Pods.
func TestPodsAreHardened(t *testing.T) {
	for _, d := range deployments(t) {
		if w := weaknesses(d.Spec.Template.Spec); len(w) > 0 {
			t.Errorf("%s lacks: %s", d.Name, strings.Join(w, ", "))
		}
		if *d.Spec.Replicas < 2 {
			t.Errorf("%s has %d replicas", d.Name, *d.Spec.Replicas)
		}
	}
	if w := weaknesses(corev1.PodSpec{Containers: []corev1.Container{{}}}); len(w) < 9 {
		t.Errorf("an open Pod only lacks %q: the check cannot fail", w)
	}
}

// TestDisruption proves that a drain leaves a replica of each server.
func TestDisruption(t *testing.T) {
	base := build(t, "base")
	for _, d := range deployments(t) {
		pdb := convert[policyv1.PodDisruptionBudget](t, find(t, base, "PodDisruptionBudget", d.Name))
		if !subset(pdb.Spec.Selector.MatchLabels, d.Spec.Template.Labels) {
			t.Errorf("%s: its PodDisruptionBudget selects %v", d.Name, pdb.Spec.Selector.MatchLabels)
		}
		one := intstr.FromInt32(1)
		if pdb.Spec.MinAvailable == nil && pdb.Spec.MaxUnavailable == nil ||
			pdb.Spec.MinAvailable != nil && *pdb.Spec.MinAvailable != one ||
			pdb.Spec.MaxUnavailable != nil && *pdb.Spec.MaxUnavailable != one {
			t.Errorf("%s: PodDisruptionBudget %+v", d.Name, pdb.Spec)
		}
	}
}

// subset reports whether every label is among the others.
func subset(labels, among map[string]string) bool {
	for k, v := range labels {
		if among[k] != v {
			return false
		}
	}
	return len(labels) > 0
}

// TestTokens proves that a token is mounted only where one is used.
func TestTokens(t *testing.T) {
	for _, o := range only(build(t, "base"), "ServiceAccount") {
		if a := convert[corev1.ServiceAccount](t, o); a.AutomountServiceAccountToken == nil || *a.AutomountServiceAccountToken {
			t.Errorf("ServiceAccount %s is mounted into Pods that do not ask for it", a.Name)
		}
	}
	for _, d := range deployments(t) {
		if d.Spec.Template.Spec.ServiceAccountName != d.Name {
			t.Errorf("%s runs as %q", d.Name, d.Spec.Template.Spec.ServiceAccountName)
		}
	}
}

// TestService proves that the webhook's Service leads to its port.
func TestService(t *testing.T) {
	service := convert[corev1.Service](t, find(t, build(t, "base"), "Service", "gitgate-webhook"))
	d := convert[appsv1.Deployment](t, find(t, build(t, "base"), "Deployment", "gitgate-webhook"))
	if !subset(service.Spec.Selector, d.Spec.Template.Labels) {
		t.Errorf("the Service selects %v", service.Spec.Selector)
	}
	port := service.Spec.Ports[0].TargetPort.StrVal
	for _, p := range d.Spec.Template.Spec.Containers[0].Ports {
		if p.Name == port && slices.Contains(d.Spec.Template.Spec.Containers[0].Args, "--bind-address=:"+strconv.Itoa(int(p.ContainerPort))) {
			return
		}
	}
	t.Errorf("no port %q on which the webhook listens", port)
}
