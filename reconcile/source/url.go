package source

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxURL bounds a repository URL, in bytes.
const maxURL = 2048

// A URL is a repository's address that passed [ParseURL]. The zero value
// addresses nothing. URLs are equal exactly when their canonical forms are.
type URL struct {
	scheme string // https, ssh, or http on loopback
	user   string // of ssh
	host   string // lower case, IPv6 in brackets, ":port" unless default
	path   string // decoded, with a leading slash, without a trailing one
}

var (
	// scheme://… ; RFC 3986 section 3.1.
	schemePattern = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*)://`)
	// user@host:path as scp writes it.
	scpPattern  = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9._-]*)@([^:/\[\]]+|\[[^\]]*\]):(.*)$`)
	userPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)
	hostPattern = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$`)
	portSegment = regexp.MustCompile(`^/?[0-9]+(/|$)`)
)

// ParseURL accepts https://host/path and ssh://user@host/path, and
// user@host:path as another spelling of the latter. The path of that spelling
// counts from the root, as it does for every forge, never from a home
// directory.
//
// All else is refused with [ErrInvalidURL]: other schemes and transports
// (file://, git://, ext::), local paths, what looks like an option, user or
// password in an https URL, a password in any, query and fragment, empty and
// dotted path segments, control characters, quotes and shell characters, also
// percent-encoded (CVE-2025-21613, CVE-2026-45570). The message never repeats
// the URL, which may hold a password.
func ParseURL(raw string) (URL, error) { return parseURL(raw, false) }

// ParseLoopbackURL is [ParseURL], except that it also accepts http:// to a
// loopback address. It is for tests and demonstrations.
func ParseLoopbackURL(raw string) (URL, error) { return parseURL(raw, true) }

// Canonical returns the one spelling of a URL that [ParseLoopbackURL] accepts,
// for comparing the URL of a GitSync with those of a TrustPolicy. It lowers the
// case of scheme and host, drops the default port and a trailing slash, decodes
// needless percent-encoding, and turns user@host:path into ssh://user@host/path;
// ssh without a user means git. It is strict in all else: the case of the path,
// a trailing ".git", the user and the scheme make a difference, since nothing
// forbids a server to keep different repositories there.
func Canonical(raw string) (string, error) {
	u, err := parseURL(raw, true)
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

// String returns the canonical form.
func (u URL) String() string {
	if u == (URL{}) {
		return ""
	}
	s := url.URL{Scheme: u.scheme, Host: u.host, Path: u.path}
	if u.scheme == "ssh" {
		s.User = url.User(u.user)
	}
	return s.String()
}

// SSH reports whether the repository is reached over SSH.
func (u URL) SSH() bool { return u.scheme == "ssh" }

// address is host:port for dialling.
func (u URL) address() string {
	if _, _, err := net.SplitHostPort(u.host); err == nil {
		return u.host
	}
	return u.host + ":" + defaultPorts[u.scheme]
}

var defaultPorts = map[string]string{"https": "443", "http": "80", "ssh": "22"}

func invalidURL(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalidURL, fmt.Sprintf(format, args...))
}

func parseURL(raw string, loopback bool) (URL, error) {
	switch {
	case raw == "":
		return URL{}, invalidURL("it is empty")
	case len(raw) > maxURL:
		return URL{}, invalidURL("it is longer than %d bytes", maxURL)
	case strings.HasPrefix(raw, "-"):
		return URL{}, invalidURL("it looks like an option")
	}
	for _, r := range raw {
		if r <= ' ' || r > '~' || strings.ContainsRune("\"'`\\<>|^{}$;&*!()", r) {
			return URL{}, invalidURL("character %q is not allowed", r)
		}
	}
	if m := schemePattern.FindStringSubmatch(raw); m != nil {
		return parseSchemeURL(raw, strings.ToLower(m[1]), loopback)
	}
	m := scpPattern.FindStringSubmatch(raw)
	if m == nil || strings.HasPrefix(m[3], ":") {
		return URL{}, invalidURL("want https://host/path, ssh://user@host/path or user@host:path")
	}
	if portSegment.MatchString(m[3]) && !strings.HasPrefix(m[3], "/") {
		return URL{}, invalidURL("the path starts with a number, which may be meant as a port: write ssh://user@host:port/path")
	}
	if strings.ContainsAny(m[3], "%?#") {
		return URL{}, invalidURL("user@host:path takes no '%%', '?' or '#'")
	}
	return newURL("ssh", m[1], m[2], "", "/"+strings.TrimPrefix(m[3], "/"))
}

