package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitgate.dev/gitgate/test/testkit/registry"
)

func TestVerifyImageAttestations(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir()) // nobody's credentials
	reg := registry.New(t, registry.Options{})
	key, scanner := registry.MustKey(t, registry.ECDSAP256), registry.MustKey(t, registry.ECDSAP256)
	scanned, bare := reg.MustPushImage(t, "acme/scanned:1"), reg.MustPushImage(t, "acme/bare:1")
	for _, err := range []error{
		reg.SignTag(scanned, key), reg.SignBundle(bare, key),
		reg.AttestTag(scanned, scanner, "vuln", `{"invocation":{"uri":"https://acme.dev/scan"}}`),
		reg.AttestBundle(scanned, scanner, "https://acme.dev/review", `{"ok":true}`),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	public, scans := file("cosign.pub", key.Public), file("scanner.pub", scanner.Public)
	indented := "\n            " + strings.ReplaceAll(strings.TrimSpace(scanner.Public), "\n", "\n            ")
	trust := file("trust.yaml", "apiVersion: gitgate.dev/v1alpha1\nkind: TrustPolicy\nmetadata: {name: t}\nspec:\n  images:\n    rules:\n    - match: ['**']\n      authorities:\n      - name: release\n        key:\n          data: |"+
		"\n            "+strings.ReplaceAll(strings.TrimSpace(key.Public), "\n", "\n            ")+
		"\n      attestations:\n      - name: scan\n        predicateType: vuln\n        authorities:\n        - name: scanner\n          key:\n           data: |"+indented+"\n")
	for name, tc := range map[string]struct {
		args   []string
		code   int
		want   string // in what is printed
		stderr string
	}{
		"Scanned":     {[]string{"--key", public, "--attestation", "vuln", "--attestation-key", scans, scanned.Name}, 0, `"attestations":[{"rule":"rules[0]","name":"vuln","predicateType":"https://cosign.sigstore.dev/attestation/vuln/v1","authority":"` + scans + `","key":"sha256:`, ""},
		"URI":         {[]string{"--key", public, "--attestation", "https://acme.dev/review", "--attestation-key", scans, scanned.Name}, 0, `"layout":"bundle","digest":"sha256:`, ""},
		"Both":        {[]string{"--key", public, "--attestation", "https://acme.dev/review", "--attestation", "vuln", "--attestation-key", scans, scanned.Name, bare.Name}, 1, `"status":"unattested","reason":"AttestationMissing"`, ""},
		"Predicates":  {[]string{"--key", public, "--attestation", "https://acme.dev/review", "--attestation-key", scans, "--predicates", scanned.Name}, 0, `"predicate":{"ok":true}`, ""},
		"SignersOnly": {[]string{"--key", public, "--attestation", "vuln", scanned.Name}, 1, `"status":"unattested","reason":"AttestationInvalid"`, ""},
		"NotAsked":    {[]string{"--key", public, scanned.Name}, 0, `"layout":"tag"}`, ""},
		"Trust":       {[]string{"--trust", trust, scanned.Name}, 0, `"name":"scan"`, ""},
		"TrustBare":   {[]string{"--trust", trust, bare.Name}, 1, "AttestationMissing", ""},
		"TrustAndOwn": {[]string{"--trust", trust, "--attestation", "vuln", scanned.Name}, 2, "", "none of the others can be"},
		"Type":        {[]string{"--key", public, "--attestation", "scan", scanned.Name}, 2, "", "--attestation scan: want a URI or one of custom, cyclonedx"},
		"KeyAlone":    {[]string{"--key", public, "--attestation-key", scans, scanned.Name}, 2, "", "say with --attestation what"},
		"NoKeyFile":   {[]string{"--key", public, "--attestation", "vuln", "--attestation-key", scans + "x", scanned.Name}, 2, "", "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(append([]string{"verify", "image", "--allow-loopback-http", "-o", "json"}, tc.args...), nil, &stdout, &stderr); code != tc.code {
				t.Fatalf("exit code %d, want %d\n%s%s", code, tc.code, &stdout, &stderr)
			}
			if !strings.Contains(stdout.String(), tc.want) || !strings.Contains(stderr.String(), tc.stderr) {
				t.Errorf("want %q %q\n%s%s", tc.want, tc.stderr, &stdout, &stderr)
			}
			for line := range strings.Lines(stdout.String()) {
				if !json.Valid([]byte(line)) {
					t.Errorf("no JSON: %s", line)
				}
			}
		})
	}
	var stdout, stderr bytes.Buffer
	code := run([]string{"verify", "image", "--allow-loopback-http", "--key", public, "--attestation", "vuln", "--attestation-key", scans, scanned.Name}, nil, &stdout, &stderr)
	if code != 0 || !strings.Contains(stdout.String(), "\n              vuln (https://cosign.sigstore.dev/attestation/vuln/v1) by "+scans+": ") {
		t.Errorf("exit code %d\n%s%s", code, &stdout, &stderr)
	}
	if code := run([]string{"verify", "image", "--key", public, "--predicates", scanned.Name}, nil, &stdout, &stderr); code != 2 {
		t.Errorf("exit code %d for JSON in text", code)
	}
}
