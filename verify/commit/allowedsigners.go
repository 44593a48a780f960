package commit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// gitNamespace is what Git writes into SSH signatures (gitformat-signature(5)).
const gitNamespace = "git"

// An allowedSigner is one line of an allowed_signers file.
type allowedSigner struct {
	signer string
	emails []string // of the signer's configuration
	forge  bool
	field  string // where the line is, for messages

	principals  []string
	authority   bool     // cert-authority
	namespaces  []string // nil admits all
	validAfter  time.Time
	validBefore time.Time
	key         ssh.PublicKey
}

const maxAllowedSignersBytes = 8 << 20

// addAllowedSigners reads lines as ssh-keygen(1) describes under ALLOWED
// SIGNERS. A line that cannot be understood is an error with its number: to
// skip it would drop a signer, or a limit on one, without a word.
func (k *keyring) addAllowedSigners(field string, s SignerConfig) error {
	if len(s.AllowedSigners) > maxAllowedSignersBytes {
		return configError(field, "%d bytes, more than %d", len(s.AllowedSigners), maxAllowedSignersBytes)
	}
	var errs []error
	found := false
	for i, line := range strings.Split(s.AllowedSigners, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		found = true
		at := fmt.Sprintf("%s:%d", field, i+1)
		a, err := parseAllowedSigner(line, time.Local)
		if err != nil {
			errs = append(errs, configError(at, "%v", err))
			continue
		}
		a.signer, a.emails, a.field = s.Name, slices.Clone(s.Emails), at
		a.forge = s.Forge || slices.ContainsFunc(a.principals, func(p string) bool { return containsEmail(forgeEmails, p) })
		if err := k.claimSSH(at, s.Name, a); err != nil {
			errs = append(errs, err)
			continue
		}
		k.allowed = append(k.allowed, a)
	}
	if !found {
		errs = append(errs, configError(field, "no line in it names a key"))
	}
	return errors.Join(errs...)
}

// claimSSH refuses a key that two signers share. Within one signer a key may
// have several lines, and an authority may serve several signers, told apart by
// their principals.
func (k *keyring) claimSSH(field, signer string, a *allowedSigner) error {
	if a.authority {
		return nil
	}
	for _, b := range k.allowed {
		if !b.authority && b.signer != signer && sameKey(a.key, b.key) {
			return configError(field, "key %s belongs to signer %q already (%s)", ssh.FingerprintSHA256(a.key), b.signer, b.field)
		}
	}
	return nil
}

func sameKey(a, b ssh.PublicKey) bool { return string(a.Marshal()) == string(b.Marshal()) }

// parseAllowedSigner parses: principals [options] keytype base64-key [comment].
func parseAllowedSigner(line string, zone *time.Location) (*allowedSigner, error) {
	principals, rest, err := field(line)
	if err != nil {
		return nil, err
	}
	if principals == "" || rest == "" {
		return nil, errors.New("not of the form «principals [options] keytype key»")
	}
	a := &allowedSigner{principals: strings.Split(principals, ",")}
	if slices.Contains(a.principals, "") {
		return nil, fmt.Errorf("empty principal in %q", principals)
	}
	if !isKeyType(rest) {
		var options string
		if options, rest, err = field(rest); err != nil {
			return nil, err
		}
		if err := a.setOptions(options, zone); err != nil {
			return nil, err
		}
	}
	if !isKeyType(rest) {
		return nil, fmt.Errorf("no key where one belongs: %.40q", rest)
	}
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(rest))
	if err != nil || len(options) > 0 {
		return nil, fmt.Errorf("the key cannot be read: %v", err)
	}
	if _, ok := key.(*ssh.Certificate); ok {
		return nil, errors.New("a certificate where a key belongs: give the authority's key with cert-authority")
	}
	a.key = key // a weak one is refused with the commit that it signs
	return a, nil
}

// field takes off the first word; quotes join what holds spaces.
func field(s string) (word, rest string, err error) {
	quoted := false
	end := len(s)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted && i+1 < len(s) && s[i+1] == '"':
			i++
		case (c == ' ' || c == '\t') && !quoted:
			end = i
		}
		if end < len(s) {
			break
		}
	}
	if quoted {
		return "", "", errors.New("a quote that does not end")
	}
	word, rest = s[:end], strings.TrimLeft(s[end:], " \t")
	if strings.HasPrefix(word, `"`) && strings.HasSuffix(word, `"`) && len(word) > 1 {
		word = word[1 : len(word)-1]
	}
	return word, rest, nil
}

