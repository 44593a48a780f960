package secrets

import (
	"slices"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/azkv"
	"github.com/getsops/sops/v3/gcpkms"
	"github.com/getsops/sops/v3/hckms"
	"github.com/getsops/sops/v3/hcvault"
	"github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/kms"
	"github.com/getsops/sops/v3/pgp"
	"go.yaml.in/yaml/v3"
)

// The types of a [Recipient], named as in the metadata of SOPS.
const (
	TypeAge     = "age"
	TypePGP     = "pgp"
	TypeKMS     = "kms"
	TypeGCPKMS  = "gcp_kms"
	TypeHCKMS   = "hckms"
	TypeAzureKV = "azure_kv"
	TypeVault   = "hc_vault"
)

// A Recipient is one to whom a file is encrypted.
type Recipient struct {
	Type string
	// ID is the age recipient, the PGP fingerprint, or the address of a key in its
	// key service. It is what the file claims, and public.
	ID string
	// Group is the 0-based key group; a file without groups has one.
	Group int
}

// Info is the public part of a file.
type Info struct {
	// Encrypted reports whether the file carries SOPS metadata. All that follows is
	// empty when it does not.
	Encrypted bool
	// Documents counts the documents that are not empty.
	Documents int
	// Recipients are in the order of their groups.
	Recipients []Recipient
	// Threshold is how many key groups must be opened; 0 without groups.
	Threshold int
	// Version is the version of sops that wrote the file, as the file claims.
	Version string
	// LastModified is when the file was encrypted, as the file claims.
	LastModified time.Time
	// MACOnlyEncrypted means that the MAC leaves out what is not encrypted. [Open]
	// refuses such files.
	MACOnlyEncrypted bool
	// EncryptedPaths are the paths of the values that are ciphertext, by document.
	EncryptedPaths []string
}

// Inspect reads the public part of a YAML or JSON file. It fails with an [Error]
// on what is malformed, over a limit, or inconsistent; a file without SOPS
// metadata is not an error.
func Inspect(path string, raw []byte) (Info, error) {
	f, err := parse(path, raw)
	if err != nil {
		return Info{}, err
	}
	info, _, err := f.inspect(raw)
	if err == nil {
		err = f.orphaned(info)
	}
	return info, err
}

// Check returns everything that can be said against a file without a key: what
// [Inspect] fails with, values of Secrets that lie open and ciphertext where
// [CheckObject] refuses it, with their lines, and files that [Open] refuses
// whatever the key. It judges the objects as they stand in the file, before
// kustomize.
func Check(path string, raw []byte) (Info, []*Error) {
	f, err := parse(path, raw)
	if err != nil {
		return Info{}, []*Error{asError(path, err)}
	}
	found := f.plaintext()
	misplaced := f.misplaced()
	found = append(found, misplaced...)
	info, tree, err := f.inspect(raw)
	if err == nil && info.Encrypted {
		err = f.admissible(tree)
	}
	if err == nil && len(misplaced) == 0 {
		err = f.orphaned(info)
	}
	if err != nil {
		found = append(found, asError(path, err))
	}
	return info, found
}

func asError(path string, err error) *Error {
	if e, ok := err.(*Error); ok { // nothing here wraps an *Error
		return e
	}
	return problem(SecretUndecryptable, path, "cannot be judged")
}

// inspect loads the tree of an encrypted file; it is nil for others.
func (f *file) inspect(raw []byte) (Info, *sops.Tree, error) {
	info := Info{}
	for i, doc := range f.docs {
		if doc == nil {
			continue
		}
		info.Documents++
		walkLeaves(value(doc), nil, func(at []any, text string) {
			if len(at) > 0 && at[0] != metadataKey && isCiphertext(text) {
				info.EncryptedPaths = append(info.EncryptedPaths, documentField(i, len(f.docs), at))
			}
		})
	}
	encrypted, err := f.metadata()
	if err != nil {
		return info, nil, err
	}
	if !encrypted {
		return info, nil, nil
	}
	info.Encrypted = true
	tree, err := f.load(raw)
	if err != nil {
		return info, nil, err
	}
	m := tree.Metadata
	info.Version, info.LastModified, info.MACOnlyEncrypted = m.Version, m.LastModified, m.MACOnlyEncrypted
	if len(m.KeyGroups) > 1 {
		info.Threshold = m.ShamirThreshold
	}
	for i, group := range m.KeyGroups {
		for _, key := range group {
			info.Recipients = append(info.Recipients, Recipient{Type: recipientType(key), ID: recipientID(key), Group: i})
		}
	}
	return info, tree, nil
}

// orphaned refuses ciphertext without the metadata that it needs.
func (f *file) orphaned(info Info) error {
	if info.Encrypted || len(info.EncryptedPaths) == 0 {
		return nil
	}
	return problem(SecretIntegrity, f.path, "holds ciphertext at %s but no sops metadata; restore the file as sops wrote it", info.EncryptedPaths[0])
}

func documentField(document, documents int, at []any) string {
	if documents == 1 {
		return fieldName(at)
	}
	return fieldName(slices.Concat([]any{document}, at))
}

