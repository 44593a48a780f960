package policy_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policy"
)

// deployment is what people deploy: three containers, managed fields, a status.
func deployment() []byte {
	container := func(name string) map[string]any {
		env := []any{}
		for i := range 10 {
			env = append(env, map[string]any{"name": fmt.Sprintf("VARIABLE_%d", i), "value": fmt.Sprintf("value of %d", i)})
		}
		probe := map[string]any{"httpGet": map[string]any{"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10}
		return map[string]any{
			"name": name, "image": "ghcr.io/acme/" + name + "@sha256:" + strings.Repeat("ab", 32), "env": env,
			"ports":          []any{map[string]any{"containerPort": 8080, "protocol": "TCP"}},
			"livenessProbe":  probe,
			"readinessProbe": probe,
			"resources":      map[string]any{"limits": map[string]any{"cpu": "1", "memory": "1Gi"}},
			"securityContext": map[string]any{
				"allowPrivilegeEscalation": false,
				"capabilities":             map[string]any{"drop": []any{"ALL"}},
			},
			"volumeMounts": []any{map[string]any{"name": "tmp", "mountPath": "/tmp"}},
		}
	}
	managed := map[string]any{}
	for i := range 60 {
		managed[fmt.Sprintf("f:field%d", i)] = map[string]any{".": map[string]any{}, "f:name": map[string]any{}}
	}
	raw, err := json.Marshal(map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{
			"name": "web", "namespace": "shop", "labels": map[string]any{"app": "web"},
			"managedFields": []any{map[string]any{"manager": "kubectl", "fieldsV1": managed}},
		},
		"spec": map[string]any{
			"replicas": 3, "selector": map[string]any{"matchLabels": map[string]any{"app": "web"}},
			"template": map[string]any{
				"metadata": map[string]any{"labels": map[string]any{"app": "web"}},
				"spec": map[string]any{
					"securityContext": map[string]any{"runAsNonRoot": true, "seccompProfile": map[string]any{"type": "RuntimeDefault"}},
					"containers":      []any{container("web"), container("proxy"), container("metrics")},
					"initContainers":  []any{container("init")},
					"volumes":         []any{map[string]any{"name": "tmp", "emptyDir": map[string]any{}}},
				},
			},
		},
		"status": map[string]any{"replicas": 3, "conditions": []any{map[string]any{"type": "Available", "status": "True"}}},
	})
	if err != nil {
		panic(err)
	}
	return raw
}

func pack(t testing.TB, name string) policy.Set {
	t.Helper()
	fsys, err := policies.Pack(name)
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.ReadSet(name, fsys, ".")
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func engine(t testing.TB, opts policy.Options, sets ...policy.Set) *policy.Engine {
	t.Helper()
	if opts.Timeout == 0 {
		opts.Timeout = patient
	}
	e, err := policy.Load(t.Context(), sets, opts)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// BenchmarkEvaluate judges one Deployment, from its bytes to the findings.
func BenchmarkEvaluate(b *testing.B) {
	raw := deployment()
	restricted := pack(b, "pod-security-restricted")
	others := []policy.Set{restricted}
	for i := range 60 {
		kind := fmt.Sprintf("Other%d", i)
		others = append(others, policy.Set{
			Name:    kind,
			Match:   policy.Match{Kinds: []policy.KindMatch{{Kinds: []string{kind}}}},
			Modules: map[string]string{"a.rego": `package a` + "\n" + `deny contains "no" if walk(input.object, [_, "bad"])`},
		})
	}
	for name, e := range map[string]*policy.Engine{
		"restricted":      engine(b, policy.Options{}, restricted),
		"unpruned":        engine(b, policy.Options{ReadWholeInput: true}, restricted),
		"with-60-others":  engine(b, policy.Options{}, others...),
		"none-that-match": engine(b, policy.Options{}, others[1:]...),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if fs := e.Evaluate(b.Context(), policy.Input{Object: raw}); len(fs) != 0 {
					b.Fatal(fs)
				}
			}
		})
	}
}

// BenchmarkBareOPA is what there is to compare with: the same modules as one
// prepared query of OPA, with and without the time to read the input.
func BenchmarkBareOPA(b *testing.B) {
	fsys, err := policies.Pack("pod-security-restricted")
	if err != nil {
		b.Fatal(err)
	}
	modules := []func(*rego.Rego){rego.Query("x = data.pod_security.baseline; y = data.pod_security.restricted"), rego.StrictBuiltinErrors(true)}
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".rego") || strings.HasSuffix(name, "_test.rego") {
			return err
		}
		src, err := fs.ReadFile(fsys, name)
		modules = append(modules, rego.Module(name, string(src)))
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	query, err := rego.New(modules...).PrepareForEval(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	raw := deployment()
	read := func() ast.Value {
		var object any
		if err := json.Unmarshal(raw, &object); err != nil {
			b.Fatal(err)
		}
		v, err := ast.InterfaceToValue(map[string]any{"object": object, "operation": "CREATE"})
		if err != nil {
			b.Fatal(err)
		}
		return v
	}
	parsed := read()
	for name, input := range map[string]func() ast.Value{
		"parsed-input": func() ast.Value { return parsed },
		"from-bytes":   read,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := query.Eval(b.Context(), rego.EvalParsedInput(input())); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
