package secrets_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/secrets"
	"gitgate.dev/gitgate/test/testkit/sopskit"
)

func open(t *testing.T, name string, raw []byte, keys *secrets.Keys) *secrets.Opened {
	t.Helper()
	opened := must[*secrets.Opened](t)(secrets.Open(t.Context(), name, raw, keys))
	t.Cleanup(opened.Close)
	return opened
}

func TestApplyToWhatKustomizeChanged(t *testing.T) {
	x := newAge(t)
	raw := encrypt(t, "s.yaml", secretYAML, sopskit.For(x))
	object := rendered(t, raw)[0]
	meta := object["metadata"].(map[string]any)
	meta["name"], meta["namespace"], meta["annotations"] = "prod-db", "prod", map[string]any{"team": "a"}
	got, err := open(t, "s.yaml", raw, keysOf(t, x)).Apply(0, object)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata":   map[string]any{"name": "prod-db", "namespace": "prod", "labels": map[string]any{"app": "shop"}, "annotations": map[string]any{"team": "a"}},
		"stringData": map[string]any{"password": canary, "url": "postgres://db/shop"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want(-) got(+):\n%s", diff)
	}
}

func TestApplyRefuses(t *testing.T) {
	x := newAge(t)
	keys := keysOf(t, x)
	raw := encrypt(t, "s.yaml", secretYAML+"---\n"+`apiVersion: v1
kind: Secret
metadata: {name: two}
stringData: {password: `+canary+`, number: 7}
---
apiVersion: v1
kind: Secret
metadata: {name: three}
data: {password: `+canary+`}
---
apiVersion: v1
kind: Secret
metadata: {name: four}
data: [`+canary+`]
`, sopskit.For(x))
	list := encrypt(t, "s.yaml", "kind: Thing\ndata:\n  list:\n    # "+canary+"\n    - c\n", sopskit.For(x))
	password := cipherOf(t, raw, "password")
	set := func(object map[string]any, field, key string, v any) map[string]any {
		m, ok := object[field].(map[string]any)
		if !ok {
			m = map[string]any{}
			object[field] = m
		}
		m[key] = v
		return object
	}
	for name, tc := range map[string]struct {
		reason   string
		raw      []byte
		document int
		change   func(map[string]any) map[string]any
		want     secrets.Reason
		field    string
	}{
		"Moved":          {"A replacement copies the ciphertext to a label.", raw, 0, func(o map[string]any) map[string]any { return set(o, "metadata", "name", password) }, secrets.SecretIntegrity, "metadata.name"},
		"MovedInSecret":  {"Another key of the same Secret.", raw, 0, func(o map[string]any) map[string]any { return set(o, "stringData", "url", password) }, secrets.SecretIntegrity, "stringData.url"},
		"OtherDocument":  {"The same key of another Secret.", raw, 1, func(o map[string]any) map[string]any { return set(o, "stringData", "password", password) }, secrets.SecretIntegrity, "stringData.password"},
		"OtherFile":      {"Ciphertext from nowhere.", raw, 0, func(o map[string]any) map[string]any { return set(o, "stringData", "password", flip(password)) }, secrets.SecretIntegrity, "stringData.password"},
		"Malformed":      {"What merely claims to be ciphertext.", raw, 0, func(o map[string]any) map[string]any { return set(o, "metadata", "name", "ENC[AES256_GCM,x]") }, secrets.SecretIntegrity, "metadata.name"},
		"PatchedIn":      {"A patch adds a plaintext value.", raw, 0, func(o map[string]any) map[string]any { return set(o, "data", "more", "aGVsbG8=") }, secrets.PlaintextSecret, "data.more"},
		"PatchedOver":    {"A patch replaces a value.", raw, 0, func(o map[string]any) map[string]any { return set(o, "stringData", "url", canary) }, secrets.PlaintextSecret, "stringData.url"},
		"Number":         {"The API server would quote it.", raw, 1, func(o map[string]any) map[string]any { return o }, secrets.InvalidManifest, "stringData.number"},
		"NotBase64":      {"The API server would quote it.", raw, 2, func(o map[string]any) map[string]any { return o }, secrets.InvalidManifest, "data.password"},
		"DataIsAList":    {"No Secret has that.", raw, 3, func(o map[string]any) map[string]any { return o }, secrets.InvalidManifest, "data"},
		"NoSuchDocument": {"An index from elsewhere.", raw, 9, func(o map[string]any) map[string]any { return o }, secrets.InvalidManifest, ""},
		"CommentAsValue": {"A comment is no value.", list, 0, func(o map[string]any) map[string]any {
			comment := o["data"].(map[string]any)["list"].([]any)[0]
			return set(o, "data", "list", comment)
		}, secrets.SecretIntegrity, "data.list"},
	} {
		t.Run(name, func(t *testing.T) {
			opened := open(t, "s.yaml", tc.raw, keys)
			docs := rendered(t, tc.raw)
			_, err := opened.Apply(tc.document, tc.change(docs[min(tc.document, len(docs)-1)]))
			if e := wantError(t, err, tc.want); e.Field != tc.field {
				t.Errorf("%s\nField = %q, want %q (%v)", tc.reason, e.Field, tc.field, err)
			}
		})
	}
}

