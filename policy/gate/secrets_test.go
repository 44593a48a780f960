package gate_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/secrets"
)

const (
	canary = "hunter2-CANARY-5e77"
	secret = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\n  namespace: shop\n  labels:\n    tier: back\ntype: Opaque\nstringData:\n  password: " + canary + "\n"
)

func valueOf(t *testing.T, o gate.Object, key string) string {
	t.Helper()
	data, _ := o.Object["data"].(map[string]any)
	text, _ := data[key].(string)
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// Plaintext is in what is applied and nowhere else; stringData is folded, or the
// removal of a key would go unseen.
func TestSecretIsOpenedOnlyForTheCluster(t *testing.T) {
	s := newSite(t)
	release := s.allowed(s.push("one", map[string]string{"app/db.yaml": s.encrypt("db.yaml", secret, "")}))
	o := release.Objects()[0]
	if got := valueOf(t, o, "password"); got != canary {
		t.Errorf("applied value %q", got)
	}
	if o.Object["stringData"] != nil || o.Object["sops"] != nil || o.Source.Encrypted != nil {
		t.Errorf("the applied object still has what it should not: %v", o)
	}
	applied := release.Applied()
	if text := fmt.Sprint(applied.Declared()[0].Object, s.previous[0].Object); strings.Contains(text, canary) ||
		strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(canary))) {
		t.Error("plaintext outlives the apply")
	}
	again, findings := s.gate.Reopen(t.Context(), applied, func(gate.Object) bool { return true })
	if len(findings) > 0 || valueOf(t, again[0], "password") != canary {
		t.Errorf("Reopen: %v, %v", again, findings)
	}
	if none, _ := s.gate.Reopen(t.Context(), applied, func(gate.Object) bool { return false }); len(none) > 0 {
		t.Error("Reopen opened what nobody wanted")
	}
}

const leak = `package acme
warn contains sprintf("%v", [input.object])
`

// THREATS S5: a rule that quotes its input quotes no secret.
func TestAttack_S5_RulesSeeNoSecret(t *testing.T) {
	s := newSite(t)
	s.rego = leak
	_, v := s.admit(s.push("one", map[string]string{"app/db.yaml": s.encrypt("db.yaml", secret, "")}))
	text := fmt.Sprint(v.Findings)
	if !v.Allowed() || strings.Contains(text, canary) || strings.Contains(text, "ENC[") || !strings.Contains(text, "password") {
		t.Errorf("allowed %t, findings %s", v.Allowed(), text)
	}
}

func TestPlaintextSecretIsDenied(t *testing.T) {
	s := newSite(t)
	v := s.denied(s.push("one", map[string]string{"app/db.yaml": secret}), verdict.PlaintextSecret)
	if f := v.Blocking()[0]; f.File != "app/db.yaml" || f.Line != 10 || strings.Contains(fmt.Sprint(v), canary) {
		t.Errorf("finding %+v", f)
	}
}

const noHostPID = `package acme
deny contains "hostPID" if input.object.spec.hostPID == true
`

// Ciphertext would hide from rules and image checks what the cluster gets to see.
func TestAttack_S2_NothingHidesInCiphertext(t *testing.T) {
	image := "docker.io/evil/miner:1"
	for name, tc := range map[string]struct {
		reason, manifest, regex string
		want                    []verdict.Reason
	}{
		"Pod": {
			"A setting that a rule denies, encrypted as a boolean.",
			"apiVersion: v1\nkind: Pod\nmetadata: {name: x, namespace: shop}\nspec: {hostPID: true, containers: []}\n",
			"^hostPID$", []verdict.Reason{verdict.SecretIntegrity},
		},
		"Image": {
			"An image that nobody signed.",
			"apiVersion: v1\nkind: Pod\nmetadata: {name: x, namespace: shop}\nspec: {containers: [{name: c, image: " + image + "}]}\n",
			"^image$", []verdict.Reason{verdict.ImageNotAllowed, verdict.SecretIntegrity},
		},
		"ConfigMap": {
			"Values of a ConfigMap are judged, and are not kept secret afterwards.",
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: shop}\ndata: {k: v}\n",
			"^data$", []verdict.Reason{verdict.SecretIntegrity},
		},
		"SecretLabel": {
			"A label of a Secret, which selects policies.",
			secret, "^(data|stringData|labels)$", []verdict.Reason{verdict.SecretIntegrity},
		},
		"SecretType": {
			"The type of a Secret: a token for an account.",
			secret, "^(data|stringData|type)$", []verdict.Reason{verdict.SecretIntegrity},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.rego = noHostPID
			file := s.encrypt("x.yaml", tc.manifest, tc.regex)
			if !strings.Contains(file, "ENC[") {
				t.Fatal("nothing is encrypted")
			}
			v := s.denied(s.push("one", map[string]string{"app/x.yaml": file}), tc.want...)
			// `secrets check` says the same of the file.
			_, checked := secrets.Check("app/x.yaml", []byte(file))
			f := v.Blocking()[len(tc.want)-1]
			if len(checked) != 1 || string(checked[0].Reason) != string(f.Reason) || checked[0].Message != f.Message ||
				checked[0].Path != f.File || checked[0].Line != f.Line || checked[0].Field != f.Field {
				t.Errorf("the gate says %+v, secrets check %v", f, checked)
			}
			if s.cluster.judged {
				t.Error("the cluster was asked about it")
			}
		})
	}
}

// THREATS S1: the MAC is checked over the file as it is in this revision, also for
// an object that did not change.
func TestAttack_S1_StaleFileIsNotOpened(t *testing.T) {
	s := newSite(t)
	two := secret + "---\n" + strings.Replace(secret, "name: db", "name: cache", 1)
	file := s.encrypt("db.yaml", two, "")
	kustomization := "resources: [db.yaml]\nnamePrefix: p-\n" // so that objects are known by their content
	s.allowed(s.push("one", map[string]string{"app/db.yaml": file, "app/kustomization.yaml": kustomization}))
	i := strings.LastIndex(file, "tier: back")
	edited := file[:i] + "tier: front" + file[i+len("tier: back"):]
	s.denied(s.push("two", map[string]string{"app/db.yaml": edited}), verdict.SecretIntegrity, verdict.SecretIntegrity)
}

// Ciphertext that nobody opens must not end up in the cluster as it is.
func TestCiphertextWithoutMetadata(t *testing.T) {
	s := newSite(t)
	file := s.encrypt("db.yaml", secret, "")
	cut, _, ok := strings.Cut(file, "\nsops:")
	if !ok {
		t.Fatal("no metadata to cut off")
	}
	s.denied(s.push("one", map[string]string{"app/db.yaml": cut + "\n"}), verdict.SecretUndecryptable)
}

func TestSecretFailures(t *testing.T) {
	for name, tc := range map[string]struct {
		reason       string
		err          error
		undetermined bool
	}{
		"Foreign": {"An error of a library may quote what it decrypted.", errors.New("cannot parse " + canary), false},
		"Late":    {"Out of time says nothing about the file.", fmt.Errorf("%s: %w", canary, context.DeadlineExceeded), true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.secrets.fail = func(string) error { return tc.err }
			v := s.denied(s.push("one", map[string]string{"app/db.yaml": s.encrypt("db.yaml", secret, "")}), verdict.SecretUndecryptable)
			if v.Undetermined() != tc.undetermined || strings.Contains(fmt.Sprint(v), canary) {
				t.Errorf("%s\nverdict %v", tc.reason, v)
			}
		})
	}
}
