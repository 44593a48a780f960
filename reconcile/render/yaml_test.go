package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	sigsyaml "sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/racing"
)

// renderFile renders a tree of one file a.yaml.
func renderFile(t *testing.T, content string, o Options) (objects string, found []verdict.Finding) {
	t.Helper()
	got, found := Render(t.Context(), fstest.MapFS{"a.yaml": {Data: []byte(content)}}, o)
	return listing(got), found
}

func TestAttack_Y1_BombsAndEncodings(t *testing.T) {
	head := configMap + "a\ndata:\n"
	bomb := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 10; i++ {
		ref := fmt.Sprintf("*a%d", i-1)
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(ref+", ", 10), ", "))
	}
	chain := configMap + "a\nb0: &b0 {x: y}\n"
	for i := 1; i < 300; i++ {
		chain += fmt.Sprintf("b%d: &b%d {x: *b%d}\n", i, i, i-1)
	}
	for name, tc := range map[string]struct {
		reason, content string
		want            verdict.Reason
		where           string
	}{
		"AliasBomb":      {"Ten levels of ten aliases are 10^10 values.", bomb, verdict.LimitExceeded, "a.yaml:1"},
		"AliasChain":     {"Aliases may not nest deeper than values may.", chain, verdict.LimitExceeded, ""},
		"SelfAlias":      {"An alias inside of its own anchor has no end.", head + "  a: &x [*x]\n", verdict.LimitExceeded, "a.yaml:6"},
		"DeepFlow":       {"Deep nesting exhausts stacks.", head + "  a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000), verdict.LimitExceeded, ""},
		"DeepBlock":      {"So it does in block style.", head + "  a:\n" + deepBlock(400), verdict.LimitExceeded, ""},
		"ManyValues":     {"A parsed value takes a hundred times its text.", head + "  a: [" + strings.Repeat(",", 1_200_000) + "]", verdict.LimitExceeded, "a.yaml"},
		"HugeFile":       {"A file has a limit.", head + "  a: " + strings.Repeat("x", 5<<20), verdict.LimitExceeded, "a.yaml"},
		"BOM":            {"A byte order mark is dropped by one reader and kept by another.", "\xef\xbb\xbf" + head, verdict.InvalidManifest, "a.yaml:1"},
		"UTF16":          {"UTF-16 hides text from what scans UTF-8.", "\xff\xfea\x00:\x00", verdict.InvalidManifest, "a.yaml:1"},
		"UTF16BE":        {"In either byte order.", "\xfe\xff\x00a\x00:", verdict.InvalidManifest, "a.yaml:1"},
		"NUL":            {"Some readers end at NUL.", head + "  a: b\x00c\n", verdict.InvalidManifest, "a.yaml:6"},
		"NotUTF8":        {"Invalid bytes are replaced by some readers.", head + "  a: b\n  c: \xc3\x28\n", verdict.InvalidManifest, "a.yaml:7"},
		"CustomTag":      {"A tag may mean anything to another reader.", head + "  a: !env HOME\n", verdict.InvalidManifest, "a.yaml:6"},
		"BinaryTag":      {"!!binary decodes, and JSON has no bytes.", head + "  a: !!binary aGk=\n", verdict.InvalidManifest, "a.yaml:6"},
		"GoTag":          {"Tags of languages construct objects.", head + "  a: !!python/object/apply:os.system [id]\n", verdict.InvalidManifest, "a.yaml:6"},
		"TagOnMapping":   {"Collections too.", head + "  a: !!set {b, c}\n", verdict.InvalidManifest, "a.yaml:6"},
		"OddSeparator":   {"kubectl drops what follows --- on its line.", configMap + "a\n--- {apiVersion: v1, kind: Secret}\n", verdict.AmbiguousManifest, "a.yaml:5"},
		"GluedSeparator": {"kubectl cuts at ---x, YAML does not.", configMap + "a\nx: |\n  y\n---x: z\n", verdict.AmbiguousManifest, "a.yaml:7"},
	} {
		t.Run("Y1/"+name, func(t *testing.T) {
			got, found := Render(t.Context(), fstest.MapFS{"a.yaml": {Data: []byte(tc.content)}}, Options{})
			refused(t, tc.reason, got, found, tc.want, tc.where)
		})
	}
}

func deepBlock(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i+2) + "a:\n")
	}
	return b.String()
}