func TestVerify(t *testing.T) {
	x := newAge(t)
	good := encrypt(t, "s.yaml", secretYAML, sopskit.For(x))
	if err := open(t, "s.yaml", good, keysOf(t, x)).Verify(); err != nil {
		t.Errorf("a good file: %v", err)
	}
	bad := encrypt(t, "s.yaml", secretYAML+"---\nkind: Secret\ndata:\n  a: "+canary+"\n", sopskit.For(x))
	err := open(t, "s.yaml", bad, keysOf(t, x)).Verify()
	if e := wantError(t, err, secrets.InvalidManifest); e.Field != "data.a" || !strings.Contains(line(bad, e.Line), "a: ENC[") {
		t.Errorf("points at %s, line %d", e.Field, e.Line)
	}
}

func TestClosedOpensNothing(t *testing.T) {
	x := newAge(t)
	raw := encrypt(t, "s.yaml", secretYAML, sopskit.For(x))
	opened := open(t, "s.yaml", raw, keysOf(t, x))
	before, err := opened.Apply(0, rendered(t, raw)[0])
	if err != nil {
		t.Fatal(err)
	}
	opened.Close()
	opened.Close()
	if got := before["stringData"].(map[string]any)["password"]; got != canary {
		t.Errorf("Close changed an object that Apply had returned: %q", got)
	}
	_, err = opened.Apply(0, rendered(t, raw)[0])
	wantError(t, err, secrets.SecretUndecryptable)
}

func TestKeysAndOpenedServeManyGoroutines(t *testing.T) {
	x, pgp := newAge(t), newPGP(t)
	ssh := must[*sopskit.Age](t)(sopskit.NewAgeSSH())
	keys := keysOf(t, ssh, x, pgp) // age moves native identities first, in place
	raw := encrypt(t, "s.yaml", secretYAML, sopskit.For(x, pgp))
	shared := open(t, "s.yaml", raw, keysOf(t, x))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			opened, err := secrets.Open(t.Context(), "s.yaml", raw, keys)
			if err != nil {
				t.Error(err)
				return
			}
			opened.Close()
			if _, err := shared.Apply(0, rendered(t, raw)[0]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestMasked(t *testing.T) {
	x := newAge(t)
	raw := encrypt(t, "s.yaml", "kind: ConfigMap\nmetadata: {name: c}\ndata: {a: "+canary+"}\n", sopskit.For(x))
	for name, tc := range map[string]struct {
		reason string
		object map[string]any
		want   string
	}{
		"Secret": {"Values go, keys stay, stringData is folded in.", map[string]any{
			"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "db", "annotations": map[string]any{
				"kubectl.kubernetes.io/last-applied-configuration": canary, "team": "a"}},
			"data": map[string]any{"a": canary, "b": ""}, "stringData": map[string]any{"c": canary, "n": int64(4)}, "type": "Opaque", "immutable": true},
			`{"apiVersion":"v1","data":{"a":"***","b":"***","c":"***","n":"***"},"immutable":true,"kind":"Secret","metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"***","team":"a"},"name":"db"},"type":"Opaque"}`},
		"NoData":        {"Structure is kept.", map[string]any{"kind": "Secret", "metadata": map[string]any{"name": "a"}}, `{"kind":"Secret","metadata":{"name":"a"}}`},
		"DataIsAString": {"Wrong, and still secret.", map[string]any{"kind": "Secret", "data": canary}, `{"data":"***","kind":"Secret"}`},
		"Encrypted":     {"Ciphertext and metadata tell a policy nothing.", rendered(t, raw)[0], `{"data":{"a":"***"},"kind":"ConfigMap","metadata":{"name":"c"}}`},
		"Embedded":      {"Ciphertext inside of a text.", map[string]any{"kind": "X", "spec": []any{"x ENC[AES256_GCM,data:"}}, `{"kind":"X","spec":["***"]}`},
		"ConfigMap":     {"What is no secret stays.", map[string]any{"kind": "ConfigMap", "data": map[string]any{"a": "b"}, "sops": "mine"}, `{"data":{"a":"b"},"kind":"ConfigMap","sops":"mine"}`},
		"List":          {"Secrets hide in lists.", map[string]any{"kind": "List", "items": []any{map[string]any{"kind": "Secret", "data": map[string]any{"a": canary}}, "x"}}, `{"items":[{"data":{"a":"***"},"kind":"Secret"},"x"],"kind":"List"}`},
	} {
		t.Run(name, func(t *testing.T) {
			before := must[[]byte](t)(json.Marshal(tc.object))
			got := must[[]byte](t)(json.Marshal(secrets.Masked(tc.object)))
			if string(got) != tc.want {
				t.Errorf("%s\ngot  %s\nwant %s", tc.reason, got, tc.want)
			}
			if after := must[[]byte](t)(json.Marshal(tc.object)); string(after) != string(before) {
				t.Errorf("Masked changed its input: %s", after)
			}
		})
	}
}
