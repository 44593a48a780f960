package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// configMapHead is five lines long.
const configMapHead = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: evil\ndata:\n"

// deniedManifests pushes each manifest as deploy/evil.yaml.
func deniedManifests(s *site, attacks map[string]manifestAttack) {
	s.t.Helper()
	for name, a := range attacks {
		s.run(name, func(s *site) {
			s.denied(refusal{reason: a.want, file: "deploy/evil.yaml", line: a.line},
				gitrepo.Change{Files: map[string]string{"deploy/evil.yaml": a.text}})
		})
	}
}

// A manifestAttack is a manifest and the verdict that it must get at a line; zero
// is any.
type manifestAttack struct {
	text string
	want verdict.Reason
	line int
}

func TestAttack_Y1_BombsAndEncodings(t *testing.T) {
	t.Parallel()
	s := newSite(t, "y1-site")
	bomb := configMapHead + "  a: x\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 10; i++ {
		alias := fmt.Sprintf("*a%d", i-1)
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(alias+", ", 10), ", "))
	}
	grew := s.peakMemory(func() {
		deniedManifests(s, map[string]manifestAttack{
			"AliasBomb":   {bomb, verdict.LimitExceeded, 0},
			"DeepNesting": {configMapHead + "  a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000), verdict.LimitExceeded, 0},
			"UTF16":       {"\xff\xfea\x00:\x00", verdict.InvalidManifest, 1},
			"BOM":         {"\xef\xbb\xbf" + configMapHead + "  a: x\n", verdict.InvalidManifest, 1},
			"NUL":         {configMapHead + "  a: \"x\x00y\"\n", verdict.InvalidManifest, 6},
			"CustomTag":   {configMapHead + "  a: !!python/object/apply:os.system [id]\n", verdict.InvalidManifest, 6},
		})
	})
	if grew > 256<<20 {
		t.Errorf("memory grew by %d MiB", grew>>20)
	}
}

func TestAttack_Y2_DuplicateKeys(t *testing.T) {
	t.Parallel()
	pod := "apiVersion: v1\nkind: Pod\nmetadata: {name: evil}\nspec:\n"
	deniedManifests(newSite(t, "y2-site"), map[string]manifestAttack{
		"Duplicate": {pod + "  hostPID: false\n  hostPID: true\n", verdict.AmbiguousManifest, 6},
		"Case":      {pod + "  containers: []\n  Containers: [{name: a, image: evil}]\n", verdict.AmbiguousManifest, 6},
		"Kind":      {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: evil}\nkind: Secret\n", verdict.AmbiguousManifest, 4},
	})
}

func TestAttack_Y3_Lists(t *testing.T) {
	t.Parallel()
	const pod = "{apiVersion: v1, kind: Pod, metadata: {name: evil}}"
	s := newSite(t, "y3-site")
	deniedManifests(s, map[string]manifestAttack{
		"NestedList":   {"apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: List\n  items: [" + pod + "]\n", verdict.InvalidManifest, 4},
		"PodList":      {"apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: PodList, items: [" + pod + "]}\n", verdict.InvalidManifest, 4},
		"GenerateName": {"apiVersion: v1\nkind: Pod\nmetadata:\n  generateName: evil-\n", verdict.InvalidManifest, 4},
		"ExtraText":    {configMapHead + "  a: x\n---\nhello\n", verdict.InvalidManifest, 8},
		// What a list holds is judged as if it stood alone.
		"ListedPod": {"apiVersion: v1\nkind: List\nitems:\n- " + configMapItem + "- apiVersion: v1\n  kind: Pod\n  metadata: {name: evil}\n" +
			"  spec:\n    hostPID: true\n    containers: []\n", verdict.PolicyDenied, 9},
	})
}

const configMapItem = "{apiVersion: v1, kind: ConfigMap, metadata: {name: evil}}\n"

// What policies see is what is applied, to the last digit.
func TestAttack_Y4_SameValueForAll(t *testing.T) {
	t.Parallel()
	s := newSite(t, "y4-site", withPolicy(`warn contains concat(" ", ["spec:", json.marshal(input.object.spec)]) if input.object.kind == "Number"
deny contains sprintf("the number is %v", [input.object.spec.count]) if input.object.spec.count == 9007199254740993`))
	s.installNumbers()
	number := func(fields string) map[string]string {
		return map[string]string{"deploy/number.yaml": "apiVersion: y4-site.example.com/v1\nkind: Number\nmetadata: {name: one}\nspec:\n" + fields}
	}
	s.run("SeenIsStored", func(s *site) {
		s.accept(gitrepo.Change{Files: number("  octal: 0777\n  norway: NO\n  beyond: 9007199254740992\n  odd: 9007199254740995\n  text: \"0777\"\n  float: 1.10\n" +
			"  time: 12:30:45\n  day: 2026-01-01\n  tiny: 1e-7\n  hex: 0x1F\n  nothing: ~\n  huge: 1e400\n  list: [yes, 1_000, .5]\n")})
		stored, err := s.Cluster.EtcdGet(s.t.Context(), "/registry/y4-site.example.com/numbers/y4-site/one")
		s.must(err)
		var applied struct {
			Spec json.RawMessage `json:"spec"`
		}
		s.must(json.Unmarshal(stored, &applied))
		seen := ""
		for _, f := range s.current().Status.LastVerdict.Findings {
			if text, ok := strings.CutPrefix(f.Message, "spec: "); ok {
				seen = text
			}
		}
		if diff := cmp.Diff(exact(s, applied.Spec), exact(s, []byte(seen))); diff != "" || len(exact(s, applied.Spec)) != 13 {
			s.t.Errorf("what policies see (+) is not what is stored (-):\n%s", diff)
		}
		if !strings.Contains(string(stored), `"odd":9007199254740995`) {
			s.t.Errorf("a number was rounded: %s", applied.Spec)
		}
	})
	s.run("OneOff", func(s *site) {
		s.accept(gitrepo.Change{Files: number("  count: 9007199254740992\n")}) // float64 cannot tell it from the next
		s.denied(refusal{reason: verdict.PolicyDenied, file: "deploy/number.yaml", says: "the number is 9007199254740993"},
			gitrepo.Change{Files: number("  count: 9007199254740993\n")})
	})
	for name, value := range map[string]string{"Infinite": ".inf", "BeyondInt64": "9223372036854775808"} {
		s.run(name, func(s *site) {
			s.denied(refusal{reason: verdict.AmbiguousManifest, file: "deploy/number.yaml", line: 5}, gitrepo.Change{Files: number("  count: " + value + "\n")})
		})
	}
}

// exact decodes JSON without rounding a number.
func exact(s *site, raw []byte) (out map[string]any) {
	s.t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		s.t.Errorf("%v in %q", err, raw)
	}
	for key, value := range out {
		if n, ok := value.(json.Number); ok { // in one spelling
			r, _ := new(big.Rat).SetString(n.String())
			out[key] = r.RatString()
		}
	}
	return out
}

// installNumbers installs a custom kind that holds any number.
func (s *site) installNumbers() {
	s.t.Helper()
	open := true
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "numbers." + s.name + ".example.com"}}
	crd.Spec = apiextensionsv1.CustomResourceDefinitionSpec{
		Group: s.name + ".example.com", Scope: apiextensionsv1.NamespaceScoped,
		Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "numbers", Singular: "number", Kind: "Number", ListKind: "NumberList"},
		Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
			Name: "v1", Served: true, Storage: true,
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
				Type: "object", XPreserveUnknownFields: &open,
			}},
		}},
	}
	s.must(s.Client.Create(s.t.Context(), crd))
}
