package secrets_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/secrets"
	"gitgate.dev/gitgate/test/testkit/sopskit"
)

func TestNewKeys(t *testing.T) {
	x, y, pgp, pgp2 := newAge(t), newAge(t), newPGP(t), newPGP(t)
	ssh := must[*sopskit.Age](t)(sopskit.NewAgeSSH())
	two := bytes.Join([][]byte{ // people keep public halves in the same file
		must[[]byte](t)(pgp.PrivateKey()), must[[]byte](t)(pgp2.PublicKey()), must[[]byte](t)(pgp2.PrivateKey()),
	}, []byte("\n\n"))
	keys, err := secrets.NewKeys(map[string][]byte{
		"a.agekey": append(append(x.PrivateKey(), "\r\n# next\r\n"...), y.PrivateKey()...),
		"b.agekey": ssh.PrivateKey(), "c.asc": two,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []secrets.Recipient{
		{Type: secrets.TypeAge, ID: x.ID()}, {Type: secrets.TypeAge, ID: y.ID()}, {Type: secrets.TypeAge, ID: ssh.ID()},
		{Type: secrets.TypePGP, ID: pgp.ID()}, {Type: secrets.TypePGP, ID: pgp2.ID()},
	}
	if diff := cmp.Diff(want, keys.Recipients()); diff != "" {
		t.Errorf("want(-) got(+):\n%s", diff)
	}
	if got := fmt.Sprintf("%+v", keys); got != "secrets.Keys(3 age, 2 pgp)" {
		t.Errorf("printing Keys gives %q", got)
	}
	noCanary(t, "Keys", keys)
	noCanary(t, "Keys by value", struct{ K *secrets.Keys }{keys})
}

func TestNewKeysRefuses(t *testing.T) {
	x, pgp := newAge(t), newPGP(t)
	open := must[[]byte](t)(pgp.PrivateKey())
	locked := must[[]byte](t)(pgp.LockedPrivateKey([]byte(canary)))
	many := map[string][]byte{}
	for i := range 65 {
		many[fmt.Sprintf("%d.agekey", i)] = x.PrivateKey()
	}
	one := func(name, content string) map[string][]byte { return map[string][]byte{name: []byte(content)} }
	for name, tc := range map[string]struct {
		reason  string
		entries map[string][]byte
		want    secrets.Reason
		path    string
	}{
		"None":        {"A Secret without keys opens nothing.", nil, secrets.SecretUndecryptable, "keys"},
		"AWS":         {"Never silently ignored.", one("sops.aws-kms", canary), secrets.KeyServiceDenied, "sops.aws-kms"},
		"Azure":       {"Never silently ignored.", one("sops.azure-kv", canary), secrets.KeyServiceDenied, "sops.azure-kv"},
		"GCP":         {"Never silently ignored.", one("sops.gcp-kms", canary), secrets.KeyServiceDenied, "sops.gcp-kms"},
		"Vault":       {"Never silently ignored.", one("sops.vault-token", canary), secrets.KeyServiceDenied, "sops.vault-token"},
		"VaultAndAge": {"Not even beside a good key.", map[string][]byte{"a.agekey": x.PrivateKey(), "sops.vault-token": []byte(canary)}, secrets.KeyServiceDenied, "sops.vault-token"},
		"Unknown":     {"A misspelt name is no key.", map[string][]byte{"a.agekey": x.PrivateKey(), "b.agekeys": x.PrivateKey()}, secrets.InvalidManifest, "b.agekeys"},
		"Garbage":     {"The library quotes the line.", one("a.agekey", canary), secrets.SecretUndecryptable, "a.agekey"},
		"GoodAndBad":  {"The library quotes the line.", one("a.agekey", string(x.PrivateKey())+canary), secrets.SecretUndecryptable, "a.agekey"},
		"Empty":       {"No identity.", one("a.agekey", "# nothing\n"), secrets.SecretUndecryptable, "a.agekey"},
		"Plugin":      {"Plugins are programs.", one("a.agekey", "AGE-PLUGIN-YUBIKEY-1QQQ"), secrets.KeyServiceDenied, "a.agekey"},
		"Passphrase":  {"Nobody types it.", one("a.agekey", "age-encryption.org/v1\n-> scrypt"), secrets.SecretUndecryptable, "a.agekey"},
		"SSHGarbage":  {"No key.", one("a.agekey", "-----BEGIN OPENSSH PRIVATE KEY-----\n"+canary), secrets.SecretUndecryptable, "a.agekey"},
		"PublicKey":   {"Half of a key.", one("a.asc", string(must[[]byte](t)(pgp.PublicKey()))), secrets.SecretUndecryptable, "a.asc"},
		"NotArmored":  {"No armor.", one("a.asc", canary), secrets.SecretUndecryptable, "a.asc"},
		"CutArmor":    {"Half a key.", one("a.asc", string(open[:len(open)/2])), secrets.SecretUndecryptable, "a.asc"},
		"Locked":      {"Nobody types the passphrase.", one("a.asc", string(locked)), secrets.SecretUndecryptable, "a.asc"},
		"Huge":        {"A bound on memory.", map[string][]byte{"a.asc": make([]byte, 2<<20)}, secrets.InvalidManifest, "a.asc"},
		"Many":        {"A bound on time.", many, secrets.InvalidManifest, "keys"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := secrets.NewKeys(tc.entries)
			if e := wantError(t, err, tc.want); e.Path != tc.path {
				t.Errorf("%s\nPath = %q, want %q", tc.reason, e.Path, tc.path)
			}
		})
	}
}
