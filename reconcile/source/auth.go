package source

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"golang.org/x/crypto/ssh"
)

// An Auth is what a repository asks for before it answers. It belongs to the
// host for which it was made and is not sent to another. It prints without its
// secrets. The zero value is anonymous access over HTTPS.
type Auth struct {
	origin string // scheme://host for which it was made

	username, password string
	token              string
	roots              *x509.CertPool // nil means the system's

	signer     ssh.Signer
	passphrase string
	knownHosts *knownHosts
}

// Keys of a Secret, as Flux names them.
const (
	keyUsername   = "username"
	keyPassword   = "password"
	keyToken      = "bearerToken"
	keyCA         = "ca.crt"
	keyCAAlias    = "caFile"
	keyIdentity   = "identity"
	keyKnownHosts = "known_hosts"
)

// unsupportedKeys are keys that Flux reads and gitgate does not. Ignoring one
// would mean to connect otherwise than its owner meant.
var unsupportedKeys = []string{"tls.crt", "tls.key", "certFile", "keyFile", "githubAppID", "githubAppPrivateKey"}

// AuthFromSecret reads the data of a Secret for a repository URL.
//
//   - https: username and password, or bearerToken, or neither; ca.crt (or
//     caFile), a PEM bundle of the only CAs that may vouch for the server.
//   - ssh: identity, a private key in PEM, with password as its passphrase, and
//     known_hosts, without which no host is trusted. identity.pub is ignored.
//
// An error wraps [ErrInvalidAuth] and names the key that is missing or wrong,
// never a value.
func AuthFromSecret(rawURL string, data map[string][]byte) (Auth, error) {
	u, err := ParseLoopbackURL(rawURL)
	if err != nil {
		return Auth{}, err
	}
	for _, k := range unsupportedKeys {
		if has(data, k) {
			return Auth{}, invalidAuth("key %q is not supported", k)
		}
	}
	for _, k := range []string{keyUsername, keyPassword, keyToken} {
		if strings.ContainsFunc(string(data[k]), unicode.IsControl) {
			return Auth{}, invalidAuth("key %q holds a line break or another control character", k)
		}
	}
	a := Auth{origin: u.origin()}
	if u.SSH() {
		err = a.readSSH(u, data)
	} else {
		err = a.readHTTP(data)
	}
	if err != nil {
		return Auth{}, err
	}
	return a, nil
}

func invalidAuth(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalidAuth, fmt.Sprintf(format, args...))
}

func has(data map[string][]byte, key string) bool { return len(data[key]) > 0 }

func (a *Auth) readHTTP(data map[string][]byte) error {
	user, password, token := has(data, keyUsername), has(data, keyPassword), has(data, keyToken)
	switch {
	case token && (user || password):
		return invalidAuth("keys %q and %q exclude each other", keyToken, keyUsername)
	case user && !password:
		return invalidAuth("key %q is missing beside %q", keyPassword, keyUsername)
	case password && !user:
		return invalidAuth("key %q is missing beside %q", keyUsername, keyPassword)
	case strings.Contains(string(data[keyUsername]), ":"):
		return invalidAuth("key %q holds a colon, which RFC 7617 forbids", keyUsername)
	case !user && !token && has(data, keyIdentity):
		return invalidAuth("keys %q and %q, or %q, are missing: key %q is of use for ssh only", keyUsername, keyPassword, keyToken, keyIdentity)
	}
	a.username, a.password, a.token = string(data[keyUsername]), string(data[keyPassword]), string(data[keyToken])
	bundle := data[keyCA]
	if has(data, keyCAAlias) {
		if has(data, keyCA) && string(data[keyCA]) != string(data[keyCAAlias]) {
			return invalidAuth("keys %q and %q differ", keyCA, keyCAAlias)
		}
		bundle = data[keyCAAlias]
	}
	if len(bundle) > 0 {
		roots, err := parseCAs(bundle)
		if err != nil {
			return invalidAuth("key %q: %v", keyCA, err)
		}
		a.roots = roots
	}
	if len(data) > 0 && !user && !token && len(bundle) == 0 {
		return invalidAuth("it holds none of the keys %q with %q, %q, %q", keyUsername, keyPassword, keyToken, keyCA)
	}
	return nil
}

