package secrets

import (
	"bytes"
	"testing"

	"gitgate.dev/gitgate/test/testkit/sopskit"
)

// opened returns a decrypted Secret.
func openedSecret(t *testing.T) *Opened {
	t.Helper()
	key, err := sopskit.NewAge()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := sopskit.Encrypt("s.yaml", []byte("apiVersion: v1\nkind: Secret\nstringData: {a: secret}\n"), sopskit.For(key))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := NewKeys(map[string][]byte{"a.agekey": key.PrivateKey()})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := Open(t.Context(), "s.yaml", raw, keys)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

func TestCloseOverwritesPlaintext(t *testing.T) {
	opened := openedSecret(t)
	var texts [][]byte
	for _, v := range opened.values {
		if string(v.text) != "secret" {
			t.Fatalf("holds %q, want the plaintext", v.text)
		}
		texts = append(texts, v.text)
	}
	if len(texts) != 1 {
		t.Fatalf("holds %d plaintexts, want 1", len(texts))
	}
	opened.Close()
	if !bytes.Equal(texts[0], make([]byte, len("secret"))) {
		t.Errorf("Close left %q in memory", texts[0])
	}
}

func TestForeignRecipients(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		r      Recipient
		want   bool
	}{
		"X25519":  {"Native.", Recipient{Type: TypeAge, ID: "age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq"}, false},
		"Hybrid":  {"Native since age 1.3.", Recipient{Type: TypeAge, ID: "age1pq1qqqq"}, false},
		"SSH":     {"Built in.", Recipient{Type: TypeAge, ID: "ssh-ed25519 AAAA"}, false},
		"PGP":     {"Built in.", Recipient{Type: TypePGP, ID: "ABCD"}, false},
		"Yubikey": {"A plugin is a program.", Recipient{Type: TypeAge, ID: "age1yubikey1qqqq"}, true},
		"Tag":     {"Its identity sits in a plugin.", Recipient{Type: TypeAge, ID: "age1tag1qqqq"}, true},
		"Empty":   {"Unknown is foreign.", Recipient{Type: TypeAge}, true},
		"Vault":   {"A service.", Recipient{Type: TypeVault, ID: "https://vault/v1/sops/keys/a"}, true},
		"Unknown": {"Unknown is foreign.", Recipient{Type: "quantum"}, true},
	} {
		if got := tc.r.foreign(); got != tc.want {
			t.Errorf("%s: foreign() = %t, want %t: %s", name, got, tc.want, tc.reason)
		}
	}
}
