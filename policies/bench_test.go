package policies_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policy"
)

// benchDeployment passes every rule of every pack, so that each runs to its end.
// What it is called can be changed without changing how long that takes.
func benchDeployment(name string) []byte {
	digest := "@sha256:" + strings.Repeat("ab", 32)
	container := func(part string) map[string]any {
		var env []any
		for i := range 10 {
			env = append(env, map[string]any{"name": fmt.Sprintf("SETTING_%d", i), "value": name})
		}
		return map[string]any{
			"name": part, "image": "ghcr.io/acme/" + part + ":1.0" + digest, "env": env,
			"ports":          []any{map[string]any{"containerPort": 8080, "protocol": "TCP"}},
			"readinessProbe": map[string]any{"httpGet": map[string]any{"path": "/ready", "port": 8080}},
			"livenessProbe":  map[string]any{"httpGet": map[string]any{"path": "/live", "port": 8080}},
			"resources": map[string]any{
				"requests": map[string]any{"cpu": "100m", "memory": "64Mi"}, "limits": map[string]any{"memory": "128Mi"},
			},
			"securityContext": map[string]any{
				"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
				"capabilities": map[string]any{"drop": []any{"ALL"}},
			},
			"volumeMounts": []any{map[string]any{"name": "tmp", "mountPath": "/tmp"}},
		}
	}
	raw, err := json.Marshal(map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": name, "namespace": "shop", "labels": map[string]any{"app": "web"}},
		"spec": map[string]any{
			"replicas": 3, "selector": map[string]any{"matchLabels": map[string]any{"app": "web"}},
			"template": map[string]any{
				"metadata": map[string]any{"labels": map[string]any{"app": "web"}},
				"spec": map[string]any{
					"serviceAccountName": "web", "automountServiceAccountToken": false,
					"topologySpreadConstraints": []any{map[string]any{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname"}},
					"securityContext":           map[string]any{"runAsNonRoot": true, "seccompProfile": map[string]any{"type": "RuntimeDefault"}},
					"containers":                []any{container("web"), container("proxy"), container("metrics")},
					"initContainers":            []any{container("init")},
					"volumes":                   []any{map[string]any{"name": "tmp", "emptyDir": map[string]any{}}},
				},
			},
		},
	})
	if err != nil {
		panic(err)
	}
	return raw
}

// benchInput is the Deployment with all that a commit brings.
func benchInput(object []byte) policy.Input {
	digest := "sha256:" + strings.Repeat("ab", 32)
	in := policy.Input{
		Operation: policy.Create, Object: object, File: "shop/web.yaml", Line: 1, Time: time.Unix(1_800_000_000, 0),
		Commit: &policy.Commit{
			SHA: strings.Repeat("1", 40), Author: "Ann <ann@example.com>", Message: "shop: version 2\n",
			Signers: []string{"ann"}, Paths: []string{"shop/web.yaml"},
		},
	}
	for _, part := range []string{"web", "proxy", "metrics", "init"} {
		in.Images = append(in.Images, policy.Image{Ref: "ghcr.io/acme/" + part + ":1.0", Digest: digest, Authorities: []string{"build"}, Attestations: []policy.Attestation{}})
	}
	return in
}

func allPacks(t testing.TB) []policy.Set {
	t.Helper()
	var sets []policy.Set
	for _, name := range policies.Packs() {
		if name != "pod-security-baseline" { // the restricted pack includes it
			sets = append(sets, packSet(t, name))
		}
	}
	return sets
}

// others are rules for kinds that a Deployment is not, in one set.
func others(n int) policy.Set {
	var src strings.Builder
	src.WriteString("package others\n")
	for i := range n {
		fmt.Fprintf(&src, "deny_%d contains \"no\" if {\n\tinput.object.kind == \"Other%d\"\n\twalk(input.object, [_, \"bad\"])\n}\n", i, i)
	}
	return policy.Set{Name: "others", Modules: map[string]string{"others.rego": src.String()}}
}

func benchEngine(b testing.TB, opts policy.Options, sets ...policy.Set) *policy.Engine {
	b.Helper()
	opts.Timeout = time.Minute
	e, err := policy.Load(b.Context(), sets, opts)
	if err != nil {
		b.Fatal(err)
	}
	return e
}

// BenchmarkDeployment judges one Deployment by all packs, from its bytes to the
// findings: where nothing is remembered from before, with 60 rules for other kinds
// beside, and where the same rules were asked of the same values already.
func BenchmarkDeployment(b *testing.B) {
	sets := allPacks(b)
	object := benchDeployment("web")
	for _, bench := range []struct {
		name   string
		engine *policy.Engine
	}{
		{"new", benchEngine(b, policy.Options{ReadWholeInput: true}, sets...)},
		{"new-with-60-others", benchEngine(b, policy.Options{ReadWholeInput: true}, append(slices.Clone(sets), others(60))...)},
		{"known", benchEngine(b, policy.Options{}, sets...)},
		{"known-with-60-others", benchEngine(b, policy.Options{}, append(slices.Clone(sets), others(60))...)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if fs := bench.engine.Evaluate(b.Context(), benchInput(object)); len(fs) != 0 {
					b.Fatal(fs)
				}
			}
		})
	}
	b.Run("changing", func(b *testing.B) { // new values in every container, as a stream of other Deployments has
		e, i := benchEngine(b, policy.Options{}, sets...), 0
		b.ReportAllocs()
		for b.Loop() {
			i++
			if fs := e.Evaluate(b.Context(), benchInput(benchDeployment(fmt.Sprintf("web-%d", i)))); len(fs) != 0 {
				b.Fatal(fs)
			}
		}
	})
}