func parseSchemeURL(raw, scheme string, loopback bool) (URL, error) {
	if scheme != "https" && scheme != "ssh" && (scheme != "http" || !loopback) {
		return URL{}, invalidURL("scheme %q is not allowed: use https or ssh", scheme)
	}
	p, err := url.Parse(raw)
	if err != nil {
		return URL{}, invalidURL("it cannot be parsed") // url.Error repeats the URL
	}
	if p.RawQuery != "" || p.ForceQuery || p.Fragment != "" || strings.Contains(raw, "#") {
		return URL{}, invalidURL("query and fragment are not allowed")
	}
	if strings.Contains(strings.ToLower(p.EscapedPath()), "%2f") {
		return URL{}, invalidURL("the path may not hold an encoded slash")
	}
	user := ""
	if p.User != nil {
		if _, set := p.User.Password(); set || scheme != "ssh" {
			return URL{}, invalidURL("it may hold no credentials: put them into the Secret")
		}
		user = p.User.Username()
	}
	u, err := newURL(scheme, user, p.Hostname(), p.Port(), p.Path)
	if err != nil {
		return URL{}, err
	}
	if strings.HasSuffix(p.Host, ":") {
		return URL{}, invalidURL("the port is empty")
	}
	if scheme == "http" && !isLoopback(p.Hostname()) {
		return URL{}, invalidURL("http is allowed for loopback addresses only: use https")
	}
	return u, nil
}

func newURL(scheme, user, host, port, path string) (URL, error) {
	u := URL{scheme: scheme, user: user}
	if scheme == "ssh" {
		if u.user == "" {
			u.user = "git"
		}
		if !userPattern.MatchString(u.user) {
			return URL{}, invalidURL("the user may hold letters, digits, '.', '_' and '-' only")
		}
	}
	bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if ip, err := netip.ParseAddr(bare); err == nil && ip.Zone() == "" {
		u.host = ip.String()
		if ip.Is6() {
			u.host = "[" + u.host + "]"
		}
	} else if len(host) <= 253 && hostPattern.MatchString(host) {
		u.host = strings.ToLower(host)
	} else {
		return URL{}, invalidURL("the host is missing or malformed")
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return URL{}, invalidURL("the port is not a number from 1 to 65535")
		}
		if p := strconv.FormatUint(n, 10); p != defaultPorts[scheme] {
			u.host += ":" + p
		}
	}
	u.path = strings.TrimSuffix(path, "/")
	if err := checkPath(u.path); err != nil {
		return URL{}, err
	}
	return u, nil
}

func checkPath(path string) error {
	if path == "" {
		return invalidURL("the path is missing")
	}
	if !utf8.ValidString(path) {
		return invalidURL("the path is not UTF-8")
	}
	for _, r := range path {
		if !unicode.IsPrint(r) || strings.ContainsRune("\"'`\\<>|^{}$;&*!()?#%[]", r) {
			return invalidURL("character %q is not allowed in the path", r)
		}
	}
	for _, segment := range strings.Split(strings.TrimPrefix(path, "/"), "/") {
		if segment == "" || segment == "." || segment == ".." {
			return invalidURL("the path has an empty or dotted segment")
		}
	}
	return nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
