// Package image proves who signed a container image.
//
// A [Verifier] knows rules: which repositories they speak for and whose
// signature counts there. [Verifier.Verify] resolves a reference to a digest
// once, looks for signatures over that very digest and mints [Evidence], which
// holds the reference to apply: the digest that was verified, never a tag.
//
// # Rules
//
// Every rule that matches a repository must be satisfied; within a rule the
// signature of any one authority suffices. An image that no rule matches gets
// the default, which denies unless it is set otherwise. The order of rules
// means nothing.
//
// # Signatures
//
// Both places where cosign keeps signatures are searched: the tag named after
// the digest, and Sigstore bundles that refer to the image, by the referrers
// API or the tag that stands in for it. A bundle counts only when it states
// what `cosign sign` states; an attestation about an image, such as a scan
// report, is no signature of it.
//
// A signature speaks for one digest. An index that is signed does not vouch for
// its images when Git pins one of them by digest, and a signed image does not
// vouch for the index that names it: sign with `cosign sign --recursive`, or
// pin what is signed.
//
// # Attestations
//
// A rule may ask for in-toto statements about the image beside a signature: a
// provenance, a bill of materials, a scan. They are looked for in both places too,
// the tag sha256-….att and the bundles, and only those of the predicate types that are
// asked for. One counts when an authority signed its DSSE envelope, the payload is an
// in-toto statement, its subject is the very digest that is verified, and its predicate
// type is the one that is asked for, whatever the registry lists it as. All that
// count are handed on, for a later one may say the contrary of an earlier one; so
// what cannot be read leaves the image undetermined. They are asked for again after
// five minutes: there may be a newer scan.
//
// What they state is not judged here. It is kept compressed and within a bound, see
// [Predicates].
//
// # Other artifacts
//
// What is signed need not be an image. [Content] reads what a digest names, and
// [Writer] puts artifacts and signatures into a repository, both under the rules
// below; package verify/bundle does so with policies.
//
// # The registry is hostile
//
// Everything that a registry sends is bounded in size, count and time. Plain
// HTTP is refused. Credentials go to the registry itself and to token services
// that are known or configured, to nobody else, whatever a challenge or a
// redirect says. A registry that does not answer leaves the image undetermined.
package image
