package source

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// knownHosts is a known_hosts file (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT) held
// in memory; the package of that name in golang.org/x/crypto reads files only.
type knownHosts struct {
	lines   []knownHost
	revoked [][]byte
}

type knownHost struct {
	patterns []string
	key      ssh.PublicKey
}

func parseKnownHosts(data []byte) (*knownHosts, error) {
	k := &knownHosts{}
	for n := 1; ; n++ {
		marker, hosts, key, _, rest, err := ssh.ParseKnownHosts(data)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("entry %d is malformed", n)
		}
		switch marker {
		case "":
			k.lines = append(k.lines, knownHost{hosts, key})
		case "revoked":
			k.revoked = append(k.revoked, key.Marshal())
		default:
			return nil, fmt.Errorf("entry %d has the marker @%s, which is not supported", n, marker)
		}
		data = rest
	}
	if len(k.lines) == 0 {
		return nil, errors.New("no host key in it")
	}
	return k, nil
}

// keys returns the host keys that are trusted for an address.
func (k *knownHosts) keys(address string) []ssh.PublicKey {
	var out []ssh.PublicKey
	name := knownhosts.Normalize(address)
	for _, l := range k.lines {
		if matchHost(l.patterns, name) && !k.isRevoked(l.key) {
			out = append(out, l.key)
		}
	}
	return out
}

func (k *knownHosts) isRevoked(key ssh.PublicKey) bool {
	return slices.ContainsFunc(k.revoked, func(r []byte) bool { return string(r) == string(key.Marshal()) })
}

// algorithms returns the host key algorithms for which a key is known, so that
// the server presents one of those. ssh-rsa (SHA-1) and ssh-dss are left out.
func (k *knownHosts) algorithms(address string) []string {
	var out []string
	for _, key := range k.keys(address) {
		algorithms := []string{key.Type()}
		if key.Type() == ssh.KeyAlgoRSA {
			algorithms = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		}
		for _, a := range algorithms {
			if slices.Contains(ssh.SupportedAlgorithms().HostKeys, a) && !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	return out
}

// check is an ssh.HostKeyCallback.
func (k *knownHosts) check(address string, _ net.Addr, key ssh.PublicKey) error {
	for _, known := range k.keys(address) {
		if string(known.Marshal()) == string(key.Marshal()) {
			return nil
		}
	}
	return &hostKeyError{ssh.FingerprintSHA256(key)}
}

type hostKeyError struct{ fingerprint string }

func (e *hostKeyError) Error() string {
	return "the host's key " + e.fingerprint + " is not in known_hosts"
}

// matchHost matches a normalised host name against the patterns of a line. One
// negated match refuses the line.
func matchHost(patterns []string, name string) bool {
	matched := false
	for _, p := range patterns {
		if strings.HasPrefix(p, "|") {
			matched = matched || matchHashed(p, name)
			continue
		}
		positive, negated := strings.CutPrefix(p, "!")
		positive = knownhosts.Normalize(positive) // [host]:22 is host
		if matchWildcard(strings.ToLower(positive), strings.ToLower(name)) {
			if negated {
				return false
			}
			matched = true
		}
	}
	return matched
}

// matchHashed matches |1|salt|hash, an HMAC-SHA1 of the name.
func matchHashed(pattern, name string) bool {
	parts := strings.Split(pattern, "|")
	if len(parts) != 4 || parts[1] != "1" {
		return false
	}
	salt, err1 := base64.StdEncoding.DecodeString(parts[2])
	hash, err2 := base64.StdEncoding.DecodeString(parts[3])
	mac := hmac.New(sha1.New, salt)
	mac.Write([]byte(name))
	return err1 == nil && err2 == nil && hmac.Equal(mac.Sum(nil), hash)
}

// matchWildcard matches '*' and '?' in time linear in pattern times name.
func matchWildcard(pattern, name string) bool {
	star, mark := -1, 0
	p, n := 0, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
