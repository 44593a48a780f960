package deploy

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/webhook/registration"
)

var update = flag.Bool("update", false, "write deploy/static-policies")

// TestStaticPoliciesAreTheSame proves that the files for the API server are those that
// the webhook's tests try out on one.
func TestStaticPoliciesAreTheSame(t *testing.T) {
	want, err := registration.StaticManifests(system, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range want {
		path := deployDir("static-policies", name)
		if *update {
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(have, data) {
			t.Errorf("%s is not what package registration makes (%v): go test ./test/deploy -run Static -update", name, err)
		}
	}
	files, err := filepath.Glob(deployDir("static-policies", "*.yaml"))
	if err != nil || len(files) != len(want) {
		t.Errorf("%d files, want %d: %v", len(files), len(want), err)
	}
}

// TestStaticComponent proves that with the component nothing is installed that those
// files forbid people to write.
func TestStaticComponent(t *testing.T) {
	for _, o := range with(t, "static-policies") {
		if o.GroupVersionKind().Group == "admissionregistration.k8s.io" {
			t.Errorf("%s %s is still there", o.GetKind(), o.GetName())
		}
	}
}

// TestFlagsExist proves that every flag of every variant is one that the binary has.
func TestFlagsExist(t *testing.T) {
	help := map[string]string{}
	for _, command := range []string{"serve", "webhook"} {
		out, err := exec.CommandContext(t.Context(), binary(t), command, "--help").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		help[command] = string(out)
	}
	variants := map[string][]*unstructured.Unstructured{"base": build(t, "base")}
	for _, c := range subdirectories(t, "components") {
		variants[c] = with(t, c)
	}
	for variant, objects := range variants {
		for _, o := range only(objects, "Deployment") {
			args := convert[appsv1.Deployment](t, o).Spec.Template.Spec.Containers[0].Args
			for _, arg := range args[1:] {
				name, _, _ := strings.Cut(arg, "=")
				if !slices.Contains(strings.Fields(help[args[0]]), name) {
					t.Errorf("%s: gitgate %s has no flag %s", variant, args[0], name)
				}
			}
		}
	}
}

// TestCertManager proves that what the server is told to serve is what is mounted, and
// that the certificate bears the names under which the API server comes.
func TestCertManager(t *testing.T) {
	objects := with(t, "cert-manager")
	spec := convert[appsv1.Deployment](t, find(t, objects, "Deployment", webhook)).Spec.Template.Spec
	certificate := find(t, objects, "Certificate", webhook)
	secret, _, _ := unstructured.NestedString(certificate.Object, "spec", "secretName")
	names, _, _ := unstructured.NestedStringSlice(certificate.Object, "spec", "dnsNames")
	if !slices.Contains(names, webhook+"."+system+".svc") {
		t.Errorf("the certificate is for %q", names)
	}
	mount := spec.Containers[0].VolumeMounts[len(spec.Containers[0].VolumeMounts)-1]
	volume := spec.Volumes[len(spec.Volumes)-1]
	if volume.Name != mount.Name || volume.Secret == nil || volume.Secret.SecretName != secret {
		t.Errorf("volume %+v, mount %+v", volume, mount)
	}
	for _, file := range []string{"--tls-cert-file=tls.crt", "--tls-private-key-file=tls.key", "--tls-ca-file=ca.crt"} {
		flag, name, _ := strings.Cut(file, "=")
		if !slices.Contains(spec.Containers[0].Args, flag+"="+mount.MountPath+"/"+name) {
			t.Errorf("args %q, want %s", spec.Containers[0].Args, flag)
		}
	}
	if w := weaknesses(spec); len(w) > 0 {
		t.Errorf("weaknesses: %q", w)
	}
}
