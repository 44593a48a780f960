package source_test

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"gitgate.dev/gitgate/reconcile/source"
	"gitgate.dev/gitgate/test/testkit/gitserver"
)

const (
	exampleHTTPS = "https://git.example.com/a.git"
	exampleSSH   = "ssh://git@git.example.com/a.git"
	// canary is a secret that no error may repeat.
	canary = "c4n4ry-s3cret"
)

// newKey makes an OpenSSH private key; with a passphrase it is encrypted.
func newKey(t testing.TB, passphrase string) (private, public string) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshPub)))
}

func TestAuthFromSecret(t *testing.T) {
	plain, public := newKey(t, "")
	locked, _ := newKey(t, canary)
	hosts := "git.example.com " + public
	ca := string(gitserver.New(t, gitserver.Options{TLS: true}).CA())
	for name, tc := range map[string]struct {
		reason string
		url    string
		data   map[string]string
		want   string // a part of the error; "" means none
	}{
		"None":              {"A public repository.", exampleHTTPS, nil, ""},
		"Password":          {"As Flux.", exampleHTTPS, map[string]string{"username": "u", "password": canary}, ""},
		"Token":             {"As Flux.", exampleHTTPS, map[string]string{"bearerToken": canary}, ""},
		"CAOnly":            {"A private CA without credentials.", exampleHTTPS, map[string]string{"ca.crt": ca}, ""},
		"CAAlias":           {"caFile is the older name.", exampleHTTPS, map[string]string{"caFile": ca}, ""},
		"Key":               {"As Flux.", exampleSSH, map[string]string{"identity": plain, "identity.pub": public, "known_hosts": hosts}, ""},
		"LockedKey":         {"The password opens the key.", exampleSSH, map[string]string{"identity": locked, "password": canary, "known_hosts": hosts}, ""},
		"NoPassword":        {"Half of a pair.", exampleHTTPS, map[string]string{"username": canary}, `key "password" is missing`},
		"NoUsername":        {"Half of a pair.", exampleHTTPS, map[string]string{"password": canary}, `key "username" is missing`},
		"EmptyPassword":     {"Empty is missing.", exampleHTTPS, map[string]string{"username": "u", "password": ""}, `key "password" is missing`},
		"Both":              {"Which one counts?", exampleHTTPS, map[string]string{"username": "u", "password": canary, "bearerToken": canary}, "exclude each other"},
		"Colon":             {"RFC 7617.", exampleHTTPS, map[string]string{"username": "u:" + canary, "password": "p"}, `key "username" holds a colon`},
		"TokenNewline":      {"A usual mistake, and header injection.", exampleHTTPS, map[string]string{"bearerToken": canary + "\n"}, `key "bearerToken" holds a line break`},
		"Nothing":           {"A Secret of something else.", exampleHTTPS, map[string]string{"tokn": canary}, "none of the keys"},
		"SSHKeyForHTTPS":    {"The wrong Secret.", exampleHTTPS, map[string]string{"identity": canary, "known_hosts": hosts}, "are missing"},
		"ClientCert":        {"Not supported, so not ignored.", exampleHTTPS, map[string]string{"tls.crt": canary, "tls.key": canary}, `key "tls.crt" is not supported`},
		"BadCA":             {"No certificate.", exampleHTTPS, map[string]string{"ca.crt": canary}, `key "ca.crt"`},
		"KeyAsCA":           {"A private key is no CA.", exampleHTTPS, map[string]string{"ca.crt": plain}, `key "ca.crt"`},
		"TwoCAs":            {"Which one counts?", exampleHTTPS, map[string]string{"ca.crt": ca, "caFile": ca + ca}, "differ"},
		"NoIdentity":        {"ssh needs a key.", exampleSSH, map[string]string{"known_hosts": hosts, "password": canary}, `key "identity" is missing`},
		"NoSecretForSSH":    {"ssh needs a key.", exampleSSH, nil, `key "identity" is missing`},
		"NoKnownHosts":      {"No trust on first use.", exampleSSH, map[string]string{"identity": plain}, `key "known_hosts" is missing`},
		"BadIdentity":       {"No private key.", exampleSSH, map[string]string{"identity": canary, "known_hosts": hosts}, `key "identity" holds no private key`},
		"NoPassphrase":      {"The key is encrypted.", exampleSSH, map[string]string{"identity": locked, "known_hosts": hosts}, `key "password" is missing`},
		"WrongPassphrase":   {"The key is encrypted with another.", exampleSSH, map[string]string{"identity": locked, "password": canary + "x", "known_hosts": hosts}, `key "password" does not open`},
		"OtherHost":         {"known_hosts knows another host.", exampleSSH, map[string]string{"identity": plain, "known_hosts": "other.example.com " + public}, "no usable key for host"},
		"OtherPort":         {"A port of its own has a key of its own.", "ssh://git@git.example.com:2222/a.git", map[string]string{"identity": plain, "known_hosts": hosts}, "no usable key for host"},
		"RevokedHost":       {"A revoked key is no key.", exampleSSH, map[string]string{"identity": plain, "known_hosts": hosts + "\n@revoked * " + public}, "no usable key for host"},
		"HostCertAuthority": {"Not supported, so not ignored.", exampleSSH, map[string]string{"identity": plain, "known_hosts": "@cert-authority * " + public}, "not supported"},
		"BadKnownHosts":     {"Not a known_hosts file.", exampleSSH, map[string]string{"identity": plain, "known_hosts": canary}, `key "known_hosts"`},
		"OtherUser":         {"The URL says otherwise.", exampleSSH, map[string]string{"identity": plain, "known_hosts": hosts, "username": canary}, "not the user of the URL"},
	} {
		t.Run(name, func(t *testing.T) {
			raw := map[string][]byte{}
			for k, v := range tc.data {
				raw[k] = []byte(v)
			}
			a, err := source.AuthFromSecret(tc.url, raw)
			if tc.want == "" {
				if err != nil {
					t.Errorf("%s\n%v", tc.reason, err)
				}
			} else if !errors.Is(err, source.ErrInvalidAuth) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\nerr = %v, want ErrInvalidAuth with %q", tc.reason, err, tc.want)
			}
			for _, text := range []string{fmt.Sprint(err), fmt.Sprint(a), fmt.Sprintf("%+v", a), fmt.Sprintf("%#v", a), fmt.Sprintf("%s %d %x", a, a, a)} {
				if strings.Contains(text, canary) || strings.Contains(text, "PRIVATE") {
					t.Errorf("the secret is in %q", text)
				}
			}
		})
	}
}