// speaking lists the rules of the packs that can match a kind, as data.<package>.<rule>.
func speaking(b testing.TB, kind string) []string {
	b.Helper()
	var out []string
	err := fs.WalkDir(policies.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".rego") || strings.HasSuffix(name, "_test.rego") {
			return err
		}
		src, err := fs.ReadFile(policies.FS, name)
		if err != nil {
			return err
		}
		mod, err := ast.ParseModule(name, string(src))
		if err != nil {
			return err
		}
		for _, rule := range mod.Rules {
			path := mod.Package.Path.String() + "." + rule.Head.Name.String()
			if entryName.MatchString(rule.Head.Name.String()) && mayMatch(rule, kind) && !slices.Contains(out, path) {
				out = append(out, path)
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return out
}

var kindGuard = regexp.MustCompile(`^(equal|internal\.member_2)\(input\.object\.kind, (.*)\)$`)

// mayMatch reads the guard that a rule of the library begins with.
func mayMatch(rule *ast.Rule, kind string) bool {
	for _, e := range rule.Body {
		if m := kindGuard.FindStringSubmatch(e.String()); m != nil {
			return strings.Contains(m[2], `"`+kind+`"`)
		}
	}
	return true
}

// BenchmarkBareOPA is what there is to compare with: one prepared query of OPA for
// the rules that can match a Deployment, compiled together.
func BenchmarkBareOPA(b *testing.B) {
	prepared, rules := barePrepared(b)
	object := benchDeployment("web")
	b.Run("from-bytes", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			rs, err := prepared.Eval(b.Context(), rego.EvalParsedInput(bareInput(b, object)))
			if err != nil || len(rs) != 1 {
				b.Fatal(rs, err)
			}
		}
		b.ReportMetric(float64(rules), "rules")
	})
	parsed := bareInput(b, object)
	b.Run("parsed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := prepared.Eval(b.Context(), rego.EvalParsedInput(parsed)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// barePrepared prepares that query, and counts its rules.
func barePrepared(b testing.TB) (rego.PreparedEvalQuery, int) {
	b.Helper()
	rules := speaking(b, "Deployment")
	var query []string
	for i, rule := range rules {
		query = append(query, fmt.Sprintf("x%d = %s", i, rule))
	}
	options := []func(*rego.Rego){rego.Query(strings.Join(query, "; ")), rego.StrictBuiltinErrors(true)}
	for _, set := range allPacks(b) {
		for file, src := range set.Modules {
			if !strings.HasSuffix(file, "_test.rego") {
				options = append(options, rego.Module(file, src))
			}
		}
	}
	prepared, err := rego.New(options...).PrepareForEval(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return prepared, len(rules)
}

// bareInput is the same document as OPA reads it.
func bareInput(b testing.TB, object []byte) ast.Value {
	b.Helper()
	in := benchInput(object)
	var images []any
	for _, image := range in.Images {
		images = append(images, map[string]any{"ref": image.Ref, "digest": image.Digest, "authorities": image.Authorities})
	}
	var decoded any
	if err := json.Unmarshal(object, &decoded); err != nil {
		b.Fatal(err)
	}
	v, err := ast.InterfaceToValue(map[string]any{
		"object": decoded, "operation": "CREATE", "parameters": map[string]any{}, "images": images,
		"commit": map[string]any{
			"sha": in.Commit.SHA, "author": in.Commit.Author, "message": in.Commit.Message,
			"signers": in.Commit.Signers, "paths": in.Commit.Paths,
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	return v
}

// BenchmarkRule gives the figure of each rule that can match a Deployment, alone.
func BenchmarkRule(b *testing.B) {
	object := benchDeployment("web")
	for _, set := range allPacks(b) {
		for _, path := range speaking(b, "Deployment") {
			pkg, name, _ := cutLast(strings.TrimPrefix(path, "data."))
			if !defines(set, pkg) {
				continue
			}
			options := []func(*rego.Rego){rego.Query("x = " + path), rego.StrictBuiltinErrors(true)}
			for file, src := range set.Modules {
				if !strings.HasSuffix(file, "_test.rego") {
					options = append(options, rego.Module(file, src))
				}
			}
			prepared, err := rego.New(options...).PrepareForEval(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			parsed := bareInput(b, object)
			b.Run(pkg+"."+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := prepared.Eval(b.Context(), rego.EvalParsedInput(parsed)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func cutLast(path string) (before, after string, ok bool) {
	i := strings.LastIndexByte(path, '.')
	if i < 0 {
		return path, "", false
	}
	return path[:i], path[i+1:], true
}

// defines reports whether a set has a module of the package.
func defines(set policy.Set, pkg string) bool {
	for file, src := range set.Modules {
		if !strings.HasSuffix(file, "_test.rego") && strings.Contains(src, "\npackage "+pkg+"\n") || strings.HasPrefix(src, "package "+pkg+"\n") {
			return true
		}
	}
	return false
}

// TestOtherKindsCostNothing counts what is allocated, which no busy machine
// changes: 60 rules for other kinds beside all packs may add 3 %.
func TestOtherKindsCostNothing(t *testing.T) {
	sets, in := allPacks(t), benchInput(benchDeployment("web"))
	allocations := func(sets ...policy.Set) float64 {
		e := benchEngine(t, policy.Options{ReadWholeInput: true}, sets...)
		return testing.AllocsPerRun(20, func() { e.Evaluate(t.Context(), in) })
	}
	alone, beside := allocations(sets...), allocations(append(slices.Clone(sets), others(60))...)
	if beside > alone*1.03 {
		t.Errorf("%v allocations, and %v with 60 rules for other kinds beside", alone, beside)
	}
}

// TestRulesNameTheirKinds wants every body of every rule that judges objects to
// begin with the kinds that it judges, as constants: then it is not even asked
// about others. Rules of git-discipline and deletion-safety judge changes, whatever
// the object; those of deletions begin with the operation.
func TestRulesNameTheirKinds(t *testing.T) {
	for file, mod := range modules(t) {
		pack, _, _ := strings.Cut(file, "/")
		if strings.HasSuffix(file, "_test.rego") || pack == "git-discipline" {
			continue
		}
		for _, rule := range mod.Rules {
			if !entryName.MatchString(rule.Head.Name.String()) {
				continue
			}
			first := rule.Body[0].String()
			if pack == "deletion-safety" && strings.Contains(first, "input.operation") {
				continue
			}
			if !kindGuard.MatchString(first) {
				t.Errorf("%s: %s begins with %s and not with its kinds", rule.Loc(), rule.Head.Name, first)
			}
		}
	}
}

// TestBenchmarksHaveNothingToSay keeps the benchmarks honest: the Deployment
// passes everywhere, and the rules that are compared are the ones that can match.
func TestBenchmarksHaveNothingToSay(t *testing.T) {
	e := benchEngine(t, policy.Options{}, allPacks(t)...)
	if found := e.Evaluate(t.Context(), benchInput(benchDeployment("web"))); len(found) > 0 {
		t.Errorf("findings: %v", found)
	}
	rules := speaking(t, "Deployment")
	if len(rules) < 60 {
		t.Errorf("%d rules can match a Deployment", len(rules))
	}
	for _, rule := range rules {
		if strings.HasPrefix(rule, "data.network") || strings.HasPrefix(rule, "data.rbac") {
			t.Errorf("%s has no kind in its guard", rule)
		}
	}
}
