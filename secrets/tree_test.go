package secrets

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/config"
	sopsjson "github.com/getsops/sops/v3/stores/json"
	sopsyaml "github.com/getsops/sops/v3/stores/yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const treeMetadata = `sops:
    age:
        - recipient: age1yt3tfqlfrwdwx0z0ynwplcr6qxcxfaqycuprpmy89nr83ltx74tqdpszlw
          enc: |
            -----BEGIN AGE ENCRYPTED FILE-----
            -----END AGE ENCRYPTED FILE-----
    lastmodified: "2026-01-02T03:04:05Z"
    mac: ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]
    encrypted_regex: ^(data|stringData)$
    version: 3.13.3
`

const treeMetadataJSON = `"sops": {"age": [{"recipient": "age1yt3tfqlfrwdwx0z0ynwplcr6qxcxfaqycuprpmy89nr83ltx74tqdpszlw", "enc": "x"}],
	"lastmodified": "2026-01-02T03:04:05Z", "mac": "ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]", "version": "3.13.3"}`

// treeValues are values whose type or form a MAC could depend on.
var treeValues = []string{
	"a", "'1'", "1", "-1", "0x1F", "0o17", "017", "1_000", "1.0", "1.50", "1e3", ".5", ".inf", ".nan", "9223372036854775807", "9223372036854775808",
	"18446744073709551616", "true", "True", "yes", "on", "null", "~", "", "2026-01-02", "2026-01-02T03:04:05Z", "!!str 1", "!!int \"1\"", "!!float 1",
	"!!binary aGk=", "!!binary '*'", "!!int x", "!!bool x", "[]", "{}", "[1, a, [b], {c: d}]", "{1: a, true: b, null: c, 2026-01-02: d, 1.5: e}",
	"|\n  x\n  y\n", ">\n  x\n  y\n", "&x {a: 1}", "# comment\n  a # another\n  # and one", "- a\n# one\n- b # two\n- # three\n  c: d", "\n  # one\n  a: b # two\n  # three",
}

// sameTree compares what sops makes of a file with what is made of it here.
func sameTree(t *testing.T, name string, raw []byte) (read bool) {
	t.Helper()
	f, err := parse(name, raw)
	if err != nil {
		return false
	}
	var store sops.EncryptedFileLoader = sopsyaml.NewStore(&config.YAMLStoreConfig{})
	if f.json {
		store = sopsjson.NewStore(&config.JSONStoreConfig{})
	}
	want, wantErr := guardedTree(func() (*sops.Tree, error) {
		tree, err := store.LoadEncryptedFile(raw)
		return &tree, err
	})
	got, gotErr := guardedTree(func() (*sops.Tree, error) { return f.tree(raw) })
	if (wantErr == nil) != (gotErr == nil) {
		t.Fatalf("%s\n%s\nsops: %v, here: %v", name, raw, wantErr, gotErr)
	}
	if wantErr != nil {
		return false
	}
	for i, branch := range want.Branches {
		want.Branches[i] = withoutComments(branch).(sops.TreeBranch)
	}
	if diff := cmp.Diff(want.Branches, got.Branches, cmpopts.EquateNaNs()); diff != "" {
		t.Fatalf("%s\n%s\n(-sops +here)\n%s", name, raw, diff)
	}
	if !reflect.DeepEqual(want.Metadata, got.Metadata) {
		t.Fatalf("%s\n%s\nmetadata: %+v from sops, %+v from here", name, raw, want.Metadata, got.Metadata)
	}
	return true
}

// withoutComments leaves comments out of a tree of sops.
func withoutComments(v any) any {
	switch v := v.(type) {
	case sops.TreeBranch:
		kept := make(sops.TreeBranch, 0, len(v))
		for _, item := range v {
			if _, ok := item.Key.(sops.Comment); !ok {
				kept = append(kept, sops.TreeItem{Key: item.Key, Value: withoutComments(item.Value)})
			}
		}
		return kept
	case []any:
		kept := make([]any, 0, len(v))
		for _, item := range v {
			if _, ok := item.(sops.Comment); !ok {
				kept = append(kept, withoutComments(item))
			}
		}
		return kept
	}
	return v
}

func guardedTree(read func() (*sops.Tree, error)) (tree *sops.Tree, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return read()
}

// treeFiles puts a value into every place of a file.
func treeFiles(value string) (yamls, jsons []string) {
	indented := strings.ReplaceAll(value, "\n", "\n  ")
	for _, place := range []string{
		"k: %\n" + treeMetadata, "data:\n  k: %\n" + treeMetadata, "# first\n\nk:\n- %\n# last\n" + treeMetadata, treeMetadata + "k: %\n",
		treeMetadata + "---\nk: %\n", treeMetadata + "---\n---\nk: %\n", treeMetadata + "--- %\n", "%\n---\n" + treeMetadata, "%: v\n" + treeMetadata,
		treeMetadata + "    shamir_threshold: %\n", "a: &a\n  k: %\nb: *a\nc:\n  <<: *a\n" + treeMetadata,
		strings.Replace(treeMetadata, "3.13.3", "%", 1), strings.Replace(treeMetadata, "sops:", "sops: # x\n    # y", 1) + "k: %\n",
		strings.Replace(treeMetadata, `"2026-01-02T03:04:05Z"`, "%", 1), "sops: %\n", "k: %\n",
	} {
		yamls = append(yamls, strings.ReplaceAll(place, "%", indented))
	}
	for _, place := range []string{
		`{"k": %, ` + treeMetadataJSON + "}", `{"data": {"k": [%, {"x": %}]}, ` + treeMetadataJSON + "}", "%", `{"sops": %}`, `{"k": %}`,
		"{" + strings.Replace(treeMetadataJSON, `"3.13.3"`, "%", 1) + "}",
	} {
		jsons = append(jsons, strings.ReplaceAll(place, "%", value))
	}
	return yamls, jsons
}

// TestTree: a file that is accepted is what sops takes it for.
func TestTree(t *testing.T) {
	yamls, jsons := 0, 0
	for _, v := range append(treeValues, `"a"`, `"a\u263a\n"`, "-0", "1E3", "1e400", "-9223372036854775808", "1.5", "false", "[null, [], {}]") {
		y, j := treeFiles(v)
		for _, text := range y {
			if sameTree(t, "a.yaml", []byte(text)) {
				yamls++
			}
		}
		for _, text := range j {
			if sameTree(t, "a.json", []byte(text)) {
				jsons++
			}
		}
	}
	if yamls < 300 || jsons < 40 {
		t.Errorf("%d files of YAML and %d of JSON were read: the test compares little", yamls, jsons)
	}
}

// FuzzTree is [TestTree] for as long as one likes.
func FuzzTree(f *testing.F) {
	for _, v := range treeValues {
		f.Add([]byte("k: " + strings.ReplaceAll(v, "\n", "\n  ") + "\n" + treeMetadata))
	}
	f.Add([]byte(`{"k": [1, 1.5, "a", null, true, {}], ` + treeMetadataJSON + "}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		sameTree(t, "a.yaml", raw)
		sameTree(t, "a.json", raw)
	})
}
