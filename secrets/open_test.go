package secrets_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/getsops/sops/v3/decrypt"
	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/secrets"
	"gitgate.dev/gitgate/test/testkit/sopskit"
)

// openAll decrypts a file and applies it to each of its own documents.
func openAll(t *testing.T, name string, raw []byte, keys *secrets.Keys) ([]map[string]any, error) {
	t.Helper()
	opened, err := secrets.Open(t.Context(), name, raw, keys)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	noCanary(t, "Opened", opened)
	var out []map[string]any
	for i, doc := range rendered(t, raw) {
		before := rendered(t, raw)[i]
		object, err := opened.Apply(i, doc)
		if err != nil {
			return nil, err
		}
		if diff := cmp.Diff(before, doc); diff != "" {
			t.Errorf("Apply changed its input:\n%s", diff)
		}
		out = append(out, object)
	}
	return out, nil
}

const manyTypes = `apiVersion: example.com/v1
kind: Thing
metadata: {name: t}
data:
  text: hello
  empty: ""
  nothing: null
  int: 42
  negative: -7
  float: 1.5
  yes: true
  no: false
  when: 2026-01-02T03:04:05Z
  binary: !!binary aGVsbG8=
  long: |
    line one
    line two
  "dotted.key/slash": v
  list: [a, 1, [b, {c: d}], true]
  deep: {a: {b: {c: {d: e}}}}
`

