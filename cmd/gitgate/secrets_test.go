package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitgate.dev/gitgate/test/testkit/sopskit"
)

const secretCanary = "hunter2-CANARY-51ce"

const plainSecret = "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData:\n  password: " + secretCanary + "\n"

// secretsCheckRepo is a directory that looks like a repository, with keys beside
// it.
type secretsCheckRepo struct {
	dir         string
	alice, carl *sopskit.Age
	backup      *sopskit.PGP
}

func newSecretsCheckRepo(t *testing.T) *secretsCheckRepo {
	t.Helper()
	r := &secretsCheckRepo{dir: t.TempDir()}
	var err error
	if r.alice, err = sopskit.NewAge(); err != nil {
		t.Fatal(err)
	}
	if r.carl, err = sopskit.NewAge(); err != nil {
		t.Fatal(err)
	}
	if r.backup, err = sopskit.NewPGP("backup"); err != nil {
		t.Fatal(err)
	}
	pgp, err := r.backup.PrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	r.write(t, ".git/HEAD", []byte(plainSecret)) // must not be read
	r.write(t, ".git/s.yaml", []byte(plainSecret))
	r.write(t, "cm.yaml", []byte("kind: ConfigMap\ndata: {a: b}\n"))
	r.write(t, "keys/alice.txt", r.alice.PrivateKey())
	r.write(t, "keys/carl.txt", r.carl.PrivateKey())
	r.write(t, "keys/backup", pgp)
	r.write(t, "keys/vault", []byte(secretCanary))
	return r
}

