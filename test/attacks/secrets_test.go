package main_test

import (
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
	"gitgate.dev/gitgate/test/testkit/sopskit"
)

const secretFile = "deploy/secret.yaml"

// encrypted encrypts a manifest for the installation, unless the options say
// otherwise.
func (s *site) encrypted(manifest string, o sopskit.Options) string {
	s.t.Helper()
	if o.Recipients == nil {
		o.Recipients = []sopskit.Recipient{s.Age}
	}
	out, err := sopskit.Encrypt("secret.yaml", []byte(manifest), o)
	s.must(err)
	return string(out)
}

func (s *site) edited(text, old, with string) string {
	s.t.Helper()
	if !strings.Contains(text, old) {
		s.t.Fatalf("no %q in\n%s", old, text)
	}
	return strings.Replace(text, old, with, 1)
}

func inSecretFile(text string) map[string]string { return map[string]string{secretFile: text} }

func TestAttack_S1_OutsideOfTheMAC(t *testing.T) {
	t.Parallel()
	s := newSite(t, "s1-site")
	plain := lab.PlainSecret("db", "password", canary)
	s.run("PlaintextEdited", func(s *site) {
		text := s.encrypted(plain, sopskit.Options{MACOnlyEncrypted: true})
		s.denied(refusal{reason: verdict.SecretIntegrity, file: secretFile}, gitrepo.Change{Files: inSecretFile(s.edited(text, "name: db", "name: evil"))})
	})
	s.run("NamedInMetadata", func(s *site) {
		text := s.edited(s.encrypted(plain, sopskit.Options{}), "encrypted_regex", "encrypted_comment_regex")
		s.denied(refusal{reason: verdict.SecretIntegrity, file: secretFile}, gitrepo.Change{Files: inSecretFile(text)})
	})
	s.run("ValueSwapped", func(s *site) {
		two := s.encrypted(strings.TrimSuffix(plain, "\n")+"\n  user: admin\n", sopskit.Options{})
		values := ciphertexts(two)
		s.denied(refusal{reason: verdict.SecretIntegrity, file: secretFile}, gitrepo.Change{
			Files: inSecretFile(strings.NewReplacer(values[0], values[1], values[1], values[0]).Replace(two)),
		})
	})
}

func ciphertexts(text string) (out []string) {
	for line := range strings.Lines(text) {
		if _, value, ok := strings.Cut(strings.TrimSpace(line), ": ENC["); ok && !strings.Contains(line, "mac:") {
			out = append(out, "ENC["+value)
		}
	}
	return out
}

// The MAC of SOPS does not notice these edits; the signature on the commit does.
func TestAttack_S2_MACGrantsNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, "s2-site")
	text := s.encrypted("apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\n  labels:\n    app: shop\nstringData:\n  password: "+canary+"\n", sopskit.Options{})
	s.accept(gitrepo.Change{Files: inSecretFile(text)})
	renamed := s.edited(text, "app: shop", "tier: shop")
	s.run("Unsigned", func(s *site) {
		s.denied(refusal{reason: verdict.UnsignedCommit}, gitrepo.Change{Files: inSecretFile(renamed), Author: s.Alice.Person()})
	})
	s.run("SignedByAnother", func(s *site) {
		s.denied(refusal{reason: verdict.UntrustedSigner}, gitrepo.Change{Files: inSecretFile(renamed), Author: s.Mallory.Person(), Sign: s.Mallory})
	})
	s.run("Control", func(s *site) { // the MAC is indeed still valid
		s.accept(gitrepo.Change{Files: inSecretFile(renamed)})
	})
}

// Whoever knows the public key can write a file that opens; only the owner of the
// path may.
func TestAttack_S3_ReencryptedToPublicKey(t *testing.T) {
	t.Parallel()
	s := newSite(t, "s3-site", func(_ *site, p *setup) {
		c := &p.trust.Spec.Commits
		c.Rules = append(c.Rules, v1alpha1.PathRule{Paths: []string{secretFile}, Signers: []string{"alice"}})
	})
	s.accept(gitrepo.Change{Files: inSecretFile(s.encrypted(lab.PlainSecret("db", "password", canary), sopskit.Options{}))})
	forged := inSecretFile(s.encrypted(lab.PlainSecret("db", "password", "known-to-mallory"), sopskit.Options{}))
	s.run("Stranger", func(s *site) {
		s.denied(refusal{reason: verdict.UntrustedSigner}, gitrepo.Change{Files: forged, Author: s.Mallory.Person(), Sign: s.Mallory})
	})
	s.run("NotTheOwner", func(s *site) {
		s.denied(refusal{reason: verdict.SignerNotAllowed, file: secretFile}, gitrepo.Change{Files: forged, Author: s.Bob.Person(), Sign: s.Bob})
	})
	s.run("Control", func(s *site) { s.accept(gitrepo.Change{Files: forged}) })
}

func TestAttack_S4_FileChoosesKeyService(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
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
			calls.Add(1)
			conn.Close()
		}
	}()
	s := newSite(t, "s4-site")
	plain := lab.PlainSecret("db", "password", canary)
	for name, recipient := range map[string]sopskit.Recipient{
		"Vault":  sopskit.Vault{Address: "http://" + listener.Addr().String()},
		"Plugin": sopskit.Plugin("age1canary1qqqq"),
	} {
		s.run(name, func(s *site) {
			text := s.encrypted(plain, sopskit.For(recipient))
			s.denied(refusal{reason: verdict.KeyServiceDenied, file: secretFile}, gitrepo.Change{Files: inSecretFile(text)})
			if n := calls.Load(); n != 0 {
				s.t.Errorf("the address in the file was called %d times", n)
			}
		})
	}
	s.run("BesideOurKey", func(s *site) {
		text := s.encrypted(plain, sopskit.For(sopskit.Vault{Address: "http://" + listener.Addr().String()}, s.Age))
		s.accept(gitrepo.Change{Files: inSecretFile(text)}) // opened by our key, and nobody was asked
		if n := calls.Load(); n != 0 {
			s.t.Errorf("the address in the file was called %d times", n)
		}
	})
	if err := s.unharmed(); err != nil { // no plugin was run
		t.Error(err)
	}
}