func TestAttack_Y2_DuplicateKeys(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, content string
		want            verdict.Reason
		where           string
	}{
		"Exact":       {"Which of two values counts depends on the reader.", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  hostPID: false\n  hostPID: true\n", verdict.AmbiguousManifest, "a.yaml:6"},
		"TopLevel":    {"Even for the kind.", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nkind: Secret\n", verdict.AmbiguousManifest, "a.yaml:4"},
		"Case":        {"encoding/json reads both into one field.", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers: []\n  Containers: []\n", verdict.AmbiguousManifest, "a.yaml:6"},
		"Flow":        {"Flow style is no exception.", "{apiVersion: v1, kind: Pod, metadata: {name: a, name: b}}", verdict.AmbiguousManifest, "a.yaml:1"},
		"QuotedTwin":  {"Quotes do not make another key.", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  a: 1\n  \"a\": 2\n", verdict.AmbiguousManifest, "a.yaml:6"},
		"MergeLast":   {"yaml.v2 lets a late merge override, the specification does not.", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nx: &x {hostPID: true}\nspec:\n  hostPID: false\n  <<: *x\n", verdict.AmbiguousManifest, "a.yaml:7"},
		"MergeTwice":  {"Two merges in one mapping are a duplicate key.", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nx: &x {a: b}\ny: &y {a: c}\nspec:\n  <<: *x\n  <<: *y\n", verdict.AmbiguousManifest, "a.yaml:8"},
		"MergeNested": {"Readers differ in which of two levels wins.", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nx: &x {a: b}\ny: &y {<<: *x}\nspec:\n  <<: *y\n", verdict.AmbiguousManifest, "a.yaml:7"},
		"BoolKey":     {"on: is the key true to YAML 1.1.", configMap + "a\ndata:\n  on: x\n", verdict.AmbiguousManifest, "a.yaml:6"},
		"NumberKey":   {"1: becomes \"1\" or is refused.", configMap + "a\ndata:\n  1: x\n", verdict.AmbiguousManifest, "a.yaml:6"},
		"FloatKey":    {"1.10 becomes \"1.1\".", configMap + "a\ndata:\n  1.10: x\n", verdict.AmbiguousManifest, "a.yaml:6"},
		"NullKey":     {"~ is no key.", configMap + "a\ndata:\n  ~: x\n", verdict.AmbiguousManifest, "a.yaml:6"},
		"ComplexKey":  {"Nor is a list.", configMap + "a\ndata:\n  ? [a]\n  : x\n", verdict.AmbiguousManifest, "a.yaml:6"},
	} {
		t.Run("Y2/"+name, func(t *testing.T) {
			got, found := Render(t.Context(), fstest.MapFS{"a.yaml": {Data: []byte(tc.content)}}, Options{})
			refused(t, tc.reason, got, found, tc.want, tc.where)
		})
	}
	t.Run("Y2/FreeKeysMayDifferByCase", func(t *testing.T) {
		content := configMap + "a\n  labels: {app: a, App: b}\ndata: {FOO: a, foo: b}\n"
		if got, found := renderFile(t, content, Options{}); got == "" {
			t.Errorf("data and labels hold names that users choose: %v", found)
		}
	})
	t.Run("Y2/MergeFirst", func(t *testing.T) {
		content := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nx-base: &x {a: base, b: base}\ndata:\n  <<: *x\n  a: own\n"
		objects := mustRender(t, fstest.MapFS{"a.yaml": {Data: []byte(content)}}, Options{})
		want := map[string]any{"a": "own", "b": "base"}
		if diff := cmp.Diff(want, objects[0].Object["data"]); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAttack_Y3_Lists(t *testing.T) {
	const pod = "{apiVersion: v1, kind: Pod, metadata: {name: p}}"
	for name, tc := range map[string]struct {
		reason, content string
		want            verdict.Reason
		where           string
	}{
		"Nested":         {"A list in a list hides its items from who flattens once.", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: List\n  items: [" + pod + "]\n", verdict.InvalidManifest, "a.yaml:4"},
		"NestedTyped":    {"A PodList nests as well.", "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: PodList, metadata: {name: x}, items: [" + pod + "]}\n", verdict.InvalidManifest, "a.yaml:4"},
		"ExtraField":     {"What a list says beside its items would be lost.", "apiVersion: v1\nkind: List\nspec: {hostPID: true}\nitems: [" + pod + "]\n", verdict.InvalidManifest, "a.yaml:3"},
		"ItemsNoList":    {"Items must be a list.", "apiVersion: v1\nkind: List\nitems: " + pod + "\n", verdict.InvalidManifest, "a.yaml:3"},
		"ScalarItem":     {"Of objects.", "apiVersion: v1\nkind: List\nitems:\n- " + pod + "\n- pod\n", verdict.InvalidManifest, "a.yaml:5"},
		"SopsList":       {"Encrypted lists lose their MAC when taken apart.", "apiVersion: v1\nkind: List\nitems: []\nsops: {mac: x}\n", verdict.InvalidManifest, "a.yaml:4"},
		"GenerateName":   {"An object without a stable name cannot be declared.", "apiVersion: v1\nkind: Pod\nmetadata:\n  generateName: p-\n", verdict.InvalidManifest, "a.yaml:4"},
		"GenerateInList": {"Not in a list either.", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata:\n    generateName: p-\n", verdict.InvalidManifest, "a.yaml:7"},
		"ExtraDocument":  {"Every document is judged.", configMap + "a\n---\nhello\n", verdict.InvalidManifest, "a.yaml:6"},
		"SecondBad":      {"Wherever it stands.", configMap + "a\n---\n---\n" + configMap + "a/b\n", verdict.InvalidManifest, "a.yaml:10"},
	} {
		t.Run("Y3/"+name, func(t *testing.T) {
			got, found := Render(t.Context(), fstest.MapFS{"a.yaml": {Data: []byte(tc.content)}}, Options{})
			refused(t, tc.reason, got, found, tc.want, tc.where)
		})
	}
	t.Run("Y3/Flattened", func(t *testing.T) {
		content := "apiVersion: v1\nkind: PodList\nmetadata: {}\nitems:\n- metadata: {name: p1}\n- metadata: {name: p2}\n---\napiVersion: v1\nkind: List\nitems:\n- " + pod + "\n"
		got, found := renderFile(t, content, Options{})
		if want := "a.yaml:5 Pod/p1\na.yaml:6 Pod/p2\na.yaml:11 Pod/p\n"; got != want {
			t.Errorf("got\n%swant\n%s%v", got, want, found)
		}
	})
}

// scalars are values that YAML readers disagree on.
var scalars = []string{
	"0777", "0o777", "0x1F", "0b101", "1_000", "NO", "yes", "y", "On", "~", "null", "", "9007199254740993", "-9223372036854775808",
	"9223372036854775807", "1.0", "1e3", "1e21", "-0", "-0.0", "0.1", "1.5e-7", ".5", "5.", "+1", "2001-12-14", "2001-12-14t21:59:43.10-05:00",
	"12:30:45", "1:2", "1e", "0x", "08", "0.0.1", "=", "<<", "!!str 1", "!!int \"7\"", "!!float 1", "\"\\u263A\"", "'it''s'", "|\n    a\n    b\n",
	">-\n    a\n    b\n", "9007199254740993.0", "1e19", "-1e19", "[1, a, ~]", "{a: {b: c}}", "\"\\0\"", "123456789012345678", "1e400", "0777777777777777777777",
	"00000000000000000000009",
}

// sameAsKubernetes fails unless a document has the value that kubectl gives it.
func sameAsKubernetes(t *testing.T, raw []byte, got any) {
	t.Helper()
	j, err := sigsyaml.YAMLToJSON(raw)
	if err != nil {
		t.Fatalf("accepted what sigs.k8s.io/yaml refuses: %v\n%q", err, raw)
	}
	var want any
	if err := utiljson.Unmarshal(j, &want); err != nil {
		t.Fatalf("accepted what the API server cannot decode: %v\n%s", err, j)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("value differs from that of sigs.k8s.io/yaml for %q (-want +got):\n%s", raw, diff)
	}
	// What is sent to the server is this value once more as JSON.
	sent, err := json.Marshal(got)
	if err != nil {
		t.Fatalf("value cannot be sent: %v", err)
	}
	var read any
	if err := utiljson.Unmarshal(sent, &read); err != nil || !cmp.Equal(read, got) {
		t.Errorf("value does not survive being sent: %v\n%s", err, cmp.Diff(got, read))
	}
}

func TestAttack_Y4_PolicyInputIsWhatIsApplied(t *testing.T) {
	accepted := 0
	for _, s := range scalars {
		raw := []byte(configMap + "a\nspec:\n  v: " + s + "\n")
		docs, problems := readDocuments(raw, Limits{}.withDefaults(), newSharer())
		if len(problems) > 0 {
			t.Logf("refused %q: %s", s, problems[0].message)
			continue
		}
		accepted++
		sameAsKubernetes(t, raw, docs[0].value)
	}
	if accepted < len(scalars)*2/3 {
		t.Errorf("only %d of %d values were accepted", accepted, len(scalars))
	}
	for name, value := range map[string]string{
		"2^63":       "9223372036854775808",
		"2^64":       "18446744073709551616",
		"Negative":   "-9223372036854775809",
		"Hex":        "0xFFFFFFFFFFFFFFFFF",
		"Octal":      "07777777777777777777777777",
		"Underlined": "9_223_372_036_854_775_808",
		"NaN":        ".nan",
		"Infinity":   "-.Inf",
	} {
		t.Run("Y4/"+name, func(t *testing.T) {
			got, found := Render(t.Context(), fstest.MapFS{"a.yaml": {Data: []byte(configMap + "a\nspec:\n  v: " + value + "\n")}}, Options{})
			refused(t, "A number that JSON readers round or reject is no value to agree on.", got, found, verdict.AmbiguousManifest, "a.yaml:6")
		})
	}
}

// TestAttack_Y4_ThroughKustomize requires that the way through kustomize changes no value.
func TestAttack_Y4_ThroughKustomize(t *testing.T) {
	var b strings.Builder
	b.WriteString(configMap + "a\nspec:\n")
	for i, s := range scalars {
		line := fmt.Sprintf("  v%d: %s\n", i, s)
		if _, problems := readDocuments([]byte("a:\n"+line), Limits{}.withDefaults(), newSharer()); len(problems) == 0 {
			b.WriteString(line)
		}
	}
	plain := mustRender(t, fstest.MapFS{"a.yaml": {Data: []byte(b.String())}}, Options{})
	built := mustRender(t, fstest.MapFS{
		"a.yaml":             {Data: []byte(b.String())},
		"kustomization.yaml": {Data: []byte("labels: []\nresources: [a.yaml]\n")}, // labels keep kustomize from being skipped
	}, Options{})
	if diff := cmp.Diff(plain[0].Object, built[0].Object); diff != "" {
		t.Errorf("kustomize reads other values (-plain +kustomize):\n%s", diff)
	}
}

func FuzzReadDocuments(f *testing.F) {
	seeds, err := filepath.Glob("testdata/yaml/*")
	if err != nil || len(seeds) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range seeds {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	for _, s := range scalars {
		f.Add([]byte("a: " + s + "\n"))
	}
	limits := Limits{}.withDefaults()
	f.Fuzz(func(t *testing.T, raw []byte) {
		parsed := parseManifests(raw, limits, newSharer())
		for _, p := range parsed.problems {
			if strings.Contains(p.message, "internal error") || strings.Contains(p.message, "reader failed") {
				t.Errorf("panic on %q: %s", raw, p.message)
			}
		}
		docs, problems := readDocuments(raw, limits, newSharer())
		// sigs.k8s.io/yaml reads one document only.
		if len(problems) > 0 || len(docs) != 1 || docs[0].index != 0 || bytes.Contains(raw, []byte("\n---")) || bytes.Contains(raw, []byte("...")) {
			return
		}
		sameAsKubernetes(t, raw, docs[0].value)
	})
}

// TestOddSeparator compares the scanner with what it is: a pattern.
func TestOddSeparator(t *testing.T) {
	racing.Skip(t)
	pattern := regexp.MustCompile(`(?m)^---[ \t]*[^ \t\r\n#]|^---#`)
	parts := []string{"", "---", "--", "-", " ", "\t", "#", "\n", "\r\n", "\r", "a: b", "é", "...", "----"}
	for i := range len(parts) * len(parts) * len(parts) * len(parts) * len(parts) {
		var text strings.Builder
		for n := i; n > 0; n /= len(parts) {
			text.WriteString(parts[n%len(parts)])
		}
		raw := []byte(text.String())
		want := pattern.FindIndex(raw)
		got := oddSeparator(raw)
		if (want == nil) != (got < 0) || want != nil && got != want[0] {
			t.Fatalf("oddSeparator(%q) = %d, the pattern says %v", raw, got, want)
		}
	}
}