// parseCAs is strict where AppendCertsFromPEM skips what it cannot read.
func parseCAs(bundle []byte) (*x509.CertPool, error) {
	pool, n := x509.NewCertPool(), 0
	for rest := bundle; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if n == 0 {
				return nil, errors.New("no PEM certificate in it")
			}
			return pool, nil
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("PEM block %d is no certificate", n+1)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be parsed", n+1)
		}
		pool.AddCert(cert)
	}
}

func (a *Auth) readSSH(u URL, data map[string][]byte) error {
	switch {
	case !has(data, keyIdentity):
		return invalidAuth("key %q is missing: ssh needs a private key", keyIdentity)
	case !has(data, keyKnownHosts):
		return invalidAuth("key %q is missing: no host key is trusted on first use", keyKnownHosts)
	case has(data, keyUsername) && string(data[keyUsername]) != u.user:
		return invalidAuth("key %q is not the user of the URL", keyUsername)
	}
	var err error
	if a.knownHosts, err = parseKnownHosts(data[keyKnownHosts]); err != nil {
		return invalidAuth("key %q: %v", keyKnownHosts, err)
	}
	if len(a.knownHosts.algorithms(u.address())) == 0 {
		return invalidAuth("key %q has no usable key for host %q", keyKnownHosts, u.host)
	}
	a.passphrase = string(data[keyPassword])
	a.signer, err = parseIdentity(data[keyIdentity], data[keyPassword])
	return err
}

func parseIdentity(identity, passphrase []byte) (ssh.Signer, error) {
	signer, err := ssh.ParsePrivateKey(identity)
	if missing := (*ssh.PassphraseMissingError)(nil); errors.As(err, &missing) {
		if len(passphrase) == 0 {
			return nil, invalidAuth("key %q is missing: the private key in %q is encrypted", keyPassword, keyIdentity)
		}
		if signer, err = ssh.ParsePrivateKeyWithPassphrase(identity, passphrase); err != nil {
			return nil, invalidAuth("key %q does not open the private key in %q", keyPassword, keyIdentity)
		}
	}
	if err != nil {
		return nil, invalidAuth("key %q holds no private key in PEM", keyIdentity)
	}
	return signer, nil
}

// origin names the server to which credentials may be sent.
func (u URL) origin() string { return u.scheme + "://" + u.host }

// apply puts the credentials on a request.
func (a Auth) apply(r *http.Request) {
	switch {
	case a.token != "":
		r.Header.Set("Authorization", "Bearer "+a.token)
	case a.password != "":
		r.SetBasicAuth(a.username, a.password)
	}
}

// secrets lists what no error may repeat, in the spellings that are sent.
func (a Auth) secrets() []string {
	var out []string
	for _, s := range []string{a.password, a.token, a.passphrase} {
		if s != "" {
			out = append(out, s, url.QueryEscape(s), url.PathEscape(s), base64.StdEncoding.EncodeToString([]byte(s)))
		}
	}
	if a.password != "" {
		out = append(out, base64.StdEncoding.EncodeToString([]byte(a.username+":"+a.password)))
	}
	return out
}

// Format prints the kind of the credentials under every verb.
func (a Auth) Format(f fmt.State, _ rune) {
	kind := "anonymous"
	switch {
	case a.signer != nil:
		kind = "ssh key"
	case a.token != "":
		kind = "bearer token"
	case a.password != "":
		kind = "username and password"
	}
	_, _ = io.WriteString(f, "source.Auth("+kind+")") // fmt reports nothing back
}
