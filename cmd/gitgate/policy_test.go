package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/test/testkit/racing"
)

// runPolicyEval runs `gitgate policy eval` in a directory that holds the files.
func runPolicyEval(t *testing.T, files map[string]string, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	writeTree(t, files)
	var out, errs strings.Builder
	code = run(append([]string{"policy", "eval"}, args...), strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// writeTree makes a directory of the files and goes there.
func writeTree(t *testing.T, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

const (
	goodConfigMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\ndata: {n: \"1\"}\n"
	hostPod       = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  hostNetwork: true\n  containers: [{name: web, image: web}]\n"
	teamRule      = "package acme\n\ndeny contains msg if {\n\tnot input.object.metadata.labels.team\n\tmsg := \"no team label: add one\"\n}\n"
)

func TestPolicyEval(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		files  map[string]string
		stdin  string
		args   []string
		code   int
		stdout string
	}{
		"Allowed": {
			reason: "What nothing denies passes.",
			files:  map[string]string{"a.yaml": goodConfigMap},
			args:   []string{"a.yaml", "--pack", "pod-security-restricted"},
			stdout: "allowed: 1 objects\n",
		},
		"Denied": {
			reason: "The line is that of the document in the file.",
			files:  map[string]string{"d/a.yaml": goodConfigMap + "---\n# here\n" + hostPod, "d/README.md": "no"},
			args:   []string{"d", "--pack", "pod-security-baseline"},
			code:   1,
			stdout: "d/a.yaml:7: Pod/p: deny PolicyDenied [pod-security-baseline/pod_security.baseline.deny_host_namespaces] " +
				"spec.hostNetwork is true, which shares a namespace of the node: set it to false or remove it\nrefused: 2 objects, 1 deny\n",
		},
		"Stdin": {
			reason: "Standard input is read as a file is; lists are taken apart.",
			stdin:  `{"apiVersion": "v1", "kind": "List", "items": [` + "\n" + `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}]}`,
			files:  map[string]string{"rules/a.rego": teamRule},
			args:   []string{"-", "-p", "rules"},
			code:   1,
			stdout: "stdin:2: ConfigMap/x: deny PolicyDenied [rules/acme.deny] no team label: add one\nrefused: 1 objects, 1 deny\n",
		},
		"Parameters": {
			reason: "Parameters reach the rules, and warnings pass.",
			files: map[string]string{
				"a.yaml": goodConfigMap, "p.yaml": "max: 9007199254740993\n",
				"rules/a.rego": "package a\nwarn contains sprintf(\"max %v\", [input.parameters.max])\n",
			},
			args:   []string{"a.yaml", "-p", "rules", "--parameters", "p.yaml"},
			stdout: "a.yaml:1: shop/ConfigMap/a: warn PolicyDenied [rules/a.warn] max 9007199254740993\nallowed: 1 objects, 1 warn\n",
		},
		"Delete": {
			reason: "Deletions are judged on the old object.",
			files: map[string]string{
				"a.yaml":       goodConfigMap,
				"rules/a.rego": "package a\ndeny contains sprintf(\"%s of %s\", [input.operation, input.oldObject.kind]) if not input.object\n",
			},
			args:   []string{"a.yaml", "-p", "rules", "--operation", "DELETE"},
			code:   1,
			stdout: "a.yaml:1: shop/ConfigMap/a: deny PolicyDenied [rules/a.deny] DELETE of ConfigMap\nrefused: 1 objects, 1 deny\n",
		},
		"Timeout": {
			reason: "What cannot be decided is exit code 3.",
			files: map[string]string{
				"a.yaml":       goodConfigMap,
				"rules/a.rego": "package a\ndeny contains \"no\" if count(numbers.range(1, 1000000000)) > 1\n",
			},
			args: []string{"a.yaml", "-p", "rules"},
			code: 3,
			stdout: "a.yaml:1: shop/ConfigMap/a: undetermined PolicyTimeout [rules] a.rego:2: numbers.range would work on over 1048576 elements, " +
				"more than the 1048576 elements or 8 MiB that one call may\nrefused: 1 objects, 1 undetermined\n",
		},
		"Y2/Duplicate": {
			reason: "A manifest that readers understand in different ways is refused with its line.",
			files:  map[string]string{"a.yaml": goodConfigMap + "data: {}\n"},
			args:   []string{"a.yaml", "--pack", "pod-security-baseline"},
			code:   1,
			stdout: "a.yaml:5: deny AmbiguousManifest the key \"data\" stands here twice: remove one\nrefused: 0 objects, 1 deny\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := runPolicyEval(t, tc.files, tc.stdin, tc.args...)
			if code != tc.code {
				t.Errorf("%s\nexit code = %d, want %d; stderr: %s", tc.reason, code, tc.code, stderr)
			}
			if diff := cmp.Diff(tc.stdout, stdout); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
		})
	}
}

func TestPolicyEvalJSON(t *testing.T) {
	code, stdout, _ := runPolicyEval(t, map[string]string{"a.yaml": hostPod}, "", "a.yaml", "--pack", "pod-security-baseline", "-o", "json")
	var v struct {
		Kind     string
		Allowed  bool
		Objects  int
		Findings []map[string]any
	}
	if strings.Count(stdout, "\n") != 1 || json.Unmarshal([]byte(stdout), &v) != nil {
		t.Fatalf("not one JSON object on one line: %s", stdout)
	}
	if code != 1 || v.Kind != "Verdict" || v.Allowed || v.Objects != 1 || len(v.Findings) != 1 {
		t.Fatalf("code %d, verdict %s", code, stdout)
	}
	want := map[string]any{
		"stage": "policy", "reason": "PolicyDenied", "severity": "deny", "object": "Pod/p", "file": "a.yaml", "line": 1.0,
		"field": "spec.hostNetwork", "policy": "pod-security-baseline/pod_security.baseline.deny_host_namespaces",
		"message": "spec.hostNetwork is true, which shares a namespace of the node: set it to false or remove it",
	}
	if diff := cmp.Diff(want, v.Findings[0]); diff != "" {
		t.Error(diff)
	}
}

func TestPolicyEvalUsage(t *testing.T) {
	files := map[string]string{
		"a.yaml": goodConfigMap, "empty.yaml": "---\n", "rules/a.rego": teamRule, "bad/a.rego": "package a\ndeny contains x\nwarn contains y\n",
		"none/a.rego": "package a\n", "kust/kustomization.yaml": "resources: []\n", "list.yaml": "[]\n", "net/a.rego": "package a\ndeny contains x if x := http.send({})\n",
	}
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"NoFiles":      {[]string{"-p", "rules"}, []string{"name files or directories"}},
		"NoPolicies":   {[]string{"a.yaml"}, []string{"--pack or --policy"}},
		"UnknownPack":  {[]string{"a.yaml", "--pack", "x"}, []string{`"x"`, "pod-security-restricted"}},
		"Output":       {[]string{"a.yaml", "-p", "rules", "-o", "xml"}, []string{`output "xml"`}},
		"Operation":    {[]string{"a.yaml", "-p", "rules", "--operation", "create"}, []string{`operation "create"`}},
		"Absent":       {[]string{"absent.yaml", "-p", "rules"}, []string{"absent.yaml"}},
		"AbsentPolicy": {[]string{"a.yaml", "-p", "absent"}, []string{"absent"}},
		"NoObjects":    {[]string{"empty.yaml", "-p", "rules"}, []string{"nothing was judged"}},
		"BadPolicy":    {[]string{"a.yaml", "-p", "bad"}, []string{"a.rego:2:15: ", "a.rego:3:15: "}},
		"SilentPolicy": {[]string{"a.yaml", "-p", "none"}, []string{"no deny, violation or warn rule"}},
		"O1/Network":   {[]string{"a.yaml", "-p", "net"}, []string{"a.rego:2:", "policies have no network"}},
		"Kustomize":    {[]string{"kust", "-p", "rules"}, []string{"gitgate render kust"}},
		"Parameters":   {[]string{"a.yaml", "-p", "rules", "--parameters", "list.yaml"}, []string{"parameters are an object"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := runPolicyEval(t, files, "", tc.args...)
			if code != 2 || stdout != "" {
				t.Errorf("exit code = %d, stdout %q, want 2 and nothing", code, stdout)
			}
			for _, want := range tc.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("stderr %q does not contain %q", stderr, want)
				}
			}
		})
	}
}

