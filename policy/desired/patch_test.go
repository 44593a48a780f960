package desired_test

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"gitgate.dev/gitgate/policy/desired"
)

// checkPatch asserts what Patch promises: applied to live it leaves no difference,
// and there is a patch only if there is one.
func checkPatch(t testing.TB, m *desired.Mask, d, live map[string]any) {
	t.Helper()
	patch := m.Patch(d, live, "uid")
	changes := m.Diff(d, live)
	if (patch == nil) != (len(changes) == 0) {
		t.Fatalf("patch %v, but changes %v", patch, render(changes))
	}
	if patch == nil {
		return
	}
	raw, err := json.Marshal(patch)
	if err != nil {
		t.Fatal(err)
	}
	merged, _ := mergePatch(parse(t, mustJSON(t, live)), parse(t, string(raw))).(map[string]any)
	if left := m.Diff(d, merged); len(left) > 0 {
		t.Fatalf("after the patch %s there is still a difference at %v", raw, render(left))
	}
}

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// mergePatch is RFC 7396 to the letter.
func mergePatch(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, ok := target.(map[string]any)
	if !ok {
		t = map[string]any{}
	}
	for k, v := range p {
		if v == nil {
			delete(t, k)
		} else {
			t[k] = mergePatch(t[k], v)
		}
	}
	return t
}

// FuzzPatch: whatever the two objects are, Digest and Diff agree and Patch removes
// every difference.
func FuzzPatch(f *testing.F) {
	f.Add(deploymentG, strings.Replace(deploymentG, "a:1", "a:2", 1))
	f.Add(`{"metadata":{"annotations":{"deployment.kubernetes.io/revision":"1","x":"y"},"finalizers":["orphan","z"]}}`, `{"metadata":{}}`)
	f.Add(`{"spec":{"a":[{"name":"x"},{"name":"x"}],"b":[[1],[2]]}}`, `{"spec":{"a":[{"name":"x"}],"b":[[2],[1]],"replicas":1.5}}`)
	f.Add(`{"spec":{"a":[],"b":{}}}`, `{"spec":{"a":[],"b":{}}}`)
	f.Add(`{"spec":{"a":{}}}`, `{"spec":{"a":[]}}`)
	f.Fuzz(func(t *testing.T, a, b string) {
		var d, live map[string]any
		if utiljson.Unmarshal([]byte(a), &d) != nil || utiljson.Unmarshal([]byte(b), &live) != nil || d == nil || live == nil {
			t.Skip()
		}
		for _, k := range []desired.Kind{deployment, widget} {
			d, live := k.Normalise(d), k.Normalise(live)
			m := k.NewMask(&unstructured.Unstructured{Object: d}, desired.MaskOptions{Autoscaled: true, Ignore: [][]string{{"spec", "i", "0", "x"}}})
			if m.Digest(d) == m.Digest(live) && len(m.Diff(d, live)) > 0 {
				t.Fatalf("one digest, but %v", render(m.Diff(d, live)))
			}
			checkPatch(t, m, d, live)
		}
	})
}
