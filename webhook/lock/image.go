package lock

import "strings"

// verified stands for every digest that was verified for a repository and tag.
const verified = "@verified"

// A digestKey is a repository and a digest; a tagKey has the tag too.
type (
	digestKey struct{ repository, digest string }
	tagKey    struct{ repository, tag, digest string }
)

// images is what replicas may run. The nil value asks for nothing.
type images struct {
	digests map[digestKey]bool
	tags    map[tagKey]bool
	refs    map[string]bool // the very references of objects that no digest covers
}

func (s *images) add(in []VerifiedImage) {
	for _, v := range in {
		if v.Repository == "" || v.Digest == "" {
			continue
		}
		s.digests[digestKey{v.Repository, v.Digest}] = true
		if v.Tag != "" {
			s.tags[tagKey{v.Repository, v.Tag, v.Digest}] = true
		}
	}
}

func newImages() *images {
	return &images{digests: map[digestKey]bool{}, tags: map[tagKey]bool{}, refs: map[string]bool{}}
}

// runs reports whether a Pod may run the reference.
func (s *images) runs(ref string) bool {
	if s == nil || s.refs[ref] {
		return true
	}
	r := parseImage(ref)
	return r.digest != "" && s.digests[digestKey{r.repository, r.digest}]
}

// canonical returns the reference with the digest replaced where any other digest
// that was verified for the tag is as good.
func (s *images) canonical(ref string) string {
	if s == nil || len(s.tags) == 0 {
		return ref
	}
	r := parseImage(ref)
	if r.digest == "" || !s.tags[tagKey{r.repository, r.tagOrLatest(), r.digest}] {
		return ref
	}
	return strings.TrimSuffix(ref, "@"+r.digest) + verified
}

// otherDigest reports whether the two name one repository and tag with different
// digests.
func otherDigest(a, b string) bool {
	x, y := parseImage(strings.TrimSuffix(a, verified)), parseImage(strings.TrimSuffix(b, verified))
	return x.repository == y.repository && x.tag == y.tag && a != b && y.digest != ""
}

// hubAliases are the hosts that serve Docker Hub's content, as verify/image has
// them.
var hubAliases = map[string]bool{
	"index.docker.io": true, "registry-1.docker.io": true, "registry.hub.docker.com": true,
}

// An imageRef is a reference taken apart, by the reference grammar of the OCI
// distribution specification.
type imageRef struct{ repository, tag, digest string }

func (r imageRef) tagOrLatest() string {
	if r.tag == "" {
		return "latest"
	}
	return r.tag
}

// parseImage takes a reference apart. The repository is normalised as containerd
// does: docker.io and library/ are added where they are left out.
func parseImage(ref string) imageRef {
	var r imageRef
	name, digest, _ := strings.Cut(ref, "@")
	r.digest = digest
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, r.tag = name[:i], name[i+1:]
	}
	host, rest, found := strings.Cut(name, "/")
	switch {
	case !found || !strings.ContainsAny(host, ".:") && host != "localhost":
		host, rest = "docker.io", name
	case hubAliases[strings.TrimSuffix(host, ":443")]:
		host = "docker.io"
	}
	host = strings.TrimSuffix(host, ":443")
	if host == "docker.io" && !strings.Contains(rest, "/") {
		rest = "library/" + rest
	}
	r.repository = host + "/" + rest
	return r
}