func TestOpenGivesWhatSopsGives(t *testing.T) {
	x, hybrid, ssh, pgp := newAge(t), must[*sopskit.Age](t)(sopskit.NewAgeHybrid()), must[*sopskit.Age](t)(sopskit.NewAgeSSH()), newPGP(t)
	other := newAge(t)
	for name, tc := range map[string]struct {
		reason string
		file   string
		plain  string
		o      sopskit.Options
		keys   []sopskit.Recipient
	}{
		"AgeYAML":        {"The common case.", "s.yaml", secretYAML, sopskit.For(x), []sopskit.Recipient{x}},
		"AgeJSON":        {"JSON has a store of its own.", "s.json", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db"},"data":{"a":"aGVsbG8=","b":"w6Q="}}`, sopskit.For(x), []sopskit.Recipient{x}},
		"Hybrid":         {"age 1.3 has post-quantum keys.", "s.yaml", secretYAML, sopskit.For(hybrid), []sopskit.Recipient{hybrid}},
		"SSH":            {"age can use SSH keys.", "s.yaml", secretYAML, sopskit.For(ssh), []sopskit.Recipient{ssh}},
		"PGP":            {"PGP without gpg.", "s.yml", secretYAML, sopskit.For(pgp), []sopskit.Recipient{pgp}},
		"SecondOfThree":  {"Any recipient of a group will do.", "s.yaml", secretYAML, sopskit.For(other, x, pgp), []sopskit.Recipient{pgp}},
		"AllKeys":        {"More keys than needed do no harm.", "s.yaml", secretYAML, sopskit.For(x), []sopskit.Recipient{other, pgp, x}},
		"KeyGroups":      {"Two of three key groups restore the data key.", "s.yaml", secretYAML, sopskit.Options{Groups: [][]sopskit.Recipient{{x}, {other}, {pgp}}, Threshold: 2}, []sopskit.Recipient{x, pgp}},
		"WholeFile":      {"Without a rule sops encrypts kind and name too.", "s.yaml", secretYAML, sopskit.Options{Recipients: []sopskit.Recipient{x}, WholeFile: true}, []sopskit.Recipient{x}},
		"Types":          {"Every type of value comes back as it was.", "s.yaml", manyTypes, sopskit.For(x), []sopskit.Recipient{x}},
		"TypesWholeFile": {"Every type of value comes back as it was.", "s.yaml", manyTypes, sopskit.Options{Recipients: []sopskit.Recipient{x}, WholeFile: true}, []sopskit.Recipient{x}},
		"Documents":      {"The MAC covers all documents.", "s.yaml", secretYAML + "---\n" + strings.Replace(secretYAML, "name: db", "name: other", 1), sopskit.For(x), []sopskit.Recipient{x}},
		"Comments":       {"Comments, also in lists, vanish.", "s.yaml", "kind: Thing\n# top\ndata:\n  # above\n  a: b # beside\n  list:\n    # in a list\n    - c\n    - d # beside d\n", sopskit.For(x), []sopskit.Recipient{x}},
	} {
		t.Run(name, func(t *testing.T) {
			raw := encrypt(t, tc.file, tc.plain, tc.o)
			if strings.Contains(string(raw), canary) {
				t.Fatal("the file was not encrypted")
			}
			got, err := openAll(t, tc.file, raw, keysOf(t, tc.keys...))
			if err != nil {
				t.Fatalf("%s\n%v", tc.reason, err)
			}
			if diff := cmp.Diff(rendered(t, []byte(tc.plain)), got); diff != "" {
				t.Errorf("%s\nwant(-) got(+):\n%s", tc.reason, diff)
			}
			if name == "Comments" || tc.keys[0] != sopskit.Recipient(x) || name == "KeyGroups" {
				return // sops keeps comments, and asks gpg for the rest
			}
			t.Setenv("SOPS_AGE_KEY", string(x.PrivateKey()))
			format := "yaml"
			if strings.HasSuffix(tc.file, ".json") {
				format = "json"
			}
			theirs := must[[]byte](t)(decrypt.Data(raw, format))
			if diff := cmp.Diff(rendered(t, theirs), got); diff != "" {
				t.Errorf("sops(-) ours(+):\n%s", diff)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	x, other, pgp := newAge(t), newAge(t), newPGP(t)
	good := encrypt(t, "s.yaml", secretYAML, sopskit.For(x, pgp))
	two := encrypt(t, "s.yaml", secretYAML+"---\n"+strings.Replace(secretYAML, "name: db", "name: two", 1), sopskit.For(x))
	password := cipherOf(t, good, "password")
	for name, tc := range map[string]struct {
		reason string
		file   string
		raw    []byte
		keys   *secrets.Keys
		want   secrets.Reason
		field  string
	}{
		"NoKeys":           {"Nothing opens without a key.", "s.yaml", good, nil, secrets.SecretUndecryptable, ""},
		"ZeroKeys":         {"The zero Keys open nothing.", "s.yaml", good, &secrets.Keys{}, secrets.SecretUndecryptable, ""},
		"OtherAge":         {"A key that is no recipient.", "s.yaml", good, keysOf(t, other), secrets.SecretUndecryptable, ""},
		"OtherPGP":         {"A key that is no recipient.", "s.yaml", good, keysOf(t, newPGP(t)), secrets.SecretUndecryptable, ""},
		"NotEncrypted":     {"A plain file is not silently passed on.", "s.yaml", []byte("kind: ConfigMap\n"), keysOf(t, x), secrets.SecretUndecryptable, ""},
		"PlaintextFile":    {"Nor is a plain Secret.", "s.yaml", []byte(secretYAML), keysOf(t, x), secrets.SecretUndecryptable, ""},
		"Extension":        {"Formats that hold no objects.", "s.env", good, keysOf(t, x), secrets.InvalidManifest, ""},
		"MACGone":          {"Without a MAC nothing vouches for plaintext.", "s.yaml", dropLine(t, good, "    mac:"), keysOf(t, x), secrets.SecretIntegrity, ""},
		"MACEmpty":         {"An empty MAC decrypts to an empty string in sops.", "s.yaml", setLine(t, good, "    mac:", `    mac: ""`), keysOf(t, x), secrets.SecretIntegrity, ""},
		"MACForeign":       {"A ciphertext is not a MAC.", "s.yaml", setLine(t, good, "    mac:", "    mac: "+password), keysOf(t, x), secrets.SecretIntegrity, ""},
		"TimeChanged":      {"The time is bound to the MAC.", "s.yaml", replace(t, good, "2026-01-02T03:04:05Z", "2026-01-02T03:04:06Z"), keysOf(t, x), secrets.SecretIntegrity, ""},
		"TimeMalformed":    {"Metadata that sops cannot read.", "s.yaml", replace(t, good, "2026-01-02T03:04:05Z", "yesterday"), keysOf(t, x), secrets.SecretUndecryptable, ""},
		"LabelChanged":     {"The MAC covers plaintext values.", "s.yaml", replace(t, good, "app: shop", "app: evil"), keysOf(t, x), secrets.SecretIntegrity, ""},
		"ValueFlipped":     {"One changed byte.", "s.yaml", replace(t, good, password, flip(password)), keysOf(t, x), secrets.SecretIntegrity, "stringData.password"},
		"ValuesSwapped":    {"Ciphertext is bound to its keys.", "s.yaml", replace(t, good, password, cipherOf(t, good, "url")), keysOf(t, x), secrets.SecretIntegrity, "stringData.password"},
		"KeyRenamed":       {"Ciphertext is bound to its keys.", "s.yaml", replace(t, good, "password: ENC", "passwd: ENC"), keysOf(t, x), secrets.SecretIntegrity, "stringData.passwd"},
		"TrailingText":     {"sops ignores what follows the bracket.", "s.yaml", replace(t, good, password, password+" x"), keysOf(t, x), secrets.PlaintextSecret, "stringData.password"},
		"ValueRemoved":     {"The MAC covers what is there.", "s.yaml", dropLine(t, good, "    url:"), keysOf(t, x), secrets.SecretIntegrity, ""},
		"PlaintextAdded":   {"Plaintext in a Secret, wherever the rule ends.", "s.yaml", replace(t, good, "stringData:", "data:\n    more: aGVsbG8=\nstringData:"), keysOf(t, x), secrets.PlaintextSecret, "data.more"},
		"RegexChanged":     {"What is encrypted is not for the file to change.", "s.yaml", replace(t, good, "^(data|stringData)$", "^data$"), keysOf(t, x), secrets.SecretIntegrity, "stringData.password"},
		"RegexBroken":      {"sops takes it for one that matches nothing.", "s.yaml", replace(t, good, "^(data|stringData)$", "^(data"), keysOf(t, x), secrets.SecretUndecryptable, ""},
		"RegexCostly":      {"sops compiles it for each key of each value.", "s.yaml", replace(t, good, "^(data|stringData)$", "(data|x{1000})"), keysOf(t, x), secrets.SecretUndecryptable, ""},
		"DocumentAdded":    {"Only sops adds documents.", "s.yaml", append(append([]byte{}, good...), "---\nkind: ConfigMap\n"...), keysOf(t, x), secrets.SecretIntegrity, ""},
		"DocumentRemoved":  {"The MAC covers all documents.", "s.yaml", two[:strings.Index(string(two), "---\n")], keysOf(t, x), secrets.SecretIntegrity, ""},
		"DocumentsJoined":  {"sops would verify only the first.", "s.yaml", []byte(string(good) + "---\n" + string(encrypt(t, "s.yaml", secretYAML, sopskit.For(x)))), keysOf(t, x), secrets.SecretUndecryptable, ""},
		"SecondEncrypted":  {"Metadata must be in the first document too.", "s.yaml", []byte("kind: ConfigMap\n---\n" + string(good)), keysOf(t, x), secrets.SecretIntegrity, ""},
		"MetadataStripped": {"Ciphertext without metadata.", "s.yaml", good[:strings.Index(string(good), "sops:")], keysOf(t, x), secrets.SecretIntegrity, ""},
		"Alias":            {"sops expands aliases without a limit.", "s.yaml", replace(t, good, "app: shop", "app: &a shop\n        b: *a"), keysOf(t, x), secrets.SecretIntegrity, ""},
		"DuplicateKey":     {"Parsers disagree which counts.", "s.yaml", replace(t, good, "type: Opaque", "type: Opaque\ntype: Opaque"), keysOf(t, x), secrets.InvalidManifest, ""},
		"CiphertextCopied": {"Ciphertext outside of what is encrypted.", "s.yaml", replace(t, good, "app: shop", "app: "+password), keysOf(t, x), secrets.SecretIntegrity, "metadata.labels.app"},
		"NonStringKey":     {"Kubernetes has string keys only.", "s.yaml", replace(t, good, "app: shop", "1: shop"), keysOf(t, x), secrets.InvalidManifest, ""},
		"SopsIsAString":    {"Not metadata, but ciphertext is there.", "s.yaml", []byte(string(good[:strings.Index(string(good), "sops:")]) + "sops: nothing\n"), keysOf(t, x), secrets.SecretIntegrity, ""},
		"TooLarge":         {"A bound on memory.", "s.yaml", append([]byte("a: "), make([]byte, secrets.MaxFileSize)...), keysOf(t, x), secrets.InvalidManifest, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := openAll(t, tc.file, tc.raw, tc.keys)
			e := wantError(t, err, tc.want)
			if e.Field != tc.field {
				t.Errorf("%s\nField = %q, want %q (%v)", tc.reason, e.Field, tc.field, err)
			}
			if tc.field != "" && (e.Line == 0 || !strings.Contains(line(tc.raw, e.Line), tc.field[strings.LastIndex(tc.field, ".")+1:])) {
				t.Errorf("%s\nLine = %d, which is %q", tc.reason, e.Line, line(tc.raw, e.Line))
			}
		})
	}
}

func TestOpenStopsWithItsContext(t *testing.T) {
	x := newAge(t)
	raw := encrypt(t, "s.yaml", secretYAML, sopskit.For(x))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := secrets.Open(ctx, "s.yaml", raw, keysOf(t, x)); !errors.Is(err, context.Canceled) {
		t.Errorf("Open = %v, want context.Canceled", err)
	}
}

// cipherOf returns the ciphertext of a key.
func cipherOf(t *testing.T, raw []byte, key string) string {
	t.Helper()
	_, rest, ok := strings.Cut(string(raw), key+": ENC[")
	if !ok {
		t.Fatalf("no ciphertext for %s:\n%s", key, raw)
	}
	text, _, _ := strings.Cut(rest, "\n")
	return "ENC[" + text
}

// flip changes the first byte of the data of a ciphertext.
func flip(ciphertext string) string {
	const prefix = "ENC[AES256_GCM,data:"
	first := "A"
	if ciphertext[len(prefix)] == 'A' {
		first = "B"
	}
	return prefix + first + ciphertext[len(prefix)+1:]
}

func dropLine(t *testing.T, raw []byte, prefix string) []byte {
	t.Helper()
	return setLine(t, raw, prefix, "")
}

// setLine replaces the first line that starts with a prefix.
func setLine(t *testing.T, raw []byte, prefix, text string) []byte {
	t.Helper()
	lines := strings.Split(string(raw), "\n")
	for i := range lines {
		if strings.HasPrefix(lines[i], prefix) {
			lines[i] = text
			return []byte(strings.Join(lines, "\n"))
		}
	}
	t.Fatalf("no line starts with %q:\n%s", prefix, raw)
	return nil
}

func line(raw []byte, n int) string {
	lines := strings.Split(string(raw), "\n")
	if n < 1 || n > len(lines) {
		return ""
	}
	return lines[n-1]
}
