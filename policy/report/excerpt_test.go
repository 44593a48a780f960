package report

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"gitgate.dev/gitgate/policy/verdict"
)

// canary stands for a secret in what follows. It must be nowhere.
const canary = "hunter2"

// TestNoExcerptShowsASecret tries the ways in which a secret gets near a finding.
func TestNoExcerptShowsASecret(t *testing.T) {
	const plain = "a: 1\nb: hunter2\nc: 3\n"
	far := strings.Repeat("#\n", 20)
	at := func(f verdict.Finding) verdict.Finding {
		f.Line, f.Severity, f.Message = 2, verdict.Deny, "m"
		return f
	}
	for name, tc := range map[string]struct {
		reason  string
		file    string
		text    string
		finding verdict.Finding
	}{
		"SecretStage":     {"What that stage finds fault with is a secret.", "a.yaml", plain, verdict.Finding{Stage: verdict.StageSecret}},
		"SecretObject":    {"The finding names a Secret.", "a.yaml", plain, verdict.Finding{Object: "shop/Secret/web"}},
		"SecretCluster":   {"A name without a namespace.", "a.yaml", plain, verdict.Finding{Object: "Secret/web"}},
		"SecretGroup":     {"Nobody knows what the Secret of another group holds.", "a.yaml", plain, verdict.Finding{Object: "x/Secret.example.com/web"}},
		"SecretSlashes":   {"Names from a repository may hold slashes.", "a.yaml", plain, verdict.Finding{Object: "shop/Secret/web/../x/y"}},
		"KindInFile":      {"A syntax error has no object.", "a.yaml", "kind: Secret\nb: hunter2\n", verdict.Finding{Stage: verdict.StageRender}},
		"OtherDocument":   {"One of several documents is a Secret.", "a.yaml", plain + "---\nkind: Secret\n", verdict.Finding{}},
		"QuotedKind":      {"Kinds can be quoted.", "a.yaml", plain + "\"kind\": \"Secret\"\n", verdict.Finding{}},
		"TaggedKind":      {"Kinds can be tagged.", "a.yaml", plain + "kind: !!str Secret\n", verdict.Finding{}},
		"LowerKind":       {"A kind in the wrong case holds the secret all the same.", "a.yaml", plain + "kind: secret\n", verdict.Finding{}},
		"EscapedKind":     {"Kinds can be escaped.", "a.yaml", plain + "kind: \"S\\u0065cret\"\n", verdict.Finding{}},
		"JSON":            {"JSON in one line.", "a.json", "{\"kind\":\"Secret\",\n\"b\":\"hunter2\"}\n", verdict.Finding{}},
		"StringData":      {"A patch may not say of what.", "a.yaml", plain + "stringData: {}\n", verdict.Finding{}},
		"Generator":       {"kustomize makes Secrets of literals.", "kustomization.yaml", "generators: 1\nb: hunter2\n" + far + "secretGenerator: []\n", verdict.Finding{}},
		"SOPS":            {"An encrypted file may be half encrypted.", "a.yaml", plain + "sops:\n  mac: x\n", verdict.Finding{}},
		"Ciphertext":      {"Ciphertext is nobody's business.", "a.yaml", plain + "d: ENC[AES256_GCM,data:x]\n", verdict.Finding{}},
		"PrivateKey":      {"Keys stand in ConfigMaps, too.", "a.yaml", plain + far + "k: |\n  -----BEGIN PRIVATE KEY-----\n", verdict.Finding{}},
		"Dotenv":          {"What is no manifest may be the input of a generator.", "prod.env", plain, verdict.Finding{}},
		"NoExtension":     {"As above.", "token", plain, verdict.Finding{}},
		"Password":        {"The key says so.", "a.yaml", "a: 1\npassword: hunter2\n", verdict.Finding{}},
		"Number":          {"Passwords can be numbers.", "a.yaml", "hunter2: x\npasswd: 123456 #hunter2\n", verdict.Finding{}},
		"NextLine":        {"The value may stand below.", "a.yaml", "apiToken:\n  hunter2\n", verdict.Finding{}},
		"EnvAbove":        {"The name of a variable stands above its value.", "a.yaml", "- name: DB_PASSWORD\n  value: hunter2\n", verdict.Finding{}},
		"Neighbour":       {"The line below is shown as well.", "a.yaml", "a: 1\nb: 2\napiKey: hunter2\n", verdict.Finding{}},
		"URL":             {"Passwords stand in URLs.", "a.yaml", "a: 1\nb: postgres://app:hunter2@db/shop\n", verdict.Finding{}},
		"Authorization":   {"A header.", "a.yaml", "a: 1\nb: 'Authorization: Basic hunter2'\n", verdict.Finding{}},
		"Blob":            {"What looks like a key is one.", "a.yaml", "a: 1\nb: hunter2AbCdEfGhIjKlMnOpQrStUvWxYz0123456789\n", verdict.Finding{}},
		"PullCredentials": {"dockerconfigjson.", "a.json", "{\"auths\": {\n\"auth\": \"hunter2\"}}\n", verdict.Finding{}},
		"LongLine":        {"Nobody reads on.", "a.yaml", "a: 1\nb: hunter2" + strings.Repeat(" x", 10_000) + "\n", verdict.Finding{}},
		"LargeFile":       {"A Secret may stand behind what is read.", "a.yaml", plain + strings.Repeat("#\n", maxExcerptFile), verdict.Finding{}},
	} {
		t.Run(name, func(t *testing.T) {
			f := at(tc.finding)
			f.File = tc.file
			if f.Stage == "" {
				f.Stage = verdict.StagePolicy
			}
			r := Report{Verdicts: []Named{{"", judge("", 1, allStages, allStages...)(f)}}, Files: fstest.MapFS{tc.file: {Data: []byte(tc.text)}}}
			for _, format := range Formats() {
				if out := write(t, format, r, Options{}); strings.Contains(out, canary) {
					t.Errorf("%s\n%s shows it:\n%s", tc.reason, format, clip(out, 2000))
				}
			}
		})
	}
}

