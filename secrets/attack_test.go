package secrets_test

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/getsops/sops/v3/decrypt"
	"github.com/getsops/sops/v3/logging"
	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/secrets"
	"gitgate.dev/gitgate/test/testkit/sopskit"
)

// sopsAccepts reports whether sops itself decrypts a file with an age key: the
// control that shows what an attack gains where our check is missing.
func sopsAccepts(t *testing.T, raw []byte, key *sopskit.Age) bool {
	t.Helper()
	t.Setenv("SOPS_AGE_KEY", string(key.PrivateKey()))
	_, err := decrypt.Data(raw, "yaml")
	return err == nil
}

func TestAttack_S1_PlaintextUnderMACOnlyEncrypted(t *testing.T) {
	x := newAge(t)
	raw := encrypt(t, "s.yaml", secretYAML, sopskit.Options{Recipients: []sopskit.Recipient{x}, MACOnlyEncrypted: true})
	edited := replace(t, raw, "namespace: shop", "namespace: evil")
	if !sopsAccepts(t, edited, x) {
		t.Error("sops notices the edit: this test shows nothing")
	}
	for name, raw := range map[string][]byte{"Edited": edited, "Untouched": raw} {
		_, err := secrets.Open(t.Context(), "s.yaml", raw, keysOf(t, x))
		if e := wantError(t, err, secrets.SecretIntegrity); e.Line == 0 {
			t.Errorf("%s: no line in %v", name, err)
		}
		info, found := secrets.Check("s.yaml", raw) // CI says so without a key
		if !info.MACOnlyEncrypted || len(found) != 1 || found[0].Reason != secrets.SecretIntegrity {
			t.Errorf("%s: Check = %+v, %v", name, info, found)
		}
	}
}

func TestAttack_S1_CommentsSwapped(t *testing.T) {
	x := newAge(t)
	const plain = "kind: Thing\n# plain\ndata:\n  # one\n  a: b\n  # two\n  c: d\n  list:\n    # three\n    - e\n    # four\n    - f\n"
	raw := encrypt(t, "s.yaml", plain, sopskit.For(x))
	var comments []string
	for l := range strings.Lines(string(raw)) {
		if _, text, ok := strings.Cut(strings.TrimSuffix(l, "\n"), "#ENC["); ok {
			comments = append(comments, "#ENC["+text)
		}
	}
	if len(comments) < 2 {
		t.Fatalf("want two encrypted comments:\n%s", raw)
	}
	swapped := strings.NewReplacer(comments[0], comments[1], comments[1], comments[0], "# plain", "# "+canary).Replace(string(raw))
	if swapped == string(raw) || !sopsAccepts(t, []byte(swapped), x) {
		t.Error("sops notices the swap: this test shows nothing")
	}
	want, err := openAll(t, "s.yaml", raw, keysOf(t, x))
	if err != nil {
		t.Fatal(err)
	}
	got, err := openAll(t, "s.yaml", []byte(swapped), keysOf(t, x))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("comments changed what is applied: %v\n%s", err, diff)
	}
	if diff := cmp.Diff(rendered(t, []byte(plain)), got); diff != "" {
		t.Errorf("want(-) got(+):\n%s", diff)
	}
}

func TestAttack_S1_CommentsChooseWhatIsEncrypted(t *testing.T) {
	x := newAge(t)
	raw := encrypt(t, "s.yaml", secretYAML, sopskit.For(x))
	for _, field := range []string{"encrypted_comment_regex", "unencrypted_comment_regex"} {
		raw := replace(t, raw, "encrypted_regex", field)
		_, err := secrets.Open(t.Context(), "s.yaml", raw, keysOf(t, x))
		if e := wantError(t, err, secrets.SecretIntegrity); !strings.Contains(e.Message, "comments choose") {
			t.Errorf("%s: refused for another reason: %v", field, err)
		}
		if _, found := secrets.Check("s.yaml", raw); len(found) != 1 || found[0].Reason != secrets.SecretIntegrity {
			t.Errorf("%s: Check = %v", field, found)
		}
	}
}

// The MAC of SOPS does not see these edits, and neither do we: this test records
// what only the signature on the commit protects.
func TestAttack_S2_MACGrantsNothing(t *testing.T) {
	x := newAge(t)
	raw := encrypt(t, "s.yaml", secretYAML+"---\nkind: Thing\nports: [\"23\"]\n", sopskit.For(x))
	for name, edit := range map[string]struct{ old, new string }{
		"PlaintextKeyRenamed": {"app: shop", "tier: shop"},
		"ValueSplit":          {`- "23"`, `- "2"` + "\n    - \"3\""},
		"EmptyValueAdded":     {"app: shop", "app: shop\n        more: \"\""},
		"NullAdded":           {"app: shop", "app: shop\n        more: null"},
	} {
		t.Run(name, func(t *testing.T) {
			edited := replace(t, raw, edit.old, edit.new)
			if !sopsAccepts(t, edited, x) {
				t.Error("sops notices the edit: update the documentation of this package")
			}
			if _, err := openAll(t, "s.yaml", edited, keysOf(t, x)); err != nil {
				t.Errorf("Open behaves otherwise than documented: %v", err)
			}
		})
	}
}