// A secret is seen in no status, event, log, metric or decision, neither when it
// is applied nor when the API server refuses it and quotes what it got.
func TestAttack_S5_CanaryNowhere(t *testing.T) {
	t.Parallel()
	s := newSite(t, "s5-site")
	head := "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\n"
	s.accept(gitrepo.Change{Files: inSecretFile(s.encrypted(head+"immutable: true\nstringData:\n  password: "+canary+"\n", sopskit.Options{}))})
	s.untold()
	s.run("Drift", func(s *site) {
		// Somebody edits the live object, and it is put right.
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: "db"}}
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"evil":"yes"}}}`))
		s.must(s.Client.Patch(s.t.Context(), secret, patch))
		for deadline := time.Now().Add(30 * time.Second); secret.Labels["evil"] != ""; time.Sleep(20 * time.Millisecond) {
			s.must(s.Client.Get(s.t.Context(), client.ObjectKeyFromObject(secret), secret))
			if time.Now().After(deadline) {
				s.t.Fatal("the edit was not undone")
			}
		}
		s.untold()
	})
	whole := sopskit.Options{EncryptedRegex: "^(data|stringData|spec)$"}
	for name, tc := range map[string]struct {
		text string
		want verdict.Reason
	}{
		"ChangeOfImmutable": {s.encrypted(head+"immutable: true\nstringData:\n  password: other-"+canary+"\n", sopskit.Options{}), verdict.DryRunRejected},
		"NotBase64":         {s.encrypted(strings.Replace(head, "db", "db2", 1)+"data:\n  password: "+canary+"\n", sopskit.Options{}), verdict.InvalidManifest},
		"NotJSON":           {s.encrypted(strings.Replace(head, "db", "db2", 1)+"type: kubernetes.io/dockerconfigjson\nstringData:\n  .dockerconfigjson: "+canary+"\n", sopskit.Options{}), verdict.DryRunRejected},
		"NotAString":        {s.encrypted(strings.Replace(head, "db", "db2", 1)+"data:\n  password:\n    nested: "+canary+"\n", sopskit.Options{}), verdict.InvalidManifest},
		"StringDataNested":  {s.encrypted(strings.Replace(head, "db", "db2", 1)+"stringData:\n  password: ["+canary+"]\n", sopskit.Options{}), verdict.InvalidManifest},
		// Of other kinds the API server would quote what it refuses.
		"OtherKind":      {s.encrypted("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: db2\ndata:\n  password:\n    nested: "+canary+"\n", whole), verdict.SecretIntegrity},
		"OtherKindValue": {s.encrypted("apiVersion: v1\nkind: Service\nmetadata:\n  name: db2\nspec:\n  type: "+canary+"\n  ports: [{port: 80}]\n", whole), verdict.SecretIntegrity},
		"OtherKindField": {s.encrypted("apiVersion: v1\nkind: Service\nmetadata:\n  name: db2\nspec:\n  externalName: \""+canary+" \"\n  type: ExternalName\n", whole), verdict.SecretIntegrity},
	} {
		s.run(name, func(s *site) {
			s.commit(gitrepo.Change{Files: inSecretFile(tc.text)})
			head := s.repo.Ref("refs/heads/main")
			got := s.attempt()
			s.quarantined(got, head, refusal{reason: tc.want, file: secretFile})
			s.untold()
			s.tip(s.good)
			s.accept(gitrepo.Change{})
		})
	}
	s.run("Plaintext", func(s *site) {
		s.denied(refusal{reason: verdict.PlaintextSecret, file: secretFile, line: 6}, gitrepo.Change{Files: inSecretFile(lab.PlainSecret("db2", "password", canary))})
		s.untold()
	})
}

// untold fails when the canary is anywhere but in the Secrets that hold it.
func (s *site) untold() {
	s.t.Helper()
	ctx := s.t.Context()
	seen := map[string]string{}
	for what, path := range map[string]string{"the log": s.server.Log, "the decision log": s.server.Decisions} {
		text, err := os.ReadFile(path)
		s.must(err)
		seen[what] = string(text)
	}
	metrics, err := s.server.Scrape(ctx)
	s.must(err)
	seen["the metrics"] = metrics
	keys, err := s.Cluster.EtcdKeys(ctx, "/registry/")
	s.must(err)
	events := 0
	for _, key := range keys {
		switch {
		case strings.HasPrefix(key, "/registry/secrets/"):
			continue
		case strings.HasPrefix(key, "/registry/events/") && strings.Contains(key, s.name):
			events++
		}
		if value, err := s.Cluster.EtcdGet(ctx, key); err == nil { // other tests delete theirs
			seen[key] = string(value)
		}
	}
	if events == 0 || !strings.Contains(seen["the metrics"], "gitgate_") || len(seen["the decision log"]) == 0 || len(seen["the log"]) == 0 {
		s.t.Errorf("not everything was looked at: %d events", events)
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(canary))
	for what, text := range seen {
		for _, form := range []string{canary, encoded, fmt.Sprintf("%x", canary)} {
			if i := strings.Index(text, form); i >= 0 {
				s.t.Errorf("the secret is in %s: …%s", what, text[max(0, i-300):min(len(text), i+100)])
			}
		}
	}
}
