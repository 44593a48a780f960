package secrets

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// RulesFile is the name of the file with creation rules.
const RulesFile = ".sops.yaml"

// Rules are the creation rules of a .sops.yaml: who must be able to read which
// file. The zero value matches no file.
type Rules struct {
	path  string
	rules []rule
}

type rule struct {
	pattern   *regexp.Regexp // nil matches all
	line      int
	groups    [][]Recipient
	threshold int
}

// ParseRules reads a .sops.yaml. Its path, slash-separated, says in which
// directory the rules apply and appears in errors. Fields that sops does not know
// are refused within a creation rule: a misspelt recipient list would require
// nobody.
func ParseRules(path string, raw []byte) (*Rules, error) {
	if len(raw) > maxRulesSize {
		return nil, problem(InvalidManifest, path, "is over the limit of %d bytes", maxRulesSize)
	}
	doc, err := parseRulesYAML(path, raw)
	if err != nil {
		return nil, err
	}
	r := &Rules{path: path}
	for i, node := range doc.Rules {
		parsed, err := parseRule(path, &node)
		if err != nil {
			err.Field = fieldName(append([]any{"creation_rules", i}, fieldSteps(err.Field)...))
			return nil, err
		}
		r.rules = append(r.rules, *parsed)
	}
	return r, nil
}

func fieldSteps(field string) []any {
	if field == "" {
		return nil
	}
	return []any{field}
}

type rulesFile struct {
	Rules []yaml.Node `yaml:"creation_rules"`
}

func parseRulesYAML(path string, raw []byte) (*rulesFile, error) {
	f := &file{path: path}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	var root yaml.Node
	switch err := dec.Decode(&root); {
	case errors.Is(err, io.EOF):
		return &rulesFile{}, nil
	case err != nil:
		return nil, f.syntaxError("YAML", err)
	}
	budget := maxNodes
	if err := f.validate(root.Content[0], 0, &budget); err != nil {
		return nil, err
	}
	var doc rulesFile
	if err := root.Decode(&doc); err != nil {
		return nil, f.syntaxError("YAML for sops (creation_rules is a list)", err)
	}
	return &doc, nil
}

// FindRules returns the rules of the .sops.yaml nearest to a file, in its
// directory or above, and nil when there is none. The path is slash-separated and
// relative to the root of fsys.
func FindRules(fsys fs.FS, file string) (*Rules, error) {
	for dir := path.Dir(path.Clean(file)); ; dir = path.Dir(dir) {
		name := path.Join(dir, RulesFile)
		raw, err := readLimited(fsys, name)
		switch {
		case err == nil:
			return ParseRules(name, raw)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, problem(InvalidManifest, name, "cannot be read; without it the recipients of %s cannot be judged", printable(file))
		case dir == "." || dir == "/":
			return nil, nil
		}
	}
}

func readLimited(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxRulesSize+1))
}

// Path returns where the rules were read from.
func (r *Rules) Path() string { return r.path }

// Check compares the recipients of an encrypted file with the first rule whose
// path_regex matches its path, as sops does, and returns one problem a difference:
// [RecipientMissing] or [RecipientStale]. matched is false when no rule speaks for
// the file. The path must be slash-separated and from the same root as the rules'.
func (r *Rules) Check(file string, info Info) (matched bool, found []*Error) {
	relative := file
	if dir := path.Dir(r.path); dir != "." {
		relative = strings.TrimPrefix(file, strings.TrimSuffix(dir, "/")+"/")
	}
	i := slices.IndexFunc(r.rules, func(rule rule) bool {
		return rule.pattern == nil || rule.pattern.MatchString(relative)
	})
	if i < 0 {
		return false, nil
	}
	rule := r.rules[i]
	have := byGroup(info.Recipients)
	if len(have) != len(rule.groups) {
		if len(have) > 1 || len(rule.groups) > 1 {
			found = append(found, problem(RecipientStale, file, "has %d key groups where the rule at %s:%d has %d; run sops updatekeys",
				max(len(have), 1), printable(r.path), rule.line, max(len(rule.groups), 1)))
		}
		have, rule.groups = [][]Recipient{slices.Concat(have...)}, [][]Recipient{slices.Concat(rule.groups...)}
	} else if t := rule.threshold; t > 0 && len(have) > 1 && t != info.Threshold {
		found = append(found, problem(RecipientStale, file, "is opened by %d key groups where the rule at %s:%d asks for %d; run sops updatekeys",
			info.Threshold, printable(r.path), rule.line, t))
	}
	for g := range have {
		found = append(found, r.compare(file, rule, have[g], rule.groups[g])...)
	}
	return true, found
}

func (r *Rules) compare(file string, rule rule, have, want []Recipient) []*Error {
	var found []*Error
	for _, w := range want {
		if !slices.ContainsFunc(have, w.same) {
			found = append(found, problem(RecipientMissing, file, "%s cannot read this file, though the rule at %s:%d names it; run sops updatekeys",
				describe([]Recipient{w})[0], printable(r.path), rule.line))
		}
	}
	for _, h := range have {
		if !slices.ContainsFunc(want, h.same) {
			found = append(found, problem(RecipientStale, file, "%s can read this file, though the rule at %s:%d does not name it; run sops updatekeys, then change the secret itself",
				describe([]Recipient{h})[0], printable(r.path), rule.line))
		}
	}
	return found
}

func byGroup(recipients []Recipient) [][]Recipient {
	var groups [][]Recipient
	for _, r := range recipients {
		for len(groups) <= r.Group {
			groups = append(groups, nil)
		}
		groups[r.Group] = append(groups[r.Group], r)
	}
	return groups
}

// same reports whether two recipients are one, whatever their group. PGP keys may
// be named by fingerprint or by long key ID, with spaces and in any case.
func (r Recipient) same(other Recipient) bool {
	if r.Type != other.Type {
		return false
	}
	switch r.Type {
	case TypePGP:
	case TypeAzureKV: // without a version in the rule, sops writes the latest
		return r.ID == other.ID || strings.HasSuffix(r.ID, "/") && strings.HasPrefix(other.ID, r.ID) ||
			strings.HasSuffix(other.ID, "/") && strings.HasPrefix(r.ID, other.ID)
	default:
		return r.ID == other.ID
	}
	a, b := pgpID(r.ID), pgpID(other.ID)
	if len(a) < len(b) {
		a, b = b, a
	}
	return a == b || len(b) >= 16 && strings.HasSuffix(a, b)
}

func pgpID(s string) string {
	s = strings.ToUpper(strings.ReplaceAll(s, " ", ""))
	return strings.TrimSuffix(strings.TrimPrefix(s, "0X"), "!")
}