// The type in a ciphertext is not authenticated either, but a Secret holds
// strings alone.
func TestAttack_S2_TypeOfValueChanged(t *testing.T) {
	x := newAge(t)
	raw := encrypt(t, "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {port: \"5432\"}\n", sopskit.For(x))
	edited := replace(t, raw, "type:str]\nsops", "type:int]\nsops")
	if !sopsAccepts(t, edited, x) {
		t.Error("sops notices the edit: this test shows nothing")
	}
	_, err := openAll(t, "s.yaml", edited, keysOf(t, x))
	wantError(t, err, secrets.InvalidManifest)
}

// Whoever knows the public key can write a valid file: that it opens proves
// nothing about its author. The rules at least see who else can no longer read it.
func TestAttack_S3_ReencryptedToPublicKey(t *testing.T) {
	x, backup := newAge(t), newPGP(t)
	forged := encrypt(t, "s.yaml", secretYAML, sopskit.For(x))
	if _, err := openAll(t, "s.yaml", forged, keysOf(t, x)); err != nil {
		t.Errorf("Open behaves otherwise than documented: %v", err)
	}
	rules := must[*secrets.Rules](t)(secrets.ParseRules(".sops.yaml", sopskit.Rules(x, backup)))
	info := must[secrets.Info](t)(secrets.Inspect("s.yaml", forged))
	_, found := rules.Check("s.yaml", info)
	if len(found) != 1 || found[0].Reason != secrets.RecipientMissing || !strings.Contains(found[0].Message, backup.ID()) {
		t.Errorf("Check = %v, want RecipientMissing for %s", found, backup.ID())
	}
}

// trap puts programs on PATH and a listener on loopback that tell when somebody
// follows the metadata of a file.
type trap struct {
	ran   string // exists when a program ran
	calls atomic.Int32
	addr  string
}

func setTrap(t *testing.T) *trap {
	t.Helper()
	dir := t.TempDir()
	tr := &trap{ran: filepath.Join(dir, "ran")}
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	script := []byte("#!/bin/sh\necho \"$0\" >> '" + tr.ran + "'\nexit 1\n")
	for _, name := range []string{"gpg", "gpg2", "age-plugin-yubikey", "age-plugin-canary", "sops", "command"} {
		if err := os.WriteFile(filepath.Join(bin, name), script, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			tr.calls.Add(1)
			conn.Close()
		}
	}()
	tr.addr = "http://" + listener.Addr().String()
	t.Setenv("PATH", bin)
	t.Setenv("HOME", dir)
	t.Setenv("VAULT_TOKEN", canary)
	t.Setenv("SOPS_GPG_EXEC", filepath.Join(bin, "gpg"))
	t.Setenv("SOPS_AGE_KEY_CMD", filepath.Join(bin, "command"))
	t.Setenv("SOPS_AGE_SSH_PRIVATE_KEY_CMD", filepath.Join(bin, "command"))
	t.Setenv("VAULT_MAX_RETRIES", "0")
	return tr
}

func (tr *trap) sprung() bool {
	_, err := os.Stat(tr.ran)
	return err == nil || tr.calls.Load() > 0
}

func TestAttack_S4_FileChoosesKeyService(t *testing.T) {
	x, other, pgp := newAge(t), newAge(t), newPGP(t)
	for name, tc := range map[string]struct {
		reason     string
		recipients func(addr string) []sopskit.Recipient
		keys       []sopskit.Recipient
		want       secrets.Reason // empty: opens
		control    bool           // whether sops itself falls into the trap
	}{
		"VaultOnly":       {"The address would receive our token.", func(a string) []sopskit.Recipient { return []sopskit.Recipient{sopskit.Vault{Address: a}} }, []sopskit.Recipient{x}, secrets.KeyServiceDenied, true},
		"VaultBesideAge":  {"Our key opens it; nobody is asked.", func(a string) []sopskit.Recipient { return []sopskit.Recipient{sopskit.Vault{Address: a}, x} }, []sopskit.Recipient{x}, "", false},
		"VaultBesideMiss": {"Not even when nothing else opens it.", func(a string) []sopskit.Recipient { return []sopskit.Recipient{sopskit.Vault{Address: a}, other} }, []sopskit.Recipient{x}, secrets.KeyServiceDenied, true},
		"PluginOnly":      {"A plugin is a program.", func(string) []sopskit.Recipient { return []sopskit.Recipient{sopskit.Plugin("age1canary1qqqq")} }, []sopskit.Recipient{x}, secrets.KeyServiceDenied, true},
		"PGPWithoutKey":   {"sops would run gpg.", func(string) []sopskit.Recipient { return []sopskit.Recipient{pgp} }, []sopskit.Recipient{x}, secrets.SecretUndecryptable, true},
		"PGPWithKey":      {"No gpg for our own key.", func(string) []sopskit.Recipient { return []sopskit.Recipient{pgp} }, []sopskit.Recipient{pgp}, "", true},
		"AgeWithoutKey":   {"sops would run a command for the key.", func(string) []sopskit.Recipient { return []sopskit.Recipient{other} }, []sopskit.Recipient{x}, secrets.SecretUndecryptable, true},
	} {
		t.Run(name, func(t *testing.T) {
			tr := setTrap(t)
			raw := encrypt(t, "s.yaml", secretYAML, sopskit.For(tc.recipients(tr.addr)...))
			_, err := openAll(t, "s.yaml", raw, keysOf(t, tc.keys...))
			if tc.want != "" {
				wantError(t, err, tc.want)
			} else if err != nil {
				t.Errorf("%s\n%v", tc.reason, err)
			}
			if _, found := secrets.Check("s.yaml", raw); len(found) > 0 {
				t.Errorf("Check = %v", found)
			}
			if tr.sprung() {
				t.Fatalf("%s\na program ran or the address was called", tc.reason)
			}
			decrypt.Data(raw, "yaml")
			if tc.control && !tr.sprung() {
				t.Errorf("sops does not fall into this trap either: it shows nothing")
			}
		})
	}
}