// TestReadManifestsRefuses lists what YAML says differently to different readers.
func TestReadManifestsRefuses(t *testing.T) {
	racing.Skip(t)
	const head = "apiVersion: v1\nkind: ConfigMap\n"
	for name, tc := range map[string]struct{ src, want string }{
		"Y1/BOM":          {"\ufeff" + head, "AmbiguousManifest:1"},
		"Y1/UTF16":        {"\xff\xfea\x00", "AmbiguousManifest:1"},
		"Y1/NUL":          {head + "a: \"\x00\"\n", "AmbiguousManifest:1"},
		"Y1/CustomTag":    {head + "a: !x b\n", "AmbiguousManifest:3"},
		"Y1/MapTag":       {head + "a: !x {}\n", "AmbiguousManifest:3"},
		"Y1/Binary":       {head + "a: !!binary YQ==\n", "AmbiguousManifest:3"},
		"Y1/Deep":         {head + "a: " + strings.Repeat("[", 300) + strings.Repeat("]", 300), "LimitExceeded:3"},
		"Y1/AliasBomb":    {head + "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + aliasBomb(9), "LimitExceeded:3"},
		"Y2/Duplicate":    {head + "a: 1\na: 2\n", "AmbiguousManifest:4"},
		"Y2/Merge":        {head + "a: &a {b: 1}\nc: {<<: *a}\n", "AmbiguousManifest:4"},
		"Y2/IntegerKey":   {head + "a: {1: b}\n", "AmbiguousManifest:3"},
		"Y3/NestedList":   {"apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: PodList, items: []}\n", "InvalidManifest:4"},
		"Y3/ItemNoObject": {"apiVersion: v1\nkind: List\nitems: [a]\n", "InvalidManifest:3"},
		"Y4/Octal":        {head + "a: 0777\n", "AmbiguousManifest:3"},
		"Y4/NewOctal":     {head + "a: 0o777\n", "AmbiguousManifest:3"},
		"Y4/Hex":          {head + "a: 0x1F\n", "AmbiguousManifest:3"},
		"Y4/Underscore":   {head + "a: 1_000\n", "AmbiguousManifest:3"},
		"Y4/Norway":       {head + "a: NO\n", "AmbiguousManifest:3"},
		"Y4/Infinity":     {head + "a: .inf\n", "AmbiguousManifest:3"},
		"Y4/Date":         {head + "a: 2026-01-01\n", "AmbiguousManifest:3"},
		"NoKind":          {"apiVersion: v1\n", "InvalidManifest:1"},
		"Scalar":          {"a\n", "InvalidManifest:1"},
		"Syntax":          {head + "a: [\n", "InvalidManifest:"},
		"Second":          {head + "---\nkind: 7\n", "InvalidManifest:4"},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems, err := readManifests([]string{"-"}, strings.NewReader(tc.src))
			if err != nil || len(problems) != 1 {
				t.Fatalf("problems = %v, %v, want one", problems, err)
			}
			p := problems[0]
			if got := string(p.Reason) + ":" + strconv.Itoa(p.Line); !strings.HasPrefix(got, tc.want) {
				t.Errorf("got %s: %s, want %s", got, p.Message, tc.want)
			}
		})
	}
}

// aliasBomb multiplies by nine on each of n lines.
func aliasBomb(n int) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		ref := "*a" + strconv.Itoa(i-1)
		b.WriteString("a" + strconv.Itoa(i) + ": &a" + strconv.Itoa(i) + " [" + strings.TrimSuffix(strings.Repeat(ref+", ", 9), ", ") + "]\n")
	}
	return b.String()
}
