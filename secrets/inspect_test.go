package secrets_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/secrets"
	"gitgate.dev/gitgate/test/testkit/sopskit"
)

func TestInspect(t *testing.T) {
	x, pgp := newAge(t), newPGP(t)
	vault := sopskit.Vault{Address: "https://vault.example.com"}
	got, err := secrets.Inspect("s.yaml", encrypt(t, "s.yaml", secretYAML+"---\nkind: ConfigMap\ndata: {a: b}\n",
		sopskit.Options{Groups: [][]sopskit.Recipient{{x, vault}, {pgp}}, Threshold: 2}))
	if err != nil {
		t.Fatal(err)
	}
	want := secrets.Info{
		Encrypted: true, Documents: 2, Threshold: 2, Version: sopskit.Version, LastModified: sopskit.DefaultTime,
		Recipients: []secrets.Recipient{
			{Type: secrets.TypeVault, ID: "https://vault.example.com/v1/sops/keys/gitgate"},
			{Type: secrets.TypeAge, ID: x.ID()}, {Type: secrets.TypePGP, ID: pgp.ID(), Group: 1}},
		EncryptedPaths: []string{"[0].stringData.password", "[0].stringData.url", "[1].data.a"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want(-) got(+):\n%s", diff)
	}

	plain, err := secrets.Inspect("c.yaml", []byte("kind: ConfigMap\nsops: mine\n---\n---\nkind: X\n"))
	if diff := cmp.Diff(secrets.Info{Documents: 2}, plain); err != nil || diff != "" {
		t.Errorf("a plain file: %v\n%s", err, diff)
	}
}

func TestCheckFindsPlaintext(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		file   string
		raw    string
		want   []string // line field
	}{
		"StringData":    {"The plain case.", "s.yaml", "apiVersion: v1\nkind: Secret\nstringData:\n  ok: \"\"\n  password: " + canary + "\n", []string{"5 stringData.password"}},
		"Data":          {"base64 is no encryption.", "s.yaml", "apiVersion: v1\nkind: Secret\ndata:\n  tls.key: aGVsbG8=\n", []string{`4 data["tls.key"]`}},
		"Number":        {"Any scalar.", "s.yaml", "kind: Secret\ndata:\n  pin: 1234\n", []string{"3 data.pin"}},
		"Nested":        {"Any depth.", "s.yaml", "kind: Secret\ndata:\n  a:\n  - b: " + canary + "\n", []string{"4 data.a[0].b"}},
		"Block":         {"A value on other lines.", "s.yaml", "kind: Secret\nstringData:\n  a: |\n    " + canary + "\n", []string{"3 stringData.a"}},
		"DataIsText":    {"No map, still text.", "s.yaml", "kind: Secret\ndata: " + canary + "\n", []string{"2 data"}},
		"Alias":         {"Aliases are followed.", "s.yaml", "x: &p " + canary + "\nkind: Secret\nstringData:\n  a: *p\n", []string{"4 stringData.a"}},
		"Merge":         {"So are merge keys.", "s.yaml", "x: &p {stringData: {a: " + canary + "}}\nkind: Secret\n<<: *p\n", []string{"1 stringData.a"}},
		"SecondOfThree": {"Every document.", "s.yaml", "kind: A\n---\nkind: Secret\ndata: {a: " + canary + "}\n---\nkind: B\n", []string{"4 data.a"}},
		"List":          {"Lists are flattened when applied.", "s.yaml", "kind: List\nitems:\n- kind: Secret\n  data:\n    a: " + canary + "\n", []string{"5 items[0].data.a"}},
		"JSON":          {"JSON has lines too.", "s.json", "{\n\"kind\": \"Secret\",\n\"data\": {\n\"a\": \"" + canary + "\"}}", []string{"4 data.a"}},
		"Generator":     {"kustomize makes a plain Secret of it.", "kustomization.yaml", "secretGenerator:\n- name: a\n  literals:\n  - a=" + canary + "\n- name: b\n  envs: [.env]\n", []string{"3 secretGenerator[0].literals", "6 secretGenerator[1].envs"}},
		"Kustomization": {"The third name of the file.", "x/Kustomization", "secretGenerator:\n- files: [a]\n", []string{"2 secretGenerator[0].files"}},
		"Imitation":     {"Looks alike, is not of the right form.", "s.yaml", "kind: Secret\nstringData:\n  a: ENC[AES256_GCM,data:" + canary + ",iv:AAAA,tag:AAAA,type:str]\n", []string{"3 stringData.a"}},

		"NoData":      {"A token Secret is filled by the server.", "s.yaml", "kind: Secret\ntype: kubernetes.io/service-account-token\n", nil},
		"Empty":       {"Nothing to hide.", "s.yaml", "kind: Secret\ndata: {}\nstringData:\n  a: \"\"\n  b: null\n", nil},
		"ConfigMap":   {"Not a Secret.", "s.yaml", "kind: ConfigMap\ndata: {a: b}\n", nil},
		"OtherGroup":  {"Not a Secret of the core group.", "s.yaml", "apiVersion: vault.example.com/v1\nkind: Secret\ndata: {a: b}\n", nil},
		"NoGenerator": {"configMapGenerator makes no Secret.", "kustomization.yml", "configMapGenerator:\n- literals: [a=b]\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, found := secrets.Check(tc.file, []byte(tc.raw))
			var got []string
			for _, e := range found {
				wantError(t, e, secrets.PlaintextSecret)
				got = append(got, fmt.Sprintf("%d %s", e.Line, e.Field))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nwant(-) got(+):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestCheckAcceptsEncrypted(t *testing.T) {
	info, found := secrets.Check("s.yaml", encrypt(t, "s.yaml", secretYAML, sopskit.For(newAge(t))))
	if len(found) > 0 || !info.Encrypted {
		t.Errorf("Check = %+v, %v", info, found)
	}
}

func TestCheckRefusesMalformed(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'i'; c++ {
		p := string(c - 1)
		bomb += fmt.Sprintf("%c: &%c [*%s,*%s,*%s,*%s,*%s,*%s,*%s,*%s]\n", c, c, p, p, p, p, p, p, p, p)
	}
	for name, tc := range map[string]struct{ reason, file, raw string }{
		"Syntax":        {"Not YAML.", "s.yaml", "a: [" + canary},
		"Anchor":        {"The library quotes the anchor.", "s.yaml", "password: *" + canary},
		"Bomb":          {"Aliases multiply.", "s.yaml", bomb},
		"SelfAlias":     {"An alias of what contains it.", "s.yaml", "a: &a [*a]\n"},
		"Deep":          {"Nesting.", "s.yaml", "a: " + strings.Repeat("[", 1000) + strings.Repeat("]", 1000)},
		"DeepJSON":      {"Nesting.", "s.json", strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000)},
		"Tag":           {"Tags make objects of other kinds.", "s.yaml", "a: !secret " + canary},
		"Duplicate":     {"Parsers disagree which counts.", "s.yaml", "a: 1\na: 2\n"},
		"DuplicateJSON": {"Parsers disagree which counts.", "s.json", `{"a":1,"a":2}`},
		"TwoJSON":       {"sops reads the first only.", "s.json", `{"a":1}{"b":2}`},
		"CutJSON":       {"sops takes the end of a file for the end of an object.", "s.json", `{"a":"` + canary + `"`},
		"BOM":           {"Encodings.", "s.yaml", "\ufeffa: 1"},
		"UTF16":         {"Encodings.", "s.yaml", "\xff\xfea\x00:\x00 \x001\x00"},
		"NUL":           {"Encodings.", "s.yaml", "a: \x00"},
		"MapKey":        {"Keys are strings.", "s.yaml", "? {a: b}\n: c\n"},
	} {
		t.Run(name, func(t *testing.T) {
			_, found := secrets.Check(tc.file, []byte(tc.raw))
			if len(found) != 1 {
				t.Fatalf("%s\ngot %v, want one problem", tc.reason, found)
			}
			wantError(t, found[0], secrets.InvalidManifest)
			_, err := secrets.Inspect(tc.file, []byte(tc.raw))
			wantError(t, err, secrets.InvalidManifest)
		})
	}
}

func TestPlaintextLeaves(t *testing.T) {
	x := newAge(t)
	raw := encrypt(t, "s.yaml", secretYAML, sopskit.For(x))
	object := rendered(t, raw)[0]
	if got := secrets.PlaintextLeaves(object); len(got) > 0 {
		t.Errorf("an encrypted Secret has plaintext at %v", got)
	}
	object["data"] = map[string]any{"z": canary, "a b\n": int64(3)}
	if diff := cmp.Diff([]string{`data["a b\n"]`, "data.z"}, secrets.PlaintextLeaves(object)); diff != "" {
		t.Errorf("want(-) got(+):\n%s", diff)
	}
}

// What the gate refuses in a rendered object Check refuses in the file, with its
// line.
func TestCheckFindsMisplacedCiphertext(t *testing.T) {
	configMap := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\ndata:\n  k: v\n"
	stray := " holds ciphertext, and only data and stringData of a Secret may: rules and image checks could not see what it becomes; set encrypted_regex to \"^(data|stringData)$\" and encrypt again"
	for name, tc := range map[string]struct {
		reason, plain, regex string
		want                 []string // line field reason message
	}{
		"Secret":      {"Where ciphertext belongs.", secretYAML, "", nil},
		"ConfigMap":   {"Its values are judged.", configMap, "^data$", []string{"6 data.k SecretIntegrity data.k" + stray}},
		"SecretLabel": {"Labels select policies.", secretYAML, "^(stringData|app)$", []string{"7 metadata.labels.app SecretIntegrity metadata.labels.app" + stray}},
		"SecretType":  {"The type grants.", secretYAML, "^(stringData|type)$", []string{"8 type SecretIntegrity type" + stray}},
		"Second": {"Every document; many fields in one problem.", secretYAML + "---\nkind: Job\nspec:\n  a: b\n  c: d\n  e: f\n  g: h\n", "^(stringData|spec)$",
			[]string{"30 spec.a SecretIntegrity spec.a, spec.c, spec.e and 1 more fields" + stray}},
		"List": {"Lists are taken apart when rendered.", "apiVersion: v1\nkind: List\nitems:\n- kind: ConfigMap\n  data:\n    k: v\n- kind: Secret\n  data:\n    k: v\n", "^data$",
			[]string{"6 items[0].data.k SecretIntegrity data.k" + stray}},
		"SecretList":  {"Its items leave out what they are.", "apiVersion: v1\nkind: SecretList\nitems:\n- data:\n    k: v\n", "^data$", nil},
		"NoManifest":  {"Values for another tool are never applied.", "replicas: 3\npassword: x\n", "", nil},
		"ListOfLists": {"Not rendered at all, so not excused.", "kind: List\nitems:\n- kind: List\n  items:\n  - kind: Secret\n    data:\n      k: v\n", "^data$", []string{"7 items[0].items[0].data.k SecretIntegrity items[0].data.k" + stray}},
	} {
		t.Run(name, func(t *testing.T) {
			o := sopskit.For(newAge(t))
			o.EncryptedRegex = tc.regex
			raw := encrypt(t, "s.yaml", tc.plain, o)
			info, found := secrets.Check("s.yaml", raw)
			var got []string
			for _, e := range found {
				got = append(got, fmt.Sprintf("%d %s %s %s", e.Line, e.Field, e.Reason, e.Message))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nwant(-) got(+):\n%s\n%s", tc.reason, diff, raw)
			}
			if !info.Encrypted {
				t.Error("nothing is encrypted")
			}
		})
	}
}

// An item of a typed list is a Secret though it does not say so.
func TestCheckLooksIntoTypedLists(t *testing.T) {
	_, found := secrets.Check("s.yaml", []byte("apiVersion: v1\nkind: SecretList\nitems:\n- data:\n    a: "+canary+"\n"))
	if len(found) != 1 {
		t.Fatalf("got %v", found)
	}
	if e := wantError(t, found[0], secrets.PlaintextSecret); e.Line != 5 || e.Field != "items[0].data.a" {
		t.Errorf("found at %d %s", e.Line, e.Field)
	}
}

func TestCheckObject(t *testing.T) {
	x := newAge(t)
	sealed := func() map[string]any {
		return rendered(t, encrypt(t, "s.yaml", secretYAML, sopskit.For(x)))[0]
	}
	for name, tc := range map[string]struct {
		reason    string
		encrypted bool
		change    func(o map[string]any)
		want      secrets.Reason // empty for none
		field     string
	}{
		"Sealed":    {"As sops wrote it.", true, func(map[string]any) {}, "", ""},
		"Patched":   {"Metadata from elsewhere.", false, func(o map[string]any) { delete(o, "stringData") }, secrets.SecretIntegrity, "sops"},
		"Orphan":    {"Ciphertext of which nobody knows the key.", false, func(o map[string]any) { delete(o, "sops") }, secrets.SecretUndecryptable, "stringData.password"},
		"Plaintext": {"Not encrypted at all.", false, func(o map[string]any) { o["stringData"] = map[string]any{"a": canary}; delete(o, "sops") }, secrets.PlaintextSecret, "stringData.a"},
		"Inner":     {"Ciphertext within other text.", true, func(o map[string]any) { o["type"] = "x" + ciphertextOf(o) }, secrets.SecretIntegrity, "type"},
		"NotSecret": {"A ConfigMap may talk of ciphertext.", false, func(o map[string]any) { o["kind"] = "ConfigMap"; delete(o, "sops") }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := sealed()
			tc.change(o)
			err := secrets.CheckObject("app/s.yaml", o, tc.encrypted)
			if tc.want == "" {
				if err != nil {
					t.Errorf("%s\n%v", tc.reason, err)
				}
				return
			}
			if e := wantError(t, err, tc.want); e.Field != tc.field || e.Path != "app/s.yaml" {
				t.Errorf("%s\nfield %q of %q, want %q", tc.reason, e.Field, e.Path, tc.field)
			}
		})
	}
}

func ciphertextOf(o map[string]any) string {
	return o["stringData"].(map[string]any)["password"].(string)
}
