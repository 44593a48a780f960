package author_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy/author"
	"gitgate.dev/gitgate/policy/blockyaml"
)

// TestReadManifestsEitherWay: what is read by the reader of few things is what the
// library reads. A tab in a comment is what only the latter takes.
func TestReadManifestsEitherWay(t *testing.T) {
	const tab = "#\t\n"
	texts := map[string]string{
		"Scalars":  "apiVersion: v1\nkind: ConfigMap\ndata:\n  a: \"<a & b>\"\n  é: 'ü\u2029'\n  n: 1\n  f: -1.50\n  e: 1e3\n  t: true\n  z: ~\n  list: [a, {b: c}, []]\n  text: |\n    a\\\"b\n",
		"List":     "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n\n- apiVersion: v1\n  kind: Service\n",
		"Several":  "---\napiVersion: v1\nkind: A\n---\n---\n# nothing\n---\napiVersion: v1\nkind: B\n",
		"Twice":    "apiVersion: v1\nkind: A\nspec:\n  a: 1\n  a: 2\n",
		"Boolean":  "apiVersion: v1\nkind: A\nspec:\n  - yes\n",
		"Octal":    "apiVersion: v1\nkind: A\n---\napiVersion: v1\nkind: B\nspec: {mode: 0644}\n",
		"Key":      "apiVersion: v1\nkind: A\nspec:\n  1: a\n",
		"NoKind":   "apiVersion: v1\n",
		"NoObject": "- a\n",
	}
	manifests, err := filepath.Glob(filepath.Join("..", "..", "deploy", "*", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range manifests {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(raw)
	}
	read := 0
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			if _, ok := blockyaml.Nodes([]byte(text + tab)); ok {
				t.Fatal("the library was not asked")
			}
			if _, ok := blockyaml.Nodes([]byte(text)); ok {
				read++
			}
			want, wrong := author.ReadManifests("f", []byte(text+tab))
			got, bad := author.ReadManifests("f", []byte(text))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-library +blocks)\n%s", diff)
			}
			if diff := cmp.Diff(wrong, bad); diff != "" {
				t.Errorf("(-library +blocks)\n%s", diff)
			}
			for _, m := range got { // as encoding/json writes it
				var value any
				dec := json.NewDecoder(bytes.NewReader(m.JSON))
				dec.UseNumber()
				if err := dec.Decode(&value); err != nil {
					t.Fatal(err)
				}
				if raw, err := json.Marshal(value); err != nil || string(raw) != string(m.JSON) {
					t.Errorf("%s, want %s (%v)", m.JSON, raw, err)
				}
			}
		})
	}
	if read < 20 {
		t.Errorf("%d of %d texts were read without the library: the test compares little", read, len(texts))
	}
}
