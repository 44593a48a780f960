package image

import (
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

// An Action is what a rule does without looking at signatures.
type Action string

// The actions. The empty action is none.
const (
	Allow Action = "Allow"
	Deny  Action = "Deny"
)

// A DigestMode says who pins digests.
type DigestMode string

// The modes.
const (
	// Resolve looks a tag up once and pins the digest that was verified.
	Resolve DigestMode = "Resolve"
	// Required refuses a reference without a digest.
	Required DigestMode = "Required"
)

// A Config says whose images may run and how registries are reached.
type Config struct {
	// Default is for images that no rule matches; empty means [Deny].
	Default Action
	// Digest says who pins digests; empty means [Resolve].
	Digest DigestMode
	// Rules must all be satisfied where they match; their order means nothing.
	Rules []Rule

	// Limits bound what a registry can cost. Zero fields have defaults.
	Limits Limits
	// Keychain finds credentials; nil is anonymous. Registries are asked with
	// the names that go-containerregistry uses, "index.docker.io" among them.
	Keychain authn.Keychain
	// CA holds further certificate authorities for registries, in PEM.
	CA []byte
	// TokenHosts lists, for a registry's host, the other hosts whose token
	// service may receive its credentials. The registry's own host always may,
	// and so may those of Docker Hub and gitlab.com.
	TokenHosts map[string][]string
	// LoopbackHTTP allows plain HTTP to registries on this machine.
	LoopbackHTTP bool
	// CacheEntries is how many verified digests are remembered; zero means
	// 4096. Refusals are never remembered.
	CacheEntries int
	// CacheDir keeps signatures between runs; empty keeps none. What is read
	// from it is verified again, so whoever can write there gains nothing. Of an image
	// whose attestations are asked for it answers only where the registry is not
	// asked, or does not answer and tags may be recalled: a new scan may be there.
	CacheDir string
	// Predicates keep what attestations state; nil makes a store of its own.
	Predicates *Predicates
	// RecallTags lets a tag stand for the digest that it had when CacheDir saw it
	// last, while its registry does not answer. The digest must be proven by the
	// signatures in CacheDir, as always. It is for those who have to go on with what
	// was verified before; whoever decides about something new has to ask.
	RecallTags bool
	// Offline asks no registry: what CacheDir does not prove is undetermined.
	Offline bool
}

// A Rule says whose signature counts for some repositories. It has either
// authorities or a static action.
type Rule struct {
	// Match lists globs over repositories, as `ghcr.io/acme/**`: "*" stays
	// within a path segment, "**" crosses them, everything else is literal, and
	// the whole name must match. Names without a registry are Docker Hub's.
	// Tags and digests are no part of it.
	Match []string
	// Static allows or denies without signatures.
	Static Action
	// Authorities are those whose signature suffices, any one of them.
	Authorities []Authority
	// Attestations are what else the rule asks for, beside a signature. Only these
	// are looked for.
	Attestations []Attestation
}

// An Authority is somebody whose signature counts.
type Authority struct {
	// Name is what messages and evidence call the authority; empty means
	// "authority-0" and so on.
	Name string
	// Key is a public key.
	Key *Key
	// Keyless is not supported by this version: a configuration error.
	Keyless *Keyless
}

// A Key is a public key as cosign writes it.
type Key struct {
	// Data is one PEM block of type PUBLIC KEY: ECDSA on a NIST curve, RSA of
	// 2048 bits or more, or Ed25519.
	Data string
	// HashAlgorithm is sha256, sha384 or sha512. Empty takes sha256 and what
	// cosign uses for keys of that size.
	HashAlgorithm string
}

// Keyless identifies signers by certificates.
type Keyless struct{ Identities []Identity }

// An Identity is an issuer and a subject of certificates.
type Identity struct{ Issuer, Subject, IssuerRegExp, SubjectRegExp string }

// Limits bound the work for one image. A zero field has the default that it
// documents; a negative one is an error.
type Limits struct {
	// Timeout covers all requests for one image: 10 s.
	Timeout time.Duration
	// Signatures is how many are examined in each place: 100.
	Signatures int
	// ManifestBytes bounds a manifest or index: 4 MiB.
	ManifestBytes int64
	// PayloadBytes bounds the document of an older signature: 128 KiB.
	PayloadBytes int64
	// BundleBytes bounds a bundle: 5 MiB.
	BundleBytes int64
	// Attestations is how many of the types that are asked for are examined in each
	// place: 100.
	Attestations int
	// AttestationBytes bounds one attestation, with its envelope: 16 MiB.
	AttestationBytes int64
	// TotalBytes bounds all that is read for one image: 32 MiB.
	TotalBytes int64
	// Requests bounds the requests for one image, retries included: 400.
	Requests int
	// Retries is how often one request is repeated after 429, a server error or
	// a cut connection: 3.
	Retries int
	// Redirects is how many one request follows: 5.
	Redirects int
	// Parallel is how many images are verified at once: 8.
	Parallel int
}

func (l Limits) withDefaults() Limits {
	fill(&l.Timeout, 10*time.Second)
	fill(&l.Signatures, 100)
	fill(&l.ManifestBytes, 4<<20)
	fill(&l.PayloadBytes, 128<<10)
	fill(&l.BundleBytes, 5<<20)
	fill(&l.Attestations, 100)
	fill(&l.AttestationBytes, 16<<20)
	fill(&l.TotalBytes, 32<<20)
	fill(&l.Requests, 400)
	fill(&l.Retries, 3)
	fill(&l.Redirects, 5)
	fill(&l.Parallel, 8)
	return l
}

func (l Limits) negative() bool {
	return l.Timeout < 0 || l.Signatures < 0 || l.ManifestBytes < 0 || l.PayloadBytes < 0 ||
		l.BundleBytes < 0 || l.Attestations < 0 || l.AttestationBytes < 0 || l.TotalBytes < 0 || l.Requests < 0 || l.Retries < 0 ||
		l.Redirects < 0 || l.Parallel < 0
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
