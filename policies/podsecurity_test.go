package policies_test

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	upstream "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/test/testkit/racing"
)

// standardVersion is the version of the Pod Security Standards that the packs
// follow; the module has the fixtures of it and of all before.
const standardVersion = "v1.37"

// standardFixtures is the testdata of the module that Kubernetes judges pods with.
func standardFixtures(t *testing.T) fs.FS {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/pod-security-admission").Output()
	if err != nil {
		t.Fatal(err)
	}
	return os.DirFS(path.Join(strings.TrimSpace(string(dir)), "test", "testdata"))
}

// standardEngine is the engine of one pack.
func standardEngine(t *testing.T, pack string) *policy.Engine {
	t.Helper()
	e, err := policy.Load(t.Context(), []policy.Set{packSet(t, pack)}, policy.Options{ReadWholeInput: true})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func packSet(t testing.TB, pack string) policy.Set {
	t.Helper()
	fsys, err := policies.Pack(pack)
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.ReadSet(pack, fsys, ".")
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// fixture reads a pod, as JSON for our rules and decoded for those of Kubernetes.
func fixture(t *testing.T, fsys fs.FS, name string) ([]byte, *corev1.Pod) {
	t.Helper()
	raw, err := fs.ReadFile(fsys, name)
	if err != nil {
		t.Fatal(err)
	}
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict(raw, &pod); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	object, err := yaml.YAMLToJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	return object, &pod
}

func messages(t *testing.T, e *policy.Engine, object []byte) []string {
	t.Helper()
	var out []string
	for _, f := range e.Evaluate(t.Context(), policy.Input{Object: object}) {
		out = append(out, string(f.Reason)+" "+f.Message)
	}
	return out
}

// TestPodSecurityFixtures wants every fixture of the version that the packs
// follow judged as its directory says, on a Pod and in the template of every kind
// that has one.
func TestPodSecurityFixtures(t *testing.T) {
	racing.Skip(t)
	t.Parallel()
	fsys := standardFixtures(t)
	for _, level := range []string{"baseline", "restricted"} {
		e := standardEngine(t, "pod-security-"+level)
		for _, want := range []string{"pass", "fail"} {
			files, err := fs.Glob(fsys, path.Join(level, standardVersion, want, "*.yaml"))
			if err != nil || len(files) < 15 {
				t.Fatalf("%d fixtures, %v", len(files), err)
			}
			for _, file := range files {
				object, _ := fixture(t, fsys, file)
				for kind, wrapped := range templates(t, object) {
					if got := messages(t, e, wrapped); (len(got) == 0) != (want == "pass") {
						t.Errorf("%s as %s: want %s, have %q", file, kind, want, got)
					}
				}
			}
		}
	}
}

// templates puts a pod into each kind that holds one.
func templates(t *testing.T, pod []byte) map[string][]byte {
	t.Helper()
	out := map[string][]byte{"Pod": pod}
	template := `"template":` + string(pod)
	for kind, object := range map[string]string{
		"PodTemplate":           `{"apiVersion":"v1","kind":"PodTemplate","metadata":{"name":"a"},` + template + `}`,
		"ReplicationController": `{"apiVersion":"v1","kind":"ReplicationController","metadata":{"name":"a"},"spec":{` + template + `}}`,
		"Deployment":            `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a"},"spec":{` + template + `}}`,
		"ReplicaSet":            `{"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":"a"},"spec":{` + template + `}}`,
		"StatefulSet":           `{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"a"},"spec":{` + template + `}}`,
		"DaemonSet":             `{"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{"name":"a"},"spec":{` + template + `}}`,
		"Job":                   `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"a"},"spec":{` + template + `}}`,
		"CronJob":               `{"apiVersion":"batch/v1","kind":"CronJob","metadata":{"name":"a"},"spec":{"jobTemplate":{"spec":{` + template + `}}}}`,
	} {
		if !json.Valid([]byte(object)) {
			t.Fatalf("%s is no JSON", kind)
		}
		out[kind] = []byte(object)
	}
	return out
}

// defaultVolumes makes an emptyDir of a volume without a source, as an API server
// does before it judges a pod. The packs, which see what is written in Git, take
// such a volume for what it will be; that is the only difference.
func defaultVolumes(pod *corev1.Pod) {
	for i := range pod.Spec.Volumes {
		if source := &pod.Spec.Volumes[i].VolumeSource; *source == (corev1.VolumeSource{}) {
			source.EmptyDir = &corev1.EmptyDirVolumeSource{}
		}
	}
}

// TestPodSecurityOfAllVersions judges the fixtures of every version there has
// been, by the version that the packs follow: what was forbidden once may be
// allowed now, and the other way round. The code of Kubernetes says which.
func TestPodSecurityOfAllVersions(t *testing.T) {
	racing.Skip(t)
	t.Parallel()
	evaluator, err := upstream.NewEvaluator(upstream.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	version, err := api.ParseVersion(standardVersion)
	if err != nil {
		t.Fatal(err)
	}
	fsys := standardFixtures(t)
	judged := 0
	for _, level := range []api.Level{api.LevelBaseline, api.LevelRestricted} {
		e := standardEngine(t, "pod-security-"+string(level))
		files, err := fs.Glob(fsys, "*/*/*/*.yaml")
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, file := range files {
			object, pod := fixture(t, fsys, file)
			if seen[string(object)] {
				continue
			}
			seen[string(object)] = true
			judged++
			defaultVolumes(pod)
			allowed := upstream.AggregateCheckResults(evaluator.EvaluatePod(api.LevelVersion{Level: level, Version: version}, &pod.ObjectMeta, &pod.Spec)).Allowed
			if got := messages(t, e, object); (len(got) == 0) != allowed {
				t.Errorf("%s by %s %s: Kubernetes says %v, the pack %q", file, level, standardVersion, allowed, got)
			}
		}
	}
	if judged < 500 {
		t.Errorf("%d pods were judged, want all that there are", judged)
	}
}

// merged lays one tree over another. Of two lists of volumes it takes the first,
// as a volume has one source.
func merged(a, b any) any {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok {
			return a
		}
		out := maps.Clone(a)
		for key, value := range b {
			if before, ok := out[key]; ok && key != "volumes" {
				value = merged(before, value)
			} else if ok {
				value = before
			}
			out[key] = value
		}
		return out
	case []any:
		b, ok := b.([]any)
		if !ok {
			return a
		}
		out := slices.Clone(a)
		for i, value := range b {
			if i < len(out) {
				out[i] = merged(out[i], value)
			} else {
				out = append(out, value)
			}
		}
		return out
	}
	return b
}

// TestPodSecurityOfCombinations lays fixtures over each other, in both orders, and
// wants the packs to say of the outcome what the code of Kubernetes says: what
// windows or a user namespace exempts, and what is inherited, depends on the rest.
func TestPodSecurityOfCombinations(t *testing.T) {
	racing.Skip(t)
	t.Parallel()
	evaluator, err := upstream.NewEvaluator(upstream.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	version, err := api.ParseVersion(standardVersion)
	if err != nil {
		t.Fatal(err)
	}
	fsys := standardFixtures(t)
	files, err := fs.Glob(fsys, "*/"+standardVersion+"/*/*.yaml")
	if err != nil || len(files) < 100 {
		t.Fatalf("%d fixtures, %v", len(files), err)
	}
	trees := make([]map[string]any, len(files))
	for i, file := range files {
		object, _ := fixture(t, fsys, file)
		if err := json.Unmarshal(object, &trees[i]); err != nil {
			t.Fatal(err)
		}
	}
	verdicts := map[bool]int{}
	for _, level := range []api.Level{api.LevelBaseline, api.LevelRestricted} {
		e := standardEngine(t, "pod-security-"+string(level))
		for i := range trees {
			for _, step := range []int{1, 7, 31, len(trees) - 5} {
				j := (i + step) % len(trees)
				object, err := json.Marshal(merged(trees[i], trees[j]))
				if err != nil {
					t.Fatal(err)
				}
				var pod corev1.Pod
				if err := json.Unmarshal(object, &pod); err != nil {
					t.Fatal(err)
				}
				defaultVolumes(&pod)
				allowed := upstream.AggregateCheckResults(evaluator.EvaluatePod(api.LevelVersion{Level: level, Version: version}, &pod.ObjectMeta, &pod.Spec)).Allowed
				verdicts[allowed]++
				if got := messages(t, e, object); (len(got) == 0) != allowed {
					t.Errorf("%s under %s by %s: Kubernetes says %v, the pack %q", files[i], files[j], level, allowed, got)
				}
			}
		}
	}
	if verdicts[true] < 50 || verdicts[false] < 50 {
		t.Errorf("%d combinations are allowed and %d are not: too few of one", verdicts[true], verdicts[false])
	}
}
