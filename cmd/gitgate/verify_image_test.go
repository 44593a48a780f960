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

func TestVerifyImageCommand(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir()) // nobody's credentials
	reg := registry.New(t, registry.Options{})
	key, other := registry.MustKey(t, registry.ECDSAP256), registry.MustKey(t, registry.ECDSAP256)
	signed, bundled := reg.MustPushImage(t, "acme/tag:1"), reg.MustPushImage(t, "acme/bundle:1")
	unsigned := reg.MustPushImage(t, "acme/unsigned:1")
	for _, err := range []error{reg.SignTag(signed, key), reg.SignBundle(bundled, key)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	file := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	public, wrong, private := file("cosign.pub", key.Public), file("other.pub", other.Public), file("cosign.key", key.MustPrivate(t))
	trust := "apiVersion: gitgate.dev/v1alpha1\nkind: TrustPolicy\nmetadata: {name: t}\nspec:\n  images:\n"
	rules := "    rules:\n    - match: [\"" + reg.Host() + "/acme/*\"]\n      authorities:\n      - name: release\n        key:\n          data: |\n            " +
		strings.ReplaceAll(strings.TrimSpace(key.Public), "\n", "\n            ") + "\n"
	resolve := file("trust.yaml", "kind: ConfigMap\napiVersion: v1\n---\n"+trust+rules)
	required := file("required.yaml", trust+"    digest: Required\n"+rules)
	keyless := file("keyless.yaml", trust+strings.Replace(rules, "        key:", "        keyless: {identities: []}\n        key:", 1))

	for name, tc := range map[string]struct {
		args   []string
		code   int
		status []string // of each image
		stderr string
	}{
		"Good":          {[]string{"--key", public, signed.Name, bundled.Name, signed.Pinned()}, 0, []string{"good", "good", "good"}, ""},
		"EitherKey":     {[]string{"--key", wrong, "--key", public, signed.Name}, 0, []string{"good"}, ""},
		"Unsigned":      {[]string{"--key", public, signed.Name, unsigned.Name}, 1, []string{"good", "unsigned"}, ""},
		"Untrusted":     {[]string{"--key", wrong, signed.Name}, 1, []string{"untrusted"}, ""},
		"NotReference":  {[]string{"--key", public, "Not/A:Ref!"}, 1, []string{"bad"}, ""},
		"Unavailable":   {[]string{"--key", public, signed.Name, "127.0.0.1:1/acme/app:1"}, 3, []string{"good", "unavailable"}, ""},
		"DeniedFirst":   {[]string{"--key", public, "127.0.0.1:1/acme/app:1", unsigned.Name}, 1, []string{"unavailable", "unsigned"}, ""},
		"Trust":         {[]string{"--trust", resolve, signed.Name, bundled.Name}, 0, []string{"good", "good"}, ""},
		"TrustNoRule":   {[]string{"--trust", resolve, "ghcr.io/evil/app:1"}, 1, []string{"bad"}, ""},
		"TrustRequired": {[]string{"--trust", required, signed.Name, signed.Pinned()}, 1, []string{"bad", "good"}, ""},
		"TrustKeyless":  {[]string{"--trust", keyless, signed.Name}, 2, nil, "keyless"},
		"NoTrust":       {[]string{signed.Name}, 2, nil, "key trust"},
		"BothTrusts":    {[]string{"--key", public, "--trust", resolve, signed.Name}, 2, nil, "none of the others"},
		"NoImage":       {[]string{"--key", public}, 2, nil, "at least 1 arg"},
		"NoFile":        {[]string{"--key", public + "x", signed.Name}, 2, nil, "no such file"},
		"PrivateKey":    {[]string{"--key", private, signed.Name}, 2, nil, "never a private key"},
		"NoPolicy":      {[]string{"--trust", public, signed.Name}, 2, nil, "--trust"},
		"Output":        {[]string{"--key", public, "-o", "yaml", signed.Name}, 2, nil, "want text or json"},
		"TokenHost":     {[]string{"--key", public, "--token-host", "x", signed.Name}, 2, nil, "want registry=host"},
	} {
		t.Run(name, func(t *testing.T) {
			format := "json"
			if name == "Output" {
				format = "yaml"
			}
			args := append([]string{"verify", "image", "--allow-loopback-http", "-o", format}, tc.args...)
			var stdout, stderr bytes.Buffer
			if code := run(args, nil, &stdout, &stderr); code != tc.code {
				t.Fatalf("exit code %d, want %d\n%s%s", code, tc.code, &stdout, &stderr)
			}
			if !strings.Contains(stderr.String(), tc.stderr) || (tc.stderr == "") != (stderr.Len() == 0) {
				t.Errorf("stderr %q, want %q", &stderr, tc.stderr)
			}
			lines := bytes.Split(bytes.TrimSpace(stdout.Bytes()), []byte("\n"))
			if len(tc.status) == 0 && stdout.Len() > 0 || len(tc.status) > 0 && len(lines) != len(tc.status) {
				t.Fatalf("stdout %s", &stdout)
			}
			for i, want := range tc.status {
				var got imageReport
				if err := json.Unmarshal(lines[i], &got); err != nil {
					t.Fatal(err)
				}
				good := got.Digest != "" && strings.HasSuffix(got.Pinned, "@"+got.Digest) && got.Rule != "" && got.Authority != "" && got.Layout != "" && got.Reason == ""
				if got.Status != want || (want == "good") != good || (want == "good") == (got.Message != "") {
					t.Errorf("line %d is %s, want %s", i, lines[i], want)
				}
			}
		})
	}
}

func TestVerifyImageText(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	reg := registry.New(t, registry.Options{})
	key := registry.MustKey(t, registry.ECDSAP256)
	signed, unsigned := reg.MustPushImage(t, "acme/app:1"), reg.MustPushImage(t, "acme/app:2")
	if err := reg.SignTag(signed, key); err != nil {
		t.Fatal(err)
	}
	public := filepath.Join(t.TempDir(), "cosign.pub")
	if err := os.WriteFile(public, []byte(key.Public), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code := run([]string{"verify", "image", "--allow-loopback-http", "--key", public, signed.Name, unsigned.Name, "bad\nname"}, nil, &stdout, &stderr)
	lines := strings.Split(stdout.String(), "\n")
	if code != 1 || stderr.Len() != 0 || len(lines) != 4 ||
		!strings.HasPrefix(lines[0], "good        "+signed.Name+"@"+signed.Digest) || !strings.Contains(lines[0], public) ||
		!strings.HasPrefix(lines[1], "unsigned    "+unsigned.Name+": ImageUnsigned: ") ||
		!strings.HasPrefix(lines[2], `bad         bad\nname: ImageNotAllowed: `) {
		t.Errorf("exit code %d\n%s%s", code, &stdout, &stderr)
	}
}