func isKeyType(s string) bool {
	name, _, ok := strings.Cut(s, " ")
	if !ok {
		return false
	}
	for _, prefix := range []string{"ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "rsa-sha2-"} {
		if strings.HasPrefix(name, prefix) && !strings.ContainsAny(name, "=,\"") {
			return true
		}
	}
	return false
}

// setOptions reads a comma-separated list of name or name="value". An option
// given twice or unknown is an error, as in OpenSSH.
func (a *allowedSigner) setOptions(s string, zone *time.Location) error {
	seen := map[string]bool{}
	for s != "" {
		name, value, rest, err := option(s)
		if err != nil {
			return err
		}
		s = rest
		name = strings.ToLower(name)
		if seen[name] {
			return fmt.Errorf("option %s twice", name)
		}
		seen[name] = true
		switch name {
		case "cert-authority":
			if value != "" {
				return errors.New("option cert-authority takes no value")
			}
			a.authority = true
		case "namespaces":
			if value == "" {
				return errors.New("option namespaces is empty")
			}
			a.namespaces = strings.Split(value, ",")
		case "valid-after":
			a.validAfter, err = parseTime(value, zone)
		case "valid-before":
			a.validBefore, err = parseTime(value, zone)
		default:
			err = fmt.Errorf("unknown option %.40q", name)
		}
		if err != nil {
			return err
		}
	}
	if !a.validAfter.IsZero() && !a.validBefore.IsZero() && !a.validAfter.Before(a.validBefore) {
		return errors.New("valid-after is not before valid-before")
	}
	return nil
}

// option takes one name or name="value" off a list.
func option(s string) (name, value, rest string, err error) {
	end := strings.IndexAny(s, "=,")
	if end < 0 {
		return s, "", "", nil
	}
	name = s[:end]
	if s[end] == '=' {
		if end+1 >= len(s) || s[end+1] != '"' {
			return "", "", "", fmt.Errorf("value of option %.40q is not in quotes", name)
		}
		quoted := s[end+2:]
		close := strings.IndexByte(quoted, '"')
		if close < 0 {
			return "", "", "", fmt.Errorf("value of option %.40q does not end", name)
		}
		value, rest = quoted[:close], quoted[close+1:]
	} else {
		rest = s[end:]
	}
	if rest == "" {
		return name, value, "", nil
	}
	if rest[0] != ',' || len(rest) == 1 {
		return "", "", "", fmt.Errorf("unexpected text after option %.40q", name)
	}
	return name, value, rest[1:], nil
}

// parseTime reads YYYYMMDD[HHMM[SS]] in zone, or in UTC with a Z at the end.
func parseTime(s string, zone *time.Location) (time.Time, error) {
	text := s
	if t, ok := strings.CutSuffix(text, "Z"); ok {
		text, zone = t, time.UTC
	} else if t, ok := strings.CutSuffix(text, "UTC"); ok {
		text, zone = t, time.UTC
	}
	layout := map[int]string{8: "20060102", 12: "200601021504", 14: "20060102150405"}[len(text)]
	t, err := time.ParseInLocation(layout, text, zone)
	if layout == "" || err != nil {
		return time.Time{}, fmt.Errorf("time %.40q is not YYYYMMDD[HHMM[SS]][Z]", s)
	}
	return t, nil
}

// matchList reports whether s matches a list of patterns with * and ?, of which
// those with a leading ! exclude, as in ssh_config(5), PATTERNS.
func matchList(patterns []string, s string) bool {
	found := false
	for _, p := range patterns {
		if not, ok := strings.CutPrefix(p, "!"); ok {
			if matchPattern(not, s) {
				return false
			}
		} else if matchPattern(p, s) {
			found = true
		}
	}
	return found
}

// matchPattern is linear in practice: on a mismatch it goes back to the last *
// alone.
func matchPattern(pattern, s string) bool {
	star, mark := -1, 0
	p := 0
	for i := 0; i < len(s); {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