// metadata reports whether the file carries SOPS metadata. All documents must
// carry it, and the same: sops writes it into each, verifies the first, and would
// take what was appended later for its own.
func (f *file) metadata() (bool, error) {
	var first *yaml.Node
	carrying, total := 0, 0
	for i, doc := range f.docs {
		if doc == nil {
			continue
		}
		total++
		meta, line := child(doc, metadataKey)
		if meta == nil || meta.Kind != yaml.MappingNode {
			continue
		}
		mac, _ := child(meta, "mac")
		version, _ := child(meta, "version")
		if mac == nil && version == nil {
			continue // a field that is merely called sops
		}
		carrying++
		if first == nil {
			first = mac
		} else if mac == nil || mac.Value != first.Value {
			e := problem(SecretUndecryptable, f.path, "document %d was encrypted apart from the first; encrypt the whole file at once, or keep one document a file", i)
			e.Line = line
			return true, e
		}
	}
	if carrying == 0 {
		return false, nil
	}
	if carrying != total || total != len(f.docs) {
		return true, problem(SecretIntegrity, f.path, "a document carries no sops metadata: it was added after the file was encrypted; encrypt the whole file again")
	}
	return true, f.noAliases()
}

func (f *file) noAliases() error {
	var walk func(n *yaml.Node) error
	walk = func(n *yaml.Node) error {
		if n.Kind == yaml.AliasNode || n.Anchor != "" || n.ShortTag() == "!!merge" {
			return f.at(n, problem(SecretIntegrity, f.path, "has an anchor, alias or merge key, which sops never writes; restore the file as sops wrote it"))
		}
		for i, c := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 0 && c.ShortTag() != "!!str" && c.ShortTag() != "!!merge" {
				return f.at(c, problem(InvalidManifest, f.path, "has a key that is not a string; quote it"))
			}
			if err := walk(c); err != nil {
				return err
			}
		}
		return nil
	}
	for _, doc := range f.docs {
		if err := walk(doc); err != nil {
			return err
		}
	}
	return nil
}

// admissible refuses metadata under which the MAC says too little, or which costs
// too much to obey.
func (f *file) admissible(tree *sops.Tree) error {
	m := tree.Metadata
	fail := func(r Reason, format string, args ...any) error {
		e := problem(r, f.path, format, args...)
		e.Line = f.lookup(0, []any{metadataKey})
		return e
	}
	switch {
	case m.MACOnlyEncrypted:
		return fail(SecretIntegrity, "mac_only_encrypted leaves all plaintext values out of the MAC, so anybody may change them; encrypt the file without it")
	case m.EncryptedCommentRegex != "" || m.UnencryptedCommentRegex != "":
		return fail(SecretIntegrity, "comments choose what is encrypted, and no MAC covers comments; use encrypted_regex instead")
	case m.MessageAuthenticationCode == "":
		return fail(SecretIntegrity, "the MAC is missing; restore the file as sops wrote it")
	case !isCiphertext(m.MessageAuthenticationCode):
		return fail(SecretIntegrity, "the MAC is not a ciphertext of sops; restore the file as sops wrote it")
	case len(m.KeyGroups) > 1 && (m.ShamirThreshold < 2 || m.ShamirThreshold > len(m.KeyGroups)):
		return fail(SecretUndecryptable, "shamir_threshold is %d for %d key groups; encrypt the file again", m.ShamirThreshold, len(m.KeyGroups))
	case m.MasterKeyCount() > maxRecipients:
		return fail(SecretUndecryptable, "has %d recipients, more than the limit of %d", m.MasterKeyCount(), maxRecipients)
	}
	for _, pattern := range []string{m.EncryptedRegex, m.UnencryptedRegex} {
		if reason := patternFault(pattern); reason != "" {
			return fail(SecretUndecryptable, "encrypted_regex or unencrypted_regex %s", reason)
		}
	}
	if (m.EncryptedRegex != "" || m.UnencryptedRegex != "") && f.pathElements() > maxPatterns {
		return fail(SecretUndecryptable, "has too many values to match each against encrypted_regex; split it")
	}
	return nil
}

// pathElements counts what sops matches a pattern against: each key on the way to
// each leaf.
func (f *file) pathElements() int {
	total := 0
	var walk func(n *yaml.Node, depth int)
	walk = func(n *yaml.Node, depth int) {
		if n.Kind == yaml.ScalarNode {
			total += depth
		}
		for i, c := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 0 {
				continue
			}
			walk(c, depth+1)
		}
	}
	for _, doc := range f.docs {
		walk(doc, 0)
	}
	return total
}

func recipientType(key keys.MasterKey) string {
	switch key.(type) {
	case *age.MasterKey:
		return TypeAge
	case *pgp.MasterKey:
		return TypePGP
	case *kms.MasterKey:
		return TypeKMS
	case *gcpkms.MasterKey:
		return TypeGCPKMS
	case *hckms.MasterKey:
		return TypeHCKMS
	case *azkv.MasterKey:
		return TypeAzureKV
	case *hcvault.MasterKey:
		return TypeVault
	}
	return "unknown"
}

func recipientID(key keys.MasterKey) string {
	if k, ok := key.(*kms.MasterKey); ok {
		return k.Arn // without role, context and profile, which are not identity
	}
	return key.ToString()
}

// describe names recipients, each once.
func describe(recipients []Recipient) []string {
	var out []string
	for _, r := range recipients {
		if s := r.Type + " " + printable(r.ID); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