func TestAuthIsBoundToItsHost(t *testing.T) {
	a := auth(t, exampleHTTPS, map[string]string{"bearerToken": canary})
	cache := openCache(t, t.TempDir())
	for name, url := range map[string]string{
		"Host": "https://evil.example.com/a.git", "Port": "https://git.example.com:8443/a.git", "Scheme": "http://127.0.0.1/a.git",
	} {
		_, err := cache.Repository(source.Options{URL: url, Branch: "main", Auth: a, AllowInsecureLoopback: true})
		if !errors.Is(err, source.ErrInvalidAuth) {
			t.Errorf("%s: credentials for %s were accepted for %s: %v", name, exampleHTTPS, url, err)
		}
	}
	if _, err := cache.Repository(source.Options{URL: "https://git.example.com/other.git", Branch: "main", Auth: a}); err != nil {
		t.Errorf("another repository of the same host: %v", err)
	}
}

func TestRepositoryRefusesBadOptions(t *testing.T) {
	cache := openCache(t, t.TempDir())
	for name, o := range map[string]source.Options{
		"NoBranch":      {},
		"BranchClimbs":  {Branch: "../../config"},
		"BranchOption":  {Branch: "-x"},
		"BranchNewline": {Branch: "main\nref-prefix refs/"},
		"Timeout":       {Branch: "main", Timeout: -1},
		"Limit":         {Branch: "main", Limits: source.Limits{PackBytes: 1 << 40}},
		"NegativeLimit": {Branch: "main", Limits: source.Limits{Objects: -1}},
	} {
		o.URL = exampleHTTPS
		if _, err := cache.Repository(o); err == nil {
			t.Errorf("%s: %+v was accepted", name, o)
		}
	}
	if _, err := cache.Repository(source.Options{URL: exampleSSH, Branch: "main"}); !errors.Is(err, source.ErrInvalidAuth) {
		t.Errorf("ssh without a key: %v", err)
	}
}
