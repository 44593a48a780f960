package parity

import (
	"strings"

	extensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
	"gitgate.dev/gitgate/test/testkit/sopskit"
)

func parameters(text string) *extensions.JSON { return &extensions.JSON{Raw: []byte(text)} }

// encrypted is a manifest as sops writes it, for the lab's recipient.
func (w *world) encrypted(manifest string) string { return w.encryptedTo(manifest, w.Age) }

func (w *world) encryptedTo(manifest string, to ...sopskit.Recipient) string {
	return sealed(manifest, sopskit.For(to...))
}

func sealed(manifest string, o sopskit.Options) string {
	out, err := sopskit.Encrypt("secret.yaml", []byte(manifest), o)
	if err != nil {
		panic(err) // the manifests are ours
	}
	return string(out)
}

// secretTrials are commits that differ in how they hold secrets.
func (w *world) secretTrials() map[string]trial {
	other, err := sopskit.NewAge()
	if err != nil {
		panic(err) // no randomness
	}
	plain := lab.PlainSecret("db", "password", "hunter2")
	text := w.encrypted(plain)
	two := w.encrypted(strings.TrimSuffix(plain, "\n") + "\n  user: admin\n")
	head := "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\n"
	secret := func(text string) gitrepo.Change { return files("db.yaml", text) }
	rules := func(text string, to ...sopskit.Recipient) gitrepo.Change {
		c := secret(text)
		c.Files[".sops.yaml"] = string(sopskit.Rules(to...))
		return c
	}
	open := sealed(plain, sopskit.Options{Recipients: []sopskit.Recipient{w.Age}, MACOnlyEncrypted: true})
	data := sealed("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: db\ndata:\n  password: hunter2\n", sopskit.Options{Recipients: []sopskit.Recipient{w.Age}, EncryptedRegex: "^data$"})
	return map[string]trial{
		"Encrypted":     {reason: "Encrypted to our key.", change: secret(text)},
		"Many":          {reason: "To several keys, one of which is ours.", change: secret(w.encryptedTo(plain, other, w.Age))},
		"BesideVault":   {reason: "Nobody is asked beside our key.", change: secret(w.encryptedTo(plain, sopskit.Vault{Address: "http://127.0.0.1:1"}, w.Age))},
		"Multi":         {reason: "Several documents in one file.", change: secret(w.encrypted(plain + "---\n" + lab.PlainSecret("api", "token", "hunter3")))},
		"EmptySecret":   {reason: "A Secret that holds nothing.", change: secret(head)},
		"Plaintext":     {reason: "Nobody encrypted it.", change: secret(plain), want: reasons(verdict.PlaintextSecret)},
		"PlainData":     {reason: "Base64 is no encryption.", change: secret(head + "data:\n  password: aHVudGVyMg==\n"), want: reasons(verdict.PlaintextSecret)},
		"HalfPlain":     {reason: "Half of it is not encrypted.", change: secret(edited(text, "stringData:\n", "data:\n    more: aHVudGVyMg==\nstringData:\n")), want: reasons(verdict.PlaintextSecret)},
		"Generator":     {reason: "kustomize makes a Secret of what everybody can read.", change: files("kustomization.yaml", "resources: [web.yaml, settings.yaml, kept.yaml, spare.yaml]\nsecretGenerator:\n- name: db\n  literals: [password=hunter2]\n"), want: reasons(verdict.PlaintextSecret)},
		"OtherKey":      {reason: "Encrypted to somebody else.", change: secret(w.encryptedTo(plain, other)), want: reasons(verdict.SecretUndecryptable)},
		"Garbage":       {reason: "What has no metadata of sops is plaintext.", change: secret(head + "stringData:\n  password: ENC[AES256_GCM,data:AAAA,iv:AAAA,tag:AAAA,type:str]\nsops: [1, 2]\n"), want: reasons(verdict.PlaintextSecret, verdict.SchemaInvalid)},
		"Vault":         {reason: "The file asks for a server.", change: secret(w.encryptedTo(plain, sopskit.Vault{Address: "http://127.0.0.1:1"})), want: reasons(verdict.KeyServiceDenied)},
		"Plugin":        {reason: "The file asks for a program.", change: secret(w.encryptedTo(plain, sopskit.Plugin("age1canary1qqqq"))), want: reasons(verdict.KeyServiceDenied)},
		"Edited":        {reason: "Edited after it was encrypted.", change: secret(edited(text, "name: db", "name: api")), want: reasons(verdict.SecretIntegrity)},
		"Ciphertext":    {reason: "A ciphertext that was changed.", change: secret(edited(text, "ENC[AES256_GCM,data:", "ENC[AES256_GCM,data:AAAA")), want: reasons(verdict.SecretIntegrity)},
		"Swapped":       {reason: "Two values that changed places.", change: secret(swapped(two)), want: reasons(verdict.SecretIntegrity)},
		"NoMAC":         {reason: "Without a MAC.", change: secret(edited(text, "    mac:", "    nomac:")), want: reasons(verdict.SchemaInvalid, verdict.SecretIntegrity)},
		"PlaintextMAC":  {reason: "What the MAC leaves out may not be edited either.", change: secret(edited(open, "name: db", "name: api")), want: reasons(verdict.SecretIntegrity)},
		"OtherKind":     {reason: "Ciphertext where rules could not see what it becomes.", change: secret(data), want: reasons(verdict.SecretIntegrity)},
		"NotBase64":     {reason: "What comes out is no Secret.", change: secret(w.encrypted(head + "data:\n  password: hunter2\n")), want: reasons(verdict.InvalidManifest)},
		"Nested":        {reason: "Nor is this.", change: secret(w.encrypted(head + "stringData:\n  password: [hunter2]\n")), want: reasons(verdict.InvalidManifest)},
		"NoKeys":        {reason: "Where the cluster has no keys those of the check do not count.", plan: func(_ *site, p *plan) { p.sync.Spec.Decryption = nil }, change: secret(text), want: reasons(verdict.SecretUndecryptable)},
		"StaleRules":    {reason: "One more recipient than the rules name.", change: rules(w.encryptedTo(plain, w.Age, other), w.Age), want: reasons(verdict.RecipientStale)},
		"MissingRules":  {reason: "One recipient less than the rules name.", change: rules(text, w.Age, other), want: reasons(verdict.RecipientMissing)},
		"RulesFollowed": {reason: "Just those that the rules name.", change: rules(text, w.Age)},
		"WrongType":     {reason: "The API server knows what a type of Secret needs, and quotes nothing of it.", change: secret(w.encrypted(head + "type: kubernetes.io/dockerconfigjson\nstringData:\n  .dockerconfigjson: hunter2\n")), server: reasons(verdict.DryRunRejected)},
	}
}

// swapped exchanges the first two ciphertexts of a file.
func swapped(text string) string {
	var values []string
	for line := range strings.Lines(text) {
		if _, value, ok := strings.Cut(strings.TrimSpace(line), ": ENC["); ok && !strings.Contains(line, "mac:") {
			values = append(values, "ENC["+value)
		}
	}
	return strings.NewReplacer(values[0], values[1], values[1], values[0]).Replace(text)
}
