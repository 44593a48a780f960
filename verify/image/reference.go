package image

import (
	"errors"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// A reference is an image's name, normalised so that spellings of the same
// image are equal. The grammar is that of the distribution project, which the
// kubelet and containerd follow, without upper-case hosts.
type reference struct {
	original string
	host     string // docker.io for Docker Hub, without :443
	path     string
	tag      string
	digest   string // "sha256:…" or empty
}

const dockerHub = "docker.io"

// hubAliases are the hosts that serve Docker Hub's content. A name that reaches
// the same content must meet the same rules.
var hubAliases = map[string]bool{
	dockerHub:                 true,
	"index.docker.io":         true,
	"registry-1.docker.io":    true,
	"registry.hub.docker.com": true,
}

var (
	reHost = regexp.MustCompile(`^(?:[a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])(?:\.(?:[a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9]))*$|^\[[0-9a-f:]+\]$`)
	rePath = regexp.MustCompile(`^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$`)
	reTag  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	reHash = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	reID   = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

const maxName = 255 // distribution's NameTotalLengthMax

// parseReference reads a reference as the kubelet does.
func parseReference(s string) (reference, error) {
	r := reference{original: s}
	rest, digest, pinned := strings.Cut(s, "@")
	if pinned {
		if !reHash.MatchString(digest) {
			return r, errors.New("the digest is not sha256: followed by 64 hexadecimal digits")
		}
		r.digest = digest
	}
	if colon := strings.LastIndex(rest, ":"); colon > strings.LastIndex(rest, "/") {
		rest, r.tag = rest[:colon], rest[colon+1:]
		if !reTag.MatchString(r.tag) {
			return r, errors.New("the tag is not valid")
		}
	}
	if r.tag == "" && !pinned {
		r.tag = "latest"
	}
	if reID.MatchString(rest) {
		return r, errors.New("it is an image ID; name the repository")
	}
	host, path := splitHost(rest)
	host, err := normaliseHost(host)
	if err != nil {
		return r, err
	}
	if host == dockerHub && !strings.Contains(path, "/") {
		path = "library/" + path
	}
	if !rePath.MatchString(path) || len(host)+1+len(path) > maxName {
		return r, errors.New("the repository is not valid: lower-case letters, digits and single separators, 255 characters at most")
	}
	r.host, r.path = host, path
	return r, nil
}

// splitHost separates the registry from the path: a first segment is a host if
// it has a dot or a colon or is localhost.
func splitHost(s string) (host, path string) {
	first, rest, found := strings.Cut(s, "/")
	if !found || !strings.ContainsAny(first, ".:") && first != "localhost" {
		return dockerHub, s
	}
	return first, rest
}

// normaliseHost drops the port of HTTPS and joins the aliases of Docker Hub.
func normaliseHost(s string) (string, error) {
	host, port := s, ""
	if i := strings.LastIndex(s, ":"); i > strings.LastIndex(s, "]") {
		host, port = s[:i], s[i+1:]
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return "", errors.New("the registry's port is not valid")
		}
	}
	if !reHost.MatchString(host) {
		return "", errors.New("the registry's host is not valid: lower-case letters, digits, dots and dashes")
	}
	if strings.HasPrefix(host, "[") { // an IPv6 address has many spellings
		address, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if err != nil {
			return "", errors.New("the registry's address is not valid")
		}
		if host = address.Unmap().String(); strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
	}
	if port == "443" {
		port = ""
	}
	if hubAliases[host] && port == "" {
		return dockerHub, nil
	}
	if port != "" {
		host += ":" + port
	}
	return host, nil
}

// name is the normalised repository.
func (r reference) name() string { return r.host + "/" + r.path }

// key is equal for equal images, however they are spelt.
func (r reference) key() string { return r.name() + ":" + r.tag + "@" + r.digest }

// proofs is what is remembered of a digest by, whatever its tag.
func (r reference) proofs() string { return r.name() + "@" + r.digest }

// pinned is the reference to apply: the spelling of the user, so that diffs
// stay small, and the digest, which alone decides what is pulled.
func (r reference) pinned(digest string) string {
	if r.digest != "" {
		return r.original
	}
	return r.original + "@" + digest
}

// repository is where the registry keeps the image.
func (r reference) repository() (name.Repository, error) {
	host := r.host
	if host == dockerHub {
		host = name.DefaultRegistry
	}
	registry, err := name.NewRegistry(host)
	if err != nil {
		return name.Repository{}, errors.New("the registry's host is not valid")
	}
	return registry.Repo(r.path), nil
}
