package schema_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policy/schema"
)

// object reads one YAML document as the renderer does: integers are int64.
func object(t testing.TB, text string) map[string]any {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return decode(t, raw)
}

func file(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func messages(problems []schema.Problem) []string {
	var out []string
	for _, p := range problems {
		out = append(out, p.Message)
	}
	return out
}

func TestDeployment(t *testing.T) {
	v := schema.New(schema.Options{})
	base := file(t, "deployment.yaml")
	for name, tc := range map[string]struct {
		reason   string
		old, new string // replaced in the file
		want     []string
	}{
		"Clean": {"What every cluster takes must pass.", "", "", nil},
		"UnknownField": {"Strict validation refuses it.", "replicas: 3", "replicaz: 3",
			[]string{`unknown field "spec.replicaz"`}},
		"UnknownInItem": {"Items are told by their position.", "imagePullPolicy: Always", "imagePullPolice: Always",
			[]string{`unknown field "spec.template.spec.containers[0].imagePullPolice"`}},
		"TextForInteger": {"YAML quotes change the type.", "replicas: 3", `replicas: "3"`,
			[]string{`spec.replicas: Invalid value: "string": must be integer`}},
		"Fraction": {"There is no half replica.", "replicas: 3", `replicas: 3.5`,
			[]string{`spec.replicas: Invalid value: "number": must be integer`}},
		"IntegralFloat": {"JSON does not tell 3.0 from 3.", "replicas: 3", `replicas: 3.0`, nil},
		"Wide": {"The field is an int32.", "replicas: 3", `replicas: 3000000000`,
			[]string{`spec.replicas: Invalid value: 3000000000: must be a 32-bit integer`}},
		"BooleanForText": {"YAML 1.1 makes a boolean of on.", "value: verbose", `value: true`,
			[]string{`spec.template.spec.containers[0].env[0].value: Invalid value: "boolean": must be string`}},
		"ObjectForList": {"A list without dashes.", "args: [--serve]", `args: {serve: "1"}`,
			[]string{`spec.template.spec.containers[0].args: Invalid value: "object": must be array`}},
		"ListForObject": {"Dashes where there should be none.", "strategy: {type: Recreate}", `strategy: [{type: Recreate}]`,
			[]string{`spec.strategy: Invalid value: "array": must be object`}},
		"Missing": {"A container needs a name.", "- name: app\n", "- tty: true\n",
			[]string{`spec.template.spec.containers[0].name: Required value`}},
		"Null": {"A null is no value.", "replicas: 3", "replicas: null", nil},
		"NullRequired": {"And so is not what is required.", "- name: app\n", "- name: null\n",
			[]string{`spec.template.spec.containers[0].name: Required value`}},
		"Quantity": {"A typing mistake in a unit.", "memory: 64Mi", "memory: 64MiB",
			[]string{`spec.template.spec.containers[0].resources.limits.memory: Invalid value: "string": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'`}},
		"QuantityNumber": {"A number is a quantity.", "memory: 64Mi", "memory: 64000000", nil},
		"IntOrString":    {"Either will do.", "port: http", "port: 8080", nil},
		"NotIntOrString": {"But nothing else.", "port: http", "port: [http]",
			[]string{`spec.template.spec.containers[0].readinessProbe.httpGet.port: Invalid value: "array": must be integer or string`}},
		"DuplicateKey": {"Server-side apply refuses two items with one key.", "name: SECOND", "name: LOG",
			[]string{`spec.template.spec.containers[0].env[1]: Duplicate value: {"name":"LOG"}`}},
		"DuplicateByDefault": {"The default of a key counts.", "containerPort: 9090", "containerPort: 8080",
			[]string{`spec.template.spec.containers[0].ports[1]: Duplicate value: {"containerPort":8080,"protocol":"TCP"}`}},
		"Metadata": {"Metadata is strict as well.", "labels: {app: web}\nspec", "label: {app: web}\nspec",
			[]string{`unknown field "metadata.label"`}},
		"LabelNumber": {"Labels are text.", "labels: {app: web}\nspec", "labels: {app: 1}\nspec",
			[]string{`metadata.labels.app: Invalid value: "integer": must be string`}},
		"Root": {"And so is the root.", "spec:\n", "sepc: {}\nspec:\n", []string{`unknown field "sepc"`}},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(base, tc.old, tc.new, 1)
			if tc.old != "" && text == base {
				t.Fatalf("the file does not hold %q", tc.old)
			}
			got, err := v.Validate(t.Context(), object(t, text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, messages(got)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestKinds(t *testing.T) {
	v := schema.New(schema.Options{})
	for name, tc := range map[string]struct {
		reason string
		object string
		want   []string
		err    error
	}{
		"OldGroup": {"The way out is said.", "{apiVersion: extensions/v1beta1, kind: Deployment}",
			[]string{"Deployment extensions/v1beta1 is not served by Kubernetes 1.37: use apps/v1"}, nil},
		"OldVersion": {"The same group, an old version.", "{apiVersion: policy/v1beta1, kind: PodDisruptionBudget}",
			[]string{"PodDisruptionBudget policy/v1beta1 is not served by Kubernetes 1.37: use policy/v1"}, nil},
		"Gone": {"No version is left.", "{apiVersion: policy/v1beta1, kind: PodSecurityPolicy}",
			[]string{"PodSecurityPolicy policy/v1beta1 is not served by Kubernetes 1.37, nor is this kind in any other version"}, nil},
		"Stable": {"Beta versions are served as well.", "{apiVersion: resource.k8s.io/v1alpha2, kind: ResourceClaim}",
			[]string{"ResourceClaim resource.k8s.io/v1alpha2 is not served by Kubernetes 1.37: use resource.k8s.io/v1"}, nil},
		"WrongGroup": {"A stable version is preferred.", "{apiVersion: apps/v1, kind: Ingress}",
			[]string{"Ingress apps/v1 is not served by Kubernetes 1.37: use networking.k8s.io/v1"}, nil},
		"Unknown": {"Nobody knows what fits it.", "{apiVersion: example.com/v1, kind: Widget}", nil, schema.ErrNoSchema},
		"Aggregated": {"Other servers may serve groups of k8s.io.", "{apiVersion: metrics.k8s.io/v1, kind: NodeMetrics}",
			nil, schema.ErrNoSchema},
		"NoKind":       {"Nothing can be told without.", "{apiVersion: v1}", []string{"kind: Required value"}, nil},
		"NoAPIVersion": {"Nothing can be told without.", "{kind: Pod}", []string{"apiVersion: Required value"}, nil},
		"KindNumber": {"A kind is text.", "{apiVersion: v1, kind: 1}",
			[]string{`kind: Invalid value: "integer": must be string`}, nil},
		"ManySlashes": {"There is one group.", "{apiVersion: a/b/c, kind: Pod}",
			[]string{`apiVersion: Invalid value: "a/b/c": must be a group and version`}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := v.Validate(t.Context(), object(t, tc.object))
			if !errors.Is(err, tc.err) {
				t.Errorf("%s\nerror %v, want %v", tc.reason, err, tc.err)
			}
			if diff := cmp.Diff(tc.want, messages(got)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestScope(t *testing.T) {
	v := schema.New(schema.Options{})
	if err := v.AddCRD(object(t, file(t, "widgets.yaml"))); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		group, kind       string
		namespaced, known bool
	}{
		"Deployment": {"apps", "Deployment", true, true},
		"Namespace":  {"", "Namespace", false, true},
		"Service":    {"", "Service", true, true},
		"Node":       {"", "Node", false, true},
		"Widget":     {"example.com", "Widget", true, true},
		"Stranger":   {"example.com", "Stranger", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			if namespaced, known := v.Scope(tc.group, tc.kind); namespaced != tc.namespaced || known != tc.known {
				t.Errorf("Scope() = %t, %t, want %t, %t", namespaced, known, tc.namespaced, tc.known)
			}
		})
	}
}
