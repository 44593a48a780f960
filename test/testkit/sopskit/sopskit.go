// Package sopskit makes age and PGP recipients in memory and encrypts manifests to
// them with the real sops library, as `sops encrypt` does. It runs no program,
// reads no environment and writes no file. Tests and the demo use it; it returns
// errors and leaves failing to them.
package sopskit

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keyservice"
	sopsjson "github.com/getsops/sops/v3/stores/json"
	sopsyaml "github.com/getsops/sops/v3/stores/yaml"
)

// Version is what the metadata of encrypted files names as the version of sops.
const Version = "3.13.3"

// SecretFields is the encrypted_regex that Kubernetes users set: only the values
// of a Secret are encrypted, so that kustomize can read the rest.
const SecretFields = "^(data|stringData)$"

// DefaultTime is when files were encrypted unless [Options] say otherwise.
var DefaultTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Options say how to encrypt. At least one recipient is required; the rest may be
// zero.
type Options struct {
	// Recipients can each read the file.
	Recipients []Recipient
	// Groups are key groups, Threshold of which are needed to read the file; zero
	// means all. They exclude Recipients.
	Groups    [][]Recipient
	Threshold int
	// EncryptedRegex chooses the keys below which values are encrypted. Empty means
	// [SecretFields].
	EncryptedRegex string
	// WholeFile encrypts every value instead, as sops does without a rule.
	WholeFile bool
	// MACOnlyEncrypted leaves plaintext values out of the MAC.
	MACOnlyEncrypted bool
	// LastModified is zero for [DefaultTime].
	LastModified time.Time
}

// For returns the options of a Secret with these recipients.
func For(recipients ...Recipient) Options { return Options{Recipients: recipients} }

// Encrypt encrypts a manifest. The extension of name, .yaml, .yml or .json,
// chooses the format. YAML may hold several documents.
func Encrypt(name string, plain []byte, o Options) ([]byte, error) {
	store, err := storeFor(name)
	if err != nil {
		return nil, err
	}
	branches, err := store.LoadPlainFile(plain)
	if err != nil {
		return nil, fmt.Errorf("sopskit: load %s: %w", name, err)
	}
	if len(branches) == 0 || store.HasSopsTopLevelKey(branches[0]) {
		return nil, fmt.Errorf("sopskit: %s is empty or encrypted already", name)
	}
	tree, recipients, err := newTree(branches, o)
	if err != nil {
		return nil, err
	}
	service := keyservice.NewCustomLocalClient(&encryptService{recipients: recipients})
	dataKey, errs := tree.GenerateDataKeyWithKeyServices([]keyservice.KeyServiceClient{service})
	if len(errs) > 0 {
		return nil, fmt.Errorf("sopskit: encrypt data key: %w", errors.Join(errs...))
	}
	if err := seal(tree, dataKey); err != nil {
		return nil, err
	}
	return store.EmitEncryptedFile(*tree)
}

// seal encrypts the values and the MAC.
func seal(tree *sops.Tree, dataKey []byte) error {
	cipher := aes.NewCipher()
	mac, err := tree.Encrypt(dataKey, cipher)
	if err != nil {
		return fmt.Errorf("sopskit: encrypt: %w", err)
	}
	tree.Metadata.MessageAuthenticationCode, err = cipher.Encrypt(mac, dataKey, tree.Metadata.LastModified.Format(time.RFC3339))
	return err
}

func newTree(branches sops.TreeBranches, o Options) (*sops.Tree, map[string]Recipient, error) {
	groups := o.Groups
	switch {
	case len(groups) > 0 && len(o.Recipients) > 0:
		return nil, nil, errors.New("sopskit: Recipients and Groups exclude each other")
	case len(groups) == 0 && len(o.Recipients) == 0:
		return nil, nil, errors.New("sopskit: no recipient")
	case len(groups) == 0:
		groups = [][]Recipient{o.Recipients}
	}
	m := sops.Metadata{Version: Version, LastModified: o.LastModified, MACOnlyEncrypted: o.MACOnlyEncrypted, ShamirThreshold: o.Threshold}
	if m.LastModified.IsZero() {
		m.LastModified = DefaultTime
	}
	switch {
	case o.WholeFile && o.EncryptedRegex != "":
		return nil, nil, errors.New("sopskit: WholeFile and EncryptedRegex exclude each other")
	case o.WholeFile:
		m.UnencryptedSuffix = sops.DefaultUnencryptedSuffix
	case o.EncryptedRegex != "":
		m.EncryptedRegex = o.EncryptedRegex
	default:
		m.EncryptedRegex = SecretFields
	}
	byID := map[string]Recipient{}
	for _, group := range groups {
		var keyGroup sops.KeyGroup
		for _, r := range group {
			keyGroup = append(keyGroup, r.masterKey())
			byID[r.ID()] = r
		}
		m.KeyGroups = append(m.KeyGroups, keyGroup)
	}
	return &sops.Tree{Branches: branches, Metadata: m}, byID, nil
}

func storeFor(name string) (sops.Store, error) {
	switch strings.ToLower(path.Ext(name)) {
	case ".yaml", ".yml":
		return sopsyaml.NewStore(&config.YAMLStoreConfig{}), nil
	case ".json":
		return sopsjson.NewStore(&config.JSONStoreConfig{Indent: -1}), nil
	}
	return nil, fmt.Errorf("sopskit: %s is neither YAML nor JSON", name)
}

// Rules returns a .sops.yaml with one creation rule for all files, naming the
// recipients.
func Rules(recipients ...Recipient) []byte {
	var age, pgp []string
	for _, r := range recipients {
		if _, ok := r.(*PGP); ok {
			pgp = append(pgp, r.ID())
		} else {
			age = append(age, r.ID())
		}
	}
	return fmt.Appendf(nil, "creation_rules:\n  - encrypted_regex: %s\n    age: %q\n    pgp: %q\n",
		SecretFields, strings.Join(age, ","), strings.Join(pgp, ","))
}
