package source

import (
	"crypto/ed25519"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// The lines of known_hosts mean to us what they mean to golang.org/x/crypto.
func TestKnownHostsAgreesWithXCrypto(t *testing.T) {
	key := func() (ssh.PublicKey, string) {
		pub, _, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		k, err := ssh.NewPublicKey(pub)
		if err != nil {
			t.Fatal(err)
		}
		return k, string(ssh.MarshalAuthorizedKey(k))
	}
	k1, line1 := key()
	k2, line2 := key()
	files := map[string]string{
		"Plain":       "git.example.com " + line1,
		"List":        "other.example.com,git.example.com " + line1,
		"Port":        "[git.example.com]:2222 " + line1,
		"DefaultPort": "[git.example.com]:22 " + line1,
		"Wildcard":    "*.example.com " + line1,
		"Question":    "gi?.example.com " + line1,
		"Negated":     "*.example.com,!git.example.com " + line1,
		"Hashed":      knownhosts.HashHostname("git.example.com") + " " + line1,
		"HashedPort":  knownhosts.HashHostname("[git.example.com]:2222") + " " + line1,
		"HashedOther": knownhosts.HashHostname("other.example.com") + " " + line1,
		"TwoKeys":     "git.example.com " + line1 + "git.example.com " + line2,
		"OtherKey":    "git.example.com " + line2,
		"Revoked":     "git.example.com " + line1 + "@revoked git.example.com " + line1,
		"IP":          "192.0.2.1 " + line1,
		"IPv6":        "2001:db8::1 " + line1,
		"Comment":     "# a comment\n\ngit.example.com " + line1,
	}
	// OpenSSH matches host names without regard to case; x/crypto does not.
	upper, err := parseKnownHosts([]byte("GIT.example.COM " + line1))
	if err != nil || upper.check("git.example.com:22", nil, k1) != nil {
		t.Errorf("an upper-case host is not known: %v", err)
	}
	for name, content := range files {
		file := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		want, err := knownhosts.New(file)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := parseKnownHosts([]byte(content))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, address := range []string{
			"git.example.com:22", "git.example.com:2222", "other.example.com:22", "evil.com:22", "example.com:22",
			"192.0.2.1:22", "[2001:db8::1]:22", "192.0.2.2:22",
		} {
			for i, k := range []ssh.PublicKey{k1, k2} {
				t.Run(fmt.Sprint(name, "/", address, "/", i), func(t *testing.T) {
					wantErr := want(address, &net.TCPAddr{}, k)
					gotErr := ours.check(address, nil, k)
					if (wantErr == nil) != (gotErr == nil) {
						t.Errorf("x/crypto says %v, we say %v", wantErr, gotErr)
					}
				})
			}
		}
	}
}
