package secrets

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ruleFields are all fields of a creation rule that sops knows, for a rule is
// read strictly; those without a use here have no more to say.
type ruleFields struct {
	PathRegex     string      `yaml:"path_regex"`
	Age           idList      `yaml:"age"`
	PGP           idList      `yaml:"pgp"`
	KMS           idList      `yaml:"kms"`
	GCPKMS        idList      `yaml:"gcp_kms"`
	HCKMS         idList      `yaml:"hckms"`
	AzureKeyVault idList      `yaml:"azure_keyvault"`
	VaultURI      idList      `yaml:"hc_vault_transit_uri"`
	KeyGroups     []ruleGroup `yaml:"key_groups"`
	Threshold     int         `yaml:"shamir_threshold"`

	AWSProfile              string `yaml:"aws_profile"`
	UnencryptedSuffix       string `yaml:"unencrypted_suffix"`
	EncryptedSuffix         string `yaml:"encrypted_suffix"`
	UnencryptedRegex        string `yaml:"unencrypted_regex"`
	EncryptedRegex          string `yaml:"encrypted_regex"`
	UnencryptedCommentRegex string `yaml:"unencrypted_comment_regex"`
	EncryptedCommentRegex   string `yaml:"encrypted_comment_regex"`
	MACOnlyEncrypted        bool   `yaml:"mac_only_encrypted"`
}

type ruleGroup struct {
	Merge []ruleGroup `yaml:"merge"`
	Age   idList      `yaml:"age"`
	PGP   idList      `yaml:"pgp"`
	KMS   []struct {
		ARN        string         `yaml:"arn"`
		Role       string         `yaml:"role"`
		Context    map[string]any `yaml:"context"`
		AWSProfile string         `yaml:"aws_profile"`
	} `yaml:"kms"`
	GCPKMS []struct {
		ResourceID string `yaml:"resource_id"`
	} `yaml:"gcp_kms"`
	HCKMS []struct {
		KeyID string `yaml:"key_id"`
	} `yaml:"hckms"`
	AzureKV []struct {
		VaultURL string `yaml:"vaultUrl"`
		Key      string `yaml:"key"`
		Version  string `yaml:"version"`
	} `yaml:"azure_keyvault"`
	Vault idList `yaml:"hc_vault"`
}

// An idList is a list of strings, or one string with commas.
type idList []string

// UnmarshalYAML accepts both forms.
func (l *idList) UnmarshalYAML(n *yaml.Node) error {
	var items []string
	if n.Kind == yaml.ScalarNode {
		items = []string{n.Value}
		if n.ShortTag() == "!!null" {
			items = nil
		}
	} else if err := n.Decode(&items); err != nil {
		return err
	}
	for _, item := range items {
		for id := range strings.SplitSeq(item, ",") {
			if id = strings.TrimSpace(id); id != "" {
				*l = append(*l, id)
			}
		}
	}
	return nil
}

func parseRule(path string, n *yaml.Node) (*rule, *Error) {
	fail := func(field, format string, args ...any) *Error {
		e := problem(InvalidManifest, path, format, args...)
		e.Line, e.Field = n.Line, field
		return e
	}
	var fields ruleFields
	if err := decodeStrict(n, &fields); err != nil {
		if m := unknownField.FindStringSubmatch(err.Error()); m != nil {
			return nil, fail("", "has the field %s, which sops does not know; correct its name", printable(m[1]))
		}
		return nil, fail("", "is not a creation rule of sops; recipients are strings or lists of strings")
	}
	r := &rule{line: n.Line, threshold: fields.Threshold}
	if fields.PathRegex != "" {
		pattern, err := regexp.Compile(fields.PathRegex)
		if err != nil {
			return nil, fail("path_regex", "is not a regular expression")
		}
		r.pattern = pattern
	}
	r.groups = fields.groups()
	if len(r.groups) == 0 || slices.ContainsFunc(r.groups, func(g []Recipient) bool { return len(g) == 0 }) {
		return nil, fail("", "names no recipient, or has an empty key group; add one under age or pgp")
	}
	return r, nil
}

var unknownField = regexp.MustCompile(`field (\S+) not found`)

// decodeStrict decodes a node with aliases and merge keys resolved, as people
// define recipients once and refer to them, and refuses unknown fields.
func decodeStrict(n *yaml.Node, into any) error {
	resolved, err := yaml.Marshal(value(n))
	if err != nil {
		return err
	}
	dec := yaml.NewDecoder(bytes.NewReader(resolved))
	dec.KnownFields(true)
	return dec.Decode(into)
}

// groups returns the recipients. As in sops, key_groups hide the other lists.
func (f *ruleFields) groups() [][]Recipient {
	var groups [][]Recipient
	for _, g := range f.KeyGroups {
		groups = append(groups, g.recipients())
	}
	if len(groups) > 0 {
		return groups
	}
	var all []Recipient
	for _, list := range []struct {
		kind string
		ids  idList
	}{
		{TypeAge, f.Age}, {TypePGP, f.PGP}, {TypeKMS, f.KMS}, {TypeGCPKMS, f.GCPKMS},
		{TypeHCKMS, f.HCKMS}, {TypeAzureKV, f.AzureKeyVault}, {TypeVault, f.VaultURI},
	} {
		for _, id := range list.ids {
			all = appendRecipient(all, list.kind, id)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return [][]Recipient{all}
}

func (g *ruleGroup) recipients() []Recipient {
	var all []Recipient
	for _, m := range g.Merge {
		all = append(all, m.recipients()...)
	}
	for _, id := range g.Age {
		all = appendRecipient(all, TypeAge, id)
	}
	for _, id := range g.PGP {
		all = appendRecipient(all, TypePGP, id)
	}
	for _, k := range g.KMS {
		all = appendRecipient(all, TypeKMS, k.ARN)
	}
	for _, k := range g.GCPKMS {
		all = appendRecipient(all, TypeGCPKMS, k.ResourceID)
	}
	for _, k := range g.HCKMS {
		all = appendRecipient(all, TypeHCKMS, k.KeyID)
	}
	for _, k := range g.AzureKV {
		all = appendRecipient(all, TypeAzureKV, fmt.Sprintf("%s/keys/%s/%s", k.VaultURL, k.Key, k.Version))
	}
	for _, id := range g.Vault {
		all = appendRecipient(all, TypeVault, id)
	}
	return all
}

// appendRecipient adds a recipient unless it is there already.
func appendRecipient(all []Recipient, kind, id string) []Recipient {
	if kind == TypeKMS {
		id, _, _ = strings.Cut(id, "+") // arn+role
	}
	r := Recipient{Type: kind, ID: id}
	for _, other := range all {
		if r.same(other) {
			return all
		}
	}
	return append(all, r)
}