func (r *secretsCheckRepo) write(t *testing.T, name string, content []byte) {
	t.Helper()
	path := filepath.Join(r.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (r *secretsCheckRepo) encrypt(t *testing.T, name string, recipients ...sopskit.Recipient) []byte {
	t.Helper()
	raw, err := sopskit.Encrypt(name, []byte(plainSecret), sopskit.For(recipients...))
	if err != nil {
		t.Fatal(err)
	}
	r.write(t, name, raw)
	return raw
}

// check runs the command with paths relative to the repository and asserts that
// it shows no secret.
func (r *secretsCheckRepo) check(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Chdir(r.dir)
	var out, errs bytes.Buffer
	code = run(append([]string{"secrets", "check"}, args...), strings.NewReader(""), &out, &errs)
	for _, bad := range []string{secretCanary, "AGE-SECRET-KEY", "PRIVATE KEY"} {
		if strings.Contains(out.String()+errs.String(), bad) {
			t.Errorf("the output shows %q:\n%s%s", bad, &out, &errs)
		}
	}
	return code, out.String(), errs.String()
}

func TestSecretsCheck(t *testing.T) {
	tampered := func(t *testing.T, r *secretsCheckRepo, recipients ...sopskit.Recipient) {
		raw := r.encrypt(t, "s.yaml", recipients...)
		r.write(t, "s.yaml", bytes.Replace(raw, []byte("name: db"), []byte("name: evil"), 1))
	}
	rules := func(t *testing.T, r *secretsCheckRepo, recipients ...sopskit.Recipient) {
		r.write(t, ".sops.yaml", sopskit.Rules(recipients...))
	}
	for name, tc := range map[string]struct {
		reason string
		setup  func(t *testing.T, r *secretsCheckRepo)
		args   []string
		code   int
		want   []string // lines of stdout, by their start; or of stderr with code 2
	}{
		"Clean": {"Encrypted for those of the rule, and intact.", func(t *testing.T, r *secretsCheckRepo) {
			rules(t, r, r.alice, r.backup)
			r.encrypt(t, "a/b/s.yaml", r.alice, r.backup)
		}, []string{"--keys", "keys/alice.txt"}, 0, []string{"allow: 2 objects in 2 files"}},
		"PGPKey": {"Keys of any name, by what they hold.", func(t *testing.T, r *secretsCheckRepo) {
			rules(t, r, r.alice, r.backup)
			r.encrypt(t, "s.yaml", r.alice, r.backup)
		}, []string{"--keys", "keys/backup", "--keys", "keys/carl.txt"}, 0, []string{"allow: "}},
		"NoKey": {"CI without keys passes and says what it did not do.", func(t *testing.T, r *secretsCheckRepo) {
			tampered(t, r, r.alice)
		}, nil, 0, []string{"info secret SecretIntegrity: s.yaml: encrypted to 1 recipients; its MAC was not verified, for no --keys are given; its recipients were not compared, for there is no .sops.yaml", "allow: "}},
		"Tampered": {"The same file with a key.", func(t *testing.T, r *secretsCheckRepo) {
			rules(t, r, r.alice)
			tampered(t, r, r.alice)
		}, []string{"--keys", "keys/alice.txt"}, 1, []string{"deny secret SecretIntegrity: s.yaml: the MAC does not match", "deny: 1 findings in 2 files"}},
		"Plaintext": {"With file, line and field.", func(t *testing.T, r *secretsCheckRepo) {
			r.write(t, "x/s.yml", []byte("kind: A\n---\n"+plainSecret))
		}, []string{"x"}, 1, []string{"deny secret PlaintextSecret: x/s.yml:7: stringData.password: this value of a Secret is not encrypted", "deny: 1 findings in 1 files"}},
		"Generator": {"Plaintext by way of kustomize.", func(t *testing.T, r *secretsCheckRepo) {
			r.write(t, "Kustomization", []byte("secretGenerator:\n- literals: [a="+secretCanary+"]\n"))
		}, nil, 1, []string{"deny secret PlaintextSecret: Kustomization:2: secretGenerator[0].literals: ", "deny: "}},
		"WrongKey": {"No key opens it.", func(t *testing.T, r *secretsCheckRepo) {
			rules(t, r, r.alice)
			r.encrypt(t, "s.yaml", r.alice)
		}, []string{"--keys", "keys/carl.txt"}, 1, []string{"deny secret SecretUndecryptable: s.yaml: is encrypted to age ", "deny: "}},
		"Recipients": {"Carl left, the backup came; the nearest rules count.", func(t *testing.T, r *secretsCheckRepo) {
			r.write(t, ".sops.yaml", []byte("creation_rules: ["))
			r.write(t, "a/.sops.yaml", sopskit.Rules(r.alice, r.backup))
			r.encrypt(t, "a/s.yaml", r.alice, r.carl)
		}, []string{"a"}, 1, []string{"deny secret RecipientMissing: a/s.yaml: pgp ", "deny secret RecipientStale: a/s.yaml: age ", "info ", "deny: 2 "}},
		"BrokenRules": {"Reported once.", func(t *testing.T, r *secretsCheckRepo) {
			r.write(t, ".sops.yaml", []byte("creation_rules:\n- agee: x\n"))
			r.encrypt(t, "a.yaml", r.alice)
			r.encrypt(t, "b.yaml", r.alice)
		}, nil, 1, []string{"deny secret InvalidManifest: .sops.yaml:2: creation_rules[0]: has the field agee", "deny: 1 "}},
		"KeyService": {"The file names a Vault.", func(t *testing.T, r *secretsCheckRepo) {
			rules(t, r, r.alice)
			r.encrypt(t, "s.yaml", sopskit.Vault{Address: "http://127.0.0.1:1"})
		}, []string{"--keys", "keys/alice.txt"}, 1, []string{"deny secret KeyServiceDenied: s.yaml: ", "deny secret RecipientMissing: ", "deny secret RecipientStale: ", "deny: 3 "}},
		"NotBase64": {"What the API server would refuse, and quote.", func(t *testing.T, r *secretsCheckRepo) {
			rules(t, r, r.alice)
			raw, err := sopskit.Encrypt("s.yaml", []byte(strings.Replace(plainSecret, "stringData", "data", 1)), sopskit.For(r.alice))
			if err != nil {
				t.Fatal(err)
			}
			r.write(t, "s.yaml", raw)
		}, []string{"--keys", "keys/alice.txt"}, 1, []string{"deny secret InvalidManifest: s.yaml:6: data.password: does not decrypt to base64", "deny: "}},
		"ConfigMap": {"Ciphertext that the gate refuses, in the gate's words.", func(t *testing.T, r *secretsCheckRepo) {
			rules(t, r, r.alice)
			o := sopskit.For(r.alice)
			o.EncryptedRegex = "^data$"
			raw, err := sopskit.Encrypt("s.yaml", []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n  k: v\n"), o)
			if err != nil {
				t.Fatal(err)
			}
			r.write(t, "s.yaml", raw)
		}, []string{"--keys", "keys/alice.txt"}, 1, []string{"deny secret SecretIntegrity: s.yaml:6: data.k holds ciphertext, and only data and stringData of a Secret may: ", "info secret SecretIntegrity: s.yaml: encrypted to 1 recipients; its MAC was not verified, for the file is refused already", "deny: 1 "}},
		"Unreadable": {"Not YAML, so nobody knows.", func(t *testing.T, r *secretsCheckRepo) {
			r.write(t, "s.yaml", []byte("a: [\n"+secretCanary))
		}, nil, 1, []string{"deny secret InvalidManifest: s.yaml", "deny: "}},
		"NamedFile": {"A file by name, of a kind that holds no objects.", func(t *testing.T, r *secretsCheckRepo) {
			r.write(t, "s.env", []byte("A="+secretCanary))
		}, []string{"s.env"}, 1, []string{"deny secret InvalidManifest: s.env: only .yaml", "deny: "}},

		"NoSuchPath": {"A misspelt path checks nothing.", func(*testing.T, *secretsCheckRepo) {}, []string{"nowhere"}, 2, []string{"gitgate: lstat nowhere: "}},
		"NothingThere": {"Nor does a directory without manifests.", func(t *testing.T, r *secretsCheckRepo) {
			r.write(t, "empty/README.md", nil)
		}, []string{"empty"}, 2, []string{"gitgate: no YAML or JSON file under empty"}},
		"BadKey":    {"The message names the file and not the key.", func(*testing.T, *secretsCheckRepo) {}, []string{"--keys", "keys/vault"}, 2, []string{"gitgate: keys/vault: this is not a list of age identities"}},
		"NoKeyFile": {"A missing key must not mean fewer checks.", func(*testing.T, *secretsCheckRepo) {}, []string{"--keys", "keys/nobody"}, 2, []string{"gitgate: open keys/nobody"}},
		"Output":    {"Formats are a closed list.", func(*testing.T, *secretsCheckRepo) {}, []string{"-o", "yaml"}, 2, []string{"gitgate: -o yaml: want text or json"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newSecretsCheckRepo(t)
			tc.setup(t, r)
			code, stdout, stderr := r.check(t, tc.args...)
			got := strings.Split(strings.TrimSuffix(stdout+stderr, "\n"), "\n")
			if code != tc.code || len(got) != len(tc.want) {
				t.Fatalf("%s\nexit code %d, want %d\n%s%s", tc.reason, code, tc.code, stdout, stderr)
			}
			for i, want := range tc.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("%s\nline %d is  %s\nwant start %s", tc.reason, i, got[i], want)
				}
			}
		})
	}
}

func TestSecretsCheckJSON(t *testing.T) {
	r := newSecretsCheckRepo(t)
	r.write(t, "s.yaml", []byte(plainSecret))
	code, stdout, stderr := r.check(t, "-o", "json")
	if code != exitDenied || stderr != "" {
		t.Fatalf("exit code %d, stderr %q", code, stderr)
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if len(lines) != 2 {
		t.Fatalf("got %d lines, want a finding and the verdict:\n%s", len(lines), stdout)
	}
	var finding, last map[string]any
	for line, into := range map[string]*map[string]any{lines[0]: &finding, lines[1]: &last} {
		if err := json.Unmarshal([]byte(line), into); err != nil {
			t.Fatal(err)
		}
	}
	for field, want := range map[string]any{
		"stage": "secret", "reason": "PlaintextSecret", "severity": "deny", "file": "s.yaml", "line": 5.0, "field": "stringData.password",
	} {
		if finding[field] != want {
			t.Errorf("%s is %v, want %v", field, finding[field], want)
		}
	}
	if last["kind"] != "Verdict" || last["allowed"] != false || last["objects"] != 2.0 {
		t.Errorf("verdict is %s", lines[1])
	}
}