func TestAttack_S4_EnvironmentHasNoInfluence(t *testing.T) {
	x, pgp := newAge(t), newPGP(t)
	home := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ring := must[openpgp.EntityList](t)(openpgp.ReadArmoredKeyRing(bytes.NewReader(must[[]byte](t)(pgp.PrivateKey()))))
	var secring bytes.Buffer
	if err := ring[0].SerializePrivate(&secring, nil); err != nil {
		t.Fatal(err)
	}
	write(".config/sops/age/keys.txt", x.PrivateKey())
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, ".config"))
	t.Setenv("SOPS_AGE_KEY", string(x.PrivateKey()))
	t.Setenv("SOPS_AGE_KEY_FILE", write("keys.txt", x.PrivateKey()))
	t.Setenv("GNUPGHOME", filepath.Dir(write("gnupg/secring.gpg", secring.Bytes())))
	for name, r := range map[string]sopskit.Recipient{"Age": x, "PGP": pgp} {
		raw := encrypt(t, "s.yaml", secretYAML, sopskit.For(r))
		if _, err := decrypt.Data(raw, "yaml"); err != nil {
			t.Errorf("%s: sops does not use the environment either: %v", name, err)
		}
		_, err := secrets.Open(t.Context(), "s.yaml", raw, keysOf(t, newAge(t), newPGP(t)))
		wantError(t, err, secrets.SecretUndecryptable)
	}
}

// A data key that is not encrypted at all is a valid OpenPGP message.
func TestAttack_S4_DataKeyInTheOpen(t *testing.T) {
	pgp := newPGP(t)
	raw := encrypt(t, "s.yaml", secretYAML, sopskit.For(sopskit.PGPInTheOpen{PGP: pgp}))
	_, err := secrets.Open(t.Context(), "s.yaml", raw, keysOf(t, pgp))
	wantError(t, err, secrets.SecretUndecryptable)
}

func TestAttack_S5_NothingIsLogged(t *testing.T) {
	var logged bytes.Buffer
	for _, logger := range logging.Loggers {
		out := logger.Out
		logger.SetOutput(&logged)
		t.Cleanup(func() { logger.SetOutput(out) })
	}
	x := newAge(t)
	raw := encrypt(t, "s.yaml", "kind: Thing\ndata:\n  a: "+canary+"\n  # c\n  b: x\n  list:\n    - y\n    - deep: z\n", sopskit.For(x))
	// sops warns of comments that should be encrypted, and quotes them.
	raw = setLine(t, raw, "    #ENC[", "    # "+canary)
	raw = setLine(t, raw, "    list:", "    list:\n        # "+canary)
	raw = replace(t, raw, "- deep: ", "- # "+canary+"\n          deep: ")
	if !sopsAccepts(t, raw, x) || !strings.Contains(logged.String(), canary) {
		t.Fatalf("sops logs no comment: this test shows nothing: %q", logged.String())
	}
	logged.Reset()
	if _, err := openAll(t, "s.yaml", raw, keysOf(t, x)); err != nil {
		t.Fatal(err)
	}
	_, err := openAll(t, "s.yaml", replace(t, raw, cipherOf(t, raw, "a"), canary), keysOf(t, x))
	wantError(t, err, secrets.SecretIntegrity)
	if logged.Len() > 0 {
		t.Errorf("a log was written: %q", logged.String())
	}
}

func TestAttack_S5_PrintedInAnyWay(t *testing.T) {
	x, pgp := newAge(t), newPGP(t)
	raw := encrypt(t, "s.yaml", secretYAML, sopskit.For(x, pgp))
	keys := keysOf(t, x, pgp)
	opened := open(t, "s.yaml", raw, keys)
	noCanary(t, "Keys", keys)
	noCanary(t, "Opened", opened)
	info, found := secrets.Check("s.yaml", []byte(secretYAML))
	noCanary(t, "Info", info)
	noCanary(t, "problems", found)
	object := must[map[string]any](t)(opened.Apply(0, rendered(t, raw)[0]))
	noCanary(t, "masked object", secrets.Masked(object))
}
