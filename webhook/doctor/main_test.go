package doctor_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/test/testkit/lab"
	"gitgate.dev/gitgate/webhook/doctor"
	"gitgate.dev/gitgate/webhook/lock"
	"gitgate.dev/gitgate/webhook/registration"
)

const system = lab.SystemNamespace

// A patient is a control plane with an installation that is well.
type patient struct {
	*cluster.Cluster
	client.Client
	// webhook lets everything pass: what is tested is what the configuration says
	// of it.
	webhook *httptest.Server
}

// well is shared by the tests of this package. Each of them puts back what it broke.
var well *patient

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctrllog.SetLogger(logr.Discard())
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var err error
	if well, err = newPatient(ctx); well != nil {
		defer well.close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func newPatient(ctx context.Context) (*patient, error) {
	c, err := cluster.Start(ctx, cluster.Options{Nodes: 1})
	if err != nil {
		return nil, err
	}
	p := &patient{Cluster: c, webhook: httptest.NewTLSServer(http.HandlerFunc(allow))}
	if p.Client, err = client.New(c.RESTConfig(), client.Options{Scheme: lab.Scheme()}); err != nil {
		return p, err
	}
	if err := p.installFiles(ctx, "deploy/crds/*.yaml", "deploy/base/namespace.yaml", "deploy/base/accounts.yaml",
		"deploy/base/policy-dry-run.yaml", "deploy/base/rbac-*.yaml"); err != nil {
		return p, err
	}
	for _, name := range []string{"gitgate-reconciler", "gitgate-webhook"} {
		if err := p.installServer(ctx, name); err != nil {
			return p, err
		}
	}
	if err := p.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team"}}); err != nil {
		return p, err
	}
	for _, o := range p.registered() {
		if err := p.Create(ctx, o); err != nil {
			return p, err
		}
	}
	return p, p.awaitReplicas(ctx, 2)
}

func (p *patient) close() {
	p.webhook.Close()
	if err := p.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// registered is what gitgate webhook registers while a lock enforces, with a server
// that lets everything pass.
func (p *patient) registered() []client.Object {
	account := func(name string) string { return "system:serviceaccount:" + system + ":" + name }
	c := registration.Config{
		Namespace: system, Webhook: account("gitgate-webhook"), Reconciler: account("gitgate-reconciler"), DryRunner: account("gitgate-dryrun"),
		Secret: "gitgate-webhook-certs", URL: p.webhook.URL + "/admit",
		OwnPods: func() []registration.Template {
			return []registration.Template{{ServiceAccount: "default", Containers: []registration.Container{{Image: "i"}}}}
		},
	}
	pins := registration.Pins{{Group: "autoscaling", Resource: "horizontalpodautoscalers"}: "v2"}
	out := []client.Object{c.Configuration(lock.Enforce, bundle(p.webhook), pins)}
	for _, policy := range c.Policies(lock.Enforce)[1:] { // the first is in deploy/base
		out = append(out, policy.Policy, policy.Binding)
	}
	return out
}

func allow(w http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Request == nil {
		http.Error(w, "no review", http.StatusBadRequest)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review) // the API server is gone at the end
}

// installFiles creates the objects of manifests.
func (p *patient) installFiles(ctx context.Context, globs ...string) error {
	for _, glob := range globs {
		files, err := filepath.Glob(filepath.Join(lab.ModuleRoot(), glob))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("%s: no files: %v", glob, err)
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			for _, text := range strings.Split(string(raw), "\n---\n") {
				o := &unstructured.Unstructured{}
				if err := yaml.Unmarshal([]byte(text), o); err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
				if err := client.IgnoreAlreadyExists(p.Create(ctx, o)); err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
			}
		}
	}
	return nil
}

// installServer makes a Deployment and Service of the names that ours have; what
// runs in them is nothing that anybody could tell.
func (p *patient) installServer(ctx context.Context, name string) error {
	meta := metav1.ObjectMeta{Namespace: system, Name: name}
	labels := map[string]string{"app.kubernetes.io/name": name}
	replicas, no := int32(2), false
	seccomp := &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
	yes := true
	d := &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
		Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes, SeccompProfile: seccomp},
			Containers: []corev1.Container{{Name: "c", Image: "i", SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}}},
		}},
	}}
	s := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: 443}}}}
	if err := p.Create(ctx, d); err != nil {
		return err
	}
	return p.Create(ctx, s)
}

// awaitReplicas waits until both Deployments have so many ready replicas, and the
// webhook's Service as many endpoints.
func (p *patient) awaitReplicas(ctx context.Context, n int32) error {
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 3*time.Minute, true, func(ctx context.Context) (bool, error) {
		for _, name := range []string{"gitgate-reconciler", "gitgate-webhook"} {
			var d appsv1.Deployment
			if err := p.Get(ctx, client.ObjectKey{Namespace: system, Name: name}, &d); err != nil || d.Status.ReadyReplicas != n {
				return false, err
			}
		}
		var slices discoveryv1.EndpointSliceList
		err := p.List(ctx, &slices, client.InNamespace(system), client.MatchingLabels{discoveryv1.LabelServiceName: "gitgate-webhook"})
		ready := int32(0)
		for _, s := range slices.Items {
			for _, e := range s.Endpoints {
				if e.Conditions.Ready != nil && *e.Conditions.Ready {
					ready++
				}
			}
		}
		return ready == n, err
	})
}

func (p *patient) examine(ctx context.Context, c doctor.Config) (doctor.Report, error) {
	if c.REST == nil {
		c.REST = p.RESTConfig()
	}
	return doctor.Run(ctx, c)
}

func find(r doctor.Report, id string) doctor.Check {
	for _, c := range r.Checks {
		if c.ID == id {
			return c
		}
	}
	return doctor.Check{}
}

// bundle is the certificate of a test server, which signed itself.
func bundle(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// A finding is what a test expects of one check.
type finding struct {
	id     string
	status doctor.Status
	text   string // in message or details
}

func (f finding) check(t *testing.T, r doctor.Report) {
	t.Helper()
	got := find(r, f.id)
	text := got.Message + "\n" + strings.Join(got.Details, "\n")
	if got.Status != f.status || !strings.Contains(text, f.text) {
		t.Errorf("%s is %s, want %s with %q:\n%s", f.id, got.Status, f.status, f.text, text)
	}
	if (got.Status == doctor.Fail || got.Status == doctor.Warn) && got.Advice == "" && got.ID != "webhook-certificate" {
		t.Errorf("%s: no advice", f.id)
	}
}

// with creates objects for one case, and deletes them when it is over.
func with(t *testing.T, objects ...client.Object) {
	t.Helper()
	ctx := testContext(t)
	for _, o := range objects {
		if err := well.Create(ctx, o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := client.IgnoreNotFound(well.Delete(context.WithoutCancel(ctx), o)); err != nil {
				t.Error(err)
			}
		})
	}
}

// changed changes an object for one case, and changes it back when it is over.
func changed[T client.Object](t *testing.T, o T, edit func(T)) {
	t.Helper()
	ctx := testContext(t)
	update := func() error {
		return wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
			if err := well.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
				return false, err
			}
			edit(o)
			return well.Update(ctx, o) == nil, nil
		})
	}
	if err := well.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
		t.Fatal(err)
	}
	before := o.DeepCopyObject().(T)
	if err := update(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := wait.PollUntilContextTimeout(context.WithoutCancel(ctx), 20*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
			if err := well.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
				return false, err
			}
			before.SetResourceVersion(o.GetResourceVersion())
			return well.Update(ctx, before) == nil, nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}