// TestExcerptIsShown proves that TestNoExcerptShowsASecret is not true by showing
// nothing ever, and that ordinary manifests are not held for secret.
func TestExcerptIsShown(t *testing.T) {
	for name, tc := range map[string]struct {
		text  string
		field string
		line  int
		want  string
	}{
		"Canary":      {"a: 1\nb: hunter2\nc: 3\n", "", 2, "   1 | a: 1\n   2 | b: hunter2\n     | ^^^^^^^^^^\n   3 | c: 3\n"},
		"Key":         {"spec:\n  hostPID: true\n  x: 1\n", "spec.hostPID", 2, "   1 | spec:\n   2 |   hostPID: true\n     |   ^^^^^^^\n   3 |   x: 1\n"},
		"First":       {"hostPID: true\nx: 1\n", "hostPID", 1, "   1 | hostPID: true\n     | ^^^^^^^\n   2 | x: 1\n"},
		"Last":        {"x: 1\nhostPID: true", "hostPID", 2, "   1 | x: 1\n   2 | hostPID: true\n     | ^^^^^^^\n"},
		"Flow":        {"x: {y: 1, image: a, z: 2}\n", "x.image", 1, "   1 | x: {y: 1, image: a, z: 2}\n     |           ^^^^^\n"},
		"ListItem":    {"- image: a\n", "spec.containers[0].image", 1, "   1 | - image: a\n     |   ^^^^^\n"},
		"Index":       {"args: [a]\n", "spec.args[3]", 1, "   1 | args: [a]\n     | ^^^^\n"},
		"PartOfAKey":  {"myimage: 1\n", "image", 1, "   1 | myimage: 1\n     | ^^^^^^^^^^\n"},
		"NoKey":       {"  - a b \n", "spec.image", 1, "   1 |   - a b\n     |     ^^^\n"},
		"Tab":         {"\tx: 1\n", "x", 1, "   1 |   x: 1\n     |   ^\n"},
		"Wide":        {"界: {image: a}\n", "image", 1, "   1 | 界: {image: a}\n     |      ^^^^^\n"},
		"Digest":      {"image: a@sha256:" + strings.Repeat("0123abcd", 8) + "\n", "image", 1, "   1 | image: a@sha256:" + strings.Repeat("0123abcd", 8) + "\n     | ^^^^^\n"},
		"TokenSwitch": {"automountServiceAccountToken: true\n", "x", 1, "   1 | automountServiceAccountToken: true\n     | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"},
		"Carriage":    {"x: 1\r\ny: 2\r\n", "x", 1, "   1 | x: 1\n     | ^\n   2 | y: 2\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f := verdict.Finding{Stage: verdict.StagePolicy, Message: "m", File: "a.yaml", Line: tc.line, Field: tc.field}
			r := Report{Verdicts: []Named{{"", judge("", 1, allStages, allStages...)(f)}}, Files: fstest.MapFS{"a.yaml": {Data: []byte(tc.text)}}}
			want := strings.ReplaceAll("\n"+strings.TrimSuffix(tc.want, "\n"), "\n", "\n"+indent+" ") + "\n"
			if out := write(t, "text", r, Options{}); !strings.Contains(out, want) {
				t.Errorf("want%s\ngot\n%s", want, out)
			}
		})
	}
}

// TestNoExcerpt covers what has none.
func TestNoExcerpt(t *testing.T) {
	files := fstest.MapFS{"a.yaml": {Data: []byte("x: 1\n\ny: 2\n")}}
	for name, f := range map[string]verdict.Finding{
		"NoLine": {File: "a.yaml"}, "BlankLine": {File: "a.yaml", Line: 2}, "BeyondTheEnd": {File: "a.yaml", Line: 99},
		"Missing": {File: "b.yaml", Line: 1}, "Outside": {File: "../a.yaml", Line: 1}, "Absolute": {File: "/a.yaml", Line: 1},
		"Negative": {File: "a.yaml", Line: -1},
	} {
		t.Run(name, func(t *testing.T) {
			if e := (&excerpts{files: files}).of(f); e != nil {
				t.Errorf("%+v", *e)
			}
		})
	}
	if e := (&excerpts{}).of(verdict.Finding{File: "a.yaml", Line: 1}); e != nil {
		t.Error("an excerpt of no files")
	}
	x := &excerpts{files: files}
	for i := range maxExcerptFiles {
		x.of(verdict.Finding{File: fmt.Sprintf("%d.yaml", i), Line: 1})
	}
	if e := x.of(verdict.Finding{File: "a.yaml", Line: 1}); e != nil || x.read != maxExcerptFiles {
		t.Errorf("%d files were read", x.read)
	}
}
