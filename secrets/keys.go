package secrets

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"golang.org/x/crypto/ssh"
)

// Suffixes of the entries of a key Secret, as Flux names them.
const (
	ageSuffix = ".agekey"
	pgpSuffix = ".asc"
)

// keyServiceEntries are the entries with which Flux reaches key services.
var keyServiceEntries = []string{"sops.aws-kms", "sops.azure-kv", "sops.gcp-kms", "sops.vault-token"}

// Keys are the private keys that [Open] may use, and the only ones. They are safe
// for concurrent use. The zero value opens nothing. Printing Keys shows how many
// there are and nothing of them.
type Keys struct {
	identities []age.Identity
	ring       openpgp.EntityList
	recipients []Recipient
}

// NewKeys reads the entries of a key Secret, named as Flux names them:
// NAME.agekey holds age identities (X25519 or post-quantum hybrid, one a line,
// or one unencrypted SSH private key), NAME.asc armored OpenPGP private keys
// without a passphrase. No entry is ever ignored: credentials of key services
// and age plugins give [KeyServiceDenied], an entry of another name gives
// [InvalidManifest], and a Secret without any key [SecretUndecryptable].
// Errors name the entry and never quote it.
func NewKeys(entries map[string][]byte) (*Keys, error) {
	if len(entries) > maxKeyEntries {
		return nil, problem(InvalidManifest, "keys", "there are %d entries, more than the limit of %d", len(entries), maxKeyEntries)
	}
	k := &Keys{}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if err := k.add(name, entries[name]); err != nil {
			return nil, err
		}
	}
	switch n := len(k.identities) + len(k.ring); {
	case n == 0:
		return nil, problem(SecretUndecryptable, "keys", "there is no key; add an entry NAME%s or NAME%s", ageSuffix, pgpSuffix)
	case n > maxIdentities:
		return nil, problem(InvalidManifest, "keys", "there are %d keys, more than the limit of %d", n, maxIdentities)
	}
	return k, nil
}

// Recipients returns the public halves: what a file must be encrypted to. OpenPGP
// keys are given by the fingerprint of their primary key.
func (k *Keys) Recipients() []Recipient {
	if k == nil {
		return nil
	}
	return slices.Clone(k.recipients)
}

// Format writes how many keys there are, whatever the verb.
func (k *Keys) Format(s fmt.State, _ rune) {
	if k == nil {
		io.WriteString(s, "secrets.Keys(nil)")
		return
	}
	fmt.Fprintf(s, "secrets.Keys(%d age, %d pgp)", len(k.identities), len(k.ring))
}

func (k *Keys) add(name string, entry []byte) error {
	switch {
	case len(entry) > maxKeyEntrySize:
		return problem(InvalidManifest, name, "this key is over the limit of %d bytes", maxKeyEntrySize)
	case slices.Contains(keyServiceEntries, name):
		return problem(KeyServiceDenied, name, "key services are not supported by this version; encrypt to an age or PGP key and remove the entry")
	case strings.HasSuffix(name, ageSuffix):
		return k.addAge(name, entry)
	case strings.HasSuffix(name, pgpSuffix):
		return k.addPGP(name, entry)
	}
	return problem(InvalidManifest, name, "an entry of this name is not understood; keys are called NAME%s or NAME%s", ageSuffix, pgpSuffix)
}

func (k *Keys) addAge(name string, entry []byte) error {
	text := bytes.TrimSpace(entry)
	switch {
	case bytes.HasPrefix(text, []byte("age-encryption.org/")), bytes.HasPrefix(text, []byte("-----BEGIN AGE ENCRYPTED FILE")):
		return problem(SecretUndecryptable, name, "this identity file is protected by a passphrase, which nobody can type here; store the identity itself")
	case bytes.HasPrefix(text, []byte("-----BEGIN")):
		return k.addSSH(name, text)
	case bytes.Contains(bytes.ToUpper(text), []byte("AGE-PLUGIN-")):
		return problem(KeyServiceDenied, name, "this is an identity of an age plugin, and plugins are programs, which are never run; use a native age identity")
	}
	ids, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil {
		return problem(SecretUndecryptable, name, "this is not a list of age identities; make one with age-keygen")
	}
	for _, id := range ids {
		switch id := id.(type) {
		case *age.X25519Identity:
			k.recipients = append(k.recipients, Recipient{Type: TypeAge, ID: id.Recipient().String()})
		case *age.HybridIdentity:
			k.recipients = append(k.recipients, Recipient{Type: TypeAge, ID: id.Recipient().String()})
		default:
			return problem(SecretUndecryptable, name, "this kind of age identity is not supported; make one with age-keygen")
		}
		k.identities = append(k.identities, id)
	}
	return nil
}

func (k *Keys) addSSH(name string, entry []byte) error {
	id, err := agessh.ParseIdentity(entry)
	var missing *ssh.PassphraseMissingError
	if errors.As(err, &missing) {
		return problem(SecretUndecryptable, name, "this SSH key is protected by a passphrase, which nobody can type here; store it without one")
	}
	if err != nil {
		return problem(SecretUndecryptable, name, "this is not an Ed25519 or RSA private key of SSH")
	}
	signer, err := ssh.ParsePrivateKey(entry)
	if err != nil {
		return problem(SecretUndecryptable, name, "this is not an Ed25519 or RSA private key of SSH")
	}
	public := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	k.identities = append(k.identities, id)
	k.recipients = append(k.recipients, Recipient{Type: TypeAge, ID: public})
	return nil
}

func (k *Keys) addPGP(name string, entry []byte) error {
	r := bufio.NewReader(bytes.NewReader(entry))
	found := false
	for {
		block, err := armor.Decode(r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && block.Type == openpgp.PublicKeyType {
			continue // people keep both halves in one file
		}
		if err != nil || block.Type != openpgp.PrivateKeyType {
			return problem(SecretUndecryptable, name, "this is not an armored OpenPGP private key; export it with gpg --export-secret-keys --armor")
		}
		ring, err := openpgp.ReadKeyRing(block.Body)
		if err != nil {
			return problem(SecretUndecryptable, name, "this OpenPGP private key is damaged or of an unknown kind")
		}
		for _, entity := range ring {
			if err := k.addEntity(name, entity); err != nil {
				return err
			}
			found = true
		}
	}
	if !found {
		return problem(SecretUndecryptable, name, "this holds no armored OpenPGP private key; export one with gpg --export-secret-keys --armor")
	}
	return nil
}

func (k *Keys) addEntity(name string, entity *openpgp.Entity) error {
	usable := false
	for _, key := range (openpgp.EntityList{entity}).DecryptionKeys() {
		if key.PrivateKey == nil || key.PrivateKey.Dummy() {
			continue
		}
		if key.PrivateKey.Encrypted {
			return problem(SecretUndecryptable, name, "this OpenPGP private key is protected by a passphrase, which nobody can type here; export it without one")
		}
		usable = true
	}
	if !usable {
		return problem(SecretUndecryptable, name, "this OpenPGP key has no private part that can decrypt")
	}
	k.ring = append(k.ring, entity)
	k.recipients = append(k.recipients, Recipient{Type: TypePGP, ID: fmt.Sprintf("%X", entity.PrimaryKey.Fingerprint)})
	return nil
}
