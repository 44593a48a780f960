package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestPolicyBench(t *testing.T) {
	files := map[string]string{"a.yaml": goodConfigMap + "---\n" + hostPod, "rules/a.rego": teamRule, "bad.yaml": "[]\n"}
	code, stdout, stderr := runPolicy(t, files, "bench", "a.yaml", "-p", "rules", "--pack", "pod-security-baseline", "-n", "2", "-o", "json")
	var got struct {
		Kind    string
		Objects int
		Rules   []struct {
			Rule    string
			Objects int
			Share   float64
		}
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v, %s", code, err, stderr)
	}
	share := 0.0
	objects := map[string]int{}
	for i, r := range got.Rules {
		share += r.Share
		objects[r.Rule] = r.Objects
		if i > 0 && r.Share > got.Rules[i-1].Share {
			t.Errorf("%s comes after one that takes less", r.Rule)
		}
	}
	if got.Kind != "PolicyBenchReport" || got.Objects != 2 || share < 0.99 || share > 1.01 || objects["rules/acme.deny"] != 2 || len(got.Rules) < 5 {
		t.Errorf("%+v", got)
	}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"Files":    {[]string{"-p", "rules"}, "name files"},
		"Policies": {[]string{"a.yaml"}, "--pack or --policy"},
		"Broken":   {[]string{"bad.yaml", "-p", "rules"}, "bad.yaml:1: the document is not an object"},
		"Time":     {[]string{"a.yaml", "-p", "rules", "--time", "0s"}, "--time must be"},
		"Both":     {[]string{"a.yaml", "-p", "rules", "--time", "1s", "-n", "1"}, "none of the others can be"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs strings.Builder
			if code := run(append([]string{"policy", "bench"}, tc.args...), strings.NewReader(""), &out, &errs); code != 2 || !strings.Contains(errs.String(), tc.want) {
				t.Errorf("exit code %d, stderr %q, want %q", code, errs.String(), tc.want)
			}
		})
	}
}
