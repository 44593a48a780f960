package secrets_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"gitgate.dev/gitgate/secrets"
	"gitgate.dev/gitgate/test/testkit/sopskit"
)

// canary is the secret that no error, format or masked object may show.
const canary = "hunter2-CANARY-8d1f"

const secretYAML = `apiVersion: v1
kind: Secret
metadata:
  name: db
  namespace: shop
  labels:
    app: shop
type: Opaque
stringData:
  password: ` + canary + `
  url: postgres://db/shop
`

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newAge(t *testing.T) *sopskit.Age {
	t.Helper()
	return must[*sopskit.Age](t)(sopskit.NewAge())
}

func newPGP(t *testing.T) *sopskit.PGP {
	t.Helper()
	return must[*sopskit.PGP](t)(sopskit.NewPGP("gitgate"))
}

// keysOf gives the private keys of recipients as a key Secret would.
func keysOf(t *testing.T, recipients ...sopskit.Recipient) *secrets.Keys {
	t.Helper()
	entries := map[string][]byte{}
	for i, r := range recipients {
		switch r := r.(type) {
		case *sopskit.Age:
			entries[fmt.Sprintf("k%d.agekey", i)] = r.PrivateKey()
		case *sopskit.PGP:
			entries[fmt.Sprintf("k%d.asc", i)] = must[[]byte](t)(r.PrivateKey())
		default:
			t.Fatalf("no private key for %T", r)
		}
	}
	return must[*secrets.Keys](t)(secrets.NewKeys(entries))
}

func encrypt(t *testing.T, name, plain string, o sopskit.Options) []byte {
	t.Helper()
	return must[[]byte](t)(sopskit.Encrypt(name, []byte(plain), o))
}

// rendered parses the documents of a file as a renderer would.
func rendered(t *testing.T, raw []byte) []map[string]any {
	t.Helper()
	var docs []map[string]any
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	for {
		var doc map[string]any
		if err := dec.Decode(&doc); err != nil {
			return docs
		}
		docs = append(docs, normal(doc).(map[string]any))
	}
}

// normal turns numbers and times into the types that Kubernetes objects have.
func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = normal(v[k])
		}
	case []any:
		for i := range v {
			v[i] = normal(v[i])
		}
	case int:
		return int64(v)
	case interface{ MarshalText() ([]byte, error) }:
		text, _ := v.MarshalText()
		return string(text)
	}
	return v
}

func replace(t *testing.T, raw []byte, old, new string) []byte {
	t.Helper()
	if !strings.Contains(string(raw), old) {
		t.Fatalf("the file does not contain %q:\n%s", old, raw)
	}
	return []byte(strings.Replace(string(raw), old, new, 1))
}

// wantError asserts the reason of an error and that it shows no secret.
func wantError(t *testing.T, err error, want secrets.Reason) *secrets.Error {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want %s", want)
	}
	noCanary(t, "error", err)
	var e *secrets.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %T %v, want *secrets.Error", err, err)
	}
	if e.Reason != want {
		t.Fatalf("got reason %s (%v), want %s", e.Reason, err, want)
	}
	if strings.ContainsAny(err.Error(), "\n\r") {
		t.Errorf("error is more than one line: %q", err.Error())
	}
	return e
}

// noCanary asserts that nothing printed from v shows the canary or a private key.
func noCanary(t *testing.T, what string, v any) {
	t.Helper()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		out := fmt.Sprintf(verb, v)
		for _, bad := range []string{canary, fmt.Sprintf("%x", canary), "AGE-SECRET-KEY", "AGE-PLUGIN", "PRIVATE KEY BLOCK"} {
			if strings.Contains(out, bad) {
				t.Fatalf("%s formatted with %s shows %q: %s", what, verb, bad, out)
			}
		}
	}
}
